"""Gaussian MLP policies over a dict of parameters whose leading axis is the task."""

from dataclasses import dataclass
from itertools import pairwise
from math import log, pi, sqrt

import torch
from torch import Tensor

from metarl.policies.normaliser import Normaliser

Params = dict[str, Tensor]
FIRST = "w0", "b0"  # of the first layer, which a context changes


@dataclass(frozen=True)
class GaussianMLP:
    """A tanh network for the mean of a Gaussian whose log standard deviation is a parameter.

    A few parameters may be a context, zero at first (CAVIA, Zintgraf et al. 2019), on which the first layer
    depends, W(c) = W + sum_j c_j G_j (multiplicative interactions, Jayakumar et al. 2020): a short way along
    it changes all weights at once, in a direction that is learned.

    The object holds sizes only; parameters are passed in. In every function they and the data carry
    a leading task axis K: parameters (K, ...), data (K, B, ...).
    """

    obs_dim: int
    action_dim: int
    hidden: tuple[int, ...] = (64, 64)
    init_std: float = 0.4
    min_std: float = 0.05
    n_context: int = 0

    def init(self, generator: torch.Generator) -> Params:
        """Fresh parameters, without a task axis: orthogonal weights, a small last layer."""
        sizes = (self.obs_dim, *self.hidden, self.action_dim)
        params = {}
        for i, (n_in, n_out) in enumerate(pairwise(sizes)):
            gain = sqrt(2.0) if i < len(self.hidden) else 0.01
            params[f"w{i}"] = orthogonal(n_in, n_out, gain, generator)
            params[f"b{i}"] = torch.zeros(1, n_out)
        params["log_std"] = torch.full((1, self.action_dim), log(self.init_std))
        if self.n_context:
            params["context"] = torch.zeros(1, self.n_context)
            for name in FIRST:
                shape = self.n_context, *params[name].shape
                flat = orthogonal(self.n_context, params[name].numel(), 1.0, generator)
                params[f"context_{name}"] = flat.view(shape)
        return params

    def mean_std(self, params: Params, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (K, B, action_dim) and log std (K, 1, action_dim) for normalised obs (K, B, obs_dim)."""
        return self.mean(params, obs), self.log_std(params)

    def log_std(self, params: Params) -> Tensor:
        """The log standard deviation alone, (K, 1, action_dim)."""
        return params["log_std"].clamp(min=log(self.min_std))

    def mean(self, params: Params, obs: Tensor) -> Tensor:
        """The mean alone, of which `params` need have no more."""
        x, params = obs, settled(params)
        for i in range(len(self.hidden)):
            x = torch.tanh(torch.baddbmm(params[f"b{i}"], x, params[f"w{i}"]))
        i = len(self.hidden)
        return torch.baddbmm(params[f"b{i}"], x, params[f"w{i}"])


def settled(params: Params) -> Params:
    """The parameters (K, ...) of the same policy without a context: what it changes is changed."""
    if "context" not in params:
        return params
    plain = {k: p for k, p in params.items() if not k.startswith("context")}
    for name in FIRST:
        change = torch.einsum("kc,kcih->kih", params["context"][:, 0], params[f"context_{name}"])
        plain[name] = params[name] + change
    return plain


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
