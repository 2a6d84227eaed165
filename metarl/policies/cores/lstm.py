"""A plain LSTM."""

from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.policies.cores.core import Core, State
from metarl.policies.gaussian import Params, orthogonal


@dataclass(frozen=True)
class LSTM(Core):
    """Long short-term memory (Hochreiter and Schmidhuber 1997), torch's kernels.

    State: "h" and "c", (N, width) each.
    """

    def init(self, generator: torch.Generator) -> Params:
        """Fresh parameters: orthogonal, with the forget gates open (Jozefowicz et al. 2015)."""
        bias = torch.zeros(4 * self.width)
        bias[self.width : 2 * self.width] = 1.0  # gates in torch's order: input, forget, cell, output
        return {
            "lstm/input": orthogonal(self.n_in, 4 * self.width, 1.0, generator).T.contiguous(),
            "lstm/state": orthogonal(self.width, 4 * self.width, 1.0, generator).T.contiguous(),
            "lstm/input_bias": bias,
            "lstm/state_bias": torch.zeros(4 * self.width),
        }

    def start(self, params: Params, n: int) -> State:
        """Zeros."""
        zeros = params["lstm/input"].new_zeros(n, self.width)
        return {"h": zeros, "c": zeros}

    def step(self, params: Params, state: State, x: Tensor) -> tuple[Tensor, State]:
        """One step: x (N, n_in) to out (N, width)."""
        h, c = torch.lstm_cell(x, (state["h"], state["c"]), *_weights(params))
        return h, {"h": h, "c": c}

    def unroll(self, params: Params, state: State, x: Tensor) -> Tensor:
        """All steps: x (T, N, n_in) to out (T, N, width)."""
        begin = [state["h"][None], state["c"][None]]
        return torch.lstm(x, begin, _weights(params), True, 1, 0.0, True, False, False)[0]


def _weights(params: Params) -> list[Tensor]:
    return [params[f"lstm/{name}"] for name in ("input", "state", "input_bias", "state_bias")]
