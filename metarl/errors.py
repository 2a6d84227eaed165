"""The one error type for bad input."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input from a person: one line that says what is wrong and names the cure."""


class NotFiniteError(InputError):
    """Something that has to be a number is none: a policy is damaged or has diverged."""


class DamagedError(InputError):
    """A file that was once good, and is not."""


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """An `InputError` for a name that is not among the known ones, with the closest match."""
    known = list(known)
    close = difflib.get_close_matches(name.lower(), [k.lower() for k in known], n=1, cutoff=0.5)
    hint = next((f"; did you mean {k!r}?" for k in known if [k.lower()] == close), ".")
    return InputError(f"unknown {kind} {name!r}{hint} Known: {', '.join(known) or 'none'}")
