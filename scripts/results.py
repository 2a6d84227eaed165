#!/usr/bin/env -S bash -c '"${0%/*}"/environment && exec "${0%/*}"/../.venv/bin/python "$0" "$@"'
"""Train with defaults only, evaluate on held-out tasks, keep what was measured, and write the tables.

A training that was stopped goes on; one whose settings are no longer the defaults is made again. What was
measured lies in `docs/results/measured`, a record and a curve a training, from which the tables of the README
and of `docs/results.md` are written.
"""

import csv
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import tyro

from metarl.envs import FAMILIES, Task, load_family
from metarl.errors import InputError, unknown
from metarl.evaluation.references import references_on
from metarl.evaluation.statistics import stratified_bootstrap
from metarl.files import write_json
from metarl.learners import LEARNERS
from metarl.learners.adapter import EPISODES
from metarl.runs.logs import PROGRESS, SECONDS, STEP, read_rows
from metarl.runs.run_folder import CONFIG, VERSIONS
from metarl.runs.validation import RETURN

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "docs" / "results" / "measured"
CURVE_ROWS = 150
COST, ORACLE = "minutes, cores", "oracle, a step"
KEPT = ("tasks", "column", "episodes_used", "returns", "success", "error")  # of an evaluation
MARK = re.compile(r"(<!-- (\w+) of scripts/results.py -->\n).*?(<!-- end -->)", re.DOTALL)


@dataclass
class Options:
    """What to measure."""

    families: tyro.conf.Positional[tuple[str, ...]] = tuple(FAMILIES)
    """of the catalogue"""
    learner: tuple[str, ...] = ("meta-lstm", "maml")
    """which ones"""
    seeds: tuple[int, ...] = (0, 1, 2)
    """of training"""
    jobs: int = 1
    """trainings side by side, which share the cores among them"""
    runs: Path = Path("runs/results")
    """where the run folders are"""
    write_only: bool = False
    """train nothing: write the tables from what has been measured"""


