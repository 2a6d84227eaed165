"""Stable-Baselines3's view of a family: the same numbers as its simulations, and what SB3 asks of it."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector.utils import batch_space
from helpers import Fragile, needs_moviepy
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize, VecVideoRecorder

from metarl import Evaluation, evaluate
from metarl.envs import BatchSim, FamilyVectorEnv, InputError, LogUniform, Param, Uniform, load_family
from metarl.envs.families.point import PointGoal
from metarl.envs.told import task_features
from metarl.sb3 import FamilyVecEnv, PolicyAdapter

N = 4
UNTOLD = -20 * (2**0.5 + np.log(1 + 2**0.5)) / 3  # -15.3, see the test that uses it


def actions(env: VecEnv, steps: int, seed: int = 0) -> np.ndarray:
    """Random actions, (T, N, action_dim)."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (steps, env.num_envs, *env.action_space.shape)).astype(np.float32)


def tiny_ppo(env: VecEnv) -> PPO:
    """A PPO that learns from 16 steps of each environment."""
    sizes = {"n_steps": 16, "batch_size": 32, "policy_kwargs": {"net_arch": [8]}}
    return PPO("MlpPolicy", env, **sizes, device="cpu", seed=0)


def play(env: VecEnv, steps: int) -> list[tuple]:
    """A reset, in the form of a step, and steps."""
    begun = (env.reset(), np.zeros(env.num_envs), np.zeros(env.num_envs, bool), list(env.reset_infos))
    return [begun, *(env.step(action) for action in actions(env, steps))]


def assert_same(one: list[tuple], two: list[tuple]) -> None:
    """Two results of `play` are equal, in all but the time."""
    for (*arrays, infos), (*others, other_infos) in zip(one, two, strict=True):
        for x, y in zip(arrays, others, strict=True):
            np.testing.assert_array_equal(x, y)
        for info, other in zip(infos, other_infos, strict=True):
            for each in (info, other):
                each.get("episode", {}).pop("t", None)
            np.testing.assert_equal(info, other)


# The same numbers.


@pytest.mark.parametrize("family", ["HopperRandParams", "SparsePointGoal", Fragile()])
def test_it_gives_what_the_vector_env_gives(family):
    env, other = FamilyVecEnv(family, N, seed=5), FamilyVectorEnv(family, N)
    obs, info = other.reset(seed=5)
    np.testing.assert_array_equal(env.reset(), obs)
    n_ended = 0
    for action in actions(env, 60):
        obs, reward, terminated, truncated, info = other.step(action)
        got = env.step(action)
        for x, y in zip(got, (obs, reward, terminated | truncated), strict=False):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)
        for i in np.flatnonzero(got[2]):
            np.testing.assert_array_equal(got[3][i]["terminal_observation"], info["final_obs"][i])
            if "success" in info["final_info"]:
                assert got[3][i]["is_success"] == info["final_info"]["success"][i]
        n_ended += got[2].sum()
    assert n_ended >= N


def test_an_episode_is_that_of_the_bare_simulations():
    family, rng = PointGoal(), np.random.default_rng(0)
    tasks = family.tasks("test")[:N]
    env, sim = FamilyVecEnv(family, N, tasks=tasks), BatchSim(family, N)
    sim.set_tasks(tasks)
    np.testing.assert_array_equal(env.reset(), sim.reset(rng))
    total = np.zeros(N)
    for action in actions(env, family.horizon):
        step, (_, reward, ended, infos) = sim.step(action), env.step(action)
        np.testing.assert_array_equal(reward, step.reward)
        np.testing.assert_array_equal(ended, step.truncated)
        total += step.reward
    assert ended.all()
    for i, info in enumerate(infos):
        np.testing.assert_array_equal(info["terminal_observation"], step.obs[i])
        assert info["episode"]["r"] == pytest.approx(total[i]) and info["episode"]["l"] == 20
        assert info["task"] == dict(tasks[i])


def test_the_same_seed_gives_the_same_numbers_at_any_number_of_threads():
    one, two, other = (
        play(FamilyVecEnv("HopperRandParams", N, told=True, seed=s, n_threads=n), 60)
        for s, n in ((7, 1), (7, 2), (8, 1))
    )
    assert_same(one, two)
    assert not np.array_equal(one[0][0], other[0][0])


def test_a_seed_takes_effect_at_the_next_reset_and_once():
    env = FamilyVecEnv("SparsePointGoal", N, seed=1)
    first = play(env, 30)
    assert env.seed(1) == [1, 2, 3, 4]
    one = play(env, 30)
    two = play(env, 30)
    assert_same(first, one)
    assert env.reset_infos != two[0][3] and two[0][3] != one[0][3]


