"""The part of MAML's inner loss that is learned."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from metarl.learners.maml.batch import Batch
from metarl.policies.gaussian import GaussianMLP, Params, expand, log_prob

Dist = tuple[Tensor, Tensor]  # mean and log standard deviation of a Gaussian
HIDDEN = (64, 64)


@dataclass(frozen=True)
class LearnedLoss:
    """What the inner step descends beside the policy gradient's loss, from what a task's samples show.

    Normalised advantages no longer say how large a reward was, nor what it was for. A small tanh network
    reads that off each sample, and gives an advantage of its own (NoRML, Yang et al. 2019) and a
    direction for the policy's mean (a learned loss of actions, Bechtle et al. 2021); where the policy has a
    context, a direction for that, too. The object holds sizes only.

    Attributes:
        obs_dim: of observations.
        action_dim: of actions.
        n_context: numbers of the context.
    """

    obs_dim: int
    action_dim: int
    n_context: int = 0

    @cached_property
    def network(self) -> GaussianMLP:
        """Its mean, of action, what came of it, and the step's number: advantage and directions."""
        n_out = 1 + self.action_dim + self.n_context
        return GaussianMLP(self.obs_dim + self.action_dim + 3, n_out, HIDDEN)

    def init(self, generator: torch.Generator) -> Params:
        """Fresh parameters, with which the loss is close to zero."""
        params = self.network.init(generator)
        del params["log_std"]
        return params

    def __call__(
        self, own: Params, batch: Batch, new: Dist, log_std: Tensor, step: int, context: Tensor | None = None
    ) -> Tensor:
        """The loss of each task, (K,), to be differentiated in the policy's parameters and in its own.

        Args:
            own: its parameters, without a task axis.
            batch: what the tasks' samples show.
            new: the policy's distributions on them, mean (K, B, action_dim) and log std.
            log_std: (1, action_dim), of the policy before adaptation: the unit of the direction.
            step: the inner step's number, from 1 on.
            context: (K, 1, n_context), the policy's.
        """
        number = torch.full_like(batch.reward, 1 / step)
        sample = torch.stack([batch.reward, batch.advantage, number], -1)
        seen = torch.cat([batch.next_obs, batch.action, sample], -1)
        out = self.network.mean(expand(own, 1), seen.flatten(0, 1)[None])[0].unflatten(0, batch.reward.shape)
        advantage, action, place = out.split([1, self.action_dim, self.n_context], -1)
        along = (action * new[0] * torch.exp(-log_std)).sum(-1)
        if context is not None:
            along = along + (place * context).sum(-1)
        return -((advantage[..., 0] * log_prob(*new, batch.action) + along) * batch.weight).sum(1)
