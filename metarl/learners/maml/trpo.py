"""The trust-region step of TRPO (Schulman et al. 2015, appendix C), on flat vectors."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

LINE_SEARCH_STEPS = 15
BACKTRACK = 0.8


class Jacobian:
    """The derivative of some tensors with respect to others, as a linear map that is applied many times.

    Args:
        outputs: functions of the inputs.
        inputs: of any shapes.
    """

    def __init__(self, outputs: Sequence[Tensor], inputs: Sequence[Tensor]):
        self.outputs, self.inputs = outputs, inputs
        # J^T w is linear in w, so that its derivative in w, applied to v, is J v.
        self.weights = [torch.zeros_like(y, requires_grad=True) for y in outputs]
        self.slopes = torch.autograd.grad(
            outputs, inputs, self.weights, create_graph=True, materialize_grads=True
        )

    def forward(self, v: Sequence[Tensor]) -> Sequence[Tensor]:
        """J v, shaped like the outputs, of v shaped like the inputs."""
        return torch.autograd.grad(self.slopes, self.weights, v, retain_graph=True, materialize_grads=True)

    def backward(self, w: Sequence[Tensor]) -> Sequence[Tensor]:
        """J^T w, shaped like the inputs, of w shaped like the outputs."""
        return torch.autograd.grad(self.outputs, self.inputs, w, retain_graph=True, materialize_grads=True)


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], b: Tensor, iterations: int
) -> tuple[Tensor, Tensor]:
    """Approximate solution x of A x = b, and A x, given v -> A v for a positive definite A.

    Args:
        product: v (P,) -> A v (P,).
        b: (P,).
        iterations: at most this many; fewer once the residual has vanished.
    """
    x, residual = torch.zeros_like(b), b.clone()
    direction, norm = residual.clone(), residual @ residual
    for _ in range(iterations):
        if norm < 1e-10:
            break
        image = product(direction)
        length = norm / (direction @ image)
        x, residual = x + length * direction, residual - length * image
        old, norm = norm, residual @ residual
        direction = residual + norm / old * direction
    return x, b - residual


def trust_region_step(
    start: Tensor,
    before: float,
    gradient: Tensor,
    product: Callable[[Tensor], Tensor],
    evaluate: Callable[[Tensor], tuple[float, float]],
    max_kl: float,
    iterations: int,
) -> tuple[Tensor, float, float]:
    """Largest tried step along the natural gradient that improves within the trust region.

    Args:
        start: (P,) parameters now.
        before: the objective there.
        gradient: (P,) of the objective at the start.
        product: v (P,) -> F v (P,), damped Fisher products at the start.
        evaluate: parameters (P,) -> (objective, KL from the start).
        max_kl: radius of the trust region.
        iterations: of conjugate gradients.

    Returns:
        Parameters, and their gain and KL; the start, 0 and 0 if no tried step improves.
    """
    direction, image = conjugate_gradient(product, gradient, iterations)
    curvature = direction @ image
    if not torch.isfinite(curvature) or curvature <= 0:
        return start, 0.0, 0.0
    step = torch.sqrt(2 * max_kl / curvature) * direction
    for i in range(LINE_SEARCH_STEPS):
        candidate = start + BACKTRACK**i * step
        after, kl = evaluate(candidate)
        if after > before and kl <= max_kl:
            return candidate, after - before, kl
    return start, 0.0, 0.0
