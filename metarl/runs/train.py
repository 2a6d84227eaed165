"""Training into a run folder: log, checkpoint, and stop cleanly when asked to."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from select import select

from metarl.envs import InputError
from metarl.envs.failures import load_failures, to_json
from metarl.files import write_json
from metarl.learners.agent import Agent
from metarl.runs.logs import SECONDS, STEP, make_logger, seconds_until
from metarl.runs.run_folder import FAILURES, RunFolder

SECONDS_BETWEEN_CHECKPOINTS = 30.0
STDERR = 2  # written to without Python's buffer, which a signal's handler may find half-written


@dataclass
class Stop:
    """Whether somebody pressed Ctrl-C, or a machine wants to shut down."""

    asked: bool = field(default=False)


def train(agent: Agent, folder: RunFolder, total_timesteps: int, tables: bool = False) -> bool:
    """Meta-train an agent up to a budget, keeping the run folder up to date.

    A first Ctrl-C, SIGTERM or SIGHUP ends training after the iteration in progress, with an exact checkpoint.

    Args:
        agent: new, or restored from the folder's checkpoint.
        folder: where everything goes.
        total_timesteps: environment steps in all.
        tables: print Stable-Baselines3's table after every iteration.

    Returns:
        False if it was interrupted.
    """
    with _writing_to(folder), _quiet_threads():
        return _train(agent, folder, total_timesteps, tables)


def _train(agent: Agent, folder: RunFolder, total_timesteps: int, tables: bool) -> bool:
    before = seconds_until(folder.path, agent.num_timesteps)
    logger = make_logger(folder.path, agent.num_timesteps, tables)
    begun, begun_at, saved = time.monotonic(), agent.num_timesteps, time.monotonic()
    with suppress(InputError):  # none so far, or a file that is damaged
        agent.sim.failures = load_failures(folder.path / FAILURES, agent.family)[: agent.n_failures]
    n_known = len(agent.sim.failures)

    def after_iteration(agent: Agent, stats: dict[str, float]) -> bool:
        nonlocal saved, n_known
        seconds = time.monotonic() - begun
        logger.record(STEP, agent.num_timesteps)
        logger.record("time/iterations", agent.iterations)
        logger.record(SECONDS, round(before + seconds, 3))
        logger.record("time/fps", round((agent.num_timesteps - begun_at) / seconds, 1))
        logger.record("simulation/failures", agent.n_failures)
        for key, value in stats.items():
            logger.record(key, value)
        logger.dump(agent.num_timesteps)
        if len(agent.sim.failures) > n_known:
            n_known = len(agent.sim.failures)
            write_json(folder.path / FAILURES, to_json(agent.sim.failures))
        if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
            folder.save(agent)
            saved = time.monotonic()
        return not stop.asked

    try:
        with _asked_to_stop() as stop:
            agent.learn(total_timesteps, after_iteration, progress_bar=not tables)
            folder.save(agent)
    finally:
        with suppress(OSError):
            logger.close()
    return not stop.asked


@contextmanager
def _writing_to(folder: RunFolder) -> Iterator[None]:
    """Say in one line that the disk is full, or the folder gone."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write to {folder.path}: {error.strerror or error}; once that is mended, go on from "
            f"the last checkpoint: metarl train --resume {folder.path}"
        ) from None


@contextmanager
def _quiet_threads() -> Iterator[None]:
    """No traceback of a thread that could not write: TensorBoard's raises the same at the next row."""
    before = threading.excepthook

    def hook(failed: threading.ExceptHookArgs) -> None:
        if not isinstance(failed.exc_value, OSError):
            before(failed)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


@contextmanager
def _asked_to_stop() -> Iterator[Stop]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into a wish to stop; a second one interrupts at once."""
    stop, asking = Stop(), [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup has it
        asking.append(signal.SIGHUP)

    def handle(signum: int, frame: object) -> None:
        stop.asked = True
        # Not what was there before: a shell lets its background jobs ignore Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in asking[1:]:
            signal.signal(number, signal.SIG_DFL)
        with suppress(OSError, ValueError):  # closed, full, or nobody reads: the wish is noted all the same
            if sys.__stderr__ is not None and select([], [STDERR], [], 0)[1]:
                os.write(STDERR, b"\nstopping after this iteration; Ctrl-C again to stop at once\n")

    before = {number: signal.signal(number, handle) for number in asking}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
