"""Looking inside: what a policy's memory holds of the hidden task, as a trial goes on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from metarl.envs import Task, simulate
from metarl.evaluation.statistics import interval, resamples
from metarl.learners.meta_lstm.agent import MetaLSTM
from metarl.policies.gaussian import Params
from metarl.sampling.trajectories import Trials
from metarl.sampling.trials import collect_trials
from metarl.threads import plain_torch

N_FIRST, N_TIMES = 10, 40  # times at which to read: the first steps, and some over the whole trial
PENALTIES = np.logspace(-4, 2, 13)  # of the readout, beside features of unit variance


@dataclass(frozen=True)
class Probe:
    """What can be read from a memory.

    Attributes:
        time: (S,) steps of the trial.
        episodes: steps at which an episode of the example begins.
        r2: by part of the memory ("memory", "lstm", ...), (S,): how much of the held-out tasks' variance
            a linear readout explains, mean over the task's numbers; 1 is all, 0 or less is nothing.
        untrained: the same of a policy that has learned nothing and sees what this one saw: what is in the
            memory because it was seen, and not because keeping it was learned.
        r2_ci95: the same, (S, 2), bootstrap over held-out tasks.
        attention: (T, slots) of the example, mean over heads; None without an external memory.
        effect: (T, slots), how far the mean action would be off, were a slot never written: root mean
            square over its numbers, mean over the held-out trials; None without an external memory.
        example: the task of the example.
    """

    time: np.ndarray
    episodes: np.ndarray
    r2: dict[str, np.ndarray]
    r2_ci95: dict[str, np.ndarray]
    untrained: dict[str, np.ndarray]
    attention: np.ndarray | None
    effect: np.ndarray | None
    example: Task


def probe(
    agent: MetaLSTM, tasks: Sequence[Task], n_trials: int = 4, n_fit: int = 400, seed: int = 0
) -> Probe:
    """Fit linear readouts of the task on training tasks, and judge them on others.

    Args:
        agent: whose memory.
        tasks: K held-out tasks.
        n_trials: of each of them.
        n_fit: trials on training tasks to fit on.
        seed: of training tasks and initial states.
    """
    rng = np.random.default_rng(seed)
    known = agent.family.sample(rng, n_fit)
    new = [task for task in tasks for _ in range(n_trials)]
    before, after = _played(agent, known, rng), _played(agent, new, rng)
    learner, length = agent.learner, agent.trial_length
    fresh = learner.policy.init(torch.Generator().manual_seed(seed))
    time = np.union1d(np.arange(min(N_FIRST, length)), np.linspace(0, length - 1, N_TIMES).astype(int))
    truth, goal = _numbers(known), _numbers(new)

    def read(params: Params) -> tuple[dict[str, list[tuple[float, np.ndarray]]], np.ndarray | None]:
        """By part of the memory, the scores of its readouts; and the example's attention."""
        fit, judged = _traces(agent, params, before), _traces(agent, params, after)
        fit.pop("attention", None)
        attention = judged.pop("attention", None)
        scores = {
            part: [_score(x[t], truth, judged[part][t], goal, n_trials) for t in time]
            for part, x in fit.items()
        }
        return scores, None if attention is None else attention[:, 0].mean(axis=1)

    (own, attention), (control, _) = read(learner.params), read(fresh)
    with plain_torch(), torch.inference_mode():
        effect = learner.policy.slot_effects(learner.params, learner.inputs(after))
    return Probe(
        time,
        np.flatnonzero(after.episode_start[:, 0]),
        {part: np.array([r2 for r2, _ in rows]) for part, rows in own.items()},
        {part: np.array([ends for _, ends in rows]) for part, rows in own.items()},
        {part: np.array([r2 for r2, _ in rows]) for part, rows in control.items()},
        attention,
        None if effect is None else effect.mean(1).cpu().numpy(),
        new[0],
    )


def _played(agent: MetaLSTM, tasks: Sequence[Task], rng: np.random.Generator) -> Trials:
    """A trial on each task."""
    sim = simulate(agent.family, len(tasks), agent.n_threads)
    sim.set_tasks(tasks)
    return collect_trials(sim, agent.player(len(tasks)), rng, agent.trial_length, deterministic=True)


@plain_torch()
def _traces(agent: MetaLSTM, params: Params, trials: Trials) -> dict[str, np.ndarray]:
    """What goes on in a policy that sees these trials, (T, N, ...)."""
    with torch.inference_mode():
        traces = agent.learner.policy.inspect(params, agent.learner.inputs(trials))
    return {k: x.cpu().numpy() for k, x in traces.items()}


def _numbers(tasks: Sequence[Task]) -> np.ndarray:
    """All numbers of each task, (N, P)."""
    return np.array([np.concatenate([np.ravel(v) for v in task.values()]) for task in tasks], float)


def _score(
    x: np.ndarray, y: np.ndarray, x_new: np.ndarray, y_new: np.ndarray, n_trials: int
) -> tuple[float, np.ndarray]:
    """R^2 on new tasks of a ridge regression of tasks y (N, P) on features x (N, ...), and its interval."""
    x, x_new = x.reshape(len(x), -1).astype(float), x_new.reshape(len(x_new), -1).astype(float)
    mean, std = x.mean(axis=0), x.std(axis=0) + 1e-6
    x, x_new = (x - mean) / std, (x_new - mean) / std
    error = np.square(y_new - y.mean(axis=0) - x_new @ _ridge(x, y - y.mean(axis=0)))
    spread = np.square(y_new - y_new.mean(axis=0))
    # By task, so that the resampled unit is the task, not the trial.
    error, spread = (z.reshape(-1, n_trials, y.shape[1]).sum(axis=1) for z in (error, spread))
    counts = resamples(len(error))
    drawn = (1 - (counts @ error) / np.maximum(counts @ spread, 1e-12)).mean(axis=1)
    score = (1 - error.sum(axis=0) / np.maximum(spread.sum(axis=0), 1e-12)).mean()
    return float(score), interval(drawn)


def _ridge(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Weights (F, P), with the penalty that predicts one half of the tasks best from the other."""
    values, place = np.unique(y, axis=0, return_inverse=True)
    half = place.ravel() % 2 == 0 if len(values) > 2 else np.arange(len(y)) % 2 == 0
    loss = sum(
        np.square(y[~rows] - x[~rows] @ weights).sum(axis=(1, 2))
        for rows in (half, ~half)
        for weights in [_solutions(x[rows], y[rows], PENALTIES)]
    )
    return _solutions(x, y, PENALTIES[[loss.argmin()]])[0]


def _solutions(x: np.ndarray, y: np.ndarray, penalties: np.ndarray) -> np.ndarray:
    """Ridge weights for each penalty, (penalties, F, P), from one decomposition."""
    size, axes = np.linalg.eigh(x.T @ x / len(x))
    along = axes.T @ (x.T @ y) / len(x)
    return axes @ (along / (size[:, None] + penalties[:, None, None]))
