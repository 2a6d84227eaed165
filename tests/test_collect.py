"""Sampling: every number is where and when it belongs, and the same at any number of threads."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from metarl.envs import BatchSim, Readings, load_family
from metarl.envs.families.point import PointGoal
from metarl.policies.gaussian import GaussianMLP, Params, log_prob
from metarl.policies.normaliser import Normaliser
from metarl.sampling.episodes import collect, fold
from metarl.sampling.trajectories import Trajectories

K, E = 3, 4
GOALS = [{"goal_x": x, "goal_y": 0.5} for x in (-1.0, 0.0, 1.0)]
STEP = 0.1  # m, what an action of 1 moves the point


class Fragile(PointGoal):
    """The point fails when it has gone 0.3 m to the right."""

    def terminated(self, r: Readings) -> np.ndarray:
        return r.qpos[:, 0] > 0.3

    def reward(
        self, r: Readings, action: np.ndarray, task: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        return {"alive": np.ones(len(action))}


def sim_of(family: PointGoal, n_threads: int = 1) -> BatchSim:
    sim = BatchSim(family, K * E, n_threads)
    sim.set_tasks([family.task(goal) for goal in GOALS for _ in range(E)])
    return sim


@pytest.fixture
def policy() -> GaussianMLP:
    return GaussianMLP(2, 2, (4,), init_std=0.3)


@pytest.fixture
def params(policy) -> Params:
    """Of K tasks, each its own, with actions well away from 0."""
    g = torch.Generator().manual_seed(0)
    single = [policy.init(g) for _ in range(K)]
    out = {k: torch.stack([p[k] for p in single]) for k in single[0]}
    out["w1"] = out["w1"] * 50
    out["b1"] = torch.tensor([[[-0.5, 0.0]], [[0.0, 0.5]], [[0.5, 0.0]]])
    out["log_std"] = out["log_std"] - torch.arange(K)[:, None, None] * 0.5
    return out


@pytest.fixture
def normaliser() -> Normaliser:
    out = Normaliser(2)
    out.update(torch.tensor([[0.1, -0.4], [0.5, 0.3], [-0.9, 1.0]]))
    return out


@pytest.fixture
def lived(policy, params, normaliser) -> Trajectories:
    return collect(sim_of(PointGoal()), policy, params, normaliser, np.random.default_rng(0))


def test_obs_is_what_stood_before_the_action_and_reward_what_came_after(lived):
    assert (lived.obs[0] == 0).all()
    moved = lived.obs[1:] - lived.obs[:-1]
    np.testing.assert_allclose(moved, STEP * np.clip(lived.action[:-1], -1, 1), atol=5e-4)
    goal = np.repeat([[g["goal_x"], g["goal_y"]] for g in GOALS], E, axis=0)
    distance = np.linalg.norm(lived.obs[1:] - goal, axis=-1)
    np.testing.assert_allclose(lived.reward[:-1], -distance, rtol=1e-5, atol=1e-6)


def test_flags_mark_the_first_and_the_last_step(lived):
    assert lived.obs.shape == (20, K * E, 2)
    for name, step in (("episode_start", 0), ("trial_start", 0), ("truncated", 19)):
        flag = getattr(lived, name)
        assert flag[step].all()
        assert flag.sum() == K * E
    assert lived.valid.all()
    assert not lived.terminated.any()


def test_log_prob_is_the_policys_own(lived, policy, params, normaliser):
    for k in range(K):
        mine = slice(k * E, (k + 1) * E)
        obs = normaliser(torch.from_numpy(lived.obs[:, mine])).flatten(0, 1)[None]
        mean, log_std = policy.mean_std({n: p[k : k + 1] for n, p in params.items()}, obs)
        own = log_prob(mean, log_std, torch.from_numpy(lived.action[:, mine]).flatten(0, 1)[None])
        np.testing.assert_allclose(lived.log_prob[:, mine].ravel(), own[0].numpy(), rtol=1e-3, atol=1e-3)


def test_a_deviation_below_its_floor_is_the_floor_in_action_and_log_prob(policy, params, normaliser):
    params["log_std"] = torch.full((K, 1, 2), -20.0)
    t = collect(sim_of(PointGoal()), policy, params, normaliser, np.random.default_rng(0))
    mean = collect(sim_of(PointGoal()), policy, params, normaliser, np.random.default_rng(0), True)
    noise = (t.action[0] - mean.action[0]) / policy.min_std
    assert 0.5 < noise.std() < 1.5
    expected = -0.5 * np.square(noise).sum(-1) - 2 * np.log(policy.min_std) - np.log(2 * np.pi)
    np.testing.assert_allclose(t.log_prob[0], expected, rtol=1e-3)


def test_a_task_has_rows_of_its_own_and_its_own_policy(policy, params, normaliser):
    t = collect(sim_of(PointGoal()), policy, params, normaliser, np.random.default_rng(0), deterministic=True)
    first = t.action[0].reshape(K, E, 2)
    assert (first == first[:, :1]).all()
    obs = normaliser(torch.zeros(K, 1, 2))
    np.testing.assert_allclose(first[:, 0], policy.mean_std(params, obs)[0][:, 0].numpy(), rtol=1e-5)
    assert len(np.unique(first[:, 0], axis=0)) == K


def test_an_episode_that_fails_is_padded_and_its_simulation_rests(policy, params, normaliser):
    sim = sim_of(Fragile())
    t = collect(sim, policy, params, normaliser, np.random.default_rng(0))
    length = t.valid.sum(axis=0)
    assert length.min() < 20
    assert length.max() == 20
    assert (sim.elapsed == length).all()
    for i, n in enumerate(length):
        assert t.valid[:n, i].all()
        assert t.terminated[:, i].sum() == (n < 20)
        assert t.truncated[:, i].sum() == (n == 20)
        assert (t.terminated | t.truncated)[n - 1, i]
    assert (t.returns() == length).all()
    assert (t.reward[~t.valid] == 0).all()
    position = t.obs[..., 0] + STEP * np.clip(t.action[..., 0], -1, 1)
    np.testing.assert_array_equal(t.terminated[t.valid], position[t.valid] > 0.3)


def test_sampling_ends_when_all_have_failed(policy, params, normaliser):
    params["b1"] = torch.full((K, 1, 2), 5.0)
    t = collect(sim_of(Fragile()), policy, params, normaliser, np.random.default_rng(0))
    assert t.n_steps < 6 * K * E
    assert t.terminated.sum() == K * E
    assert np.isfinite(t.log_prob).all()


@pytest.mark.parametrize("name", ["PointGoal", "HopperRandParams"])
def test_the_same_seed_gives_the_same_numbers_at_any_number_of_threads(name):
    family = load_family(name)
    policy = GaussianMLP(family.obs_dim, family.action_dim, (4,))
    params = {k: p[None] for k, p in policy.init(torch.Generator().manual_seed(0)).items()}

    def sample(n_threads: int, seed: int = 0) -> Trajectories:
        sim = BatchSim(family, 6, n_threads)
        sim.set_tasks(family.tasks("test")[:6])
        rng = np.random.default_rng(seed)
        collect(sim, policy, params, Normaliser(family.obs_dim), rng)  # a used simulator is as a new one
        return collect(sim, policy, params, Normaliser(family.obs_dim), rng)

    one = sample(1)
    for n_threads in (2, 5, 0):
        for k, x in vars(sample(n_threads)).items():
            np.testing.assert_array_equal(x, getattr(one, k))
    assert not np.array_equal(sample(1, seed=1).action, one.action)


def test_folding_the_normaliser_into_the_first_layer_is_normalising(policy, params, normaliser):
    obs = torch.randn(K, 9, 2, generator=torch.Generator().manual_seed(0))
    expected = policy.mean_std(params, normaliser(obs))[0]
    torch.testing.assert_close(policy.mean_std(fold(params, normaliser), obs)[0], expected)


def test_sampling_changes_neither_parameters_nor_normaliser_nor_global_randomness(policy, params, normaliser):
    kept, stats = {k: p.clone() for k, p in params.items()}, normaliser.state_dict()
    np_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    collect(sim_of(PointGoal()), policy, params, normaliser, np.random.default_rng(0))
    assert all(torch.equal(p, params[k]) for k, p in kept.items())
    assert all(torch.equal(x, normaliser.state_dict()[k]) for k, x in stats.items())
    assert (np.random.get_state()[1] == np_state).all()
    assert torch.equal(torch.get_rng_state(), torch_state)
