"""What a return is worth: random, average and oracle policies on a family's fixed tasks.

They are measured once by `scripts/baselines.py` and kept in `envs/references/<family>.json`, so that every
evaluation can say how far between a random policy and one that is told the task it got.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metarl.envs import FAMILIES, BatchSim, InputError, Task, TaskFamily, World
from metarl.files import write_json
from metarl.learners.adapter import EPISODES, column_title
from metarl.learners.meta_model.planner.icem import ICEM
from metarl.sampling.episodes import play
from metarl.sampling.trajectories import Trajectories

FOLDER = Path(str(files("metarl.envs"))) / "references"


@dataclass(frozen=True)
class References:
    """What others get on a family's held-out tasks.

    Attributes:
        family: its name.
        tasks: K task values.
            The held-out ones come first, then those out of distribution.
        random: K returns of uniformly random actions.
        average: K returns of a policy trained over the family that neither sees nor remembers the task;
            mean over trainings.
        oracle: K returns of a policy that is told the task, or of the family's expert; mean over trainings.
        scratch: learning curves of policies trained on one held-out task alone, each with "task",
            "env_steps" and "returns".
        made_by: the command, and the versions it ran with.
        errors: by policy, K times how far it is from what is asked (`Evaluation.error`); nothing where the
            family does not say.
        planned: what a planner gets that is told the task and tries its plans on the simulator itself, on a
            few of the held-out tasks, each with "task" and "return".
    """

    family: str
    tasks: list[dict[str, Any]]
    random: list[float]
    average: list[float]
    oracle: list[float]
    scratch: list[dict[str, Any]]
    made_by: dict[str, Any]
    errors: dict[str, list[float]] = field(default_factory=dict)
    planned: list[dict[str, Any]] = field(default_factory=list)

    def save(self, folder: Path = FOLDER) -> Path:
        """Write them where `load_references` finds them."""
        folder.mkdir(exist_ok=True)
        path = folder / f"{self.family}.json"
        write_json(path, asdict(self))
        return path

    def on(self, tasks: Sequence[Task]) -> "References | None":
        """Those of some of the tasks, in that order and with these numbers; None if one is unknown."""
        known = [Task(values) for values in self.tasks]
        place = {task: k for k, task in enumerate(known)}
        found = [place[t] if t in place else _nearly(known, t) for t in tasks]
        index = [k for k in found if k is not None]
        if len(index) < len(tasks):
            return None
        here = {known[k]: dict(task) for k, task in zip(index, tasks, strict=True)}
        changed: dict[str, Any] = {name: [getattr(self, name)[k] for k in index] for name in POLICIES}
        for name in ("scratch", "planned"):
            of = [(one, here.get(Task(one["task"]))) for one in getattr(self, name)]
            changed[name] = [{**one, "task": task} for one, task in of if task]
        errors = {name: [values[k] for k in index] for name, values in self.errors.items()}
        return replace(self, tasks=[dict(t) for t in tasks], errors=errors, **changed)

    def beside_planned(self) -> tuple[float, float] | None:
        """Mean returns of the planner and of the oracle on the tasks it planned in, if there are any."""
        if not self.planned:
            return None
        oracle = {Task(values): value for values, value in zip(self.tasks, self.oracle, strict=True)}
        own = [(one["return"], oracle[Task(one["task"])]) for one in self.planned]
        planner, told = np.mean(own, axis=0)
        return float(planner), float(told)

    def score(self, returns: np.ndarray) -> np.ndarray:
        """(return - random) / (oracle - random), of means over tasks, for returns (K, columns)."""
        low, high = np.mean(self.random), np.mean(self.oracle)
        return (returns.mean(axis=0) - low) / (high - low)


SAME = 1e-12  # relative, of the numbers of one task
POLICIES = ("random", "average", "oracle")


def steps_to(curve: Mapping[str, Any], value: float) -> int | None:
    """Environment steps that a training from scratch takes to a return; None if it never gets there.

    Args:
        curve: one of `References.scratch`.
        value: the return.
    """
    there = np.array(curve["returns"]) >= value
    return int(curve["env_steps"][there.argmax()]) if there.any() else None


def _nearly(known: Sequence[Task], task: Task) -> int | None:
    """Which task differs from another in the last bits at most, as draws do from processor to processor."""
    for k, one in enumerate(known):
        if one.keys() == task.keys() and all(
            np.allclose(one[name], task[name], rtol=SAME, atol=0) for name in task
        ):
            return k
    return None


@cache
def load_references(family: str, folder: Path = FOLDER) -> References | None:
    """What was measured on a family; None if nothing was."""
    path = folder / f"{family}.json"
    return References(**json.loads(path.read_text())) if path.is_file() else None


def references_of(family: TaskFamily) -> References | None:
    """What was measured on a family of the catalogue, not on somebody's own of the same name."""
    return load_references(family.name) if FAMILIES.get(family.name) is type(family) else None


