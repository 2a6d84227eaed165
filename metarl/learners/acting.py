"""A policy to act with, as `adapt` hands it over."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import gymnasium
import numpy as np

from metarl.envs import InputError, Task, TaskFamily, World, simulate
from metarl.export.graph import Graph
from metarl.export.write import Exported, export
from metarl.learners.given import as_paid, as_rows, is_env
from metarl.sampling.trajectories import Trajectories

PREDICTION_SEED = 0
NOTHING: Mapping[str, int] = MappingProxyType({})  # has it been adapted by


class Whose(Protocol):
    """What a policy has to know of its agent."""

    family: TaskFamily
    name: ClassVar[str]
    seed: int
    num_timesteps: int
    n_threads: int


class Acting:
    """The shared half of every learner's policy.

    It acts by its agent: where that is trained on, it is another policy.

    Args:
        agent: whose policy.
        adapted: what it was adapted by, in numbers.
        task: to which, if that is known.

    Attributes:
        predict: as agents have it: actions, and the state for the next call.
    """

    predict: Callable[..., tuple[np.ndarray, Any]]

    def __init__(self, agent: Whose, adapted: Mapping[str, int] = NOTHING, task: Task | None = None):
        self.agent, self.adapted, self.task = agent, adapted, task

    @property
    def family(self) -> TaskFamily:
        """Of whose robot."""
        return self.agent.family

    def graph(self, attention: bool = False) -> Graph:
        """What it does at a step; with how its memory was read, where that is wanted."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Where it comes from, in plain values."""
        agent = self.agent
        return {
            "learner": agent.name,
            "seed": agent.seed,
            "trained_steps": agent.num_timesteps,
            "adapted": dict(self.adapted),
            "task": None if self.task is None else dict(self.task),
        }

    def export(self, path: str | Path) -> Exported:
        """Write it as an ONNX file (see `Agent.export`)."""
        return export(self, path)


class Remembering(Acting):
    """A policy at some point of a trial. It keeps nothing itself: the state does.

    Args:
        agent: whose policy.
        state: of one trial, from which `predict` begins; None for the start of a trial.
        rng: draws actions that are not deterministic.
        adapted: what the state was made of, in numbers.
        task: of which, if that is known.
    """

    def __init__(
        self,
        agent: Whose,
        state: Any = None,
        rng: np.random.Generator | None = None,
        adapted: Mapping[str, int] = NOTHING,
        task: Task | None = None,
    ):
        super().__init__(agent, adapted, task)
        self.state = state
        self.rng = rng or np.random.default_rng(PREDICTION_SEED)


class Living(Protocol):
    """Somebody in the midst of a trial, who is shown its steps one by one."""

    def decide(self, obs: np.ndarray, episode_start: np.ndarray) -> Any:
        """See (1, obs_dim), the first of an episode or not, (1,) bool."""

    def feel(self, action: np.ndarray, reward: np.ndarray) -> Any:
        """Take in what was done, (1, action_dim), and what came of it, (1,)."""


def live(
    env: gymnasium.Env,
    family: TaskFamily,
    rng: np.random.Generator,
    act: Callable[[np.ndarray, np.ndarray], np.ndarray],
    feel: Callable[[np.ndarray, np.ndarray], Any],
) -> None:
    """The next episode of a trial in somebody's environment, cut at the family's horizon.

    Args:
        env: that is stepped.
        family: of the same robot.
        rng: draws the seed of its reset.
        act: obs (1, obs_dim) and whether it is an episode's first, (1,) bool, to an action (1, action_dim).
        feel: told what was done, (1, action_dim), and what came of it, (1,).

    Raises:
        InputError: it shows or pays what is not a finite number.
    """
    obs, _ = env.reset(seed=int(rng.integers(2**31)))
    for t in range(family.horizon):
        action = act(as_rows(obs, family.obs_dim), np.array([t == 0]))
        obs, reward, terminated, truncated, _ = env.step(np.clip(action[0], -1, 1))
        feel(action, np.array([as_paid(reward)], np.float32))
        if terminated or truncated:
            break


def first_episodes(
    agent: Whose,
    task_or_env: Mapping[str, Any] | gymnasium.Env,
    n: int,
    rng: np.random.Generator,
    act: Callable[[np.ndarray, np.ndarray], np.ndarray],
    feel: Callable[[np.ndarray, np.ndarray], Any],
    collect: Callable[[World], Any],
) -> Task | None:
    """Play the first n episodes of a trial.

    Args:
        agent: whose family it is.
        task_or_env: task values by name, simulated here, or somebody's environment.
        n: how many.
        rng: of resets there.
        act: as in `live`.
        feel: as in `live`.
        collect: plays an episode in one simulation here.

    Returns:
        The task; None in an environment, where nobody says it.

    Raises:
        InputError: no such task, an environment of another robot, or a number out of range.
    """
    if n < 0:
        raise InputError(f"{n} episodes cannot be played; use 0 or more")
    if is_env(task_or_env, agent.family):
        for _ in range(n):
            live(task_or_env, agent.family, rng, act, feel)
        return None
    sim, task = simulate(agent.family, 1, agent.n_threads), agent.family.task(task_or_env)
    sim.set_tasks([task])
    for _ in range(n):
        collect(sim)
    return task


def relive(player: Living, recordings: Sequence[Trajectories]) -> dict[str, int]:
    """Show recorded episodes, one after the other, as those of one trial; says how many they were."""
    n = 0
    for rows in recordings:
        for e in range(rows.reward.shape[1]):
            for t in range(int(rows.valid[:, e].sum())):
                player.decide(rows.obs[t, [e]], np.array([t == 0]))
                player.feel(rows.action[t, [e]], rows.reward[t, [e]])
            n += 1
    return {"recorded_episodes": n}
