"""Meta-World's benchmarks for meta-learning, ML1, ML10 and ML45 (Yu et al. 2019), as families of tasks.

Meta-World insists on MuJoCo 3.3.0: `scripts/environment --metaworld` makes an environment for it.
"""

import pickle
import re
from collections.abc import Hashable, Mapping
from functools import cache
from importlib.metadata import version
from typing import Any, ClassVar

import gymnasium
import numpy as np

from metarl.envs.distributions import Choice, Index
from metarl.envs.others.family import GymFamily
from metarl.envs.param import Param
from metarl.envs.task import Split, Task
from metarl.errors import InputError, unknown

PREFIX = "metaworld:"
SEVERAL = ("ML10", "ML25", "ML45")
N_GOALS = 50  # of each environment in each split
SEED = 0  # of the goals, which a benchmark draws when it is made


def is_metaworld(name: str) -> bool:
    """Whether it is the name of a benchmark of Meta-World's."""
    return name.startswith(PREFIX)


def load_metaworld(name: str) -> "MetaWorld":
    """The benchmark of a name such as metaworld:ML1:reach-v3 or metaworld:ML10.

    Raises:
        InputError: Meta-World is not here, or has no such benchmark.
    """
    try:
        from metaworld import env_dict
    except ModuleNotFoundError:
        raise InputError(
            f"{name} needs Meta-World, which insists on MuJoCo 3.3.0, in an environment of its own: "
            "scripts/environment --metaworld makes .venv-metaworld, in which metarl trains on it"
        ) from None
    benchmark, colon, world = name.removeprefix(PREFIX).partition(":")
    if benchmark == "ML1":
        if world not in env_dict.ALL_V3_ENVIRONMENTS:
            raise unknown("environment of ML1", world, env_dict.ALL_V3_ENVIRONMENTS)
    elif benchmark not in SEVERAL or colon:
        raise InputError(f"{name!r} names no benchmark; write metaworld:ML1:reach-v3, or metaworld:ML10")
    called = re.sub(r"\W+", "-", name.removeprefix(PREFIX))
    stated = {"benchmark_name": benchmark, "world": world, "__module__": "metaworld", "__doc__": f"{called}."}
    return type(called, (MetaWorld,), stated)()


@cache
def _benchmark(name: str, world: str) -> Any:
    """A benchmark, whose goals are drawn when it is made: the same in every process."""
    import metaworld

    kind = getattr(metaworld, name)
    return kind(world, seed=SEED) if world else kind(seed=SEED)


class MetaWorld(GymFamily):
    """Sawyer's tasks; the goal, and where things lie, are hidden.

    A task is a `number` in the benchmark's own list of goals: of ML1 those below 50 are for training and the
    others are held out; of the others each environment (`world`) has 50, and environments are held out.

    Attributes:
        benchmark_name: "ML1", "ML10", "ML25" or "ML45".
        world: of ML1, its environment.
    """

    benchmark_name: ClassVar[str]
    world: ClassVar[str]
    horizon = 500
    n_validation = 10

    def __init__(self):
        self.benchmark = _benchmark(self.benchmark_name, self.world)
        n, m = len(self.benchmark.train_classes), len(self.benchmark.test_classes)
        self.worlds = list(self.benchmark.train_classes)
        goals = Param("number", "", Index(0, N_GOALS - 1))
        if self.benchmark_name == "ML1":
            params = (Param("number", "", Index(0, N_GOALS - 1), test=Index(N_GOALS, 2 * N_GOALS - 1)),)
        else:
            self.worlds += list(self.benchmark.test_classes)
            held_out = Choice(tuple(map(float, range(n, n + m))))
            params = (Param("world", "", Choice(tuple(map(float, range(n)))), test=held_out), goals)
        vars(self)["params"] = params
        self._tasks = _by_world(self.benchmark.train_tasks)
        for name, tasks in _by_world(self.benchmark.test_tasks).items():
            self._tasks[name] = self._tasks.get(name, []) + tasks
        self._vectors = {name: _vectors(tasks) for name, tasks in self._tasks.items()}
        super().__init__()

    def kind(self, task: Task) -> Hashable:
        """The environment."""
        return self.worlds[int(task["world"])] if "world" in task else self.world

    def make(self, kind: Hashable = None) -> gymnasium.Env:
        """One environment, without a task."""
        name = kind or self.worlds[0]
        return {**self.benchmark.train_classes, **self.benchmark.test_classes}[name]()

    def set_task(self, env: Any, task: Task) -> None:
        """Give an environment its goal."""
        env.set_task(self._tasks[self.kind(task)][int(task["number"])])

    def features(self, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """The numbers behind the goals, and which of the training environments it is."""
        world = task.get("world", np.zeros(len(task["number"]))).astype(int)
        rows = [self._vectors[self.worlds[w]][int(k)] for w, k in zip(world, task["number"], strict=True)]
        width = max(vectors.shape[1] for vectors in self._vectors.values())
        vectors = np.stack([np.pad(row, (0, width - len(row))) for row in rows])
        which = world[:, None] == np.arange(len(self.benchmark.train_classes))
        return np.concatenate([vectors, which], axis=1) if "world" in task else vectors

    def tasks(self, split: Split) -> list[Task]:
        """The family's fixed tasks of a split: of each environment as many, and no goal twice.

        Raises:
            InputError: as in `TaskFamily.tasks`.
        """
        drawn = super().tasks(split)
        seen: dict[float, int] = {}
        for k, task in enumerate(drawn):
            world = task.get("world", 0.0)
            seen[world] = seen.get(world, -1) + 1
            first = N_GOALS if split == "test" and "world" not in task else 0
            last = N_GOALS - 1 - seen[world] if split == "validation" else seen[world]
            drawn[k] = Task({**task, "number": float(first + last)})
        return drawn

    @property
    def made_by(self) -> str:
        """The benchmark, with the version of who made it."""
        return f"{self.benchmark_name} {self.world} of metaworld {version('metaworld')}, goals {SEED}"


def _by_world(tasks: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for task in tasks:
        found.setdefault(task.env_name, []).append(task)
    return found


def _vectors(tasks: list[Any]) -> np.ndarray:
    """The random numbers that tasks are made of, scaled to about one, (n, size)."""
    raw = np.stack([pickle.loads(task.data)["rand_vec"] for task in tasks])  # which Meta-World pickled here
    return (raw - raw.mean(axis=0)) / np.maximum(raw.std(axis=0), 1e-6)
