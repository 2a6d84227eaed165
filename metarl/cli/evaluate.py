"""Judge a trained policy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from rich.box import SIMPLE_HEAD
from rich.table import Table

from metarl.cli.words import FILE, Command, check_common, parse_tasks, say, show, split_tasks
from metarl.envs import Task, TaskFamily
from metarl.errors import InputError, plain
from metarl.evaluation.evaluate import Evaluation, evaluate
from metarl.evaluation.predictions import predictions
from metarl.evaluation.probe import probe
from metarl.evaluation.statistics import bootstrap
from metarl.evaluation.words import conclusion
from metarl.files import check_writable, write_json
from metarl.learners import Agent
from metarl.learners.meta_lstm.agent import MetaLSTM
from metarl.learners.meta_model.agent import MetaModel
from metarl.metaworld import TheirJudgement, check_metaworld, judged_by_metaworld
from metarl.runs.run_folder import load_agent

PLOT_SUFFIXES = (".png", ".svg", ".pdf")


@dataclass
class Evaluate(Command):
    """`metarl evaluate`."""

    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN [RUN ...]")]
    """a run folder, the file of an agent, or a policy of the box, e.g. box:AntDir; several are compared"""
    family: Annotated[str | None, tyro.conf.arg(metavar=FILE)] = None
    """the run's family, where its file is elsewhere now, or code that you have not run yet"""
    split: Literal["test", "train", "ood"] = "test"
    """which tasks: the family's fixed held-out ones, training ones, or out of distribution"""
    task: tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]] = ()
    """a task of your own instead, as name=value (name=v1,v2,... where it takes several numbers); a name
    that comes again, or another --task, begins another task"""
    columns: int | None = None
    """how many: gradient steps 0, 1, 2, ... (default 6), or episodes of a trial (default: as in training), of
    a meta-model after one without adaptation (default 3 in all)"""
    episodes: int | None = None
    """episodes of a task per column: what a gradient step learns from (default: as in training), or
    trials whose mean counts (default 10, of a meta-model 2)"""
    sample: bool = False
    """a policy with a memory draws its actions as in training, instead of acting by the mean (one that
    adapts by gradient steps always does)"""
    act: Literal["policy", "planner", "both"] | None = None
    """who acts by a meta-model (default: who acted in training)"""
    seed: int = 0
    """of initial states and actions"""
    json: Path | None = None
    """write the result here"""
    plot: Path | None = None
    """draw the result here (.png, .svg, .pdf)"""
    metaworld: bool = False
    """of a policy for metaworld:..., let Meta-World judge it by its own evaluation, too"""
    probe: Path | None = None
    """draw here what a policy's memory holds of the task as a trial goes on, or how far off a model's
    predictions are (.png, .svg, .pdf)"""
    n_threads: int = 0
    """physics threads, 0 for one per CPU"""

    def run(self) -> int:
        """Evaluate."""
        check_common(self.seed, self.n_threads)
        for flag, value in (("--columns", self.columns), ("--episodes", self.episodes)):
            if value is not None and not 1 <= value <= 10_000:
                raise InputError(f"{flag} {value} is out of range; use 1 to 10000")
        self._check_files()
        if not self.runs:
            raise InputError("which run? give a run folder, or a policy of the box, e.g. box:AntDir")
        if len(self.runs) > 1:
            if self.metaworld:
                raise InputError("--metaworld is of one run; give one")
            found = [self._judge(path)[:2] for path in self.runs]
            show(_beside(self.runs, found))
            for words in _compared(self.runs, found):
                say(words)
            return 0
        agent, result, changed = self._judge(self.runs[0])
        if self.task and len(result.tasks) > 1:
            show(_each_task(result, agent.family))
        show(_table(result))
        say(conclusion(result, agent.family, agent.trained_column))
        if self.metaworld:
            say(_theirs(judged_by_metaworld(agent)))
        if self.json is not None:
            known = {} if changed is None else {"changed": changed}
            write_json(self.json, {**result.to_json(), **known})
        if self.plot is not None:
            from metarl.evaluation.plots import plot_adaptation

            plot_adaptation(result, agent.family, self.plot)
        if self.probe is not None:
            self._look_inside(agent, result, self.probe)
        for path in (self.json, self.plot, self.probe):
            if path is not None:
                say(f"wrote {path}")
        return 0

    def _look_inside(self, agent: Agent, result: Evaluation, path: Path) -> None:
        """Draw what the memory holds, or what the model predicts."""
        from metarl.evaluation.plots import plot_predictions, plot_probe

        tasks = [Task(values) for values in result.tasks]
        if isinstance(agent, MetaModel):
            found = predictions(agent, tasks, self.seed)
            say(found.words())
            plot_predictions(found, f"{agent.family.name}, meta-model: {result.split} tasks", path)
        elif isinstance(agent, MetaLSTM):
            title = f"{agent.family.name}, {agent.config.core}: {result.split} tasks"
            plot_probe(probe(agent, tasks, seed=self.seed), title, path)

    def _check_files(self) -> None:
        """Raise InputError unless all that is asked for can be written."""
        for flag, path in (("--json", self.json), ("--plot", self.plot), ("--probe", self.probe)):
            if path is None:
                continue
            if len(self.runs) > 1:
                raise InputError(f"{flag} is of one run; several are compared by metarl report")
            check_writable(path)
            if flag != "--json" and path.suffix.lower() not in PLOT_SUFFIXES:
                raise InputError(f"{flag} {path}: use a name that ends in {' '.join(PLOT_SUFFIXES)}")
        if self.plot is not None or self.probe is not None:
            import metarl.evaluation.plots  # noqa: F401 - needs what may not be installed

    def _judge(self, path: Path) -> tuple[Agent, Evaluation, list[str] | None]:
        """The agent of a run, its evaluation, and how its family has changed since training."""
        agent, changed = load_agent(path, self.n_threads, self.family)
        if self.probe is not None and not isinstance(agent, MetaLSTM | MetaModel):
            raise InputError(f"--probe looks into a memory or a model, and a {agent.name} policy has none")
        if self.act is not None:
            agent.act_by(self.act)
        family = agent.family
        if self.metaworld:
            check_metaworld(family)
        tasks = parse_tasks(family, self.task) if self.task else split_tasks(family, self.split, self.seed)
        columns, episodes = agent.evaluation_size
        adapter, learner = agent.adapter(), agent.name
        if self.sample and adapter.deterministic:
            adapter.deterministic, learner = False, f"{learner}, sampled"
        result = evaluate(
            adapter,
            family,
            tasks,
            self.columns or columns,
            self.episodes or episodes,
            learner,
            "given" if self.task else self.split,
            self.seed,
            self.n_threads,
            progress_bar=True,
        )
        return agent, result, changed


