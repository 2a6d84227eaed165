"""A gated recurrent unit."""

from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.policies.cores.core import Core, State
from metarl.policies.gaussian import Params, orthogonal


@dataclass(frozen=True)
class GRU(Core):
    """Gated recurrent unit (Cho et al. 2014), torch's kernels.

    State: "h", (N, width).
    """

    def init(self, generator: torch.Generator) -> Params:
        """Fresh parameters: orthogonal, no bias."""
        return {
            "gru/input": orthogonal(self.n_in, 3 * self.width, 1.0, generator).T.contiguous(),
            "gru/state": orthogonal(self.width, 3 * self.width, 1.0, generator).T.contiguous(),
            "gru/input_bias": torch.zeros(3 * self.width),
            "gru/state_bias": torch.zeros(3 * self.width),
        }

    def start(self, params: Params, n: int) -> State:
        """Zeros."""
        return {"h": params["gru/input"].new_zeros(n, self.width)}

    def step(self, params: Params, state: State, x: Tensor) -> tuple[Tensor, State]:
        """One step: x (N, n_in) to out (N, width)."""
        h = torch.gru_cell(x, state["h"], *_weights(params))
        return h, {"h": h}

    def unroll(self, params: Params, state: State, x: Tensor) -> Tensor:
        """All steps: x (T, N, n_in) to out (T, N, width)."""
        return torch.gru(x, state["h"][None], _weights(params), True, 1, 0.0, True, False, False)[0]


def _weights(params: Params) -> list[Tensor]:
    return [params[f"gru/{name}"] for name in ("input", "state", "input_bias", "state_bias")]