# The ends of episodes.


def test_only_what_the_horizon_ends_is_told_as_truncated():
    env = FamilyVecEnv(Fragile(), N, task={"goal_x": 0.0})
    env.reset()
    right = np.tile(np.float32([1.0, 0.0]), (N, 1))
    right[2:] = 0.0  # these never fail
    for t in range(1, 21):
        obs, reward, ended, infos = env.step(right)
        failed = t % 5 == 0  # beyond 0.4 m
        assert ended.tolist() == [failed, failed, t == 20, t == 20]
        np.testing.assert_array_equal(reward, 1.0)
        assert obs[:2] == pytest.approx(right[:2] * 0.1 * (t % 5), abs=2e-3)  # a new episode's first
        for i in (0, 1):
            assert infos[i].get("TimeLimit.truncated") is (False if failed else None)
            if failed:
                assert infos[i]["terminal_observation"] == pytest.approx([0.5, 0.0], abs=2e-3)
                assert infos[i]["episode"]["r"] == infos[i]["episode"]["l"] == 5
    for info in infos[2:]:
        assert info["TimeLimit.truncated"] is True
        assert info["episode"]["r"] == info["episode"]["l"] == 20
        np.testing.assert_allclose(info["terminal_observation"], 0.0, atol=1e-6)


def test_infos_are_empty_but_at_an_end():
    env = FamilyVecEnv(Fragile(), N, seed=0)
    for _, _, ended, infos in play(env, 60)[1:]:
        assert [bool(info) for info in infos] == ended.tolist()
        assert len({id(info) for info in infos}) == N
        for info in infos:
            assert not info or {"terminal_observation", "TimeLimit.truncated", "episode", "task"} == set(info)


def test_the_episode_is_what_stable_baselines3s_own_monitor_writes():
    env = FamilyVecEnv(Fragile(), N, seed=0)
    with pytest.warns(UserWarning, match="already wrapped"):
        watched = VecMonitor(FamilyVecEnv(Fragile(), N, seed=0), info_keywords=("TimeLimit.truncated",))
    n_ended = 0
    for ours, theirs in zip(play(env, 60)[1:], play(watched, 60)[1:], strict=True):
        for i in np.flatnonzero(ours[2]):
            one, two = ours[3][i]["episode"], theirs[3][i]["episode"]
            assert (one["r"], one["l"]) == (two["r"], two["l"]) and one["t"] >= 0
            n_ended += 1
    assert n_ended > 4


def test_success_is_told_at_the_end_where_the_family_defines_it():
    env = FamilyVecEnv("SparsePointGoal", 2, task={"angle": 0.0})
    env.reset()
    for t in range(20):  # 1 m to the right; the other one goes up
        infos = env.step(np.float32([[t < 10, 0], [0, 1]]))[3]
    assert [info["is_success"] for info in infos] == [True, False]


# Tasks.


def test_without_a_task_every_episode_draws_a_training_task():
    env = FamilyVecEnv("SparsePointGoal", N, seed=0)
    known = {t["angle"] for t in load_family("SparsePointGoal").tasks("train")}
    seen = []
    for _, _, ended, infos in play(env, 60):
        seen += [infos[i]["task"]["angle"] for i in np.flatnonzero(ended)]
    assert set(seen) <= known and len(seen) == 3 * N and len(set(seen)) > 8
    assert [t["angle"] for t in env.get_attr("task")] == env.sim.task_values["angle"].tolist()


def test_the_oracles_observation_ends_with_the_task_of_its_episode():
    env = FamilyVecEnv(Fragile(), N, told=True, seed=0)  # episodes end at times of their own
    space, n_ended = batch_space(env.observation_space, N), 0
    assert env.observation_space.shape == (3,)
    assert env.reset() in space
    before = env.sim.task_values["goal_x"].astype(np.float32)
    for action in actions(env, 60):
        obs, _, ended, infos = env.step(action)
        goal = np.float32([task["goal_x"] for task in env.get_attr("task")])
        assert obs in space
        np.testing.assert_array_equal(obs[:, 2], goal)
        np.testing.assert_array_equal(goal != before, ended)
        for i in np.flatnonzero(ended):
            last = infos[i]["terminal_observation"]
            assert last in env.observation_space
            assert last[2] == before[i] == np.float32(infos[i]["task"]["goal_x"])
            assert last[:2].any() and not obs[i, :2].any()
        n_ended, before = n_ended + (ended.any() and not ended.all()), goal
    assert n_ended > 4


