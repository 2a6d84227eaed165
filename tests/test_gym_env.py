"""The Gymnasium views: what Gymnasium and Stable-Baselines3 ask of them, and that they are thin."""

import os
import pickle
import subprocess
import sys
import warnings
from copy import deepcopy

import gymnasium
import numpy as np
import pytest
import stable_baselines3.common.env_checker as sb3
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import RecordVideo, TimeAwareObservation
from gymnasium.wrappers import vector as wrappers
from gymnasium.wrappers.vector import (
    DictInfoToList,
    NormalizeObservation,
    NormalizeReward,
    RecordEpisodeStatistics,
)
from helpers import Fragile, needs_moviepy

from metarl.envs import (
    FAMILIES,
    FamilyEnv,
    FamilyVectorEnv,
    InputError,
    TaskFamily,
    load_family,
    register_envs,
)


@pytest.fixture(params=sorted(FAMILIES))
def name(request) -> str:
    return request.param


def held_out(family: TaskFamily, i: int = 0) -> dict:
    return dict(family.tasks("test")[i])


# Registration.


@pytest.mark.parametrize(
    "how",
    [
        "import metarl.envs; env = gymnasium.make('metarl/HalfCheetahVel-v0', task={'velocity': 2.0})",
        "env = gymnasium.make('metarl.envs:metarl/HalfCheetahVel-v0', task={'velocity': 2.0})",
    ],
)
def test_make_knows_the_families_by_name(how):
    code = f"import gymnasium; {how}; print(env.reset(seed=0)[1]['task'], env.spec.id)"
    out = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout == "{'velocity': 2.0} metarl/HalfCheetahVel-v0\n"
    assert out.stderr == ""


def test_registering_again_changes_nothing():
    before = dict(gymnasium.registry)
    register_envs()
    assert dict(gymnasium.registry) == before
    assert {f"metarl/{name}-v0" for name in FAMILIES} <= set(before)


# The checkers.


def test_gymnasiums_checker_is_content(name):
    env = gymnasium.make(f"metarl/{name}-v0")
    with warnings.catch_warnings():
        # Positions and velocities have no bounds, and the checker wishes they had.
        warnings.filterwarnings("ignore", ".*A Box observation space m.*imum value is.*infinit.*")
        check_env(env.unwrapped, skip_render_check=True)


def test_gymnasiums_checker_is_content_with_the_rendering(gl, name):
    env = gymnasium.make(f"metarl/{name}-v0", render_mode="rgb_array", width=64, height=48)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*A Box observation space m.*imum value is.*infinit.*")
        check_env(env.unwrapped)
    env.close()


def test_stable_baselines_checker_is_content(name):
    sb3.check_env(gymnasium.make(f"metarl/{name}-v0"), skip_render_check=True)


# One simulation.


def test_spaces_and_metadata_are_the_familys(name):
    family, env = load_family(name), FamilyEnv(name)
    assert env.observation_space.shape == (family.obs_dim,) and env.observation_space.dtype == np.float32
    assert env.action_space.shape == (family.action_dim,) and env.action_space.dtype == np.float32
    assert (env.action_space.low == -1).all() and (env.action_space.high == 1).all()
    assert env.metadata == {"render_modes": ["rgb_array"], "render_fps": round(1 / family.dt)}


def test_an_episode_ends_once_with_a_failure_or_at_the_horizon(name):
    family = load_family(name)
    env = gymnasium.make(f"metarl/{name}-v0", task=held_out(family))
    env.action_space.seed(0)
    env.reset(seed=0)
    ends = []
    for _ in range(family.horizon):
        _, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert reward == pytest.approx(sum(info["reward_terms"].values()), abs=1e-5)
        ends.append((terminated, truncated))
        if terminated or truncated:
            break
    assert not any(map(any, ends[:-1]))
    assert any(ends[-1]) and ends[-1][1] == (len(ends) == family.horizon)


