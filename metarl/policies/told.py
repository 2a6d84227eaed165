"""A policy that is told the task: two networks, one acts and one expects."""

from dataclasses import dataclass
from math import log, sqrt

import torch
from torch import Tensor

from metarl.policies.gaussian import Params, orthogonal

MAX_STD = 1.0


@dataclass(frozen=True)
class ToldPolicy:
    """What it sees goes through two tanh layers to a Gaussian over actions, and through two more to a value.

    The standard deviation depends on what is seen. The object holds sizes only; parameters are passed in.

    Args:
        n_in: numbers seen: the normalised observation, and the task as `task_features` gives it.
        action_dim: of the robot.
        width: of all layers.
        init_std, min_std: standard deviation of actions at first, and its floor.
    """

    n_in: int
    action_dim: int
    width: int = 128
    init_std: float = 0.6
    min_std: float = 0.1

    def init(self, generator: torch.Generator) -> Params:
        """Fresh parameters: orthogonal, with small first actions."""
        return {
            **two_layers("actor", self.n_in, self.width, 2 * self.action_dim, 0.01, generator),
            **two_layers("critic", self.n_in, self.width, 1, 1.0, generator),
        }

    def mean_std(self, params: Params, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation, (B, action_dim) each, for (B, n_in)."""
        mean, log_std = through("actor", params, x).chunk(2, -1)
        return mean, (log_std + log(self.init_std)).clamp(log(self.min_std), log(MAX_STD))

    def value(self, params: Params, x: Tensor) -> Tensor:
        """Expected discounted reward to go, in scaled reward, (...,) for (..., n_in)."""
        return through("critic", params, x)[..., 0]


def two_layers(
    name: str, n_in: int, width: int, n_out: int, gain: float, generator: torch.Generator
) -> Params:
    """Fresh parameters of two tanh layers and a linear one, whose weights get the gain."""
    sizes = (n_in, width, sqrt(2.0)), (width, width, sqrt(2.0)), (width, n_out, gain)
    params = {}
    for i, (rows, columns, g) in enumerate(sizes):
        params[f"{name}/w{i}"] = orthogonal(rows, columns, g, generator)
        params[f"{name}/b{i}"] = torch.zeros(columns)
    return params


def through(name: str, params: Params, x: Tensor) -> Tensor:
    """What those layers make of (..., n_in), (..., n_out)."""
    for i in range(2):
        x = torch.tanh(x @ params[f"{name}/w{i}"] + params[f"{name}/b{i}"])
    return x @ params[f"{name}/w2"] + params[f"{name}/b2"]
