"""The teacher that is told the task, the pupils that imitate it, and the critic that is told it, too."""

from dataclasses import replace
from itertools import pairwise
from math import log

import numpy as np
import pytest
import torch
from helpers import Fragile

from metarl import MAML, MAMLConfig, MetaLSTM, MetaLSTMConfig
from metarl.envs import BatchSim
from metarl.envs.families.point import PointGoal
from metarl.learners.maml import learner as maml
from metarl.learners.meta_lstm.learner import teaching
from metarl.learners.ppo import surrogate
from metarl.learners.returns import gae
from metarl.learners.teacher.config import TeacherConfig
from metarl.learners.teacher.learner import Teacher, imitation
from metarl.policies.gaussian import log_prob
from metarl.policies.told import through
from metarl.sampling.episodes import collect
from metarl.sampling.lessons import Lessons, collect_lessons
from metarl.sampling.trials import collect_trials
from metarl.threads import torch_threads

HORIZON, LESSON = 20, 400
MEMORY = MetaLSTMConfig(
    n_trials=8,
    minibatches=2,
    width=8,
    hidden=8,
    lr=0.01,
    teacher=0.4,
    imitate=0.5,
    piece=10,
    gamma=0.9,
)
STEPPING = MAMLConfig(
    n_tasks=4, n_episodes=2, hidden=(8,), minibatches=2, n_context=2, teacher=0.4, imitate=0.5, gamma=0.9
)
BUDGET = 2000  # of either: two iterations of the teacher, and a few of the pupil
PUPILS = {"meta-lstm": (MetaLSTM, MEMORY), "maml": (MAML, STEPPING)}


@pytest.fixture(autouse=True)
def small_lessons(monkeypatch):
    monkeypatch.setattr("metarl.learners.pupil.LESSON", LESSON)
    monkeypatch.setattr("metarl.learners.pupil.LEAST_LESSONS", 1)


