"""A policy that is told the task: two networks, one acts and one expects.

What is told stands among their inputs. Where the way to act differs from task to task, as running forward
does from running backward, one set of weights for all is slow to learn either: then the weights of the first
layer may depend on the task, too, W(c) = W + sum_k c_k G_k (multiplicative interactions, Jayakumar et al.
2020).
"""

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
        n_weighty: numbers of the task, the last ones seen, with which the first layer's weights change.
    """

    n_in: int
    action_dim: int
    width: int = 128
    init_std: float = 0.6
    min_std: float = 0.1
    n_weighty: int = 0

    def init(self, generator: torch.Generator) -> Params:
        """Fresh parameters: orthogonal, with small first actions, and the same for all tasks."""
        n, n_out = self.n_weighty, 2 * self.action_dim
        return {
            **two_layers("actor", self.n_in, self.width, n_out, 0.01, generator, n),
            **two_layers("critic", self.n_in, self.width, 1, 1.0, generator, n),
        }

    def mean_std(self, params: Params, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation, (B, action_dim) each, for (B, n_in)."""
        mean, log_std = through("actor", params, x, self._weighty(x)).chunk(2, -1)
        return mean, (log_std + log(self.init_std)).clamp(log(self.min_std), log(MAX_STD))

    def value(self, params: Params, x: Tensor) -> Tensor:
        """Expected discounted reward to go, in scaled reward, (...,) for (..., n_in)."""
        return through("critic", params, x, self._weighty(x))[..., 0]

    def _weighty(self, x: Tensor) -> Tensor:
        return x[..., x.shape[-1] - self.n_weighty :]


def two_layers(
    name: str,
    n_in: int,
    width: int,
    n_out: int,
    gain: float,
    generator: torch.Generator,
    n_weighty: int = 0,
) -> Params:
    """Fresh parameters of two tanh layers and a linear one, whose weights get the gain.

    The first layer sees each number by itself and times each of those of the task that its weights change
    with, number by number: they do not change yet.
    """
    sizes = (n_in, width, sqrt(2.0)), (width, width, sqrt(2.0)), (width, n_out, gain)
    params = {}
    for i, (rows, columns, g) in enumerate(sizes):
        params[f"{name}/w{i}"] = orthogonal(rows, columns, g, generator)
        params[f"{name}/b{i}"] = torch.zeros(columns)
    first = params[f"{name}/w0"]
    params[f"{name}/w0"] = torch.stack([first, *n_weighty * [torch.zeros_like(first)]], 1).flatten(0, 1)
    return params


def through(name: str, params: Params, x: Tensor, weighty: Tensor) -> Tensor:
    """What those layers make of (..., n_in) in tasks (..., n_weighty), (..., n_out)."""
    if weighty.shape[-1]:
        factors = torch.cat([torch.ones_like(weighty[..., :1]), weighty], -1)
        x = (x[..., None] * factors[..., None, :]).flatten(-2)
    for i in range(2):
        x = torch.tanh(x @ params[f"{name}/w{i}"] + params[f"{name}/b{i}"])
    return x @ params[f"{name}/w2"] + params[f"{name}/b2"]
