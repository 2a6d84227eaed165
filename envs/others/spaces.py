"""Others' spaces as plain numbers: what is seen as one row, and what an action in [-1, 1] does."""

from collections.abc import Collection
from typing import Any

import numpy as np
from gymnasium import spaces

from metarl.errors import InputError, unknown

MOST = 10_000  # numbers of an observation


class Seen:
    """An observation space as a row of numbers: parts one after another, what is one of a few as one-hot.

    Args:
        space: of one simulation.
        hidden: keys of a `Dict` space, wherever in it, that are left out.
        name: of the world, for messages.

    Raises:
        InputError: there is no such key, or what is seen are no numbers, or too many.
    """

    def __init__(self, space: spaces.Space, hidden: Collection[str] = (), name: str = "the world"):
        keys = list(_keys(space))
        for key in hidden:
            if key not in keys:
                raise unknown(f"part of what {name} shows", key, keys)
        self.space, self.hidden, self.name = space, frozenset(hidden), name
        self.size = self._size(space)
        if not 1 <= self.size <= MOST:
            raise InputError(
                f"{name} shows {self.size} numbers; a policy here takes 1 to {MOST}, and no pictures: put a "
                "wrapper around it that shows fewer"
            )

    def __call__(self, obs: Any, n: int = 1) -> np.ndarray:
        """Observations of n simulations, or of one, as rows (n, size) float32.

        Raises:
            InputError: they are not as many numbers as the space says.
        """
        rows = np.concatenate(self._rows(self.space, obs, n), axis=1)
        if rows.shape[1] != self.size:
            raise InputError(f"{self.name} shows {rows.shape[1]} numbers, where its space says {self.size}")
        return rows

    def _size(self, space: spaces.Space) -> int:
        if isinstance(space, spaces.Dict):
            return sum(self._size(part) for key, part in space.items() if key not in self.hidden)
        if isinstance(space, spaces.Tuple):
            return sum(map(self._size, space))
        if isinstance(space, spaces.Box | spaces.MultiBinary):
            return int(np.prod(space.shape))
        if isinstance(space, spaces.Discrete):
            return int(space.n)
        raise InputError(
            f"{self.name} shows {type(space).__name__}, which is no row of numbers; put a wrapper around it "
            "that shows a Box"
        )

    def _rows(self, space: spaces.Space, obs: Any, n: int) -> list[np.ndarray]:
        if isinstance(space, spaces.Dict):
            parts = [self._rows(part, obs[key], n) for key, part in space.items() if key not in self.hidden]
            return [row for rows in parts for row in rows]
        if isinstance(space, spaces.Tuple):
            return [row for part, x in zip(space, obs, strict=True) for row in self._rows(part, x, n)]
        if isinstance(space, spaces.Discrete):
            return [np.eye(int(space.n), dtype=np.float32)[np.reshape(obs, n) - space.start]]
        return [np.asarray(obs, np.float32).reshape(n, -1)]


def _keys(space: spaces.Space) -> list[str]:
    parts = list(space.items()) if isinstance(space, spaces.Dict) else []
    inner = [key for _, part in parts for key in _keys(part)]
    return [*(key for key, _ in parts), *inner]


class Done:
    """What actions of numbers in [-1, 1] do in an action space.

    Numbers of a `Box` are mapped onto their two bounds, or kept within the one that they have; of what is one
    of a few there is a number for each, and the largest is chosen.

    Args:
        space: of one simulation.
        name: of the world, for messages.

    Raises:
        InputError: the space is another one.
    """

    def __init__(self, space: spaces.Space, name: str = "the world"):
        self.space = space
        if isinstance(space, spaces.Box):
            self.size = int(np.prod(space.shape))
            bounded = space.bounded_below & space.bounded_above
            low, high = (np.where(bounded, np.asarray(x, float), 0) for x in (space.low, space.high))
            self._centre, self._half = (low + high) / 2, np.where(bounded, (high - low) / 2, 1)
        elif isinstance(space, spaces.Discrete):
            self.size = int(space.n)
        elif isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
            self.size = int(space.nvec.sum())
        elif isinstance(space, spaces.MultiBinary):
            self.size = int(np.prod(space.shape))
        else:
            raise InputError(
                f"{name} takes {type(space).__name__} actions; policies here give rows of numbers: put a "
                "wrapper around it that takes a Box or a Discrete"
            )

    def __call__(self, action: np.ndarray) -> np.ndarray:
        """Actions (N, size) as the space has them, N of them."""
        space, n = self.space, len(action)
        if isinstance(space, spaces.Box):
            clipped = np.clip(action, -1, 1).reshape(n, *space.shape)
            wanted = np.clip(self._centre + self._half * clipped, space.low, space.high)
            return (np.rint(wanted) if np.issubdtype(space.dtype, np.integer) else wanted).astype(space.dtype)
        if isinstance(space, spaces.Discrete):
            return (action.argmax(axis=1) + space.start).astype(space.dtype)
        if isinstance(space, spaces.MultiDiscrete):
            parts = np.split(action, np.cumsum(space.nvec)[:-1], axis=1)
            return (np.stack([p.argmax(axis=1) for p in parts], axis=1) + space.start).astype(space.dtype)
        return (action > 0).reshape(n, *np.shape(space.sample())).astype(space.dtype)
