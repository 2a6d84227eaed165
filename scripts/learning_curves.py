"""Draw learning curves of several runs: `scripts/learning_curves.py OUT.png RUN [RUN ...]`.

Runs of one family are its seeds: the line is their mean, the band their range.
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from metarl.logs import PROGRESS, STEP
from metarl.plots import AFTER, BEFORE
from metarl.run_folder import RunFolder


def main(out: str, *folders: str) -> None:
    """Read the runs and draw one panel a family and learner."""
    curves = defaultdict(list)
    for folder in folders:
        with open(Path(folder) / PROGRESS, newline="") as file:
            rows = list(csv.DictReader(file))
        config = RunFolder(folder).read_config()
        first, *_, last = sorted(k for k in rows[0] if k.startswith("return/"))
        columns = [[float(row[k]) for row in rows] for k in (STEP, first, last)]
        curves[config.family, config.learner, first, last].append(columns)
    figure = Figure(figsize=(3.4 * len(curves), 3.2), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(curves)))
    for panel, ((family, learner, *names), seeds) in zip(panels, curves.items(), strict=True):
        length = min(len(seed[0]) for seed in seeds)
        data = np.array([[column[:length] for column in seed] for seed in seeds])  # seeds, columns, rows
        x = data[0, 0] / 1e6
        for k, (colour, name) in enumerate(zip((BEFORE, AFTER), names, strict=True), start=1):
            panel.plot(x, data[:, k].mean(axis=0), color=colour, label=label(name))
            panel.fill_between(x, data[:, k].min(0), data[:, k].max(0), color=colour, alpha=0.25, lw=0)
        panel.set_title(f"{family}, {learner}, {len(seeds)} seeds", fontsize=10)
        panel.set_xlabel("million environment steps")
        panel.set_ylabel("return on training tasks")
        panel.legend(frameon=False, fontsize=8)
    figure.savefig(out, dpi=150)


def label(name: str) -> str:
    """A column of progress.csv in words: return/after_0, return/episode_2."""
    kind, _, number = name.removeprefix("return/").rpartition("_")
    if kind == "episode":
        return f"episode {number} of a trial"
    return "before adaptation" if number == "0" else f"after {number} gradient step{'s' * (number > '1')}"


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
