"""A running mean and variance."""

import torch
from torch import Tensor

from metarl import ranks


class Normaliser:
    """Running mean and variance of observations (or of rewards), part of the policy and saved with it.

    It moves only between iterations, by `update`: within an iteration, during adaptation and at
    evaluation it is frozen, so that the old and the new policy see the same numbers.
    """

    def __init__(self, dim: int):
        self.count = torch.zeros((), dtype=torch.float64)
        self.mean = torch.zeros(dim, dtype=torch.float64)
        self.var = torch.ones(dim, dtype=torch.float64)

    def update(self, obs: Tensor) -> None:
        """Take in observations (B, dim), those of all processes (Chan et al. 1979, parallel variance)."""
        mean = obs.mean(0, dtype=torch.float64)
        var = (obs - mean.float()).square().mean(0, dtype=torch.float64)
        n, mean, var = ranks.pool(len(obs), mean, var)
        if not n:
            return
        total = self.count + n
        shift = mean - self.mean
        spread = self.var * self.count + var * n + shift**2 * self.count * n / total
        self.mean = self.mean + shift * n / total
        self.var, self.count = spread / total, total

    def scale(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, (dim,) float32 each."""
        return self.mean.float(), self.var.add(1e-8).sqrt().float()

    def __call__(self, obs: Tensor) -> Tensor:
        """Normalise (..., dim)."""
        mean, std = self.scale()
        return (obs - mean.to(obs.device)) / std.to(obs.device)

    def state_dict(self) -> dict[str, Tensor]:
        """What is saved."""
        return {"count": self.count, "mean": self.mean, "var": self.var}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over what was saved."""
        self.count, self.mean, self.var = state["count"], state["mean"], state["var"]
