"""Sampling with a policy that is told the task and remembers nothing."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from metarl.envs import World
from metarl.policies.gaussian import log_prob
from metarl.threads import torch_threads

Act = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Lessons:
    """Steps of N simulations; where an episode ends, the next one of the same task begins.

    Attributes:
        obs, obs_after: (T, N, obs_dim) float32, before each step and after it, before any reset.
        told, told_after: (T, N, n_told) float32, what may be known of the tasks then.
        action: (T, N, action_dim) float32, as drawn (the simulator clips).
        log_std: (T, N, action_dim) float32, of the action when it was drawn.
        log_prob, reward: (T, N) float32.
        terminated, truncated: (T, N) bool; the last step is one or the other.
    """

    obs: np.ndarray
    obs_after: np.ndarray
    told: np.ndarray
    told_after: np.ndarray
    action: np.ndarray
    log_std: np.ndarray
    log_prob: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray

    @property
    def n_episodes(self) -> int:
        """Episodes that have ended."""
        return int((self.terminated | self.truncated).sum())

    def mean_return(self) -> float:
        """Mean undiscounted return of the episodes."""
        return float(self.reward.sum() / self.n_episodes)


def collect_lessons(sim: World, act: Act, rng: np.random.Generator) -> Lessons:
    """As many steps as an episode has at most, in each simulation.

    Args:
        sim: N simulations, tasks already set.
        act: obs (N, obs_dim) and told (N, n_told) to mean and log standard deviation (N, action_dim).
        rng: draws initial states and actions.
    """
    length, n, family = sim.family.horizon, sim.n_sims, sim.family
    first, space = sim.told(), np.float32
    told, told_after = (np.zeros((length, *first.shape), space) for _ in range(2))
    obs_all, after = (np.zeros((length, n, family.obs_dim), space) for _ in range(2))
    log_std = torch.zeros(length, n, family.action_dim)
    mean = torch.zeros_like(log_std)
    reward = np.zeros((length, n), space)
    terminated, truncated = (np.zeros((length, n), bool) for _ in range(2))
    noise = rng.standard_normal(mean.shape, dtype=space)
    action = np.zeros_like(noise)
    with torch_threads(1), torch.inference_mode():
        obs = sim.reset(rng)
        for t in range(length):
            obs_all[t], told[t] = obs, sim.told()
            mean[t], log_std[t] = act(torch.from_numpy(obs), torch.from_numpy(told[t]))
            np.add(mean[t].numpy(), log_std[t].exp().numpy() * noise[t], out=action[t])
            step = sim.step(action[t])
            after[t], told_after[t], reward[t] = step.obs, sim.told(), step.reward
            terminated[t], truncated[t] = step.terminated, step.truncated
            ended = step.terminated | step.truncated
            obs = sim.reset(rng, ended) if ended.any() and t < length - 1 else step.obs
        truncated[-1] = ~terminated[-1]
        density = log_prob(mean, log_std, torch.from_numpy(action)).numpy()
    return Lessons(
        obs_all, after, told, told_after, action, log_std.numpy(), density, reward, terminated, truncated
    )
