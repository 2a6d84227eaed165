"""Output that nobody reads: a long command goes on without it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO, cast


class Unheeded:
    """A text stream; what cannot be written any more, as the reader has gone or the disk is full, is lost."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or not."""
        try:
            return self._stream.write(text)
        except OSError:
            give_up(self._stream)
        return len(text)

    def flush(self) -> None:
        """Flush, or not."""
        try:
            self._stream.flush()
        except OSError:
            give_up(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def give_up(stream: TextIO) -> None:
    """Let a stream lead nowhere: nothing goes wrong with it any more, not even at the end of the process."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextmanager
def unheeded_output() -> Iterator[None]:
    """Let nobody's not listening end what runs within."""
    with open(os.devnull, "w") as nowhere:
        out, err = (cast(TextIO, Unheeded(stream or nowhere)) for stream in (sys.stdout, sys.stderr))
        with redirect_stdout(out), redirect_stderr(err):
            try:
                yield
            finally:
                out.flush()
                err.flush()


def occupy_standard_streams() -> None:
    """Where one of them is closed, a file that is opened later would take its place, and what it is told."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
