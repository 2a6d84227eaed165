"""Worlds of others by a name that a person types: gym:MODULE:ENV_ID, and what varies in them."""

import re
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from metarl.envs import yours
from metarl.envs.distributions import Choice, Distribution, Uniform
from metarl.envs.others.family import GymFamily
from metarl.envs.param import Param
from metarl.errors import InputError, unknown

PREFIX = "gym:"
EXAMPLE = "gym:gymnasium:Pendulum-v1:g=5..15,m=0.5..2"
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"


def is_gym(name: str) -> bool:
    """Whether it is the name of a world that Gymnasium makes."""
    return name.startswith(PREFIX)


def parts(name: str) -> tuple[str, str, str]:
    """The module, the environment's id, and what is said of it.

    Raises:
        InputError: it is no such name.
    """
    found = re.fullmatch(rf"{PREFIX}(?P<module>[^:]+):(?P<id>[^:]+)(?::(?P<says>.*))?", name)
    if found is None:
        raise InputError(f"{name!r} names no world; write gym:MODULE:ENV_ID, e.g. {EXAMPLE}")
    return found["module"], found["id"], found["says"] or ""


def file_of(name: str) -> Path:
    """The file whose code such a name brings in: the module's, which is not imported for that.

    Raises:
        InputError: there is none.
    """
    module = parts(name)[0]
    if module.endswith(".py"):
        if not Path(module).is_file():
            raise InputError(f"no file {module}; give the module that registers the world, or its file")
        return Path(module)
    spec = find_spec(module.partition(".")[0]) if re.fullmatch(r"\w+(\.\w+)*", module) else None
    if spec is None or spec.origin is None:
        raise InputError(f"no module {module} here; install it, or give the path of its file, my_worlds.py")
    return Path(spec.origin)


def load_gym(name: str) -> GymFamily:
    """The family of such a name; its module is imported.

    Raises:
        InputError: there is no such world, or what is said of it cannot be understood.
    """
    module, env_id, says = parts(name)
    path = file_of(name)
    try:
        brings = yours.load(path) if module.endswith(".py") else import_module(module)
    except (Exception, SystemExit) as error:  # somebody else's can fail in any way
        raise InputError(f"{module} cannot be imported: {type(error).__name__}: {error}") from None
    called = re.sub(r"\W+", "-", env_id).strip("-")
    stated = {**_stated(name, says), "env_id": env_id, "__module__": brings.__name__, "__doc__": f"{env_id}."}
    return type(called, (GymFamily,), stated)()


def _stated(name: str, says: str) -> dict[str, Any]:
    """What a class would state."""
    found: dict[str, Any] = {"params": []}
    told: list[str] = []
    for word in filter(None, says.split(",")):
        key, equals, value = word.partition("=")
        if word == "vectorized":
            found["vectorized"] = True
        elif key == "hide" and value:
            found["hidden"] = (*found.get("hidden", ()), value)
        elif key == "horizon" and value.isdecimal() and int(value):
            found["horizon"] = int(value)
        elif key == "told" and value:
            told.append(value)
        elif equals and re.fullmatch(r"\w+(\.\w+)*", key):
            found["params"].append(Param(key, "", _range(word, value)))
        else:
            raise InputError(
                f"{word!r} in {name} is not understood; write what varies as NAME=LOW..HIGH or NAME=A/B/C, "
                "told=NAME, hide=KEY, horizon=STEPS or vectorized"
            )
    names = [p.name for p in found["params"]]
    if twice := next(_repeated(names), None):
        raise InputError(f"{name} says twice what {twice} is")
    if other := next((name for name in told if name not in names), None):
        raise unknown(f"told parameter of {name}", other, names)
    found["params"] = tuple(replace(p, told=p.name in told) for p in found["params"])
    return found if found["params"] else {k: v for k, v in found.items() if k != "params"}


def _range(word: str, value: str) -> Distribution:
    ends = re.fullmatch(rf"({NUMBER})\.\.({NUMBER})", value)
    try:
        if ends:
            return Uniform(float(ends[1]), float(ends[2]))
        return Choice(tuple(float(x) for x in value.split("/")))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{word!r}: write NAME=LOW..HIGH, or NAME=A/B/C of a few numbers") from None


def _repeated(names: list[str]) -> Iterator[str]:
    yield from (name for i, name in enumerate(names) if name in names[:i])
