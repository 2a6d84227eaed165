"""The external memory: slots that are written gate by gate and read by attention.

What is written at a step depends on the controller alone, not on what the memory holds. So the memory is
linear in its own past, and a whole trial is unrolled by a chunked scan: about 2 sqrt(T) large operations
instead of T small ones.
"""

from dataclasses import dataclass
from math import isqrt, log, sqrt
from typing import Any

import torch
from torch import Tensor

from metarl.policies.gaussian import Params, orthogonal

SHORTEST, LONGEST = 2.0, 1000.0  # steps that the fastest and the slowest slot remember, when new


@dataclass(frozen=True)
class Reading:
    """What was read from a memory, and how.

    Attributes:
        content: (..., n_heads * slot_dim), what each head has read.
        attention: (..., n_heads, n_slots), how much each head looked at each slot; sums to 1.
    """

    content: Tensor
    attention: Tensor


@dataclass(frozen=True)
class ExternalMemory:
    """S slots of d numbers. The object holds sizes only; parameters and contents are passed in.

    At each step slot s moves towards the written value by its gate: M_s <- (1 - g_s) M_s + g_s v
    (erase and write of Graves et al. 2014, eq. 3 and 4, with one gate for both). New slots forget at
    rates spread evenly in logarithm (Tallec and Ollivier 2018), so that from the start some hold the
    last step and some the whole trial.

    Args:
        n_slots: S.
        slot_dim: d.
        n_heads: R, attention heads that read.
        n_query: numbers that the query is made of (the LSTM's output).
        n_write: numbers that gates and values are made of (the LSTM's output and input).
    """

    n_slots: int
    slot_dim: int
    n_heads: int
    n_query: int
    n_write: int

    @property
    def n_read(self) -> int:
        """Numbers read at a step."""
        return self.n_heads * self.slot_dim

    def init(self, generator: torch.Generator) -> Params:
        """Fresh parameters: initial content and addresses of the slots, and what writes and reads."""
        spans = torch.logspace(log(SHORTEST), log(LONGEST), self.n_slots, base=torch.e)
        write = orthogonal(self.n_write, self.n_slots + self.slot_dim, 1.0, generator)
        write[:, : self.n_slots] *= 0.1
        return {
            "memory/content": 0.1 * torch.randn(self.n_slots, self.slot_dim, generator=generator),
            "memory/address": torch.randn(self.n_slots, self.slot_dim, generator=generator),
            "memory/write": write,
            "memory/write_bias": torch.cat([-torch.log(spans - 1), torch.zeros(self.slot_dim)]),
            "memory/query": orthogonal(self.n_query, self.n_read, 1.0, generator),
        }

    def start(self, params: Params, n: int) -> Tensor:
        """The learned content that a trial begins with, (N, S, d)."""
        return params["memory/content"].expand(n, -1, -1)

    def step(self, params: Params, content: Tensor, query: Tensor, write: Tensor) -> tuple[Reading, Tensor]:
        """Write, then read: content (N, S, d), query (N, n_query), write (N, n_write)."""
        gate, value = self._writing(params, write)
        content = torch.lerp(content, value[:, None], gate[..., None])
        return self.read(params, content, query), content

    def unroll(self, params: Params, content: Tensor, query: Tensor, write: Tensor) -> tuple[Reading, Tensor]:
        """Write and read T times: query (T, N, n_query), write (T, N, n_write).

        Returns:
            What `step` would have read, and the content after every step, (T, N, S, d).
        """
        gate, value = self._writing(params, write)
        contents = GatedScan.apply(gate, value, content)
        return self.read(params, contents, query), contents

    def read(self, params: Params, content: Tensor, query: Tensor) -> Reading:
        """Attention over slots by their content and their address (Vaswani et al. 2017, eq. 1)."""
        q = (query @ params["memory/query"]).unflatten(-1, (self.n_heads, self.slot_dim))
        score = q @ content.transpose(-1, -2) + q @ params["memory/address"].T
        attention = (score / sqrt(self.slot_dim)).softmax(-1)
        return Reading((attention @ content).flatten(-2), attention)

    def _writing(self, params: Params, write: Tensor) -> tuple[Tensor, Tensor]:
        """Gates (..., S) in (0, 1) and the value to write (..., d) in (-1, 1)."""
        z = write @ params["memory/write"] + params["memory/write_bias"]
        return z[..., : self.n_slots].sigmoid(), z[..., self.n_slots :].tanh()


class GatedScan(torch.autograd.Function):
    """M_t = (1 - g_t) M_{t-1} + g_t v_t for t = 1..T, differentiable in gates, values and start.

    Args (of `apply`): gate (T, N, S), value (T, N, d), start (N, S, d).
    Returns: M (T, N, S, d).
    """

    @staticmethod
    def forward(ctx: Any, gate: Tensor, value: Tensor, start: Tensor) -> Tensor:
        """The contents after every step."""
        contents = gate[..., None] * value[:, :, None]
        scan_(1 - gate, contents, start)
        ctx.save_for_backward(gate, value, start, contents)
        return contents

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Slopes with respect to gates, values and start, by the same scan backwards in time."""
        gate, value, start, contents = ctx.saved_tensors
        keep = 1 - gate
        # G_t = dL/dM_t + (1 - g_{t+1}) G_{t+1}
        total = slope.flip(0)
        decay = torch.cat([torch.zeros_like(keep[:1]), keep[1:].flip(0)])
        scan_(decay, total, torch.zeros_like(start))
        total = total.flip(0)
        d_value = (gate[:, :, None] @ total)[:, :, 0]
        d_gate = (total @ value[..., None])[..., 0]
        d_gate[0] -= (total[0] * start).sum(-1)
        d_gate[1:] -= (total[1:] * contents[:-1]).sum(-1)
        return d_gate, d_value, keep[0, ..., None] * total[0]


def scan_(decay: Tensor, x: Tensor, start: Tensor) -> None:
    """In place x_t <- x_t + decay_t x_{t-1}, with x_0 = start, in about 2 sqrt(T) operations.

    Chunks of sqrt(T) steps run side by side as if each began with nothing; then what each begins
    with is added, chunk after chunk.

    Args:
        decay: (T, ...).
        x: (T, ..., d), one axis more.
        start: (..., d).
    """
    length = isqrt(len(x))
    n_chunks = len(x) // length
    whole = n_chunks * length
    chunks = x[:whole].unflatten(0, (n_chunks, length))
    decays = decay[:whole].unflatten(0, (n_chunks, length))[..., None]
    for i in range(1, length):
        chunks[:, i].addcmul_(decays[:, i], chunks[:, i - 1])
    carried = decays.cumprod(1)
    for c in range(n_chunks):
        chunks[c].addcmul_(carried[c], start)
        start = chunks[c, -1]
    for t in range(whole, len(x)):
        x[t].addcmul_(decay[t, ..., None], x[t - 1])
