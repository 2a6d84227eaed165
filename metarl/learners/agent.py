"""Agent: a learner at work on a family. What users hold, train, save and load."""

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, fields
from io import BytesIO
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from typing_extensions import Self

from metarl import ranks
from metarl.box import unboxed
from metarl.envs import InputError, Recipe, Task, TaskFamily, World, simulate
from metarl.envs.catalogue import absolute, as_family, load_recorded
from metarl.envs.simulate import MUJOCO
from metarl.errors import NotFiniteError, unknown
from metarl.export.write import Exported
from metarl.files import check_writable, write_atomically
from metarl.learners.acting import Acting
from metarl.learners.adapter import AgentAdapter
from metarl.learners.checkpoint import CHECKPOINT, FORMAT, is_finite, read_checkpoint
from metarl.progress import progress
from metarl.ranges import checked_seed, checked_threads, plain_value
from metarl.sampling.trajectories import Trajectories
from metarl.threads import plain_torch, torch_threads

TEACHER = "teacher/return"  # is logged of an iteration that was not the learner's own, but its teacher's
WIDTH = "curriculum/width"  # is logged where there is a curriculum
CURRICULUM = "nominal", "widen"  # its settings, of the configs that have them
MAX_SKIPPED = 10  # updates in a row that were not finite, and training stops


def curriculum_width(spent: float, nominal: float, widen: float) -> float:
    """How wide dynamics are when so much of a training is over, from 0 to 1; see `TaskFamily.milder`.

    Args:
        spent: share of the steps.
        nominal: the first of them, whose robots are as in the model file.
        widen: the next, in which dynamics go from there to the tasks' own.
    """
    return float(np.clip((spent - nominal) / widen, 0, 1)) if widen else float(spent >= nominal)


Callback = Callable[["Agent", dict[str, float]], bool | None]
Family = str | TaskFamily | type[TaskFamily]


