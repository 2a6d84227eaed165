"""Gaussian MLP policies over a dict of parameters whose leading axis is the task."""

from dataclasses import dataclass
from itertools import pairwise
from math import log, pi, sqrt

import torch
from torch import Tensor

from metarl.policies.normaliser import Normaliser

Params = dict[str, Tensor]


@dataclass(frozen=True)
class GaussianMLP:
    """A tanh network for the mean of a Gaussian whose log standard deviation is a parameter.

    The object holds sizes only; parameters are passed in. In every function they and the data carry
    a leading task axis K: parameters (K, ...), data (K, B, ...).
    """

    obs_dim: int
    action_dim: int
    hidden: tuple[int, ...] = (64, 64)
    init_std: float = 0.4
    min_std: float = 0.05

    def init(self, generator: torch.Generator) -> Params:
        """Fresh parameters, without a task axis: orthogonal weights, a small last layer."""
        sizes = (self.obs_dim, *self.hidden, self.action_dim)
        params = {}
        for i, (n_in, n_out) in enumerate(pairwise(sizes)):
            gain = sqrt(2.0) if i < len(self.hidden) else 0.01
            params[f"w{i}"] = orthogonal(n_in, n_out, gain, generator)
            params[f"b{i}"] = torch.zeros(1, n_out)
        params["log_std"] = torch.full((1, self.action_dim), log(self.init_std))
        return params

    def mean_std(self, params: Params, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (K, B, action_dim) and log std (K, 1, action_dim) for normalised obs (K, B, obs_dim)."""
        return self.mean(params, obs), self.log_std(params)

    def log_std(self, params: Params) -> Tensor:
        """The log standard deviation alone, (K, 1, action_dim)."""
        return params["log_std"].clamp(min=log(self.min_std))

    def mean(self, params: Params, obs: Tensor) -> Tensor:
        """The mean alone, of which `params` need have no more."""
        x = obs
        for i in range(len(self.hidden)):
            x = torch.tanh(torch.baddbmm(params[f"b{i}"], x, params[f"w{i}"]))
        i = len(self.hidden)
        return torch.baddbmm(params[f"b{i}"], x, params[f"w{i}"])


def act(policy: GaussianMLP, params: Params, normaliser: Normaliser, obs: Tensor) -> tuple[Tensor, Tensor]:
    """What one set of parameters, (1, ...), makes of raw obs (N, obs_dim).

    Returns:
        Mean (N, action_dim) and log std (1, action_dim).
    """
    mean, log_std = policy.mean_std(params, normaliser(obs)[None])
    return mean[0], log_std[0]


def orthogonal(n_in: int, n_out: int, gain: float, generator: torch.Generator) -> Tensor:
    """A random orthogonal weight (n_in, n_out), times a gain (Saxe et al. 2014)."""
    return torch.nn.init.orthogonal_(torch.empty(n_in, n_out), gain, generator=generator)


def expand(params: Params, n_tasks: int) -> Params:
    """Give every parameter a leading task axis, without copying."""
    return {k: p.expand(n_tasks, *p.shape) for k, p in params.items()}


def log_prob(mean: Tensor, log_std: Tensor, action: Tensor) -> Tensor:
    """Log density of the action under a diagonal Gaussian, summed over its dimensions, (K, B)."""
    z = (action - mean) * torch.exp(-log_std)
    return -0.5 * z.square().sum(-1) - log_std.sum(-1) - 0.5 * log(2 * pi) * action.shape[-1]


def kl(mean_p: Tensor, log_std_p: Tensor, mean_q: Tensor, log_std_q: Tensor) -> Tensor:
    """KL(p || q) of diagonal Gaussians, (K, B)."""
    ratio = torch.exp(2 * (log_std_p - log_std_q))
    shift = (mean_p - mean_q).square() * torch.exp(-2 * log_std_q)
    return (log_std_q - log_std_p + 0.5 * (ratio + shift - 1)).sum(-1)
