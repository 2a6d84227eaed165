"""Param: one thing that varies between the tasks of a family."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from metarl.envs.distributions import Distribution
from metarl.envs.task import Split
from metarl.errors import InputError


@dataclass(frozen=True)
class Param:
    """One thing that varies between tasks.

    A goal is read by the family's reward. A dynamics parameter names a field of the model (see
    `metarl.envs.variation`), the objects it applies to (None: all), and whether its numbers set the field,
    scale it or are added to it; `each` gives every element of the field a number of its own, and `axis`
    picks one column of a field that has several (0: the x of a position, the sliding of a friction).
    What follows a field (inertia follows mass, a servo's bias its gain) stays as it is if it is varied by a
    parameter of its own, or if the field is to vary `alone`: a velocity servo's gain alone is how fast it
    goes when it is told to, and with its bias how strong it is.
    Held-out tasks are drawn as training tasks are, unless `test` says otherwise.
    """

    name: str
    unit: str
    train: Distribution
    ood: Distribution | None = None
    test: Distribution | None = None
    field: str | None = None
    objects: tuple[str, ...] | None = None
    mode: Literal["set", "scale", "add"] = "scale"
    each: bool = False
    axis: int | None = None
    alone: bool = False

    @property
    def kind(self) -> Literal["goal", "dynamics"]:
        """Whether the parameter changes the reward or the physics."""
        return "goal" if self.field is None else "dynamics"

    def check(self, value: np.ndarray) -> None:
        """Raise `InputError` unless every number lies where one of the splits can draw it."""
        given = {"train": self.train, "test": self.test, "out of distribution": self.ood}
        known = {name: dist for name, dist in given.items() if dist is not None}
        legal = np.any([dist.contains(value) for dist in known.values()], axis=0)
        if not np.all(legal):
            bad = np.asarray(value)[~legal].flat[0]
            words = (
                [f"{dist} ({name})" for name, dist in known.items()] if len(known) > 1 else [str(self.train)]
            )
            raise InputError(f"{self.name}={bad:g} is out of range: use {' or '.join(words)}, {self.unit}")

    def distribution(self, split: Split) -> Distribution:
        """From what a split's tasks are drawn."""
        return {"test": self.test, "ood": self.ood}.get(split) or self.train

    @property
    def sign(self) -> str:
        """What its numbers do: "=" set, "*" scale, "+" are added."""
        return {"set": "=", "scale": "*", "add": "+"}[self.mode] if self.field else "="

    def words(self, numbers: np.ndarray) -> str:
        """Its numbers, or their range, for people."""
        signed = {"=": "{:.3g}", "*": "*{:.3g}", "+": "{:+.3g}"}[self.sign]
        low, high = signed.format(numbers.min()), signed.format(numbers.max())
        return f"{self.name} {low if low == high else f'{low} to {high}'} {self.unit}".rstrip()

    def __str__(self) -> str:
        return f"{self.name} {self.sign}{self.train} {self.unit}".rstrip()