def test_without_a_task_every_episode_draws_a_training_task():
    env = FamilyEnv("HalfCheetahVel")
    train = {t["velocity"] for t in env.family.tasks("train")}
    seen = [env.reset(seed=3 if i == 0 else None)[1]["task"]["velocity"] for i in range(20)]
    assert set(seen) <= train and len(set(seen)) > 10
    assert seen == [env.reset(seed=3 if i == 0 else None)[1]["task"]["velocity"] for i in range(20)]


class NoRenderer:
    """Says of which task a frame would be."""

    def __init__(self, family, width, height):
        pass

    def frame(self, state, task):
        return dict(task)

    def close(self):
        pass


def test_a_task_that_changes_within_an_episode_is_shown_as_it_is_now(monkeypatch):
    monkeypatch.setattr("metarl.envs.gym_env.FrameRenderer", NoRenderer)
    broken = held_out(load_family("HalfCheetahBreaks"))
    one = FamilyEnv("HalfCheetahBreaks", broken, render_mode="rgb_array")
    two = FamilyVectorEnv("HalfCheetahBreaks", 2, task=broken, render_mode="rgb_array")
    whole = {"strength": (1.0,) * 6}
    assert one.reset(seed=0)[1]["task"] == one.render() == whole
    two.reset(seed=0)
    assert two.render() == (whole, whole)
    for _ in range(one.family.horizon - 1):
        info = one.step(np.zeros(6))[-1]
        two.step(np.zeros((2, 6)))
    assert info["task"] == one.render() == broken
    assert two.render() == (broken, broken)


def test_a_task_given_at_reset_stays_until_another_is_given():
    env = FamilyEnv("HalfCheetahVel", task={"velocity": 1.0})
    asked = [None, {}, {"task": {"velocity": 2.5}}, None, {"task": {"velocity": 0.5}}]
    assert [env.reset(options=o)[1]["task"]["velocity"] for o in asked] == [1.0, 1.0, 2.5, 2.5, 0.5]
    drawn = {env.reset(options={"task": None} if i == 0 else None)[1]["task"]["velocity"] for i in range(9)}
    assert len(drawn) > 5


def test_success_is_told_where_the_family_defines_it():
    env = FamilyEnv("SparsePointGoal", task={"angle": 0.0})
    env.reset(seed=0)
    told = [env.step(np.array([1.0, 0.0], np.float32))[4]["success"] for _ in range(10)]
    assert told == [False] * 7 + [True] * 3 or told == [False] * 8 + [True] * 2
    plain = FamilyEnv("PointGoal")
    plain.reset(seed=0)
    assert "success" not in plain.step(np.zeros(2))[4]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: FamilyEnv("HalfCheetahVel", task={"speed": 2.0}), "unknown task parameter"),
        (lambda: FamilyEnv("HalfCheetahVel", task={"velocity": 9.0}), "velocity=9 is out of range"),
        (lambda: FamilyEnv("HalfCheetahVell"), "did you mean 'HalfCheetahVel'"),
        (lambda: FamilyEnv("PointGoal", render_mode="human"), "its wrapper HumanRendering"),
        (lambda: FamilyVectorEnv("PointGoal", 2, render_mode="human"), "without a display into RecordVideo"),
        (lambda: FamilyEnv("PointGoal", render_mode="rgb"), "did you mean 'rgb_array'"),
        (lambda: FamilyVectorEnv("PointGoal", 2, autoreset_mode="nextstep"), "did you mean 'NextStep'"),
        (lambda: make_vec("PointGoal", 2, max_episode_steps=21), "PointGoal take 1 to 20"),
        (lambda: FamilyVectorEnv("PointGoal", 2).reset(options={"reset_mask": [0, 1]}), "(2,) bool"),
        (
            lambda: FamilyVectorEnv("PointGoal", 2).reset(options={"reset_mask": [True, False]}),
            "the first reset is of all",
        ),
        (lambda: FamilyEnv("PointGoal").reset(options={"tasks": {}}), "did you mean 'task'"),
        (lambda: gymnasium.make("metarl/PointGoal-v0", task={"goal_x": 0.0}), "needs goal_y"),
        (lambda: FamilyVectorEnv("PointGoal", 2, task={"goal_x": 5.0}), "goal_x=5 is out of range"),
        (lambda: FamilyVectorEnv("PointGoal", 2, tasks=[{"goal_x": 0.0, "goal_y": 0.0}]), "got 1"),
        (lambda: FamilyVectorEnv("HalfCheetahVel", 1, {"velocity": 1.0}, [{"velocity": 1.0}]), "not both"),
    ],
)
def test_bad_input_is_one_line_that_names_the_cure(make, said):
    with pytest.raises(InputError) as error:
        make()
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("display", [None, ":99"])
def test_who_asks_for_a_window_where_there_is_none_gets_words_and_no_killed_process(gl, display):
    code = (
        "import gymnasium, metarl.envs as m\n"
        "env = gymnasium.make('metarl/PointGoal-v0', render_mode='human')\n"
        "try: env.reset(seed=0); env.step(env.action_space.sample())\n"
        "except (gymnasium.error.DependencyNotInstalled, m.InputError) as error: print(error)"
    )
    environ = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environ |= {} if display is None else {"DISPLAY": display}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") <= 1


