"""Task: what a family's parameters are this time."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

Split = Literal["train", "test", "ood", "validation"]
SPLITS: tuple[Split, ...] = ("train", "test", "ood", "validation")


class Task(Mapping[str, Any]):
    """One task: names to floats, or tuples of them. Immutable and hashable; `dict(task)` is plain JSON."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]):
        self._values = {
            k: float(v) if np.ndim(v) == 0 else tuple(float(x) for x in v) for k, v in values.items()
        }

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._values.items())))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and self._values == other._values

    def __repr__(self) -> str:
        return f"Task({self._values})"


def polar(task: Mapping[str, Any]) -> tuple[Any, Any]:
    """The x and y, m, of goals that a task gives as "radius" and "angle"; of one task or of N."""
    return task["radius"] * np.cos(task["angle"]), task["radius"] * np.sin(task["angle"])
