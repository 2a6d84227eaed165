"""The command line: families, check, train, evaluate, render, report. Bad input gives one line and exit 2.

What draws is imported by the commands that draw: it takes as long as all the rest.
"""

import io
import json
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass, field, make_dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from envs import FAMILIES, InputError, Task, TaskFamily, load_family
from envs.check import Trial, check, try_agent
from envs.errors import unknown
from envs.gl import use_opengl
from envs.speed import steps_per_second
from metarl.evaluate import Evaluation, evaluate
from metarl.files import sweep, write_json
from metarl.learners import LEARNERS
from metarl.meta_lstm_agent import MetaLSTM
from metarl.probe import probe
from metarl.run_folder import RunConfig, RunFolder
from metarl.train import train

DEFAULT_LEARNER = "maml"
DEFAULT_STEPS = 4_000_000
YARDSTICK = "HalfCheetahVel"  # whose speed of simulation is 1
PLOT_SUFFIXES = (".png", ".svg", ".pdf")


@dataclass
class Families:
    """List the task families: what varies, dimensions, horizon, and how fast they are simulated here."""

    json: bool = False
    """print JSON instead of a table"""

    def run(self) -> int:
        """Print the catalogue."""
        families = [kind() for kind in FAMILIES.values()]
        speeds = dict(zip(FAMILIES, steps_per_second(families), strict=True))
        rows = [
            {**_describe(family), "relative_speed": round(speeds[family.name] / speeds[YARDSTICK], 3)}
            for family in families
        ]
        if self.json:
            print(json.dumps(rows, indent=2))
            return 0
        table = Table(box=SIMPLE_HEAD, caption=f"speed: of simulation, {YARDSTICK}'s robot is 1")
        for name in ("family", "obs", "act", "steps", "speed", "success", "train/test/ood", "what varies"):
            table.add_column(name, no_wrap=True)
        for row in rows:
            counts = [str(row[k]) for k in ("obs_dim", "action_dim", "horizon")]
            tasks = "/".join(str(n) for n in row["tasks"].values())
            marks = [f"{row['relative_speed']:.2g}", "yes" if row["success"] else ""]
            table.add_row(row["family"], *counts, *marks, tasks, "\n".join(row["varies"]))
        _show(table)
        return 0


@dataclass
class Check:
    """Try the laws that every family has to keep, and show what agents get that know nothing."""

    family: tyro.conf.Positional[str]
    """a name from `metarl families`, or my_robot.py:MyFamily"""

    def run(self) -> int:
        """Check; the status is 2 if something is wrong."""
        family = load_family(self.family)
        findings = []
        for finding in check(family):
            findings.append(finding)
            print(f"{'WRONG' if finding.problem else 'ok':6}{finding.law}", flush=True)
            if finding.problem:
                print(f"      {finding.problem}")
        wrong = sum(finding.problem is not None for finding in findings)
        if not wrong:
            _show(_trials([try_agent(family, agent) for agent in ("zero", "random")]))
        print(f"{family.name}: {wrong or 'nothing'} wrong")
        return 2 if wrong else 0


