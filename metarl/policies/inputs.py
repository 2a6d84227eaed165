"""What a policy that remembers sees at a step, and how it is made of raw numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metarl.policies.normaliser import Normaliser

BOUND = 10.0  # standard deviations, beyond which an input is clipped


@dataclass(frozen=True)
class Inputs:
    """What a policy sees at a step: (..., n) tensors, all normalised.

    Attributes:
        obs: (..., obs_dim).
        prev_action: (..., action_dim) in [-1, 1], as it was carried out; zero at the start of a trial.
        prev_reward: (..., 1), of the step before; zero at the start of a trial.
        episode_start: (..., 1), 1 where obs is the first of an episode.
        change: (..., obs_dim + 1), of obs and of the reward since the step before, each in units of its
            own spread; zero where the step before was in another episode.
    """

    obs: Tensor
    prev_action: Tensor
    prev_reward: Tensor
    episode_start: Tensor
    change: Tensor


class InputNormaliser:
    """Makes a policy's inputs of raw numbers; moves between iterations only, and is saved with it."""

    PARTS = ("obs", "reward", "change")

    def __init__(self, obs_dim: int, reward_input: bool = True):
        self.obs, self.reward, self.change = Normaliser(obs_dim), Normaliser(1), Normaliser(obs_dim + 1)
        self.reward_input = reward_input

    def __call__(
        self, obs: Tensor, prev_action: Tensor, prev_reward: Tensor, episode_start: Tensor, change: Tensor
    ) -> Inputs:
        """Inputs from obs, prev_action and change, (..., n) each, and (...,) of the other two."""
        reward, change = _in_spreads(prev_reward[..., None], self.reward), _in_spreads(change, self.change)
        if not self.reward_input:
            reward = torch.zeros_like(reward)
            change = torch.cat([change[..., :-1], reward], -1)
        start = episode_start.to(obs.dtype)[..., None]
        return Inputs(self.obs(obs).clamp(-BOUND, BOUND), prev_action.clamp(-1, 1), reward, start, change)

    def update(self, obs: Tensor, reward: Tensor, change: Tensor) -> None:
        """Take in obs (B, obs_dim), reward (B, 1), and the changes within episodes (C, obs_dim + 1)."""
        self.obs.update(obs)
        self.reward.update(reward)
        self.change.update(change)

    def state_dict(self) -> dict[str, Any]:
        """What is saved."""
        return {name: getattr(self, name).state_dict() for name in self.PARTS}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what was saved."""
        for name in self.PARTS:
            getattr(self, name).load_state_dict(state[name])


def _in_spreads(x: Tensor, spread: Normaliser) -> Tensor:
    """In units of its standard deviation, zero staying zero."""
    _, std = spread.scale()
    return (x / std.to(x.device)).clamp(-BOUND, BOUND)
