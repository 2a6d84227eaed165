"""What collecting and judging need of N simulations of tasks, whoever runs them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from metarl.envs.family import TaskFamily
from metarl.envs.task import Task
from metarl.errors import InputError


@dataclass(frozen=True)
class Step:
    """What one step of N simulations gives. Rows that were not stepped hold stale values.

    Attributes:
        obs: (N, obs_dim) float32, after the step.
        reward: (N,) float32, the sum of the terms.
        terms: the family's named reward terms, each (N,).
        terminated: (N,) the robot has failed (or its simulation has): value zero after it.
        truncated: (N,) the horizon is reached without failing.
        failed: (N,) the simulation blew up in this episode; it also counts as terminated, with obs and
            reward zero.
    """

    obs: np.ndarray
    reward: np.ndarray
    terms: dict[str, np.ndarray]
    terminated: np.ndarray
    truncated: np.ndarray
    failed: np.ndarray


@dataclass(frozen=True)
class Failure:
    """The step that a simulation did not survive; `metarl.envs.failures.replay` takes it again.

    Attributes:
        task: the simulation's.
        state: (nstate,) before the step, a row of `BatchSim.state`.
        action: (action_dim,) as it was carried out.
        elapsed: steps of the episode before it.
    """

    task: Task
    state: np.ndarray
    action: np.ndarray
    elapsed: int

    def __post_init__(self):
        for name in ("state", "action"):
            object.__setattr__(self, name, np.array(getattr(self, name), float))


def assigned(
    family: TaskFamily, n_sims: int, tasks: Sequence[Mapping[str, Any]], ids: np.ndarray | None
) -> tuple[np.ndarray, list[Task], dict[str, np.ndarray]]:
    """What `World.set_tasks` is given, checked: simulations, their tasks, and the tasks' numbers.

    Raises:
        InputError: there are not as many tasks as simulations, the family knows no such task, or no split has
            such numbers.
    """
    ids, tasks = np.arange(n_sims) if ids is None else np.asarray(ids), family.given(tasks)
    if len(tasks) != len(ids):
        raise InputError(f"{len(ids)} simulations need as many tasks, got {len(tasks)}")
    values = family.stack(tasks)
    for param in family.params:
        family.check_numbers(param, values[param.name].reshape(len(ids), -1))
    return ids, tasks, values


class World(Protocol):
    """N simulations of a family's tasks, which whatever samples or judges takes.

    `tests/test_worlds.py` holds the laws that every one of them keeps.

    Attributes:
        family: whose tasks they are; it knows the sizes and the horizon.
        n_sims: N.
        tasks: the simulations', N of them; none before `set_tasks`.
        elapsed: (N,) steps since each simulation's reset.
        succeeded: (N,) bool, where each simulation's last step has ended, at the goal or not; None where
            nobody says what that is.
        n_steps: steps taken so far, those of all simulations together.
        n_failures: simulations that have blown up so far.
        failures: the first of them that can be replayed.
    """

    n_sims: int
    tasks: list[Task]
    elapsed: np.ndarray
    succeeded: np.ndarray | None
    n_steps: int
    n_failures: int
    failures: list[Failure]

    @property
    def family(self) -> TaskFamily:
        """Whose tasks."""

    @property
    def task_values(self) -> dict[str, np.ndarray]:
        """The tasks' numbers by parameter, (N,) or (N, size), not to be written to."""

    def told(self) -> np.ndarray:
        """What may be known of the tasks in training, as it is now, (N, n) float32; never observed."""

    def shown(self) -> np.ndarray | None:
        """What the family's expert would do now, (N, action_dim) float32 in [-1, 1]; None without one."""

    def set_tasks(self, tasks: Sequence[Mapping[str, Any]], ids: np.ndarray | None = None) -> None:
        """Give simulations (`ids`, sorted; None is all) their tasks; takes effect for their next reset."""

    def reset(self, rng: np.random.Generator, mask: np.ndarray | None = None) -> np.ndarray:
        """Start new episodes where the mask, (N,) bool, is true; None is all.

        Others are left as they are. Everything random in the episode comes from rng.

        Returns:
            obs (N, obs_dim) float32 of all simulations.
        """

    def step(self, action: np.ndarray, mask: np.ndarray | None = None) -> Step:
        """Advance simulations by one step.

        Args:
            action: (N, action_dim), clipped to [-1, 1].
            mask: (N,) bool, which move; None is all. The others wait for their next reset.
        """

    def error(self) -> np.ndarray | None:
        """How far each simulation is from what is asked now, (N,), where the family says so."""

    def take_failures(self, other: Any) -> None:
        """Count as ours what has failed in another world of the family, which begins anew."""