@dataclass
class Train:
    """Meta-train a policy on a family of tasks, into a run folder."""

    family: tyro.conf.Positional[str | None] = None
    """a name from `metarl families`, or my_robot.py:MyFamily"""
    learner: str = DEFAULT_LEARNER
    """which learner: maml or meta-lstm"""
    steps: float | None = None
    """environment steps in all, e.g. 2e6 (default 4e6, or the resumed run's own)"""
    seed: int = 0
    """of everything random in training"""
    out: Path | None = None
    """run folder to make (default runs/FAMILY-LEARNER-SEED)"""
    resume: Path | None = None
    """go on with this run instead, with its own settings"""
    force: bool = False
    """replace the run that --out holds"""
    device: str | None = None
    """where the learner computes: cpu or cuda (default cpu, or the resumed run's own)"""
    n_threads: int | None = None
    """physics threads, 0 for one per CPU (default 0, or the resumed run's own)"""
    tables: bool = False
    """print a table after every iteration instead of a progress bar"""

    def run(self) -> int:
        """Train."""
        if self.steps is not None and not 0 < self.steps < 1e15:
            raise InputError(f"--steps {self.steps:g} is out of range; give e.g. --steps 2e6")
        _check_common(self.seed, self.n_threads)
        return self._resume() if self.resume is not None else self._start()

    def _start(self) -> int:
        if self.family is None:
            raise InputError("which family? e.g. metarl train HalfCheetahVel; see metarl families")
        family = _absolute(self.family)
        steps = int(self.steps or DEFAULT_STEPS)
        device, n_threads = self.device or "cpu", self.n_threads or 0
        agent = LEARNERS[self.learner](family, self.config, self.seed, device, n_threads)
        agent.check_budget(steps)
        default = Path("runs") / f"{agent.family.name}-{self.learner}-{self.seed}"
        folder = RunFolder(self.out or default)
        asked = RunConfig(family, self.learner, steps, self.seed, device, n_threads, asdict(self.config))
        with folder.locked():
            folder.clear(self.force)
            folder.write_config(asked)
            folder.write_surroundings(agent.family)
            agent.save(folder.checkpoint)
            return self._train(agent, folder, steps)

    def _resume(self) -> int:
        if self.family is not None or self.out is not None or self.force:
            raise InputError("--resume RUN takes no family, --out or --force: the run has its own")
        if (self.config, self.seed) != (type(self.config)(), 0):
            raise InputError("--resume goes on with the run's own settings; leave the other flags out")
        folder = RunFolder(self.resume)
        folder.read_config()
        with folder.locked():
            sweep(folder.path)
            asked, agent = folder.load(self.device, self.n_threads)
            steps = int(self.steps or asked.steps)
            if steps < agent.num_timesteps:
                raise InputError(f"the run has {agent.num_timesteps} steps already; give more with --steps")
            folder.write_config(RunConfig(**{**vars(asked), "steps": steps}))
            return self._train(agent, folder, steps)

    def _train(self, agent: Any, folder: RunFolder, steps: int) -> int:
        finished = train(agent, folder, steps, self.tables)
        print(f"{agent.num_timesteps} steps, {agent.iterations} iterations; saved in {folder.path}")
        if finished:
            print(f"next: metarl evaluate {folder.path}")
            return 0
        print(f"interrupted; go on with: metarl train --resume {folder.path}")
        return 130


@dataclass
class Evaluate:
    """Let a trained policy meet held-out tasks, and show how much adaptation gains."""

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
        _check_common(self.seed, self.n_threads)
        for flag, value in (("--columns", self.columns), ("--episodes", self.episodes)):
            if value is not None and not 1 <= value <= 10_000:
                raise InputError(f"{flag} {value} is out of range; use 1 to 10000")
        for path in (self.json, self.plot, self.probe):
            if path is not None:
                _check_writable(path)
        for flag, path in (("--plot", self.plot), ("--probe", self.probe)):
            if path is not None and path.suffix.lower() not in PLOT_SUFFIXES:
                raise InputError(f"{flag} {path}: use a name that ends in {' '.join(PLOT_SUFFIXES)}")
        asked, agent = RunFolder(self.run_folder).load("cpu", self.n_threads)
        if self.probe is not None and not isinstance(agent, MetaLSTM):
            raise InputError(f"--probe looks into a memory, and a {asked.learner} policy has none")
        family = agent.family
        split = "given" if self.task else self.split
        tasks = parse_tasks(family, self.task) if self.task else _split_tasks(family, split, self.seed)
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
        _show(_table(result))
        if self.json is not None:
            write_json(self.json, result.to_json())
        if self.plot is not None:
            from metarl.plots import plot_adaptation

            plot_adaptation(result, family, self.plot)
        if self.probe is not None:
            from metarl.plots import plot_probe

            title = f"{family.name}, {agent.config.core}: {split} tasks"
            plot_probe(probe(agent, tasks, seed=self.seed), title, self.probe)
        return 0


@dataclass
class Report:
    """Write one HTML page about runs: how they adapt, on what, how they learned, and what is missing."""

    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN [RUN ...]")]
    """run folders; those that differ by nothing but their seed are judged together"""
    out: Path = Path("report.html")
    """the page to write; it opens offline"""
    seed: int = 0
    """of initial states and actions"""
    n_threads: int = 0
    """physics threads, 0 for one per CPU"""

    def run(self) -> int:
        """Write the page."""
        from metarl.report import write_report

        _check_common(self.seed, self.n_threads)
        for words in write_report(self.runs, self.out, self.n_threads, self.seed, progress_bar=True):
            print(f"missing: {words}")
        print(f"page: {self.out}")
        return 0