def test_the_rest_of_the_oracles_observation_is_what_everybody_sees():
    ignorant, oracle = (FamilyVecEnv("HopperRandParams", N, told=told, seed=3) for told in (False, True))
    n = ignorant.observation_space.shape[0]
    for one, two in zip(play(ignorant, 40), play(oracle, 40), strict=True):
        np.testing.assert_array_equal(one[0], two[0][:, :n])


def test_what_is_told_spans_the_training_range_whatever_the_distribution():
    hopper, rng = load_family("HopperRandParams"), np.random.default_rng(0)
    told = task_features(hopper, {p.name: p.train.sample(rng, (5000, hopper.size(p))) for p in hopper.params})
    assert told.shape == (5000, sum(hopper.size(p) for p in hopper.params)) and told.dtype == np.float32
    np.testing.assert_allclose(told.min(axis=0), -1.0, atol=0.01)
    np.testing.assert_allclose(told.max(axis=0), 1.0, atol=0.01)
    np.testing.assert_allclose(told.mean(axis=0), 0.0, atol=0.05)  # uniform: the logarithms are told
    nominal = task_features(hopper, hopper.stack([hopper.task()]))
    np.testing.assert_allclose(nominal, 0.0, atol=1e-6)
    direction = load_family("HalfCheetahDir")
    told = task_features(direction, {"direction": np.array([1.0, -1.0])})
    assert told.tolist() == [[1.0], [-1.0]]


class Odd(PointGoal):
    """A range of one value, a scale, and a goal off the centre."""

    params = (
        Param("goal_x", "m", Uniform(0.5, 0.5)),
        Param("goal_y", "m", Uniform(0, 1)),
        Param("mass", "", LogUniform(0.25, 4), ood=LogUniform(1 / 16, 16), field="body_mass"),
    )


def test_numbers_are_told_in_the_familys_order_and_may_lie_beyond_the_training_range():
    family = Odd()
    tasks = [family.task({"goal_y": y, "mass": m, "goal_x": 0.5}) for y, m in ((0, 4), (0.75, 16))]
    np.testing.assert_allclose(task_features(family, family.stack(tasks)), [[0, -1, 1], [0, 0.5, 2]])


def test_options_choose_the_tasks_from_the_next_reset_on():
    env = FamilyVecEnv("SparsePointGoal", 2, told=True, seed=0)
    env.reset()
    env.set_options({"task": {"angle": 1.0}})
    assert env.get_attr("task") != [{"angle": 1.0}] * 2
    play(env, 25)
    assert env.get_attr("task") == [{"angle": 1.0}] * 2
    env.set_options([{"task": {"angle": 0.5}}, {"task": {"angle": 2.0}}])
    play(env, 25)
    assert env.get_attr("task") == [{"angle": 0.5}, {"angle": 2.0}]
    env.set_options({"task": None})
    env.reset()
    one, two = env.get_attr("task")
    assert one != two
    env.set_options([{"task": {"angle": 0.5}}, {}])
    with pytest.raises(InputError, match="every environment a task"):
        env.reset()
    env.reset()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: FamilyVecEnv("HalfCheetahVell", 2), "did you mean 'HalfCheetahVel'"),
        (lambda: FamilyVecEnv("HalfCheetahVel", 2, task={"speed": 2.0}), "unknown task parameter"),
        (lambda: FamilyVecEnv("HalfCheetahVel", 2, tasks=[{"velocity": 1.0}] * 3), "got 3"),
        (lambda: FamilyVecEnv("HalfCheetahVel", 1, {"velocity": 1.0}, [{"velocity": 1.0}]), "not both"),
        (lambda: FamilyVecEnv("HalfCheetahVel", 0), "use at least 1"),
        (lambda: FamilyVecEnv("PointGoal", 2, render_mode="human"), "without a display into RecordVideo"),
        (lambda: FamilyVecEnv("PointGoal", 2).set_attr("task", {"goal_x": 0.0}), "set_options"),
        (lambda: FamilyVecEnv("PointGoal", 2).set_attr("horizon", 5, indices=1), "share one horizon"),
    ],
)
def test_bad_input_is_one_line_that_names_the_cure(make, said):
    with pytest.raises(InputError) as error:
        make()
    assert said in str(error.value) and "\n" not in str(error.value)


# The rest of what a VecEnv can be asked.


