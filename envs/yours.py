"""The user's own files: a family's, and those beside it that it imports.

Each is a module that goes by where it lies, `metarl.envs.yours.<folder>.<name>`. So files of the same name
in two folders are two modules, a file called numpy.py hides nobody, and what is pickled is found again by
another process.
"""

import builtins
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

__path__: list[str] = []  # it has submodules, which `Finder` finds
DOT = "\N{ONE DOT LEADER}"  # stands for a dot in a file's name, which no module's can have
_stamps: dict[str, tuple[int, int]] = {}  # of the modules' files when they were executed


def load(path: Path) -> ModuleType:
    """The module of a file; executed anew where it, or a file beside it that was imported, has changed."""
    path = path.resolve()
    package = f"{__name__}.{os.fsencode(path.parent).hex()}"
    known = [name for name in _stamps if name.startswith(f"{package}.") and name in sys.modules]
    if any(_stamps[name] != _stamp(Path(sys.modules[name].__file__ or "")) for name in known):
        for name in known:
            del sys.modules[name]
    return import_module(f"{package}.{path.stem.replace('.', DOT)}")


class Finder:
    """Finds the folders, and the files in them."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        """Where a module of the user's is; None if the name is none of them."""
        if not name.startswith(f"{__name__}."):
            return None
        folder, _, inside = name[len(__name__) + 1 :].partition(".")
        where = os.fsdecode(bytes.fromhex(folder))
        if not inside:
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [where]
            return spec
        file = Path(where, f"{inside.replace(DOT, '.')}.py")
        found = spec_from_file_location(name, file) if file.is_file() else PathFinder.find_spec(name, path)
        if found is not None and isinstance(found.loader, SourceFileLoader):
            found.loader = Loader(name, found.loader.path)
        return found


class Loader(SourceFileLoader):
    """Executes a file, not bytecode that lies beside it, so that its imports see the files beside it."""

    def path_stats(self, path: str) -> NoReturn:  # type: ignore[override]
        """Nothing, without which bytecode is not looked for."""
        raise OSError

    def exec_module(self, module: ModuleType) -> None:
        """Execute it."""
        package = ".".join(module.__name__.split(".")[: __name__.count(".") + 2])
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": partial(_import, package)}
        _stamps[module.__name__] = _stamp(Path(self.path))
        super().exec_module(module)


def _import(
    package: str,
    name: str,
    globals: Mapping[str, object] | None = None,
    locals: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """`import`, which looks into the folder of a package of the user's before anything not installed."""
    top = name.partition(".")[0]
    if level or not _is_beside(sys.modules[package].__path__[0], top):
        return builtins.__import__(name, globals, locals, fromlist, level)
    leaf = builtins.__import__(f"{package}.{name}", globals, locals, fromlist or ("__name__",))
    return leaf if fromlist else sys.modules[f"{package}.{top}"]


def _is_beside(folder: str, name: str) -> bool:
    """Whether a folder has a module of that name, and neither Python nor an installed package has."""
    beside = PathFinder.find_spec(name, [folder])
    if beside is None or name in sys.stdlib_module_names or name == __name__.partition(".")[0]:
        return False
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) == beside.origin:
        return False  # it is there already, of whoever runs this
    installed = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    return PathFinder.find_spec(name, installed) is None


def _stamp(path: Path) -> tuple[int, int]:
    """What tells that a file has changed."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size


sys.meta_path.insert(0, Finder)