class Agent:
    """The shared half of every learner: counters, random generators, the loop, saving and loading.

    A subclass names itself and its config and says in `iterate` what one iteration is.

    Args:
        family: a family or its class, its name in the catalogue, or "file.py:ClassName".
        config: the learner's settings; None takes the defaults.
        seed: of everything random in training.
        device: where the learner computes, "cpu" or "cuda"; physics stays on the CPU, unless it is Warp's.
        n_threads: physics threads, 0 for one per CPU.
        physics: that it is trained in, as `simulate` takes it; judging and adapting are always MuJoCo's own.

    Attributes:
        num_timesteps: environment steps taken so far, over all resumes.
        iterations: finished iterations.
        total_timesteps: the budget of the last `learn`, for schedules.
        skipped: updates that were taken back because they were not finite.
        skipped_in_a_row: those since the last one that was kept.
        acts_only: it came from a file that holds what acting needs, or fits no more than that, and cannot be
            trained.
        note: words that are shown beside the progress.
        prediction_rng: draws the actions of `predict(deterministic=False)`.
    """

    name: ClassVar[str]
    config_class: ClassVar[Any]
    usual_steps: ClassVar[int] = 4_000_000  # environment steps of a training where nobody says how many
    remembers: ClassVar[bool] = False  # whether `predict` takes the last reward, and adapts by its state
    in_many: ClassVar[bool] = False  # whether it can be trained in many processes: `draw`, `ranks`

    def __init__(
        self,
        family: Family,
        config: Any = None,
        seed: int = 0,
        device: str = "cpu",
        n_threads: int = 0,
        physics: str = MUJOCO,
    ):
        self.family = as_family(family)
        self.family_name = absolute(family) if isinstance(family, str) else self.family.name
        self.config = config or self.config_class()
        if not isinstance(self.config, self.config_class):
            wanted, given = self.config_class.__name__, type(self.config).__name__
            raise InputError(f"the config of {type(self).__name__} is a {wanted}(...), not a {given}")
        self.seed, self.device, self.n_threads = (
            checked_seed(seed),
            _device(device),
            checked_threads(n_threads),
        )
        self.physics = physics
        if self.has_curriculum:
            if (both := sum(self._curriculum)) > 1 + 1e-9:
                raise InputError(
                    f"--nominal and --widen are {both:g} of the training together, which ends before tasks "
                    "are as wide as the family says; use 1 at most"
                )
            self.family.milder([], 0.0)  # or it says why not
        if physics != MUJOCO:
            simulate(self.family, 1, 1, physics, device)  # or it says why not, before anything is written
        self.rng = np.random.default_rng(self.seed)
        self.prediction_rng = np.random.default_rng(self.seed)
        self.num_timesteps = self.iterations = self.total_timesteps = 0
        self.skipped = self.skipped_in_a_row = 0
        self.acts_only, self.note = False, ""
        with plain_torch(), torch_threads(1):  # more of them make other last bits of orthogonal weights
            self.learner = self.build_learner()
        self._sim: World | None = None
        self._n_failures = self._n_elsewhere = 0  # before there was a sim, and in other processes

    @classmethod
    def usual(cls, family: TaskFamily) -> tuple[int, Any]:
        """Environment steps and config of a training that nobody asks anything else of."""
        recipe = cls.recipe(family)
        return recipe.steps or cls.usual_steps, cls.config_class(**recipe.settings)

    @classmethod
    def recipe(cls, family: TaskFamily) -> Recipe:
        """How it is trained on the family best.

        Raises:
            InputError: the family's recipe names settings that it has not.
        """
        own, known = family.recipe(cls.name), [f.name for f in fields(cls.config_class)]
        for name in own.settings:
            if name not in known:
                raise unknown(f"setting of {cls.name}, in a recipe of {family.name},", name, known)
        return own

    # What a subclass defines.

    @classmethod
    def n_least(cls, config: Any) -> int:
        """How many parameters these settings ask for at least, on any robot."""
        return 0

    def build_learner(self) -> Any:
        """The learner, with `state_dict` and `load_state_dict`.

        And, where it is to be saved to act only, with `acting_state` and `load_acting_state`.
        """
        raise NotImplementedError

    @property
    def n_sims(self) -> int:
        """Simulations that run side by side in training, in all processes."""
        raise NotImplementedError

    @property
    def n_tasks(self) -> int:
        """Tasks of an iteration; the simulations are as many, or so many times as many."""
        return self.n_sims

    @property
    def steps_per_iteration(self) -> int:
        """Environment steps of one iteration, at most, in all processes."""
        raise NotImplementedError

    def iterate(self) -> dict[str, float]:
        """Sample, learn once, and return numbers to log."""
        raise NotImplementedError

    def adapter(self) -> AgentAdapter:
        """This agent as the evaluator sees it."""
        raise NotImplementedError

    def act_by(self, who: str) -> Self:
        """Let somebody else act from now on than in training, where there is a choice; this agent.

        Raises:
            InputError: there is none.
        """
        raise InputError(f"--act says who acts by a meta-model, and this is a {self.name} policy")

    def adapt(self, task_or_env: Mapping[str, Any] | gymnasium.Env, *args: Any, **kwargs: Any) -> Any:
        """The policy, adapted to a task by its values or to the one of a Gymnasium environment."""
        raise InputError(f"a {self.name} defines no `adapt`: evaluate its adapter instead")

    def adapt_to_recorded(self, recordings: Sequence[Trajectories]) -> Acting:
        """The policy, adapted to episodes that somebody has recorded (see `read_recording`).

        Raises:
            InputError: this learner does not.
        """
        raise InputError(f"a {self.name} does not adapt to recorded episodes")

    def policy(self) -> Acting:
        """The policy before adaptation, to act with and to export.

        Raises:
            InputError: what this learner acts by is more than a policy.
        """
        raise InputError(f"what a {self.name} acts by can be neither exported nor shown live in a page")

    def predict(
        self,
        obs: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Any]:
        """Actions before adaptation, and the state for the next call, as in Stable-Baselines3."""
        raise InputError(f"a {self.name} defines no `predict`: evaluate its adapter instead")

    @property
    def evaluation_size(self) -> tuple[int, int]:
        """Columns of an evaluation, and episodes of a task in each, unless somebody asks for others."""
        raise NotImplementedError

    @property
    def trained_column(self) -> int:
        """The column of an evaluation that training has worked for."""
        raise NotImplementedError

    @property
    def shown_columns(self) -> tuple[int, ...]:
        """The columns that pictures show side by side: the first, and what training has worked for."""
        return tuple(sorted({0, self.trained_column}))

    def attention(self, episodes: Sequence[Trajectories], k: int) -> list[np.ndarray] | None:
        """How an external memory was read in row k of episodes, (L, slots) each; None without one."""
        return None

    # What follows from it.

    @property
    def sim(self) -> World:
        """The training simulations, this process's share of them, made when first needed."""
        n_sims = len(ranks.share(self.n_tasks)) * (self.n_sims // self.n_tasks)
        if self._sim is None or self._sim.n_sims != n_sims:
            self._n_failures = self._n_here
            self._sim = self.simulated(n_sims)
            self._sim.n_failures = self._n_failures
        return self._sim

    def simulated(self, n_sims: int) -> World:
        """Simulations to train in, so many in this process."""
        return simulate(self.family, n_sims, ranks.threads(self.n_threads), self.physics, self.device)

    @property
    def n_failures(self) -> int:
        """Simulations that blew up in training, over all resumes and in all processes."""
        return self._n_here + self._n_elsewhere

    @property
    def _n_here(self) -> int:
        return self._n_failures if self._sim is None else self._sim.n_failures

    def draw(self, n_tasks: int) -> tuple[list[Task], np.random.Generator]:
        """Training tasks, so many in all processes: this one's, and what draws everything else meanwhile.

        Their dynamics are as wide as the curriculum is by now.

        All are drawn in every process, from where process 0's generator is, so that they are spread over the
        range as they are in one; then the others begin generators of their own, so that none has to be saved.
        """
        self.rng.bit_generator.state = ranks.from_first(self.rng.bit_generator.state)
        tasks, rank = self.family.sample(self.rng, n_tasks), ranks.rank()
        if (width := self.width) < 1:
            tasks = self.family.milder(tasks, width)
        own = np.random.default_rng([self.seed, self.iterations, rank]) if rank else self.rng
        return [tasks[i] for i in ranks.share(n_tasks)], own

    def learn(
        self, total_timesteps: int, callback: Callback | None = None, progress_bar: bool = False
    ) -> Self:
        """Meta-train until another iteration would exceed the budget.

        Args:
            total_timesteps: environment steps in all, those of earlier calls included.
            callback: called after each iteration with the agent and its numbers; False stops.
            progress_bar: show one.

        Raises:
            InputError: the budget does not hold a single iteration, or the agent can only act.
        """
        total_timesteps = self._like_first(total_timesteps)
        self.check_budget(total_timesteps)
        self.total_timesteps = total_timesteps = plain_value(total_timesteps)
        with progress("meta-training", total_timesteps, shown=progress_bar) as bar:
            bar.update(self.num_timesteps)
            while self.fits(total_timesteps):
                stats = self._iterate_or_skip()
                self.iterations += 1
                bar.update(self.num_timesteps, "" if self.skipped_in_a_row else self._words(stats))
                if ranks.any_of(says_stop(callback, self, stats)):
                    break
        return self

    def _words(self, stats: Mapping[str, float]) -> str:
        width = stats.get(WIDTH, 1)
        mild = f" (dynamics {width:.0%} as wide)" if width < 1 else ""
        return f"{self.headline(stats)}{mild}  {self.note}"

    def _like_first(self, total_timesteps: int) -> int:
        """Begin as process 0 does; the budget that it has."""
        self.check_processes(ranks.count())
        if ranks.count() == 1:
            return total_timesteps
        state, total_timesteps = ranks.from_first((self.state_dict(), total_timesteps))
        if ranks.rank():
            self.load_state_dict({**state, "failures": 0})
        return total_timesteps

    def check_processes(self, n: int) -> None:
        """Raise InputError if so many processes cannot share the work, or the learner is for one alone."""
        if n == 1:
            return
        if not self.in_many:
            raise InputError(f"a {self.name} is trained in one process; leave --processes out")
        if n > self.n_tasks:
            raise InputError(
                f"{n} processes are more than the {self.n_tasks} tasks of an iteration; use at most as many"
            )

    @plain_torch()
    def _iterate_or_skip(self) -> dict[str, float]:
        """One iteration; if it ends in numbers that are not finite, nothing was learned in it.

        Raises:
            InputError: that has happened too often in a row.
        """
        before = deepcopy(self.learner.state_dict())
        curriculum = {WIDTH: self.width} if self.has_curriculum else {}
        try:
            stats = self.iterate() | curriculum
        except NotFiniteError:
            stats, finite = {}, False
        else:
            finite = is_finite(self.learner.state_dict())
        self._n_elsewhere = ranks.total(self._n_here) - self._n_here
        if finite:
            self.skipped_in_a_row = 0
            return stats
        self.learner.load_state_dict(before)
        self.skipped += 1
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row >= MAX_SKIPPED:
            raise InputError(
                f"{MAX_SKIPPED} updates in a row ended in numbers that are not finite, and none of them was "
                "kept; mend the family where metarl check finds something, or go on from the last "
                "checkpoint with smaller steps (a lower learning rate)"
            )
        return {**{k: v for k, v in stats.items() if np.isfinite(v)}, "learn/skipped": float(self.skipped)}

    def fits(self, total_timesteps: int) -> bool:
        """Whether another iteration stays within so many environment steps."""
        return self.num_timesteps + self.steps_per_iteration <= total_timesteps

    def check_budget(self, total_timesteps: int) -> None:
        """Raise InputError if that is no budget, too small for a fresh agent, or the agent can only act."""
        if self.acts_only:
            raise InputError(
                "this policy acts and cannot be trained: its file holds no optimiser, or its family tells a "
                "critic other things than it did; train one of your own: "
                f"metarl train {self.family.name} --learner {self.name}"
            )
        if not isinstance(total_timesteps, Real) or not 0 <= total_timesteps < np.inf:
            raise InputError(f"{total_timesteps!r} steps are no budget; give a number, e.g. 2_000_000")
        if not self.iterations and total_timesteps < self.steps_per_iteration:
            raise InputError(
                f"{total_timesteps} steps are fewer than one iteration takes: use at least "
                f"{self.steps_per_iteration}, or fewer tasks or episodes an iteration"
            )

    @property
    def spent(self) -> float:
        """Fraction of the budget of `learn` that is used."""
        return self.num_timesteps / self.total_timesteps if self.total_timesteps else 0.0

    @property
    def progress(self) -> float:
        """How far the learner's schedules are."""
        return self.spent

    @property
    def has_curriculum(self) -> bool:
        """Whether training begins with the robot of the model file."""
        return any(self._curriculum)

    @property
    def _curriculum(self) -> tuple[float, float]:
        nominal, widen = (getattr(self.config, name, 0.0) for name in CURRICULUM)
        return nominal, widen

    @property
    def width(self) -> float:
        """How far the dynamics of training are from the robot of the model file (0) to the tasks' own (1)."""
        return curriculum_width(self.spent, *self._curriculum)

    def headline(self, stats: Mapping[str, float]) -> str:
        """A few words on an iteration for the progress bar."""
        return ""

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed training needs to go on as if it had never stopped."""
        return {
            "learner": self.learner.acting_state() if self.acts_only else self.learner.state_dict(),
            "acts_only": self.acts_only,
            "rng": json.dumps(self.rng.bit_generator.state),
            "num_timesteps": self.num_timesteps,
            "iterations": self.iterations,
            "skipped": self.skipped,
            "failures": self.n_failures,
        }

    @plain_torch()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.acts_only = bool(state.get("acts_only"))  # not in files of before there was a box
        load = self.learner.load_acting_state if self.acts_only else self.learner.load_state_dict
        load(state["learner"])
        self.rng.bit_generator.state = json.loads(state["rng"])
        counted = {"skipped": 0, "failures": 0, **state}  # not in files of before they were counted
        counts = [int(counted[k]) for k in ("num_timesteps", "iterations", "skipped", "failures")]
        if not all(0 <= n < 2**63 for n in counts):
            raise ValueError("it has counted what cannot be")
        self.num_timesteps, self.iterations, self.skipped, self._n_failures = counts
        self._sim = None
        self._n_elsewhere = 0

    def header(self) -> dict[str, Any]:
        """What identifies the agent: enough to build it again."""
        return {
            "family": self.family_name,
            "learner": self.name,
            "seed": self.seed,
            "config": asdict(self.config),
        }

    def save(self, path: str | Path, acts_only: bool = False) -> None:
        """Write the agent to one file, whole or not at all.

        Args:
            path: of the file.
            acts_only: leave out what only training needs, most of it.

        Raises:
            InputError: there can be no such file.
        """
        check_writable(Path(path))
        state = self.state_dict()
        if acts_only:
            state |= {"learner": self.learner.acting_state(), "acts_only": True}
        content = {"format": FORMAT, **self.header(), "state": state}
        whole = BytesIO()  # torch turns what a full disk says into an error of its own
        torch.save(content, whole)
        write_atomically(Path(path), lambda file: file.write(whole.getbuffer()))

    def export(
        self,
        path: str | Path,
        task: Mapping[str, Any] | None = None,
        recordings: Sequence[Trajectories] = (),
    ) -> Exported:
        """Write the policy as an ONNX file, for a robot or a page in a browser (see `docs/deploy.md`).

        The file is written only if it does what `predict` does.

        Args:
            path: of the file; ends in .onnx.
            task: adapt to it first, by its values.
            recordings: adapt to these first, as `read_recording` gives them.

        Returns:
            What has been written, with the largest difference to `predict`.

        Raises:
            InputError: the policy cannot be exported, there can be no such file, or task and recordings are
                both given.
            ModuleNotFoundError: the extra "export" is not installed.
        """
        if task is not None and recordings:
            raise InputError("a policy adapts to a task or to recorded episodes, not to both")
        policy = self.policy()
        if task is not None:
            return self.adapt(task).export(path)
        return (self.adapt_to_recorded(recordings) if recordings else policy).export(path)

    @classmethod
    def load(
        cls, path: str | Path, device: str = "cpu", n_threads: int = 0, family: Family | None = None
    ) -> Self:
        """Read an agent from a file, or from the checkpoint of a run folder.

        Args:
            path: of the file, or of the run folder; or a policy that comes with metarl, as "box:AntDir".
            device: where the learner computes, "cpu" or "cuda".
            n_threads: physics threads, 0 for one per CPU.
            family: that it was trained on, where this is nobody's in the catalogue: a family's file is
                code, and runs only if it is named here, or is the very one that has been named before.

        Raises:
            InputError: the file is missing, damaged, or of another learner; or its family is not trusted.
        """
        path = unboxed(path)
        path = path / CHECKPOINT if path.is_dir() else path
        content = read_checkpoint(path)
        if content["learner"] != cls.name:
            raise InputError(f"{path} holds a {content['learner']} agent, not {cls.name}")
        folder = path.parent if (path.parent / CHECKPOINT).is_file() else None  # best.pt of a run, too
        return cls.from_checkpoint(path, content, device, n_threads, family, folder)

    @classmethod
    def from_checkpoint(
        cls,
        path: Path,
        content: Mapping[str, Any],
        device: str,
        n_threads: int,
        family: Family | None,
        folder: Path | None,
    ) -> Self:
        """The agent that a checkpoint's content describes.

        Args:
            path: where it was read, for messages.
            content: as `read_checkpoint` gives it.
            device: as in `load`.
            n_threads: as in `load`.
            family: as in `load`.
            folder: the run folder, of which no code runs unless it is named.

        Raises:
            InputError: it does not fit, or its family is not trusted.
        """
        config = cls.make_config(content["config"])
        cls.check_size(path, config)
        own = content["family"]
        found = load_recorded(own, folder) if family is None else family
        agent = cls(found, config, content["seed"], device, n_threads)
        if not isinstance(found, str):
            agent.family_name = own
        agent.restore(path, content)
        return agent

    @classmethod
    def make_config(cls, values: Mapping[str, Any]) -> Any:
        """The learner's config from plain JSON values, all of them.

        Raises:
            InputError: one is missing, unknown, or not a value it can have.
        """
        values = {**getattr(cls.config_class, "EARLIER", {}), **values}
        known = {f.name for f in fields(cls.config_class)}
        other = known ^ set(values)
        if other:
            parts = {"without ": other & known, "with ": other - known}
            what = " and ".join(word + ", ".join(sorted(names)) for word, names in parts.items() if names)
            raise InputError(
                f"the settings are of another version of metarl, {what}; use that one (versions.json in "
                "the run folder names it), or train again"
            )
        try:
            return cls.config_class(**{k: plain_value(v) for k, v in values.items()})
        except (AttributeError, TypeError) as error:
            raise InputError(f"the config does not fit {cls.name} of this version: {error}") from None

    @classmethod
    def check_size(cls, path: Path, config: Any) -> None:
        """Raise InputError if these settings ask for more parameters than a checkpoint can hold."""
        if cls.n_least(config) * torch.float32.itemsize > path.stat().st_size:
            raise InputError(
                f"{path} does not fit its own settings: they ask for at least {cls.n_least(config):,} "
                "parameters, and it is smaller; it is damaged"
            )

    def restore(self, path: Path, content: Mapping[str, Any]) -> None:
        """Take over the state in a checkpoint's content.

        Raises:
            InputError: it belongs to another family or to other settings, or is damaged.
        """
        try:
            self.load_state_dict(content["state"])
            if not is_finite(content["state"]):
                raise ValueError("its numbers are not finite")
        except (
            LookupError,
            ValueError,
            TypeError,
            RuntimeError,
            AttributeError,
            OverflowError,
            MemoryError,
        ) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"{path} does not fit {self.family.name} and its own settings ({reason}); the family is not "
                "what it was trained on, or the file is damaged"
            ) from None


def says_stop(callback: Callback | None, agent: Agent, stats: dict[str, float]) -> bool:
    """Whether a callback says that it is enough: False, whoever's; to say nothing is to go on."""
    said = None if callback is None else callback(agent, stats)
    return isinstance(said, bool | np.bool_) and not said


def _device(name: str) -> str:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"unknown device {name!r}; use cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no CUDA device here; use --device cpu")
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device {name!r} is not supported; use cpu or cuda")
    return name
