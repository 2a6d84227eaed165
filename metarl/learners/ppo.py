"""Proximal policy optimisation: what is common to all learners that use it (Schulman et al. 2017)."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, log, pi

import torch
from torch import Tensor

DUAL_CLIP = 3.0  # ratio beyond which an action pushes no longer, however bad it was
TOO_FAR = 1.5  # times the target KL, where an iteration's learning stops
BRAKE, RELEASE = 1.5, 1.05  # by which the learning rate falls after such a stop, and recovers


@dataclass(frozen=True)
class Surrogate:
    """What a policy's new probabilities promise.

    Attributes:
        gain: (), the clipped objective (eq. 7).
        kl: (), how far the policy has moved from the one that acted.
        clipped: (), share of the steps beyond the clip range.
    """

    gain: Tensor
    kl: Tensor
    clipped: Tensor


def surrogate(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, clip: float) -> Surrogate:
    """The clipped objective of actions (...,) whose log densities have changed from old to new."""
    # A few steps in strange states can have ratios beyond all bounds: they neither push (dual-clip
    # PPO, Ye et al. 2020, eq. 5) nor decide how far the policy has moved.
    log_ratio = (log_prob - old_log_prob).clamp(max=log(DUAL_CLIP))
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    gain = torch.minimum(ratio * advantage, clipped * advantage).mean()
    # Schulman's estimate, never negative, of which no step contributes more than about 1.
    kl = (ratio - 1 - log_ratio.clamp(min=-2)).mean()
    return Surrogate(gain, kl, (ratio != clipped).float().mean())


def minibatches(n: int, epochs: int, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Which of n to learn from, step by step: all of them once an epoch, in a new order, in so many groups.

    There are fewer groups where there are not so many.
    """
    for _ in range(epochs):
        yield from torch.randperm(n, generator=generator).tensor_split(min(count, n))


def remaining(schedule: str, progress: float) -> float:
    """Fraction of the first learning rate that is left when so much of the training is over."""
    if schedule == "constant":
        return 1.0
    return 1 - progress if schedule == "linear" else (1 + cos(pi * progress)) / 2
