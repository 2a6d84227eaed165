"""A policy that remembers, step by step."""

import numpy as np
import torch
from torch import Tensor

from metarl.policies.gaussian import Params
from metarl.policies.inputs import InputNormaliser
from metarl.policies.recurrent import Decision, RecurrentPolicy, choose


class Player:
    """A policy in the midst of N trials: what it has to carry from one step to the next.

    Args:
        policy: the policy's sizes.
        params: its parameters, on the CPU.
        normaliser: of its inputs; not updated.
        n: trials.

    Attributes:
        memory: the policy's memory now.
        last: of the step before, "obs" (N, obs_dim), "action" (N, action_dim), "reward" (N,), and the
            "first" (N,) of an episode or not; and the "reward_before" (N,) it.
        told: (N, n_told), what the critic is told of their tasks now; None where nobody asks what it expects.
    """

    def __init__(
        self,
        policy: RecurrentPolicy,
        params: Params,
        normaliser: InputNormaliser,
        n: int,
    ):
        self.policy, self.params, self.normaliser = policy, params, normaliser
        self.told: Tensor | None = None
        self.memory = policy.start(params, n)
        self.last = {
            "obs": torch.zeros(n, policy.obs_dim),
            "action": torch.zeros(n, policy.action_dim),
            "reward": torch.zeros(n),
            "reward_before": torch.zeros(n),
            "first": torch.ones(n, dtype=torch.bool),
        }

    def decide(self, obs: np.ndarray, episode_start: np.ndarray, live: np.ndarray | None = None) -> Decision:
        """What to do now, remembering it.

        Args:
            obs: (N, obs_dim).
            episode_start: (N,) bool, obs is the first of an episode.
            live: (N,) bool, the trials that go on; the memory of the others stays. None is all.
        """
        seen = torch.tensor(obs)  # a copy, kept for the next step: whoever gave it may overwrite it
        first, last = torch.from_numpy(episode_start), self.last
        step = seen - last["obs"]
        gain = torch.where(last["first"], 0, last["reward"] - last["reward_before"])
        change = torch.where(first[:, None], 0, torch.cat([step, gain[:, None]], 1))
        x = self.normaliser(seen, last["action"], last["reward"], first, change)
        self.last = {**last, "obs": seen, "first": first}
        decision, memory = self.policy.act(self.params, self.memory, x, self.told)
        self.memory = memory if live is None else choose(torch.from_numpy(live), memory, self.memory)
        return decision

    def feel(self, action: np.ndarray, reward: np.ndarray, live: np.ndarray | None = None) -> None:
        """Take in what was done, (N, action_dim), and what came of it, (N,)."""
        felt = {
            "action": torch.from_numpy(action),
            "reward": torch.from_numpy(reward),
            "reward_before": self.last["reward"],
        }
        if live is not None:
            felt = choose(torch.from_numpy(live), felt, self.last)
        self.last = {**self.last, **felt}
