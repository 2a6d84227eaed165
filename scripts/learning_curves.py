#!/usr/bin/env -S bash -c '"${0%/*}"/environment && exec "${0%/*}"/../.venv/bin/python "$0" "$@"'
"""Draw learning curves of several runs: `scripts/learning_curves.py OUT.png RUN [RUN ...]`.

Runs of one family are its seeds: the line is their mean, the band their range.
"""

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from metarl.evaluation.plots import AFTER, BEFORE
from metarl.report.figures import words_of_progress
from metarl.report.runs import read_run
from metarl.runs.logs import STEP

POINTS = 400  # of a curve, at most


def main(out: str, *folders: str) -> None:
    """Read the runs and draw one panel a family and learner."""
    curves = defaultdict(list)
    for folder in folders:
        run = read_run(Path(folder))
        if not run.progress:
            sys.exit("; ".join(run.missing))
        first, last = run.return_columns
        own = np.isfinite(run.progress[first])  # rows that are not a teacher's
        columns = [np.asarray(run.progress[k])[own] for k in (STEP, first, last)]
        curves[run.config.family, run.config.learner, first, last].append(columns)
    figure = Figure(figsize=(3.4 * len(curves), 3.2), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(curves)))
    for panel, ((family, learner, *names), seeds) in zip(panels, curves.items(), strict=True):
        # Episodes that end early give every seed steps of its own: all are read off where all have been.
        ends = max(steps[0] for steps, *_ in seeds), min(steps[-1] for steps, *_ in seeds)
        x = np.linspace(*ends, min(POINTS, min(len(steps) for steps, *_ in seeds)))
        for k, (colour, name) in enumerate(zip((BEFORE, AFTER), names, strict=True), start=1):
            y = np.array([np.interp(x, seed[0], seed[k]) for seed in seeds])
            panel.plot(x / 1e6, y.mean(axis=0), color=colour, label=words_of_progress(name))
            panel.fill_between(x / 1e6, y.min(axis=0), y.max(axis=0), color=colour, alpha=0.25, lw=0)
        panel.set_title(f"{family}, {learner}, {len(seeds)} seeds", fontsize=10)
        panel.set_xlabel("million environment steps")
        panel.set_ylabel("return on training tasks")
        panel.legend(frameon=False, fontsize=8)
    figure.savefig(out, dpi=150)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
