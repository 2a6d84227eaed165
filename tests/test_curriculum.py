"""Training that begins with the robot of the model file, and widens its dynamics to the tasks'."""

from dataclasses import replace

import numpy as np
import pytest

from metarl import MAML, MAMLConfig, MetaLSTM, MetaLSTMConfig, MetaModel, MetaModelConfig
from metarl.cli import main
from metarl.envs import InputError
from metarl.envs.failures import load_failures, replay
from metarl.learners import pupil
from metarl.learners.agent import Agent
from metarl.runs.run_folder import FAILURES, RunFolder

NOMINAL, WIDEN, STEPS = 0.25, 0.5, 8000
CURRICULUM = {"nominal": NOMINAL, "widen": WIDEN}
SMALL = {
    MAML: MAMLConfig(n_tasks=2, n_episodes=1, hidden=(4,), **CURRICULUM),
    MetaLSTM: MetaLSTMConfig(n_trials=4, n_episodes=1, minibatches=2, width=8, hidden=4, **CURRICULUM),
    MetaModel: MetaModelConfig(
        n_trials=4, hidden=(4, 4), members=2, batch=8, updates=1, replay=0.01, policy_batch=4, **CURRICULUM
    ),
}


def widths(agent: Agent) -> list[float]:
    """Train; how wide each iteration's tasks were, in logarithms, beside those of the training list."""
    family, found = agent.family, []

    def note(agent: Agent, stats: dict[str, float]) -> None:
        mine = np.log(family.stack(agent.sim.tasks)["dof_damping"])
        pool = np.log(family.stack(family.tasks("train"))["dof_damping"])
        # One of the list is it whose numbers are so many times as large.
        cosine = (
            mine
            @ pool.T
            / np.linalg.norm(pool, axis=1)
            / np.maximum(1e-12, np.linalg.norm(mine, axis=1)[:, None])
        )
        best = np.argmax(cosine, axis=1)
        ratio = np.linalg.norm(mine, axis=1) / np.linalg.norm(pool[best], axis=1)
        assert np.ptp(ratio) < 1e-9 and (cosine.max(axis=1) > 1 - 1e-9).all() | (ratio == 0).all()
        assert ratio[0] == pytest.approx(stats["curriculum/width"], abs=1e-9)
        found.append(float(ratio[0]))

    agent.learn(STEPS, note)
    return found


@pytest.mark.parametrize("kind", SMALL)
def test_dynamics_are_the_model_files_first_then_widen_and_are_the_tasks_in_the_end(kind):
    found = widths(kind("HopperRandParams", SMALL[kind], n_threads=1))
    assert found[0] == 0 and found[-1] == pytest.approx(1) and found == sorted(found)
    assert len({round(width, 6) for width in found}) > 3


def test_a_teacher_is_taught_by_the_same_curriculum(monkeypatch):
    monkeypatch.setattr(pupil, "LESSON", 800)
    monkeypatch.setattr(pupil, "LEAST_LESSONS", 2)
    config = replace(SMALL[MetaLSTM], teacher=0.9, nominal=0.5, widen=0.0)
    agent, seen = MetaLSTM("HopperRandParams", config, n_threads=1), []
    agent.learn(8000, lambda agent, stats: seen.append((agent.lesson.tasks[0], stats["curriculum/width"])))
    mild = agent.family.milder(agent.family.tasks("train")[:1], 0)[0]
    assert [task == mild for task, width in seen] == [width == 0 for task, width in seen]
    assert {width for _, width in seen} == {0, 1}


def test_without_a_curriculum_nothing_is_drawn_otherwise_and_nothing_is_logged():
    plain = replace(SMALL[MetaLSTM], nominal=0.0, widen=0.0)
    agent, seen = MetaLSTM("HopperRandParams", plain, n_threads=1), []
    agent.learn(1600, lambda agent, stats: seen.append((agent.sim.tasks, stats)))
    pool = agent.family.tasks("train")
    assert all(task in pool for tasks, _ in seen for task in tasks)
    assert not any("curriculum/width" in stats for _, stats in seen)


@pytest.mark.parametrize("kind", SMALL)
def test_goals_alone_cannot_be_narrowed_and_who_asks_is_told(kind):
    with pytest.raises(InputError, match="PointGoal has no dynamics"):
        kind("PointGoal", SMALL[kind])


def test_a_curriculum_that_does_not_come_to_its_end_is_refused():
    config = replace(SMALL[MetaLSTM], nominal=0.5, widen=0.6)
    with pytest.raises(InputError, match=r"1\.1 of the training"):
        MetaLSTM("HopperRandParams", config)


BRITTLE = """
import numpy as np
from metarl.envs import Param, Uniform
from metarl.envs.families.point import PointGoal


class Brittle(PointGoal):
    'A point whose load has no part in it, and whose reward is no number when it goes to the right.'

    load = Param("payload", "kg", Uniform(1, 2), field="payload", objects=("point",), mode="add")
    params = (*PointGoal.params, load)

    def reward(self, r, action, task):
        return {**super().reward(r, action, task), "trap": np.where(r.qpos[:, 0] > 0.3, np.nan, 0.0)}
"""


def test_what_blew_up_under_a_milder_load_than_any_task_has_is_read_again(tmp_path):
    source, run = tmp_path / "mine.py", tmp_path / "run"
    source.write_text(BRITTLE)
    flags = ["--n-trials", "4", "--minibatches", "2", "--width", "8", "--hidden", "4", "--n-threads", "1"]
    command = ["train", f"{source}:Brittle", "--learner", "meta-lstm", *flags, "--widen", "1"]
    assert main([*command, "--steps", "2400", "--out", str(run)]) == 0
    _, agent = RunFolder(run).load()
    failures = load_failures(run / FAILURES, agent.family)
    assert any(failure.task["payload"] < 1 for failure in failures)
    assert all(replay(agent.family, failure).failed[0] for failure in failures)
    assert main(["train", "--resume", str(run), "--steps", "4800"]) == 0
