"""The figures of a report, as SVG that takes its colours and letters from the page around it."""

import io
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import wraps
from itertools import product
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle, Wedge
from matplotlib.ticker import NullLocator

from metarl.envs import AnnulusRadius, Choice, Param, TaskFamily
from metarl.envs.distributions import Distribution
from metarl.evaluation.evaluate import Evaluation
from metarl.evaluation.plots import AFTER, BEFORE, LATER
from metarl.evaluation.references import References
from metarl.report.groups import Group, words_of_column
from metarl.report.runs import RETURN
from metarl.runs.logs import STEP

COLOURS = (AFTER, BEFORE, LATER, "#CC79A7", "#D55E00", "#56B4E9")  # Okabe and Ito
MARKERS = "osD^vP"  # of groups, beside the colour
LABELS = {"test": "test tasks", "ood": "out of distribution"}
TRAINED = "range of training"
REFERENCES = {"oracle": "--", "average": "-.", "random": ":"}
INK, SOFT = "#0a0b0c", "#0d0e0f"  # stand for the page's colours: of text, and of what lies behind it
FAINT = "#8a8a8a"  # seen on light and on dark pages
WIDTH, LETTER = 9.4, 0.075  # inches: of every figure, so that letters have one size, and of a letter
PER_ROW = 3  # panels
MANY = 8  # times as much experience as another needs a logarithmic axis
FEW = 3  # rows, of which each is marked
WINDOWS = 20  # of a learning curve, over which its moving mean is taken
MOST_TICKS = 9
STYLE: dict[Any, Any] = {
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
def adaptation(groups: Sequence[Group], references: References | None, family: TaskFamily) -> Figure:
    """Mean return on the test tasks, and its interval, against experience on the new task.

    Args:
        groups: evaluated ones.
        references: horizontal lines for policies that do not adapt, and curves of those that learn from
            scratch.
        family: whose tasks.
    """
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    axes = figure.subplots()
    results = [group.results["test"] for group in groups]
    for k, (group, result) in enumerate(zip(groups, results, strict=True)):
        colour, marker = _look(k)
        axes.fill_between(result.env_steps_used, *np.array(result.ci95).T, color=colour, alpha=0.2, lw=0)
        axes.plot(result.env_steps_used, result.mean, f"{marker}-", color=colour, ms=4, label=group.title)
        k = group.trained_column
        axes.plot(result.env_steps_used[k], result.mean[k], marker, color=colour, ms=9)
    used = [steps for result in results for steps in result.env_steps_used]
    for name, linestyle in REFERENCES.items() if references else ():
        value = np.mean(getattr(references, name))
        axes.axhline(value, color=INK, linestyle=linestyle, linewidth=1, label=name)
    if references and references.scratch:
        x, y = ([np.array(c[name]) for c in references.scratch] for name in ("env_steps", "returns"))
        _curve(axes, x, y, {"color": INK, "linestyle": "-"}, f"from scratch on one task ({len(x)} of them)")
        used += [steps[-1] for steps in x]
    _experience(axes, used)
    axes.set_ylabel(f"return over {family.horizon} steps")
    _legend(figure, axes)
    return figure


@_drawn
def against_one(groups: Sequence[Group], splits: Sequence[str], family: TaskFamily) -> Figure:
    """Return in the first column and as trained against the one number that varies; a panel a group."""
    (param,) = family.params
    first = ", or ".join(dict.fromkeys(words_of_column(group.results["test"], 0) for group in groups))
    figure, panels = _panels(groups, 3.2, sharey=True)
    for g, (panel, group) in enumerate(zip(panels, groups, strict=True)):
        columns = {0: (FAINT, "s"), group.trained_column: (_look(g)[0], "o")}
        for k, (low, high) in enumerate(_ranges(param.train)):
            panel.axvspan(low, high, color=SOFT, lw=0, label=None if k else TRAINED)
        for split in [split for split in splits if split in group.results]:
            result, filled = group.results[split], split == "test"
            value = np.array([task[param.name] for task in result.tasks])
            order = np.argsort(value)
            for column, (colour, marker) in columns.items():
                returns = group.returns(split)[:, order, column]  # (trainings, tasks)
                face = colour if filled else "none"
                when = first if column == 0 else "as trained"
                label = when if filled else f"{when}, out of distribution"
                line = 0 if isinstance(param.train, Choice) else 1
                look: dict[str, Any] = {"color": colour, "marker": marker, "ms": 4, "mfc": face, "lw": line}
                panel.plot(value[order], returns.mean(axis=0), **look, label=label)
                panel.fill_between(
                    value[order], returns.min(0), returns.max(0), color=colour, alpha=0.2, lw=0
                )
        if isinstance(param.train, Choice):
            panel.set_xticks(param.train.values)
        panel.set_xlabel(_axis(param))
    for panel in panels[::PER_ROW]:
        panel.set_ylabel(f"return over {family.horizon} steps")
    _legend(figure, panels[0], _look(0)[0])
    return figure


@_drawn
def against_two(groups: Sequence[Group], splits: Sequence[str], family: TaskFamily) -> Figure:
    """Return after adaptation, as a colour, over the two numbers that vary; a panel a group."""
    figure, panels = _panels(groups, 2.9, ConstrainedLayoutEngine(compress=True, h_pad=0.12))
    adapted = [
        {s: group.returns(s)[..., group.trained_column].mean(axis=0) for s in splits if s in group.results}
        for group in groups
    ]
    shown = np.concatenate([returns for row in adapted for returns in row.values()])
    colours = ScalarMappable(Normalize(shown.min(), shown.max()), "cividis")
    for panel, group, row in zip(panels, groups, adapted, strict=True):
        _ground(panel, family, splits)
        for (split, returns), marker in zip(row.items(), "os", strict=False):
            x, y, names = _place(group.results[split], family)
            colour, label = colours.to_rgba(returns), LABELS[split]
            panel.scatter(x, y, s=70, c=colour, marker=marker, edgecolors=INK, linewidths=0.5, label=label)
        panel.set(xlabel=names[0], ylabel=names[1] if panel in panels[::PER_ROW] else "")
        panel.set_aspect("equal" if names[0].partition("(")[2] == names[1].partition("(")[2] else "auto")
    n_rows = -(-len(groups) // PER_ROW)
    words = f"return over {family.horizon} steps"
    bar = figure.colorbar(colours, ax=panels, label=words, aspect=20 * n_rows, pad=0.02)
    if bar.solids is not None:
        bar.solids.set_rasterized(True)
    bar.ax.spines["outline"].set_visible(False)
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
            label = f"{group.label}: {words_of_progress(runs[0].return_columns[j])}"
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
    groups: Sequence[Group], height: float, layout: ConstrainedLayoutEngine | None = None, **kwargs: Any
) -> tuple[Figure, list[Axes]]:
    """A panel for each group, some to a row, with its label and how much it adapts."""
    n_columns = min(len(groups), PER_ROW)
    n_rows = -(-len(groups) // n_columns)
    figure = Figure(figsize=(WIDTH, 0.6 + height * n_rows), layout=layout or "constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False, **kwargs).flat
    for panel in panels[len(groups) :]:
        panel.remove()
    for panel, group in zip(panels, groups, strict=False):
        panel.set_title(fill(f"{group.label}, {group.adapted}", 32))
    return figure, list(panels[: len(groups)])


def _place(result: Evaluation, family: TaskFamily) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Where the tasks of a family of two numbers lie in a plane, (K,) each, and what its axes are."""
    first, second = family.params
    x, y = (np.array([task[param.name] for task in result.tasks]) for param in family.params)
    if not _is_polar(family):
        return x, y, [_axis(first), _axis(second)]
    names = [f"{first.name} {f} {second.name} ({first.unit})" for f in ("cos", "sin")]
    return x * np.cos(y), x * np.sin(y), names


def _ground(axes: Axes, family: TaskFamily, splits: Sequence[str]) -> None:
    """The part of the plane from which tasks are drawn: an area in training, dashed lines beyond."""
    dists = [param.train for param in family.params]
    for k, shape in enumerate(_shapes(family, dists)):
        shape.set(facecolor=SOFT, lw=0, label=None if k else TRAINED)
        axes.add_patch(shape)
    if "ood" in splits:
        for shape in _shapes(family, [param.ood or param.train for param in family.params]):
            shape.set(fill=False, edgecolor=INK, lw=0.7, ls="--")
            axes.add_patch(shape)


def _shapes(family: TaskFamily, dists: Sequence[Distribution]) -> list[Patch]:
    """Where two numbers lie that are drawn from these."""
    pairs = product(*map(_ranges, dists))
    if not _is_polar(family):
        return [Rectangle((a, b), a_end - a, b_end - b) for (a, a_end), (b, b_end) in pairs]
    return [Wedge((0, 0), a_end, *np.degrees(angles), width=a_end - a) for (a, a_end), angles in pairs]


def _ranges(dist: Distribution) -> list[tuple[float, float]]:
    """The intervals on which a distribution lives; none if it is a choice."""
    return [] if isinstance(dist, Choice) else [(d.low, d.high) for d in getattr(dist, "ranges", (dist,))]


def _is_polar(family: TaskFamily) -> bool:
    first, second = family.params
    return isinstance(first.train, AnnulusRadius) and second.unit == "rad"


def _experience(axes: Axes, steps: Sequence[float]) -> None:
    """Label the axis of experience; where learners use very different amounts of it, logarithmic."""
    least, most = min((s for s in steps if s > 0), default=0.0), max(steps)
    label = "environment steps used on the new task"
    if most > MANY * least > 0:
        ticks = [s for p in range(9) for s in (10**p, 2 * 10**p, 5 * 10**p) if least <= s <= most]
        if len(ticks) > MOST_TICKS:
            ticks = [10**p for p in range(9) if least <= 10**p <= most]
        axes.set_xscale("symlog", linthresh=least, linscale=0.5)
        axes.set_xticks([0, *ticks], [f"{s:,}" for s in (0, *ticks)])
        axes.xaxis.set_minor_locator(NullLocator())
        label = f"{label} (logarithmic beyond {least:g})"
    axes.set_xlabel(label)


def _curve(
    axes: Axes,
    x: Sequence[np.ndarray],
    y: Sequence[np.ndarray],
    look: Mapping[str, Any],
    label: str | None = None,
) -> None:
    """Draw each run's curve and, above, its moving mean; of several, the mean of those that go so far."""
    marker = "." if max(map(len, x)) < FEW else ""
    if len(x) > 1 or len(x[0]) > WINDOWS:
        for one, other in zip(x, y, strict=True):
            axes.plot(one, other, **{**look, "linestyle": "-"}, lw=0.6, alpha=0.35, marker=marker)
        y = [_moving_mean(other) for other in y]
    if len(x) > 1:
        grid = np.linspace(max(one.min() for one in x), max(one.max() for one in x), 200)
        seen = [np.interp(grid, *pair, right=np.nan) for pair in zip(x, y, strict=True)]
        x, y = [grid], [np.ma.masked_invalid(seen).mean(axis=0)]
    axes.plot(x[0], y[0], **look, lw=1.6, marker=marker, label=label)


def _moving_mean(y: np.ndarray) -> np.ndarray:
    """Mean over a window around each value; not a number where there is none in it."""
    window = np.ones(max(1, len(y) // WINDOWS))
    known = np.isfinite(y)
    counts = np.convolve(known, window, "same")
    sums = np.convolve(np.where(known, y, 0), window, "same")
    return np.divide(sums, counts, out=np.full(len(y), np.nan), where=counts > 0.5)


def _legend(figure: Figure, axes: Axes, own: str = "") -> None:
    """A legend below, in as many columns as fit; the axes' own colour, which others lack, is left out."""
    handles, labels = axes.get_legend_handles_labels()
    for k, handle in enumerate(handles):
        if isinstance(handle, Line2D) and handle.get_color() == own:
            handles[k] = copy(handle)
            handles[k].set(color=INK, mfc="none" if handle.get_markerfacecolor() == "none" else INK)
    n_columns = int(figure.get_figwidth() / (0.6 + LETTER * max(map(len, labels))))
    n_rows = -(-len(labels) // max(n_columns, 1))
    figure.legend(handles, labels, loc="outside lower center", ncols=-(-len(labels) // n_rows))


def _look(k: int) -> tuple[str, str]:
    """Colour and marker of a group."""
    return COLOURS[k % len(COLOURS)], MARKERS[(k + k // len(COLOURS)) % len(MARKERS)]


def _axis(param: Param) -> str:
    return f"{param.name} ({param.unit})" if param.unit else param.name


def words_of_progress(name: str) -> str:
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