@dataclass
class Render:
    """Show what adaptation did: the same held-out tasks before and after, side by side."""

    run_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """a run folder"""
    task: tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]] = ()
    """which task, as name=value (name=v1,v2,... where it takes several numbers); a name that comes again,
    or another --task, begins another task (default: two of the held-out tasks)"""
    split: Literal["test", "train", "ood"] = "test"
    """where the default tasks come from"""
    show: tuple[int, ...] = ()
    """what stands side by side: numbers of gradient steps, or of episodes from 0 (default: before and after
    the steps of training, or the episodes of a trial)"""
    out: tuple[Path, ...] = ()
    """what to write, one or several: .mp4, .gif, or .html to orbit and play in a browser (default: render.mp4
    and replay.html in the run folder)"""
    size: tuple[int, int] = (480, 360)
    """width and height of one picture, pixels"""
    live: bool = False
    """open a viewer instead, in which the task can be changed while the policy adapts"""
    seed: int = 0
    """of initial states and exploration"""
    n_threads: int = 0
    """physics threads, 0 for one per CPU"""

    def run(self) -> int:
        """Render."""
        from metarl import render

        _check_common(self.seed, self.n_threads)
        formats = render.CLIPS + render.PAGES
        for path in self.out:
            _check_writable(path)
            if path.suffix.lower() not in formats:
                raise InputError(f"--out {path}: use a name that ends in {' '.join(formats)}")
        if not all(64 <= n <= 4096 and n % 2 == 0 for n in self.size):
            raise InputError(f"--size {self.size[0]} {self.size[1]}: use even numbers from 64 to 4096")
        if any(not 0 <= column <= 100 for column in self.show):
            raise InputError(f"--show {' '.join(map(str, self.show))}: use numbers from 0 to 100")
        _, agent = RunFolder(self.run_folder).load("cpu", self.n_threads)
        if self.task:
            tasks = parse_tasks(agent.family, self.task)
        else:
            tasks = render.telling_tasks(agent.family, _split_tasks(agent.family, self.split, self.seed))
        if self.live:
            return render.run_live(agent, tasks[0], self.seed)
        out = self.out or self._default()
        rollouts = render.record_rollouts(agent, tasks, self.show or agent.shown_columns, self.seed)
        for path in out:
            if path.suffix.lower() in render.CLIPS:
                render.write_clip(rollouts, agent.family, path, *self.size, progress_bar=True)
            else:
                render.write_page(rollouts, agent.family, path)
            print(f"wrote {path}")
        return 0

    def _default(self) -> tuple[Path, ...]:
        """A clip, where one can be drawn, and a page."""
        page = self.run_folder / "replay.html"
        try:
            use_opengl()
        except InputError as error:
            print(f"no clip: {error}", file=sys.stderr)
            return (page,)
        return self.run_folder / "render.mp4", page


def parse_tasks(family: TaskFamily, groups: Sequence[Sequence[str]]) -> list[Task]:
    """Tasks from words such as velocity=2.5; each group, and each repeated name, begins a task.

    Raises:
        InputError: a word is no assignment, or the family refuses the values.
    """
    tasks: list[dict[str, Any]] = []
    for words in groups:
        tasks.append({})
        for word in words:
            name, equals, value = word.partition("=")
            if not equals:
                raise InputError(f"--task {word}: write name=value, e.g. {family.params[0].name}=...")
            if name in tasks[-1]:
                tasks.append({})
            numbers = value.split(",")
            tasks[-1][name] = numbers if len(numbers) > 1 else value
    return [family.task(values) for values in tasks]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows ASCII only
    try:
        return _parse(argv).run()
    except InputError as error:
        message = str(error)
    except OSError as error:
        message = f"cannot use {error.filename or 'a file'}: {error.strerror or error}"
    except KeyboardInterrupt:
        return 130
    print(f"metarl: {message}", file=sys.stderr)
    return 2


def _parse(argv: Sequence[str]) -> Any:
    """The command that was typed.

    Raises:
        InputError: it makes no sense; instead of the box that tyro draws around what is wrong.
    """
    box = io.StringIO()
    try:
        with redirect_stderr(box):
            return tyro.cli(_commands(argv), prog="metarl", args=argv, description=__doc__)
    except SystemExit as stop:
        if not stop.code:
            raise  # --help
        reason = stop.__context__  # what a setting's own check has said
        while reason is not None and not isinstance(reason, InputError):
            reason = reason.__context__
        raise reason or InputError(_unboxed(box.getvalue())) from None


