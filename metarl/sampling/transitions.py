"""Sampling for whoever learns what a step brings."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from metarl.envs import World

Act = Callable[[np.ndarray, np.ndarray], np.ndarray]  # obs (N, obs_dim), episode_start (N,) to actions
Feel = Callable[[np.ndarray, np.ndarray], None]  # action (N, action_dim), reward (N,)


@dataclass(frozen=True)
class Transitions:
    """Steps of N trials, one a row; where an episode ends, the next one of the same task begins.

    Attributes:
        obs, obs_after: (N, L, obs_dim) float32, before each step and after it, before any reset.
        action: (N, L, action_dim) float32 in [-1, 1], as it was carried out.
        reward: (N, L) float32.
        terminated: (N, L) bool.
        episode_start: (N, L) bool, obs is the first of an episode.
        valid: (N, L) bool; false where the simulation blew up, and what came after is no robot's.
    """

    obs: np.ndarray
    obs_after: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    episode_start: np.ndarray
    valid: np.ndarray

    @classmethod
    def empty(cls, n: int, length: int, obs_dim: int, action_dim: int) -> "Transitions":
        """Zeros for L = length steps of n trials, to be filled in place."""
        sizes = {"obs": (obs_dim,), "obs_after": (obs_dim,), "action": (action_dim,), "reward": ()}
        return cls(
            **{
                f.name: np.zeros((n, length, *sizes[f.name]), np.float32)
                if f.name in sizes
                else np.zeros((n, length), bool)
                for f in fields(cls)
            }
        )

    @property
    def n_steps(self) -> int:
        """Environment steps that were taken."""
        return self.reward.size

    def mean_return(self) -> float:
        """Mean undiscounted return of the episodes, the one that the end of a trial cuts included."""
        return float(self.reward.sum() / self.episode_start.sum())


def collect_transitions(
    sim: World, act: Act, feel: Feel, rng: np.random.Generator, length: int
) -> Transitions:
    """So many steps of a trial in each simulation; a new episode begins wherever one has ended.

    Args:
        sim: N simulations, tasks already set.
        act: what to do at what is seen, and where an episode begins.
        feel: told what was done, and what came of it.
        rng: draws initial states.
        length: steps of a trial.
    """
    n, family = sim.n_sims, sim.family
    out = Transitions.empty(n, length, family.obs_dim, family.action_dim)
    obs, ended = sim.reset(rng), np.ones(n, bool)
    for t in range(length):
        out.obs[:, t], out.episode_start[:, t] = obs, ended
        out.action[:, t] = np.clip(act(obs, ended), -1, 1)
        step = sim.step(out.action[:, t])
        feel(out.action[:, t], step.reward)
        out.obs_after[:, t], out.reward[:, t] = step.obs, step.reward
        out.terminated[:, t], out.valid[:, t] = step.terminated, ~step.failed
        ended = step.terminated | step.truncated
        obs = sim.reset(rng, ended) if ended.any() and t < length - 1 else step.obs
    return out
