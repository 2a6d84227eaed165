"""An LSTM with an external memory beside it: the core of the Meta-LSTM."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from metarl.policies.cores.core import Core, State
from metarl.policies.cores.lstm import LSTM
from metarl.policies.gaussian import Params
from metarl.policies.memory import ExternalMemory, Reading

N_SLOTS, SLOT_DIM, N_HEADS = 8, 16, 4


@dataclass(frozen=True)
class LSTMMemory(Core):
    """An LSTM that writes what it sees into slots, and reads them by attention at every step.

    Out: the LSTM's output and what was read, side by side, for the policy's fully connected layer.
    State: the LSTM's "h" and "c", (N, width) each, and "memory", (N, slots, slot_dim).
    """

    n_slots: int = N_SLOTS
    slot_dim: int = SLOT_DIM
    n_heads: int = N_HEADS
    lstm: LSTM = field(init=False)
    memory: ExternalMemory = field(init=False)

    def __post_init__(self):
        n_write = self.width + self.n_in
        memory = ExternalMemory(self.n_slots, self.slot_dim, self.n_heads, self.width, n_write)
        object.__setattr__(self, "lstm", LSTM(self.n_in, self.width))
        object.__setattr__(self, "memory", memory)

    @property
    def n_out(self) -> int:
        """Size of the output."""
        return self.width + self.memory.n_read

    def init(self, generator: torch.Generator) -> Params:
        """Fresh parameters of both."""
        return {**self.lstm.init(generator), **self.memory.init(generator)}

    def start(self, params: Params, n: int) -> State:
        """An LSTM at zero, and slots with the content that was learned."""
        return {**self.lstm.start(params, n), "memory": self.memory.start(params, n)}

    def step(self, params: Params, state: State, x: Tensor) -> tuple[Tensor, State]:
        """One step: x (N, n_in) to out (N, n_out)."""
        h, lstm = self.lstm.step(params, state, x)
        reading, memory = self.memory.step(params, state["memory"], h, torch.cat([h, x], -1))
        return torch.cat([h, reading.content], -1), {**lstm, "memory": memory}

    def unroll(self, params: Params, state: State, x: Tensor) -> Tensor:
        """All steps: x (T, N, n_in) to out (T, N, n_out)."""
        h, reading, _ = self._unroll(params, state, x)
        return torch.cat([h, reading.content], -1)

    def inspect(self, params: Params, state: State, x: Tensor) -> dict[str, Tensor]:
        """Traces "lstm" (T, N, width), "memory" (T, N, slots, slot_dim), "attention" (T, N, heads, slots)."""
        h, reading, contents = self._unroll(params, state, x)
        return {"lstm": h, "memory": contents, "attention": reading.attention}

    def look(self, params: Params, state: State) -> Tensor:
        """How the slots were read in the step that ended in this state, (N, heads, slots)."""
        return self.memory.read(params, state["memory"], state["h"]).attention

    def without(self, params: Params, state: State, x: Tensor, slot: int) -> Tensor:
        """As `unroll`, were a slot never written: it holds what it begins with."""
        h, _, contents = self._unroll(params, state, x)
        contents[:, :, slot] = state["memory"][:, slot]
        return torch.cat([h, self.memory.read(params, contents, h).content], -1)

    def _unroll(self, params: Params, state: State, x: Tensor) -> tuple[Tensor, Reading, Tensor]:
        h = self.lstm.unroll(params, state, x)
        return h, *self.memory.unroll(params, state["memory"], h, torch.cat([h, x], -1))
