"""The one error type for bad input, and what makes a line of whatever somebody else has written."""

import difflib
from collections.abc import Iterable
from traceback import extract_tb
from typing import ClassVar

LONGEST = 2000  # characters of an error; the middle of a longer one is left out
LONGEST_NAME = 100  # characters of a name that is compared with the known ones


def plain(text: object) -> str:
    r"""Text as one line that a terminal or a page shows and does not obey.

    What cannot be seen (line ends, terminal escapes, marks that turn the direction of writing) is written as
    Python writes it: \n, \x1b, \u202e.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


class InputError(ValueError):
    """Bad input from a person: one line that says what is wrong and names the cure."""

    status: ClassVar[int] = 2  # of a command that ends so: begun again as it is, it would say the same

    def __init__(self, message: str):
        if len(message) > LONGEST:
            message = f"{message[: LONGEST // 2]} ... {message[-LONGEST // 2 :]}"
        super().__init__(plain(message))


class NotFiniteError(InputError):
    """Something that has to be a number is none: a policy is damaged or has diverged."""


class LostError(InputError):
    """Another process of a training has ended, and this one cannot go on without it."""

    status = 1  # begun again, it goes on


class DamagedError(InputError):
    """A file that was once good, and is not, or is gone."""


def with_place(error: Exception, ours: str) -> str:
    """An exception in words, and where in code that is not of the folder `ours` it was raised."""
    frames = [f for f in extract_tb(error.__traceback__) if not f.filename.startswith(ours)]
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}{place}"


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """An `InputError` for a name that is not among the known ones, with the closest match."""
    known = list(known)
    name = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."
    close = difflib.get_close_matches(name.lower(), [k.lower() for k in known], n=1, cutoff=0.5)
    hint = next((f"; did you mean {k!r}?" for k in known if [k.lower()] == close), ".")
    return InputError(f"unknown {kind} {name!r}{hint} Known: {', '.join(known) or 'none'}")
