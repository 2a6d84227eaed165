"""A recipe: how a learner is trained best on a family, as far as we know."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """Settings of a learner that are taken where nobody asks for others, and what came of them.

    Attributes:
        learner: its name.
        steps: environment steps in all.
        settings: of the learner, by name, where they differ from its defaults.
        reaches: what that gave, in a few words.
        minutes: that it took on one CPU core.
    """

    learner: str
    steps: int = 4_000_000
    settings: Mapping[str, Any] = field(default_factory=dict)
    reaches: str = ""
    minutes: float | None = None

    @property
    def promise(self) -> str:
        """What may be expected, in words; nothing where nobody knows."""
        if not self.reaches:
            return ""
        return f"reaches {self.reaches}" + (f" in {self.minutes:g} min on one core" if self.minutes else "")
