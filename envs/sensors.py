"""What stands between a robot's readings and its policy: noise, bias and delay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

from metarl.errors import InputError, unknown


@dataclass(frozen=True)
class Sensor:
    """How a part of the observation is measured.

    Attributes:
        part: its name, a key of what `TaskFamily.observe` returns.
        noise: standard deviation of what is added anew at every step, in the part's units.
        bias: largest offset, drawn uniformly for every episode and number.
        delay: seconds by which it is late, to the nearest step.
    """

    part: str
    noise: float = 0.0
    bias: float = 0.0
    delay: float = 0.0

    def __post_init__(self):
        for name in ("noise", "bias", "delay"):
            value = getattr(self, name)
            if not (isinstance(value, Real) and np.isfinite(value) and value >= 0):
                raise InputError(f"Sensor({self.part!r}): {name} must be a number of at least 0")


class Sensing:
    """N robots' sensors.

    Args:
        sensors: of the parts that are not seen as they are.
        parts: where each part is in an observation.
        n: robots.
        dt: seconds per step.
        horizon: steps of an episode, after which nothing is seen any more, however late.

    Raises:
        InputError: there is no such part.
    """

    def __init__(
        self, sensors: Sequence[Sensor], parts: Mapping[str, slice], n: int, dt: float, horizon: int
    ):
        size = max(part.stop for part in parts.values())
        noise, bias, delay = np.zeros(size), np.zeros(size), np.zeros(size, int)
        for sensor in sensors:
            if sensor.part not in parts:
                raise unknown("part of the observation", sensor.part, parts)
            where = parts[sensor.part]
            noise[where], bias[where] = sensor.noise, sensor.bias
            delay[where] = min(round(sensor.delay / dt), horizon)
        self.rng = np.random.default_rng(0)
        self._noisy, self._off, self._late = map(np.flatnonzero, (noise, bias, delay))
        self._noise, self._bias, self._delay = noise[self._noisy], bias[self._off], delay[self._late]
        self.offset = np.zeros((n, len(self._off)))
        # What was true of what is late, as a ring: `_now` is where each robot's latest is.
        self._past = np.zeros((delay.max() + 1, n, len(self._late)))
        self._now, self._robots = np.zeros(n, int), np.arange(n)[:, None]

    def restart(self, rng: np.random.Generator) -> None:
        """From now on draw from a stream of its own, which this generator gives."""
        self.rng = np.random.default_rng(rng.integers(2**63))

    def begin(self, truth: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """What robots `ids` see first of an episode, (n, size), of what is true of all, (N, size)."""
        offset = self.rng.uniform(-1, 1, self.offset.shape) * self._bias
        self.offset[ids], self._past[:, ids] = offset[ids], truth[np.ix_(ids, self._late)]
        return self._measure(truth)[ids]

    def step(self, truth: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        """Observations, (N, size), after a step of those that the mask names, of what is true, (N, size).

        Those of the others are anything.
        """
        if len(self._late):
            self._now = (self._now + (1 if mask is None else mask)) % len(self._past)
            ids = slice(None) if mask is None else np.flatnonzero(mask)
            self._past[self._now[ids], self._robots[ids, 0]] = truth[ids][:, self._late]
        return self._measure(truth)

    def _measure(self, truth: np.ndarray) -> np.ndarray:
        seen = truth.astype(float)  # a copy
        if len(self._late):
            ago = (self._now[:, None] - self._delay) % len(self._past)
            seen[:, self._late] = self._past[ago, self._robots, np.arange(len(self._late))]
        if len(self._off):
            seen[:, self._off] += self.offset
        if len(self._noisy):
            seen[:, self._noisy] += self._noise * self.rng.standard_normal((len(seen), len(self._noisy)))
        return seen
