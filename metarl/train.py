"""Training into a run folder: log, checkpoint, and stop cleanly when asked to."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from metarl.agent import Agent
from metarl.logs import STEP, make_logger
from metarl.run_folder import RunFolder

SECONDS_BETWEEN_CHECKPOINTS = 30.0


@dataclass
class Stop:
    """Whether somebody pressed Ctrl-C."""

    asked: bool = field(default=False)


def train(agent: Agent, folder: RunFolder, total_timesteps: int, tables: bool = False) -> bool:
    """Meta-train an agent up to a budget, keeping the run folder up to date.

    A first Ctrl-C ends training after the iteration in progress; the checkpoint is then exact.

    Args:
        agent: new, or restored from the folder's checkpoint.
        folder: where everything goes.
        total_timesteps: environment steps in all.
        tables: print Stable-Baselines3's table after every iteration.

    Returns:
        False if it was interrupted.
    """
    logger = make_logger(folder.path, agent.num_timesteps, tables)
    begun, begun_at, saved = time.monotonic(), agent.num_timesteps, time.monotonic()

    def after_iteration(agent: Agent, stats: dict[str, float]) -> bool:
        nonlocal saved
        seconds = time.monotonic() - begun
        logger.record(STEP, agent.num_timesteps)
        logger.record("time/iterations", agent.iterations)
        logger.record("time/seconds", round(seconds, 3))
        logger.record("time/fps", round((agent.num_timesteps - begun_at) / seconds, 1))
        for key, value in stats.items():
            logger.record(key, value)
        logger.dump(agent.num_timesteps)
        if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
            agent.save(folder.checkpoint)
            saved = time.monotonic()
        return not stop.asked

    with _ctrl_c() as stop:
        agent.learn(total_timesteps, after_iteration, progress_bar=not tables)
        agent.save(folder.checkpoint)
    logger.close()
    return not stop.asked


@contextmanager
def _ctrl_c() -> Iterator[Stop]:
    """Turn the first Ctrl-C into a wish to stop; a second one interrupts as usual."""
    stop = Stop()

    def handle(signum: int, frame: object) -> None:
        stop.asked = True
        signal.signal(signal.SIGINT, before)
        print("\nstopping after this iteration; Ctrl-C again to stop at once", flush=True)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
