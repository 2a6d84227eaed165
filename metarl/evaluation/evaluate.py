"""Held-out evaluation: returns[task, column] with intervals, on the axis of experience."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np

from metarl.envs import InputError, Step, TaskFamily, World, simulate
from metarl.envs.catalogue import as_family
from metarl.evaluation.references import references_on
from metarl.evaluation.statistics import bootstrap, iqm
from metarl.learners.adapter import Adapter, column_title, n_forgotten
from metarl.learners.agent import Agent
from metarl.progress import progress
from metarl.ranges import checked_seed, whole


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found; `asdict` is the JSON that `metarl evaluate --json` writes.

    Attributes:
        tasks: K task values.
        env_steps_used, episodes_used: per column, experience of a task before it (mean): all steps that
            were simulated until then, also those of no episode that the adapter shows; and the episodes.
        returns: K x columns, mean undiscounted return over a column's episodes.
        episode_returns: K x columns x E, of every episode.
        failures: per column, episodes that ended in numbers that are not finite; each counts as it was until
            then, and is no success.
        success: K x columns, share of a column's episodes that end at the goal; None where the family
            does not say what that is.
        error: K x columns, how far from what is asked a column's episodes are, in the family's unit: mean
            over the second half of an episode, or at its end if it ends before; None where it does not say.
        mean, iqm, ci95: per column, over tasks; the interval is a percentile bootstrap over tasks.
        gain, gain_ci95: per column, mean paired difference from the first one and its interval.
        average: K returns of a policy trained over the family that does not adapt; None where unknown.
        gain_over_average, gain_over_average_ci95: per column, mean paired difference from those and its
            interval; None where they are unknown.
        score: per column, (return - random) / (oracle - random); None where a reference is unknown.
    """

    family: str
    learner: str
    split: str
    tasks: list[dict[str, Any]]
    column: str
    episodes_per_column: int
    env_steps_used: list[float]
    episodes_used: list[int]
    returns: list[list[float]]
    episode_returns: list[list[list[float]]]
    success: list[list[float]] | None
    mean: list[float]
    iqm: list[float]
    ci95: list[list[float]]
    gain: list[float]
    gain_ci95: list[list[float]]
    score: list[float | None]
    seed: int
    average: list[float] | None = None
    gain_over_average: list[float] | None = None
    gain_over_average_ci95: list[list[float]] | None = None
    error: list[list[float]] | None = None
    failures: list[int] | None = None

    def title(self, k: int) -> str:
        """When the episodes of column k are played, in words: "before adaptation", "episode 1"."""
        return column_title(self.column, k)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def evaluate(
    adapter: Adapter | Agent,
    family: TaskFamily | str,
    tasks: Sequence[Mapping[str, Any]],
    n_columns: int,
    n_episodes: int,
    learner: str = "",
    split: str = "test",
    seed: int = 0,
    n_threads: int = 0,
    progress_bar: bool = False,
) -> Evaluation:
    """Let an adapter meet K new tasks, n episodes of each per column.

    The order of the tasks changes no number.

    Args:
        adapter: who is judged; an agent by its own adapter.
        family: whose tasks, or its name.
        tasks: K of them, as tasks or as names and numbers.
        n_columns: how often it may collect; it adapts in between, or, if it has a memory, within.
        n_episodes: E, episodes of each task per column.
        learner: its name, for the record; an agent has one.
        split: the tasks' name, for the record.
        seed: of initial states and, apart from them, of actions.
        n_threads: physics threads, 0 for one per CPU.
        progress_bar: show one.

    Raises:
        InputError: there is no such family or task, or nothing to count; or an adapter shows more steps
            than were simulated.
    """
    family, seed = as_family(family), checked_seed(seed)
    tasks, n_columns, n_episodes = (
        family.given(tasks),
        whole("n_columns", n_columns),
        whole("n_episodes", n_episodes),
    )
    if min(len(tasks), n_columns, n_episodes) < 1:
        raise InputError(
            f"{len(tasks)} tasks, {n_columns} columns of {n_episodes} episodes: use at least 1 of each"
        )
    if isinstance(adapter, Agent):
        learner = learner or adapter.name
        adapter = adapter.adapter()
    dynamics, policy = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    order = sorted(range(len(tasks)), key=lambda k: repr(tasks[k]))
    place = np.argsort(order)  # of each task in the canonical order that everything is done in
    met = [tasks[k] for k in order]
    sim = _Watched(simulate(family, len(tasks) * n_episodes, n_threads))
    sim.set_tasks([task for task in met for _ in range(n_episodes)])
    adapter.begin(met, policy)
    n_shared = n_episodes if adapter.shares_episodes else 1
    n_adapting = sim.n_sims // n_shared
    forgotten = n_forgotten(adapter.column)
    columns, successes, errors, failures = [], [], [], []
    used, total, counted = [], 0.0, 0  # steps of a task before each column and so far; steps in all so far
    with progress("evaluating", n_columns, shown=progress_bar) as bar:
        for column in range(n_columns):
            before = sim.n_failures
            episodes = adapter.collect(cast(World, sim), dynamics)
            failures.append(sim.n_failures - before)
            columns.append(episodes.returns().reshape(len(tasks), n_episodes))
            if sim.succeeded is not None:
                successes.append(sim.succeeded.reshape(len(tasks), n_episodes).mean(axis=1))
            if sim.off is not None:
                errors.append(sim.off.reshape(len(tasks), n_episodes).mean(axis=1))
            hidden = sim.n_steps - counted - episodes.n_steps  # simulated, and in no episode that is shown
            if hidden < 0:
                raise InputError(
                    f"the adapter shows {episodes.n_steps} steps of which {-hidden} were not simulated: "
                    "collect has to play its episodes in the simulations that it is given"
                )
            used.append(total + hidden / n_adapting)
            total, counted = used[-1] + episodes.n_steps / n_adapting, sim.n_steps
            if column < forgotten:
                total = 0.0
            bar.update(column + 1)
            if column < n_columns - 1:
                adapter.adapt(episodes)
    episode_returns = np.stack(columns, axis=1).astype(float)
    returns = episode_returns.mean(axis=2)
    gains = returns - returns[:, :1]
    known = references_on(family, met)
    average = np.array(known.average) if known else None
    over = None if average is None else returns - average[:, None]
    return Evaluation(
        family=family.name,
        learner=learner,
        split=split,
        tasks=[dict(task) for task in tasks],
        column=adapter.column,
        episodes_per_column=n_episodes,
        env_steps_used=used,
        episodes_used=[n_shared * max(0, k - forgotten) for k in range(n_columns)],
        returns=returns[place].tolist(),
        episode_returns=episode_returns[place].tolist(),
        success=np.stack(successes, axis=1)[place].tolist() if successes else None,
        mean=returns.mean(axis=0).tolist(),
        iqm=iqm(returns).tolist(),
        ci95=bootstrap(returns).tolist(),
        gain=gains.mean(axis=0).tolist(),
        gain_ci95=bootstrap(gains).tolist(),
        score=known.score(returns).tolist() if known else [None] * n_columns,
        seed=seed,
        average=None if average is None else average[place].tolist(),
        gain_over_average=None if over is None else over.mean(axis=0).tolist(),
        gain_over_average_ci95=None if over is None else bootstrap(over).tolist(),
        error=np.stack(errors, axis=1)[place].tolist() if errors else None,
        failures=failures,
    )


class _Watched:
    """A world that remembers how far from what is asked its simulations were; all else is the world's own.

    Attributes:
        off: (N,), mean over the second half of an episode, or of its last step if it ended before (or as it
            began, if it blew up at once); None where the family does not say.
    """

    def __init__(self, world: World):
        self.world = world
        self.off: np.ndarray | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world, name)

    def reset(self, rng: np.random.Generator, mask: np.ndarray | None = None) -> np.ndarray:
        """Begin, and look."""
        obs, now = self.world.reset(rng, mask), self.world.error()
        if now is not None:
            old = now if self.off is None else self.off
            self.off = np.where(True if mask is None else mask, now, old).astype(float)
        return obs

    def step(self, action: np.ndarray, mask: np.ndarray | None = None) -> Step:
        """Advance, and look."""
        step, world = self.world.step(action, mask), self.world
        now = world.error()
        if now is None or self.off is None:
            return step
        n_late = np.maximum(world.elapsed - world.family.horizon // 2, 1)  # steps in the mean, with this one
        seen = ~step.failed if mask is None else mask & ~step.failed
        np.copyto(self.off, self.off + (now - self.off) / n_late, where=seen)
        return step
