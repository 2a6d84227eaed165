"""Many trainings side by side on one machine, each a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from metarl.errors import InputError
from metarl.runs.helpers import OWN_GROUP, WATCHES
from metarl.runs.logs import STEP, logged
from metarl.runs.run_folder import RunFolder
from metarl.runs.train import asked_to_stop

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_COUNTS = 5.0  # of the steps that are done, for which logs have to be read


@dataclass(frozen=True)
class Training:
    """One training of a sweep.

    Attributes:
        path: its run folder.
        new: words of `metarl train` that begin it.
        resumed: words that go on with it.
    """

    path: Path
    new: tuple[str, ...]
    resumed: tuple[str, ...]

    def words(self) -> list[str]:
        """What has to be typed now: it begins, or goes on where it was interrupted."""
        try:
            RunFolder(self.path).read_config()
        except InputError:
            return ["train", *self.new]
        return ["train", *self.resumed]

    def done(self) -> int:
        """Environment steps that are logged."""
        (steps,) = logged(self.path, sys.maxsize, STEP)
        return int(steps[-1]) if steps else 0


@dataclass(frozen=True)
class Outcome:
    """How a training of a sweep has ended.

    Attributes:
        training: which one.
        status: its exit status.
        said: its last line of errors, where there is one.
    """

    training: Training
    status: int
    said: str


def side_by_side(
    trainings: Sequence[Training], n: int, shown: Callable[[Sequence[Outcome]], None]
) -> tuple[list[Outcome], bool]:
    """Train n at a time, each with one thread, until all have ended.

    A first Ctrl-C, SIGTERM or SIGHUP is handed on to those in training, which save, and no other begins.

    Args:
        trainings: all of them.
        n: processes.
        shown: is told now and then how those have ended that have.

    Returns:
        How they have ended, and whether they were interrupted.
    """
    waiting, told, due = list(trainings), False, 0.0
    running: list[_Running] = []
    ended: list[Outcome] = []
    with asked_to_stop() as stop:
        try:
            while running or (waiting and not stop.asked):
                while waiting and len(running) < n and not stop.asked:
                    running.append(_Running(waiting.pop(0)))
                if stop.asked and not told:
                    told = True
                    for one in running:
                        one.process.terminate()
                now = [one.outcome() for one in running if one.process.poll() is not None]
                running = [one for one in running if one.process.poll() is None]
                ended += now
                if now or time.monotonic() > due:
                    shown(ended)
                    due = time.monotonic() + SECONDS_BETWEEN_COUNTS
                time.sleep(SECONDS_BETWEEN_LOOKS)
        finally:
            for one in running:
                one.process.kill()
                one.process.wait()
    return ended, stop.asked


class _Running:
    """A training that is at work."""

    def __init__(self, training: Training):
        self.training = training
        self._said = TemporaryFile()  # noqa: SIM115 - closed when it has been read
        command = [sys.executable, "-m", "metarl", *training.words()]
        env = {**os.environ, "OMP_NUM_THREADS": "1", WATCHES: "1"}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            env=env,
            **OWN_GROUP,
        )

    def outcome(self) -> Outcome:
        """How it has ended."""
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        self._said.close()
        if self.process.stdin is not None:
            self.process.stdin.close()
        return Outcome(self.training, self.process.returncode, lines[-1] if lines else "")