def lessons_of(family: PointGoal, n: int = 5, std: float = 0.3) -> Lessons:
    """Of a policy that goes to the goal that it is told."""
    sim = BatchSim(family, n, 1)
    sim.set_tasks(family.sample(np.random.default_rng(0), n))

    def act(obs: torch.Tensor, told: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = 5 * (told[:, :2] - obs) if told.shape[1] > 1 else told.expand(-1, 2)
        return mean, torch.full_like(mean, log(std))

    return collect_lessons(sim, act, np.random.default_rng(1))


def teacher_of(**settings) -> Teacher:
    return Teacher(2, 2, 2, TeacherConfig(gamma=0.9, **settings), 0)


class Guided(PointGoal):
    """One that brings a controller: straight to the goal."""

    def expert(self, r, task):
        return 5 * (np.stack([task["goal_x"], task["goal_y"]], axis=1) - r.qpos)


# Lessons.


def test_a_lesson_is_told_the_task_of_its_simulation():
    lessons = lessons_of(PointGoal(), std=1e-3)
    np.testing.assert_allclose(lessons.obs_after[-1], lessons.told[-1], atol=0.02)  # it has gone there
    assert lessons.truncated[-1].all() and not lessons.truncated[:-1].any()
    np.testing.assert_array_equal(lessons.obs[1:], lessons.obs_after[:-1])
    assert lessons.mean_return() == pytest.approx(lessons.reward.sum(0).mean(), rel=1e-5)


def test_after_a_failure_a_lesson_goes_on_with_the_next_episode():
    lessons = lessons_of(Fragile())
    ended = lessons.terminated | lessons.truncated
    assert lessons.terminated[:-1].any()
    again = ended[:-1]
    np.testing.assert_allclose(lessons.obs[1:][again], 0, atol=1e-6)
    assert (np.abs(lessons.obs_after[lessons.terminated][:, 0]) > 0.4).all()  # before the reset
    np.testing.assert_array_equal(lessons.obs[1:][~again], lessons.obs_after[:-1][~again])


# The teacher.


def test_advantages_of_a_lesson_stop_at_the_end_of_every_episode():
    lessons, teacher = lessons_of(Fragile()), Teacher(2, 1, 2, TeacherConfig(gamma=0.9), 0)
    batch = teacher._batch(lessons)
    obs, after, told = (torch.from_numpy(x) for x in (lessons.obs, lessons.obs_after, lessons.told))
    with torch.no_grad():
        value = teacher.policy.value(teacher.params, teacher.seen(obs, told))
        next_value = teacher.policy.value(teacher.params, teacher.seen(after, told))
    terminated, truncated = torch.from_numpy(lessons.terminated), torch.from_numpy(lessons.truncated)
    scaled = torch.from_numpy(lessons.reward) / teacher.scale.scale()[1]
    for n in range(5):
        bounds = [0, *(np.flatnonzero((terminated | truncated)[:, n]) + 1)]
        for a, b in pairwise(bounds):
            end = torch.zeros(b - a, 1, dtype=torch.bool)
            end[-1] = True
            one = gae(*(x[a:b, n : n + 1] for x in (scaled, value, next_value, terminated)), end, 0.9, 0.95)
            mine = batch["target"].view(HORIZON, 5)[a:b, n] - value[a:b, n]
            torch.testing.assert_close(mine, one[:, 0], rtol=1e-5, atol=1e-6)


def test_a_teacher_takes_no_step_from_where_it_went_too_far():
    teacher, lessons = teacher_of(target_kl=1e-9), lessons_of(PointGoal())
    before = {k: p.detach().clone() for k, p in teacher.params.items()}
    assert teacher.update(lessons, 0.0)["adam_steps"] == 1  # these lessons are another policy's
    for name, p in teacher.params.items():  # what it expects of them it learns all the same
        assert torch.equal(p, before[name]) == name.startswith("actor/")
    assert teacher.brake == pytest.approx(1 / 1.5)


def test_weights_of_another_shape_are_not_spread_over_a_teachers():
    teacher = teacher_of()
    state = teacher.state_dict()
    state["params"] = {**state["params"], "critic/b0": torch.zeros(1)}
    with pytest.raises(ValueError, match="other names or shapes"):
        teacher.load_state_dict(state)


def test_what_a_teacher_shows_is_what_would_be_carried_out():
    teacher = teacher_of()
    with torch.no_grad():
        teacher.params["actor/b2"][:2] = torch.tensor([7.0, -7.0])
    shown = teacher.show(np.zeros((3, 4, 2), np.float32), torch.zeros(4, 2))
    assert torch.equal(shown, torch.tensor([1.0, -1.0]).expand(3, 4, 2))


@pytest.mark.parametrize(("n", "weight"), [(0, 1.0), (8, 1.0), (32, 0.25)])
def test_many_numbers_of_a_task_weigh_together_no_more_than_a_few(n, weight):
    teacher = Teacher(2, n, 2, TeacherConfig(), 0)
    seen = teacher.seen(torch.zeros(3, 4, 2), torch.ones(4, n))
    assert torch.equal(seen[..., 2:], torch.full((3, 4, n), weight))


def test_a_teacher_has_the_settings_of_its_pupil_and_a_trust_region_of_its_own():
    pupil = replace(MEMORY, teacher_kl=0.1, target_kl=0.2, gae_lambda=0.7, told_in="weights")
    config = teaching(pupil)
    assert (config.gamma, config.gae_lambda, config.target_kl, config.told_in) == (0.9, 0.7, 0.1, "weights")
    other = maml.teaching(replace(STEPPING, teacher_kl=0.1, gae_lambda=0.7, told_in="weights", init_std=0.3))
    assert (other.gamma, other.gae_lambda, other.target_kl, other.told_in) == (0.9, 0.7, 0.1, "weights")
    assert (other.init_std, other.min_std) == (0.3, 0.15)


def test_who_adapts_by_gradients_begins_with_what_its_teacher_sees_and_dares():
    agent = MAML("PointGoal", STEPPING, n_threads=1)
    agent.learn(BUDGET, lambda agent, stats: agent.iterations < 2)
    learner = agent.learner
    learner.take_over()
    assert torch.equal(learner.meta["log_std"][0], learner.teacher.log_std)
    assert not torch.equal(learner.teacher.log_std, MAML("PointGoal", STEPPING).learner.meta["log_std"][0])
    assert torch.equal(learner.normaliser.mean, learner.teacher.normaliser.mean)
    assert learner.normaliser.mean is not learner.teacher.normaliser.mean and learner.normaliser.count > 0


def test_weights_that_change_with_the_task_are_each_tasks_own():
    teacher = teacher_of(told_in="weights")
    x, told = torch.randn(5, 2), torch.tensor([[0.5, -2.0]]).expand(5, 2)
    with torch.no_grad():
        for p in teacher.params.values():
            p.copy_(torch.randn_like(p))
        mean, _ = teacher.act(x, told)
        seen = teacher.seen(x, told)
        parts = teacher.params["actor/w0"].unflatten(0, (4, 3))  # of each input: alone, and times c1, c2
        params = {**teacher.params, "actor/w0": parts[:, 0] + 0.5 * parts[:, 1] - 2.0 * parts[:, 2]}
        expected = through("actor", params, seen, told[:, :0])[:, :2]
    torch.testing.assert_close(mean, expected, rtol=1e-4, atol=1e-4)


def test_weights_begin_the_same_for_all_tasks():
    x, told = torch.randn(5, 2), torch.randn(5, 2)
    plain, weighty = teacher_of(), teacher_of(told_in="weights")
    torch.testing.assert_close(plain.act(x, told), weighty.act(x, told))
    weighty.update(lessons_of(PointGoal()), 0.0)
    first = weighty.params["critic/w0"].unflatten(0, (4, 3))
    assert (first[:, 1:] != 0).any()


def test_ratios_of_strange_steps_neither_push_nor_brake():
    old = torch.zeros(1000)
    new = torch.zeros(1000)
    new[0], new[1] = 200.0, -200.0
    found = surrogate(new, old, torch.full((1000,), -1.0), 0.2)
    assert float(found.kl) < 0.005 and float(found.gain) == pytest.approx(-1.0, abs=0.005)


def test_a_teacher_learns_what_a_pupil_cannot_see(monkeypatch):
    monkeypatch.setattr("metarl.learners.pupil.LESSON", 6400)
    agent = MetaLSTM("PointGoal", replace(MEMORY, teacher=0.9), seed=0, n_threads=1)
    returns = []
    agent.learn(16 * 6400, lambda agent, stats: returns.append(stats.get("teacher/return")))
    returns = [r for r in returns if r is not None]
    assert returns[0] < -10 and returns[-1] > -7  # with its noise; who does not know the goal gets -15


# Pupils.


@pytest.mark.parametrize(("progress", "expected"), [(0, 1), (0.5, 1), (0.625, 0.5), (0.75, 0), (1.0, 0)])
def test_imitation_fades_in_half_of_the_rest(progress, expected):
    assert imitation(progress, 0.5) == pytest.approx(expected)


@pytest.fixture(params=PUPILS)
def pupil(request) -> tuple:
    """Class and config of a learner that may have a teacher."""
    return PUPILS[request.param]


def numbers(learner) -> dict[str, torch.Tensor]:
    """What it has learned."""
    state = learner.acting_state()
    return state.get("params") or state["meta"]


def test_the_teacher_has_its_share_and_then_the_pupil_the_rest(pupil):
    agent = pupil[0]("PointGoal", pupil[1], n_threads=1)
    seen = []
    agent.learn(BUDGET, lambda agent, stats: seen.append(("teacher/return" in stats, agent.progress)))
    taught = [by_teacher for by_teacher, _ in seen]
    assert taught == [True, True] + [False] * (len(seen) - 2) and len(seen) > 3
    assert agent.lesson_steps == 2 * LESSON
    assert 0 < seen[2][1] < 0.5 < seen[-1][1] <= 1
    assert agent.num_timesteps <= BUDGET < agent.num_timesteps + agent.own_steps


@pytest.mark.parametrize("stop", [1, 3], ids=["teaching", "imitating"])
def test_a_pupil_that_was_interrupted_goes_on_as_if_it_had_not_been(stop, pupil, tmp_path):
    kind, config = pupil
    straight = kind("PointGoal", config, n_threads=1).learn(BUDGET)
    stopped = kind("PointGoal", config, n_threads=1)
    stopped.learn(BUDGET, lambda agent, stats: agent.iterations < stop)
    stopped.save(tmp_path / "agent.pt")
    resumed = kind.load(tmp_path / "agent.pt", n_threads=1).learn(BUDGET)
    assert resumed.lesson_steps == straight.lesson_steps
    for name, p in numbers(straight.learner).items():
        assert torch.equal(p, numbers(resumed.learner)[name]), name


def test_a_teacher_that_has_no_time_is_not_imitated(pupil, monkeypatch):
    monkeypatch.setattr("metarl.learners.pupil.LEAST_LESSONS", 3)
    agent, seen = pupil[0]("PointGoal", pupil[1], n_threads=1), []
    agent.learn(BUDGET, lambda agent, stats: seen.append(stats))
    assert agent.lesson_steps == 0 and not agent.learner.taught
    assert not any({"teacher/return", "learn/distance"} & stats.keys() for stats in seen)


def test_a_longer_budget_does_not_bring_the_teacher_back(pupil):
    agent = pupil[0]("PointGoal", pupil[1], n_threads=1).learn(BUDGET)
    seen = []
    agent.learn(20 * BUDGET, lambda agent, stats: seen.append(stats) or len(seen) < 2)
    assert not any("teacher/return" in stats for stats in seen)


def test_pupils_come_closer_to_what_they_are_shown(pupil):
    agent = pupil[0]("PointGoal", replace(pupil[1], teacher=0.03, imitate=0.9), n_threads=1)
    agent.learner.teacher.show = lambda obs, told: (5 * (told - torch.from_numpy(obs))).clamp(-1, 1)
    distance = []
    agent.learn(60 * agent.own_steps, lambda agent, stats: distance.append(stats.get("learn/distance")))
    distance = [d for d in distance if d is not None]
    assert np.mean(distance[-5:]) < 0.8 * np.mean(distance[:5])


@pytest.mark.parametrize("told_in", ["inputs", "weights"])
@pytest.mark.parametrize("few", [1, 8])
def test_a_pupil_begins_with_what_its_teacher_sees_expects_and_dares(few, told_in, monkeypatch):
    monkeypatch.setattr("metarl.learners.teacher.learner.FEW", few)
    agent = MetaLSTM("PointGoal", replace(MEMORY, told_in=told_in), n_threads=1)
    agent.learn(BUDGET, lambda agent, stats: agent.iterations < 2)
    learner = agent.learner
    learner.take_over()
    obs, told = torch.randn(4, 2), torch.rand(4, 2)
    player = agent.player(4)
    player.told = told
    decision = player.decide(obs.numpy(), np.ones(4, bool))
    with torch.no_grad():
        expected = learner.teacher.policy.value(learner.teacher.params, learner.teacher.seen(obs, told))
    torch.testing.assert_close(decision.value, expected)
    torch.testing.assert_close(decision.log_std.exp(), learner.teacher.log_std.exp())
    assert torch.equal(learner.scale.mean, learner.teacher.scale.mean)


def test_who_only_imitates_keeps_its_noise_and_its_rate():
    config = replace(MEMORY, target_kl=1e-6, entropy=1.0, imitate=0.99)
    agent = MetaLSTM("PointGoal", config, n_threads=1)
    seen = []
    agent.learn(2 * BUDGET, lambda agent, stats: seen.append(stats))
    seen = [stats for stats in seen if "learn/distance" in stats][:-1]
    assert len({round(stats["learn/action_std"], 6) for stats in seen}) == 1
    assert all(stats["learn/adam_steps"] == 2 * config.epochs for stats in seen)
    assert agent.learner.brake == 1


# The critic.


def test_what_the_critic_is_told_never_reaches_the_actions():
    agent = MetaLSTM("PointGoal", replace(MEMORY, teacher=0.0), n_threads=1)
    agent.learn(4 * agent.steps_per_iteration)
    players = [agent.player(3) for _ in range(3)]
    for player, told in zip(players, (None, torch.zeros(3, 2), torch.ones(3, 2)), strict=True):
        player.told = told
    obs, first = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32), np.ones(3, bool)
    decisions = [player.decide(obs, first) for player in players]
    assert torch.equal(decisions[0].mean, decisions[1].mean)
    assert torch.equal(decisions[1].mean, decisions[2].mean)
    assert not torch.equal(decisions[1].value, decisions[2].value)
    assert (decisions[0].value == 0).all()


