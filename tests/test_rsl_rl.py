"""rsl_rl's view of a family: the same numbers as its simulations, and a runner that trains on it."""

import numpy as np
import pytest
import torch
from helpers import Fragile

from metarl.envs import FamilyVectorEnv, InputError

pytest.importorskip("rsl_rl", reason="no rsl_rl here: pip install rsl-rl-lib")

from rsl_rl.runners import OnPolicyRunner

from metarl.rsl_rl import FamilyVecEnv

N = 4


def runner(env: FamilyVecEnv, told: bool, folder: str | None = None) -> OnPolicyRunner:
    """A small PPO, whose critic is told the task; the actor is where it is an oracle."""
    net = {"class_name": "MLPModel", "hidden_dims": [16]}
    noise = {"class_name": "GaussianDistribution", "init_std": 0.5}
    config = {
        "num_steps_per_env": 20,
        "save_interval": 100,
        "obs_groups": {"actor": ["policy", "task"] if told else ["policy"], "critic": ["policy", "task"]},
        "actor": {**net, "distribution_cfg": noise},
        "critic": net,
        "algorithm": {"class_name": "PPO", "gamma": 0.9, "lam": 0.9, "learning_rate": 3e-3},
    }
    return OnPolicyRunner(env, config, folder, device="cpu")


def test_it_gives_what_the_vector_env_gives_and_tells_timeouts_from_failures():
    env, other = FamilyVecEnv(Fragile(), N, seed=3), FamilyVectorEnv(Fragile(), N)
    obs, info = other.reset(seed=3)
    np.testing.assert_array_equal(env.get_observations()["policy"], obs)
    rng, ends = np.random.default_rng(0), np.zeros(2, int)
    for _ in range(60):
        action = rng.uniform(0, 1, (N, 2)).astype(np.float32)  # to the right, and beyond 0.4 m
        action[2:] = 0.0  # these never fail
        obs, reward, terminated, truncated, info = other.step(action)
        seen, got, ended, extras = env.step(torch.from_numpy(action))
        for x, y in ((seen["policy"], obs), (got, reward), (ended, terminated | truncated)):
            assert x.numpy().dtype == y.dtype
            np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(extras["time_outs"], truncated)
        np.testing.assert_array_equal(seen["task"][:, 0], np.float32(info["task"]["goal_x"]))
        assert extras["log"] == {"/reward/alive": 1.0}
        ends += [terminated.sum(), truncated.sum()]
    assert (ends > 2).all()


def test_a_runner_trains_an_oracle_that_beats_who_is_not_told():
    torch.manual_seed(0)
    env = FamilyVecEnv("PointGoal", 64, seed=0)
    learner = runner(env, told=True)
    learner.learn(20, init_at_random_ep_len=True)
    policy, total = learner.get_inference_policy("cpu"), torch.zeros(64)
    env = FamilyVecEnv("PointGoal", 64, seed=1)
    with torch.inference_mode():
        for _ in range(20):
            _, reward, ended, _ = env.step(policy(env.get_observations()))
            total += reward
    assert ended.all() and total.mean() > -9  # who is not told cannot get more than -15.3


def test_lengths_of_episodes_can_be_set_and_are_no_view():
    env = FamilyVecEnv("PointGoal", N, seed=0)
    env.episode_length_buf = torch.tensor([0, 5, 10, 19])
    before = env.episode_length_buf
    assert env.step(torch.zeros(N, 2))[2].tolist() == [False, False, False, True]
    assert before.tolist() == [0, 5, 10, 19] and env.episode_length_buf.tolist() == [1, 6, 11, 0]


@pytest.mark.parametrize(
    ("family", "n", "said"), [("PointGoal", 0, "at least 1"), ("PointGoall", 1, "did you")]
)
def test_bad_input_is_one_line_that_names_the_cure(family, n, said):
    with pytest.raises(InputError, match=said) as error:
        FamilyVecEnv(family, n)
    assert "\n" not in str(error.value)
