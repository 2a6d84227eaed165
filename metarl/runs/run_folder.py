"""The run folder: everything about a training run, and nothing that is not about it."""

import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, fields
from math import isfinite
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from metarl.box import unboxed
from metarl.envs import InputError, TaskFamily
from metarl.envs.catalogue import load_recorded
from metarl.envs.simulate import MUJOCO, PHYSICS
from metarl.envs.task import SPLITS, Split
from metarl.errors import DamagedError, plain, unknown
from metarl.files import UNFINISHED, keep, read_json, remove, swap, sweep, typed, unfinished, write_json
from metarl.learners import LEARNERS
from metarl.learners.agent import Agent, Family
from metarl.learners.checkpoint import CHECKPOINT, is_whole, read_checkpoint
from metarl.runs.sources import COPIES, SOURCES, changes, write_sources
from metarl.versions import versions

CONFIG, TASKS, VERSIONS = "config.json", "tasks.json", "versions.json"
FAILURES = "failures.json"  # simulations that blew up, if any did
PREVIOUS = "checkpoint.previous.pt"
BEST = "best.pt"
BEGINNING = CONFIG, TASKS, VERSIONS, SOURCES, COPIES  # what is there before the first checkpoint is


@dataclass(frozen=True)
class RunConfig:
    """What was asked for, complete; `config.json` holds it."""

    family: str
    learner: str
    steps: int
    seed: int
    device: str
    n_threads: int
    config: dict[str, Any]
    physics: str = MUJOCO  # not in folders of before there was another
    eval_every: float | None = None  # nor these
    target: float | None = None

    @classmethod
    def of(
        cls, agent: Agent, steps: int, eval_every: float | None = None, target: float | None = None
    ) -> "RunConfig":
        """What has to be asked for to get this agent, and to train it for so many environment steps.

        Raises:
            InputError: nobody judges so often, or has such a target.
        """
        check_judging(eval_every, target)
        settings = asdict(agent.config)
        return cls(
            agent.family_name,
            agent.name,
            steps,
            agent.seed,
            agent.device,
            agent.n_threads,
            settings,
            agent.physics,
            *(None if number is None else float(number) for number in (eval_every, target)),
        )


def check_judging(eval_every: float | None, target: float | None) -> None:
    """Raise InputError unless a training can be judged so often, and reach such a return."""
    if eval_every is not None and not 0 < eval_every < sys.maxsize:
        raise InputError(f"nobody is judged every {eval_every:g} steps; give e.g. 5e5")
    if target is not None and not isfinite(target):
        raise InputError(f"a target of {target} is no return; give e.g. -40")


