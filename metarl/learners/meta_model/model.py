"""An ensemble of networks that predict what an action does, and what they are told of the task."""

from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import torch
from torch import Tensor
from torch.nn.functional import pad, silu, softplus

from metarl.policies.gaussian import Params, orthogonal

EMBEDDING = 64  # width of the layers that look at a transition
LOW, HIGH = -5.0, 1.0  # between which the log of a predicted spread lies (Chua et al. 2018, appendix A.1)


@dataclass(frozen=True)
class Prediction:
    """What a step brings, in normalised numbers: change of the observation, then the reward.

    Attributes:
        mean: (..., obs_dim + 1).
        log_std: (..., obs_dim + 1), of what the mean leaves open.
        failure: (...,) log odds that the robot fails; zero where nothing was learned about that.
    """

    mean: Tensor
    log_std: Tensor
    failure: Tensor


@dataclass(frozen=True)
class DynamicsModel:
    """Networks, G of them at once. The object holds sizes only; parameters are passed in.

    In every function the parameters (G, ...) and the data (G, B, ...) carry the same leading axis: the
    members of the ensemble, or, once each task has its own parameters, all tasks' members one after the
    other.

    Args:
        n_features: numbers seen of an observation.
        action_dim: numbers of an action.
        n_out: numbers predicted, obs_dim + 1.
        hidden: widths of the layers.
        context: numbers that the memory tells; 0 for no memory.
    """

    n_features: int
    action_dim: int
    n_out: int
    hidden: tuple[int, ...]
    context: int

    @property
    def n_transition(self) -> int:
        """Numbers of a transition as the memory sees it."""
        return self.n_features + self.action_dim + self.n_out

    def init(self, members: int, generator: torch.Generator) -> Params:
        """Fresh parameters (members, ...), each member's drawn apart."""
        one = [self._init_one(generator) for _ in range(members)]
        return {k: torch.stack([p[k] for p in one]) for k in one[0]}

    def _init_one(self, generator: torch.Generator) -> Params:
        sizes = (self.n_features + self.action_dim, *self.hidden, 2 * self.n_out + 1)
        params = {}
        for i, (n_in, n_out) in enumerate(pairwise(sizes)):
            gain = sqrt(2.0) if i < len(self.hidden) else 0.1
            params[f"w{i}"] = orthogonal(n_in, n_out, gain, generator)
            params[f"b{i}"] = torch.zeros(1, n_out)
        if self.context:
            params["seen/w0"] = orthogonal(self.n_transition, EMBEDDING, sqrt(2.0), generator)
            params["seen/b0"] = torch.zeros(1, EMBEDDING)
            params["seen/w1"] = orthogonal(EMBEDDING, EMBEDDING, sqrt(2.0), generator)
            params["seen/b1"] = torch.zeros(1, EMBEDDING)
            params["told/w0"] = orthogonal(EMBEDDING + 1, self.context, 1.0, generator)
            params["told/b0"] = torch.zeros(1, self.context)
            params["told/w1"] = orthogonal(self.context, self.hidden[0], 1.0, generator)
        return params

    def tell(self, params: Params, seen: Tensor, known: Tensor) -> Tensor | None:
        """What the memory makes of the last transitions.

        The mean over them of what a small network makes of each, so that their order and number are free
        (deep sets, Zaheer et al. 2017), and how many they are.

        Args:
            params: (G, ...).
            seen: (G, B, M, n_transition), normalised.
            known: (G, B, M) one where there is such a transition, else zero.

        Returns:
            (G, B, context) in [-1, 1], or None without a memory.
        """
        if not self.context:
            return None
        counted = self._counted(params, seen, known).sum(2)
        return self._conclusion(params, counted, known.shape[-1])

    def tell_all(self, params: Params, steps: Tensor, known: Tensor, window: int) -> Tensor:
        """The same before every step of whole trials and after their last one, where there is a memory.

        Args:
            params: (G, ...).
            steps: (G, B, L, n_transition), normalised.
            known: (G, B, L) one where the step counts, else zero.
            window: how many of the last steps are remembered.

        Returns:
            (G, B, L + 1, context).
        """
        sums = self._counted(params, steps, known).cumsum(2, dtype=torch.float64)
        sums = pad(sums, (0, 0, window + 1, 0))
        last = (sums[:, :, window:] - sums[:, :, :-window]).float()
        return self._conclusion(params, last.flatten(1, 2), window).unflatten(1, last.shape[1:3])

    def _counted(self, params: Params, seen: Tensor, known: Tensor) -> Tensor:
        """What is made of each transition that counts, and a one, (G, B, M, EMBEDDING + 1); else zeros."""
        x = seen.flatten(1, 2)
        for i in range(2):
            x = silu(torch.baddbmm(params[f"seen/b{i}"], x, params[f"seen/w{i}"]))
        x = x.unflatten(1, seen.shape[1:3])
        return torch.cat([x * known[..., None], known[..., None]], -1)

    def _conclusion(self, params: Params, counted: Tensor, window: int) -> Tensor:
        """What is told, (G, B, context), of the sums over what was counted, (G, B, EMBEDDING + 1)."""
        total, n = counted.split([EMBEDDING, 1], -1)
        x = torch.cat([total / n.clamp(min=1), n / window], -1)
        return torch.baddbmm(params["told/b0"], x, params["told/w0"]).tanh()

    def predict(self, params: Params, features: Tensor, action: Tensor, told: Tensor | None) -> Prediction:
        """What actions bring.

        Args:
            params: (G, ...).
            features: (G, B, n_features).
            action: (G, B, action_dim) in [-1, 1].
            told: (G, b, context) from `tell`, with B = b * c rows, c for each of b.
        """
        x = torch.baddbmm(params["b0"], torch.cat([features, action], -1), params["w0"])
        if told is not None:
            hint = torch.bmm(told, params["told/w1"])
            x = (x.unflatten(1, (told.shape[1], -1)) + hint[:, :, None]).flatten(1, 2)
        for i in range(1, len(self.hidden) + 1):
            x = torch.baddbmm(params[f"b{i}"], silu(x), params[f"w{i}"])
        mean, log_std, failure = x.split([self.n_out, self.n_out, 1], -1)
        log_std = HIGH - softplus(HIGH - log_std)
        return Prediction(mean, LOW + softplus(log_std - LOW), failure[..., 0])
