"""Files: written so that at every moment the old or the new one is there, whole; read within bounds."""

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
from shlex import quote
from typing import Any

from metarl.errors import DamagedError, InputError

UNFINISHED = ".unfinished"
LARGEST = 64_000_000  # bytes of a text that is read: far more than a long training writes
DEEPEST = 32  # objects and lists within each other in JSON


def check_writable(path: Path) -> None:
    """Raise InputError unless a file can be written there, which is to be known before hours of work."""
    folder = path.absolute().parent
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the path of a file to write")
    if not folder.is_dir():
        raise InputError(
            f"cannot write {path}: there is no folder {path.parent}; make it, or give another path"
        )
    if (path.exists() and not path.is_file()) or folder.resolve() == Path("/dev"):
        raise InputError(f"{path} is a device or a pipe; give the path of a file to write")
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write {path}: no permission to write in {path.parent}; give another path")


def typed(path: Path) -> str:
    """A path as one types it to a shell."""
    return quote(str(path))


def read_text(path: Path, errors: str = "strict") -> str:
    """The text in a file.

    Args:
        path: of the file.
        errors: what becomes of bytes that are none, as `bytes.decode` has it.

    Raises:
        InputError: there is no such file, it may not be read, or is larger than any that is written here.
    """
    try:
        if not path.is_file():  # a pipe would be waited for
            raise InputError(f"no file {path}")
        if (size := path.stat().st_size) > LARGEST:
            raise DamagedError(f"{path} is damaged: {size / 1e6:,.0f} MB, of {LARGEST / 1e6:.0f} at most")
        return path.read_text(encoding="utf-8-sig", errors=errors)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeError:
        raise DamagedError(f"{path} is damaged: it is not text") from None


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        InputError: as `read_text` has it, or the text is not JSON, or nested deeper than anybody can follow.
    """
    text = read_text(path)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: {error}") from None
    if is_deep(value):
        raise DamagedError(f"{path} is damaged: it is nested deeper than {DEEPEST} levels")
    return value


def is_deep(value: Any) -> bool:
    """Whether lists and dicts lie deeper within each other than anything that is written here."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            x for v in level if isinstance(v, dict | list) for x in (v.values() if isinstance(v, dict) else v)
        ]
    return bool(level)


def write_atomically(path: Path, write: Callable[[Any], None]) -> None:
    """Write a binary file so that at every moment, a power cut included, one of the two is there, whole."""
    temporary = unfinished(path)
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # which is the file that somebody knows
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
