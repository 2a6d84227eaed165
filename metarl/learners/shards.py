"""Learning shard by shard: CPU threads take small parts of a minibatch, whose results add up to its own."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from metarl import ranks

T = TypeVar("T")


class Shards:
    """This process's rows of a minibatch, in parts of about as many steps as a CPU thread is given at a time.

    They are not cut elsewhere than on the CPU.

    Attributes:
        parts: indices of rows; one row of no weight where this process has none.

    Args:
        index: (B,) of rows.
        length: steps of a row.
        most: steps of a part, which has one row at least; None for no parts.
    """

    def __init__(self, index: Tensor, length: int = 1, most: int | None = None):
        self._n = len(index)
        rows = index if self._n else index.new_zeros(1)
        cut = most is not None and index.device.type == "cpu"
        self.parts: Sequence[Tensor] = rows.split(max(1, (most or 0) // length) if cut else len(rows))

    def average(self, values: Iterable[T], lane: int = 0) -> T:
        """The mean over all rows, those of all processes, of what is a mean over each part's.

        Args:
            values: a nest of tensors and numbers for each part.
            lane: as in `ranks.mean`.
        """
        shares = [len(part) / sum(map(len, self.parts)) for part in self.parts]
        here = tree_map(lambda *x: sum(s * v for s, v in zip(shares, x, strict=True)), *values)
        return ranks.mean(here, self._n, lane)


def set_gradients(params: Sequence[Tensor], slopes: Sequence[Tensor], longest: float) -> Tensor:
    """Give parameters their gradients, shortened to a norm; the norm that they had."""
    for p, slope in zip(params, slopes, strict=True):
        p.grad = slope
    return torch.nn.utils.clip_grad_norm_(params, longest)
