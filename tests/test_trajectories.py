"""Trajectories: shapes that disagree raise; padding counts for nothing."""

import numpy as np
import pytest

from metarl.sampling.trajectories import Trajectories

T, N = 4, 3


@pytest.fixture
def identifiable() -> Trajectories:
    """Action = step, reward = 10 * step, simulation i is i + 2 steps long."""
    t = Trajectories.empty(T, N, 5, 2)
    t.action[:] = np.arange(T)[:, None, None]
    t.reward[:] = 10 * np.arange(T)[:, None]
    t.valid[:] = np.arange(T)[:, None] < np.arange(N) + 2
    return t


def test_empty_is_float32_and_bool():
    kinds = {k: x.dtype.name for k, x in vars(Trajectories.empty(T, N, 5, 2)).items()}
    numbers = "obs", "action", "log_prob", "reward", "told", "shown"
    assert {kinds.pop(k) for k in numbers} == {"float32"}
    assert set(kinds.values()) == {"bool"}


@pytest.mark.parametrize("name", [*vars(Trajectories.empty(T, N, 5, 2))])
def test_a_shape_that_disagrees_raises(identifiable, name):
    arrays = vars(identifiable)
    for wrong in (arrays[name][:-1], arrays[name][:, :-1], arrays[name][0], arrays[name][..., None]):
        with pytest.raises(ValueError, match="has shape"):
            Trajectories(**{**arrays, name: wrong})


def test_padding_counts_for_nothing(identifiable):
    assert identifiable.n_steps == 2 + 3 + 4
    assert identifiable.returns().tolist() == [10.0, 30.0, 60.0]
