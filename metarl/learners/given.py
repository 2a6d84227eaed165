"""What `predict` and `adapt` are given, held to what they take."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor
from typing_extensions import TypeIs

from metarl.envs import FamilyEnv, TaskFamily
from metarl.errors import InputError


def is_env(given: Any, family: TaskFamily) -> TypeIs[gymnasium.Env]:
    """Whether somebody gave an environment, instead of a task.

    Raises:
        InputError: it is of another robot than the family's, several at once, takes other actions than those
            in [-1, 1], or is another task every episode.
    """
    if isinstance(given, gymnasium.vector.VectorEnv):
        raise InputError("adapt takes one environment, as gymnasium.make makes it, not a vector of them")
    if not isinstance(given, gymnasium.Env):
        return False
    shapes = given.observation_space.shape, given.action_space.shape
    if shapes != ((family.obs_dim,), (family.action_dim,)):
        raise InputError(
            f"the environment is of another robot: it shows {shapes[0]} and takes {shapes[1]}, "
            f"{family.name} shows ({family.obs_dim},) and takes ({family.action_dim},)"
        )
    takes = given.action_space
    if not isinstance(takes, Box) or not (np.allclose(takes.low, -1) and np.allclose(takes.high, 1)):
        raise InputError(
            f"actions are in [-1, 1], and the environment takes {takes}: give "
            "gymnasium.wrappers.RescaleAction(env, -1.0, 1.0)"
        )
    if isinstance(given.unwrapped, FamilyEnv) and given.unwrapped.task is None:
        raise InputError(
            "the environment draws another task for every episode, and one adapts to one: give it task={...} "
            "as it is made"
        )
    return True


def as_rows(obs: Any, obs_dim: int) -> np.ndarray:
    """Observations (obs_dim,) or (N, obs_dim) as rows, (N, obs_dim) float32.

    Raises:
        InputError: they are none of this robot, or not finite numbers.
    """
    try:
        rows = np.asarray(obs)
        rows = rows.astype(np.float32, casting="same_kind" if rows.dtype.kind in "cf" else "unsafe")
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"an observation is {obs_dim} numbers, not {type(obs).__name__}") from None
    if rows.ndim not in (1, 2) or rows.shape[-1] != obs_dim:
        raise InputError(f"observations here are ({obs_dim},) or (N, {obs_dim}), not {rows.shape}")
    if not len(np.atleast_2d(rows)):
        raise InputError("there is no observation to act at")
    if not np.isfinite(rows).all():
        raise InputError("the observation holds what is not a finite number")
    return np.atleast_2d(rows)


def as_paid(reward: Any) -> float:
    """The reward of a step in somebody's environment.

    Raises:
        InputError: it is not a finite number.
    """
    try:
        paid = float(np.asarray(reward, float).item())
    except (TypeError, ValueError):
        paid = np.nan
    if not np.isfinite(paid):
        raise InputError(f"the environment pays {reward!r}, which is not a finite number")
    return paid


def as_starts(episode_start: Any, n: int, first: bool) -> np.ndarray:
    """Which of n observations are the first of their episodes, (n,) bool; all or none where nobody says.

    Raises:
        InputError: they are not so many, or something else than true and false.
    """
    if episode_start is None:
        return np.full(n, first)
    given = np.atleast_1d(np.asarray(episode_start))
    start = given.astype(bool)
    if given.dtype.kind not in "biuf" or (start != given).any():
        raise InputError(f"episode_start is true or false for each observation, not {episode_start!r}")
    if start.shape != (n,):
        raise InputError(f"episode_start is (N,), here N = {n}, and not of shape {start.shape}")
    return start


class Carried(Protocol):
    """What an agent carries from step to step of N trials."""

    @property
    def n_trials(self) -> int:
        """N."""

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """All of it, (N, ...) each."""


def check_state(state: Any, own: Carried) -> None:
    """Raise InputError unless somebody gave a state like an agent's own at the start of as many trials.

    An axis that is empty there may have grown.
    """
    if not hasattr(state, "tensors"):
        raise InputError(f"a state is what the last predict gave, not {type(state).__name__}")
    if state.n_trials != own.n_trials:
        raise InputError(
            f"the state is of {state.n_trials} trials, and there are {own.n_trials} observations"
        )
    mine, given = own.tensors, state.tensors
    if mine.keys() != given.keys() or not all(_fits(given[k].shape, x.shape) for k, x in mine.items()):
        raise InputError("the state is what another agent's predict gave, one of other settings or robots")


def _fits(shape: Sequence[int], own: Sequence[int]) -> bool:
    return len(shape) == len(own) and all(b in (0, a) for a, b in zip(shape, own, strict=True))


def as_rewards(reward: float | np.ndarray | None, n: int) -> Tensor:
    """What the last step gave, as a row's each, (n,) float32.

    Raises:
        InputError: nobody said it, or it is not a finite number.
    """
    try:
        given = np.asarray(reward, np.float32)
    except (TypeError, ValueError, RuntimeError):
        given = np.array(np.nan)
    if not np.isfinite(given).all():
        raise InputError("predict(obs, state) needs reward=..., the number that the last step gave")
    if given.shape not in ((), (1,), (n,)):
        raise InputError(f"rewards are (N,), here N = {n}, and not of shape {given.shape}")
    return torch.from_numpy(np.broadcast_to(given, n).copy())
