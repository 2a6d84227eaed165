"""GymFamily: tasks in a world that somebody else wrote, and that Gymnasium makes."""

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import packages_distributions, version
from numbers import Real
from typing import Any, ClassVar, NoReturn

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv

from metarl.envs.distributions import Index
from metarl.envs.family import TaskFamily
from metarl.envs.others.spaces import Done, Seen
from metarl.envs.param import Param
from metarl.envs.task import Task
from metarl.errors import InputError, unknown

N_SEEDS = 2**24  # of training tasks, and as many others are held out; float32 has them all
SEED = Param("seed", "", Index(0, N_SEEDS - 1), test=Index(N_SEEDS, 2 * N_SEEDS - 1))
OPTION = "reset."  # begins the name of a parameter that the world is told at its reset


class GymFamily(TaskFamily):
    """Tasks in a world of somebody else's; a subclass says in its `params` what varies.

    A parameter is an attribute of the world, set before every episode: `gravity`, with dots for what is
    further in (`model.opt.gravity.2`). A method is called with the number, and `reset.NAME` is an option of
    `reset`. What is `told` is appended to what the world shows. Where that does not do, a subclass says in
    `set_task` or `begin` what a task is.

    Without `params` a world draws its tasks itself, at its reset: the task is the seed that it is reset with,
    the same for all episodes of a trial, which then begin alike, too.

    Attributes:
        env_id: what `gymnasium.make` makes; "module:Env-v0" imports a module that registers it.
        env_options: keyword arguments of `gymnasium.make`.
        hidden: keys of what is seen that a policy is not shown, such as the goal.
        vectorized: there is one world of N simulations (`gymnasium.make_vec`), instead of N worlds.
        horizon: steps of an episode; unless a class states it, the world's own limit.
    """

    env_id: ClassVar[str]
    env_options: ClassVar[Mapping[str, Any]] = {}
    hidden: ClassVar[tuple[str, ...]] = ()
    vectorized: ClassVar[bool] = False
    params: ClassVar[tuple[Param, ...]] = (SEED,)

    def __init__(self):
        saying = next(kind for kind in type(self).__mro__ if "horizon" in vars(kind))
        own = self.limit if saying is TaskFamily else self.horizon
        if own is None:
            raise InputError(f"{self.name} has episodes without an end; say how long they are: horizon=200")
        vars(self)["horizon"] = int(own)
        if self.sensors or self.pushes or self.has_expert or any(p.changes or p.field for p in self.params):
            raise InputError(
                f"{self.name} is a world of somebody else's: it can have no sensors, no pushes, no expert, "
                "and no parameter with a `field` of the model or numbers that change within an episode"
            )
        if not self.vectorized and self.sets_attributes:
            for param in self.params:
                if param is not SEED and not param.name.startswith(OPTION):
                    self._find(self.env, param.name)

    # What a subclass may say.

    def kind(self, task: Task) -> Hashable:
        """In which of several worlds a task is, for `make`; None where there is only one."""
        return None

    def make(self, kind: Hashable = None) -> gymnasium.Env:
        """One simulation."""
        try:
            return gymnasium.make(self.env_id, disable_env_checker=True, **self.env_options)
        except Exception as error:  # somebody else's can fail in any way
            raise _unmade(self.env_id, error) from None

    def make_vec(self, n: int) -> VectorEnv:
        """N simulations in one, where the family is `vectorized`."""
        try:
            return gymnasium.make_vec(self.env_id, n, **self.env_options)
        except Exception as error:  # somebody else's can fail in any way
            raise _unmade(self.env_id, error) from None

    def set_task(self, env: gymnasium.Env, task: Task) -> None:
        """Give a world its task, before each of its resets."""
        for name, value in task.items():
            if name != SEED.name and not name.startswith(OPTION):
                holder, last, old = self._find(env, name)
                _assign(holder, last, old, _like(old, value))

    def begin(self, env: gymnasium.Env, task: Task, seed: int) -> tuple[Any, dict[str, Any]]:
        """Start an episode: what is seen, and info."""
        self.set_task(env, task)
        own = SEED in self.params
        return env.reset(seed=int(task[SEED.name]) if own else seed, options=self.options(task))

    def set_tasks(self, env: VectorEnv, values: Mapping[str, np.ndarray]) -> None:
        """Give a vectorized world its tasks: names to (N,) numbers."""
        for name, column in values.items():
            if name.startswith(OPTION):
                continue
            if hasattr(env, "set_attr"):  # as those of Gymnasium's that hold single worlds
                env.set_attr(name, column.tolist())
            else:
                holder, last, old = self._find(env, name)
                _assign(holder, last, old, column)

    # What follows from it.

    @property
    def sets_attributes(self) -> bool:
        """Whether nobody says otherwise what a parameter is."""
        kind = type(self)
        return kind.set_task is GymFamily.set_task and kind.begin is GymFamily.begin

    @cached_property
    def env(self) -> Any:
        """One to look at."""
        return self.make_vec(1) if self.vectorized else self.make()

    @property
    def limit(self) -> int | None:
        """Steps after which the world itself ends an episode, if it says."""
        spec = self.env.spec
        return None if spec is None else spec.max_episode_steps

    @cached_property
    def seen(self) -> Seen:
        """How its observations become rows."""
        space = self.env.single_observation_space if self.vectorized else self.env.observation_space
        return Seen(space, self.hidden, self.name)

    @cached_property
    def done(self) -> Done:
        """What a policy's actions do in it."""
        space = self.env.single_action_space if self.vectorized else self.env.action_space
        return Done(space, self.name)

    @property
    def obs_dim(self) -> int:  # type: ignore[override]
        """Numbers of an observation, with what is told of the task."""
        return self.seen.size + len(self.told_params)

    @property
    def action_dim(self) -> int:
        """Numbers of an action."""
        return self.done.size

    @property
    def dt(self) -> float:
        """Seconds per step, as far as the world says; else 1."""
        own = getattr(self.env.unwrapped, "dt", None)
        fps = self.env.metadata.get("render_fps")
        return float(own) if isinstance(own, Real) else 1 / fps if fps else 1.0

    @property
    def model(self) -> NoReturn:  # type: ignore[override]
        """None of ours.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"{self.name} is a world of somebody else's: metarl trains and judges in it, and has no model of "
            "it to render, to check, or to export"
        )

    @property
    def made_by(self) -> str:
        """What made the world, for the record: package and version."""
        module = type(self.env.unwrapped).__module__.partition(".")[0]
        names = packages_distributions().get(module, [])
        return f"{self.env_id} of {module} {version(names[0]) if names else ''}".rstrip()

    def options(self, task: Mapping[str, Any]) -> dict[str, Any] | None:
        """What the world is told at its reset."""
        found = {name.removeprefix(OPTION): x for name, x in task.items() if name.startswith(OPTION)}
        return found or None

    def _find(self, env: Any, path: str) -> tuple[Any, str, Any]:
        """Where an attribute is: what holds it, the last part of its name, and what is there now.

        Raises:
            InputError: the world has none of the name.
        """
        holder, parts = env, path.split(".")
        while not hasattr(holder, parts[0]) and hasattr(holder, "env"):
            holder = holder.env
        for part in parts[:-1]:
            holder = self._at(env, path, holder, part)
        return holder, parts[-1], self._at(env, path, holder, parts[-1])

    def _at(self, env: Any, path: str, holder: Any, part: str) -> Any:
        try:
            return holder[int(part)] if part.isdecimal() else getattr(holder, part)
        except (AttributeError, IndexError, TypeError):
            raise unknown(f"attribute of {self.name}", path, sorted(_numbers(env.unwrapped))) from None


def _assign(holder: Any, name: str, old: Any, value: Any) -> None:
    """Write a number where `GymFamily._find` found one; a method is called with it."""
    if callable(old):
        old(value)
    elif name.isdecimal():
        holder[int(name)] = value
    else:
        setattr(holder, name, value)


def _like(old: Any, value: float | Sequence[float]) -> Any:
    """A number as whole as what it replaces."""
    return type(old)(round(value)) if isinstance(old, int) and isinstance(value, float) else value


def _numbers(env: Any) -> Iterator[str]:
    """Names of a world's attributes that are numbers."""
    for name in dir(env):
        if not name.startswith("_") and isinstance(getattr(env, name, None), Real):
            yield name


def _unmade(env_id: str, error: Exception) -> InputError:
    words = re.sub(r"\s+", " ", str(error))
    return InputError(f"Gymnasium cannot make {env_id}: {type(error).__name__}: {words}".rstrip(": "))
