"""A recipe: how a learner is trained best on a family, as far as we know."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from metarl.errors import InputError
from metarl.ranges import whole


@dataclass(frozen=True)
class Recipe:
    """Settings of a learner that are taken where nobody asks for others (results: `docs/results.md`).

    Attributes:
        learner: its name.
        steps: environment steps in all; None for the learner's own (`Agent.usual_steps`).
        settings: of the learner, by name, where they differ from its defaults.
    """

    learner: str
    steps: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if self.steps is not None and whole("steps of a recipe", self.steps) < 1:
            raise InputError(f"a recipe of {self.steps} steps trains nothing; give e.g. 2_000_000")
