"""Pictures of what adaptation did."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from envs import TaskFamily
from metarl.evaluate import Evaluation

BEFORE, AFTER = "#E69F00", "#0072B2"  # Okabe and Ito: told apart by everyone
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
        order, last = np.argsort(value), len(result.mean) - 1
        axes[1].plot(value[order], returns[order, 0], "s-", color=BEFORE, label="before adaptation")
        label = f"after {last} {result.column}"
        axes[1].plot(value[order], returns[order, last], "o-", color=AFTER, label=label)
        axes[1].set_xlabel(f"{param.name} of the task{f' ({param.unit})' if param.unit else ''}")
        axes[1].set_ylabel(f"return over {family.horizon} steps")
        axes[1].legend(frameon=False)
    figure.suptitle(f"{result.family}, {result.learner}: {result.split} tasks")
    figure.savefig(path, dpi=150)
