"""Pictures of what adaptation did."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from metarl.envs import Choice, TaskFamily
from metarl.evaluation.evaluate import Evaluation
from metarl.evaluation.predictions import AHEAD, NOTHING, OTHERS, OWN, Predictions, mean
from metarl.evaluation.probe import Probe
from metarl.learners.adapter import first_number

BEFORE, AFTER, LATER = "#E69F00", "#0072B2", "#009E73"  # Okabe and Ito: told apart by everyone
STYLE: dict[Any, Any] = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}


@matplotlib.rc_context(STYLE)
def plot_adaptation(result: Evaluation, family: TaskFamily, path: Path) -> None:
    """Draw return against experience and, for a family of one parameter, against the task.

    Args:
        result: the evaluation.
        family: whose tasks it is on.
        path: of the PNG (or whatever the ending says).
    """
    single = len(family.params) == 1 and family.size(family.params[0]) == 1
    figure = Figure(figsize=(9 if single else 4.8, 3.8), layout="constrained")
    axes = figure.subplots(1, 2 if single else 1, squeeze=False)[0]
    returns, columns = np.array(result.returns), np.arange(len(result.mean))
    axes[0].plot(columns, returns.T, color="0.8", linewidth=0.8, zorder=1)
    low, high = np.array(result.ci95).T
    if len(returns) > 1:  # one task has no interval
        axes[0].fill_between(columns, low, high, color=AFTER, alpha=0.25, linewidth=0, label="95 % interval")
    words = f"mean of {len(returns)} tasks" if len(returns) > 1 else "one task"
    axes[0].plot(columns, result.mean, "o-", color=AFTER, label=words)
    numbers = [str(first_number(result.column) + k or "before") for k in columns]
    axes[0].set_xticks(columns, [f"{k}\n{n} ep." for k, n in zip(numbers, result.episodes_used, strict=True)])
    axes[0].set_xlabel(f"{result.column} (episodes used)")
    axes[0].set_ylabel(f"return over {family.horizon} steps")
    axes[0].legend(frameon=False)
    if single:
        param = family.params[0]
        value = np.array([task[param.name] for task in result.tasks])
        order = np.argsort(value)
        for k in sorted({0, min(1, columns[-1]), columns[-1]}):
            style = {0: ("s-", BEFORE), 1: ("o-", AFTER)}.get(k, ("^-", LATER))
            axes[1].plot(
                value[order], returns[order, k], style[0], color=style[1], ms=4, label=result.title(k)
            )
        if isinstance(param.train, Choice):
            axes[1].set_xticks(param.train.values)
        axes[1].set_xlabel(f"{param.name} of the task{f' ({param.unit})' if param.unit else ''}")
        axes[1].set_ylabel(f"return over {family.horizon} steps")
        axes[1].legend(frameon=False)
    figure.suptitle(f"{result.family}, {result.learner}: {result.split} tasks")
    figure.savefig(path, dpi=150)


@matplotlib.rc_context(STYLE)
def plot_probe(result: Probe, title: str, path: Path) -> None:
    """Draw what the memory holds as a trial goes on: readout of the task, attention, and what slots do.

    Args:
        result: what was found.
        title: of the picture.
        path: of the PNG (or whatever the ending says).
    """
    maps = []
    if result.attention is not None and result.effect is not None:
        task = ", ".join(f"{k} {np.round(v, 2)}" for k, v in result.example.items() if np.ndim(v) == 0)
        maps = [
            (result.attention, "attention", f"which slots are read: one trial{f', {task}' if task else ''}"),
            (
                result.effect,
                "off by",
                "how far actions would be off, were a slot never written: all trials",
            ),
        ]
    figure = Figure(figsize=(8, 3.6 + 2.3 * len(maps)), layout="constrained")
    panels = figure.subplots(1 + len(maps), 1, sharex=True, squeeze=False)[:, 0]
    for (part, r2), colour in zip(result.r2.items(), (BEFORE, AFTER, LATER), strict=False):
        low, high = result.r2_ci95[part].T
        panels[0].plot(result.time, r2, color=colour, label=f"read from: {part}")
        panels[0].fill_between(result.time, low, high, color=colour, alpha=0.25, linewidth=0)
        untrained = result.untrained[part]
        panels[0].plot(result.time, untrained, "--", color=colour, label="the same, untrained")
    panels[0].set_ylim(-0.1, 1.02)
    panels[0].set_ylabel("$R^2$ of the hidden task\n(linear readout, held-out tasks)")
    panels[0].legend(frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.25))
    for panel, (values, label, words) in zip(panels[1:], maps, strict=True):
        image = panel.imshow(values.T, aspect="auto", cmap="Blues", vmin=0, interpolation="nearest")
        figure.colorbar(image, ax=panel, label=label, pad=0.01)
        panel.set_ylabel("memory slot")
        panel.set_yticks(range(values.shape[1]))
        panel.set_title(words, fontsize=10)
    for panel in panels:
        for start in result.episodes[1:]:
            panel.axvline(start, color="0.3", linestyle=":", linewidth=1)
    panels[-1].set_xlabel("step of the trial (dotted: a new episode)")
    figure.suptitle(title)
    figure.savefig(path, dpi=150)


@matplotlib.rc_context(STYLE)
def plot_predictions(result: Predictions, title: str, path: Path) -> None:
    """Draw how wrong a model's predictions are, along a trial and as a histogram, by what it was told.

    Args:
        result: what was found.
        title: of the picture.
        path: of the PNG (or whatever the ending says).
    """
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    panels = figure.subplots(2, 2)
    colours = {OWN: AFTER, NOTHING: BEFORE, OTHERS: LATER}
    rows = ("observation", result.obs), ("reward", result.reward)
    for (along, histogram), (what, errors) in zip(panels, rows, strict=True):
        for told, colour in colours.items():
            for ahead, style in ((1, "-"), (AHEAD, ":")):
                label = f"{told}, {ahead} step{'s' * (ahead > 1)} ahead"
                along.plot(result.time, mean(errors[told][..., ahead - 1]), style, color=colour, label=label)
            known = errors[told][..., 0][np.isfinite(errors[told][..., 0])]
            histogram.hist(np.log10(known + 1e-8), 40, histtype="step", color=colour)
        along.set_yscale("log")
        along.set_ylabel(f"error of the {what}\n(1: its variance)")
        for start in result.episodes[1:]:
            along.axvline(start, color="0.3", linestyle=":", linewidth=1)
        histogram.set_ylabel("predictions, 1 step ahead")
    panels[1, 0].set_xlabel("step of the trial (dotted: a new episode)")
    panels[1, 1].set_xlabel("$\\log_{10}$ of the error of a prediction")
    lines, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(lines, labels, frameon=False, ncols=3, loc="outside lower center")
    figure.suptitle(f"{title}, by what the model has seen")
    figure.savefig(path, dpi=150)
