"""Learning shard by shard: CPU threads take small parts of a minibatch, whose results add up to its own."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


def split(index: Tensor, length: int, most: int) -> Sequence[Tensor]:
    """An index in shards of about as many steps as a CPU thread is given at a time; whole elsewhere.

    Args:
        index: (B,) of rows.
        length: steps of a row.
        most: steps of a shard, which has one row at least.
    """
    return index.split(max(1, most // length) if index.device.type == "cpu" else len(index))


def average(values: Iterable[Any], shards: Sequence[Tensor]) -> Any:
    """The mean over all rows of what is a mean over each shard's: tensors, or numbers."""
    n = sum(map(len, shards))
    return sum(len(shard) / n * value for shard, value in zip(shards, values, strict=True))


def set_gradients(
    params: Sequence[Tensor], slopes: Iterable[Sequence[Tensor]], shards: Sequence[Tensor], longest: float
) -> Tensor:
    """Give parameters the mean of what the shards found, shortened to a norm; the norm that it had."""
    for p, *parts in zip(params, *slopes, strict=True):
        p.grad = average(parts, shards)
    return torch.nn.utils.clip_grad_norm_(params, longest)
