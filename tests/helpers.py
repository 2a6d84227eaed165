"""What the tests of the learning half share: plain trajectories, and the smallest of trainings."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from metarl import MAMLConfig
from metarl.envs import Param, TaskFamily, Uniform
from metarl.envs.families.point import PointGoal
from metarl.learners.maml.learner import Batch, MAMLLearner
from metarl.sampling.trajectories import Trajectories

OBS_DIM, ACTION_DIM = 3, 2
PLAIN = {
    "outer": "trpo",
    "inner_steps": 1,
    "learn_inner_lr": False,
    "learned_loss": False,
    "gae_lambda": 1.0,
    "epochs": 5,
    "minibatches": 1,
    "outer_lr": 2e-3,
    "fisher_stride": 1,
}
SMALL = MAMLConfig(n_tasks=3, n_episodes=2, hidden=(5,), inner_lr=0.3, **PLAIN)
TINY = MAMLConfig(n_tasks=2, n_episodes=3, hidden=(4,), **PLAIN)  # for runs on PointGoal
TINY_STEPS = 2 * 3 * 20 * 2  # environment steps of one of its iterations
# The same size on the command line.
SMALL_MAML = [
    *("--n-tasks", "2", "--n-episodes", "3", "--hidden", "4", "--n-threads", "1"),
    *("--outer", "trpo", "--inner-steps", "1"),
]
SMALL_RECURRENT = [
    *("--learner", "meta-lstm", "--n-trials", "4", "--n-episodes", "3", "--minibatches", "2"),
    *("--width", "8", "--hidden", "4", "--n-threads", "1", "--critic", "blind"),
]
SMALL_MODEL = [
    *("--learner", "meta-model", "--n-trials", "12", "--hidden", "4", "4", "--members", "2"),
    *("--window", "4", "--context", "2", "--open-loop", "2", "--batch", "8", "--updates", "2"),
    *("--policy-batch", "4", "--replay", "0.01", "--n-threads", "1"),
]  # 240 steps an iteration
SMALL_COMMANDS = {"maml": SMALL_MAML, "meta-lstm": SMALL_RECURRENT, "meta-model": SMALL_MODEL}

needs_moviepy = pytest.mark.skipif(
    find_spec("moviepy") is None,
    reason="no MoviePy here: pip install --no-deps moviepy decorator proglog python-dotenv",
)


def are_held_out(written: Sequence[Mapping[str, Any]], family: TaskFamily) -> bool:
    """Whether tasks are the family's held-out ones, but for last bits, in which processors differ (exp)."""
    tasks = family.tasks("test")
    return len(written) == len(tasks) and all(
        one.keys() == task.keys()
        and all(np.allclose(one[name], task[name], rtol=1e-12, atol=0) for name in task)
        for one, task in zip(written, tasks, strict=True)
    )


def saving_often(*words: str, before: str = "") -> list[str]:
    """The command `metarl` of these words in another process, with a checkpoint after every iteration.

    Statements of Python may run before it.
    """
    often = "import sys, metarl.runs.train as t; t.SECONDS_BETWEEN_CHECKPOINTS = 0; "
    run = "from metarl.cli import main; sys.exit(main(sys.argv[1:]))"
    return [sys.executable, "-c", before + often + run, *words]


def trajectories(
    rng: np.random.Generator, length: int, n: int, obs_dim: int = OBS_DIM, action_dim: int = ACTION_DIM
) -> Trajectories:
    """Random episodes of full length, with a reward that the action pays for."""
    out = Trajectories.empty(length, n, obs_dim, action_dim)
    out.obs[:] = rng.standard_normal(out.obs.shape)
    out.action[:] = 0.5 * rng.standard_normal(out.action.shape)
    out.log_prob[:] = -1.5 + 0.1 * rng.standard_normal(out.reward.shape)
    out.reward[:] = out.action.sum(-1) * out.obs[..., 0] + rng.standard_normal(out.reward.shape)
    out.valid[:] = out.truncated[-1] = out.episode_start[0] = out.trial_start[0] = True
    return out


def stages(rng: np.random.Generator, config: MAMLConfig, length: int = 6) -> list[Trajectories]:
    """Trajectories of every stage of an iteration."""
    n = config.n_tasks * config.n_episodes
    return [trajectories(rng, length, n) for _ in range(config.inner_steps + 1)]


def with_expert(rng: np.random.Generator, data: Sequence[Trajectories]) -> list[Trajectories]:
    """The same trajectories, and what some expert would have done."""
    return [replace(t, shown=rng.uniform(-1, 1, t.action.shape).astype(np.float32)) for t in data]


def rows(t: Trajectories, index: slice | np.ndarray) -> Trajectories:
    """The trajectories of some of the simulations."""
    return Trajectories(**{k: x[:, index].copy() for k, x in vars(t).items()})


def pad(t: Trajectories, length: int, fill: float) -> Trajectories:
    """The same episodes in longer arrays; what lies beyond their end is noise."""
    out = {}
    for name, x in vars(t).items():
        beyond = np.zeros if x.dtype == bool else lambda s, d: np.full(s, fill, d)
        out[name] = np.concatenate([x, beyond((length - len(x), *x.shape[1:]), x.dtype)])
    return Trajectories(**out)


def double(learner: MAMLLearner, batches: list[Batch]) -> list[Batch]:
    """Let a learner compute in float64, on these batches in float64."""
    learner.meta = {k: p.detach().double().requires_grad_() for k, p in learner.meta.items()}
    return [Batch(**{k: x.double() for k, x in vars(b).items()}) for b in batches]


class Fragile(PointGoal):
    """The point fails when it goes beyond 0.4 m; staying alive pays."""

    params = (Param("goal_x", "m", Uniform(-1, 1)),)

    def terminated(self, r):
        return np.abs(r.qpos[:, 0]) > 0.4

    def reward(self, r, action, task):
        return {"alive": np.ones(len(action))}
