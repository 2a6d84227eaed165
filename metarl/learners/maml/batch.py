"""Trajectories as MAML learns from them."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Trajectories as a learner uses them: K tasks of B samples each.

    Attributes:
        obs: (K, B, obs_dim), normalised.
        action: (K, B, action_dim).
        log_prob: (K, B), when the action was drawn.
        advantage: (K, B), mean 0 and deviation 1 within each task.
        reward: (K, B), normalised.
        next_obs: (K, B, obs_dim), after the step; at the end of an episode, where it is not known, obs.
        weight: (K, B), sums to 1 within each task; zero on padding.
        shown: (K, B, action_dim), what is to be imitated; (K, B, 0) where nothing is.
        spread: (K,), each task's deviation of advantages, in units of that over all tasks.
    """

    obs: Tensor
    action: Tensor
    log_prob: Tensor
    advantage: Tensor
    reward: Tensor
    next_obs: Tensor
    weight: Tensor
    shown: Tensor
    spread: Tensor

    def tasks(self, index: Tensor) -> "Batch":
        """The batch of some of the tasks."""
        return Batch(*(x[index] for x in vars(self).values()))

    def every(self, stride: int) -> "Batch":
        """Every stride-th sample."""
        parts = {k: x[:, ::stride] for k, x in vars(self).items() if k != "spread"}
        total = parts["weight"].sum(1, keepdim=True).clamp(min=1e-12)
        return Batch(**{**parts, "weight": parts["weight"] / total}, spread=self.spread)
