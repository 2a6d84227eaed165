"""What stands between a robot's readings and its policy: noise, bias and delay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise InputError(f"Sensor({self.part!r}): {name} must be a number of at least 0")


class Sensing:
    """N robots' sensors.

    Args:
        sensors: of the parts that are not seen as they are.
        parts: where each part is in an observation.
        n: robots.
        dt: seconds per step.

    Raises:
        InputError: there is no such part.
    """

    def __init__(self, sensors: Sequence[Sensor], parts: Mapping[str, slice], n: int, dt: float):
        size = max(part.stop for part in parts.values())
        self.noise, self.bias, delay = np.zeros(size), np.zeros(size), np.zeros(size, int)
        for sensor in sensors:
            if sensor.part not in parts:
                raise unknown("part of the observation", sensor.part, parts)
            where = parts[sensor.part]
            self.noise[where], self.bias[where] = sensor.noise, sensor.bias
            delay[where] = round(sensor.delay / dt)
        self.rng = np.random.default_rng(0)
        self.offset = np.zeros((n, size))
        self.past = np.zeros((delay.max() + 1, n, size))  # what was true 0, 1, ... steps ago
        self._ago, self._column = delay, np.arange(size)

    def restart(self, rng: np.random.Generator) -> None:
        """From now on draw from a stream of its own, which this generator gives."""
        self.rng = np.random.default_rng(rng.integers(2**63))

    def begin(self, truth: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """What robots `ids` see first of an episode, (n, size), of what is true of all, (N, size)."""
        offset = self.rng.uniform(-1, 1, self.offset.shape) * self.bias
        self.offset[ids], self.past[:, ids] = offset[ids], truth[ids]
        return self._measure()[ids]

    def step(self, truth: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        """Observations, (N, size), after a step of those that the mask names, of what is true, (N, size)."""
        moved = np.concatenate([truth[None], self.past[:-1]])
        np.copyto(self.past, moved, where=True if mask is None else mask[:, None])
        return self._measure()

    def _measure(self) -> np.ndarray:
        late = self.past[self._ago, :, self._column].T
        return late + self.offset + self.noise * self.rng.standard_normal(self.offset.shape)
