"""How the model adapts: what its memory tells, and one gradient step, differentiated exactly.

The gradient step is MAML's (Finn et al. 2017, eq. 1) on the model's error in the last transitions, as in
GrBAL (Nagabandi, Clavera et al. 2019, eq. 4), with a rate that each layer learns.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.learners.meta_model.model import DynamicsModel
from metarl.policies.gaussian import Params

GRADIENT, MEMORY = ("gradient", "both"), ("memory", "both")


@dataclass(frozen=True)
class Seen:
    """Transitions that tell of N tasks, normalised, for each of E members.

    Attributes:
        features: (E, N, M, n_features), action (E, N, M, action_dim), outcome (E, N, M, n_out).
        known: (E, N, M) one where there is such a transition.
    """

    features: Tensor
    action: Tensor
    outcome: Tensor
    known: Tensor

    def joined(self) -> Tensor:
        """As the memory sees them, (E, N, M, n_transition)."""
        return torch.cat([self.features, self.action, self.outcome], -1)


@dataclass(frozen=True)
class Adapted:
    """A model that has adapted to N tasks.

    Attributes:
        params: (E, ...), or (E * N, ...) where each task has its own.
        told: (E, N, context) by the memory, or None.
        own: each task has its own parameters.
        n_tasks: N.
    """

    params: Params
    told: Tensor | None
    own: bool
    n_tasks: int

    def rows(self, x: Tensor) -> Tensor:
        """Rows of every member and task, (E, N, R, ...), as the parameters go with them, (G, B, ...)."""
        return x.flatten(0, 1) if self.own else x.flatten(1, 2)

    def told_rows(self) -> Tensor | None:
        """What the memory tells, as the parameters go with it, (G, b, context)."""
        return self.told.flatten(0, 1)[:, None] if self.own and self.told is not None else self.told

    def hints(self) -> Tensor:
        """What the first member's memory tells of each task, (N, context); nothing without one."""
        return torch.zeros(self.n_tasks, 0) if self.told is None else self.told[0]

    def of(self, tasks: slice) -> "Adapted":
        """The model of some of the tasks."""
        told = None if self.told is None else self.told[:, tasks]
        params, n = self.params, self.n_tasks
        if self.own:
            params = {k: p.unflatten(0, (-1, n))[:, tasks].flatten(0, 1) for k, p in params.items()}
        return Adapted(params, told, self.own, len(range(n)[tasks]))


def initial_rates(hidden: tuple[int, ...], members: int, rate: float) -> Params:
    """A step size for every layer of every member, (E, 1, 1) each."""
    return {f"rate/{i}": torch.full((members, 1, 1), rate) for i in range(len(hidden) + 1)}


def adapt(model: DynamicsModel, params: Params, seen: Seen, by: str, graph: bool = False) -> Adapted:
    """Adapt to N tasks, each to its own transitions.

    Args:
        model: sizes.
        params: (E, ...), with rates where a gradient step is taken.
        seen: what tells of the tasks.
        by: "memory", "gradient", "both" or "none".
        graph: keep what the exact gradient through the adaptation needs.
    """
    told = model.tell(params, seen.joined(), seen.known) if by in MEMORY else None
    n = seen.known.shape[1]
    if by not in GRADIENT:
        return Adapted(params, told, False, n)
    with torch.enable_grad():
        own = {
            k: p[:, None].expand(-1, n, *p.shape[1:]).flatten(0, 1)
            for k, p in params.items()
            if k[0] in "wb" or k == "told/w1"  # of the layers that predict
        }
        if not graph:
            own = {k: p.detach().requires_grad_() for k, p in own.items()}
        state = Adapted(own, told, True, n)
        loss = _error(model, state, seen).sum()  # each task's gradient is its own
        slopes = torch.autograd.grad(loss, list(own.values()), create_graph=graph)
    moved = {}
    for (k, p), slope in zip(own.items(), slopes, strict=True):
        rate = params[f"rate/{0 if k[0] == 't' else k[1:]}"].repeat_interleave(n, 0)
        moved[k] = p - rate * slope
    if not graph:
        moved = {k: p.detach() for k, p in moved.items()}
    return Adapted(moved, told, True, n)


def _error(model: DynamicsModel, state: Adapted, seen: Seen) -> Tensor:
    """Mean squared error of one-step predictions of what was seen, (E * N,)."""
    told = state.told_rows()
    features, action = state.rows(seen.features), state.rows(seen.action)
    mean = model.predict(state.params, features, action, told).mean
    known = state.rows(seen.known)
    error = (mean - state.rows(seen.outcome)).square().mean(-1)
    return (error * known).sum(1) / known.sum(1).clamp(min=1)
