"""Writing files so that at every moment either the old or the new one is there, whole."""

import ctypes
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
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


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes have left half-written in a folder: of one file or folder, or of all."""
    whose = ".+" if name is None else re.escape(name)
    left = re.compile(rf"\.{whose}\.\d+-[0-9a-f]{{8}}{re.escape(UNFINISHED)}.*", re.DOTALL)
    for path in folder.iterdir():
        if left.fullmatch(path.name):
            remove(path)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it; what links lead to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def swap(one: Path, other: Path) -> None:
    """Let two folders of one parent change places, so that at every moment both are there, whole.

    Raises:
        OSError: the file system cannot do that.
    """
    libc, paths = ctypes.CDLL(None, use_errno=True), (os.fsencode(one), os.fsencode(other))
    try:
        if sys.platform == "darwin":
            failed = libc.renamex_np(*paths, 2)  # RENAME_SWAP
        else:
            here = -100  # AT_FDCWD
            failed = libc.renameat2(here, paths[0], here, paths[1], 2)  # RENAME_EXCHANGE
    except AttributeError:  # an older C library
        raise OSError("folders cannot be swapped here") from None
    if failed:
        raise OSError(ctypes.get_errno(), "folders cannot be swapped here", str(other))
    _sync_folder(other.parent)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


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
