"""Pictures of what adaptation did."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from envs import Choice, TaskFamily
from metarl.evaluate import Evaluation

BEFORE, AFTER, LATER = "#E69F00", "#0072B2", "#009E73"  # Okabe and Ito: told apart by everyone
matplotlib.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})


def plot_adaptation(result: Evaluation, family: TaskFamily, path: Path) -> None:
    """Draw return against experience and, for a family of one parameter, against the task.

    Args:
        result: the evaluation.
        family: whose tasks it is on.
        path: of the PNG (or whatever the ending says).
    """
    single = len(family.params) == 1 and family.size(family.params[0]) == 1
    figure = Figure(figsize=(9 if single else 4.8, 3.8), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, 2 if single else 1))
    returns, columns = np.array(result.returns), np.arange(len(result.mean))
    axes[0].plot(columns, returns.T, color="0.8", linewidth=0.8, zorder=1)
    low, high = np.array(result.ci95).T
    axes[0].fill_between(columns, low, high, color=AFTER, alpha=0.25, linewidth=0, label="95 % interval")
    axes[0].plot(columns, result.mean, "o-", color=AFTER, label=f"mean of {len(returns)} tasks")
    axes[0].set_xticks(columns, [f"{k}\n{n} ep." for k, n in enumerate(result.episodes_used)])
    axes[0].set_xlabel(f"{result.column} (episodes used)")
    axes[0].set_ylabel(f"return over {family.horizon} steps")
    axes[0].legend(frameon=False)
    if single:
        param = family.params[0]
        value = np.array([task[param.name] for task in result.tasks])
        order = np.argsort(value)
        for k in sorted({0, min(1, columns[-1]), columns[-1]}):
            label = f"after {k} {result.column}" if k else "before adaptation"
            style = {0: ("s-", BEFORE), 1: ("o-", AFTER)}.get(k, ("^-", LATER))
            axes[1].plot(value[order], returns[order, k], style[0], color=style[1], ms=4, label=label)
        if isinstance(param.train, Choice):
            axes[1].set_xticks(param.train.values)
        axes[1].set_xlabel(f"{param.name} of the task{f' ({param.unit})' if param.unit else ''}")
        axes[1].set_ylabel(f"return over {family.horizon} steps")
        axes[1].legend(frameon=False)
    figure.suptitle(f"{result.family}, {result.learner}: {result.split} tasks")
    figure.savefig(path, dpi=150)
