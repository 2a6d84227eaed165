"""The trial that the benchmark gives to toolkits that know episodes only is the one our policy sees."""

import numpy as np
import pytest
from benchmarks.recurrent import TrialEnv
from stable_baselines3.common.env_checker import check_env

OBS_DIM, ACTION_DIM, HORIZON = 17, 6, 200  # of HalfCheetahVel


@pytest.fixture
def env():
    return TrialEnv()


def play(env, length: int) -> dict[str, np.ndarray]:
    """Steps from the start of a trial: obs (T + 1, 25), of the others (T, ...)."""
    rng = np.random.default_rng(0)
    obs, info = env.reset()
    rows = []
    for _ in range(length):
        action = rng.uniform(-2, 2, ACTION_DIM).astype(np.float32)
        now = dict(zip(("obs", "reward", "terminated", "truncated", "info"), env.step(action), strict=True))
        rows.append({**now, "action": action, "velocity": now.pop("info")["task"]["velocity"]})
    out = {k: np.array([row[k] for row in rows]) for k in rows[0] if k != "info"}
    return {**out, "obs": np.concatenate([obs[None], out["obs"]]), "first": info["task"]["velocity"]}


def test_it_is_an_environment_to_stable_baselines3(env):
    assert env.observation_space.shape == (OBS_DIM + ACTION_DIM + 2,)
    check_env(env)


def test_two_episodes_are_one_long_episode_on_one_task(env):
    env.reset(seed=0)
    one, other = play(env, 2 * HORIZON), play(env, 2 * HORIZON)
    for trial in (one, other):
        assert (trial["velocity"] == trial["first"]).all()
        assert trial["truncated"].tolist() == [False] * (2 * HORIZON - 1) + [True]
        assert not trial["terminated"].any()
    assert one["first"] != other["first"]


def test_a_new_episode_is_flagged_and_begins_with_the_robot_at_rest(env):
    env.reset(seed=0)
    obs = play(env, 2 * HORIZON)["obs"]
    assert np.flatnonzero(obs[:, -1]).tolist() == [0, HORIZON]
    moving = np.abs(obs[:, :OBS_DIM]).max(axis=1)
    assert moving[[0, HORIZON]].max() < 0.5 < 5 < moving[[HORIZON - 1, -1]].min()


def test_the_last_action_and_reward_are_appended_over_the_end_of_an_episode_too(env):
    env.reset(seed=0)
    trial = play(env, 2 * HORIZON)
    action, reward = trial["obs"][:, OBS_DIM:-2], trial["obs"][:, -2]
    assert not action[0].any()
    assert reward[0] == 0
    np.testing.assert_array_equal(action[1:], trial["action"].clip(-1, 1))  # as it was carried out
    np.testing.assert_array_equal(reward[1:], trial["reward"].astype(np.float32))