def test_gymnasium_knows_the_horizon():
    env = TimeAwareObservation(gymnasium.make("metarl/PointGoal-v0"), normalize_time=True)
    assert env.spec.max_episode_steps == 20
    env.reset(seed=0)
    assert [env.step(np.zeros(2, np.float32))[0][-1] for _ in range(20)] == pytest.approx(
        np.arange(1, 21) / 20
    )
    short = gymnasium.make("metarl/PointGoal-v0", max_episode_steps=3)
    short.reset(seed=0)
    assert [short.step(np.zeros(2, np.float32))[3] for _ in range(3)] == [False, False, True]


def test_an_info_that_is_asked_to_be_flat_holds_the_same_numbers_and_no_dict(name):
    flat, plain = (gymnasium.make(f"metarl/{name}-v0", flat_info=f) for f in (True, False))
    _, info = flat.reset(seed=0)
    _, other = plain.reset(seed=0)
    assert info.keys() == {f"task/{key}" for key in other["task"]}
    action = np.zeros(flat.action_space.shape, np.float32)
    info, other = flat.step(action)[4], plain.step(action)[4]
    assert all(isinstance(value, np.ndarray) and value.dtype != object for value in info.values())
    for outer, values in other.items():
        for key, value in values.items() if isinstance(values, dict) else [("", values)]:
            np.testing.assert_array_equal(info.pop(f"{outer}/{key}" if key else outer), value)
    assert not info


# Many simulations.


def make_vec(name: str, n: int, **kwargs) -> FamilyVectorEnv:
    env = gymnasium.make_vec(
        f"metarl/{name}-v0", num_envs=n, vectorization_mode="vector_entry_point", **kwargs
    )
    assert isinstance(env, FamilyVectorEnv)
    return env


def play(env: FamilyVectorEnv, steps: int, seed: int) -> list[tuple]:
    env.action_space.seed(seed)
    return [env.reset(seed=seed), *(env.step(env.action_space.sample()) for _ in range(steps))]


