"""References: known returns for known policies, and a score that means what it says."""

import json

import baselines
import numpy as np
import pytest

import metarl.evaluation.references
from metarl import MetaLSTM, MetaLSTMConfig
from metarl.envs import BatchSim, InputError, Task, load_family
from metarl.envs.families.point import PointGoal
from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.references import (
    ExpertPolicy,
    ModelPolicy,
    PlannedPolicy,
    RandomPolicy,
    References,
    load_references,
    references_on,
)
from metarl.learners.meta_model.planner.icem import ICEM

STEP = 0.1  # m


@pytest.fixture
def family() -> PointGoal:
    return load_family("PointGoal")


def references(family: PointGoal) -> References:
    """Made up, except for the tasks."""
    tasks = [dict(task) for task in family.tasks("test")]
    k = np.arange(len(tasks))
    lists = {"random": -20.0 - k, "average": -15.0 - k, "oracle": -2.0 - 0.1 * k}
    return References(family.name, tasks, **{n: x.tolist() for n, x in lists.items()}, scratch=[], made_by={})


@pytest.fixture
def known(family, tmp_path, monkeypatch) -> References:
    """References that every evaluation finds."""
    found = references(family)
    found.save(tmp_path)
    load = load_references.__wrapped__
    monkeypatch.setattr(metarl.evaluation.references, "load_references", lambda name: load(name, tmp_path))
    return found


def towards(obs: np.ndarray) -> np.ndarray:
    """Full speed to the goal that the observation ends with."""
    return (obs[:, 2:] - obs[:, :2]) / STEP


def test_a_policy_that_is_told_the_goal_gets_the_optimum(family):
    tasks = family.tasks("test")
    result = evaluate(ModelPolicy(towards, told=True), family, tasks, 2, 2)
    best = family.optimum(np.array([[t["goal_x"], t["goal_y"]] for t in tasks]))
    np.testing.assert_allclose(result.returns, np.repeat(best[:, None], 2, axis=1), rtol=0.01, atol=1e-3)


def test_random_actions_depend_on_the_seed_only_and_gain_nothing(family):
    tasks = family.tasks("test")
    one, again = (evaluate(RandomPolicy(), family, tasks, 2, 5, seed=1) for _ in range(2))
    other = evaluate(RandomPolicy(), family, tasks, 2, 5, seed=2)
    assert one == again
    assert one.returns != other.returns
    assert abs(one.gain[1]) < np.ptp(one.gain_ci95[1])


def test_random_scores_nothing_and_the_oracle_one(family, known):
    on = references_on(family, family.tasks("test"))
    columns = np.stack([known.random, known.oracle, np.add(known.random, known.oracle) / 2], axis=1)
    np.testing.assert_allclose(on.score(columns), [0, 1, 0.5])


def test_an_evaluation_is_scored_on_the_tasks_it_met(family, known):
    tasks = family.tasks("test")[3:7][::-1]
    result = evaluate(ModelPolicy(towards, told=True), family, tasks, 1, 1)
    low, high = (np.mean(values[3:7]) for values in (known.random, known.oracle))
    assert result.score == pytest.approx([(result.mean[0] - low) / (high - low)])


def test_a_task_that_was_not_measured_has_no_score(family, known):
    tasks = [*family.tasks("test")[:2], family.task({"goal_x": 0.123, "goal_y": 0.0})]
    assert evaluate(RandomPolicy(), family, tasks, 2, 1).score == [None, None]


def test_a_task_is_known_though_another_processor_drew_its_last_bit(family):
    known = load_references("PointGoal")
    task, *_ = family.tasks("test")
    other = Task({name: float(np.nextafter(value, 9.0)) for name, value in task.items()})
    there, here = known.on([task]), known.on([other])
    assert other != task and here.oracle == there.oracle
    assert here.tasks == [dict(other)]
    assert [one["task"] for one in (*here.planned, *here.scratch)] == 2 * [dict(other)]


def test_a_family_that_only_shares_the_name_has_no_score(known):
    mine = type("PointGoal", (PointGoal,), {})()
    assert mine.tasks("test") == PointGoal().tasks("test")
    assert references_on(mine, mine.tasks("test")) is None


def test_one_command_measures_them(family, tmp_path, monkeypatch):
    monkeypatch.setattr(References.save, "__defaults__", (tmp_path,))
    flags = ["--steps", "6400", "--scratch-steps", "6400", "--scratch-tasks", "2", "--average-steps", "6400"]
    flags += ["--planned-tasks", "2"]
    tasks = family.tasks("test")
    assert baselines.main(["PointGoal", *flags, "--n-threads", "1"]) == 0
    found = References(**json.loads((tmp_path / "PointGoal.json").read_text()))
    assert found.tasks == [dict(task) for task in family.tasks("test")]
    for values in (found.random, found.average, found.oracle):
        assert len(values) == 20
        assert np.isfinite(values).all()
    assert [curve["env_steps"][-1] for curve in found.scratch] == [6400, 6400]
    assert found.made_by["options"]["family"] == "PointGoal"
    assert [one["task"] for one in found.planned] == [dict(tasks[k]) for k in (0, 19)]
    planner, told = found.beside_planned()
    assert told == pytest.approx(np.mean([found.oracle[k] for k in (0, 19)]))
    assert planner > told  # who was hardly trained
    monkeypatch.setattr(baselines, "references_of", lambda family: found)
    assert baselines.main(["PointGoal", "--only-planned", "--planned-tasks", "1", "--n-threads", "1"]) == 0
    again = References(**json.loads((tmp_path / "PointGoal.json").read_text()))
    assert again.oracle == found.oracle and [one["task"] for one in again.planned] == [dict(tasks[0])]
    assert baselines.main(["PointGaol"]) == 2


