"""From a name to a family: the catalogue's, or a user's own `path/to/file.py:ClassName`."""

import inspect
import re
import traceback
from os.path import isfile  # which takes names of any length
from pathlib import Path

from metarl.envs import yours
from metarl.envs.declared import check_declared
from metarl.envs.families import FAMILIES
from metarl.envs.family import TaskFamily
from metarl.envs.others import metaworld
from metarl.envs.others.family import GymFamily
from metarl.envs.others.names import file_of, is_gym, load_gym, parts
from metarl.envs.trust import check_known, check_trusted, fingerprints, trust
from metarl.errors import InputError, unknown

ROBOT = ("build_spec", "build_model")  # where a family may say what its robot is


def load_family(name: str) -> TaskFamily:
    """The family of this name, which its user gives: a file that is named runs, and is trusted from now on.

    Args:
        name: a name in the catalogue, or `file.py:ClassName` for a family of the user's own; for worlds of
            others `gym:MODULE:ENV_ID` or `metaworld:ML1:reach-v3`.

    Raises:
        InputError: there is no such family.
    """
    if name in FAMILIES:
        return FAMILIES[name]()
    if metaworld.is_metaworld(name):
        return metaworld.load_metaworld(name)
    if is_gym(name):
        files = fingerprints(file_of(name))
        world = load_gym(name)
        trust(files)
        return world
    path, class_name = _file_and_class(name)
    files = fingerprints(path)  # of what is going to run
    family = _from_file(path, class_name)
    trust(files)
    return family


def load_recorded(name: str, folder: Path | None = None) -> TaskFamily:
    """The family of this name, which a run has brought: a file runs only if its user has named it before.

    Args:
        name: as a run folder or a checkpoint has it, which may come from a stranger.
        folder: the run folder, which brings no code of its own.

    Raises:
        InputError: there is no such family, or its user has not named it.
    """
    if is_gym(name):
        check_known(name, file_of(name))
    elif name not in FAMILIES and not metaworld.is_metaworld(name):
        check_trusted(name, folder)
    return load_family(name)


def absolute(name: str) -> str:
    """A family's name by which it is found from anywhere: that of a file with its whole path."""
    if name in FAMILIES or metaworld.is_metaworld(name):
        return name
    if is_gym(name):
        module = parts(name)[0]
        return name.replace(module, str(Path(module).resolve()), 1) if module.endswith(".py") else name
    path, class_name = _file_and_class(name)
    return f"{path.resolve()}:{class_name}"


def _file_and_class(name: str) -> tuple[Path, str]:
    path, colon, class_name = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise _misspelt(name)
    return Path(path), class_name


def as_family(family: object) -> TaskFamily:
    """A family from itself, its class, or its name.

    Raises:
        InputError: it is none of these, or there is no such family.
    """
    if isinstance(family, str):
        return load_family(family)
    if isinstance(family, type) and issubclass(family, TaskFamily):
        family = family()
    if not isinstance(family, TaskFamily):
        raise InputError(
            f"a family, or its name, is needed, not {type(family).__name__}; see metarl families"
        )
    check_declared(family)
    return family


def _misspelt(name: str) -> InputError:
    """What somebody may have meant who says this for a family."""
    path, _, class_name = name.partition(":")
    class_name = class_name.strip(":")
    file = Path(path if path.endswith(".py") else f"{path}.py")
    if path.endswith(".py") and not isfile(file):
        return InputError(f"no file {file}; give your family as path/to/file.py:ClassName")
    if isfile(file):
        meant = [class_name] if class_name else _classes(file) or ["ClassName"]
        words = " or ".join(f"{file}:{one}" for one in meant)
        return InputError(f"{name!r} names no class in a file; write {words}")
    for file in sorted(Path().glob("*.py")):
        if name in _classes(file):
            return InputError(f"unknown family {name!r}; did you mean {file}:{name}?")
    return unknown("family", name, FAMILIES)


def _classes(file: Path) -> list[str]:
    """Names of the classes in a file that are derived from something. Nothing in it runs."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return []
    return re.findall(r"^class (\w+)\(", text, re.MULTILINE)


def _from_file(path: Path, class_name: str) -> TaskFamily:
    if not isfile(path):
        raise InputError(f"no file {path}; give your family as path/to/file.py:ClassName")
    try:
        module = yours.load(path)
    except (Exception, SystemExit) as error:  # a file of somebody's own can fail in any way
        moved = isinstance(error, ImportError) and error.name == "envs"  # until version 0.2.0
        hint = "; the world is imported as metarl.envs" if moved else ""
        raise InputError(
            f"{path} does not load: {type(error).__name__}: {error} ({_place(error, path)}){hint}"
        ) from None
    families = {
        n: c
        for n, c in vars(module).items()
        if isinstance(c, type) and issubclass(c, TaskFamily) and c.__module__ == module.__name__
    }
    if class_name in families:
        return _whole(families[class_name], path)
    other = vars(module).get(class_name)
    if isinstance(other, type) and other.__module__ == module.__name__:
        raise InputError(f"{class_name} in {path} is no family: write class {class_name}(TaskFamily)")
    raise unknown(f"family in {path}", class_name, families)


def _whole(kind: type[TaskFamily], path: Path) -> TaskFamily:
    """A family of this class.

    Raises:
        InputError: it lacks what every family has to say itself.
    """
    if issubclass(kind, GymFamily):
        if not hasattr(kind, "env_id") and kind.make is GymFamily.make and not kind.vectorized:
            raise InputError(f"{kind.__name__} in {path} lacks env_id: what gymnasium.make is to make")
        return kind()
    said = {
        "params": hasattr(kind, "params"),
        "mjcf": hasattr(kind, "mjcf") or any(map(kind.defines, ROBOT)),
        "reward": kind.defines("reward"),
    }
    if not all(said.values()):
        lacking = ", ".join(name for name in said if not said[name])
        raise InputError(f"{kind.__name__} in {path} lacks {lacking}; a family states {', '.join(said)}")
    try:
        inspect.signature(kind).bind()
    except TypeError:
        raise InputError(
            f"{kind.__name__} in {path} is made without arguments: give those of __init__ a value"
        ) from None
    family = kind()
    check_declared(family)
    return family


def _place(error: BaseException, path: Path) -> str:
    """Where in a user's files an error is: the line, and of another file than the family's, its name."""
    lines = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    folder = path.resolve().parent
    mine = [(n, line) for n, line in lines if Path(n).is_relative_to(folder) and n != yours.__file__]
    name, line = (error.filename, error.lineno) if isinstance(error, SyntaxError) else (mine or lines)[-1]
    other = f"{Path(name).name}, " if name and Path(name) != path.resolve() else ""
    return f"{other}line {line}"
