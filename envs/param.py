"""Param: one thing that varies between the tasks of a family."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal

import numpy as np

from metarl.envs.distributions import Distribution, Index, LogUniform
from metarl.envs.task import Split
from metarl.errors import InputError


@dataclass(frozen=True)
class Param:
    """One thing that varies between tasks: a goal, which the reward reads, or dynamics, a field of the model.

    What follows a field (inertia follows mass, a servo's bias its gain) stays as it is if it is varied by a
    parameter of its own, or if the field is to vary `alone`: a velocity servo's gain alone is how fast it
    goes when it is told to, and with its bias how strong it is.

    Attributes:
        name: in tasks, flags and pictures.
        unit: of its numbers.
        train: what training tasks are drawn from.
        ood: what tasks out of distribution are drawn from; None if there are none.
        test: what held-out tasks are drawn from; None for `train`.
        field: of the model that it varies (see `metarl.envs.variation`); None for a goal.
        objects: names of what it applies to; None for all.
        mode: its numbers set the field, scale it, or are added to it.
        each: every element of the field has a number of its own.
        axis: column of a field that has several (0: the x of a position, the sliding of a friction).
        alone: what follows the field does not.
        groups: names, and the objects that share a number: the motors of a leg, with a number a leg.
        told: seen by the policy, appended to its observation: a command. All else is hidden.
        every: seconds, from and to, after which it is drawn anew within an episode.
        change: "once": the robot is as in the model file until it becomes what the task says.
        when: seconds, from and to, between which that is; None for the second quarter of the episode.

    Raises:
        InputError: what is given does not go together.
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
    groups: Mapping[str, Sequence[str]] | None = None
    told: bool = False
    every: tuple[float, float] | None = None
    change: Literal["once"] | None = None
    when: tuple[float, float] | None = None

    def __post_init__(self):
        if not (isinstance(self.name, str) and self.name):
            raise InputError(f"a Param's name is a word, not {self.name!r}")
        if "=" in self.name:
            raise InputError(
                f"a Param's name has no '=' in it, which --task NAME=VALUE is told by: {self.name!r}"
            )
        if not isinstance(self.unit, str):
            raise InputError(f"{self.name}: unit={self.unit!r} is a word, or '' where there is none")
        for name in ("train", "ood", "test"):
            dist = getattr(self, name)
            if not (hasattr(dist, "sample") or (dist is None and name != "train")):
                raise InputError(f"{self.name}: {name}={dist!r} is no distribution: Uniform(0, 1), say")
        self._check_objects()
        if self.change not in (None, "once"):
            raise InputError(f"{self.name}: change={self.change!r} is unknown; use 'once'")
        if self.change and (self.every or self.field is None):
            raise InputError(f"{self.name}: what changes once has a `field` of the model, and no `every`")
        if self.told and isinstance(self.train, Index):
            raise InputError(f"{self.name}: a policy can be told no Index, a number without a meaning")
        if self.when and not self.change:
            raise InputError(f"{self.name}: `when` needs change='once'")
        if self.groups is not None and (self.field is None or self.objects is not None or self.each):
            raise InputError(f"{self.name}: `groups` take the place of `objects` and of `each`, of a `field`")
        for name in ("every", "when"):
            if getattr(self, name) is not None:
                check_span(self.name, name, getattr(self, name))

    def _check_objects(self) -> None:
        """Raise `InputError` unless what it applies to is said as lists of names."""
        if self.axis is not None and not isinstance(self.axis, Integral):
            raise InputError(f"{self.name}: axis={self.axis!r} must be a whole number: 0 is x, 1 y, 2 z")
        if self.groups is not None and not (isinstance(self.groups, Mapping) and self.groups):
            raise InputError(f"{self.name}: groups are names and their objects, {{'left': ('a', 'b')}}")
        said = {"objects": self.objects} if self.objects is not None else {}
        for words, objects in (said | {f"group {k!r}": v for k, v in (self.groups or {}).items()}).items():
            if isinstance(objects, str):
                raise InputError(f"{self.name}: {words} is a list of names: ({objects!r},)")
            if not isinstance(objects, Sequence) or not objects:
                raise InputError(f"{self.name}: {words} names nothing; `objects` left out are all of them")
            if len(set(objects)) < len(objects):
                raise InputError(f"{self.name}: {words} names {', '.join(objects)}: one of them twice")

    @property
    def ranges(self) -> tuple[Distribution, ...]:
        """What its numbers may be drawn from, in any split."""
        return tuple(dist for dist in (self.train, self.test, self.ood) if dist is not None)

    @property
    def changes(self) -> bool:
        """Whether its numbers change within an episode."""
        return bool(self.every or self.change)

    @property
    def kind(self) -> Literal["goal", "dynamics"]:
        """Whether the parameter changes the reward or the physics."""
        return "goal" if self.field is None else "dynamics"

    def check(self, value: np.ndarray, nominal: np.ndarray | None = None) -> None:
        """Raise `InputError` unless every number lies where a split can draw it, or is `milder` than such."""
        given = {"train": self.train, "test": self.test, "out of distribution": self.ood}
        known = {name: dist for name, dist in given.items() if dist is not None}
        legal = np.any([dist.contains(value) for dist in known.values()], axis=0)
        if nominal is not None:
            for dist in known.values():
                least, most = np.minimum(dist.low, nominal), np.maximum(dist.high, nominal)
                legal = legal | ((value >= least) & (value <= most))
        if not np.all(legal):
            bad = np.broadcast_to(value, legal.shape)[~legal].flat[0]
            words = (
                [f"{dist} ({name})" for name, dist in known.items()] if len(known) > 1 else [str(self.train)]
            )
            unit = f", {self.unit}" if self.unit else ""
            raise InputError(f"{self.name}={bad:g} is out of range: use {' or '.join(words)}{unit}")

    def milder(self, numbers: np.ndarray, nominal: np.ndarray, width: float) -> np.ndarray:
        """Numbers so far from nominal ones (0) to the given ones (1): of a `LogUniform` in logarithms."""
        if isinstance(self.train, LogUniform) and np.all(nominal > 0):
            return nominal * (numbers / nominal) ** width
        return nominal + width * (numbers - nominal)

    def distribution(self, split: Split) -> Distribution:
        """From what a split's tasks are drawn."""
        return {"test": self.test, "ood": self.ood}.get(split) or self.train

    @property
    def sign(self) -> str:
        """What its numbers do: "=" set, "*" scale, "+" are added."""
        return {"set": "=", "scale": "*", "add": "+"}[self.mode] if self.field else "="

    def words(self, numbers: np.ndarray, labels: Sequence[str] = ()) -> str:
        """Its numbers, or their range, for people; or of what the one number is that is out of the ordinary.

        Args:
            numbers: (size,) of a task.
            labels: of the numbers.
        """
        signed = {"=": "{:.3g}", "*": "*{:.3g}", "+": "{:+.3g}"}[self.sign]
        low, high = signed.format(numbers.min()), signed.format(numbers.max())
        odd = numbers != {"=": np.nan, "*": 1.0, "+": 0.0}[self.sign]
        if labels and 0 < 2 * odd.sum() <= len(numbers) and np.ptp(numbers[odd]) == 0:
            which = ", ".join(label for label, is_odd in zip(labels, odd, strict=True) if is_odd)
            return f"{self.name} {signed.format(numbers[odd][0])} {self.unit}".rstrip() + f" of {which}"
        return f"{self.name} {low if low == high else f'{low} to {high}'} {self.unit}".rstrip()

    def __str__(self) -> str:
        words = f"{self.name} {self.sign}{self.train} {self.unit}".rstrip()
        return f"{words} ({self.manner})" if self.manner else words

    @property
    def manner(self) -> str:
        """How the policy meets it, in words, where that is out of the ordinary."""
        words = ["told"] if self.told else []
        if self.every:
            words.append("anew every {:g} to {:g} s".format(*self.every))
        if self.change:
            words.append(
                "from {:g} to {:g} s on".format(*self.when) if self.when else "in the midst of an episode"
            )
        return ", ".join(words)


def check_span(of: str, name: str, span: object) -> None:
    """Raise `InputError` unless a span is two positive numbers of seconds, the smaller first."""
    ends = np.asarray(span, object).ravel()
    numbers = len(ends) == 2 and all(isinstance(x, Real) for x in ends)
    if not numbers or not 0 < ends[0] <= ends[1] < np.inf:
        raise InputError(f"{of}: {name}={span!r} must be two positive numbers of seconds, the smaller first")