def references_on(family: TaskFamily, tasks: Sequence[Task]) -> References | None:
    """What was measured on these tasks of a family of the catalogue; None if not all of it."""
    known = references_of(family)
    return known and known.on(tasks)


class RandomPolicy:
    """Uniformly random actions, as the evaluator sees them."""

    column = EPISODES
    shares_episodes = False

    def begin(self, tasks: Sequence[Task], rng: np.random.Generator) -> None:
        """New tasks, which make no difference."""
        self.rng = rng

    def collect(self, sim: World, rng: np.random.Generator) -> Trajectories:
        """One episode in each simulation."""
        shape = sim.n_sims, sim.family.action_dim
        return _play(sim, lambda obs: self.rng.uniform(-1, 1, shape), rng)

    def adapt(self, episodes: Trajectories) -> None:
        """Nothing is learned."""


class ExpertPolicy(RandomPolicy):
    """A family's own expert, who knows the task, as the evaluator sees it."""

    def collect(self, sim: World, rng: np.random.Generator) -> Trajectories:
        """One episode in each simulation; InputError if the family brings no expert."""

        def act(obs: np.ndarray) -> np.ndarray:
            if (action := sim.shown()) is None:
                raise InputError(f"{sim.family.name} brings no expert")
            return action

        return _play(sim, act, rng)


class ModelPolicy:
    """A policy without a memory, as the evaluator sees it.

    Args:
        act: observations (N, n) to actions (N, action_dim).
        told: observations end with the task's numbers, as those of `metarl.sb3.FamilyVecEnv`.
    """

    column = EPISODES
    shares_episodes = False
    deterministic = True  # there is no noise to act by

    def __init__(self, act: Callable[[np.ndarray], np.ndarray], told: bool = False):
        self.act, self.told = act, told

    def begin(self, tasks: Sequence[Task], rng: np.random.Generator) -> None:
        """New tasks."""

    def collect(self, sim: World, rng: np.random.Generator) -> Trajectories:
        """One episode in each simulation."""
        if not self.told:
            return _play(sim, self.act, rng)
        return _play(sim, lambda obs: self.act(np.concatenate([obs, sim.told()], axis=1)), rng)

    def adapt(self, episodes: Trajectories) -> None:
        """Nothing is learned."""

    def title(self, column: int) -> str:
        """When a column's episodes are played, in words."""
        return column_title(self.column, column)


class PlannedPolicy:
    """A planner on the true simulator, told the task: what could be had without learning anything.

    Args:
        planner: iCEM, by its settings.
        gamma: discount per step of a plan.
    """

    column = EPISODES
    shares_episodes = False

    def __init__(self, planner: ICEM, gamma: float = 0.99):
        self.planner, self.gamma = planner, gamma

    def begin(self, tasks: Sequence[Task], rng: np.random.Generator) -> None:
        """New tasks."""
        self.rng = rng

    def collect(self, sim: BatchSim, rng: np.random.Generator) -> Trajectories:
        """One episode in each simulation, planned anew at every step."""
        n, most = sim.n_sims, max(self.planner.n_candidates(k) for k in range(self.planner.rounds))
        imagined = BatchSim(sim.family, n * most, sim.n_threads)
        imagined.set_tasks([task for task in sim.tasks for _ in range(most)])
        plan = self.planner.start(n)

        def earned(candidates: Tensor) -> Tensor:
            imagined.follow(sim, np.arange(n).repeat(most))
            going = (np.arange(most) < candidates.shape[1])[None].repeat(n, axis=0).ravel()
            rows, total = going.copy(), np.zeros(n * most)
            action = np.zeros((n, most, sim.family.action_dim), np.float32)
            for k in range(self.planner.horizon):
                action[:, : candidates.shape[1]] = candidates[:, :, k].numpy()
                step = imagined.step(action.reshape(n * most, -1), going)
                total += self.gamma**k * np.where(going, step.reward, 0)
                going = going & ~step.terminated
            return torch.from_numpy(total[rows].reshape(n, -1).astype(np.float32))

        def act(obs: np.ndarray) -> np.ndarray:
            nonlocal plan
            action, plan = self.planner.plan(plan, earned, self.rng)
            return action.numpy()

        return _play(sim, act, rng)

    def adapt(self, episodes: Trajectories) -> None:
        """Nothing is learned."""


def _play(sim: World, act: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator) -> Trajectories:
    """One episode in each simulation, of actions (N, action_dim) for observations (N, obs_dim)."""
    family = sim.family
    out = Trajectories.empty(family.horizon, sim.n_sims, family.obs_dim, family.action_dim)
    for t, _ in play(sim, out, rng):
        out.action[t] = act(out.obs[t])
    return out