def same(a, b) -> bool:
    """Whether two results of nested tuples, dicts and arrays are equal."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple | list) or (isinstance(a, np.ndarray) and a.dtype.hasobject):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return np.array_equal(a, b)


def test_a_vector_env_has_the_right_spaces_and_says_how_it_resets(name):
    family, env = load_family(name), make_vec(name, 3)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert env.metadata["render_fps"] == round(1 / family.dt)
    assert env.single_observation_space == FamilyEnv(name).observation_space
    assert env.observation_space.shape == (3, family.obs_dim)
    assert env.action_space.shape == (3, family.action_dim)
    obs, _ = env.reset(seed=0)
    assert obs in env.observation_space
    obs, reward, terminated, truncated, _ = env.step(env.action_space.sample())
    assert obs in env.observation_space and reward.shape == (3,)
    assert terminated.dtype == truncated.dtype == bool


def test_a_vector_env_gives_the_same_numbers_for_the_same_seed(name):
    one, two, other = (play(make_vec(name, 3, n_threads=n), 40, seed) for n, seed in ((1, 7), (2, 7), (1, 8)))
    assert same(one, two)
    assert not same(one, other)


def test_a_vector_env_equals_single_envs_from_the_same_states(name):
    n = 3
    family = load_family(name)
    if any(param.changes for param in family.params):
        pytest.skip("when something happens in an episode is drawn for every simulation")
    tasks = [held_out(family, i % family.n_test) for i in range(n)]
    vector, singles = make_vec(name, n, tasks=tasks), [FamilyEnv(family, task) for task in tasks]
    vector.reset(seed=0)
    for i, env in enumerate(singles):
        env.reset(seed=0)
        env.sim.state[0] = vector.sim.state[i]
        env.sim.refresh()
    live = np.ones(n, bool)
    for action in np.random.default_rng(0).uniform(-1, 1, (family.horizon, n, family.action_dim)):
        obs, reward, terminated, truncated, info = vector.step(action)
        for i in np.flatnonzero(live):
            o, r, te, tr, inf = singles[i].step(action[i])
            ended = te or tr
            np.testing.assert_array_equal(info["final_obs"][i] if ended else obs[i], o)
            assert (reward[i], terminated[i], truncated[i]) == (r, te, tr)
            terms = (info["final_info"] if ended else info)["reward_terms"]
            assert {k: v[i] for k, v in terms.items()} == pytest.approx(inf["reward_terms"], rel=1e-12)
            live[i] = not ended
    assert not live.any()


def test_an_ended_episode_leaves_its_last_observation_and_a_new_one_begins_in_the_same_step():
    env = make_vec("HopperRandParams", 16)
    n_ended, before = 0, env.reset(seed=0)[1]["task"]["body_mass"]
    for _ in range(80):
        obs, reward, terminated, truncated, info = env.step(np.ones((16, 3), np.float32))
        ended = terminated | truncated
        assert bool(ended.any()) is ("final_obs" in info)
        tasks = info["task"]["body_mass"]
        np.testing.assert_array_equal(tasks[~ended], before[~ended])
        np.testing.assert_array_equal(info["_reward_terms"], ~ended)
        np.testing.assert_array_equal(env.sim.elapsed == 0, ended)
        if ended.any():
            np.testing.assert_array_equal(info["_final_obs"], ended)
            np.testing.assert_array_equal(info["_final_info"], ended)
            np.testing.assert_array_equal(info["final_info"]["task"]["body_mass"], before)
            assert (tasks[ended] != before[ended]).any(axis=1).all()
            terms = info["final_info"]["reward_terms"]
            np.testing.assert_allclose(sum(terms.values()), reward, rtol=1e-5)
            for i in range(16):
                assert (info["final_obs"][i] is not None) == ended[i]
            for i in np.flatnonzero(ended):
                # Upright at the start, not so at the end.
                assert np.abs(obs[i]).max() < 2 and np.abs(info["final_obs"][i][1]) > 0.1
        n_ended, before = n_ended + ended.sum(), tasks
    assert n_ended > 16


def test_the_horizon_truncates_every_simulation_at_once_and_again():
    env = make_vec("PointGoal", 2)
    results = play(env, 40, seed=0)[1:]
    ends = [t for t, (_, _, terminated, truncated, _) in enumerate(results) if truncated.all()]
    assert ends == [19, 39]
    assert not any(terminated.any() for _, _, terminated, _, _ in results)
    np.testing.assert_array_equal(results[19][0], np.zeros((2, 2)))  # every episode starts at the origin


def test_episodes_go_on_with_a_fixed_task_and_draw_anew_without_one():
    angles = np.array([0.5, 1.5, 2.5])
    fixed = make_vec("SparsePointGoal", 3, tasks=[{"angle": a} for a in angles])
    for _, _, _, _, info in play(fixed, 50, seed=0)[1:]:
        np.testing.assert_array_equal(info["task"]["angle"], angles)
    _, info = fixed.reset(options={"task": {"angle": 1.0}})
    np.testing.assert_array_equal(info["task"]["angle"], [1.0] * 3)
    _, info = fixed.reset(options={"task": None})
    assert len(set(info["task"]["angle"])) == 3
    seen = {a for *_, info in play(make_vec("SparsePointGoal", 3), 50, seed=0) for a in info["task"]["angle"]}
    assert len(seen) > 6


# How ended episodes begin anew.


def test_what_a_vector_env_says_of_its_autoreset_is_what_was_asked_for():
    for mode in AutoresetMode:
        for asked in (mode, mode.value):
            env = make_vec("PointGoal", 2, autoreset_mode=asked)
            assert env.metadata["autoreset_mode"] is env.autoreset_mode is mode


def test_the_next_step_after_an_end_begins_anew_and_counts_for_nothing():
    same, later = (FamilyVectorEnv(Fragile(), 4, autoreset_mode=m) for m in ("SameStep", "NextStep"))
    same.reset(seed=0)
    later.reset(seed=0)
    action = np.tile(np.float32([1.0, 0.0]), (4, 1))
    action[2:] = 0.0  # these never fail
    for t in range(1, 6):
        at_once, result = same.step(action), later.step(action)
        if t < 5:
            np.testing.assert_array_equal(result[0], at_once[0])
    obs, reward, terminated, truncated, info = result
    assert terminated.tolist() == [True, True, False, False] and (reward == 1).all()
    np.testing.assert_array_equal(obs[:2], np.stack(at_once[4]["final_obs"][:2]))
    assert "final_obs" not in info and info["_reward_terms"].all()
    ended, before = info["task"]["goal_x"], obs
    obs, reward, terminated, truncated, info = later.step(action)
    assert reward.tolist() == [0, 0, 1, 1] and not terminated.any() and not truncated.any()
    assert (obs[:2] == 0).all() and (info["task"]["goal_x"] != ended).tolist() == [True, True, False, False]
    assert info["_reward_terms"].tolist() == [False, False, True, True] and info["_task"].all()
    assert later.sim.elapsed.tolist() == [0, 0, 6, 6]
    for _ in range(7, 21):
        *_, truncated, _ = later.step(action)
    assert truncated.tolist() == [False, False, True, True]
    assert np.abs(before[:2]).max() > 0.4


def test_without_autoreset_a_mask_begins_anew_and_leaves_the_others_alone():
    env = FamilyVectorEnv(Fragile(), 4, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    action = np.tile(np.float32([1.0, 0.0]), (4, 1))
    action[2:] = 0.1
    for _ in range(5):
        obs, _, terminated, _, info = env.step(action)
    with pytest.raises(InputError, match=r"simulations \[0, 1\] have ended; begin new ones by reset\("):
        env.step(action)
    tasks, options = info["task"]["goal_x"], {"reset_mask": terminated}
    begun, info = env.reset(options=options)
    assert options == {"reset_mask": terminated}
    np.testing.assert_array_equal(begun[2:], obs[2:])
    assert (begun[:2] == 0).all() and env.sim.elapsed.tolist() == [0, 0, 5, 5]
    assert (info["task"]["goal_x"] == tasks).tolist() == [False, False, True, True]
    env.reset(options={"reset_mask": terminated, "task": {"goal_x": 0.25}})
    assert (env.sim.task_values["goal_x"] == 0.25).tolist() == [True, True, False, False]
    env.step(action)
    env.reset(options={"reset_mask": ~terminated})
    assert (env.sim.task_values["goal_x"] == 0.25).all()


def test_shorter_episodes_are_truncated_when_they_are_asked_to_be():
    for _, _, terminated, truncated, info in play(make_vec("PointGoal", 2, max_episode_steps=7), 7, 0)[1:7]:
        assert not terminated.any() and not truncated.any() and "final_obs" not in info
    results = play(make_vec("PointGoal", 2, max_episode_steps=7), 21, 0)[1:]
    assert [t for t, (*_, truncated, _) in enumerate(results) if truncated.all()] == [6, 13, 20]


@pytest.mark.parametrize("mode", ["async", "sync"])
def test_gymnasiums_own_vector_envs_hold_the_families_too(mode):
    env = gymnasium.make_vec(
        "metarl/HopperRandParams-v0", 2, vectorization_mode=mode, vector_kwargs={"autoreset_mode": "SameStep"}
    )
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(40):
        *_, info = env.step(env.action_space.sample())
        assert "task" in info
    env.close()


def test_results_of_a_step_do_not_change_with_later_steps():
    env = make_vec("HopperRandParams", 4)
    results = play(env, 30, seed=0)
    again = play(make_vec("HopperRandParams", 4), 30, seed=0)
    play(env, 30, seed=1)
    assert same(results, again)


def test_gymnasiums_vector_wrappers_understand_the_results():
    env = DictInfoToList(RecordEpisodeStatistics(make_vec("PointGoal", 2)))
    env.action_space.seed(0)
    env.reset(seed=0)
    for _ in range(20):
        _, _, _, truncated, info = env.step(env.action_space.sample())
    assert truncated.all() and [i["episode"]["l"] for i in info] == [20, 20]
    assert set(info[0]) == {"task", "final_obs", "final_info", "episode"}
    assert set(info[0]["final_info"]) == {"task", "reward_terms"}


@pytest.mark.parametrize("how", [deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize("name", ["PointGoal", "HopperRandParams"])
@pytest.mark.parametrize("many", [False, True])
def test_a_copy_goes_on_as_the_original_does_and_shares_nothing(how, name, many):
    env = make_vec(name, 3) if many else gymnasium.make(f"metarl/{name}-v0")
    env.action_space.seed(0)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    other = how(env)

    def lived(env) -> list:
        return [env.step(env.action_space.sample()) for _ in range(5)] + [env.reset()]

    theirs = lived(other)
    assert same(theirs, lived(env))


def test_a_copy_draws_with_a_renderer_of_its_own(gl):
    env = FamilyEnv("PointGoal", render_mode="rgb_array", width=64, height=48)
    env.reset(seed=0)
    frame, other = env.render(), deepcopy(env)
    np.testing.assert_array_equal(other.render(), frame)
    other.close()
    np.testing.assert_array_equal(env.render(), frame)
    env.close()


@pytest.mark.parametrize(
    ("wrap", "mode"),
    [
        (NormalizeObservation, "NextStep"),
        (NormalizeReward, "NextStep"),
        (NormalizeReward, "SameStep"),
        (NormalizeReward, "Disabled"),
    ],
)
def test_gymnasiums_normalisers_take_the_modes_they_know(wrap, mode):
    env = wrap(make_vec("PointGoal", 2, autoreset_mode=mode))
    env.action_space.seed(0)
    env.reset(seed=0)
    for _ in range(20):
        obs, reward, _, truncated, _ = env.step(env.action_space.sample())
    assert truncated.all() and np.isfinite(obs).all() and np.isfinite(reward).all()


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_gymnasium_counts_every_step_of_an_episode_once(mode):
    env = RecordEpisodeStatistics(FamilyVectorEnv(Fragile(), 4, autoreset_mode=mode))
    env.action_space.seed(0)
    env.reset(seed=0)
    for _ in range(80):
        env.step(env.action_space.sample())
    assert len(env.return_queue) > 12 and max(env.length_queue) <= 20
    assert list(env.return_queue) == list(env.length_queue)  # a reward of 1 each step


def test_a_flat_vector_info_has_a_mask_for_every_number():
    results = play(make_vec("HopperRandParams", 3, flat_info=True), 60, 0)
    assert any("final_info" in info for *_, info in results)
    for *_, info in results:
        for held in (info, info.get("final_info", {})):
            names = {key for key in held if not key.startswith("_")}
            assert {f"_{key}" for key in names} == held.keys() - names
            assert all(isinstance(held[key], np.ndarray) for key in names - {"final_info"})
    assert {"task/body_mass", "reward_terms/healthy"} <= results[-1][-1].keys()


@pytest.mark.parametrize("mode", ["Disabled", "SameStep"])
def test_torchrl_takes_one_and_many_with_all_that_their_infos_tell(mode):
    envs = pytest.importorskip("torchrl.envs", reason="no TorchRL here: pip install torchrl")
    torch.manual_seed(0)
    one = envs.GymEnv("metarl/HopperRandParams-v0", flat_info=True).auto_register_info_dict()
    many = envs.GymWrapper(make_vec("HopperRandParams", 3, autoreset_mode=mode, flat_info=True))
    if mode == "Disabled":
        many = many.auto_register_info_dict()
    for env, n in ((one, 1), (many, 3)):
        env.set_seed(0)
        envs.check_env_specs(env)
        rollout = env.rollout(60, break_when_any_done=False)
        assert rollout["next", "reward"].numel() == 60 * n and rollout["next", "done"].any()
        terms = sum(v for k, v in rollout["next"].items() if k.startswith("reward_terms/"))
        kept = ~rollout["next", "done"][..., 0]
        reward = rollout["next", "reward"][..., 0]
        np.testing.assert_allclose(terms[kept], reward[kept], rtol=1e-4, atol=1e-4)
        assert rollout["task/body_mass"].shape[-1] == 4


# Frames.


@needs_moviepy
def test_gymnasium_records_an_episode_of_one_and_of_many(gl, tmp_path):
    size = {"render_mode": "rgb_array", "width": 64, "height": 48}
    one = RecordVideo(
        gymnasium.make("metarl/PointGoal-v0", **size), str(tmp_path / "one"), episode_trigger=bool
    )
    many = make_vec("PointGoal", 3, autoreset_mode="NextStep", **size)
    many = wrappers.RecordVideo(many, str(tmp_path / "many"), episode_trigger=bool)
    for env in (one, many):
        env.reset(seed=0)
        env.reset()  # episode 1 is recorded
        for _ in range(20):
            env.step(env.action_space.sample())
        env.close()
    for folder in ("one", "many"):
        (video,) = (tmp_path / folder).iterdir()
        assert video.name == "rl-video-episode-1.mp4" and video.stat().st_size > 1000


def test_frames_have_the_asked_size_show_the_robot_and_cost_the_physics_nothing(gl, name):
    family = load_family(name)
    offscreen = family.model.vis.global_.offwidth
    seen = FamilyEnv(family, held_out(family), render_mode="rgb_array", width=offscreen + 16, height=96)
    blind = FamilyEnv(family, held_out(family))
    seen.reset(seed=0)
    blind.reset(seed=0)
    assert blind.render() is None
    first = seen.render()
    assert first.shape == (96, offscreen + 16, 3) and first.dtype == np.uint8
    for action in np.random.default_rng(0).uniform(-1, 1, (10, family.action_dim)):
        np.testing.assert_array_equal(seen.step(action)[0], blind.step(action)[0])
        frame = seen.render()
    np.testing.assert_array_equal(seen.sim.state, blind.sim.state)
    assert (np.abs(frame.astype(int) - first) > 30).any(axis=2).sum() > 20  # pixels that moved
    assert family.model.vis.global_.offwidth == offscreen
    seen.close()
    seen.close()


def test_a_vector_env_renders_one_frame_a_simulation(gl):
    env = make_vec("PointGoal", 3, render_mode="rgb_array", width=64, height=48)
    env.reset(seed=0)
    for _ in range(5):
        env.step(np.array([[1, 0], [0, 1], [0, 0]], np.float32))
    frames = env.render()
    assert [f.shape for f in frames] == [(48, 64, 3)] * 3
    assert not np.array_equal(frames[0], frames[1]) and not np.array_equal(frames[0], frames[2])
    env.close()