class RunFolder:
    """A folder that holds one run: config, checkpoint, progress, tasks, sources and versions.

    Attributes:
        path: as it was given.
        changed: how the family that was loaded differs from the one that the run was trained on, in words;
            None as long as that is not known.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.changed: list[str] | None = None

    @property
    def checkpoint(self) -> Path:
        """The checkpoint's file."""
        return self.path / CHECKPOINT

    @property
    def best(self) -> Path:
        """The file of the agent that did best on the validation tasks."""
        return self.path / BEST

    @property
    def previous(self) -> Path:
        """The file of the checkpoint before the last one."""
        return self.path / PREVIOUS

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other trainings out of the folder, which is made if it is not there.

        Raises:
            InputError: another training is at work in it, or there can be no such folder.
        """
        if self.path.is_file():
            raise InputError(f"{self.path} is a file; give another --out")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise InputError(f"cannot make {self.path}: {error.strerror}; give another --out") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # gone with the process, however it ends
            yield
        except BlockingIOError:
            raise InputError(
                f"another training is at work in {self.path}; wait, or give another --out"
            ) from None
        finally:
            os.close(descriptor)

    @property
    def in_training(self) -> bool:
        """Whether a training is at work in the folder."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    @contextmanager
    def made(self, begin: Callable[["RunFolder"], None], force: bool) -> Iterator[None]:
        """Begin a new run in the folder, and keep other trainings out of it.

        Args:
            begin: writes the run's beginning into the folder that it is given, which takes the place of an
                old run once it is whole.
            force: replace the run that is in the folder.

        Raises:
            InputError: there is something already.
        """
        with self.locked():
            if self._has_room(force):
                for child in self.path.iterdir():
                    remove(child)
                begin(self)
                yield
                return
            place = self.path.absolute()
            sweep(place.parent, place.name)
            new = RunFolder(unfinished(place))
            with new.locked():
                try:
                    begin(new)
                    swap(new.path, self.path)
                except OSError as error:
                    raise InputError(
                        f"cannot replace {self.path}: {error.strerror or error}; remove it yourself, or give "
                        "another --out"
                    ) from None
                finally:
                    remove(new.path)  # which is the old one now, or never got its place
                yield

    def _has_room(self, force: bool) -> bool:
        """Whether there is nothing of worth; else there is a run, which may be replaced.

        Raises:
            InputError: it may not.
        """
        sweep(self.path)
        if not any(self.path.iterdir()) or self.unbegun:
            return True
        try:
            self.read_config()
        except InputError:
            raise InputError(f"{self.path} holds files that are not a run; give another --out") from None
        if not force:
            raise InputError(
                f"{self.path} already holds a run: go on with --resume {typed(self.path)}, "
                "replace it with --force, or give another --out"
            )
        if self.path.is_symlink() or Path.cwd().is_relative_to(self.path.resolve()):
            where = "a link" if self.path.is_symlink() else "where you are"
            raise InputError(
                f"{self.path} is {where}, which --force does not replace; give its own path from elsewhere, "
                "or another --out"
            )
        return False

    @property
    def unbegun(self) -> bool:
        """Whether a run was asked for in the folder, and stopped before its first checkpoint."""
        for child in self.path.iterdir():
            ours = child.name in BEGINNING or (child.name.startswith(".") and UNFINISHED in child.name)
            if child.is_symlink() or not ours:
                return False
        try:
            return bool(self.read_config())
        except InputError:
            return False

    def begin(self, config: RunConfig, agent: Agent) -> None:
        """Write what a run begins with, its checkpoint last."""
        self.write_config(config)
        write_json(self.path / TASKS, {split: _fixed_tasks(agent.family, split) for split in SPLITS})
        write_json(self.path / VERSIONS, versions())
        write_sources(self.path, agent.family)
        agent.save(self.checkpoint)

    def save(self, agent: Agent) -> None:
        """Write the checkpoint, and keep the one before, unless that is damaged."""
        if is_whole(self.checkpoint):
            keep(self.checkpoint, self.previous)
        agent.save(self.checkpoint)

    def write_config(self, config: RunConfig) -> None:
        """Write what was asked for."""
        write_json(self.path / CONFIG, vars(config))

    def read_config(self) -> RunConfig:
        """What was asked for.

        Raises:
            InputError: the folder is no run, or its config is damaged.
        """
        if not self.path.is_dir():
            what = f"{self.path} is a file" if self.path.is_file() else f"no folder {self.path}"
            raise InputError(f"{what}; give a run folder that `metarl train` has written")
        path = self.path / CONFIG
        if not path.is_file():
            raise InputError(f"{self.path} is not a run folder: it has no {CONFIG}")
        try:
            config = _asked_in(path)
        except DamagedError as error:
            raise InputError(f"{error}; put a copy back, or evaluate {self.checkpoint} itself") from None
        if config.learner not in LEARNERS:
            raise unknown("learner", config.learner, LEARNERS)
        if config.physics not in PHYSICS:
            raise unknown("physics", config.physics, PHYSICS)
        return config

    def load(
        self, device: str | None = None, n_threads: int | None = None, family: Family | None = None
    ) -> tuple[RunConfig, Agent]:
        """The config and the agent as its checkpoint left it, or the one before if that is damaged.

        If the family has changed since training, that is said on stderr.

        Args:
            device: where the learner computes; None takes the run's own.
            n_threads: physics threads; None takes the run's own.
            family: that the user has named; None takes the run's own, if it is no code that is not trusted.

        Raises:
            InputError: the folder is no run, or holds something damaged, foreign or not trusted.
        """
        config = self.read_config()
        if self.unbegun:
            raise InputError(
                f"{self.path} has not been trained yet; begin with metarl train --resume {typed(self.path)}"
            )
        try:
            found = self._load(config, self.checkpoint, device, n_threads, family)
        except DamagedError as error:
            if not self.previous.is_file():
                raise
            found = self._load(config, self.previous, device, n_threads, family)
            words = f"{error}: taking {self.previous}, of {found[1].num_timesteps} steps"
            print(plain(words), file=sys.stderr)
        self.compare(found[1].family)
        return found

    def _load(
        self, config: RunConfig, path: Path, device: str | None, n_threads: int | None, family: Family | None
    ) -> tuple[RunConfig, Agent]:
        content = read_checkpoint(path)
        kind = LEARNERS[config.learner]
        of_this = (content["learner"], content["seed"]) == (config.learner, config.seed)
        if not of_this or kind.make_config(content["config"]) != self._settings(config):
            raise InputError(
                f"{path} belongs to another run than {self.path / CONFIG}; put back the one that belongs to "
                f"it, or evaluate {path} itself"
            )
        if content["family"] != config.family and family is None:
            raise InputError(
                f"{path} was trained on {content['family']}, not on {config.family} as {CONFIG} says; name "
                "the one to take with --family"
            )
        device = config.device if device is None else device
        n_threads = config.n_threads if n_threads is None else n_threads
        agent = kind.from_checkpoint(path, content, device, n_threads, family, self.path)
        agent.physics = config.physics
        return config, agent

    def load_unbegun(
        self, device: str | None = None, n_threads: int | None = None, family: Family | None = None
    ) -> tuple[RunConfig, Agent]:
        """The config and a new agent, of a run that has no checkpoint yet (see `load`)."""
        config = self.read_config()
        kind = LEARNERS[config.learner]
        agent = kind(
            load_recorded(config.family, self.path) if family is None else family,
            self._settings(config),
            config.seed,
            config.device if device is None else device,
            config.n_threads if n_threads is None else n_threads,
            config.physics,
        )
        if not isinstance(family, str):
            agent.family_name = config.family
        return config, agent

    def _settings(self, config: RunConfig) -> Any:
        """Of the learner; InputError if they are none."""
        try:
            return LEARNERS[config.learner].make_config(config.config)
        except InputError as error:
            raise InputError(f"{self.path / CONFIG}: {error}") from None

    def compare(self, family: TaskFamily) -> None:
        """Find out, and say on stderr, how a family differs from the one that the run was trained on."""
        try:
            self.changed = changes(self.path, family)
        except DamagedError as error:
            print(error, file=sys.stderr)
        if self.changed:
            print(plain(f"{self.path}: {in_words(self.changed)}"), file=sys.stderr)


