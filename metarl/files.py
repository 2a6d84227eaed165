"""Writing files so that at every moment either the old or the new one is there, whole."""

import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

UNFINISHED = ".unfinished"


def write_atomically(path: Path, write: Callable[[Any], None]) -> None:
    """Write a binary file so that at every moment, a power cut included, one of the two is there, whole."""
    temporary = unfinished(path)
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def keep(path: Path, previous: Path) -> None:
    """Let `previous` hold what `path` holds now, before that is written anew."""
    if not path.is_file():
        return
    link = unfinished(previous)
    try:
        os.link(path, link)
    except OSError:  # a file system without hard links
        shutil.copy2(path, link)
    os.replace(link, previous)
    link.unlink(missing_ok=True)  # it is still there where both were one file already


def sweep(folder: Path) -> None:
    """Remove what killed processes have left half-written."""
    for path in folder.glob(f".*{UNFINISHED}*"):
        path.unlink(missing_ok=True)


def unfinished(path: Path, suffix: str = "") -> Path:
    """A file beside another one, that nobody else writes and `sweep` knows; its name may have to end so."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{UNFINISHED}{suffix}")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Write plain values as indented JSON, whole or not at all."""
    text = json.dumps(value, indent=2) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))
