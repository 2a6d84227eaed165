"""What every line of the benchmark shares: how much to run, what it gives, and taking turns."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from metarl import MetaLSTMConfig


@dataclass(frozen=True)
class Plan:
    """How much to run.

    Attributes:
        rounds: how often both sides of a ratio take their turn.
        n_tasks, n_episodes: their product is the number of simulations.
        n_trials: of an iteration of the Meta-LSTM.
        workers: numbers of workers among which a partner's best is looked for.
        seconds: of somebody else's stepping or training, each round.
        patience: seconds after which a training that is not at its goal is ended.
    """

    rounds: int
    n_tasks: int = 40
    n_episodes: int = 20
    n_trials: int = MetaLSTMConfig.n_trials
    workers: tuple[int, ...] = (2, 4, 8, 16, 32)
    seconds: float = 2.0
    patience: float = 600.0

    @property
    def n_sims(self) -> int:
        """Tasks times episodes."""
        return self.n_tasks * self.n_episodes


QUICK = Plan(rounds=1, n_tasks=4, n_episodes=5, n_trials=4, workers=(1, 2), seconds=0.2, patience=1.0)


@dataclass(frozen=True)
class Line:
    """One measured ratio."""

    name: str
    value: float
    unit: str
    versus: str
    versus_value: float
    ratio: float


@dataclass(frozen=True)
class Target:
    """What a ratio should be: at least, or at most, a bound."""

    bound: float
    at_most: bool = False

    def met(self, ratio: float) -> bool:
        """Whether the ratio is as it should be."""
        return ratio <= self.bound if self.at_most else ratio >= self.bound

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.bound:g}"


class Skipped(Exception):  # noqa: N818 - not an error
    """A line that cannot be measured here, and why."""


def alternate(first: Callable[[], float], second: Callable[[], float], rounds: int) -> tuple[float, float]:
    """Medians of two measurements that take turns, after one round to warm up."""
    pairs = [(first(), second()) for _ in range(rounds + 1)][1:]
    return median(a for a, _ in pairs), median(b for _, b in pairs)
