"""Training into a run folder: log, checkpoint, and stop cleanly when asked to."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from select import select

from metarl import ranks
from metarl.envs import InputError
from metarl.envs.failures import load_failures, to_json
from metarl.errors import LostError
from metarl.files import typed, write_json
from metarl.learners.agent import TEACHER, Agent, Callback, says_stop
from metarl.ranges import whole
from metarl.runs.logs import LONGEST, SECONDS, STEP, logged, make_logger
from metarl.runs.run_folder import FAILURES, RunConfig, RunFolder
from metarl.runs.sources import changed_at
from metarl.runs.validation import RETURN, judge

SECONDS_BETWEEN_CHECKPOINTS = 30.0
N_JUDGEMENTS = 5  # of a training, unless somebody asks for others
STDERR = 2  # written to without Python's buffer, which a signal's handler may find half-written


@dataclass
class Stop:
    """Whether somebody pressed Ctrl-C, or a machine wants to shut down."""

    asked: bool = field(default=False)


def train(
    agent: Agent,
    out: str | Path,
    total_timesteps: int,
    callback: Callback | None = None,
    eval_every: float | None = None,
    target: float | None = None,
    force: bool = False,
) -> bool:
    """Meta-train a new agent in a new run folder, as `metarl train` does.

    In a program that torchrun has started many times, all of them train together, and process 0 writes.

    Args:
        agent: to be trained.
        out: the folder to make.
        total_timesteps: environment steps in all.
        callback: as in `Agent.learn`.
        eval_every: environment steps between two judgements; None for a fifth of the budget.
        target: end when the return on the validation tasks gets there.
        force: replace the run that is in the folder.

    Returns:
        False if it was interrupted.

    Raises:
        InputError: the budget is none, nobody judges so often or has such a target, or there is something in
            the folder already.
    """
    total_timesteps = whole("total_timesteps", total_timesteps)
    agent.check_budget(total_timesteps)
    folder, asked = RunFolder(out), RunConfig.of(agent, total_timesteps, eval_every, target)
    with ranks.invited():
        agent.check_processes(ranks.count())
        if ranks.rank():
            return follow(agent, total_timesteps)
        with resumable(folder), folder.made(lambda new: new.begin(asked, agent), force):
            return go_on(agent, folder, total_timesteps, False, eval_every, target, callback)


def follow(agent: Agent, total_timesteps: int) -> bool:
    """Train in another process than the first one, which calls `go_on` meanwhile; False if interrupted."""
    with asked_to_stop() as stop:
        agent.learn(total_timesteps, lambda *_: not stop.asked)
        return not ranks.any_of(stop.asked)


def go_on(
    agent: Agent,
    folder: RunFolder,
    total_timesteps: int,
    tables: bool = False,
    eval_every: float | None = None,
    target: float | None = None,
    callback: Callback | None = None,
) -> bool:
    """Meta-train an agent up to a budget, keeping the run folder up to date.

    Now and then the agent is judged on the family's validation tasks, and the best so far is kept in the file
    `best.pt` beside the checkpoint. That changes nothing in its training.

    A first Ctrl-C, SIGTERM or SIGHUP ends training after the iteration in progress, with an exact checkpoint.

    Args:
        agent: new, or restored from the folder's checkpoint.
        folder: where everything goes.
        total_timesteps: environment steps in all.
        tables: print Stable-Baselines3's table after every iteration.
        eval_every: environment steps between two judgements; None for a fifth of the budget.
        target: end when the return on the validation tasks gets there.
        callback: as in `Agent.learn`.

    Returns:
        False if it was interrupted.
    """
    with _writing_to(folder), _quiet_threads():
        every = eval_every or max(1, total_timesteps / N_JUDGEMENTS)
        return _train(agent, folder, total_timesteps, tables, every, target, callback)


def _train(
    agent: Agent,
    folder: RunFolder,
    total_timesteps: int,
    tables: bool,
    every: float,
    target: float | None,
    callback: Callback | None,
) -> bool:
    (seconds,) = logged(folder.path, agent.num_timesteps, SECONDS)
    before, best = max(seconds, default=0.0), _best_so_far(agent, folder)
    judged = agent.num_timesteps // every  # how often it should have been
    logger = make_logger(folder.path, agent.num_timesteps, tables)
    begun, begun_at, saved = time.monotonic(), agent.num_timesteps, time.monotonic()
    with suppress(InputError):  # none so far, or a file that is damaged
        agent.sim.failures = load_failures(folder.path / FAILURES, agent.family)[: agent.n_failures]
    n_known = len(agent.sim.failures)

    def after_iteration(agent: Agent, stats: dict[str, float]) -> bool:
        nonlocal saved, n_known, best, judged
        reached = False
        last = not agent.fits(total_timesteps)
        own = TEACHER not in stats  # nobody judges a pupil that its teacher's training has not touched
        if own and (agent.num_timesteps // every > judged or last):
            judged, found = agent.num_timesteps // every, judge(agent)
            stats = {**stats, **found.to_log()}
            agent.note = f"validation {f'{found.mean:.1f}' if not found.failures else 'blew up'}"
            reached = target is not None and found.mean >= target and not found.failures
            if found.mean > best and not found.failures:
                best = found.mean
                agent.save(folder.best)
        seconds = time.monotonic() - begun
        logger.record(STEP, agent.num_timesteps)
        logger.record("time/iterations", agent.iterations)
        logger.record(SECONDS, round(before + seconds, 3))
        logger.record("time/fps", round((agent.num_timesteps - begun_at) / seconds, 1))
        logger.record("simulation/failures", agent.n_failures)
        logger.record(LONGEST, agent.steps_per_iteration)
        if ranks.count() > 1:
            logger.record("time/averages", round(ranks.waited(), 3))
        for key, value in stats.items():
            logger.record(key, value)
        logger.dump(agent.num_timesteps)
        if len(agent.sim.failures) > n_known:
            n_known = len(agent.sim.failures)
            write_json(folder.path / FAILURES, to_json(agent.sim.failures))
        if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
            folder.save(agent)
            saved = time.monotonic()
        return not (stop.asked or reached or says_stop(callback, agent, stats))

    try:
        with asked_to_stop() as stop:
            agent.learn(total_timesteps, after_iteration, progress_bar=not tables)
            folder.save(agent)
            return not (ranks.any_of(stop.asked) and agent.fits(total_timesteps))
    finally:
        with suppress(OSError):
            logger.close()


def _best_so_far(agent: Agent, folder: RunFolder) -> float:
    """The return of the best agent that was kept; where the log has lost it, it is judged once more."""
    changed = changed_at(folder.path)
    (returns,) = logged(folder.path, agent.num_timesteps, RETURN, since=changed)
    if returns or changed or not folder.best.is_file():
        return max(returns, default=-inf)
    try:
        kept = type(agent).load(folder.best, agent.device, agent.n_threads, agent.family)
    except InputError:  # damaged
        return -inf
    return judge(kept).mean


@contextmanager
def _writing_to(folder: RunFolder) -> Iterator[None]:
    """Say in one line that the disk is full, or the folder gone."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write to {folder.path}: {error.strerror or error}; once that is mended, go on from "
            f"the last checkpoint: metarl train --resume {typed(folder.path)}"
        ) from None


@contextmanager
def resumable(folder: RunFolder) -> Iterator[None]:
    """Where another process is lost, say how to go on."""
    try:
        yield
    except LostError as error:
        raise LostError(
            f"{error}; go on from the last checkpoint: metarl train --resume {typed(folder.path)}"
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
def asked_to_stop() -> Iterator[Stop]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into a wish to stop; a second one interrupts at once.

    Only the main thread can be asked so.
    """
    stop, asking = Stop(), [signal.SIGINT, signal.SIGTERM]
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup has it
        asking.append(signal.SIGHUP)

    def handle(signum: int, frame: object) -> None:
        stop.asked = True
        # Not what was there before: a shell lets its background jobs ignore Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in asking[1:]:
            signal.signal(number, signal.SIG_DFL)
        with suppress(OSError, ValueError):  # closed, full, or nobody reads: the wish is noted all the same
            if ranks.rank() == 0 and sys.__stderr__ is not None and select([], [STDERR], [], 0)[1]:
                os.write(STDERR, b"\nstopping after this iteration; Ctrl-C again to stop at once\n")

    before = {number: signal.signal(number, handle) for number in asking}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
