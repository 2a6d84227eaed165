"""Judge a trained policy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from rich.box import SIMPLE_HEAD
from rich.table import Table

from metarl.cli.words import Command, check_common, parse_tasks, say, show, split_tasks
from metarl.errors import InputError, plain
from metarl.evaluation.evaluate import Evaluation, evaluate
from metarl.evaluation.probe import probe
from metarl.files import check_writable, write_json
from metarl.learners.meta_lstm.agent import MetaLSTM
from metarl.runs.run_folder import RunFolder

PLOT_SUFFIXES = (".png", ".svg", ".pdf")


@dataclass
class Evaluate(Command):
    """`metarl evaluate`."""

    run_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """a run folder"""
    split: Literal["test", "train", "ood"] = "test"
    """which tasks: the family's fixed held-out ones, training ones, or out of distribution"""
    task: tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]] = ()
    """a task of your own instead, as name=value (name=v1,v2,... where it takes several numbers); a name
    that comes again, or another --task, begins another task"""
    columns: int | None = None
    """how many: gradient steps 0, 1, 2, ... (default 4) or episodes of a trial (default: as in training)"""
    episodes: int | None = None
    """episodes of a task per column: what a gradient step learns from (default: as in training), or
    trials whose mean counts (default 10)"""
    sample: bool = False
    """a policy with a memory draws its actions as in training, instead of acting by the mean (one that
    adapts by gradient steps always does)"""
    seed: int = 0
    """of initial states and actions"""
    json: Path | None = None
    """write the result here"""
    plot: Path | None = None
    """draw the result here (.png, .svg, .pdf)"""
    probe: Path | None = None
    """draw here what a policy's memory holds of the task as a trial goes on (.png, .svg, .pdf)"""
    n_threads: int = 0
    """physics threads, 0 for one per CPU"""

    def run(self) -> int:
        """Evaluate."""
        check_common(self.seed, self.n_threads)
        for flag, value in (("--columns", self.columns), ("--episodes", self.episodes)):
            if value is not None and not 1 <= value <= 10_000:
                raise InputError(f"{flag} {value} is out of range; use 1 to 10000")
        for path in (self.json, self.plot, self.probe):
            if path is not None:
                check_writable(path)
        for flag, path in (("--plot", self.plot), ("--probe", self.probe)):
            if path is not None and path.suffix.lower() not in PLOT_SUFFIXES:
                raise InputError(f"{flag} {path}: use a name that ends in {' '.join(PLOT_SUFFIXES)}")
        if self.plot is not None or self.probe is not None:
            from metarl.evaluation import plots  # needs what may not be installed
        asked, agent = RunFolder(self.run_folder).load("cpu", self.n_threads)
        if self.probe is not None and not isinstance(agent, MetaLSTM):
            raise InputError(f"--probe looks into a memory, and a {asked.learner} policy has none")
        family = agent.family
        split = "given" if self.task else self.split
        tasks = parse_tasks(family, self.task) if self.task else split_tasks(family, self.split, self.seed)
        columns, episodes = agent.evaluation_size
        adapter, learner = agent.adapter(), asked.learner
        if self.sample and adapter.deterministic:
            adapter.deterministic, learner = False, f"{learner}, sampled"
        result = evaluate(
            adapter,
            family,
            tasks,
            self.columns or columns,
            self.episodes or episodes,
            learner,
            split,
            self.seed,
            self.n_threads,
            progress_bar=True,
        )
        show(_table(result))
        if self.json is not None:
            write_json(self.json, result.to_json())
        if self.plot is not None:
            plots.plot_adaptation(result, family, self.plot)
        if self.probe is not None and isinstance(agent, MetaLSTM):
            title = f"{family.name}, {agent.config.core}: {split} tasks"
            plots.plot_probe(probe(agent, tasks, seed=self.seed), title, self.probe)
        for path in (self.json, self.plot, self.probe):
            if path is not None:
                say(f"wrote {path}")
        return 0


def _table(result: Evaluation) -> Table:
    title = f"{plain(result.family)}, {result.learner}: {len(result.tasks)} tasks ({result.split})"
    table = Table(title=title, box=SIMPLE_HEAD)
    columns = {
        result.column: [str(k) for k in range(len(result.mean))],
        "episodes used": [str(n) for n in result.episodes_used],
        "return [95 % CI]": [
            f"{mean:.1f} [{low:.1f}, {high:.1f}]"
            for mean, (low, high) in zip(result.mean, result.ci95, strict=True)
        ],
        "IQM": [f"{value:.1f}" for value in result.iqm],
        "gain [95 % CI]": [
            f"{gain:+.1f} [{low:+.1f}, {high:+.1f}]" if k else ""
            for k, (gain, (low, high)) in enumerate(zip(result.gain, result.gain_ci95, strict=True))
        ],
    }
    if result.success is not None:
        columns["success"] = [f"{100 * share:.0f} %" for share in np.mean(result.success, axis=0)]
    if None not in result.score:
        columns["score"] = [f"{value:.2f}" for value in result.score]
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    return table
