"""The units that the model computes in: running ones, of all tasks, moved between iterations only."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from metarl.learners.meta_model.robot import Robot
from metarl.policies.normaliser import Normaliser

BOUND = 10.0  # spreads, beyond which a number is clipped


class Scales:
    """Normalisers of observations, and of their change in a step together with the reward.

    Args:
        robot: whose observations.
    """

    PARTS = ("obs", "outcome")

    def __init__(self, robot: Robot):
        self.robot = robot
        self.obs, self.outcome = Normaliser(robot.obs_dim), Normaliser(robot.obs_dim + 1)

    def update(self, obs: Tensor, obs_after: Tensor, reward: Tensor) -> None:
        """Take in steps, (B, obs_dim) and (B,)."""
        self.obs.update(obs)
        self.outcome.update(torch.cat([obs_after - obs, reward[:, None]], -1))

    def features(self, obs: Tensor) -> Tensor:
        """What a network sees of observations (..., obs_dim)."""
        return self.robot.features(obs, self.obs(obs).clamp(-BOUND, BOUND))

    def outcomes(self, obs: Tensor, obs_after: Tensor, reward: Tensor) -> Tensor:
        """What steps brought, (..., obs_dim + 1): change of the observation, then the reward."""
        raw = torch.cat([obs_after - obs, reward[..., None]], -1)
        return self.outcome(raw).clamp(-BOUND, BOUND)

    def after(self, obs: Tensor, outcome: Tensor) -> tuple[Tensor, Tensor]:
        """Observations (..., obs_dim) and rewards (...,) that normalised outcomes lead to."""
        mean, std = self.outcome.scale()
        raw = mean + std * outcome.clamp(-BOUND, BOUND)
        return self.robot.whole(obs + raw[..., :-1]), raw[..., -1]

    def state_dict(self) -> dict[str, Any]:
        """What is saved."""
        return {name: getattr(self, name).state_dict() for name in self.PARTS}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what was saved; ValueError if it is of another robot."""
        for name in self.PARTS:
            mine: Normaliser = getattr(self, name)
            if state[name]["mean"].shape != mine.mean.shape:
                raise ValueError("the scales are of another robot")
            mine.load_state_dict(state[name])
