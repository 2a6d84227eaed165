"""Proximal policy optimisation: what is common to all learners that use it (Schulman et al. 2017)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import cos, log, pi

import torch
from torch import Tensor

from metarl import ranks

DUAL_CLIP = 3.0  # ratio beyond which an action pushes no longer, however bad it was
TOO_FAR = 1.5  # times the target KL, where an iteration's learning stops
BRAKE = 1.5  # by which the learning rate falls after such a stop


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


def braked(brake: float, kl: float, target: float, stopped: bool) -> float:
    """What the learning rate is multiplied by after an iteration that went so far, or was stopped for it."""
    if stopped:
        return brake / BRAKE
    return min(1.0, brake * (1.05 if kl > target / 2 else BRAKE))


def minibatches(n: int, epochs: int, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Which of n to learn from, step by step: all of them once an epoch, in a new order, in so many groups.

    There are fewer groups where there are not so many. Where other processes have some, too, the groups are
    of them all, about as many of each process in every one, and it is given its own of them, maybe none.
    """
    sizes = ranks.each(n)
    first = sum(sizes[: ranks.rank()])
    for group in groups(sizes, epochs, count, generator):
        yield group[(group >= first) & (group < first + n)] - first


def groups(sizes: Sequence[int], epochs: int, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """The same of all processes, who have so many each: numbered process by process."""
    n = sum(sizes)
    for _ in range(epochs):
        order = torch.randperm(n, generator=generator)
        yield from (_in_turns(order, sizes) if len(sizes) > 1 else order).tensor_split(min(count, n))


def _in_turns(order: Tensor, sizes: Sequence[int]) -> Tensor:
    """An order in which the processes take turns, each keeping its own order."""
    n = torch.tensor(sizes)
    owner = torch.arange(len(n)).repeat_interleave(n)
    number = torch.arange(len(order)) - (n.cumsum(0) - n)[owner]  # of each among its owner's
    turn = torch.empty(len(order))
    turn[owner[order].argsort(stable=True)] = (number + 0.5) / n[owner]
    return order[turn.argsort(stable=True)]


def remaining(schedule: str, progress: float) -> float:
    """Fraction of the first learning rate that is left when so much of the training is over."""
    if schedule == "constant":
        return 1.0
    return 1 - progress if schedule == "linear" else (1 + cos(pi * progress)) / 2
