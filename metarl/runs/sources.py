"""What a run was trained on: its family's files, as hashes and as copies, and its numbers.

Copies are data: no command runs one unless it is named.
"""

import inspect
import os
import platform
import re
import shutil
import sys
import sysconfig
from hashlib import sha256 as hash_of
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from metarl.envs import FAMILIES, GymFamily, Param, TaskFamily
from metarl.envs.mjcf import robot_files
from metarl.envs.trust import code_files
from metarl.errors import DamagedError, plain
from metarl.files import read_json, remove, sha256, unfinished, write_json

SOURCES, COPIES = "sources.json", "sources"
LARGEST = 100_000_000  # bytes that are copied into a run folder
NUMBERS = "frame_skip", "horizon", "n_train", "n_test", "n_ood"  # of a family, that anybody understands


def write_sources(folder: Path, family: TaskFamily, until: int | None = None) -> None:
    """Keep in a run folder what it is trained on: hashes, and copies that lie as the files do.

    Args:
        folder: of the run.
        family: that it is trained on.
        until: environment steps that the run has been trained on another world, whose sources are kept aside.
    """
    files = _files(family)
    known = _known_of(family, files)
    copied = {name: file for name, file in files.items() if not _installed(file)}
    size = sum(file.stat().st_size for file in copied.values())
    if size > LARGEST:
        words = f"the family's files are {size / 1e6:.0f} MB: hashed, not copied into {folder}"
        print(plain(words), file=sys.stderr)
        copied = {}
    made = unfinished(folder / COPIES)
    for name, file in copied.items():  # before anything is moved: they may be the run's own copies
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, made / name)
    if until is not None:
        _keep_aside(folder, until)
    write_json(folder / SOURCES, known)
    remove(folder / COPIES)
    if copied:
        made.rename(folder / COPIES)


def changed_at(folder: Path) -> int:
    """After how many steps of a run its family was changed last; 0 if never."""
    found = (re.fullmatch(rf"{Path(SOURCES).stem}\.until-(\d+)\.json", p.name) for p in folder.iterdir())
    return max((int(match[1]) for match in found if match), default=0)


def _keep_aside(folder: Path, until: int) -> None:
    for name in (SOURCES, COPIES):
        stem, dot, suffix = name.partition(".")
        kept = folder / f"{stem}.until-{until}{dot}{suffix}"
        if (folder / name).exists() and not kept.exists():
            (folder / name).rename(kept)


def changes(folder: Path, family: TaskFamily) -> list[str] | None:
    """How a family differs from the one that a run was trained on, in words; None where nobody knows.

    Raises:
        DamagedError: what the run folder says of it cannot be read.
    """
    path = folder / SOURCES
    if not path.is_file():
        return None  # of a version that kept none
    now = _known_of(family, _files(family))
    try:
        then = read_json(path)
        words = [*_changed_files(then["files"], now["files"]), *_changed_world(then, now)]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise DamagedError(f"{path} is damaged: whether the family has changed since is not known") from None
    return [plain(word) for word in words]


def _changed_files(then: dict[str, str], now: dict[str, str]) -> list[str]:
    """Names of files whose content was not there, and of those whose content is there no more."""
    changed = [name for name, digest in now.items() if digest not in then.values()]
    gone = [name for name, digest in then.items() if digest not in now.values()]
    return list(dict.fromkeys(Path(name).name for name in changed + gone))  # wherever they lie


def _changed_world(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    before, after = (
        {**world["numbers"], **world["params"], **(world["manner"] if "manner" in then else {})}  # not of old
        for world in (then, now)
    )
    words = [
        f"{name} {after.get(name, 'nothing')} (was {before.get(name, 'nothing')})"
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]
    key = "robot" if "robot" in then else "model"  # of versions that counted the room for paths, too
    if then["compiler"] == now["compiler"] and then[key] != now[key]:
        words.append("the robot")
    return words


def _known_of(family: TaskFamily, files: dict[str, Path]) -> dict[str, Any]:
    """A family in plain values."""
    numbers = {name: getattr(family, name) for name in NUMBERS}
    foreign = family.made_by if isinstance(family, GymFamily) else None
    return {
        "files": {name: sha256(file) for name, file in files.items()},
        "numbers": {name: None if number is None else int(number) for name, number in numbers.items()},
        "params": {p.name: _range(p) for p in family.params},
        "manner": _manner(family),
        "robot": foreign or _hash_of_model(family.model, "_|nbuffer|.*path"),
        "model": foreign or _hash_of_model(family.model, "_|.*path"),
        "compiler": f"MuJoCo {mujoco.__version__}, {platform.machine()}",  # others give other bits
    }


def _hash_of_model(model: mujoco.MjModel, but: str) -> str:
    """Of all numbers and names but some, such as where files were found: a robot may move."""
    digest = hash_of()
    for part in (model, model.opt):
        for name in sorted(dir(part)):
            value = getattr(part, name)
            if isinstance(value, np.ndarray | int | float | bytes) and not re.match(but, name):
                digest.update(np.asarray(value).tobytes())
    return digest.hexdigest()


def _range(param: Param) -> str:
    """Where a parameter's numbers come from, and where they go."""
    words = [f"{param.sign}{param.train}"]
    words += [f"{k} {d}" for k, d in (("test", param.test), ("ood", param.ood)) if d is not None]
    if param.field is not None:
        words += [param.field, *(param.objects or ())]
        words += ["each"] * param.each + ["alone"] * param.alone
        words += [f"axis {param.axis}"] * (param.axis is not None)
    return _of_any_process(" ".join([*words, param.unit])).rstrip()


def _manner(family: TaskFamily) -> dict[str, str]:
    """How tasks, actions and observations are met, where that is out of the ordinary, by what to call it."""
    words = {
        "action": family.action,
        "sensors": family.sensors,
        "pushes": family.pushes,
        **{f"{p.name} is": p.manner or "hidden throughout" for p in family.params},
        **{f"{p.name} of": p.groups for p in family.params if p.groups},
    }
    return {name: _of_any_process(str(value)) for name, value in words.items()}


def _of_any_process(words: str) -> str:
    """Words without where things lie in memory."""
    return re.sub(" at 0x[0-9a-f]+", "", words)


def _files(family: TaskFamily) -> dict[str, Path]:
    """The files of a family of somebody's own, by names that say how they lie; none of the catalogue's."""
    kind = type(family)
    if kind in FAMILIES.values():
        return {}
    try:
        files = {*code_files(Path(inspect.getfile(kind)))}
    except (OSError, TypeError):
        return {}  # not in a file
    robot = getattr(family, "mjcf", None)
    if robot is not None and Path(robot).is_file():
        files |= robot_files(Path(robot))
    own = [file for file in files if not _installed(file)]
    home = Path(os.path.commonpath([file.parent for file in own])) if own else Path()
    return {(_installed(f) or f.relative_to(home)).as_posix(): f for f in sorted(files)}


def _installed(file: Path) -> Path | None:
    """A file's place among the installed packages, which versions.json tells; None elsewhere."""
    for name in ("purelib", "platlib"):
        library = Path(sysconfig.get_path(name)).resolve()
        if file.is_relative_to(library):
            return file.relative_to(library)
    return None
