"""The figures of a report, as SVG that takes its colours and letters from the page around it."""

import io
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from textwrap import fill

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from envs import AnnulusRadius, Choice, Param, TaskFamily
from metarl.evaluate import Evaluation
from metarl.logs import STEP
from metarl.plots import AFTER, BEFORE, LATER
from metarl.report.groups import Group
from metarl.report.runs import RETURN

COLOURS = (AFTER, BEFORE, LATER, "#CC79A7", "#D55E00", "#56B4E9")  # Okabe and Ito
MARKERS = "osD^vP"  # of groups, beside the colour
LABELS = {"test": "test tasks", "ood": "out of distribution"}
REFERENCES = {"oracle": "--", "average": "-.", "random": ":"}
INK, SOFT = "#0a0b0c", "#0d0e0f"  # stand for the page's colours: of text, and of what lies behind it
WIDTH, LETTER = 9.4, 0.075  # inches: of every figure, so that letters have one size, and of a letter
PER_ROW = 3  # panels
MANY = 8  # times as much experience as another needs a logarithmic axis
FEW = 3  # rows, of which each is marked
STYLE = {
    **{f"{part}.color": INK for part in ("text", "xtick", "ytick")},
    **{f"axes.{part}color": INK for part in ("label", "edge")},
    **{f"{part}.facecolor": "none" for part in ("figure", "axes", "savefig")},
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "metarl",  # the same figure, the same names in it
    "text.parse_math": False,  # a dollar in a name is a dollar
}


def _drawn(draw: Callable[..., Figure]) -> Callable[..., str]:
    """Let a function draw in the page's style, and give its figure as SVG."""

    @wraps(draw)
    def svg(*args: object) -> str:
        with matplotlib.rc_context(STYLE), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # of measuring; the page has its own font
            file = io.StringIO()
            draw(*args).savefig(file, format="svg", bbox_inches="tight", pad_inches=0.02)
        return _bare(file.getvalue())

    return svg


@_drawn
def adaptation(groups: Sequence[Group], references: Mapping[str, float], family: TaskFamily) -> Figure:
    """Mean return on the test tasks, and its interval, against experience on the new task.

    Args:
        groups: evaluated ones.
        references: returns of policies that do not adapt, by name; horizontal lines.
        family: whose tasks.
    """
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    axes = figure.subplots()
    results = [group.results["test"] for group in groups]
    for k, (group, result) in enumerate(zip(groups, results, strict=True)):
        colour, marker = _look(k)
        axes.fill_between(result.env_steps_used, *np.array(result.ci95).T, color=colour, alpha=0.2, lw=0)
        axes.plot(result.env_steps_used, result.mean, f"{marker}-", color=colour, ms=5, label=group.title)
    for name, value in references.items():
        axes.axhline(value, color=INK, linestyle=REFERENCES[name], linewidth=1, label=name)
    _experience(axes, [steps for result in results for steps in result.env_steps_used])
    axes.set_ylabel(f"return over {family.horizon} steps")
    _legend(figure, axes)
    return figure


@_drawn
def against_one(groups: Sequence[Group], splits: Sequence[str], family: TaskFamily) -> Figure:
    """Return before and after adaptation against the one number that varies; a panel a group."""
    (param,) = family.params
    figure, panels = _panels(groups, 3.2, sharey=True)
    for panel, group in zip(panels, groups, strict=True):
        if not isinstance(param.train, Choice):
            panel.axvspan(param.train.low, param.train.high, color=SOFT, lw=0, label="range of training")
        for split in splits:
            result, filled = group.results[split], split == "test"
            value = np.array([task[param.name] for task in result.tasks])
            order = np.argsort(value)
            for column, colour, marker in ((0, BEFORE, "s"), (group.trained_column, AFTER, "o")):
                returns = group.returns(split)[:, order, column]  # (trainings, tasks)
                face = colour if filled else "none"
                when = "before adaptation" if column == 0 else "after adaptation"
                label = when if filled else f"{when}, out of distribution"
                look = {"color": colour, "marker": marker, "ms": 4, "mfc": face, "lw": 1}
                panel.plot(value[order], returns.mean(axis=0), **look, label=label)
                panel.fill_between(
                    value[order], returns.min(0), returns.max(0), color=colour, alpha=0.2, lw=0
                )
        if isinstance(param.train, Choice):
            panel.set_xticks(param.train.values)
        panel.set_xlabel(_axis(param))
    panels[0].set_ylabel(f"return over {family.horizon} steps")
    _legend(figure, panels[0])
    return figure


