"""List what has been trained."""

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.box import SIMPLE_HEAD
from rich.table import Table

from metarl.box import unboxed
from metarl.cli.words import Command, say, show
from metarl.envs import FAMILIES
from metarl.errors import InputError, plain
from metarl.learners import LEARNERS
from metarl.runs.logs import LONGEST, SECONDS, STEP, logged
from metarl.runs.run_folder import CONFIG, RunConfig, RunFolder
from metarl.runs.validation import RETURN, SCORE, is_there

DEEPEST = 4  # folders below the given one
COLUMNS: dict[str, Literal["left", "right"]] = {  # and how each is set
    "run": "left",
    "family": "left",
    "learner": "left",
    "seed": "right",
    "steps": "right",
    "": "right",
    "validation": "right",
    "score": "right",
    "min": "right",
    "now": "left",
    "settings": "left",
}


@dataclass
class Runs(Command):
    """`metarl runs`."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")] = Path("runs")
    """where to look, also in the folders below"""

    def run(self) -> int:
        """List them."""
        folder = unboxed(self.folder)
        if not folder.is_dir():
            what = f"{folder} is a file" if folder.is_file() else f"no folder {folder}"
            raise InputError(f"{what}; give one that holds runs (metarl train makes runs/...)")
        table, left_out = table_of(find_runs(folder))
        for line in left_out:
            say(line)
        if not table.row_count:
            raise InputError(f"no run in {folder}; metarl train makes one")
        show(table)
        return 0


def table_of(paths: Iterable[Path]) -> tuple[Table, list[str]]:
    """A row for each run, and a line on each that is left out."""
    table, left_out = Table(box=SIMPLE_HEAD), []
    for name, side in COLUMNS.items():
        table.add_column(name, justify=side, no_wrap=True)
    for path in paths:
        try:
            table.add_row(*map(plain, _row(path)))
        except InputError as error:
            left_out.append(f"{path} is left out: {error}")
    return table, left_out


def find_runs(folder: Path) -> Iterator[Path]:
    """Run folders in a folder, it being one itself or not, in the order of their names."""
    for where, inner, files in os.walk(folder):
        inner.sort()
        if CONFIG in files:
            yield Path(where)
        if CONFIG in files or len(Path(where).relative_to(folder).parts) >= DEEPEST:
            inner.clear()


def _row(path: Path) -> list[str]:
    asked = RunFolder(path).read_config()
    logs = logged(path, sys.maxsize, STEP, SECONDS, RETURN, SCORE, LONGEST)
    steps, seconds, value, score, longest = (column[-1] if column else None for column in logs)
    share = (steps or 0) / asked.steps
    if longest is None:  # a run of an earlier version
        longest = max((b - a for a, b in pairwise([0.0, *logs[0]])), default=0.0)
    enough = (steps or 0) + longest > asked.steps
    state = "done" if enough or is_there(asked.target, logs[2]) else "stopped"
    return [
        str(path),
        asked.family,
        asked.learner,
        str(asked.seed),
        f"{(steps or 0) / 1e6:.2f} M",
        f"{100 * share:.0f} %",
        "" if value is None else f"{value:.1f}",
        "" if score is None else f"{score:.2f}",
        f"{(seconds or 0) / 60:.1f}",
        "training" if RunFolder(path).in_training else state,
        ", ".join(_unusual(asked)),
    ]


def _unusual(asked: RunConfig) -> list[str]:
    """Settings that are not what a training without flags takes."""
    kind = LEARNERS[asked.learner]
    family = FAMILIES.get(asked.family)
    usual, own = kind.usual(family())[1] if family else kind.config_class(), kind.make_config(asked.config)
    return [f"{name} {value}" for name, value in vars(own).items() if value != getattr(usual, name)]
