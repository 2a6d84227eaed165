"""Evaluation: known returns, honest intervals, and the axis of experience."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from helpers import TINY, Fragile
from scipy import stats

from metarl import MAML, MetaLSTM, MetaLSTMConfig, MetaModel, MetaModelConfig
from metarl.envs import BatchSim, InputError, Task, load_family
from metarl.envs.families.point import PointGoal, SparsePointGoal
from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.references import load_references
from metarl.evaluation.statistics import bootstrap
from metarl.evaluation.words import conclusion
from metarl.sampling.trajectories import Trajectories

STEP = 0.1  # m


class Scripted:
    """Acts by a rule; counts what the evaluator lets it see."""

    column = "episodes"
    shares_episodes = True

    def begin(self, tasks: Sequence[Task], rng: np.random.Generator) -> None:
        self.tasks, self.adapted = list(tasks), []

    def act(self, sim: BatchSim, obs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        raise NotImplementedError

    def collect(self, sim: BatchSim, rng: np.random.Generator) -> Trajectories:
        family = sim.family
        out = Trajectories.empty(family.horizon, sim.n_sims, family.obs_dim, family.action_dim)
        obs = sim.reset(rng)
        for t in range(family.horizon):
            out.obs[t], out.valid[t], out.action[t] = obs, True, self.act(sim, obs, rng)
            step = sim.step(out.action[t])
            obs, out.reward[t], out.truncated[t] = step.obs, step.reward, step.truncated
        return out

    def adapt(self, episodes: Trajectories) -> None:
        self.adapted.append(episodes)


class Oracle(Scripted):
    """Told the goal: full speed, then stay."""

    def act(self, sim: BatchSim, obs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        goal = np.array([list(t.values()) for t in self.tasks]).repeat(sim.n_sims // len(self.tasks), axis=0)
        return (goal - obs) / STEP


class Archer(Scripted):
    """Told the angle of the goal: goes there, and stays."""

    def act(self, sim: BatchSim, obs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        angle = np.repeat([t["angle"] for t in self.tasks], sim.n_sims // len(self.tasks))
        return (np.stack([np.cos(angle), np.sin(angle)], axis=1) - obs) / STEP


class Wanderer(Scripted):
    """Ignores everything."""

    def act(self, sim: BatchSim, obs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(-1, 1, (sim.n_sims, sim.family.action_dim))


def goals(tasks: Sequence[Task]) -> np.ndarray:
    return np.array([[t["goal_x"], t["goal_y"]] for t in tasks])


@pytest.fixture
def family() -> PointGoal:
    return PointGoal()


def test_an_oracle_gets_its_known_return_in_every_column(family):
    tasks = family.tasks("test")
    result = evaluate(Oracle(), family, tasks, 3, 2)
    best = family.optimum(goals(tasks))
    np.testing.assert_allclose(result.returns, np.repeat(best[:, None], 3, axis=1), rtol=0.01, atol=1e-3)
    assert result.mean == pytest.approx([best.mean()] * 3, rel=0.01)


def test_a_policy_that_ignores_history_shows_no_gain(family):
    result = evaluate(Wanderer(), family, family.tasks("test"), 4, 10)
    assert result.gain[0] == 0
    assert result.gain_ci95[0] == [0, 0]
    for gain, (low, high) in zip(result.gain[1:], result.gain_ci95[1:], strict=True):
        assert abs(gain) < high - low  # within four standard errors of nothing
        assert low < gain < high


def test_parameters_that_are_never_adapted_show_no_gain(family):
    adapter = MAML(family, TINY).adapter()
    adapter.adapt = lambda episodes: None
    result = evaluate(adapter, family, family.tasks("test"), 3, 10)
    assert all(abs(low + high) / 2 < high - low for low, high in result.gain_ci95[1:])


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_an_evaluation_reaches_what_training_has_worked_for(family, steps):
    maml = MAML(family, replace(TINY, inner_steps=steps))
    recurrent = MetaLSTM(family, MetaLSTMConfig(width=4, n_episodes=steps))
    assert (maml.evaluation_size, maml.trained_column) == ((max(4, 2 * steps + 2), TINY.n_episodes), steps)
    assert (recurrent.evaluation_size[0], recurrent.trained_column) == (steps, steps - 1)


def test_whoever_acts_meets_the_same_initial_states():
    family = load_family("HalfCheetahVel")
    seen: dict[str, list[np.ndarray]] = {}
    for name, agent in {
        "maml": MAML(family, TINY, n_threads=1),
        "meta-lstm": MetaLSTM(family, MetaLSTMConfig(width=4), n_threads=1),
    }.items():
        adapter = agent.adapter()
        collect = adapter.collect
        adapter.collect = lambda sim, rng, collect=collect, name=name: (
            seen.setdefault(name, []).append(collect(sim, rng)) or seen[name][-1]
        )
        evaluate(adapter, family, family.tasks("test")[:3], 2, 2, n_threads=1)
    for one, other in zip(*seen.values(), strict=True):
        np.testing.assert_array_equal(one.obs[0], other.obs[0])
        assert not np.array_equal(one.obs[-1], other.obs[-1])


def test_success_is_the_share_of_episodes_that_end_at_the_goal():
    family = SparsePointGoal()
    tasks = family.tasks("test")[:4]
    there, nowhere = evaluate(Archer(), family, tasks, 2, 3), evaluate(Wanderer(), family, tasks, 2, 3)
    assert there.success == [[1.0, 1.0]] * 4
    assert np.mean(nowhere.success) < 0.3
    assert evaluate(Oracle(), PointGoal(), PointGoal().tasks("test")[:2], 1, 1).success is None


class Torn(PointGoal):
    """The point blows up at once where its goal is on the right."""

    error_unit = "m"

    def reward(self, r, action, task):
        return {"there": np.where(task["goal_x"] > 0, np.nan, -1.0)}

    def error(self, r, task):
        return np.abs(r.qpos[:, 0] - task["goal_x"])

    def success(self, r, task):
        return np.ones(len(r.qpos), bool)


def test_what_blows_up_is_no_success_is_as_far_off_as_it_began_and_is_said():
    family = Torn()
    tasks = [{"goal_x": x, "goal_y": 0.0} for x in (-0.5, 0.5)]
    result = evaluate(MAML(family, TINY, n_threads=1), family, tasks, 1, 3)
    assert result.failures == [3] and result.success == [[1.0], [0.0]]
    begun = BatchSim(family, 1, 1)
    begun.set_tasks(tasks[1:])
    begun.reset(np.random.default_rng(0))
    assert result.error[1][0] == pytest.approx(begun.error()[0], abs=0.2)
    assert "not finite (3 in before adaptation, of 6 episodes each)" in conclusion(result, family)
    whole = evaluate(MAML(family, TINY, n_threads=1), family, tasks[:1], 1, 3)
    assert whole.failures == [0] and "finite" not in conclusion(whole, family)


def test_every_episode_is_in_the_record(family):
    result = evaluate(Wanderer(), family, family.tasks("test")[:4], 3, 5)
    assert np.shape(result.episode_returns) == (4, 3, 5)
    np.testing.assert_allclose(np.mean(result.episode_returns, axis=2), result.returns)


def test_the_first_column_is_before_any_adaptation_and_each_later_one_after_one_more(family):
    adapter = Wanderer()
    tasks = sorted(family.tasks("test")[:3], key=repr)  # as an evaluation does
    result = evaluate(adapter, family, tasks, 3, 2)
    assert len(adapter.adapted) == 2
    for column, episodes in enumerate(adapter.adapted):
        of_task = episodes.returns().reshape(3, 2).mean(axis=1)
        np.testing.assert_allclose(of_task, np.array(result.returns)[:, column], rtol=1e-6)


def test_experience_is_what_was_lived_on_a_task_before_the_column(family):
    result = evaluate(Wanderer(), family, family.tasks("test")[:4], 3, 5)
    assert result.episodes_used == [0, 5, 10]
    assert result.env_steps_used == [0, 5 * 20, 10 * 20]


class Secretive(Wanderer):
    """Plays an episode more than it shows: before each one, or when it adapts."""

    def __init__(self, when: str):
        self.when = when

    def collect(self, sim: BatchSim, rng: np.random.Generator) -> Trajectories:
        if self.when == "before":
            super().collect(sim, rng)
        self.sim, self.rng = sim, rng
        return super().collect(sim, rng)

    def adapt(self, episodes: Trajectories) -> None:
        if self.when == "adapting":
            super().collect(self.sim, self.rng)


@pytest.mark.parametrize(("when", "used"), [("before", [100, 300, 500]), ("adapting", [0, 200, 400])])
def test_what_is_played_beside_the_episodes_that_are_shown_is_counted(family, when, used):
    result = evaluate(Secretive(when), family, family.tasks("test")[:4], 3, 5)
    assert result.env_steps_used == used


class Inventive(Wanderer):
    """Shows episodes that were never played."""

    def collect(self, sim: BatchSim, rng: np.random.Generator) -> Trajectories:
        out = Trajectories.empty(sim.family.horizon, sim.n_sims, sim.family.obs_dim, sim.family.action_dim)
        out.valid[:] = True
        return out


def test_episodes_that_were_never_played_are_refused(family):
    with pytest.raises(InputError, match="the adapter shows 200 steps of which 200 were not simulated"):
        evaluate(Inventive(), family, family.tasks("test")[:2], 1, 5)


def test_episodes_that_end_early_use_fewer_steps():
    family = load_family("HopperRandParams")
    adapter = MAML(family, TINY, n_threads=1).adapter()
    seen, collect = [], adapter.collect
    adapter.collect = lambda sim, rng: seen.append(collect(sim, rng)) or seen[-1]
    result = evaluate(adapter, family, family.tasks("test")[:2], 3, 4, n_threads=1)
    steps = [t.valid.sum() / 2 for t in seen]
    assert result.env_steps_used == [0, steps[0], steps[0] + steps[1]]
    assert steps[0] < 4 * family.horizon


def test_a_return_is_the_mean_over_the_columns_episodes_and_the_table_its_summary(family):
    result = evaluate(Wanderer(), family, family.tasks("test"), 2, 3)
    returns = np.array(result.returns)
    assert returns.shape == (20, 2)
    np.testing.assert_allclose(result.mean, returns.mean(axis=0))
    np.testing.assert_allclose(result.iqm, np.sort(returns, axis=0)[5:15].mean(axis=0))
    np.testing.assert_allclose(result.ci95, bootstrap(returns))
    gains = returns - returns[:, :1]
    np.testing.assert_allclose(result.gain, gains.mean(axis=0))
    np.testing.assert_allclose(result.gain_ci95, bootstrap(gains))


def test_gain_over_the_average_policy_is_paired_with_its_returns_where_they_are_known(family):
    tasks = family.tasks("test")[5:0:-1]
    result, known = evaluate(Wanderer(), family, tasks, 2, 3), load_references("PointGoal").on(tasks)
    over = np.array(result.returns) - np.array(known.average)[:, None]
    assert result.average == known.average
    np.testing.assert_allclose(result.gain_over_average, over.mean(axis=0))
    np.testing.assert_allclose(result.gain_over_average_ci95, bootstrap(over))
    unknown = evaluate(Wanderer(), family, [{"goal_x": 0, "goal_y": 0.5}], 1, 1)
    assert unknown.average is unknown.gain_over_average is unknown.gain_over_average_ci95 is None


@pytest.mark.parametrize("n_threads", [1, 2])
def test_evaluating_twice_gives_the_same_numbers(family, n_threads):
    agent = MAML(family, TINY, seed=3)
    first = evaluate(agent.adapter(), family, family.tasks("test")[:5], 3, 4, n_threads=1)
    again = evaluate(agent.adapter(), family, family.tasks("test")[:5], 3, 4, n_threads=n_threads)
    other = evaluate(agent.adapter(), family, family.tasks("test")[:5], 3, 4, seed=1)
    assert first == again
    assert first.returns != other.returns


class Near(PointGoal):
    """Half a metre from the goal is success enough."""

    def success(self, r, task):
        return np.hypot(r.qpos[:, 0] - task["goal_x"], r.qpos[:, 1] - task["goal_y"]) < 0.5


@pytest.mark.parametrize("name", ["maml", "meta-lstm", "meta-model"])
def test_the_order_of_the_tasks_changes_no_number(name):
    family = Near()
    kinds = {"maml": (MAML, TINY), "meta-lstm": (MetaLSTM, MetaLSTMConfig(width=4))}
    kinds["meta-model"] = MetaModel, MetaModelConfig(hidden=(4, 4), act="both", refine=3, refine_std=2.0)
    kind, config = kinds[name]
    agent, order = kind(family, config, seed=3, n_threads=1), [3, 0, 4, 1, 2]
    tasks = family.tasks("test")[:5]
    one = evaluate(agent.adapter(), family, tasks, 2, 4, n_threads=1).to_json()
    other = evaluate(agent.adapter(), family, [tasks[k] for k in order], 2, 4, n_threads=1).to_json()
    assert 0 < np.mean(one["success"]) < 1
    for key in ("tasks", "returns", "episode_returns", "success", "error"):
        one[key] = [one[key][k] for k in order]
    assert one == other


def test_an_adapter_forgets_between_evaluations(family):
    adapter = MAML(family, TINY).adapter()
    results = [evaluate(adapter, family, family.tasks("test")[:n], 3, 4) for n in (4, 2, 4)]
    assert results[0] == results[2]


def test_evaluation_leaves_the_agent_as_it_was(family):
    agent = MAML(family, TINY).learn(10**3)
    before = agent.state_dict()
    meta = {k: p.clone() for k, p in before["learner"]["meta"].items()}
    evaluate(agent.adapter(), family, family.tasks("test")[:2], 3, 4)
    after = agent.state_dict()
    assert all((p == after["learner"]["meta"][k]).all() for k, p in meta.items())
    assert before["rng"] == after["rng"]
    assert before["learner"]["normaliser"] == after["learner"]["normaliser"]


def test_one_task_and_one_column_will_do(family):
    result = evaluate(Wanderer(), family, family.tasks("test")[:1], 1, 1)
    assert result.ci95 == [[result.mean[0]] * 2]


def test_the_json_holds_everything_in_plain_values(family):
    result = evaluate(Wanderer(), family, family.tasks("test")[:2], 2, 1, "wanderer", "test")
    back = json.loads(json.dumps(result.to_json()))
    assert back == result.to_json()
    assert back["tasks"] == [dict(t) for t in family.tasks("test")[:2]]
    assert (back["family"], back["learner"], back["split"]) == ("PointGoal", "wanderer", "test")


@pytest.mark.parametrize("n", [8, 40])
def test_the_interval_is_scipys_percentile_bootstrap(n):
    values = np.random.default_rng(0).standard_normal((n, 3)) * [1, 10, 100] + [0, 5, -5]
    mine = bootstrap(values)
    for column, (low, high) in zip(values.T, mine, strict=True):
        theirs = stats.bootstrap(
            (column,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(1)
        ).confidence_interval
        width = theirs.high - theirs.low
        assert low == pytest.approx(theirs.low, abs=0.08 * width)
        assert high == pytest.approx(theirs.high, abs=0.08 * width)


def test_an_evaluation_is_told_in_words_with_what_is_known():
    family = load_family("PointGoal")
    result = evaluate(MAML(family, TINY, n_threads=1), family, family.tasks("test")[:4], 3, 2)
    off, words = np.mean(result.error, axis=0), conclusion(result, family, 1)
    start = "After 1 gradient step (2 episodes, 4 s of robot time) on 4 held-out tasks it is "
    assert words.startswith(f"{start}{off[1]:.2g} m off on average (before adaptation: {off[0]:.2g} m)")
    assert f"score {result.score[1]:.2f}" in words
    assert conclusion(result, family).startswith("After 2 gradient steps (4 episodes")
    assert conclusion(result, family, 0).startswith("Before adaptation on 4 held-out tasks")
    again = load_family("HalfCheetahDir")
    memory = MetaLSTM(again, MetaLSTMConfig(n_trials=2, width=4), n_threads=1)
    found = evaluate(memory, again, again.tasks("test"), 1, 1)
    assert conclusion(found, again).startswith(
        "In episode 1 (10 s of robot time in all) on 2 training tasks its"
    )


def test_an_error_that_is_no_number_is_left_out_of_the_words():
    family = load_family("PointGoal")
    result = evaluate(MAML(family, TINY, n_threads=1), family, family.tasks("test")[:2], 2, 1)
    unknown = replace(result, error=[[np.nan, *row[1:]] for row in result.error])
    assert "nan" not in conclusion(unknown, family, 1) and "mean return" in conclusion(unknown, family, 1)


def test_robot_time_is_that_of_the_steps_that_were_taken():
    family = Fragile()
    family.horizon = 100  # long enough to leave the room
    result = evaluate(MAML(family, TINY, n_threads=1), family, family.tasks("test")[:4], 2, 2)
    seconds = result.env_steps_used[1] * family.dt
    assert 0 < seconds < 2 * family.horizon * family.dt
    assert f"(2 episodes, {seconds:.3g} s of robot time)" in conclusion(result, family)
    memory = MetaLSTM(family, MetaLSTMConfig(n_trials=2, width=4), n_threads=1)
    found = evaluate(memory, family, family.tasks("test")[:4], 1, 1)
    assert f"(up to {family.horizon * family.dt:.3g} s of robot time in all)" in conclusion(found, family)
