#!/usr/bin/env -S bash -c '"${0%/*}"/environment && exec "${0%/*}"/../.venv/bin/python "$0" "$@"'
"""What becomes of policies after something has broken in mid-episode: `scripts/recovery.py RUN [RUN ...]`.

Plays held-out tasks of a family in which a number changes once (HalfCheetahBreaks, Go1Damage), and lays the
rewards of all episodes side by side from the moment of the change on. A policy has settled when from then on
the mean reward of half a second stays within a tenth of what was lost of where it is in the end, be that as
good as before or worse; at once, where it never loses more than a twentieth of what it had.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from matplotlib.figure import Figure

from metarl.envs import BatchSim, InputError, TaskFamily, load_family
from metarl.evaluation.statistics import bootstrap, interval, resamples
from metarl.files import write_json
from metarl.learners.agent import Agent
from metarl.report.figures import COLOURS
from metarl.runs.run_folder import load_agent

BEFORE_IT, LATELY, LASTS = 1.0, 0.5, 1.0  # s: shown before, averaged over, and what counts as the end
SETTLED = 0.1  # of what was lost at the worst: so far off is where it stays
NOTHING = 0.05  # of what it had before: who loses no more has not been thrown back


@dataclass
class Options:
    """What to look at."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """run folders of one family, or of several with the same robot"""
    family: str | None = None
    """in which to play, where it is another one than they were trained on"""
    split: Literal["test", "ood"] = "test"
    """which tasks"""
    episodes: int = 10
    """of each task"""
    column: int = 0
    """how often a policy that adapts between episodes has adapted; of one that remembers, episodes before"""
    seed: int = 0
    """of initial states, and of when and how it breaks"""
    out: Path | None = None
    """picture of the rewards"""
    json: Path | None = None
    """file for the numbers"""


@dataclass(frozen=True)
class Recovery:
    """What the rewards a step tell, with intervals over tasks: value, low, high.

    Attributes:
        before: in the second before it breaks.
        lowest: in the worst half second afterwards.
        after: in the last second of the common time afterwards.
        seconds: until it has settled there.
    """

    run: str
    before: tuple[float, float, float]
    lowest: tuple[float, float, float]
    after: tuple[float, float, float]
    seconds: tuple[float, float, float]


def aligned(agent: Agent, family: TaskFamily, options: Options) -> np.ndarray:
    """Rewards around the change, (tasks, steps): means over a task's episodes; what has ended counts 0."""
    if (family.obs_dim, family.action_dim) != (agent.family.obs_dim, agent.family.action_dim):
        raise InputError(f"a policy of {agent.family.name} cannot act in {family.name}: it is another robot")
    once = [param.name for param in family.params if param.change]
    if not once:
        raise InputError(f"nothing of {family.name} changes once in the midst of an episode")
    tasks = family.tasks(options.split)
    sim = BatchSim(family, len(tasks) * options.episodes, agent.n_threads)
    sim.set_tasks([task for task in tasks for _ in range(options.episodes)])
    dynamics, policy = (np.random.default_rng(s) for s in np.random.SeedSequence(options.seed).spawn(2))
    adapter = agent.adapter()
    adapter.begin(tasks, policy)
    for _ in range(options.column):
        adapter.adapt(adapter.collect(sim, dynamics))
    episodes = adapter.collect(sim, dynamics)
    moment = sim.moments(once[0])
    first = round(BEFORE_IT / family.dt)
    steps = np.arange(-first, family.horizon - moment.max())[:, None] + moment
    lived = np.where(episodes.valid, episodes.reward, 0.0)
    around = np.take_along_axis(lived, steps, axis=0)
    return around.T.reshape(len(tasks), options.episodes, -1).mean(axis=1)