def test_the_oracle_has_met_tasks_like_the_held_out_ones_and_no_list_of_them():
    def draw(name: str, n: int, told: bool) -> list[Task]:
        return baselines.practised(load_family(name), np.random.default_rng(0), n, told)

    between = load_family("HalfCheetahVelGap").params[0].test
    for n, told, apart in ((9, True, 4), (9, False, 0), (1, True, 0)):
        asked = np.array([task["velocity"] for task in draw("HalfCheetahVelGap", n, told)])
        assert ((between.low < asked) & (asked < between.high)).sum() == apart and len(asked) == n
    for name in ("HopperRandParams", "AntVel"):
        usual = load_family(name).sample(np.random.default_rng(0), 5)
        assert draw(name, 5, told=False) == usual
        assert (draw(name, 5, told=True) == usual) is (name == "AntVel")  # which has no list


def test_the_oracle_is_a_teacher_that_was_kept_or_an_expert(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(References.save, "__defaults__", (tmp_path,))
    small = ["--average-steps", "6400", "--scratch-tasks", "0", "--planned-tasks", "0", "--n-threads", "1"]
    monkeypatch.setattr(baselines, "N_EPISODES", 1)
    config = MetaLSTMConfig(n_trials=2, teacher=0.95)
    agent = MetaLSTM("PointGoal", config, seed=0, n_threads=1).learn(200_000)
    agent.save(tmp_path / "kept.pt")
    assert baselines.main(["PointGoal", *small, "--teachers", str(tmp_path / "kept.pt")]) == 0
    found = References(**json.loads((tmp_path / "PointGoal.json").read_text()))
    assert found.made_by["oracle"] == "teachers" and found.made_by["options"]["teachers"] == ["kept.pt"]
    assert np.mean(found.oracle) > np.mean(found.random) + 5  # it has learned, and is told
    assert np.mean(found.oracle) > np.mean(found.average) + 5

    agent.save(tmp_path / "acts.pt", acts_only=True)
    for family, run, says in (
        ("PointGoal", "acts.pt", "has no teacher, or has not kept it"),
        ("ReacherGoal", "kept.pt", "was trained on PointGoal, not on ReacherGoal"),
    ):
        assert baselines.main([family, *small, "--teachers", str(tmp_path / run)]) == 2
        assert says in capsys.readouterr().err

    assert baselines.main(["ArmPush", *small]) == 0
    found = References(**json.loads((tmp_path / "ArmPush.json").read_text()))
    assert found.made_by["oracle"] == "expert"
    assert np.mean(found.oracle) > 25 > np.mean(found.average)


def test_a_family_without_an_expert_has_none_to_judge(family):
    with pytest.raises(InputError, match="PointGoal brings no expert"):
        evaluate(ExpertPolicy(), family, family.tasks("test"), 1, 1)


def test_a_planner_that_tries_its_plans_on_the_simulator_comes_near_the_optimum(family):
    tasks = family.tasks("test")[:4]
    result = evaluate(PlannedPolicy(ICEM(2, 10, 36, 3, 5, 1.0, 0.5)), family, tasks, 1, 1, n_threads=1)
    best = family.optimum(np.array([[t["goal_x"], t["goal_y"]] for t in tasks]))
    np.testing.assert_allclose(result.returns, best[:, None], atol=1.5)  # -12 for standing still


@pytest.mark.parametrize("name", ["HalfCheetahDamage", "ReacherGoal"])
def test_who_follows_a_simulation_goes_on_as_it_does(name):
    family = load_family(name)
    one, other = BatchSim(family, 2, 1), BatchSim(family, 5, 1)
    ids, rng = np.array([1, 0, 1, 1, 0]), np.random.default_rng(0)
    tasks = family.tasks("test")[:2]
    one.set_tasks(tasks)
    other.set_tasks([tasks[i] for i in ids])
    one.reset(rng)
    other.reset(rng)
    for _ in range(4):
        action = rng.uniform(-1, 1, (2, family.action_dim))
        one.step(action)
    other.follow(one, ids)
    for _ in range(3):
        action = rng.uniform(-1, 1, (2, family.action_dim))
        step, same = one.step(action), other.step(action[ids])
        np.testing.assert_array_equal(same.obs, step.obs[ids])
        np.testing.assert_array_equal(same.reward, step.reward[ids])
        np.testing.assert_array_equal(other.elapsed, one.elapsed[ids])


def test_what_is_drawn_as_an_episode_goes_on_cannot_be_followed():
    sim = BatchSim("HalfCheetahBreaks", 1, 1)
    with pytest.raises(InputError, match="HalfCheetahBreaks cannot be followed"):
        sim.follow(sim, np.zeros(1, int))
