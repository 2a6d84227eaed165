"""Distributions of one task parameter: what is drawn, and which values are legal."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

from metarl.errors import InputError


@dataclass(frozen=True)
class Uniform:
    """Uniform on [low, high]."""

    low: float
    high: float

    def __post_init__(self):
        kind, ends = type(self).__name__, f"({self.low!r}, {self.high!r})"
        if not all(isinstance(x, Real) and np.isfinite(x) for x in (self.low, self.high)):
            raise InputError(f"{kind}{ends}: its ends must be two numbers")
        if self.low > self.high:
            raise InputError(f"{kind}{ends}: the lower end comes first, {kind}({self.high!r}, {self.low!r})")

    def sample(self, rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
        """Draw an array of this size."""
        return rng.uniform(self.low, self.high, size)

    def contains(self, value: np.ndarray) -> np.ndarray:
        """Which values lie in the closed support, elementwise."""
        return (np.asarray(value) >= self.low) & (np.asarray(value) <= self.high)

    def __str__(self) -> str:
        return f"U({self.low:g}, {self.high:g})"


@dataclass(frozen=True)
class LogUniform(Uniform):
    """The logarithm is uniform: a scale and its inverse are equally likely on [1/a, a]."""

    def __post_init__(self):
        super().__post_init__()
        if self.low <= 0:
            raise InputError(f"LogUniform({self.low!r}, {self.high!r}): its ends must be above 0")

    def sample(self, rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
        """Draw an array of this size."""
        return np.exp(rng.uniform(np.log(self.low), np.log(self.high), size))

    def __str__(self) -> str:
        return f"logU({self.low:.3g}, {self.high:.3g})"


@dataclass(frozen=True)
class AnnulusRadius(Uniform):
    """Radius of a point drawn uniformly from the annulus between two radii (low = 0: a disc)."""

    def __post_init__(self):
        super().__post_init__()
        if self.low < 0:
            raise InputError(f"AnnulusRadius({self.low!r}, {self.high!r}): a radius is at least 0")

    def sample(self, rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
        """Draw an array of this size."""
        return np.sqrt(rng.uniform(self.low**2, self.high**2, size))

    def __str__(self) -> str:
        return f"annulus({self.low:g}, {self.high:g})"


@dataclass(frozen=True)
class Choice:
    """One of a few values, in turn and shuffled: n draws hold each value equally often, to within one."""

    values: tuple[float, ...]

    def __post_init__(self):
        if not isinstance(self.values, Sequence) or not self.values:
            raise InputError(f"Choice({self.values!r}): give at least one value, Choice((1.0, 2.0))")
        if not all(isinstance(x, Real) and np.isfinite(x) for x in self.values):
            raise InputError(f"Choice({self.values!r}): its values must be numbers")
        object.__setattr__(self, "values", tuple(float(x) for x in self.values))

    @property
    def low(self) -> float:
        """Smallest value."""
        return min(self.values)

    @property
    def high(self) -> float:
        """Largest value."""
        return max(self.values)

    def sample(self, rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
        """Draw an array of this size."""
        n, *rest = size
        rounds = -(-n // len(self.values))
        column = np.tile(np.asarray(self.values, float), rounds)
        columns = np.broadcast_to(column.reshape(-1, *([1] * len(rest))), (len(column), *rest))
        return rng.permuted(columns.reshape(rounds, -1, *rest), axis=1).reshape(columns.shape)[:n]

    def contains(self, value: np.ndarray) -> np.ndarray:
        """Which values are among the choices, elementwise."""
        return np.isin(value, self.values)

    def __str__(self) -> str:
        return "{" + ", ".join(f"{v:g}" for v in self.values) + "}"


@dataclass(frozen=True)
class Index(Uniform):
    """Whole numbers from low to high that are names, such as seeds: how large one is says nothing."""

    def sample(self, rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
        """Draw an array of this size."""
        return rng.integers(int(self.low), int(self.high), size, endpoint=True).astype(float)

    def contains(self, value: np.ndarray) -> np.ndarray:
        """Which values are among them, elementwise."""
        return super().contains(value) & (np.asarray(value) == np.round(value))

    def __str__(self) -> str:
        return f"{{{self.low:.0f} ... {self.high:.0f}}}"


@dataclass(frozen=True)
class Either:
    """One of several ranges, as likely as it is long."""

    ranges: tuple[Uniform, ...]

    def __post_init__(self):
        if not all(isinstance(r, Uniform) for r in self.ranges):
            raise InputError(f"Either({self.ranges!r}): give ranges, (Uniform(0, 1), Uniform(2, 3))")
        if not self.ranges or all(r.low == r.high for r in self.ranges):
            raise InputError(f"Either({self.ranges!r}): give at least one range that has a length")

    @property
    def low(self) -> float:
        """Smallest value."""
        return min(r.low for r in self.ranges)

    @property
    def high(self) -> float:
        """Largest value."""
        return max(r.high for r in self.ranges)

    def sample(self, rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
        """Draw an array of this size."""
        length = np.array([r.high - r.low for r in self.ranges])
        which = rng.choice(len(length), size, p=length / length.sum())
        return np.choose(which, [r.sample(rng, size) for r in self.ranges])

    def contains(self, value: np.ndarray) -> np.ndarray:
        """Which values lie in one of the ranges, elementwise."""
        return np.any([r.contains(value) for r in self.ranges], axis=0)

    def __str__(self) -> str:
        return " or ".join(map(str, self.ranges))


@dataclass(frozen=True)
class OneWeak(Uniform):
    """For a parameter with a number for each of several parts: 1 for all but one group of parts.

    The parts of that group, drawn from `groups`, share a number uniform on [low, high].

    Attributes:
        groups: indices of the parts that are weak together.
    """

    groups: tuple[tuple[int, ...], ...]

    def sample(self, rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
        """Draw an array (n, parts)."""
        n, parts = size
        if max(map(max, self.groups)) >= parts:
            raise InputError(
                f"{self}: there are only {parts} parts, 0 to {parts - 1}; see `each` and `groups`"
            )
        out = np.ones(size)
        which, strength = rng.integers(len(self.groups), size=n), rng.uniform(self.low, self.high, n)
        for row, k, value in zip(out, which, strength, strict=True):
            row[list(self.groups[k])] = value
        return out

    def contains(self, value: np.ndarray) -> np.ndarray:
        """Which values lie in the closed support or are 1, elementwise."""
        return super().contains(value) | (np.asarray(value) == 1)

    def __str__(self) -> str:
        parts = ", ".join("+".join(map(str, group)) for group in self.groups)
        return f"U({self.low:g}, {self.high:g}) on one of {parts}"


Distribution = Uniform | Choice | Either