def _unboxed(box: str) -> str:
    """The words in a box of tyro's, in one line: what is wrong, and where to read on."""
    rows = [row.strip("│| ") for row in box.splitlines()[1:]]
    groups = groupby(rows, lambda row: set(row) <= set("─╰╯-+"))
    parts = [" ".join(lines).rstrip(".") for is_rule, lines in groups if not is_rule]
    words = [part for part in parts if not part.startswith("Argument helptext")]
    return re.sub(r"For full helptext, \w+:?", "see", "; ".join(words))


def _commands(argv: Sequence[str]) -> Any:
    """The commands' types; which flags `train` takes depends on the learner that is asked for."""
    named = [b for a, b in pairwise(argv) if a == "--learner"]
    named += [a.partition("=")[2] for a in argv if a.startswith("--learner=")]
    learner = named[-1] if named else DEFAULT_LEARNER
    if learner not in LEARNERS:
        raise unknown("learner", learner, LEARNERS)
    config = LEARNERS[learner].config_class
    training = make_dataclass(
        "Train",
        [("config", tyro.conf.OmitArgPrefixes[config], field(default_factory=config))],
        bases=(Train,),
    )
    training.__doc__ = Train.__doc__
    return (
        Annotated[Families, tyro.conf.subcommand("families")]
        | Annotated[Check, tyro.conf.subcommand("check")]
        | Annotated[training, tyro.conf.subcommand("train")]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
        | Annotated[Render, tyro.conf.subcommand("render")]
        | Annotated[Report, tyro.conf.subcommand("report")]
    )


def _check_common(seed: int, n_threads: int | None) -> None:
    if not 0 <= seed < 2**63:
        raise InputError(f"--seed {seed} is out of range; use 0 or more, below 2^63")
    if n_threads is not None and not 0 <= n_threads <= 1024:
        raise InputError(f"--n-threads {n_threads} is out of range; use 0 for one per CPU, at most 1024")


def _check_writable(path: Path) -> None:
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InputError(f"cannot write a file {path} there; give the path of a file to write")


def _split_tasks(family: TaskFamily, split: str, seed: int) -> list[Task]:
    """A split's tasks; fresh ones where training has no fixed list."""
    if split == "train" and family.n_train is None:
        return family.sample(np.random.default_rng(seed), family.n_test)
    return family.tasks(split)


def _absolute(family: str) -> str:
    """A family in a file is remembered by its whole path, so that the run can be used from anywhere."""
    path, colon, name = family.rpartition(":")
    return f"{Path(path).resolve()}:{name}" if colon and path.endswith(".py") else family


def _describe(family: TaskFamily) -> dict[str, Any]:
    return {
        "family": family.name,
        "about": type(family).__doc__.splitlines()[0],
        "varies": [f"{p}{f' x{family.size(p)}' if family.size(p) > 1 else ''}" for p in family.params],
        "kinds": sorted({p.kind for p in family.params}),
        "obs_dim": family.obs_dim,
        "action_dim": family.action_dim,
        "horizon": family.horizon,
        "dt": family.dt,
        "success": type(family).success is not TaskFamily.success,
        "tasks": {
            "train": family.n_train or "fresh",
            "test": family.n_test,
            "ood": family.n_ood if family.has_ood else 0,
        },
    }


def _table(result: Evaluation) -> Table:
    title = f"{result.family}, {result.learner}: {len(result.tasks)} tasks ({result.split})"
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


def _trials(trials: Sequence[Trial]) -> Table:
    table = Table(title="an episode of agents that know nothing, 64 training tasks", box=SIMPLE_HEAD)
    for name in ("actions", "return", "steps", "reward terms a step", "blew up", "steps/s"):
        table.add_column(name, justify="left" if name == "reward terms a step" else "right", no_wrap=True)
    for t in trials:
        spread = f"{t.returns.mean():.1f} ± {t.returns.std():.1f}"
        terms = "\n".join(f"{name} {mean:+.3g}" for name, mean in t.terms.items())
        numbers = [f"{t.lengths.mean():.0f}", terms, str(t.failures), f"{t.steps_per_second:,.0f}"]
        table.add_row(t.agent, spread, *numbers)
    return table


def _show(table: Table) -> None:
    """Print a table as wide as it has to be: a narrow terminal breaks its lines, but no number is lost."""
    console = Console()
    console.width = max(console.width * console.is_terminal, Console(width=1000).measure(table).maximum)
    console.print(table)