def _theirs(found: TheirJudgement) -> str:
    """What Meta-World found, in words."""
    each = ", ".join(f"{name} {100 * share:.0f} %" for name, share in found.by_world.items())
    more = f" ({each})" if len(found.by_world) > 1 else ""
    return (
        f"Meta-World's evaluation, {found.n_tasks} test goals, after {found.n_adapting} episodes of each: "
        f"success {100 * found.success:.0f} %{more}, mean return {found.mean_return:.1f} (episodes end at "
        "success)"
    )


def _adapted(agent: Agent, result: Evaluation) -> int:
    """The column that training has worked for, or the last one there is."""
    return min(agent.trained_column, len(result.mean) - 1)


def _beside(runs: Sequence[Path], found: Sequence[tuple[Agent, Evaluation]]) -> Table:
    """Several runs, one a row, after the adaptation that each was trained for."""
    rows = []
    for path, (agent, result) in zip(runs, found, strict=True):
        k = _adapted(agent, result)
        low, high = result.ci95[k]
        rows.append(
            {
                "run": str(path),
                "family": result.family,
                "learner": result.learner,
                "": result.title(k),
                "episodes used": str(result.episodes_used[k]),
                "return [95 % CI]": f"{result.mean[k]:.1f}"
                + f" [{low:.1f}, {high:.1f}]" * (len(result.tasks) > 1),
                "gain": f"{result.gain[k]:+.1f}",
                "score": "" if (score := result.score[k]) is None else f"{score:.2f}",
            }
        )
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return _filled(f"{len(runs)} runs, {found[0][1].split} tasks", columns)


