"""What a family's class attributes and functions have to be, found before anything is compiled or trained."""

import inspect
from collections.abc import Sequence
from numbers import Integral
from typing import Any

from metarl.envs.actions import Around, Direct, Increment
from metarl.envs.events import Push
from metarl.envs.family import TaskFamily
from metarl.envs.param import Param
from metarl.envs.recipe import Recipe
from metarl.envs.sensors import Sensor
from metarl.errors import InputError

LISTS: dict[str, tuple[type, str]] = {
    "params": (Param, 'Param("goal", "m", Uniform(-1, 1))'),
    "sensors": (Sensor, 'Sensor("gyro", noise=0.2)'),
    "pushes": (Push, "Push(every=(2, 4))"),
    "recipes": (Recipe, 'Recipe("meta-lstm", 2_000_000)'),
}
MOST_TASKS = 100_000  # of a fixed list, all drawn whenever it is asked for
FUNCTIONS = {
    "edit": ("spec",),
    "initial_state": ("rng", "n"),
    "observe": ("r",),
    "privileged": ("r",),
    "reward": ("r", "action", "task"),
    "terminated": ("r",),
    "success": ("r", "task"),
    "error": ("r", "task"),
    "expert": ("r", "task"),
    "features": ("task",),
    "markers": ("task", "data"),
}  # and what each is given


def check_declared(family: TaskFamily) -> None:
    """Raise `InputError` unless a family's class attributes are of the right kind, and agree.

    Raises:
        InputError: they are not; it names the attribute or function, and what to write.
    """
    for name, given in FUNCTIONS.items():
        _check_function(family, name, given)
    for name, (kind, example) in LISTS.items():
        _check_list(family, name, kind, example)
    if not family.params:
        raise InputError(f"{family.name}: nothing varies: give the class `params`")
    _once(family, "params", [param.name for param in family.params], "have names of their own")
    _once(family, "recipes", [recipe.learner for recipe in family.recipes], "one recipe for each learner")
    _once(family, "sensors", [sensor.part for sensor in family.sensors], "say all of a part in one")
    if not isinstance(family.action, Direct | Around | Increment):
        raise InputError(
            f"{family.name}: action = {family.action!r} is none: Direct(), Around('home', 0.4) or "
            "Increment(0.04)"
        )
    pairs = _listed(family, "contacts", '(("foot", "floor"),)')
    if not all(
        isinstance(pair, Sequence)
        and not isinstance(pair, str)
        and len(pair) == 2
        and all(isinstance(word, str) for word in pair)
        for pair in pairs
    ):
        raise InputError(f"{family.name}: contacts are pairs of names, contacts = (('foot', 'floor'),)")
    _once(family, "contacts", ["~".join(pair) for pair in pairs], "name a pair once")
    for name in ("horizon", "frame_skip", "n_train", "n_test", "n_ood", "n_validation"):
        value = getattr(family, name)
        if value is None and name == "n_train":
            continue
        if not isinstance(value, Integral) or value < 1:
            raise InputError(f"{family.name}: {name} = {value!r} must be a whole number of at least 1")
        if name.startswith("n_") and int(value) > MOST_TASKS:
            raise InputError(
                f"{family.name}: {name} = {value} is more tasks than a list holds ({MOST_TASKS:,})"
                + "; n_train = None draws them anew" * (name == "n_train")
            )


def _check_function(family: TaskFamily, name: str, given: Sequence[str]) -> None:
    known = {"task": None} if name in family.asks_task else {}
    try:
        inspect.signature(getattr(family, name)).bind(*given, **known)
    except TypeError:
        wanted = ", ".join(("self", *given))
        raise InputError(f"{family.name}: {name} is given other arguments: def {name}({wanted})") from None


def _check_list(family: TaskFamily, name: str, kind: type, example: str) -> None:
    for item in _listed(family, name, f"({example},)"):
        if not isinstance(item, kind):
            raise InputError(f"{family.name}: {name} holds {item!r}, which is no {kind.__name__}: {example}")


def _listed(family: TaskFamily, name: str, example: str) -> Sequence[Any]:
    items = getattr(family, name)
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise InputError(f"{family.name}: {name} is a list, though of one: {name} = {example}")
    return items


def _once(family: TaskFamily, name: str, words: Sequence[str], cure: str) -> None:
    twice = next((word for k, word in enumerate(words) if word in words[:k]), None)
    if twice is not None:
        raise InputError(f"{family.name}: two of its {name} are called {twice!r}: {cure}")