# Pieces.


@pytest.mark.parametrize("core", ["lstm-memory", "lstm", "gru", "feedforward"])
def test_a_piece_unrolled_from_what_was_remembered_is_what_the_policy_did(core):
    agent = MetaLSTM("PointGoal", replace(MEMORY, core=core, teacher=0.0), n_threads=1)
    agent.learn(2 * agent.steps_per_iteration)  # so that normalisers have moved
    agent.sim.set_tasks(agent.family.sample(np.random.default_rng(0), 8))
    rng = np.random.default_rng(1)
    trials = collect_trials(
        agent.sim, agent.player(8), rng, agent.trial_length, piece=agent.piece, knows=True
    )
    assert agent.piece == 10 and all(len(x) == 4 for x in trials.memory.values())
    batch = agent.learner._batch(trials)
    assert batch["action"].shape == (10, 32, 2)
    policy, memory = agent.learner.policy, {}
    inputs = type(agent.learner.inputs(trials))(
        *(batch[k] for k in ("obs", "prev_action", "prev_reward", "episode_start", "change"))
    )
    memory = {k.removeprefix("memory/"): x[0] for k, x in batch.items() if k.startswith("memory/")}
    with torch.no_grad():
        decision = policy.unroll(agent.learner.params, inputs, batch["told"], memory or None)
    own = log_prob(decision.mean, decision.log_std, batch["action"])
    torch.testing.assert_close(own, batch["log_prob"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(decision.value, batch["value"], rtol=1e-4, atol=1e-5)


def test_what_a_trial_begins_with_is_learned_from_its_first_piece():
    agent = MetaLSTM("PointGoal", replace(MEMORY, teacher=0.0), n_threads=1)
    agent.sim.set_tasks(agent.family.sample(np.random.default_rng(0), 8))
    player = agent.player(8)
    batch = agent.learner._batch(
        collect_trials(agent.sim, player, np.random.default_rng(0), agent.trial_length, piece=10, knows=True)
    )
    content = list(agent.learner.params).index("memory/content")
    first, later = (agent.learner._gradient(batch, index)[0] for index in torch.arange(32).split([8, 24]))
    assert first[content].abs().max() > 0
    assert later[content].abs().max() == 0


def test_the_number_of_torch_threads_changes_nothing_for_a_teacher():
    learned = []
    for n_threads in (1, 2):
        teacher, lessons = teacher_of(), lessons_of(PointGoal())
        with torch_threads(n_threads):
            teacher.update(lessons, 0.0)
        learned.append(torch.cat([p.detach().flatten() for p in teacher.params.values()]))
    assert torch.equal(*learned)


@pytest.mark.parametrize("changed", [{"core": "transformer"}, {"memory_span": "episode"}])
def test_what_cannot_be_cut_is_learned_from_whole(changed):
    agent = MetaLSTM("PointGoal", replace(MEMORY, teacher=0.0, **changed), n_threads=1)
    assert agent.piece is None
    agent.learn(2 * agent.steps_per_iteration)
    assert agent.iterations == 2 and agent.skipped == 0


@pytest.mark.parametrize(("length", "wanted", "found"), [(40, 100, 40), (40, 10, 10), (40, 7, 8), (34, 5, 2)])
def test_pieces_are_about_as_long_as_asked_and_fill_a_trial(length, wanted, found):
    agent = MetaLSTM("PointGoal", replace(MEMORY, piece=wanted), n_threads=1)
    agent.family.__class__ = type("Short", (PointGoal,), {"horizon": length // 2})
    assert agent.piece == found


# Experts.


def test_an_expert_is_asked_in_every_state_that_the_pupil_comes_to():
    agent = MetaLSTM(Guided(), MEMORY, n_threads=1)
    sim, family = agent.sim, agent.family
    tasks = family.sample(np.random.default_rng(0), 8)
    sim.set_tasks(tasks)
    trials = collect_trials(sim, agent.player(8), np.random.default_rng(1), 40, shows=True)
    goals = np.array([[task["goal_x"], task["goal_y"]] for task in tasks])
    np.testing.assert_allclose(trials.shown, np.clip(5 * (goals - trials.obs), -1, 1), atol=1e-5)


class Watched(Guided):
    """One of which, in training, the place is known beside the goal."""

    def privileged(self, r):
        return r.qpos


def test_episodes_keep_what_may_be_known_and_what_an_expert_would_do_at_every_step():
    agent = MAML(Watched(), STEPPING, n_threads=1)
    learner, sim, tasks = agent.learner, agent.sim, agent.family.sample(np.random.default_rng(0), 8)
    sim.set_tasks(tasks)
    before = learner.policy, learner.initial(4), learner.normaliser
    episodes = collect(sim, *before, np.random.default_rng(1), knows=True, shows=True)
    goals = np.array([[task["goal_x"], task["goal_y"]] for task in tasks])
    np.testing.assert_allclose(episodes.told[..., -2:], episodes.obs, atol=1e-6)
    assert (episodes.told[:, :, :-2] == episodes.told[0, :, :-2]).all()
    np.testing.assert_allclose(episodes.shown, np.clip(5 * (goals - episodes.obs), -1, 1), atol=1e-5)
    unasked = collect(sim, *before, np.random.default_rng(1))
    assert unasked.told.size == unasked.shown.size == 0
    np.testing.assert_array_equal(unasked.obs, episodes.obs)


def test_an_expert_takes_the_teachers_place_at_once(pupil):
    agent, seen = pupil[0](Guided(), replace(pupil[1], imitate=0.9), n_threads=1), []
    agent.learn(60 * agent.own_steps, lambda agent, stats: seen.append(stats))
    assert agent.learner.teacher is None and agent.lesson_steps == 0
    assert not any("teacher/return" in stats for stats in seen)
    distance = [stats["learn/distance"] for stats in seen if "learn/distance" in stats]
    assert len(distance) > 50 and np.mean(distance[-5:]) < 0.8 * np.mean(distance[:5])
    assert "learn/distance" not in seen[-1]  # in the end it goes by itself


def test_whoever_imitates_nobody_learns_as_if_there_were_no_expert(pupil):
    kind, plain = pupil[0], replace(pupil[1], imitate=0.0, teacher=0.0)
    with_one, without = (kind(family, plain, n_threads=1).learn(2000) for family in (Guided(), PointGoal()))
    for name, p in numbers(with_one.learner).items():
        assert torch.equal(p, numbers(without.learner)[name]), name


def test_a_pupil_of_an_expert_goes_on_as_if_it_had_not_been_interrupted(pupil):
    straight, stopped, resumed = (pupil[0](Guided(), pupil[1], n_threads=1) for _ in range(3))
    straight.learn(BUDGET)
    stopped.learn(BUDGET, lambda agent, stats: agent.iterations < 2)
    resumed.load_state_dict(stopped.state_dict())
    resumed.learn(BUDGET)
    for name, p in numbers(straight.learner).items():
        assert torch.equal(p, numbers(resumed.learner)[name]), name
