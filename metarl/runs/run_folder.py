"""The run folder: everything about a training run, and nothing that is not about it."""

import fcntl
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from metarl import __version__
from metarl.envs import InputError, TaskFamily
from metarl.envs.task import SPLITS, Split
from metarl.errors import DamagedError, plain, unknown
from metarl.files import keep, read_json, write_json
from metarl.learners import LEARNERS
from metarl.learners.agent import Agent
from metarl.learners.checkpoint import CHECKPOINT, is_whole, read_checkpoint

PACKAGES = ("torch", "numpy", "mujoco", "gymnasium", "stable-baselines3")
CONFIG, TASKS, VERSIONS = "config.json", "tasks.json", "versions.json"
FAILURES = "failures.json"  # simulations that blew up, if any did
PREVIOUS = "checkpoint.previous.pt"


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


class RunFolder:
    """A folder that holds one run: config, checkpoint, progress, tasks and versions."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    @property
    def checkpoint(self) -> Path:
        """The checkpoint's file."""
        return self.path / CHECKPOINT

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

    def clear(self, force: bool) -> None:
        """Make room for a new run: remove the one that is in the folder if forced.

        Raises:
            InputError: there is something already.
        """
        if any(self.path.iterdir()):
            try:
                self.read_config()
            except InputError:
                raise InputError(f"{self.path} holds files that are not a run; give another --out") from None
            if not force:
                raise InputError(
                    f"{self.path} already holds a run: go on with --resume {self.path}, "
                    "replace it with --force, or give another --out"
                )
            for child in self.path.iterdir():
                shutil.rmtree(child) if child.is_dir() else child.unlink()

    def save(self, agent: Agent) -> None:
        """Write the checkpoint, and keep the one before, unless that is damaged."""
        if is_whole(self.checkpoint):
            keep(self.checkpoint, self.previous)
        agent.save(self.checkpoint)

    def write_config(self, config: RunConfig) -> None:
        """Write what was asked for."""
        write_json(self.path / CONFIG, vars(config))

    def write_surroundings(self, family: TaskFamily) -> None:
        """Write the family's fixed tasks and the versions of everything that matters."""
        write_json(self.path / TASKS, {split: _fixed_tasks(family, split) for split in SPLITS})
        write_json(self.path / VERSIONS, versions())

    def read_config(self) -> RunConfig:
        """What was asked for.

        Raises:
            InputError: the folder is no run, or its config is damaged.
        """
        if not self.path.is_dir():
            raise InputError(f"no folder {self.path}; give a run folder that `metarl train` has written")
        path = self.path / CONFIG
        if not path.is_file():
            raise InputError(f"{self.path} is not a run folder: it has no {CONFIG}")
        try:
            config = RunConfig(**read_json(path))
        except TypeError as error:
            raise InputError(f"{path} is damaged: {error}") from None
        for name, kind in get_type_hints(RunConfig).items():
            if not isinstance(getattr(config, name), get_origin(kind) or kind):
                raise InputError(f"{path} is damaged: {name} is {getattr(config, name)!r}")
        if config.learner not in LEARNERS:
            raise unknown("learner", config.learner, LEARNERS)
        return config

    def load(self, device: str | None = None, n_threads: int | None = None) -> tuple[RunConfig, Agent]:
        """The config and the agent as its checkpoint left it, or the one before if that is damaged.

        Raises:
            InputError: the folder is no run, or something in it is damaged or foreign.
        """
        config = self.read_config()
        try:
            return self._load(config, self.checkpoint, device, n_threads)
        except DamagedError as error:
            if not self.previous.is_file():
                raise
            found = self._load(config, self.previous, device, n_threads)
            words = f"{error}: taking {self.previous}, of {found[1].num_timesteps} steps"
            print(plain(words), file=sys.stderr)
            return found

    def _load(
        self, config: RunConfig, path: Path, device: str | None, n_threads: int | None
    ) -> tuple[RunConfig, Agent]:
        content = read_checkpoint(path)
        kind = LEARNERS[config.learner]
        settings = kind.make_config(config.config)
        asked = config.learner, config.seed, vars(settings)
        if (content["learner"], content["seed"], content["config"]) != asked:
            raise InputError(f"{path} belongs to another run than {self.path / CONFIG}")
        kind.check_size(path, settings)
        agent = kind(
            config.family,
            settings,
            config.seed,
            config.device if device is None else device,
            config.n_threads if n_threads is None else n_threads,
        )
        agent.restore(path, content)
        return config, agent


def versions() -> dict[str, str]:
    """Of everything that numbers depend on."""
    system = {"python": platform.python_version(), "platform": platform.platform()}
    return {**system, "metarl": __version__, **{d.name: d.version for d in map(distribution, PACKAGES)}}


def _fixed_tasks(family: TaskFamily, split: Split) -> list[dict[str, Any]] | None:
    try:
        return [dict(task) for task in family.tasks(split)]
    except InputError:
        return None  # fresh draws, or no such set