def _asked_in(path: Path) -> RunConfig:
    """What was asked for, as a file holds it, but for names that may be unknown.

    Raises:
        DamagedError: it does not hold that.
        InputError: it is of another version of metarl.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise DamagedError(f"{path} is damaged: it holds no settings")
    more = sorted(set(content) - {field.name for field in fields(RunConfig)})
    if more:
        raise InputError(
            f"{path} is of another version of metarl, with {', '.join(more)}; use that one ({VERSIONS} "
            "beside it names it)"
        )
    less = [one.name for one in fields(RunConfig) if one.default is MISSING and one.name not in content]
    if less:
        raise DamagedError(f"{path} is damaged: it has no {', '.join(less)}")
    config = RunConfig(**content)
    for name, kind in get_type_hints(RunConfig).items():
        if not isinstance(getattr(config, name), dict if get_origin(kind) is dict else kind):
            raise DamagedError(f"{path} is damaged: {name} is {getattr(config, name)!r}")
    if not 0 < config.steps < sys.maxsize:
        raise DamagedError(f"{path} is damaged: nobody asks for so many steps")
    try:
        check_judging(config.eval_every, config.target)
    except InputError as error:
        raise DamagedError(f"{path} is damaged: {error}") from None
    return config


def load_agent(path: Path, n_threads: int, family: Family | None = None) -> tuple[Agent, list[str] | None]:
    """The agent of a run, or in a file that one was saved in, and how its family has changed since training.

    Args:
        path: the run folder, or the file, which may lie in it; or a policy of the box, as "box:AntDir".
        n_threads: physics threads.
        family: as in `RunFolder.load`.

    Returns:
        The agent, which computes on the CPU, and `RunFolder.changed`.

    Raises:
        InputError: there is neither, or it is damaged, foreign or not trusted.
    """
    path = unboxed(path)
    if not path.is_file():
        folder = RunFolder(path)
        return folder.load("cpu", n_threads, family)[1], folder.changed
    name = read_checkpoint(path)["learner"]
    if name not in LEARNERS:
        raise unknown("learner", name, LEARNERS)
    agent, folder = LEARNERS[name].load(path, "cpu", n_threads, family), RunFolder(path.parent)
    folder.compare(agent.family)
    return agent, folder.changed


def in_words(changed: list[str]) -> str:
    """What it means that a family has changed."""
    return f"changed since training: {', '.join(changed)}; numbers may be of another world than was learned"


def _fixed_tasks(family: TaskFamily, split: Split) -> list[dict[str, Any]] | None:
    try:
        return [dict(task) for task in family.tasks(split)]
    except InputError:
        return None  # fresh draws, or no such set
