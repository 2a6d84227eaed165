"""No memory at all: what the others are compared with."""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from metarl.policies import Params, orthogonal

State = dict[str, Tensor]


@dataclass(frozen=True)
class Feedforward:
    """A tanh layer. It sees the step before as an input, and nothing earlier.

    State: nothing.
    """

    n_in: int
    width: int

    @property
    def n_out(self) -> int:
        """Size of the output."""
        return self.width

    def init(self, generator: torch.Generator) -> Params:
        """Fresh parameters: orthogonal, no bias."""
        return {
            "feedforward/input": orthogonal(self.n_in, self.width, sqrt(2.0), generator),
            "feedforward/bias": torch.zeros(self.width),
        }

    def start(self, params: Params, n: int) -> State:
        """Nothing."""
        return {}

    def step(self, params: Params, state: State, x: Tensor) -> tuple[Tensor, State]:
        """One step: x (N, n_in) to out (N, width)."""
        return self.unroll(params, state, x), {}

    def unroll(self, params: Params, state: State, x: Tensor) -> Tensor:
        """All steps: x (T, N, n_in) to out (T, N, width)."""
        return torch.tanh(x @ params["feedforward/input"] + params["feedforward/bias"])

    def inspect(self, params: Params, state: State, x: Tensor) -> dict[str, Tensor]:
        """The output, "feedforward" (T, N, width)."""
        return {"feedforward": self.unroll(params, state, x)}
