"""A recipe: how a learner is trained best on a family, as far as we know."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FEW = 200_000  # environment steps, for who learns from each of them many times


@dataclass(frozen=True)
class Recipe:
    """Settings of a learner that are taken where nobody asks for others (results: `docs/results.md`).

    Attributes:
        learner: its name.
        steps: environment steps in all.
        settings: of the learner, by name, where they differ from its defaults.
    """

    learner: str
    steps: int = 4_000_000
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def usual(cls, learner: str) -> "Recipe":
        """How a learner is trained where no family knows better: by its defaults."""
        return cls(learner, FEW) if learner == "meta-model" else cls(learner)
