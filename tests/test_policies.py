"""Gaussian policies against torch.distributions, and the observation normaliser against numpy."""

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from metarl.learners.maml.config import MAMLConfig
from metarl.learners.maml.learner import MAMLLearner
from metarl.policies.gaussian import GaussianMLP, expand, kl, log_prob
from metarl.policies.normaliser import Normaliser

K, B, OBS_DIM, ACTION_DIM = 4, 7, 3, 2


def gaussians(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    mean = torch.randn(K, B, ACTION_DIM, generator=g)
    return mean, 0.5 * torch.randn(K, 1, ACTION_DIM, generator=g)


def distribution(mean: torch.Tensor, log_std: torch.Tensor) -> Independent:
    return Independent(Normal(mean, log_std.exp().expand_as(mean)), 1)


def test_log_prob_is_that_of_torch_distributions():
    mean, log_std = gaussians(0)
    action = gaussians(1)[0]
    torch.testing.assert_close(log_prob(mean, log_std, action), distribution(mean, log_std).log_prob(action))


def test_kl_is_that_of_torch_distributions_and_knows_its_direction():
    p, q = gaussians(0), gaussians(1)
    torch.testing.assert_close(kl(*p, *q), kl_divergence(distribution(*p), distribution(*q)))
    assert not torch.allclose(kl(*p, *q), kl(*q, *p))
    assert kl(*p, *p).abs().max() == 0


@pytest.fixture
def policy() -> GaussianMLP:
    return GaussianMLP(OBS_DIM, ACTION_DIM, (8, 6))


def test_many_tasks_at_once_are_a_loop_over_tasks(policy):
    g = torch.Generator().manual_seed(0)
    single = [policy.init(g) for _ in range(K)]
    obs = torch.randn(K, B, OBS_DIM, generator=g)
    mean, log_std = policy.mean_std({k: torch.stack([p[k] for p in single]) for k in single[0]}, obs)
    for k in range(K):
        x = obs[k]
        for i in range(2):
            x = torch.tanh(x @ single[k][f"w{i}"] + single[k][f"b{i}"])
        torch.testing.assert_close(mean[k], x @ single[k]["w2"] + single[k]["b2"])
        assert torch.equal(log_std[k], single[k]["log_std"])


def test_a_context_changes_the_first_layer_by_so_much_of_each_of_its_matrices():
    g = torch.Generator().manual_seed(0)
    policy = GaussianMLP(OBS_DIM, ACTION_DIM, (8, 6), n_context=2)
    params = expand(policy.init(g), K)
    obs, context = torch.randn(K, B, OBS_DIM, generator=g), torch.randn(K, 1, 2, generator=g)
    plain = GaussianMLP(OBS_DIM, ACTION_DIM, (8, 6))
    torch.testing.assert_close(policy.mean(params, obs), plain.mean(params, obs))  # it is zero
    by_hand = dict(params)
    for name in "w0", "b0":
        change = params[f"context_{name}"]
        by_hand[name] = torch.stack(
            [
                p + context[k, 0, 0] * change[k, 0] + context[k, 0, 1] * change[k, 1]
                for k, p in enumerate(params[name])
            ]
        )
    moved = policy.mean({**params, "context": context}, obs)
    torch.testing.assert_close(moved, plain.mean({k: by_hand[k] for k in plain.init(g)}, obs))
    assert (moved - policy.mean(params, obs)).abs().max() > 1e-3


def test_expand_gives_every_task_the_same_parameters(policy):
    params = policy.init(torch.Generator().manual_seed(0))
    many = expand(params, K)
    assert all(torch.equal(many[k][i], params[k]) for k in params for i in range(K))


def test_the_deviation_has_a_floor():
    policy = GaussianMLP(OBS_DIM, ACTION_DIM, (8,), init_std=0.4, min_std=0.1)
    params = policy.init(torch.Generator().manual_seed(0))
    for std, expected in ((0.4, 0.4), (0.01, 0.1)):
        params["log_std"] = torch.full((1, ACTION_DIM), float(np.log(std)))
        _, log_std = policy.mean_std(expand(params, 1), torch.zeros(1, 1, OBS_DIM))
        torch.testing.assert_close(log_std.exp(), torch.full((1, 1, ACTION_DIM), expected))


def test_fresh_parameters_depend_on_the_generator_alone(policy):
    one = policy.init(torch.Generator().manual_seed(1))
    torch.manual_seed(99)
    again = policy.init(torch.Generator().manual_seed(1))
    other = policy.init(torch.Generator().manual_seed(2))
    assert all(torch.equal(one[k], again[k]) for k in one)
    assert not torch.equal(one["w0"], other["w0"])


def test_the_normaliser_has_numpys_mean_and_variance_of_everything_it_saw():
    rng = np.random.default_rng(0)
    batches = [5 + 3 * rng.standard_normal((n, OBS_DIM)) * np.arange(1, 4) for n in (0, 1, 50, 7, 0)]
    normaliser = Normaliser(OBS_DIM)
    for batch in batches:
        normaliser.update(torch.from_numpy(batch))
    everything = np.concatenate(batches)
    np.testing.assert_allclose(normaliser.mean.numpy(), everything.mean(0), rtol=1e-12)
    np.testing.assert_allclose(normaliser.var.numpy(), everything.var(0), rtol=1e-12)
    out = normaliser(torch.from_numpy(everything).float()).numpy()
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(out.std(0), 1, rtol=1e-5)


def test_a_fresh_normaliser_changes_nothing_and_a_constant_observation_gives_numbers():
    normaliser = Normaliser(OBS_DIM)
    obs = torch.randn(B, OBS_DIM, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(normaliser(obs), obs)
    normaliser.update(torch.full((10, OBS_DIM), 3.0))
    assert torch.equal(normaliser(torch.full((1, OBS_DIM), 3.0)), torch.zeros(1, OBS_DIM))


def test_the_normaliser_is_restored_bit_for_bit():
    one, other = Normaliser(OBS_DIM), Normaliser(OBS_DIM)
    one.update(torch.randn(9, OBS_DIM, generator=torch.Generator().manual_seed(0)))
    other.load_state_dict(one.state_dict())
    for normaliser in (one, other):
        normaliser.update(torch.ones(4, OBS_DIM))
    assert all(torch.equal(x, other.state_dict()[k]) for k, x in one.state_dict().items())


def test_learners_with_the_same_seed_begin_alike():
    one, again, other = (MAMLLearner(OBS_DIM, ACTION_DIM, MAMLConfig(), seed) for seed in (3, 3, 4))
    assert all(torch.equal(one.meta[k], again.meta[k]) for k in one.meta)
    assert not torch.equal(one.meta["w0"], other.meta["w0"])
