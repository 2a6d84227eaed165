"""From a name to a family: the catalogue's, or a user's own `path/to/file.py:ClassName`."""

import importlib.util
import sys
import traceback
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
        raise unknown("family", name, FAMILIES)
    return _from_file(Path(path), class_name)


def as_family(family: object) -> TaskFamily:
    """A family from itself, its class, or its name.

    Raises:
        InputError: it is none of these, or there is no such family.
    """
    if isinstance(family, str):
        return load_family(family)
    if isinstance(family, type) and issubclass(family, TaskFamily):
        return family()
    if not isinstance(family, TaskFamily):
        raise InputError(
            f"a family, or its name, is needed, not {type(family).__name__}; see metarl families"
        )
    return family


def _from_file(path: Path, class_name: str) -> TaskFamily:
    if not path.is_file():
        raise InputError(f"no file {path}; give your family as path/to/file.py:ClassName")
    module_name = f"metarl_user_{path.stem}"  # a file called numpy.py hides nobody
    spec = importlib.util.spec_from_file_location(module_name, path.resolve())
    assert spec and spec.loader  # as for every .py file
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # so that dataclasses and pickling in the file work
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a file of somebody's own can fail in any way
        line = getattr(error, "lineno", None) or traceback.extract_tb(error.__traceback__)[-1].lineno
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
    if class_name not in families:
        raise unknown(f"family in {path}", class_name, families)
    return families[class_name]()
