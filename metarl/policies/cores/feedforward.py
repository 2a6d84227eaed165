"""No memory at all: what the others are compared with."""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from metarl.policies.cores.core import Core, State
from metarl.policies.gaussian import Params, orthogonal


@dataclass(frozen=True)
class Feedforward(Core):
    """A tanh layer. It sees the step before as an input, and nothing earlier.

    State: nothing.
    """

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
