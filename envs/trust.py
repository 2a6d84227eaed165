"""Which files of families may run because a run names them: those that this user has named before.

A family's file is code. It runs when somebody names it; what a run folder or a checkpoint names, which may be
a stranger's, runs only if it is the very file that has been named before, by the SHA-256 of its content. What
was named is kept in one small text file outside of all runs, in lines as `sha256sum` writes them.
"""

import ast
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.machinery import all_suffixes
from os.path import isfile  # which takes names of any length
from pathlib import Path
from shlex import quote

from metarl.errors import InputError
from metarl.files import sha256


def code_files(path: Path) -> list[Path]:
    """A family's file, and all that these may import from beside it; none where it is not there."""
    found: list[Path] = []
    waiting = [path.resolve()] if isfile(path) else []
    while waiting:
        file = waiting.pop()
        if file.is_file() and file not in found:
            found.append(file)
            waiting += [other for name in _imported(file) for other in _called(found[0].parent, name)]
    return found


def fingerprints(path: Path) -> dict[Path, str]:
    """SHA-256 of a family's file and of what it imports from beside it."""
    return {file: sha256(file) for file in code_files(path)}


def trust(files: Mapping[Path, str]) -> None:
    """Remember files that somebody has named; where nothing can be written, they have to be named again."""
    place = _place()
    if place is None:
        return
    known = _known()
    lines = [f"{digest}  {_in_one_line(file)}\n" for file, digest in files.items() if digest not in known]
    if lines:
        with suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, "".join(lines).encode())  # at once: others may be writing, too
            finally:
                os.close(descriptor)


def check_trusted(name: str, folder: Path | None) -> None:
    """Refuse a family that a run names, unless it is in a file that its user has named.

    Args:
        name: of the family, none of the catalogue.
        folder: the run folder, which brings no code of its own.

    Raises:
        InputError: the file is in the run folder, not one that was named before, or not there.
    """
    words, _, class_name = name.rpartition(":")
    path = Path(words)
    moved = "name where it is: --family path/to/file.py:" + (
        class_name if class_name.isidentifier() else "Class"
    )
    if path.suffix != ".py" or not name.isprintable():
        raise InputError(f"the run's family {name!a} is neither in the catalogue nor a file; {moved}")
    cure = f"if you trust it, name it: --family {quote(name)} (in Python: family=)"
    try:
        if not path.is_file():
            raise InputError(f"no file {path}, in which the run's family is; {moved}")
        if folder is not None and path.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"the run's family {path} is code in the run folder itself; {cure}")
        files = fingerprints(path)
    except (OSError, RuntimeError):  # too long, a link to itself, not to be read
        raise InputError(f"the run's family {path} cannot be read; {moved}") from None
    if not {*files.values()} <= _known():
        raise InputError(f"the run's family {path} is code that you have not run as it is now; {cure}")


def check_known(name: str, path: Path) -> None:
    """Refuse a world of somebody's that a run names, unless its user has named what brings it.

    Args:
        name: of the world.
        path: the file of the module that registers it.

    Raises:
        InputError: that is not known as it is now; Gymnasium's own always is.
    """
    if path.parent.name != "gymnasium" and not {*fingerprints(path).values()} <= _known():
        raise InputError(
            f"the run's world {name!a} is code that you have not run as it is now; if you trust it, name it: "
            f"--family {quote(name)} (in Python: family=)"
        )


def _place() -> Path | None:
    """The file that holds what is trusted; None where there is no home."""
    if named := os.environ.get("METARL_TRUSTED"):
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(data):
        data = "~/Library/Application Support" if sys.platform == "darwin" else "~/.local/share"
    place = Path(os.path.expanduser(data), "metarl", "trusted")
    return place if place.is_absolute() else None


def _known() -> set[str]:
    """The hashes of what is trusted."""
    place = _place()
    try:
        lines = place.read_text(errors="replace").splitlines() if place is not None else []
    except OSError:
        return set()
    return {line.partition(" ")[0] for line in lines}


def _imported(file: Path) -> Iterator[str]:
    """The first names of the modules that a file imports, wherever in it, but for metarl, which is here."""
    if file.suffix != ".py":
        return
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # nor does it run
    modules = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules += [node.module] if node.module else [alias.name for alias in node.names]
    yield from {module.partition(".")[0] for module in modules} - {"metarl"}


def _called(folder: Path, name: str) -> Iterator[Path]:
    """What a folder holds that may be imported by a name."""
    suffixes = tuple(all_suffixes())
    for path in folder.glob(f"{name}*"):
        if path.is_file() and path.name.endswith(suffixes) and path.name.partition(".")[0] == name:
            yield path
        elif path.is_dir() and path.name == name:
            inside = (file for file in path.rglob("*") if file.parent.name != "__pycache__")
            yield from (file for file in sorted(inside) if file.name.endswith(suffixes))


def _in_one_line(path: Path) -> str:
    return " ".join(str(path.absolute()).encode(errors="replace").decode().splitlines())
