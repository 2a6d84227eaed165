"""What every recurrent core has."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from metarl.policies.gaussian import Params

State = dict[str, Tensor]  # (N, ...) each


@dataclass(frozen=True)
class Core:
    """A core by its sizes; see `metarl.policies.cores` for what a subclass defines."""

    n_in: int
    width: int
    fixed_size: ClassVar[bool] = True  # of its state, which does not grow with a trial

    @property
    def n_out(self) -> int:
        """Size of the output."""
        return self.width

    def init(self, generator: torch.Generator) -> Params:
        """Fresh parameters."""
        raise NotImplementedError

    def start(self, params: Params, n: int) -> State:
        """What N trials begin with."""
        raise NotImplementedError

    def step(self, params: Params, state: State, x: Tensor) -> tuple[Tensor, State]:
        """One step: x (N, n_in) to out (N, n_out)."""
        raise NotImplementedError

    def unroll(self, params: Params, state: State, x: Tensor) -> Tensor:
        """All steps: x (T, N, n_in) to out (T, N, n_out)."""
        raise NotImplementedError

    def inspect(self, params: Params, state: State, x: Tensor) -> dict[str, Tensor]:
        """What is worth looking at, (T, N, ...) each: the output, under the core's name."""
        return {type(self).__name__.lower(): self.unroll(params, state, x)}
