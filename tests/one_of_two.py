"""Run as one of two processes: each learner learns from its share of the same data, and is saved.

The other process, and the one that compares, import the same data and learners from here.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from helpers import ACTION_DIM, OBS_DIM, PLAIN, rows, stages, with_expert

from metarl import MAMLConfig, MetaLSTMConfig, ranks
from metarl.errors import NotFiniteError
from metarl.learners.maml.learner import MAMLLearner
from metarl.learners.meta_lstm.learner import MetaLSTMLearner
from metarl.learners.teacher.config import TeacherConfig
from metarl.learners.teacher.learner import Teacher
from metarl.sampling.lessons import Lessons
from metarl.sampling.trajectories import Trials

N_TASKS, N_TRIALS, N_LESSONS = 5, 7, 5  # odd, so that one process has more
UPDATES = 2
MAML = MAMLConfig(n_tasks=N_TASKS, n_episodes=2, hidden=(5,), **{**PLAIN, "minibatches": 4, "epochs": 2})
LSTM = MetaLSTMConfig(
    n_trials=N_TRIALS, minibatches=6, epochs=2, width=8, hidden=4, teacher=0.0, critic="blind", target_kl=1000
)
TEACHER = TeacherConfig(width=8, minibatches=7, target_kl=1000)
Part = Callable[[int], Sequence[int]]  # of so many, whose a process is


def maml(outer: str, expert: bool = False) -> tuple[MAMLLearner, Callable[[int, Part], None]]:
    config = replace(MAML, outer=outer, inner_steps=2, imitate=0.05, n_context=2 if expert else 0)
    learner = MAMLLearner(OBS_DIM, ACTION_DIM, config, 0, expert=expert)

    def update(k: int, part: Part) -> None:
        columns, rng = [2 * task + e for task in part(N_TASKS) for e in range(2)], np.random.default_rng(k)
        data = stages(rng, learner.config)
        if expert:
            data = with_expert(rng, data)
        learner.update([rows(stage, np.array(columns)) for stage in data], 0.1)

    return learner, update


def lstm() -> tuple[MetaLSTMLearner, Callable[[int, Part], None]]:
    learner = MetaLSTMLearner(OBS_DIM, ACTION_DIM, LSTM, 0)

    def update(k: int, part: Part) -> None:
        rng, n = np.random.default_rng(k), N_TRIALS
        out = Trials.empty(12, n, OBS_DIM, ACTION_DIM)
        for x in (out.obs, out.action, out.reward, out.value):
            x[:] = rng.standard_normal(x.shape)
        out.log_prob[:] = -2.0
        out.valid[:] = out.trial_start[0] = out.episode_start[::6] = out.truncated[5::6] = True
        some = list(part(n))
        own = {name: x[:, some] for name, x in vars(out).items() if getattr(x, "ndim", 0) > 1 and len(x) > n}
        learner.update(replace(out, **own), 0.1)

    return learner, update


def teacher() -> tuple[Teacher, Callable[[int, Part], None]]:
    learner = Teacher(OBS_DIM, 2, ACTION_DIM, TEACHER, 0)

    def update(k: int, part: Part) -> None:
        rng, shape = np.random.default_rng(k), (6, N_LESSONS)
        wide = [rng.standard_normal((*shape, d)).astype(np.float32) for d in (OBS_DIM, OBS_DIM, ACTION_DIM)]
        told = rng.standard_normal((*shape, 2)).astype(np.float32)
        log_std, flat = np.full_like(wide[2], -0.5), np.full(shape, -2.0, np.float32)
        ended = np.zeros(shape, bool)
        ended[-1] = True
        some, reward = list(part(N_LESSONS)), rng.standard_normal(shape).astype(np.float32)
        arrays = [wide[0], wide[1], wide[2], log_std, flat, reward, ended & False, ended]
        obs, after, *others = (x[:, some] for x in arrays)
        learner.update(Lessons(obs, after, told[:, some], told[:, some], *others), 0.1)

    return learner, update


LEARNERS: dict[str, Callable[[], tuple[Any, Callable[[int, Part], None]]]] = {
    "maml ppo": lambda: maml("ppo"),
    "maml trpo": lambda: maml("trpo"),
    "maml that imitates": lambda: maml("ppo", expert=True),
    "meta-lstm": lstm,
    "teacher": teacher,
}


def learned(make: Callable[[], tuple[Any, Callable[[int, Part], None]]], part: Part) -> dict[str, Any]:
    """What a learner has come to after some updates."""
    learner, update = make()
    for k in range(UPDATES):
        update(k, part)
    return learner.state_dict()


def raised_elsewhere() -> list[str]:
    """What this process sees of what only process 1 raises."""
    seen = []
    for error in (None, NotFiniteError("no number"), ValueError("wrong")):
        try:
            with ranks.together():
                if error is not None and ranks.rank() == 1:
                    raise error
            seen.append("nothing")
        except (ValueError, ranks.LostError) as caught:
            seen.append(type(caught).__name__)
    return seen


def main(store: str, number: str, out: str) -> None:
    torch.set_num_threads(1)
    with ranks.meeting(store, int(number), 2) as how, ranks.joined(**how):
        found = {name: learned(make, ranks.share) for name, make in LEARNERS.items()}
        functions = {
            "each": ranks.each(ranks.rank() + 5),
            "any": [ranks.any_of(False), ranks.any_of(ranks.rank() == 1)],
            "first": ranks.from_first({"a": ranks.rank()}),
            "mean": ranks.mean({"x": torch.full((2,), float(ranks.rank())), "y": 3.0}, 1 + ranks.rank()),
            "nothing": ranks.mean(float("nan") if ranks.rank() else 2.0, 1 - ranks.rank()),
            "share": list(ranks.share(5)),
            "raised": raised_elsewhere(),
        }
        torch.save({"learned": found, "functions": functions}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
