"""TaskFamily: a robot, and what its tasks mean."""

import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import mujoco
import numpy as np

from metarl.envs.markers import Marker, View
from metarl.envs.mjcf import load_mjcf
from metarl.envs.mjlog import no_log_file
from metarl.envs.param import Param
from metarl.envs.readings import Readings
from metarl.envs.recipe import Recipe
from metarl.envs.task import SPLITS, Split, Task
from metarl.envs.variation import Variation
from metarl.errors import InputError, unknown


class TaskFamily:
    """A robot, and tasks for it that differ in goals or dynamics.

    A family states its class attributes and says in four small batched functions what the task
    means. Every function is pure, takes all N simulations at once and never sees a task in `observe`.
    Actions are in [-1, 1] and are mapped onto the actuators' control ranges.

    Attributes:
        mjcf: path of the robot's MJCF file (or override `build_model`).
        params: what varies.
        frame_skip: physics substeps per step.
        horizon: steps until an episode is truncated.
        n_train: size of the fixed list of training tasks; None draws fresh ones for ever.
        n_test, n_ood: sizes of the fixed held-out lists.
        n_validation: size of the fixed list that training looks at itself with, drawn as training tasks are.
        disjoint: False where train and held-out tasks cannot differ (two directions).
        derived: MjData fields beyond qpos and qvel that the functions read ("site_xpos", ...).
        remembered: those of `derived` whose values before the step are read, too.
        recipes: how learners are trained on the family best, one for each.
        error_unit: of `error`.
        view: from where pictures are taken; None takes the model's camera "track" or "top", or follows.
    """

    mjcf: ClassVar[str | Path]
    params: ClassVar[tuple[Param, ...]]
    frame_skip: ClassVar[int] = 1
    horizon: ClassVar[int] = 200
    n_train: ClassVar[int | None] = None
    n_test: ClassVar[int] = 20
    n_ood: ClassVar[int] = 20
    n_validation: ClassVar[int] = 10
    disjoint: ClassVar[bool] = True
    derived: ClassVar[tuple[str, ...]] = ()
    remembered: ClassVar[tuple[str, ...]] = ()
    recipes: ClassVar[tuple[Recipe, ...]] = ()
    error_unit: ClassVar[str] = ""
    view: ClassVar[View | None] = None

    # What a family defines.

    def build_model(self) -> mujoco.MjModel:
        """Compile the robot."""
        return load_mjcf(self.mjcf)

    def initial_state(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw n initial states: qpos (n, nq), qvel (n, nv). Default: the model's own, at rest."""
        return np.tile(self.model.qpos0, (n, 1)), np.zeros((n, self.model.nv))

    def observe(self, r: Readings) -> np.ndarray:
        """What the policy sees, (N, obs_dim). Never the task. Default: all of qpos and qvel."""
        return np.concatenate([r.qpos, r.qvel], axis=1)

    def reward(
        self, r: Readings, action: np.ndarray, task: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Named reward terms of the step just taken, each (N,); their sum is the reward.

        Args:
            r: readings after the step.
            action: (N, action_dim) in [-1, 1].
            task: for every parameter, its numbers: (N,), or (N, size) where each element has one.
        """
        raise NotImplementedError

    def terminated(self, r: Readings) -> np.ndarray:
        """Which simulations have failed, (N,) bool. Default: none."""
        return np.zeros(len(r.qpos), bool)

    def success(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Which simulations are at their goal now, (N,) bool; None if the family has no such notion."""
        return None

    def error(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """How far each simulation is from what is asked, (N,) in `error_unit`; None if nobody can say.

        A class that states its own `params` does not inherit this: what is asked is another thing there.
        """
        return None

    def features(self, task: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """N tasks in numbers of about one, (N, n), for who may know them; None: the parameters' own."""
        return None

    def markers(self, task: Task, data: mujoco.MjData) -> tuple[Marker, ...]:
        """What pictures of the state in `data` show of the task: its goal, a speed, what is broken."""
        return ()

    # What follows from it.

    @property
    def name(self) -> str:
        """The class's name, under which the catalogue lists it."""
        return type(self).__name__

    @cached_property
    def says_error(self) -> bool:
        """Whether `error` is about this family's own tasks."""
        kinds = type(self).__mro__
        own, tasks = (
            next((k for k, kind in enumerate(kinds) if name in vars(kind)), len(kinds))
            for name in ("error", "params")
        )
        return own <= tasks

    @cached_property
    def model(self) -> mujoco.MjModel:
        """The compiled robot with its nominal dynamics."""
        no_log_file()
        return self.build_model()

    @property
    def dt(self) -> float:
        """Seconds per step."""
        return self.model.opt.timestep * self.frame_skip

    @property
    def action_dim(self) -> int:
        """Number of actuators."""
        return self.model.nu

    @cached_property
    def obs_dim(self) -> int:
        """Length of an observation."""
        data = mujoco.MjData(self.model)
        mujoco.mj_forward(self.model, data)
        return self.observe(Readings.of_data(self.model, data, self.dt, self.derived)).shape[1]

    @cached_property
    def variations(self) -> dict[str, Variation]:
        """Where each dynamics parameter writes, by name."""
        return {
            p.name: Variation(self.model, p.field, p.objects, p.mode, p.each, p.axis, p.alone)
            for p in self.params
            if p.field is not None
        }

    def size(self, param: Param) -> int:
        """How many numbers a parameter takes."""
        return self.variations[param.name].size if param.name in self.variations else 1

    def task(self, values: Mapping[str, float | Sequence[float]] | None = None) -> Task:
        """A checked task from names and numbers; a dynamics parameter left out keeps its nominal value.

        Raises:
            InputError: a name is unknown, a goal is missing, or a number is out of range.
        """
        if not isinstance(values, Mapping | None):
            raise InputError(f"a task is names and numbers, {self._example()}, not {values!r}")
        values = dict(values or {})
        for name in values:
            if name not in {p.name for p in self.params}:
                raise unknown(f"task parameter of {self.name}", name, [p.name for p in self.params])
        return Task({p.name: self._number(p, values.get(p.name)) for p in self.params})

    def given(self, tasks: Sequence[Mapping[str, float | Sequence[float]]]) -> list[Task]:
        """Tasks from somebody's: those that are none yet, or lack a name, are checked and completed.

        Raises:
            InputError: it is no list of tasks, or `task` refuses one.
        """
        if isinstance(tasks, Mapping | str):
            raise InputError(f"a list of tasks is needed, [{self._example()}], not {tasks!r}")
        names = {p.name for p in self.params}
        return [t if isinstance(t, Task) and t.keys() == names else self.task(t) for t in tasks]

    def _example(self) -> str:
        return repr({p.name: p.train.low for p in self.params if p.field is None or p is self.params[0]})

    def _number(self, param: Param, value: float | Sequence[float] | None) -> float | np.ndarray:
        size = self.size(param)
        if value is None:
            neutral = self.variations[param.name].neutral if param.kind == "dynamics" else None
            if neutral is None:
                raise InputError(f"{self.name} needs {param.name}, e.g. {param.name}={param.train.low:g}")
            return self._shape(param, neutral)
        try:
            array = np.asarray(value, float)
        except (TypeError, ValueError):
            raise InputError(f"{param.name}={value!r} is not a number; use {param.train}") from None
        if array.ndim > 1 or (array.ndim == 1 and array.size != size):
            raise InputError(f"{param.name} takes {size} number(s), not {array.size}")
        if not np.isfinite(array).all():
            raise InputError(f"{param.name}={value} is not finite; use {param.train}")
        param.check(array)
        return self._shape(param, np.broadcast_to(array, (size,)))

    def _shape(self, param: Param, row: np.ndarray) -> float | np.ndarray:
        return row if self.size(param) > 1 else float(row[0])

    def tasks(self, split: Split) -> list[Task]:
        """The family's fixed tasks of a split, the same for every run and seed.

        Raises:
            InputError: the split has no fixed list (fresh training draws), or no ood is defined.
        """
        count = {
            "train": self.n_train,
            "test": self.n_test,
            "ood": self.n_ood,
            "validation": self.n_validation,
        }
        if split not in count:
            raise unknown("split", split, count)
        if split == "ood" and not self.has_ood:
            raise InputError(f"{self.name} defines no out-of-distribution tasks; use --split test")
        if (n := count[split]) is None:
            raise InputError(f"{self.name} draws fresh training tasks; it has no fixed list of them")
        rng = np.random.default_rng([zlib.crc32(self.name.encode()), SPLITS.index(split)])
        return self._draw(rng, n, split)

    def recipe(self, learner: str) -> Recipe:
        """How a learner of this name is trained on the family best; by its defaults if nobody knows."""
        return next((recipe for recipe in self.recipes if recipe.learner == learner), Recipe(learner))

    @property
    def has_ood(self) -> bool:
        """Whether an out-of-distribution set is defined."""
        return any(p.ood is not None for p in self.params)

    def sample(self, rng: np.random.Generator, n: int) -> list[Task]:
        """Draw n training tasks: from the fixed list if there is one, spread evenly, else fresh."""
        if self.n_train is None:
            return self._draw(rng, n, "train")
        pool = self.tasks("train")
        rounds = [rng.permutation(len(pool)) for _ in range(-(-n // len(pool)))]
        return [pool[i] for i in np.concatenate(rounds)[:n]]

    def _draw(self, rng: np.random.Generator, n: int, split: Split) -> list[Task]:
        columns = {}
        for p in self.params:
            columns[p.name] = p.distribution(split).sample(rng, (n, self.size(p)))
        return [Task({p.name: self._shape(p, columns[p.name][i]) for p in self.params}) for i in range(n)]

    def words(self, task: Task) -> str:
        """A task in a few words: "velocity 2.5 m/s", "body_mass *0.31 to *2.9"."""
        return ", ".join(p.words(np.ravel(task[p.name])) for p in self.params)

    def ranked(self, tasks: Sequence[Task]) -> list[Task]:
        """Tasks from low to high by the mean of their first parameter's numbers."""
        return sorted(tasks, key=lambda task: float(np.mean(task[self.params[0].name])))

    def stack(self, tasks: Sequence[Task]) -> dict[str, np.ndarray]:
        """The numbers of N tasks by parameter: (N,), or (N, size) where each element has one."""
        return {p.name: np.array([t[p.name] for t in tasks], float) for p in self.params}
