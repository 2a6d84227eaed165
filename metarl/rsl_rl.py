"""rsl_rl's view of a family: its runners train on hundreds of simulations."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from metarl.envs import FamilyVectorEnv, InputError, TaskFamily


class FamilyVecEnv(VecEnv):
    """Many simulations of a family, each with its own task, for rsl_rl's runners.

        OnPolicyRunner(FamilyVecEnv("HalfCheetahVel", 256), config).learn(100)

    Observations come in two groups: "policy" (N, obs_dim), what a robot senses, and "task" (N, n), the task's
    numbers as `BatchSim.told` gives them: for a critic that is told, or an oracle. Episodes that end begin
    anew in the same step; those that the horizon has ended are in `extras["time_outs"]`.

    Args:
        family: a family, its name in the catalogue, or `file.py:ClassName`.
        num_envs: number of simulations, N.
        task: one task for all; without, every episode draws a training task.
        n_threads: physics threads; 0 is one per CPU.
        seed: of everything drawn.
        device: where rsl_rl gets its tensors; physics stays on the CPU.

    Raises:
        InputError: no such family, no such task in it, or no simulation at all.
    """

    def __init__(
        self,
        family: str | TaskFamily,
        num_envs: int,
        task: Mapping[str, float | Sequence[float]] | None = None,
        n_threads: int = 0,
        seed: int | None = None,
        device: str = "cpu",
    ):
        if num_envs < 1:
            raise InputError(f"{num_envs} environments are too few; use at least 1")
        self._batch = FamilyVectorEnv(family, num_envs, task, n_threads=n_threads)
        self.family, self.device, self.cfg = self._batch.family, device, {"family": self._batch.family.name}
        self.num_envs, self.num_actions = num_envs, self.family.action_dim
        self.max_episode_length = self.family.horizon
        self._obs, _ = self._batch.reset(seed=seed)

    @property
    def episode_length_buf(self) -> torch.Tensor:
        """Steps of each episode so far, (N,) int."""
        return self._tensor(self._batch.sim.elapsed)

    @episode_length_buf.setter
    def episode_length_buf(self, steps: torch.Tensor) -> None:
        self._batch.sim.elapsed[:] = steps.cpu().numpy()

    def get_observations(self) -> TensorDict:
        """What the last step, or the beginning, has shown."""
        told = self._batch.sim.told()
        groups = {"policy": self._tensor(self._obs), "task": self._tensor(told)}
        return TensorDict(groups, batch_size=[self.num_envs], device=self.device)

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Advance every simulation by one step; actions (N, action_dim), clipped to [-1, 1].

        Returns:
            observations, reward (N,), ended (N,) bool, and extras: "time_outs" (N,) bool, and in "log" the
            means of the named reward terms.
        """
        self._obs, reward, terminated, truncated, info = self._batch.step(actions.detach().cpu().numpy())
        log = {f"/reward/{name}": float(np.mean(term)) for name, term in info["reward_terms"].items()}
        extras = {"time_outs": self._tensor(truncated), "log": log}
        return self.get_observations(), self._tensor(reward), self._tensor(terminated | truncated), extras

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        """A copy, on the device."""
        return torch.tensor(array, device=self.device)
