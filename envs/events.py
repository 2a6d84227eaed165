"""What happens in the midst of episodes: pushes, commands that change, things that break."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import mujoco
import numpy as np

from metarl.envs.distributions import Distribution, Uniform
from metarl.envs.param import Param, check_span
from metarl.errors import InputError

Span = tuple[float, float]
NEVER = -1  # before which step nothing happens


@dataclass(frozen=True)
class Push:
    """A kick every so often: a body that moves freely goes faster at once, in any horizontal direction.

    Attributes:
        every: seconds between two of them, from and to.
        speed: m/s.
        joint: the free joint; "" is the robot's first one.
    """

    every: Span = (2.0, 4.0)
    speed: Distribution = field(default_factory=lambda: Uniform(0.0, 0.5))
    joint: str = ""

    def __post_init__(self):
        check_span("Push", "every", self.every)
        if not hasattr(self.speed, "sample"):
            raise InputError(f"Push: speed={self.speed!r} is no distribution: Uniform(0, 0.5), say")

    def dofs(self, model: mujoco.MjModel) -> np.ndarray:
        """Where its x and y velocities are in qvel, (2,).

        Raises:
            InputError: the robot has no such joint.
        """
        free = np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)
        names = {mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_JOINT, i) or f"#{i}": i for i in free}
        if not names or (self.joint and self.joint not in names):
            known = ", ".join(names) or "none, and only what moves freely can be pushed"
            raise InputError(f"there is no free joint {self.joint!r} to push; the robot has {known}")
        first = model.jnt_dofadr[names[self.joint] if self.joint else free[0]]
        return np.array([first, first + 1])


class Events:
    """All that happens in the midst of N episodes, drawn when they begin.

    Args:
        params: of the family.
        pushes: of the family.
        n: simulations.
        dt: seconds per step.
        horizon: steps of an episode.

    Attributes:
        changing: the parameters whose numbers change within an episode.
    """

    def __init__(self, params: tuple[Param, ...], pushes: tuple[Push, ...], n: int, dt: float, horizon: int):
        self.changing, self.pushes = [p for p in params if p.changes], pushes
        self._dt, self._horizon, self._n = dt, horizon, n
        # For each parameter and push: before which steps, (N, M), and what it brings, (N, M, ...).
        self._when = [np.zeros((n, 0), int) for _ in range(len(self.changing) + len(pushes))]
        self._what = [np.zeros((n, 0))] * len(self._when)

    def __bool__(self) -> bool:
        return bool(self._when)

    def begin(self, rng: np.random.Generator, ids: np.ndarray, given: Mapping[str, np.ndarray]) -> None:
        """Draw what is to happen in episodes that begin in simulations `ids`, of tasks with these numbers."""
        n = self._n
        drawn = []
        for param in self.changing:
            now = given[param.name]
            if param.every:
                when = self._recurring(rng, param.every)
                drawn.append((when, _renewed(rng, param, now, when.shape[1])))
            else:
                seconds = self._horizon * self._dt
                low, high = param.when or (seconds / 4, seconds / 2)
                low, high = low / self._dt, high / self._dt
                drawn.append((np.rint(rng.uniform(low, high, (n, 1))).astype(int), now[:, None].copy()))
        for push in self.pushes:
            when = self._recurring(rng, push.every)
            angle = rng.uniform(-np.pi, np.pi, when.shape)
            speed = push.speed.sample(rng, when.shape)
            drawn.append((when, np.stack([speed * np.cos(angle), speed * np.sin(angle)], axis=-1)))
        for k, new in enumerate(drawn):
            for kept, value in zip((self._when, self._what), new, strict=True):
                if kept[k].shape != value.shape:
                    kept[k] = value.copy()
                kept[k][ids] = value[ids]

    def forget(self, ids: np.ndarray) -> None:
        """Let no number change any more in the episodes of simulations `ids`, whose tasks are others now."""
        for when in self._when[: len(self.changing)]:
            when[ids] = NEVER

    def moments(self, name: str) -> np.ndarray:
        """Before which step the number of this name changes, (N,), the first time where it does so often."""
        return self._when[[p.name for p in self.changing].index(name)][:, 0]

    def due_numbers(
        self, elapsed: np.ndarray, mask: np.ndarray | None
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Parameters that change now: in which simulations, (n,), and their new numbers, (n, ...)."""
        found = {p.name: self._due(k, elapsed, mask) for k, p in enumerate(self.changing)}
        return {name: due for name, due in found.items() if len(due[0])}

    def due_pushes(
        self, elapsed: np.ndarray, mask: np.ndarray | None
    ) -> list[tuple[Push, np.ndarray, np.ndarray]]:
        """Pushes that happen now: in which simulations, (n,), and the velocities they add, (n, 2) m/s."""
        first = len(self.changing)
        found = [(push, *self._due(first + k, elapsed, mask)) for k, push in enumerate(self.pushes)]
        return [due for due in found if len(due[1])]

    def _due(self, k: int, elapsed: np.ndarray, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        now = self._when[k] == elapsed[:, None]
        if mask is not None:
            now &= mask[:, None]
        ids, which = np.nonzero(now)
        ids, first = np.unique(ids, return_index=True)
        return ids, self._what[k][ids, which[first]]

    def _recurring(self, rng: np.random.Generator, every: Span) -> np.ndarray:
        """Before which steps something happens that happens every so often, (N, M)."""
        most = int(np.ceil(self._horizon * self._dt / max(every[0], self._dt)))
        gaps = np.maximum(self._dt, rng.uniform(*every, (self._n, most)))
        return np.maximum(1, np.rint(np.cumsum(gaps, axis=1) / self._dt)).astype(int)


def _renewed(rng: np.random.Generator, param: Param, now: np.ndarray, m: int) -> np.ndarray:
    """Numbers after those of N tasks, (N,) or (N, size), from the ranges that these are from: (N, m, ...)."""
    size = int(np.prod(now.shape[1:], dtype=int))
    out = np.repeat(now[:, None], m, axis=1)
    unknown = np.ones(len(now), bool)
    for dist in param.ranges:
        drawn = dist.sample(rng, (len(now) * m, size)).reshape(out.shape)
        mine = unknown & dist.contains(now).reshape(len(now), -1).all(axis=1)
        out[mine] = drawn[mine]
        unknown &= ~mine
    return out