def test_attributes_and_methods_are_those_of_the_family_which_all_environments_share():
    env = FamilyVecEnv("PointGoal", 3)
    assert env.get_attr("horizon") == [20] * 3 and env.get_attr("name", indices=[0, 2]) == ["PointGoal"] * 2
    assert env.get_attr("render_mode", indices=1) == [None]
    assert env.get_attr("family") == [env.family] * 3
    assert env.has_attr("dt") and not env.has_attr("action_masks")
    assert env.env_method("optimum", np.zeros((1, 2)), indices=0) == [[0.0]]
    env.set_attr("horizon", 3)
    ends = [ended.tolist() for _, _, ended, _ in play(env, 6)[1:]]
    assert ends == ([[False] * 3] * 2 + [[True] * 3]) * 2
    assert env.env_is_wrapped(Monitor) == [True] * 3
    assert env.env_is_wrapped(gymnasium.wrappers.TimeLimit, indices=[0]) == [False]


def test_frames_are_drawn_when_asked_for_and_tiled(gl):
    env = FamilyVecEnv("PointGoal", 4, render_mode="rgb_array", width=64, height=48)
    env.reset()
    env.step(actions(env, 1)[0])
    assert env.metadata == {"render_modes": ["human", "rgb_array"], "render_fps": 10}
    assert [image.shape for image in env.get_images()] == [(48, 64, 3)] * 4
    assert env.render().shape == (96, 128, 3)
    env.close()
    env.close()


@needs_moviepy
def test_stable_baselines3_records_a_video(gl, tmp_path):
    env = FamilyVecEnv("PointGoal", 3, render_mode="rgb_array", width=64, height=48)
    env = VecVideoRecorder(env, str(tmp_path), lambda step: step == 0, video_length=5)
    play(env, 6)
    env.close()
    (video,) = tmp_path.iterdir()
    assert video.name == "rl-video-step-0-to-step-5.mp4" and video.stat().st_size > 1000


def test_without_a_render_mode_there_are_no_frames():
    env = FamilyVecEnv("PointGoal", 2)
    env.reset()
    assert env.get_images() == [None, None]
    env.close()


# Judged as metarl's own learners are.


def judged(model, family="PointGoal", episodes: int = 3, **settings) -> Evaluation:
    loaded = load_family(family)
    return evaluate(PolicyAdapter(model, **settings), loaded, loaded.tasks("test"), 1, episodes, n_threads=1)


@pytest.mark.parametrize("told", [False, True])
def test_a_policy_is_judged_by_what_it_does_on_held_out_tasks(told):
    model = tiny_ppo(FamilyVecEnv("PointGoal", 8, told=told))
    result = judged(model)
    env = FamilyVecEnv("PointGoal", 20, tasks=load_family("PointGoal").tasks("test"), told=told)
    obs, total = env.reset(), np.zeros(20)
    for _ in range(20):
        obs, reward, *_ = env.step(model.predict(obs, deterministic=True)[0])
        total += reward
    np.testing.assert_allclose(np.array(result.returns)[:, 0], total, rtol=1e-5)
    assert result == judged(model) and result.score[0] is not None


def test_a_recurrent_policy_begins_every_episode_with_an_empty_memory():
    contrib = pytest.importorskip("sb3_contrib", reason="no sb3-contrib here: pip install sb3-contrib")
    policy = {"lstm_hidden_size": 8, "net_arch": [8]}
    env = FamilyVecEnv("HopperRandParams", 4)
    model = contrib.RecurrentPPO("MlpLstmPolicy", env, n_steps=8, policy_kwargs=policy, device="cpu", seed=0)
    hopper, tasks = load_family("HopperRandParams"), load_family("HopperRandParams").tasks("test")[:3]
    result = evaluate(PolicyAdapter(model), hopper, tasks, 2, 2, n_threads=1)
    assert np.array(result.episode_returns).shape == (3, 2, 2)
    sim = BatchSim(hopper, 6)
    sim.set_tasks([task for task in tasks for _ in range(2)])
    one, rng = PolicyAdapter(model), np.random.default_rng(0)
    one.begin(tasks, rng)
    played = one.collect(sim, np.random.default_rng(5))
    np.testing.assert_array_equal(played.action, one.collect(sim, np.random.default_rng(5)).action)
    state, start = None, np.ones(6, bool)
    for t in range(5):
        action, state = model.predict(played.obs[t], state, start, deterministic=True)
        np.testing.assert_allclose(played.action[t], action, rtol=1e-5)
        start = np.zeros(6, bool)
    assert not np.allclose(action, model.predict(played.obs[t], None, ~start, deterministic=True)[0])


