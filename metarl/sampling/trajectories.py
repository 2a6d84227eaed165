"""Trajectories: the one data type between sampling and learning."""

from dataclasses import dataclass, fields

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Trajectories:
    """What N simulations lived through in T steps; time first, one row an episode or a trial.

    Attributes:
        obs: (T, N, obs_dim) float32, before each step.
        action: (T, N, action_dim) float32, as drawn (the simulator clips).
        log_prob: (T, N) float32, of the action when it was drawn.
        reward: (T, N) float32.
        terminated: (T, N) bool, the step failed: nothing is worth anything after it.
        truncated: (T, N) bool, the step was the last for want of time.
        valid: (T, N) bool; false where the row has already ended and the rest is padding.
        episode_start: (T, N) bool, obs is the first of an episode.
        trial_start: (T, N) bool, obs is the first of a trial.
        told: (T, N, n_told) float32, the tasks in numbers at each step, for what may know them in training;
            n_told may be 0.
        shown: (T, N, action_dim) float32, what the family's expert would have done;
            (T, N, 0) where nobody asked.

    Raises:
        ValueError: two arrays disagree about T and N.
    """

    obs: np.ndarray
    action: np.ndarray
    log_prob: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    valid: np.ndarray
    episode_start: np.ndarray
    trial_start: np.ndarray
    told: np.ndarray
    shown: np.ndarray

    def __post_init__(self):
        for part in fields(Trajectories):
            array = getattr(self, part.name)
            ndim = 3 if part.name in ("obs", "action", "told", "shown") else 2
            if array.ndim != ndim or array.shape[:2] != self.reward.shape:
                raise ValueError(
                    f"{part.name} has shape {array.shape}, reward {self.reward.shape}: "
                    f"expected {ndim} axes, time and simulation first"
                )

    @classmethod
    def empty(cls, length: int, n: int, obs_dim: int, action_dim: int) -> "Trajectories":
        """Zeros for T = length steps of n simulations, to be filled in place."""
        return cls(**cls._zeros(length, n, obs_dim, action_dim))

    @staticmethod
    def _zeros(length: int, n: int, obs_dim: int, action_dim: int) -> dict[str, np.ndarray]:
        wide = {"obs": (obs_dim,), "action": (action_dim,), "told": (0,), "shown": (0,)}
        sizes = {**wide, "log_prob": (), "reward": ()}
        return {
            f.name: np.zeros((length, n, *sizes[f.name]), np.float32)
            if f.name in sizes
            else np.zeros((length, n), bool)
            for f in fields(Trajectories)
        }

    @property
    def n_steps(self) -> int:
        """Environment steps that were really taken."""
        return int(self.valid.sum())

    def returns(self) -> np.ndarray:
        """Undiscounted sum of rewards of each row, (N,)."""
        return (self.reward * self.valid).sum(axis=0)


@dataclass(frozen=True)
class Trials(Trajectories):
    """Whole trials, one a row: every step is valid, and episodes follow each other without a gap.

    Attributes:
        value: (T + 1, N) float32, what the policy that acted expected of each obs, and in the last row of
            the state after the last step, in its own scaled reward.
        n_pieces: P, of equal length, in which a trial can be learned from.
        memory: what the policy remembered at the start of each, by name: (P, N, ...) tensors; empty where
            nobody asked.
    """

    value: np.ndarray
    n_pieces: int
    memory: dict[str, Tensor]

    def change(self) -> np.ndarray:
        """What each step has brought, as it is known before the next, (T, N, obs_dim + 1).

        The difference of two observations in a row, then that of the two rewards before; zero where they
        are not of one episode.
        """
        obs, reward, start = self.obs, self.reward, self.episode_start
        out = np.zeros((*reward.shape, obs.shape[-1] + 1), np.float32)
        out[1:, :, :-1] = np.where(start[1:, :, None], 0, obs[1:] - obs[:-1])
        out[2:, :, -1] = np.where(start[2:] | start[1:-1], 0, reward[1:-1] - reward[:-2])
        return out

    @classmethod
    def empty(cls, length: int, n: int, obs_dim: int, action_dim: int) -> "Trials":
        """Zeros for T = length steps of n trials, to be filled in place."""
        zeros = cls._zeros(length, n, obs_dim, action_dim)
        return cls(**zeros, value=np.zeros((length + 1, n), np.float32), n_pieces=1, memory={})

    def episode_returns(self, n_episodes: int) -> np.ndarray:
        """Undiscounted return of the first episodes of every trial, (N, n_episodes); NaN if cut short."""
        out = np.zeros((self.reward.shape[1], n_episodes))
        episode = self.episode_start.cumsum(axis=0) - 1
        ended = self.terminated | self.truncated
        for e in range(n_episodes):
            now = episode == e
            complete = (ended & now).any(axis=0)
            out[:, e] = np.where(complete, (self.reward * now).sum(axis=0), np.nan)
        return out
