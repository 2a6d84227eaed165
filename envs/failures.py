"""Simulations that blew up: what is needed to see one do it again."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metarl.envs.batch_sim import BatchSim
from metarl.envs.family import TaskFamily
from metarl.envs.world import Failure, Step
from metarl.errors import InputError
from metarl.files import read_json


def to_json(failures: Sequence[Failure]) -> list[dict[str, Any]]:
    """Plain values, from which `load_failures` makes the same failures again."""
    return [
        {**asdict(f), "task": dict(f.task), "state": f.state.tolist(), "action": f.action.tolist()}
        for f in failures
    ]


def load_failures(path: str | Path, family: TaskFamily) -> list[Failure]:
    """The failures in a file that a training has written.

    Raises:
        InputError: the file is missing, damaged, or of another robot.
    """
    rows = read_json(Path(path))
    try:
        found = [Failure(family.task(r["task"]), r["state"], r["action"], int(r["elapsed"])) for r in rows]
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise InputError(f"{path} holds no failures of {family.name}: {error}") from None
    return found


def replay(family: TaskFamily, failure: Failure) -> Step:
    """Take the step after which a simulation was no longer usable once more, in a simulation of its own.

    Raises:
        InputError: it is of another robot.
    """
    sim = BatchSim(family, 1, 1)
    sim.set_tasks([failure.task])
    if sim.state.shape[1:] != failure.state.shape or failure.action.shape != (family.action_dim,):
        raise InputError(f"the failure is of another robot than {family.name}")
    sim.state[0] = failure.state
    sim.refresh()
    return sim.step(failure.action[None])