def recovery(run: str, rewards: np.ndarray, dt: float) -> Recovery:
    """The numbers of rewards (tasks, steps) that begin a second before the change."""
    first, window = round(BEFORE_IT / dt), round(LATELY / dt)
    smooth = smoothed(rewards[:, first:], window)
    worst = int(smooth.mean(axis=0).argmin())
    one = {
        "before": rewards[:, :first].mean(axis=1),
        "lowest": smooth[:, worst],
        "after": rewards[:, -round(LASTS / dt) :].mean(axis=1),
    }
    numbers = {name: (float(x.mean()), *bootstrap(x[:, None])[0].tolist()) for name, x in one.items()}
    mean = settled_after(rewards.mean(axis=0, keepdims=True), dt)[0]
    seconds = settled_after(resamples(len(rewards)) @ rewards, dt)
    return Recovery(run, **numbers, seconds=(float(mean), *interval(seconds).tolist()))


def settled_after(curves: np.ndarray, dt: float) -> np.ndarray:
    """Seconds until each of some curves (n, steps), which begin a second before the change, has settled."""
    first, window = round(BEFORE_IT / dt), round(LATELY / dt)
    before, end = curves[:, :first].mean(axis=1), curves[:, -round(LASTS / dt) :].mean(axis=1)
    smooth = smoothed(curves[:, first:], window)
    lost = before - smooth.min(axis=1)
    thrown_back = lost > NOTHING * np.abs(before)
    away = thrown_back[:, None] & (np.abs(smooth - end[:, None]) > SETTLED * lost[:, None])
    steps = np.where(away.any(axis=1), away.shape[1] - away[:, ::-1].argmax(axis=1) + window, 0)
    return steps * dt


def smoothed(curves: np.ndarray, window: int) -> np.ndarray:
    """Means of so many steps in a row, (n, steps - window + 1)."""
    sums = np.cumsum(np.pad(curves, ((0, 0), (1, 0))), axis=1)
    return (sums[:, window:] - sums[:, :-window]) / window


def draw(curves: dict[str, np.ndarray], title: str, dt: float, path: Path) -> None:
    """Rewards a step of every run, with intervals over tasks."""
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    panel = figure.subplots()
    window = round(LATELY / dt / 2)
    for (name, rewards), colour in zip(curves.items(), cycle(COLOURS), strict=False):
        smooth = smoothed(rewards, window)
        seconds = (np.arange(smooth.shape[1]) + window) * dt - BEFORE_IT
        low, high = bootstrap(smooth).T
        panel.fill_between(seconds, low, high, color=colour, alpha=0.2, linewidth=0)
        panel.plot(seconds, smooth.mean(axis=0), color=colour, label=name)
    panel.axvline(0, color="0.4", linewidth=0.8, linestyle=":")
    panel.set_xlabel("seconds since it broke")
    panel.set_ylabel("reward a step")
    panel.set_title(title, fontsize=10)
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=2)
    figure.savefig(path, dpi=150)


def main(argv: Sequence[str] | None = None) -> int:
    """Play, print and write; returns the exit status."""
    options = tyro.cli(Options, args=argv, description=__doc__)
    found, curves = [], {}
    try:
        for run in options.runs:
            agent = load_agent(run, 0)[0]
            family = agent.family if options.family is None else load_family(options.family)
            name = run.name.removesuffix(".pt")
            curves[name] = aligned(agent, family, options)
            found.append(recovery(name, curves[name], family.dt))
            said = ", ".join(
                f"{what} {value[0]:.2f} [{value[1]:.2f}, {value[2]:.2f}]"
                for what, value in asdict(found[-1]).items()
                if what != "run"
            )
            print(f"{name}: {said}", flush=True)
    except InputError as error:
        print(f"recovery: {error}", file=sys.stderr)
        return 2
    if options.out is not None:
        where = {"test": "held-out tasks", "ood": "tasks out of distribution"}[options.split]
        draw(curves, f"{family.name}, {where}", family.dt, options.out)
    if options.json is not None:
        write_json(options.json, [asdict(one) for one in found])
    return 0


if __name__ == "__main__":
    sys.exit(main())
