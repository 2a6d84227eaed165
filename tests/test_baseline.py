"""The linear baseline: exact where the target is linear, and each task for itself."""

import numpy as np
import pytest
import torch

from metarl.learners.maml.baseline import MAX_FEATURE, RIDGE, features, fit_predict

K, B = 5, 60


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features (K, B, F), target (K, B), valid (K, B): every task of another scale and length."""
    g = torch.Generator().manual_seed(0)
    obs = torch.randn(K, B, 3, generator=g, dtype=torch.float64)
    time = (torch.arange(B) % 20 / 100).expand(K, B).double()
    scale = torch.arange(1, K + 1).double()[:, None]
    target = scale * torch.randn(K, B, generator=g, dtype=torch.float64)
    valid = torch.arange(B) < torch.arange(B - K + 1, B + 1)[:, None]
    return features(obs, time), target, valid


def test_the_features_are_obs_its_square_and_powers_of_time():
    out = features(torch.tensor([2.0, -3.0, 1e6]), torch.tensor(0.5))
    big = MAX_FEATURE
    assert out.tolist() == [2.0, -3.0, big, 4.0, 9.0, big**2, 0.5, 0.25, 0.125, 1.0]


def test_a_linear_target_is_recovered(data):
    feature, _, valid = data
    weight = torch.linspace(-2, 3, feature.shape[-1], dtype=torch.float64)
    target = feature @ weight
    torch.testing.assert_close(fit_predict(feature, target, valid)[valid], target[valid], rtol=0, atol=0.03)


def test_all_tasks_at_once_are_a_loop_of_least_squares(data):
    feature, target, valid = data
    out = fit_predict(feature, target, valid)
    for k in range(K):
        x, y = feature[k][valid[k]].numpy(), target[k][valid[k]].numpy()
        ridge = np.sqrt(RIDGE * np.mean(np.sum(x**2, axis=0)))  # ridge regression as rows of lstsq
        rows = np.concatenate([x, ridge * np.eye(x.shape[1])])
        weight = np.linalg.lstsq(rows, np.concatenate([y, np.zeros(x.shape[1])]), rcond=None)[0]
        np.testing.assert_allclose(out[k][valid[k]].numpy(), x @ weight, rtol=1e-8, atol=1e-8)


def test_padding_takes_no_part_and_is_worth_nothing(data):
    feature, target, valid = data
    junk = torch.where(valid, target, 1e6), torch.where(valid[..., None], feature, -1e3)
    out, other = fit_predict(feature, target, valid), fit_predict(junk[1], junk[0], valid)
    assert torch.equal(out, other)
    assert (out[~valid] == 0).all()


def test_no_task_touches_another(data):
    feature, target, valid = data
    out = fit_predict(feature, target, valid)
    feature, target = feature.clone(), target.clone()
    feature[0], target[0] = 7.0, -1e5
    other = fit_predict(feature, target, valid)
    assert torch.equal(out[1:], other[1:])
    assert not torch.equal(out[0], other[0])


def test_no_data_and_constant_data_give_numbers(data):
    feature, target, valid = data
    assert torch.isfinite(fit_predict(torch.ones_like(feature), target, valid)).all()
