"""TaskFamily: a robot, and what its tasks mean."""

import copy
import inspect
import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import mujoco
import numpy as np

from metarl.envs.actions import ActionMap, Controls, Direct, activations, keyframe
from metarl.envs.distributions import Index
from metarl.envs.events import Push
from metarl.envs.markers import Marker, View
from metarl.envs.mjcf import load_spec
from metarl.envs.mjlog import no_log_file
from metarl.envs.param import Param
from metarl.envs.readings import Readings
from metarl.envs.recipe import Recipe
from metarl.envs.robot import compile_robot, has_clothes
from metarl.envs.sensors import Sensor
from metarl.envs.task import SPLITS, Split, Task
from metarl.envs.variation import Variation, variation_of
from metarl.errors import InputError, unknown


class TaskFamily:
    """A robot, and tasks for it that differ in goals or dynamics.

    A family states its class attributes and says in four small batched functions what the task
    means. Every function is pure, takes all N simulations at once and never sees a task in `observe`; what
    is `told` of the task (see `Param`) the simulator appends to what is observed.
    `initial_state`, `terminated` and `privileged` are given the task if they have an argument `task`, as
    `reward` has.

    Attributes:
        mjcf: path of the robot's MJCF file (or override `build_spec`).
        params: what varies.
        action: what actions in [-1, 1] are to the actuators; by default, their control ranges.
        sensors: how parts of the observation are measured that are not seen as they are.
        pushes: kicks that the robot gets.
        contacts: pairs of geoms or bodies whose touching is read.
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
    action: ClassVar[ActionMap] = Direct()
    sensors: ClassVar[tuple[Sensor, ...]] = ()
    pushes: ClassVar[tuple[Push, ...]] = ()
    contacts: ClassVar[tuple[tuple[str, str], ...]] = ()
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

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.contacts and "sensordata" not in cls.derived:
            cls.derived = (*cls.derived, "sensordata")

    # What a family defines.

    def build_spec(self) -> mujoco.MjSpec:
        """Read the robot's MJCF. Default: that of the file `mjcf`."""
        return load_spec(self.mjcf)

    def edit(self, spec: mujoco.MjSpec) -> None:
        """Change the robot's MJCF before it is compiled: servos, time step, contacts. Default: nothing."""

    def build_model(self, visual: bool = False) -> mujoco.MjModel:
        """Compile the robot, with or without the meshes that are there for the eye only."""
        return compile_robot(self.edited_spec(), self.params, self.contacts, visual)

    def initial_state(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw n initial states, in MuJoCo's units (m and rad, m/s and rad/s). Default: `home`, at rest.

        Args:
            rng: draws them.
            n: how many. An argument `task` behind it is given the tasks' numbers, by name.

        Returns:
            qpos (n, nq) and qvel (n, nv).
        """
        return np.tile(self.home, (n, 1)), np.zeros((n, self.model.nv))

    def observe(self, r: Readings) -> np.ndarray | dict[str, np.ndarray]:
        """What the policy sees, (N, n), or its parts by name, (N, any) each. Never the task.

        Default: qpos and qvel.
        """
        return np.concatenate([r.qpos, r.qvel], axis=1)

    def privileged(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """What only they see who may know the task in training, (N, n), of about 1 in size: teacher, critic.

        A goal as the robot sees it from where it is, say, which teaches a teacher three times as fast as the
        goal's place does. A class that states its own `params` inherits it only if it is not given the task.
        Default: nothing.
        """
        return None

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

    def expert(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """What a controller that knows the task would do now, to be imitated in training.

        It goes by the readings and the task alone, since it is asked in states that a learner has come to.
        Default: there is none.

        Args:
            r: readings, as they are, whatever sensors say of them.
            task: for every parameter, its numbers now.

        Returns:
            (N, action_dim) in [-1, 1], and clipped to that.
        """
        return None

    def features(self, task: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """N tasks in numbers of about one, (N, n), for who may know them; None: the parameters' own."""
        return None

    def markers(self, task: Task, data: mujoco.MjData) -> tuple[Marker, ...]:
        """What pictures of the state in `data` show of the task: its goal, a speed, what is broken."""
        return ()

    # What follows from it.

    def edited_spec(self) -> mujoco.MjSpec:
        """The robot's MJCF with what the family changes of it.

        Raises:
            InputError: `edit` gives something back.
        """
        spec = self.build_spec()
        if self.edit(spec) is not None:  # type: ignore[func-returns-value]
            raise InputError(f"{self.name}: edit changes the spec that it is given, and returns nothing")
        return spec

    def seen_markers(self, task: Task, data: mujoco.MjData) -> tuple[Marker, ...]:
        """Those of `markers` that have a size.

        Raises:
            InputError: `markers` gives what is none.
        """
        found = self.markers(task, data)
        if not isinstance(found, tuple | list) or not all(isinstance(m, Marker) for m in found):
            raise InputError(
                f"{self.name}: markers gives a tuple of Marker(...), of one, too: (Marker(...),)"
            )
        for marker in found:
            if problem := marker.problem():
                raise InputError(f"{self.name}: markers gives a {marker.kind!r} {problem}")
        return tuple(marker for marker in found if max(marker.size) > 0)

    @property
    def name(self) -> str:
        """The class's name, under which the catalogue lists it."""
        return type(self).__name__

    @cached_property
    def says_error(self) -> bool:
        """Whether `error` is about this family's own tasks."""
        return self._is_of_own_tasks("error")

    @cached_property
    def says_privileged(self) -> bool:
        """Whether it defines `privileged`, and this is about its own tasks, or about none."""
        of_none = "privileged" not in self.asks_task
        return self.defines("privileged") and (of_none or self._is_of_own_tasks("privileged"))

    def _is_of_own_tasks(self, name: str) -> bool:
        """Whether a function that is given the task was written for the `params` that this class has."""
        kinds = type(self).__mro__
        own, tasks = (
            next((k for k, kind in enumerate(kinds) if stated in vars(kind)), len(kinds))
            for stated in (name, "params")
        )
        return own <= tasks

    @cached_property
    def model(self) -> mujoco.MjModel:
        """The compiled robot with its nominal dynamics."""
        no_log_file()
        return self.build_model()

    @cached_property
    def portrait(self) -> mujoco.MjModel:
        """The robot for pictures: the same states, with the meshes that are there for the eye only."""
        if "visual" not in inspect.signature(self.build_model).parameters:
            return self.model
        return self.build_model(visual=True) if has_clothes(self.edited_spec()) else self.model

    @cached_property
    def home_key(self) -> int | None:
        """The keyframe that `home` is from: that of the actions' pose, or "home"; None if there is none."""
        pose = getattr(self.action, "pose", None)
        return keyframe(self.model, pose if isinstance(pose, str) else "home")

    @cached_property
    def home(self) -> np.ndarray:
        """Coordinates that an episode begins around, (nq,): those of `home_key`, or the model's own."""
        key = self.home_key
        return (self.model.qpos0 if key is None else self.model.key_qpos[key]).copy()

    @cached_property
    def controls(self) -> Controls:
        """The action map, for this robot."""
        return self.action.controls(self.model)

    @cached_property
    def activations(self) -> np.ndarray:
        """What actuators with a state of their own begin an episode with, (na,)."""
        return activations(self.model, self.controls, self.home, self.home_key)

    @cached_property
    def asks_task(self) -> frozenset[str]:
        """Those of `initial_state`, `terminated` and `privileged` that want to know the task."""
        known = ("initial_state", "terminated", "privileged")
        return frozenset(n for n in known if "task" in inspect.signature(getattr(self, n)).parameters)

    def draw_states(
        self, rng: np.random.Generator, n: int, task: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """`initial_state`, which is given the tasks if it wants them.

        Raises:
            InputError: it gives other things than states.
        """
        known = {"task": task} if "initial_state" in self.asks_task else {}
        states = self.initial_state(rng, n, **known)
        wanted = {"qpos": (n, self.model.nq), "qvel": (n, self.model.nv)}
        if not isinstance(states, tuple) or len(states) != len(wanted):
            raise InputError(
                "initial_state gives two arrays, qpos (n, nq) and qvel (n, nv): return qpos, qvel"
            )
        for (name, shape), value in zip(wanted.items(), states, strict=True):
            if np.shape(value) != shape:
                raise InputError(f"initial_state gives {name} of shape {np.shape(value)}, not {shape}")
            if not np.isfinite(value).all():
                raise InputError(f"initial_state gives {name} with numbers that are not finite")
        return states

    def has_ended(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """`terminated`, which is given the tasks if it wants them."""
        known = {"task": task} if "terminated" in self.asks_task else {}
        return self.terminated(r, **known)

    def seen_in_training(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """`privileged`, likewise; None where the family says nothing there."""
        known = {"task": task} if "privileged" in self.asks_task else {}
        return self.privileged(r, **known) if self.says_privileged else None

    @cached_property
    def told_params(self) -> tuple[Param, ...]:
        """The parameters that the policy is told."""
        return tuple(p for p in self.params if p.told)

    @cached_property
    def hidden_params(self) -> tuple[Param, ...]:
        """The parameters that it is not told."""
        return tuple(p for p in self.params if not p.told)

    @classmethod
    def defines(cls, name: str) -> bool:
        """Whether it brings a function of its own for one that a family may leave out."""
        return getattr(cls, name) is not getattr(TaskFamily, name)

    @property
    def moves(self) -> bool:
        """Whether what is true of a task changes within an episode, or is read from the robot."""
        return any(p.changes for p in self.hidden_params) or self.says_privileged

    @property
    def has_expert(self) -> bool:
        """Whether it brings a controller to be imitated."""
        return self.defines("expert")

    def quiet(self) -> "TaskFamily":
        """The same family, whose robot senses perfectly and is not pushed."""
        quiet: Any = copy.copy(self)
        quiet.sensors, quiet.pushes = (), ()
        return quiet

    @property
    def dt(self) -> float:
        """Seconds per step."""
        return self.model.opt.timestep * self.frame_skip

    @property
    def action_dim(self) -> int:
        """Number of actuators."""
        return self.model.nu

    def readings_of(self, data: mujoco.MjData | None = None) -> Readings:
        """Readings of one robot in which nothing has happened yet; None is where its model has it."""
        if data is None:
            data = mujoco.MjData(self.model)
            mujoco.mj_forward(self.model, data)
        return Readings.of_data(self.model, data, self.dt, self.derived, self.remembered)

    @cached_property
    def parts(self) -> dict[str, slice]:
        """Where each named part is in what is observed; "observation" is all of it where none is named.

        Raises:
            InputError: `observe` gives no array, nor named ones.
        """
        seen = self.observe(self.readings_of())
        if not isinstance(seen, dict | np.ndarray) or not len(seen):
            raise InputError(f"observe gives {seen!r}: an array (N, numbers), or its parts by name")
        named = seen if isinstance(seen, dict) else {"observation": seen}
        if not any(np.shape(part)[-1] for part in named.values()):
            raise InputError("observe gives no numbers: the policy has to see something")
        ends = np.cumsum([0, *(np.shape(part)[-1] for part in named.values())])
        return {name: slice(int(a), int(b)) for name, a, b in zip(named, ends, ends[1:], strict=False)}

    @cached_property
    def obs_dim(self) -> int:
        """Length of an observation, with what is told of the task."""
        return self._n_seen + sum(map(self.size, self.told_params))

    @cached_property
    def _n_seen(self) -> int:
        return max(part.stop for part in self.parts.values())

    def see(self, r: Readings) -> np.ndarray:
        """All that is observed, (N, n), one part after the other, without what is told.

        Raises:
            InputError: a part has not a row a simulation.
        """
        seen = self.observe(r)
        parts = list(seen.values()) if isinstance(seen, dict) else [seen]
        for part in parts:
            if np.ndim(part) != 2 or len(part) != len(r.qpos):
                raise InputError(
                    f"observe gives shape {np.shape(part)}: it must be (N, numbers), here N = {len(r.qpos)}"
                )
        whole = np.concatenate(parts, axis=1) if isinstance(seen, dict) else parts[0]
        if whole.shape[1] != self._n_seen:
            raise InputError(
                f"observe gives {whole.shape[1]} numbers for each of {len(whole)} simulations, and "
                f"{self._n_seen} for one alone: a row must depend on its own simulation only (axis=1, not 0)"
            )
        return whole

    @cached_property
    def variations(self) -> dict[str, Variation]:
        """Where each dynamics parameter writes, by name."""
        return {p.name: variation_of(self.model, p) for p in self.params if p.field is not None}

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
            neutral = self.nominal(param)
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
        self.check_numbers(param, array)
        return self._shape(param, np.broadcast_to(array, (size,)))

    def check_numbers(self, param: Param, numbers: np.ndarray) -> None:
        """Raise `InputError` unless a split draws such numbers, (size,) or (N, size), or milder ones."""
        param.check(numbers, self.nominal(param))

    def nominal(self, param: Param) -> np.ndarray | None:
        """Numbers, (size,), that leave the model as it is; None if none do, or the parameter is a goal."""
        return self.variations[param.name].neutral if param.kind == "dynamics" else None

    def _shape(self, param: Param, row: np.ndarray) -> float | np.ndarray:
        return row if self.size(param) > 1 else float(row[0])

    def tasks(self, split: Split) -> list[Task]:
        """The family's fixed tasks of a split, the same for every run and seed.

        Raises:
            InputError: the split has no fixed list (fresh training draws), or no ood is defined.
        """
        self._check_split(split)
        count = {
            "train": self.n_train,
            "test": self.n_test,
            "ood": self.n_ood,
            "validation": self.n_validation,
        }
        if (n := count[split]) is None:
            raise InputError(f"{self.name} draws fresh training tasks; it has no fixed list of them")
        rng = np.random.default_rng([zlib.crc32(self.name.encode()), SPLITS.index(split)])
        return self._draw(rng, n, split)

    def recipe(self, learner: str) -> Recipe:
        """How a learner of this name is trained on the family best; by its defaults if nobody knows."""
        own = (recipe for recipe in self.recipes if recipe.learner == learner)
        return next(own, Recipe(learner))

    @property
    def has_ood(self) -> bool:
        """Whether an out-of-distribution set is defined."""
        return any(p.ood is not None for p in self.params)

    def sample(self, rng: np.random.Generator, n: int, split: Split = "train") -> list[Task]:
        """Draw n fresh tasks of a split; of training from the fixed list if there is one, spread evenly.

        Raises:
            InputError: no ood is defined.
        """
        self._check_split(split)
        if split != "train" or self.n_train is None:
            return self._draw(rng, n, split)
        pool = self.tasks("train")
        rounds = [rng.permutation(len(pool)) for _ in range(-(-n // len(pool)))]
        return [pool[i] for i in np.concatenate(rounds)[:n]]

    def milder(self, tasks: Sequence[Task], width: float) -> list[Task]:
        """Tasks whose dynamics lie between the robot of the model file and their own; goals stay as they are.

        Args:
            tasks: N of this family's.
            width: 0 for the robot of the model file, 1 for the tasks as they are.

        Raises:
            InputError: the family has no dynamics, or none that are at home in the model file, or all are
                drawn anew within an episode.
        """
        inner = (p for p in self.params if not p.every and not isinstance(p.train, Index))
        ways = [(p, nominal) for p in inner if (nominal := self.nominal(p)) is not None]
        if not ways:
            raise InputError(
                f"{self.name} has no dynamics that could begin as in its model file: "
                "leave out --nominal and --widen"
            )
        numbers = self.stack(tasks)
        for p, nominal in ways:
            numbers[p.name] = p.milder(numbers[p.name].reshape(-1, len(nominal)), nominal, width)
        return self._tasks_of(numbers, len(tasks))

    def _check_split(self, split: Split) -> None:
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        if split == "ood" and not self.has_ood:
            raise InputError(f"{self.name} defines no out-of-distribution tasks; use --split test")

    def _draw(self, rng: np.random.Generator, n: int, split: Split) -> list[Task]:
        columns = {}
        for p in self.params:
            columns[p.name] = p.distribution(split).sample(rng, (n, self.size(p)))
        return self._tasks_of(columns, n)

    def _tasks_of(self, numbers: Mapping[str, np.ndarray], n: int) -> list[Task]:
        """N tasks of their numbers by parameter, (N,) or (N, size)."""
        return [
            Task({p.name: self._shape(p, np.ravel(numbers[p.name][i])) for p in self.params})
            for i in range(n)
        ]

    def words(self, task: Task, changing: bool = False) -> str:
        """A task in a few words: "velocity 2.5 m/s", "strength *0.3 of bthigh"; or what changes of it."""
        shown = [p for p in self.params if p.changes or not changing]
        labels = {name: variation.labels for name, variation in self.variations.items()}
        return ", ".join(p.words(np.ravel(task[p.name]), labels.get(p.name, ())) for p in shown)

    def ranked(self, tasks: Sequence[Task]) -> list[Task]:
        """Tasks from low to high by the mean of their first parameter's numbers."""
        return sorted(tasks, key=lambda task: float(np.mean(task[self.params[0].name])))

    def stack(self, tasks: Sequence[Task]) -> dict[str, np.ndarray]:
        """The numbers of N tasks by parameter: (N,), or (N, size) where each element has one."""
        return {p.name: np.array([t[p.name] for t in tasks], float) for p in self.params}
