"""MJCF files, which may come from strangers: what they refer to stays in their folder, and has bounds."""

from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import mujoco

from metarl.errors import InputError

LARGEST = 200_000_000  # bytes, of a file and of all that it refers to
FOLDERS = ("meshdir", "texturedir", "assetdir")
XML = ("include", "model")  # elements that refer to more of the kind, whatever the file is called


def load_spec(path: str | Path) -> mujoco.MjSpec:
    """Read an MJCF file.

    Raises:
        InputError: the file is missing, not valid, refers to something outside its folder, or is huge.
    """
    path = Path(path)
    if path.is_file():
        robot_files(path)
    try:
        return mujoco.MjSpec.from_file(str(path))
    except ValueError as error:
        raise InputError(f"cannot load the robot {path}: {str(error).splitlines()[0]}") from None


def compile_spec(spec: mujoco.MjSpec) -> mujoco.MjModel:
    """Compile a robot.

    Raises:
        InputError: it is not valid.
    """
    try:
        return spec.compile()
    except ValueError as error:
        where = f" in {spec.modelfiledir}" if spec.modelfiledir else ""
        raise InputError(
            f"cannot load the robot {spec.modelname}{where}: {str(error).splitlines()[0]}"
        ) from None


def robot_files(path: Path) -> set[Path]:
    """An MJCF file and all that it refers to: files it includes, meshes, textures.

    Raises:
        InputError: MuJoCo would read what is not the robot's own, or too much.
    """
    home, folders = path.resolve().parent, {""}
    waiting, parts = {path.resolve()}, {path.resolve()}
    read: dict[Path, list[tuple[str, str, str]]] = {}
    while waiting:
        if sum(part.stat().st_size for part in parts) > LARGEST:
            raise InputError(f"the robot {path} and its files are larger than {LARGEST / 1e6:.0f} MB")
        read |= {file: list(_references(file, path)) for file in waiting}
        said = [(file, *reference) for file, references in read.items() for reference in references]
        for file, _, key, words in said:
            if key in FOLDERS:
                _inside(home, (home, file.parent), words, path)
                folders.add(words)
        waiting = set()
        for file, tag, key, words in said:
            if key not in FOLDERS:
                bases = [base / folder for base, folder in product((home, file.parent), folders)]
                found = {target for target in _inside(home, bases, words, path) if target.is_file()}
                parts |= found
                waiting |= found if tag in XML else set()
        waiting -= read.keys()
    return parts


def _references(file: Path, path: Path) -> Iterator[tuple[str, str, str]]:
    """What an MJCF file names: the element, the attribute, and the file or folder.

    Raises:
        InputError: other readers than MuJoCo would not make of the file what MuJoCo makes of it.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
        if "<!DOCTYPE" in text:
            raise ValueError("it has a DOCTYPE")
        root = ElementTree.fromstring(text)
    except (ValueError, ElementTree.ParseError) as error:
        raise InputError(f"cannot load the robot {path}: {file.name} is not plain XML: {error}") from None
    for element in root.iter():
        for key, words in element.attrib.items():
            if key in FOLDERS or key.startswith("file"):
                yield element.tag, key, words.replace("\\", "/")  # as MuJoCo does


def _inside(home: Path, bases: Iterable[Path], words: str, path: Path) -> set[Path]:
    """What the words may mean, seen from where MuJoCo may look.

    Raises:
        InputError: it is outside the robot's folder.
    """
    targets = {(base / words).resolve() for base in bases}
    outside = {target for target in targets if not target.is_relative_to(home)}
    if outside == targets or any(target.exists() for target in outside):
        raise InputError(
            f"the robot {path} refers to {words!r}, outside its folder; put a copy into that, and its new "
            "place into the file (meshdir and texturedir, too)"
        )
    return targets - outside
