"""MJCF files, which may come from strangers: what they refer to stays in their folder, and has bounds."""

import re
from pathlib import Path

import mujoco

from metarl.errors import InputError

LARGEST = 200_000_000  # bytes, of a file and of all that it refers to
REFERENCE = re.compile(rb"""\b(file\w*|meshdir|texturedir|assetdir)\s*=\s*["']([^"']*)["']""")
FOLDERS = (b"meshdir", b"texturedir", b"assetdir")


def load_mjcf(path: str | Path) -> mujoco.MjModel:
    """Compile an MJCF file.

    Raises:
        InputError: the file is missing, not valid, refers to something outside its folder, or is huge.
    """
    path = Path(path)
    if path.is_file():
        _check(path)
    try:
        return mujoco.MjModel.from_xml_path(str(path))
    except ValueError as error:
        raise InputError(f"cannot load the robot {path}: {str(error).splitlines()[0]}") from None


def _check(path: Path) -> None:
    """Raise `InputError` where MuJoCo would read what is not the robot's own."""
    home, size = path.resolve().parent, 0
    waiting, seen = [path.resolve()], set()
    while waiting:
        file = waiting.pop()
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        size += file.stat().st_size
        if size > LARGEST:
            raise InputError(f"the robot {path} and its files are larger than {LARGEST / 1e6:.0f} MB")
        if file.suffix.lower() not in (".xml", ".mjcf"):
            continue
        references = REFERENCE.findall(file.read_bytes())
        folders = {name.decode(errors="replace") for key, name in references if key in FOLDERS} | {""}
        for key, name in references:
            words = name.decode(errors="replace")
            if key in FOLDERS:
                _inside(home, home / words, path, words)
            elif key.startswith(b"file"):
                for folder in folders:
                    waiting.append(_inside(home, home / folder / words, path, words))


def _inside(home: Path, target: Path, path: Path, words: str) -> Path:
    target = target.resolve()
    if not target.is_relative_to(home):
        raise InputError(f"the robot {path} refers to {words}, outside its folder; put a copy beside it")
    return target
