"""Intervals over tasks and trainings, and who is better: against what can be worked out by hand."""

import numpy as np
import pytest
from scipy.stats import trim_mean

from metarl.evaluation.statistics import bootstrap, iqm, probability_of_improvement, stratified_bootstrap


def mean(drawn: np.ndarray) -> np.ndarray:
    return drawn.mean(axis=(0, 1))


def test_the_inter_quartile_mean_forgets_the_best_and_the_worst_quarter():
    values = np.array([[-100.0], [1], [2], [3], [4], [5], [6], [100]])
    assert iqm(values) == [3.5]


@pytest.mark.parametrize("n", [1, 2, 3, 5, 30])
def test_the_inter_quartile_mean_is_scipys(n):
    values = np.random.default_rng(0).standard_normal((n, 4))
    np.testing.assert_allclose(iqm(values), trim_mean(values, 0.25, axis=0), rtol=1e-12)


def test_one_training_is_resampled_by_task_only():
    values = np.random.default_rng(0).standard_normal((1, 30, 3)) * [1, 10, 100]
    one, other = stratified_bootstrap(values, mean), bootstrap(values[0]).T
    assert (np.abs(one - other) < 0.1 * (other[1] - other[0])).all()


def test_trainings_that_differ_widen_the_interval_and_equal_ones_do_not():
    tasks = np.random.default_rng(0).standard_normal(20)
    equal = np.tile(tasks, (3, 1))
    differing = equal + np.array([-3.0, 0, 3])[:, None]
    widths = [float(np.diff(stratified_bootstrap(x, mean))[0]) for x in (equal, differing)]
    assert widths[0] == pytest.approx(float(np.diff(bootstrap(tasks[:, None])[0])[0]), rel=0.1)
    assert widths[1] > 1.3 * widths[0]


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng, hits = np.random.default_rng(1), 0
    for _ in range(100):
        values = rng.standard_normal((2, 25)) + rng.standard_normal(25)
        low, high = stratified_bootstrap(values, mean, 300)
        hits += low < 0 < high
    assert 87 <= hits <= 100


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([[1.0, 2, 3, 4]], [[0.0, 1, 2, 3]], 1.0),
        ([[1.0, 2, 3, 4]], [[1.0, 2, 3, 4]], 0.5),
        ([[1.0, 2, 3, 4]], [[2.0, 1, 4, 3]], 0.5),
        ([[1.0, 5], [3, 5]], [[2.0, 0], [2, 0]], 0.75),  # one of two trainings better on the first task
    ],
)
def test_the_probability_of_improvement_is_the_share_of_pairs_won(one, other, expected):
    p, (low, high) = probability_of_improvement(np.array(one), np.array(other))
    assert p == expected
    assert low <= p <= high
    back, _ = probability_of_improvement(np.array(other), np.array(one))
    assert back == 1 - expected
