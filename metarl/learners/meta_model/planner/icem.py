"""iCEM: the cross-entropy method with coloured noise and a memory (Pinneri et al. 2020), N plans at once."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from torch import Tensor

Imagine = Callable[[Tensor], Tensor]  # candidates (N, P, H, action_dim) to what each would earn, (N, P)
Plan = dict[str, Tensor]  # "mean" (N, H, action_dim), "elites" (N, k, H, action_dim)


@dataclass(frozen=True)
class ICEM:
    """A planner by its settings; what it carries from step to step is passed in and comes out.

    Args:
        action_dim: numbers of an action.
        horizon: H, steps planned ahead.
        candidates: in the first round.
        rounds: each with `decay` times fewer candidates than the one before.
        elites: that the next round is drawn around.
        colour: exponent of the noise's spectrum, 1 / f^colour.
        std: of the candidates of the first round.
        decay, momentum, kept: the paper's settings: of how many candidates, of mean and deviation from round
            to round, and the share of the elites that is looked at again.
    """

    action_dim: int
    horizon: int
    candidates: int
    rounds: int
    elites: int
    colour: float
    std: float
    decay: float = 1.25
    momentum: float = 0.1
    kept: float = 0.3

    def start(self, n: int) -> Plan:
        """What N trials begin with: no plan."""
        shape = self.horizon, self.action_dim
        return {
            "mean": torch.zeros(n, *shape),
            "elites": torch.zeros(n, self.n_kept, *shape),
        }

    @property
    def n_kept(self) -> int:
        """Elites that are looked at again."""
        return ceil(self.kept * self.elites)

    def n_candidates(self, k: int) -> int:
        """Candidates in round k, those that are looked at again included."""
        return ceil(max(self.candidates * self.decay**-k, 2 * self.elites, self.n_kept + 2))

    def plan(self, plan: Plan, imagine: Imagine, rng: np.random.Generator) -> tuple[Tensor, Plan]:
        """What to do now, (N, action_dim), and the plan that the next step begins with.

        Args:
            plan: of the step before, or somebody else's; there may be any number of elites.
            imagine: what candidates would earn.
            rng: draws candidates.
        """
        mean, elites = plan["mean"], plan["elites"]
        std = torch.full_like(mean, self.std)
        n, smooth = len(mean), colours(self.horizon, self.colour)
        for k in range(self.rounds):
            again = [elites, *([mean[:, None]] if k == self.rounds - 1 else [])]
            n_new = max(self.n_candidates(k) - sum(x.shape[1] for x in again), 0)
            white = rng.standard_normal((n, n_new, self.action_dim, self.horizon), dtype=np.float32)
            noise = (torch.from_numpy(white) @ smooth).transpose(-1, -2)
            fresh = (mean[:, None] + std[:, None] * noise).clamp(-1, 1)
            candidates = torch.cat([fresh, *again], 1)
            earned = imagine(candidates)
            best = earned.topk(self.elites, 1).indices
            chosen = candidates.gather(1, best[:, :, None, None].expand(-1, -1, *candidates.shape[2:]))
            mean = torch.lerp(chosen.mean(1), mean, self.momentum)
            std = torch.lerp(chosen.std(1, correction=0), std, self.momentum)
            elites = chosen[:, : self.n_kept]
        return mean[:, 0], {"mean": _shift(mean), "elites": _shift(elites)}


def _shift(x: Tensor) -> Tensor:
    """Plans (..., H, action_dim) a step later; the last action is repeated."""
    return torch.cat([x[..., 1:, :], x[..., -1:, :]], -2)


def colours(length: int, exponent: float) -> Tensor:
    """What makes of white noise, (..., length), one whose power falls as 1 / f^exponent, of variance one."""
    frequency = np.fft.rfftfreq(2 * length)
    frequency[0] = frequency[1]
    power = frequency**-exponent
    correlation = np.fft.irfft(power)[:length]
    lag = np.abs(np.subtract.outer(np.arange(length), np.arange(length)))
    covariance = (correlation / correlation[0])[lag] + 1e-9 * np.eye(length)
    return torch.from_numpy(np.linalg.cholesky(covariance).T.astype(np.float32))
