"""Numbers and settings that people give, checked: one clear line for a value that cannot be."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin

import numpy as np

from metarl.errors import InputError

MOST = 64  # numbers in a list
MOST_THREADS = 1024


def check(config: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Raise InputError unless every field of a config has its type and lies in its range.

    Numpy's numbers become Python's, and lists tuples, so that a config is always plain values.

    Args:
        config: a dataclass whose fields are bool, int, float, a Literal of strings, or tuple[int, ...].
        ranges: field to lowest and highest number, both allowed.
    """
    for field in fields(config):
        value, flag = plain_value(getattr(config, field.name)), "--" + field.name.replace("_", "-")
        object.__setattr__(config, field.name, value)  # of a frozen dataclass
        if get_origin(field.type) is Literal:
            if value not in get_args(field.type):
                raise InputError(f"{flag} {value} is unknown; use one of {', '.join(get_args(field.type))}")
        elif field.type is bool:
            if not isinstance(value, bool):
                raise InputError(f"{flag} {value} is not true or false")
        elif get_origin(field.type) is tuple:
            if not isinstance(value, tuple):
                raise InputError(f"{flag} {value} is not a list of whole numbers")
            if len(value) > MOST:
                raise InputError(f"{flag} has {len(value)} numbers; use at most {MOST}")
            for number in value:
                _check_number(flag, number, int, ranges[field.name])
        else:
            _check_number(flag, value, field.type, ranges[field.name])


def plain_value(value: Any) -> Any:
    """A number of numpy's as Python's, a list as a tuple of such; anything else as it is."""
    if isinstance(value, list | tuple):
        return tuple(map(plain_value, value))
    return value.item() if isinstance(value, np.generic) else value


def whole(what: str, value: Any) -> int:
    """A whole number, whoever's type it has.

    Raises:
        InputError: it is none.
    """
    try:
        number = int(value)
        if number == value:
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise InputError(f"{what} is a whole number, not {plain_value(value)!r}")


def checked_seed(value: Any, what: str = "seed") -> int:
    """A seed that all random generators take; `what` it is called in an error.

    Raises:
        InputError: it is none.
    """
    seed = whole(what, value)
    if not 0 <= seed < 2**63:
        raise InputError(f"{what} {seed} is out of range; use 0 or more, below 2^63")
    return seed


def checked_threads(value: Any, what: str = "n_threads") -> int:
    """How many physics threads to use, 0 for one per CPU; `what` that is called in an error.

    Raises:
        InputError: nobody can.
    """
    n_threads = whole(what, value)
    if not 0 <= n_threads <= MOST_THREADS:
        raise InputError(f"{what} {n_threads} is out of range; use 0 for one per CPU, at most {MOST_THREADS}")
    return n_threads


def _check_number(flag: str, value: Any, kind: object, bounds: tuple[float, float]) -> None:
    if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
        raise InputError(f"{flag} {value} is not a {'whole ' if kind is int else ''}number")
    low, high = bounds
    if not low <= value <= high:
        shown = value if isinstance(value, int) else f"{value:g}"  # an int may be longer than any float
        raise InputError(f"{flag} {shown} is out of range; use {low:g} to {high:g}")