def test_drawn_actions_are_the_evaluations_own_and_nobody_elses():
    model = tiny_ppo(FamilyVecEnv("PointGoal", 8))
    torch.manual_seed(1)
    one, next_number = judged(model, deterministic=False), torch.rand(1)
    torch.manual_seed(2)
    assert judged(model, deterministic=False) == one != judged(model)
    torch.manual_seed(1)
    assert torch.rand(1) == next_number


def test_what_a_normalised_policy_has_learned_from_it_sees_again(tmp_path):
    env = VecNormalize(FamilyVecEnv("PointGoal", 8, seed=0))
    model = tiny_ppo(env).learn(256)
    model.save(tmp_path / "model")
    alone = PPO.load(tmp_path / "model", device="cpu")
    assert judged(model) == judged(alone, normalize=env) != judged(alone)


def test_a_policy_of_another_robot_is_refused_in_words():
    with pytest.raises(InputError, match=r"sees \(2,\), and Hopper.* gives \(11,\).*trained on$"):
        judged(tiny_ppo(FamilyVecEnv("PointGoal", 8)), "HopperRandParams")


# Training.


@pytest.mark.parametrize("told", [False, True])
def test_ppo_trains_and_knows_the_mean_return(told):
    model = tiny_ppo(FamilyVecEnv(Fragile(), 8, told=told))
    before = [p.clone() for p in model.policy.parameters()]
    model.learn(3 * 128)
    assert any((a != b).any() for a, b in zip(before, model.policy.parameters(), strict=True))
    assert all(p.isfinite().all() for p in model.policy.parameters())
    returns = [episode["r"] for episode in model.ep_info_buffer]
    assert 5 <= np.mean(returns) <= 20  # what `ep_rew_mean` shows


def test_sac_trains_and_the_share_of_successes_is_known():
    env = FamilyVecEnv("SparsePointGoal", 8, told=True)
    sizes = {"batch_size": 16, "buffer_size": 1000, "policy_kwargs": {"net_arch": [8]}}
    model = SAC("MlpPolicy", env, learning_starts=80, **sizes, device="cpu", seed=0)
    model.learn(320)
    assert model.num_timesteps == 320 and len(model.ep_success_buffer) == 16
    assert all(p.isfinite().all() for p in model.policy.parameters())
    buffer = model.replay_buffer
    ended = buffer.dones[: buffer.pos].any(axis=1)
    assert np.flatnonzero(ended).tolist() == [19, 39]
    # Beyond the horizon counts the last observation and not the next episode's first, the origin.
    assert (buffer.next_observations[19, :, :2] != 0).any(axis=1).all()


def test_the_same_seed_trains_the_same_policy():
    def train() -> torch.Tensor:
        model = tiny_ppo(FamilyVecEnv("PointGoal", 8)).learn(256)
        return torch.cat([p.flatten() for p in model.policy.parameters()])

    assert torch.equal(train(), train())


def test_stable_baselines3_evaluates_on_it_and_normalises_it():
    env = VecNormalize(FamilyVecEnv(Fragile(), N, told=True, seed=0))
    model = tiny_ppo(env).learn(256)
    assert 0 < np.abs(env.obs_rms.mean[0]) < 0.4
    returns, lengths = evaluate_policy(model, env, 2 * N, return_episode_rewards=True)
    assert len(returns) == 2 * N and returns == lengths  # of the rewards themselves: 1 for each step


def test_ppo_told_the_goal_beats_every_policy_that_is_not():
    # Where a policy is does not depend on a goal that it is not told and cannot sense, so at no time can
    # its mean distance to goals drawn from the square be less than that of the square's centre:
    # (sqrt(2) + ln(1 + sqrt(2))) / 3 = 0.765 m, 20 times.
    env = FamilyVecEnv("PointGoal", 64, told=True)
    settings = {"n_steps": 20, "batch_size": 320, "learning_rate": 3e-3, "gamma": 0.9, "gae_lambda": 0.9}
    model = PPO("MlpPolicy", env, seed=0, device="cpu", **settings).learn(64 * 20 * 30)
    test = FamilyVecEnv("PointGoal", 256, told=True, seed=1)
    mean, _ = evaluate_policy(model, test, 256)
    assert mean > -5 > UNTOLD / 2


def test_importing_metarl_does_not_import_it():
    code = "import sys, metarl, metarl.envs; print('metarl.sb3' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "False\n"
