"""What a family's functions have given, held to what they are to give."""

from typing import Any

import numpy as np

from metarl.errors import InputError


def real(name: str, given: Any, *sizes: int | None) -> np.ndarray:
    """An array of real numbers of these sizes, None for any.

    Args:
        name: of the function, for people.
        given: what it has given.
        sizes: of the array's axes.

    Raises:
        InputError: it is another thing.
    """
    array = _array(given)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} gives no array of real numbers, but a {type(given).__name__}")
    _check_shape(name, array, sizes)
    return array


def finite(name: str, array: np.ndarray) -> np.ndarray:
    """The same array.

    Raises:
        InputError: some number is not finite.
    """
    if not np.isfinite(array).all():
        raise InputError(f"{name} gives what is not a finite number; metarl check shows when")
    return array


def truth(name: str, given: Any, n: int) -> np.ndarray:
    """An array (n,) of bool.

    Raises:
        InputError: it is another thing.
    """
    array = _array(given)
    if array.dtype != bool:
        raise InputError(f"{name} gives no array of bool, but a {type(given).__name__} of {array.dtype}")
    _check_shape(name, array, (n,))
    return array


def _array(given: Any) -> np.ndarray:
    try:
        return np.asarray(given)
    except (TypeError, ValueError, RuntimeError):  # rows of several lengths, say
        return np.array(None)


def _check_shape(name: str, array: np.ndarray, sizes: tuple[int | None, ...]) -> None:
    same = array.ndim == len(sizes) and all(b in (None, a) for a, b in zip(array.shape, sizes, strict=True))
    if not same:
        words = ", ".join("numbers" if size is None else str(size) for size in sizes)
        comma = "," if len(sizes) == 1 else ""
        raise InputError(f"{name} gives shape {array.shape}: it must be ({words}{comma}), a row a simulation")
