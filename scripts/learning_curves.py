"""Draw learning curves of several runs: `scripts/learning_curves.py OUT.png RUN [RUN ...]`.

Runs of one family are its seeds: the line is their mean, the band their range.
"""

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from metarl.logs import STEP
from metarl.plots import AFTER, BEFORE
from metarl.report.figures import words_of_column
from metarl.report.runs import read_run


def main(out: str, *folders: str) -> None:
    """Read the runs and draw one panel a family and learner."""
    curves = defaultdict(list)
    for folder in folders:
        run = read_run(Path(folder))
        first, last = run.return_columns
        columns = [run.progress[k] for k in (STEP, first, last)]
        curves[run.config.family, run.config.learner, first, last].append(columns)
    figure = Figure(figsize=(3.4 * len(curves), 3.2), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(curves)))
    for panel, ((family, learner, *names), seeds) in zip(panels, curves.items(), strict=True):
        length = min(len(seed[0]) for seed in seeds)
        data = np.array([[column[:length] for column in seed] for seed in seeds])  # seeds, columns, rows
        x = data[0, 0] / 1e6
        for k, (colour, name) in enumerate(zip((BEFORE, AFTER), names, strict=True), start=1):
            panel.plot(x, data[:, k].mean(axis=0), color=colour, label=words_of_column(name))
            panel.fill_between(x, data[:, k].min(0), data[:, k].max(0), color=colour, alpha=0.25, lw=0)
        panel.set_title(f"{family}, {learner}, {len(seeds)} seeds", fontsize=10)
        panel.set_xlabel("million environment steps")
        panel.set_ylabel("return on training tasks")
        panel.legend(frameon=False, fontsize=8)
    figure.savefig(out, dpi=150)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
