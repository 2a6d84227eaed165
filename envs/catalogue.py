"""From a name to a family: the catalogue's, or a user's own `path/to/file.py:ClassName`."""

import importlib.util
import re
import sys
import traceback
from os.path import isfile  # which takes names of any length
from pathlib import Path

from metarl.envs.families import FAMILIES
from metarl.envs.family import TaskFamily
from metarl.errors import InputError, unknown


def load_family(name: str) -> TaskFamily:
    """The family of this name.

    Args:
        name: a name in the catalogue, or `file.py:ClassName` for a family of the user's own.

    Raises:
        InputError: there is no such family.
    """
    if name in FAMILIES:
        return FAMILIES[name]()
    path, colon, class_name = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise _misspelt(name)
    return _from_file(Path(path), class_name)


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
    module_name = f"metarl_user_{path.stem}"  # a file called numpy.py hides nobody
    spec = importlib.util.spec_from_file_location(module_name, path.resolve())
    assert spec and spec.loader  # as for every .py file
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # so that dataclasses and pickling in the file work
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a file of somebody's own can fail in any way
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename == str(path.resolve())]
        line = getattr(error, "lineno", None) or (own or frames)[-1].lineno
        moved = isinstance(error, ImportError) and error.name == "envs"  # until version 0.2.0
        hint = "; the world is imported as metarl.envs" if moved else ""
        raise InputError(
            f"{path} does not load: {type(error).__name__}: {error} (line {line}){hint}"
        ) from None
    families = {
        n: c
        for n, c in vars(module).items()
        if isinstance(c, type) and issubclass(c, TaskFamily) and c.__module__ == module_name
    }
    if class_name in families:
        return _whole(families[class_name], path)
    if isinstance(vars(module).get(class_name), type):
        raise InputError(f"{class_name} in {path} is no family: write class {class_name}(TaskFamily)")
    raise unknown(f"family in {path}", class_name, families)


def _whole(kind: type[TaskFamily], path: Path) -> TaskFamily:
    """A family of this class.

    Raises:
        InputError: it lacks what every family has to say itself.
    """
    said = {
        "params": hasattr(kind, "params"),
        "mjcf": hasattr(kind, "mjcf") or kind.build_model is not TaskFamily.build_model,
        "reward": kind.reward is not TaskFamily.reward,
    }
    if not all(said.values()):
        lacking = ", ".join(name for name in said if not said[name])
        raise InputError(f"{kind.__name__} in {path} lacks {lacking}; a family states {', '.join(said)}")
    return kind()