@dataclass(frozen=True)
class Training:
    """One training of the table, by its name."""

    family: str
    learner: str
    seed: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.family}-{self.learner}-{self.seed}"

    @property
    def record(self) -> Path:
        """The file of what was measured."""
        return MEASURED / f"{self.name}.json"

    @property
    def command(self) -> list[str]:
        """What a user types for it."""
        flags = ["--learner", self.learner] if self.learner != "maml" else []
        return ["metarl", "train", self.family, *flags, "--seed", str(self.seed)]

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """Steps and settings of a training without flags, as JSON has them."""
        return _plain(*LEARNERS[self.learner].usual(load_family(self.family)))

    def is_done(self) -> bool:
        """Whether it was measured with what are the defaults today."""
        return self.record.is_file() and self.is_default(json.loads(self.record.read_text()))

    def is_default(self, found: dict[str, Any]) -> bool:
        """Whether a record, or what a run folder was asked for, has today's steps and settings."""
        config = LEARNERS[self.learner].make_config(found["config"])
        return _plain(found["steps"], config) == self.defaults

    def measure(self, runs: Path, cores: set[int]) -> None:
        """Train on some of the cores, or go on, evaluate, and keep the record and the curve."""
        folder = runs / self.name
        command = [*self.command, "--out", str(folder)]
        resumed = False
        if (folder / CONFIG).is_file():
            resumed = self.is_default(json.loads((folder / CONFIG).read_text()))
            if resumed:
                command = ["metarl", "train", "--resume", str(folder)]
            else:
                command.append("--force")
        busy = run(command, cores)
        evaluation = folder / "evaluation.json"
        run(["metarl", "evaluate", str(folder), "--json", str(evaluation)], cores)
        rows, _ = read_rows(folder / PROGRESS)
        seconds = float(rows[-1][SECONDS])
        if len(cores) == 1 and not resumed:
            seconds = min(seconds, busy)  # what else ran on that core is not the training's
        found, asked = (json.loads(path.read_text()) for path in (evaluation, folder / CONFIG))
        MEASURED.mkdir(exist_ok=True)
        self._write_curve(rows)
        write_json(
            self.record,
            {
                "command": " ".join(self.command),
                "steps": asked["steps"],
                "config": asked["config"],
                "frames": int(float(rows[-1][STEP])),
                "seconds": seconds,
                "cores": len(cores),
                "machine": machine(),
                "versions": json.loads((folder / VERSIONS).read_text()),
                "evaluation": {k: found[k] for k in KEPT},
            },
        )

    def _write_curve(self, rows: list[dict[str, str]]) -> None:
        every, last = max(1, len(rows) // CURVE_ROWS), len(rows) - 1
        kept = [row for i, row in enumerate(rows) if i % every == 0 or row.get(RETURN) or i == last]
        columns = [key for key in rows[0] if any(row[key] for row in rows)]
        with self.record.with_suffix(".csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows({key: rounded(row[key]) for key in columns} for row in kept)


def rounded(number: str) -> str:
    """A number of a curve with as many digits as anybody looks at; nothing stays nothing."""
    return number and f"{float(number):.7g}"


def run(command: Sequence[str], cores: set[int]) -> float:
    """Run a command of metarl on these cores; of its words only those of a failure are heard.

    Returns:
        The seconds for which it kept processors busy.

    Raises:
        InputError: it failed.
    """
    with tempfile.TemporaryFile("w+") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=subprocess.DEVNULL,
            stderr=words,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        words.seek(0)
        if process.returncode:
            raise InputError(f"{' '.join(command)}: {words.read().strip().splitlines()[-1]}")
    return used.ru_utime + used.ru_stime


def processor() -> str:
    """Its name."""
    models = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return models[0] if models else "unknown processor"


def machine() -> str:
    """The processor and its cores, in words."""
    return f"{processor()}, {os.cpu_count()} cores"


def measure(options: Options) -> bool:
    """Make the trainings that are missing, a few side by side, each on its share of the cores.

    Returns:
        Whether all could be made.
    """
    todo = [
        Training(family, learner, seed)
        for seed in options.seeds
        for learner in options.learner
        for family in options.families
    ]
    cores = sorted(os.sched_getaffinity(0))
    if not 1 <= options.jobs <= len(cores):
        raise InputError(f"--jobs {options.jobs}: use 1 to {len(cores)}, a core or more for each")
    shares: SimpleQueue[set[int]] = SimpleQueue()
    for k in range(options.jobs):
        shares.put(set(cores[k :: options.jobs]))

    def one(training: Training) -> bool:
        share = shares.get()
        try:
            training.measure(options.runs, share)
            print(f"{training.name}: measured", flush=True)
            return True
        except InputError as error:
            print(error, file=sys.stderr, flush=True)
            return False
        finally:
            shares.put(share)

    with ThreadPoolExecutor(options.jobs) as pool:
        return all(list(pool.map(one, [training for training in todo if not training.is_done()])))


def _plain(steps: int, config: Any) -> dict[str, Any]:
    """Steps and settings as JSON has them."""
    return json.loads(json.dumps({"steps": steps, "config": asdict(config)}))


class Measured:
    """What the trainings of a learner on a family found, one seed or several.

    Attributes:
        trainings: one a seed.
        records: of all.
        returns: (trainings, tasks, columns).
    """

    def __init__(self, trainings: Sequence[Training]):
        self.trainings, (self.training, *_) = trainings, trainings
        self.records = [json.loads(training.record.read_text()) for training in trainings]
        self.evaluations = [record["evaluation"] for record in self.records]
        self.returns = np.array([found["returns"] for found in self.evaluations])
        tasks = [Task(values) for values in self.evaluations[0]["tasks"]]
        self.references = references_on(load_family(self.training.family), tasks)

    @property
    def family(self) -> str:
        """Its name, and whether the family would be trained otherwise today."""
        same = all(map(self.training.is_default, self.records))
        return self.training.family + ("" if same else " (by an earlier recipe)")

    @property
    def columns(self) -> list[int]:
        """Which are shown: before adaptation and after three steps, or the first and the last episode."""
        n = self.returns.shape[2]
        return [0, n - 1] if self.evaluations[0]["column"] == EPISODES else list(range(min(n, 4)))

    @cached_property
    def intervals(self) -> np.ndarray:
        """Of the mean, (2, columns)."""
        return stratified_bootstrap(self.returns, lambda drawn: drawn.mean(axis=(0, 1)))

    def cell(self, column: int) -> str:
        """Mean return, its interval over tasks and trainings, and the trainings' own means."""
        seeds = self.returns.mean(axis=1)[:, column]
        low, high = self.intervals[:, column]
        mean, low, high, *seeds = map(shown, (seeds.mean(), low, high, *seeds))
        return f"{mean} [{low}, {high}]" + (f" ({', '.join(seeds)})" if len(seeds) > 1 else "")

    def success(self, column: int) -> str:
        """Share of episodes that end at the goal, where the family says what that is."""
        if self.evaluations[0]["success"] is None:
            return ""
        return f"{100 * np.mean([found['success'] for found in self.evaluations], axis=(0, 1))[column]:.0f} %"

    def score(self, column: int) -> str:
        """Between random and oracle, where they are known."""
        return f"{self.references.score(self.returns.mean(axis=0))[column]:.2f}" if self.references else ""

    @property
    def oracle(self) -> str:
        """Mean return of the policy that is told the task, and how much that is a step."""
        if not self.references:
            return ""
        mean = np.mean(self.references.oracle)
        return f"{mean:.4g}, {mean / load_family(self.training.family).horizon:.2g}"

    @property
    def cost(self) -> list[str]:
        """Frames of a training, and its minutes on how many cores."""
        minutes = defaultdict(list)
        for record in self.records:
            minutes[record["cores"]].append(record["seconds"] / 60)
        spreads = (f"{_spread(spent)} on {cores}" for cores, spent in sorted(minutes.items()))
        return [f"{self.records[0]['frames'] / 1e6:.1f} M", ", ".join(spreads)]


def _spread(minutes: Sequence[float]) -> str:
    """From the fewest to the most, or the one number that both are."""
    low, high = (f"{n:.2g}" if n < 10 else f"{n:.0f}" for n in (min(minutes), max(minutes)))
    return low if low == high else f"{low} to {high}"


def rows_of(learner: str) -> list[Measured]:
    """All that was measured of a learner, by family."""
    found = defaultdict(list)
    for path in sorted(MEASURED.glob(f"*-{learner}-*.json")):
        family, seed = path.stem.split("-")[0], int(path.stem.rpartition("-")[2])
        found[family].append(Training(family, learner, seed))
    return [Measured(found[family]) for family in FAMILIES if family in found]


def shown(value: float) -> str:
    """A return with three digits, or what there is before its point."""
    return f"{value:.{1 if abs(value) < 20 else 0}f}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """As Markdown has it."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def memory_table() -> str:
    """Of the Meta-LSTM."""
    heads = ["family", "episode 1", "last episode", "success", "score", ORACLE, "steps", COST]
    rows = [
        [
            row.family,
            *map(row.cell, row.columns),
            row.success(-1),
            " and ".join(filter(None, map(row.score, row.columns))),
            row.oracle,
            *row.cost,
        ]
        for row in rows_of("meta-lstm")
    ]
    return table(heads, rows)


def table_from_before(learner: str, columns: Sequence[str]) -> str:
    """Of a learner whose first column is before it adapts."""
    heads = ["family", *columns, "score", ORACLE, "steps", COST]
    rows = [
        [
            row.family,
            *map(row.cell, row.columns),
            row.score(row.columns[-1]),
            row.oracle,
            *row.cost,
        ]
        for row in rows_of(learner)
    ]
    return table(heads, rows)


def summary_table() -> str:
    """Of all, in short."""
    heads = ["family", "learner", "before, or episode 1", "after, or last episode", "score", ORACLE, COST]
    rows = [
        [
            row.family,
            row.training.learner,
            *(shown(row.returns.mean(axis=(0, 1))[k]) for k in (row.columns[0], row.columns[-1])),
            row.score(row.columns[-1]),
            row.oracle,
            row.cost[1],
        ]
        for learner in ("meta-lstm", "maml", "meta-model")
        for row in rows_of(learner)
    ]
    return table(heads, rows)


TABLES = {
    "memory": memory_table,
    "gradient": partial(table_from_before, "maml", ["before", "after 1", "after 2", "after 3"]),
    "model": partial(table_from_before, "meta-model", ["before adaptation", "episode 1", "episode 2"]),
    "summary": summary_table,
}
PAGES = ROOT / "README.md", ROOT / "docs" / "results.md"


def written(page: str) -> str:
    """A page with the tables as they are today between their marks."""
    return MARK.sub(lambda found: found[1] + "\n" + TABLES[found[2]]() + "\n" + found[3], page)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write; returns the exit status."""
    options = tyro.cli(Options, args=argv, description=__doc__)
    try:
        for name, known, given in (
            ("family", FAMILIES, options.families),
            ("learner", LEARNERS, options.learner),
        ):
            for wrong in sorted(set(given) - set(known)):
                raise unknown(name, wrong, known)
        whole = options.write_only or measure(options)
    except InputError as error:
        print(f"results: {error}", file=sys.stderr)
        return 2
    for page in PAGES:
        page.write_text(written(page.read_text()))
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
