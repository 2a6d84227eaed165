"""From a name to a family: the catalogue's, or a user's own `path/to/file.py:ClassName`."""

import importlib.util
import sys
import traceback
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import NoReturn

from metarl.envs.families import FAMILIES
from metarl.envs.family import TaskFamily
from metarl.envs.trust import check_trusted, fingerprints, trust
from metarl.errors import InputError, unknown


def load_family(name: str) -> TaskFamily:
    """The family of this name, which its user gives: a file that is named runs, and is trusted from now on.

    Args:
        name: a name in the catalogue, or `file.py:ClassName` for a family of the user's own.

    Raises:
        InputError: there is no such family.
    """
    if name in FAMILIES:
        return FAMILIES[name]()
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
    if name not in FAMILIES:
        check_trusted(name, folder)
    return load_family(name)


def absolute(name: str) -> str:
    """A family's name by which it is found from anywhere: that of a file with its whole path."""
    if name in FAMILIES:
        return name
    path, class_name = _file_and_class(name)
    return f"{path.resolve()}:{class_name}"


def _file_and_class(name: str) -> tuple[Path, str]:
    path, colon, class_name = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise unknown("family", name, FAMILIES)
    return Path(path), class_name


class FromSource(SourceFileLoader):
    """Runs a file as it can be read, and not bytecode that somebody has put beside it."""

    def path_stats(self, path: str) -> NoReturn:  # type: ignore[override]
        """Nothing, without which bytecode is not looked for."""
        raise OSError


def _from_file(path: Path, class_name: str) -> TaskFamily:
    if not path.is_file():
        raise InputError(f"no file {path}; give your family as path/to/file.py:ClassName")
    module_name = f"metarl_user_{path.stem}"  # a file called numpy.py hides nobody
    spec = importlib.util.spec_from_file_location(
        module_name, path.resolve(), loader=FromSource(module_name, str(path.resolve()))
    )
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