@_drawn
def against_two(groups: Sequence[Group], splits: Sequence[str], family: TaskFamily) -> Figure:
    """Return after adaptation, as a colour, over the two numbers that vary; a panel a group."""
    figure, panels = _panels(groups, 2.9, layout="compressed")
    adapted = [[group.returns(s)[..., group.trained_column].mean(axis=0) for s in splits] for group in groups]
    shown = np.concatenate([returns for row in adapted for returns in row])
    colours = ScalarMappable(Normalize(shown.min(), shown.max()), "cividis")
    for panel, group, row in zip(panels, groups, adapted, strict=True):
        for split, returns, marker in zip(splits, row, "os", strict=False):
            x, y, names = _place(group.results[split], family)
            colour, label = colours.to_rgba(returns), LABELS[split]
            panel.scatter(x, y, s=70, c=colour, marker=marker, edgecolors=INK, linewidths=0.5, label=label)
        panel.set(xlabel=names[0], ylabel=names[1] if panel is panels[0] else "")
        panel.set_aspect("equal" if names[0].partition("(")[2] == names[1].partition("(")[2] else "auto")
    n_rows = -(-len(groups) // PER_ROW)
    words = f"return over {family.horizon} steps"
    bar = figure.colorbar(colours, ax=panels, label=words, aspect=20 * n_rows, pad=0.02)
    bar.solids.set_rasterized(True)
    bar.outline.set_visible(False)
    if len(splits) > 1:
        _legend(figure, panels[0])
    return figure


@_drawn
def learning(groups: Sequence[Group]) -> Figure:
    """Training return in the first and the last column, against environment steps and wall time.

    Args:
        groups: those of whose runs at least one has a learning curve.
    """
    figure = Figure(figsize=(WIDTH, 3.6 + 0.25 * len(groups)), layout="constrained")
    by_steps, by_time = figure.subplots(1, 2, sharey=True)
    logged = [[run for run in group.runs if run.progress] for group in groups]
    steps = max(run.progress[STEP].max() for runs in logged for run in runs)
    seconds = max(run.seconds.max() for runs in logged for run in runs)
    many, per_step = _unit(steps, (("million ", 1e6), ("thousand ", 1e3), ("", 1)))
    unit, per_second = _unit(seconds / 2, (("h", 3600), ("min", 60), ("s", 1)))
    for k, (group, runs) in enumerate(zip(groups, logged, strict=True)):
        for j, style in enumerate(("--", "-")):
            y = [run.progress[run.return_columns[j]] for run in runs]
            look = {"color": _look(k)[0], "linestyle": style}
            label = f"{group.label}: {words_of_column(runs[0].return_columns[j])}"
            _curve(by_steps, [run.progress[STEP] / per_step for run in runs], y, look, label)
            _curve(by_time, [run.seconds / per_second for run in runs], y, look)
    by_steps.set(xlabel=f"{many}environment steps", ylabel="return on training tasks")
    by_time.set(xlabel=f"wall time ({unit})")
    lines = by_steps.get_lines()
    named = [line for line in lines if not line.get_label().startswith("_")]
    figure.legend(handles=named[::2] + named[1::2], loc="outside lower center", ncols=2)  # by column
    return figure


# Parts of them.


def _panels(
    groups: Sequence[Group], height: float, layout: str = "constrained", **kwargs: object
) -> tuple[Figure, list[Axes]]:
    """A panel for each group, some to a row, with its label and how much it adapts."""
    n_columns = min(len(groups), PER_ROW)
    n_rows = -(-len(groups) // n_columns)
    figure = Figure(figsize=(WIDTH, 0.6 + height * n_rows), layout=layout)
    panels = figure.subplots(n_rows, n_columns, squeeze=False, **kwargs).flat
    for panel in panels[len(groups) :]:
        panel.remove()
    for panel, group in zip(panels, groups, strict=False):
        words = f"{group.label}, after {_last(group.results['test'])}"
        panel.set_title(fill(words, 32))
    return figure, list(panels[: len(groups)])


def _place(result: Evaluation, family: TaskFamily) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Where the tasks of a family of two numbers lie in a plane, (K,) each, and what its axes are."""
    first, second = family.params
    x, y = (np.array([task[param.name] for task in result.tasks]) for param in family.params)
    if not (isinstance(first.train, AnnulusRadius) and second.unit == "rad"):
        return x, y, [_axis(first), _axis(second)]
    names = [f"{first.name} {f} {second.name} ({first.unit})" for f in ("cos", "sin")]
    return x * np.cos(y), x * np.sin(y), names


def _experience(axes: Axes, steps: Sequence[float]) -> None:
    """Label the axis of experience; where learners use very different amounts of it, logarithmic."""
    least, most = min((s for s in steps if s > 0), default=0.0), max(steps)
    label = "environment steps used on the new task"
    if most > MANY * least > 0:
        ticks = [s for p in range(9) for s in (10**p, 2 * 10**p, 5 * 10**p) if least <= s <= most]
        axes.set_xscale("symlog", linthresh=least, linscale=0.5)
        axes.set_xticks([0, *ticks], [f"{s:,}" for s in (0, *ticks)])
        axes.xaxis.set_minor_locator(NullLocator())
        label = f"{label} (logarithmic beyond {least:g})"
    axes.set_xlabel(label)


def _curve(
    axes: Axes,
    x: Sequence[np.ndarray],
    y: Sequence[np.ndarray],
    look: Mapping[str, str],
    label: str | None = None,
) -> None:
    """Draw a curve of each run and, where there are several, the mean of those that go so far."""
    marker = "." if max(map(len, x)) < FEW else ""
    if len(x) > 1:
        for one, other in zip(x, y, strict=True):
            axes.plot(one, other, **look, lw=0.7, alpha=0.45, marker=marker)
        grid = np.linspace(max(one.min() for one in x), max(one.max() for one in x), 200)
        seen = [np.interp(grid, *pair, right=np.nan) for pair in zip(x, y, strict=True)]
        x, y = [grid], [np.ma.masked_invalid(seen).mean(axis=0)]
    axes.plot(x[0], y[0], **look, lw=1.6, marker=marker, label=label)


def _legend(figure: Figure, axes: Axes) -> None:
    """A legend below, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    n_columns = int(figure.get_figwidth() / (0.6 + LETTER * max(map(len, labels))))
    n_rows = -(-len(labels) // max(n_columns, 1))
    figure.legend(handles, labels, loc="outside lower center", ncols=-(-len(labels) // n_rows))


def _look(k: int) -> tuple[str, str]:
    """Colour and marker of a group."""
    return COLOURS[k % len(COLOURS)], MARKERS[(k + k // len(COLOURS)) % len(MARKERS)]


def _axis(param: Param) -> str:
    return f"{param.name} ({param.unit})" if param.unit else param.name


def _last(result: Evaluation) -> str:
    return f"{result.episodes_used[-1]} episode{'s' * (result.episodes_used[-1] != 1)}"


def words_of_column(name: str) -> str:
    """A column of progress.csv in words: return/after_0, return/episode_2."""
    kind, _, number = name.removeprefix(RETURN).rpartition("_")
    if kind == "episode":
        return f"episode {number} of a trial"
    if kind != "after":
        return name
    return f"after {number} gradient step{'s' * (number != '1')}" if number != "0" else "before adaptation"


def _unit(value: float, units: Iterable[tuple[str, float]]) -> tuple[str, float]:
    """The first unit that is not larger than a value, else the last."""
    *larger, smallest = units
    return next((unit for unit in larger if value >= unit[1]), smallest)


def _bare(svg: str) -> str:
    """An SVG as a part of a page: without what a file needs and without its date, in the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(
        r"<metadata>.*?</metadata>|<style.*?</style>| xmlns(:xlink)?=\"[^\"]*\"", "", svg, flags=re.DOTALL
    )
    return svg.replace(INK, "currentColor").replace(SOFT, "var(--soft)")
