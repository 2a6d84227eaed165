"""What can be said of returns on a few tasks from a few trainings: intervals, and who is better."""

from collections.abc import Callable

import numpy as np

N_BOOTSTRAP = 10_000
CONFIDENCE = 0.95


def bootstrap(values: np.ndarray) -> np.ndarray:
    """Percentile bootstrap interval of the mean over tasks, (columns, 2), for values (K, columns).

    The order of the tasks changes nothing.
    """
    return interval(resamples(len(values)) @ values[np.lexsort(values.T)]).T


def resamples(n: int) -> np.ndarray:
    """How large a share each of n tasks has in each resample, (N_BOOTSTRAP, n): means are products."""
    return np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=N_BOOTSTRAP) / n


def interval(drawn: np.ndarray) -> np.ndarray:
    """The middle 95 % of resampled values (N_BOOTSTRAP, ...), (2, ...)."""
    tail = 100 * (1 - CONFIDENCE) / 2
    return np.percentile(drawn, [tail, 100 - tail], axis=0)


def iqm(values: np.ndarray) -> np.ndarray:
    """Inter-quartile mean over the first axis (Agarwal et al. 2021, section 4.3)."""
    cut = len(values) // 4
    return np.sort(values, axis=0)[cut : len(values) - cut].mean(axis=0)


def stratified_bootstrap(
    values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], n_bootstrap: int = 2000
) -> np.ndarray:
    """Percentile interval of a statistic, resampling tasks and, within each, trainings.

    As the stratified bootstrap of Agarwal et al. 2021 (section 4.1) resamples trainings within a task;
    the tasks, which stand for all that could have been held out, are resampled too.

    Args:
        values: (trainings, tasks, ...).
        statistic: of (trainings, tasks, ...) resampled.
        n_bootstrap: resamples.

    Returns:
        Lower and upper bound, (2, ...).
    """
    rng = np.random.default_rng(0)
    n_runs, n_tasks = values.shape[:2]
    drawn = []
    for _ in range(n_bootstrap):
        tasks = rng.integers(n_tasks, size=n_tasks)
        runs = rng.integers(n_runs, size=(n_runs, n_tasks))
        drawn.append(statistic(values[runs, tasks]))
    return interval(np.array(drawn))


def probability_of_improvement(one: np.ndarray, other: np.ndarray) -> tuple[float, np.ndarray]:
    """How likely a training of one learner beats one of another on a task (Agarwal et al. 2021, A.4).

    Args:
        one: (trainings, tasks) returns.
        other: (trainings, tasks) returns on the same tasks.

    Returns:
        P(one > other), ties counting half, mean over tasks; and its 95 % interval, (2,).
    """
    wins = (np.sign(one[:, None] - other[None]) + 1) / 2  # every pair of trainings, (A, B, tasks)
    pairs = wins.reshape(-1, wins.shape[-1])
    return float(pairs.mean()), stratified_bootstrap(pairs, lambda drawn: drawn.mean())