def _compared(runs: Sequence[Path], found: Sequence[tuple[Agent, Evaluation]]) -> Iterator[str]:
    """Who is better on the same tasks, and how surely: the best of a family against each of the others."""
    returns: dict[str, dict[Path, np.ndarray]] = {}
    for path, (agent, result) in zip(runs, found, strict=True):
        k = _adapted(agent, result)
        returns.setdefault(repr((result.family, result.tasks)), {})[path] = np.array(result.returns)[:, k]
    for same in returns.values():
        best, *others = sorted(same, key=lambda path: -same[path].mean())
        for other in others:
            gap = same[best] - same[other]
            if len(gap) == 1:
                yield f"{best} gets {gap[0]:.1f} more than {other} on that one task"
                continue
            (low, high), *_ = bootstrap(gap[:, None])
            sure = "is better than" if low > 0 else "may be no better than"
            by = f"{gap.mean():+.1f} [{low:+.1f}, {high:+.1f}]"
            yield f"{best} {sure} {other}: {by} on the same {len(gap)} tasks, more on {int((gap > 0).sum())}"


def _table(result: Evaluation) -> Table:
    several = len(result.tasks) > 1  # of one task there is no interval
    interval = " [95 % CI]" if several else ""

    def shown(values: Sequence[float], ends: Sequence[Sequence[float]], sign: str = "") -> list[str]:
        return [
            f"{value:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]" if several else f"{value:{sign}.1f}"
            for value, (low, high) in zip(values, ends, strict=True)
        ]

    tasks = f"{len(result.tasks)} task{'s' * several}"
    columns = {
        "": [result.title(k) for k in range(len(result.mean))],
        "episodes used": [str(n) for n in result.episodes_used],
        f"return{interval}": shown(result.mean, result.ci95),
    }
    if several:
        columns["IQM"] = [f"{value:.1f}" for value in result.iqm]
    columns[f"gain{interval}"] = ["", *shown(result.gain, result.gain_ci95, "+")[1:]]
    if result.gain_over_average is not None and result.gain_over_average_ci95 is not None:
        over = shown(result.gain_over_average, result.gain_over_average_ci95, "+")
        columns[f"over average{interval}"] = over
    if result.success is not None:
        columns["success"] = [f"{100 * share:.0f} %" for share in np.mean(result.success, axis=0)]
    if None not in result.score:
        columns["score"] = [f"{value:.2f}" for value in result.score]
    return _filled(f"{result.family}, {result.learner}: {tasks} ({result.split})", columns)


def _each_task(result: Evaluation, family: TaskFamily) -> Table:
    """Mean return on each task, one a row."""
    columns = {"task": [family.words(Task(task)) for task in result.tasks]}
    for k, returns in enumerate(np.transpose(result.returns)):
        columns[result.title(k)] = [f"{value:.1f}" for value in returns]
    return _filled(f"{result.family}, {result.learner}: return on each task", columns)


def _filled(title: str, columns: Mapping[str, Sequence[str]]) -> Table:
    table = Table(title=plain(title), box=SIMPLE_HEAD)
    for k, name in enumerate(columns):
        table.add_column(plain(name), justify="right" if k else "left", no_wrap=True)
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*map(plain, cells))
    return table
