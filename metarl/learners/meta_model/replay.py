"""What was lived through, and windows cut from it at random."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metarl.sampling.transitions import Transitions

NUMBERS = ("obs", "obs_after", "action", "reward")
FIELDS = (*NUMBERS, "terminated", "episode_start", "valid")


@dataclass(frozen=True)
class Windows:
    """B windows: M transitions that tell of the task, and S stretches of K steps to predict after them.

    Attributes:
        seen: by name (obs, obs_after, action, reward), (B, M, ...), the last transitions before them.
        known: (B, M) one where there is such a transition.
        obs: (B, S, d), at the start of each stretch.
        action: (B, S, K, action_dim).
        obs_after: (B, S, K, d), after each step.
        reward: (B, S, K).
        terminated: (B, S, K), one where the robot failed.
        valid: (B, S, K), one while the episode goes on.
    """

    seen: dict[str, Tensor]
    known: Tensor
    obs: Tensor
    action: Tensor
    obs_after: Tensor
    reward: Tensor
    terminated: Tensor
    valid: Tensor

    def at(self, rows: Tensor) -> "Windows":
        """Some of them."""
        parts = {k: x[rows] for k, x in vars(self).items() if k != "seen"}
        return Windows(seen={k: x[rows] for k, x in self.seen.items()}, **parts)


@dataclass(frozen=True)
class Futures:
    """What the steps of R trials, of L steps each, have led to.

    Attributes:
        earned: (R, L) discounted reward of the step and of those after it that are looked at.
        worth: (R, L) what a reward after those counts now; zero where the robot has failed.
        last: (R, L) the last of those steps.
    """

    earned: Tensor
    worth: Tensor
    last: Tensor


class Replay:
    """Trials of all tasks, (R, L, ...) each; the oldest go where there are too many.

    Args:
        capacity: transitions kept.
    """

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.parts: dict[str, Tensor] = {}

    @property
    def is_blank(self) -> bool:
        """Whether no robot has taken a step in it: none was there, or all simulations have blown up."""
        return not self.parts or not bool(self.parts["valid"].any())

    def __len__(self) -> int:
        """Transitions that are kept."""
        return self.parts["reward"].numel() if self.parts else 0

    def add(self, new: Transitions) -> None:
        """Keep trials; those that are shorter than others are longer now, by steps that do not count."""
        for name in FIELDS:
            old = [self.parts[name]] if name in self.parts else []
            parts = [*old, torch.from_numpy(getattr(new, name))]
            length = max(x.shape[1] for x in parts)
            whole = [torch.cat([x, x.new_zeros(len(x), length - x.shape[1], *x.shape[2:])], 1) for x in parts]
            self.parts[name] = torch.cat(whole)[-max(1, self.capacity // length) :]

    def draw(self, n: int, window: int, stretches: int, length: int, generator: torch.Generator) -> Windows:
        """Windows that begin anywhere in any trial.

        Args:
            n: B.
            window: M. Before the start of a trial nothing is known; of one window in eight only a part is
                shown, so that the beginning of a trial is learned as well as what comes later.
            stretches: S, one after the other.
            length: K.
            generator: draws them.
        """
        trials, most = self.parts["reward"].shape
        trial = torch.randint(trials, (n,), generator=generator)
        start = torch.randint(most, (n,), generator=generator)
        shown = torch.randint(window + 1, (n,), generator=generator)
        shown[torch.rand(n, generator=generator) > 1 / 8] = window
        return self.cut(trial, start, shown, window, stretches, length)

    def cut(
        self, trial: Tensor, start: Tensor, shown: Tensor, window: int, stretches: int, length: int
    ) -> Windows:
        """The windows of these trials that begin at these steps, so much of what came before shown, (B,)."""
        parts, most = self.parts, self.parts["reward"].shape[1]
        back = torch.arange(window, 0, -1)
        known = (back <= start[:, None]) & (back <= shown[:, None])
        before = trial[:, None] * most + (start[:, None] - back).clamp(min=0)
        known &= parts["valid"].flatten()[before]
        names = ("obs", "obs_after", "action", "reward")
        seen = {name: parts[name].flatten(0, 1)[before] for name in names}

        begin = start[:, None] + length * torch.arange(stretches)
        step = begin[..., None] + torch.arange(length)
        inside = step < most
        at = trial[:, None, None] * most + step.clamp(max=most - 1)
        fresh = parts["episode_start"].flatten()[at]
        fresh[..., 0] = False  # the first step of an episode may well be the first of a stretch
        over = ~inside | fresh | ~parts["valid"].flatten()[at]
        valid = over.cumsum(-1) == 0
        return Windows(
            seen,
            known.float(),
            parts["obs"].flatten(0, 1)[at[..., 0]],
            parts["action"].flatten(0, 1)[at],
            parts["obs_after"].flatten(0, 1)[at],
            parts["reward"].flatten()[at],
            parts["terminated"].flatten()[at].float(),
            valid.float(),
        )

    def futures(self, n: int, gamma: float) -> Futures:
        """What every step has led to within n steps of its episode, or within what is left of it."""
        reward, failed = self.parts["reward"], self.parts["terminated"]
        start = self.parts["episode_start"] | ~self.parts["valid"]  # nothing is gone on with from there
        ends = failed | torch.cat([start[:, 1:], torch.ones_like(start[:, :1])], 1)
        last = torch.arange(reward.shape[1]).expand_as(reward)
        earned, worth, going = reward.clone(), torch.full_like(reward, gamma), ~ends
        for _ in range(n - 1):
            last = torch.where(going, last + 1, last)
            earned += torch.where(going, worth * reward.gather(1, last), 0)
            worth = torch.where(going, worth * gamma, worth)
            going &= ~ends.gather(1, last)
        return Futures(earned, worth * ~failed.gather(1, last), last)

    def draw_steps(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Trial and step, (n,) each, of steps anywhere that a robot took."""
        valid = self.parts["valid"]
        trials, most = valid.shape
        at = torch.randint(trials * most, (n,), generator=generator)
        bad = ~valid.flatten()[at]
        if bad.any():
            good = valid.flatten().nonzero()[:, 0]
            at[bad] = good[torch.randint(len(good), (int(bad.sum()),), generator=generator)]
        return at // most, at % most

    def state_dict(self) -> dict[str, Any]:
        """What is saved: all of it, without which training could not go on as it was."""
        return dict(self.parts)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what was saved; ValueError if that is no replay."""
        shapes = {x.shape[:2] for x in state.values()}
        if (state and set(state) != set(FIELDS)) or len(shapes) > 1:
            raise ValueError("the replay's parts do not fit each other")
        if any(x.dtype != (torch.float32 if k in NUMBERS else torch.bool) for k, x in state.items()):
            raise ValueError("the replay's numbers are of other types")
        self.parts = dict(state)

    def fits(self, obs_dim: int, action_dim: int) -> bool:
        """Whether it is of such a robot."""
        sizes = {"obs": (obs_dim,), "obs_after": (obs_dim,), "action": (action_dim,)}
        return all(x.shape[2:] == sizes.get(k, ()) for k, x in self.parts.items())
