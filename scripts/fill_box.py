#!/usr/bin/env -S bash -c '"${0%/*}"/environment && exec "${0%/*}"/../.venv/bin/python "$0" "$@"'
"""Fill the box of trained policies from the trainings that `scripts/results.py` has made and measured.

Of a family's and a learner's trainings the one goes in that did best on the validation tasks, with its
settings, versions, curve, what it got on the held-out tasks, and a few episodes that a test plays again.
"""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from results import Training, rows_of

from metarl.box import FOLDER, MADE
from metarl.errors import InputError
from metarl.evaluation.evaluate import evaluate
from metarl.learners import LEARNERS
from metarl.learners.agent import Agent
from metarl.runs.logs import PROGRESS, logged
from metarl.runs.run_folder import CONFIG, TASKS, VERSIONS, RunFolder, load_agent
from metarl.runs.sources import write_sources
from metarl.runs.validation import RETURN

N_TASKS = 3  # that are played again


@dataclass
class Options:
    """Where from."""

    runs: Path = Path("runs/results")
    """the run folders of `scripts/results.py`"""


def validation(run: Path) -> float:
    """What a training came to on the validation tasks."""
    (values,) = logged(run, sys.maxsize, RETURN)
    return values[-1]


def check(agent: Agent) -> list[list[float]]:
    """Returns of a few held-out tasks, one trial of each, (N_TASKS, columns)."""
    tasks, (columns, _) = agent.family.tasks("test")[:N_TASKS], agent.evaluation_size
    return evaluate(agent, agent.family, tasks, columns, 1).returns


def write_short(path: Path, value: Any) -> None:
    """Write plain values as JSON on one line: the box has to stay small."""
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n")


def put(training: Training, runs: Path) -> None:
    """Put the policy of a training into the box."""
    run, into = runs / training.name, FOLDER / f"{training.family}-{training.learner}"
    agent = RunFolder(run).load("cpu")[1]
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    for name in (CONFIG, VERSIONS):
        shutil.copy(run / name, into / name)
    write_short(into / TASKS, json.loads((run / TASKS).read_text()))
    write_sources(into, agent.family)
    shutil.copy(training.record.with_suffix(".csv"), into / PROGRESS)
    boxed = RunFolder(into)
    agent.save(boxed.checkpoint, acts_only=True)
    made = json.loads(training.record.read_text())
    write_short(into / MADE, {**made, "check": check(load_agent(into, 0)[0])})
    print(f"{training.name}: {sum(path.stat().st_size for path in into.iterdir()):,} bytes")


def main(argv: Sequence[str] | None = None) -> int:
    """Fill the box; returns the exit status."""
    options = tyro.cli(Options, args=argv, description=__doc__)
    status = 0
    for learner in LEARNERS:
        for row in rows_of(learner):
            there = [training for training in row.trainings if (options.runs / training.name).is_dir()]
            if there:
                best = max(there, key=lambda training: validation(options.runs / training.name))
                try:
                    put(best, options.runs)
                except InputError as error:
                    print(f"{best.name} is left out: {error}", file=sys.stderr)
                    status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
