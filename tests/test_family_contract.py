"""The laws every family in the catalogue keeps."""

import json
import random

import numpy as np
import pytest

from metarl.envs import FAMILIES, BatchSim, InputError, Param, Readings, TaskFamily, Uniform, load_family
from metarl.envs.told import commands

STEPS = 30


@pytest.fixture(params=sorted(FAMILIES))
def family(request) -> TaskFamily:
    return load_family(request.param)


def batch(family: TaskFamily, n: int, seed: int = 0, n_threads: int = 1) -> BatchSim:
    """N simulations with N training tasks, reset."""
    sim = BatchSim(family, n, n_threads)
    rng = np.random.default_rng(seed)
    sim.set_tasks(family.sample(rng, n))
    sim.reset(rng)
    return sim


def actions(family: TaskFamily, steps: int, n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (steps, n, family.action_dim)).astype(np.float32)


def rollout(sim: BatchSim, action: np.ndarray) -> tuple[np.ndarray, ...]:
    """obs, reward, terminated, truncated, state after every step, stacked over time."""
    rows = []
    for a in action:
        s = sim.step(a)
        rows.append((s.obs, s.reward, s.terminated, s.truncated, sim.state.copy()))
    return tuple(np.stack(column) for column in zip(*rows, strict=True))


def splits(family: TaskFamily) -> list[str]:
    train = ["train"] if family.n_train is not None else []
    return [*train, "test", *(["ood"] if family.has_ood else [])]


# What a family says about itself.


def test_the_catalogue_lists_a_family_under_its_class_name_and_says_what_it_is(family):
    assert type(FAMILIES[family.name]()) is type(family)
    assert family.name == type(family).__name__
    own = type(family).__dict__.get("__doc__")
    assert own and own.splitlines()[0].endswith(".")
    assert len({p.name for p in family.params}) == len(family.params) > 0
    assert all(str(p) for p in family.params)


# Observations, rewards, ends.


def test_observations_are_finite_float32_of_the_stated_shape_and_no_element_is_constant(family):
    n = 64
    action = actions(family, STEPS, n)
    action[:, ::2] = action[0, ::2]  # half of them go on as they began, and get somewhere
    obs, reward, *_ = rollout(batch(family, n), action)
    assert obs.dtype == reward.dtype == np.float32
    assert obs.shape == (STEPS, n, family.obs_dim) and reward.shape == (STEPS, n)
    assert np.isfinite(obs).all() and np.isfinite(reward).all()
    commanded = sum(family.size(p) for p in family.told_params)
    assert (np.ptp(obs, axis=0).max(axis=0)[: family.obs_dim - commanded] > 1e-6).all()
    assert (np.ptp(obs, axis=(0, 1)) > 1e-6).all()


def test_initial_states_vary_unless_the_family_starts_from_one(family):
    sim = BatchSim(family, 4, 1)
    sim.set_tasks(family.sample(np.random.default_rng(0), 4))
    qpos, _ = family.initial_state(np.random.default_rng(0), 4)
    obs = sim.reset(np.random.default_rng(0))
    overridden = type(family).initial_state is not TaskFamily.initial_state
    assert (len(np.unique(qpos, axis=0)) == 4) is overridden
    assert (len(np.unique(obs, axis=0)) == 4) is overridden


def test_the_reward_is_the_sum_of_the_named_terms(family):
    sim = batch(family, 6)
    for a in actions(family, STEPS, 6):
        step = sim.step(a)
        assert step.terms and all(term.shape == (6,) for term in step.terms.values())
        np.testing.assert_array_equal(step.reward, sum(step.terms.values()).astype(np.float32))


def test_an_episode_is_truncated_exactly_at_the_horizon_and_never_where_it_terminates(family):
    sim = batch(family, 6)
    zero = np.zeros((family.horizon, 6, family.action_dim), np.float32)
    _, _, terminated, truncated, _ = rollout(sim, zero)
    assert not (terminated & truncated).any()
    assert not truncated[:-1].any()
    np.testing.assert_array_equal(truncated[-1], ~terminated[-1])
    np.testing.assert_array_equal(sim.elapsed, family.horizon)


def test_actions_beyond_the_range_act_as_clipped_ones(family):
    action = actions(family, STEPS, 4) * 3
    wild, tame = rollout(batch(family, 4), action), rollout(batch(family, 4), action.clip(-1, 1))
    assert np.abs(action).max() > 1
    for a, b in zip(wild, tame, strict=True):
        np.testing.assert_array_equal(a, b)


def test_actions_of_a_wrong_shape_or_not_a_number_are_refused(family):
    sim = batch(family, 3)
    with pytest.raises(ValueError, match="shape"):
        sim.step(np.zeros((1, family.action_dim)))
    action = np.zeros((3, family.action_dim))
    action[1, 0] = np.nan
    with pytest.raises(ValueError, match="simulation 1 is not a number"):
        sim.step(action)


def test_what_is_returned_does_not_change_with_later_steps(family):
    sim = batch(family, 3)
    first = sim.reset(np.random.default_rng(0))
    step = sim.step(actions(family, 1, 3)[0])
    arrays = [first, step.obs, step.reward, step.terminated, step.truncated, step.failed]
    arrays += list(step.terms.values())
    kept = [a.copy() for a in arrays]
    rollout(sim, actions(family, 5, 3))
    sim.reset(np.random.default_rng(1))
    for a, b in zip(arrays, kept, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.shares_memory(a, sim.state)


def test_a_familys_functions_write_to_nothing_they_read(family):
    sim = batch(family, 3)
    step = sim.step(actions(family, 1, 3)[0])

    def read_only(array: np.ndarray) -> np.ndarray:
        view = array.view()
        view.flags.writeable = False
        return view

    live = sim.readings
    r = Readings(
        family.model,
        read_only(live.qpos),
        read_only(live.qvel),
        lambda name: read_only(live.field(name)),
        family.dt,
        live.known,
    )
    r.qpos_before = read_only(live.qpos_before)
    r.before = {name: read_only(value) for name, value in live.before.items()}
    action = read_only(actions(family, 1, 3)[0])
    task = {name: read_only(value) for name, value in sim.task_values.items()}
    r.action, r.action_before = read_only(live.action), read_only(live.action_before)
    np.testing.assert_array_equal(
        np.concatenate([family.see(r), commands(family, task)], axis=1, dtype=np.float32), step.obs
    )
    np.testing.assert_array_equal(
        sum(family.reward(r, action, task).values()).astype(np.float32), step.reward
    )
    np.testing.assert_array_equal(family.terminated(r), step.terminated)
    success = family.success(r, task)
    assert success is None or (success.dtype == bool and success.shape == (3,))


# Sameness.


def test_same_seed_same_numbers_bit_for_bit_at_any_number_of_threads(family):
    action = actions(family, STEPS, 7)
    one, two, three = (rollout(batch(family, 7, n_threads=n), action) for n in (1, 2, 3))
    for a, b, c in zip(one, two, three, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


def test_another_seed_gives_other_tasks_and_other_initial_states(family):
    zero, one = np.random.default_rng(0), np.random.default_rng(1)
    assert family.sample(zero, 7) != family.sample(one, 7)
    overridden = type(family).initial_state is not TaskFamily.initial_state
    same = np.array_equal(family.initial_state(zero, 7)[0], family.initial_state(one, 7)[0])
    assert same is not overridden


def test_a_batch_of_n_equals_n_simulations_alone(family):
    n = 5
    rng = np.random.default_rng(3)
    tasks, (qpos, qvel) = family.sample(rng, n), family.initial_state(rng, n)
    action = actions(family, STEPS, n)
    together = BatchSim(family, n, 2)
    together.set_tasks(tasks)
    first = together.set_state(qpos, qvel)
    expected = rollout(together, action)
    for i in range(n):
        alone = BatchSim(family, 1, 1)
        alone.set_tasks(tasks[i : i + 1])
        np.testing.assert_array_equal(alone.set_state(qpos[i : i + 1], qvel[i : i + 1])[0], first[i])
        for a, b in zip(rollout(alone, action[:, i : i + 1]), expected, strict=True):
            np.testing.assert_array_equal(a[:, 0], b[:, i])


def test_a_masked_reset_and_new_tasks_leave_the_others_alone_then_and_later(family):
    n, mask = 5, np.array([True, False, True, False, False])
    disturbed, left = batch(family, n), batch(family, n)
    action = actions(family, STEPS, n)
    rollout(disturbed, action[:10])
    rollout(left, action[:10])
    rng = np.random.default_rng(9)
    new = family.sample(rng, 2)
    disturbed.set_tasks(new, np.flatnonzero(mask))
    obs = disturbed.reset(rng, mask)
    np.testing.assert_array_equal(disturbed.state[~mask], left.state[~mask])
    assert not np.array_equal(disturbed.state[mask], left.state[mask])
    np.testing.assert_array_equal(disturbed.elapsed, np.where(mask, 0, 10))
    assert [disturbed.tasks[0], disturbed.tasks[2]] == new
    assert obs.shape == (n, family.obs_dim)
    for a, b in zip(rollout(disturbed, action[10:]), rollout(left, action[10:]), strict=True):
        np.testing.assert_array_equal(a[:, ~mask], b[:, ~mask])


def test_a_simulation_that_was_used_before_is_as_good_as_new(family):
    action = actions(family, STEPS, 4)
    rng = np.random.default_rng(5)
    tasks, state = family.sample(rng, 4), family.initial_state(rng, 4)
    used, new = batch(family, 4, seed=8), BatchSim(family, 4, 1)
    rollout(used, action[:7])
    for sim in (used, new):
        sim.set_tasks(tasks)
        sim.set_state(*state)
    for a, b in zip(rollout(used, action), rollout(new, action), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_masked_step_leaves_the_others_alone_then_and_later(family):
    n, mask = 4, np.array([False, True, False, True])
    sim, whole = batch(family, n), batch(family, n)
    action = actions(family, STEPS, n)
    rollout(sim, action[:5])
    rollout(whole, action[:5])
    before = sim.state.copy()
    readings = [a.copy() for a in (sim.readings.qpos_before, sim.elapsed)]
    for a in action[5:10]:
        sim.step(-a, mask)
    np.testing.assert_array_equal(sim.state[~mask], before[~mask])
    for now, then in zip((sim.readings.qpos_before, sim.elapsed), readings, strict=True):
        np.testing.assert_array_equal(now[~mask], then[~mask])
    assert not np.array_equal(sim.state[mask], before[mask])
    for a, b in zip(rollout(sim, action[10:]), rollout(whole, action[10:]), strict=True):
        np.testing.assert_array_equal(a[:, ~mask], b[:, ~mask])


def test_the_global_random_states_are_neither_read_nor_touched(family):
    results = []
    for seed in (0, 1):
        np.random.seed(seed)
        random.seed(seed)
        before = np.random.get_state()[1].tolist(), random.getstate()
        sim = batch(family, 3)
        results.append((rollout(sim, actions(family, 3, 3)), family.tasks("test")))
        assert before == (np.random.get_state()[1].tolist(), random.getstate())
    (arrays_0, tasks_0), (arrays_1, tasks_1) = results
    assert tasks_0 == tasks_1
    for a, b in zip(arrays_0, arrays_1, strict=True):
        np.testing.assert_array_equal(a, b)


# Tasks.


def test_two_tasks_look_alike_at_first_and_the_same_actions_then_tell_them_apart(family):
    n_pairs = 64  # constant pushes in that many directions: a sparse reward has to be found
    first, second = family.tasks("test")[:2]
    second = family.task({**second, **{p.name: first[p.name] for p in family.told_params}})
    assert first != second
    sim = BatchSim(family, 2 * n_pairs, 2)
    sim.set_tasks([first] * n_pairs + [second] * n_pairs)
    qpos, qvel = family.initial_state(np.random.default_rng(0), 1)
    obs = sim.set_state(np.repeat(qpos, 2 * n_pairs, 0), np.repeat(qvel, 2 * n_pairs, 0))
    np.testing.assert_array_equal(obs, np.broadcast_to(obs[0], obs.shape))
    action = np.tile(np.random.default_rng(0).uniform(-1, 1, (n_pairs, family.action_dim)), (2, 1))
    apart = 0.0
    for _ in range(20 if not family.moves else family.horizon):
        step = sim.step(action)
        for array in (step.obs, step.reward[:, None]):
            apart = max(apart, float(np.abs(array[:n_pairs] - array[n_pairs:]).max()))
    assert apart > 1e-3


def test_training_and_held_out_tasks_are_disjoint_unless_the_family_says_otherwise(family):
    rng = np.random.default_rng(0)
    fixed = set(family.tasks("train")) if family.n_train is not None else set()
    train = fixed | set(family.sample(rng, 300))
    for split in splits(family)[1 if fixed else 0 :]:
        overlap = train & set(family.tasks(split))
        assert bool(overlap) is not family.disjoint
    if fixed:
        assert set(family.sample(rng, 300)) <= fixed
    else:
        with pytest.raises(InputError, match="fresh"):
            family.tasks("train")


def test_milder_tasks_go_from_the_model_file_to_the_tasks_and_keep_their_goals(family):
    tasks = family.sample(np.random.default_rng(0), 5)
    inner = [p for p in family.params if family.nominal(p) is not None and not p.every]
    if not inner:
        with pytest.raises(InputError, match="no dynamics"):
            family.milder(tasks, 0.5)
        return
    at = {width: family.milder(tasks, width) for width in (0, 0.5, 1)}
    for k, task in enumerate(tasks):
        assert dict(at[0][k]) | {p.name: task[p.name] for p in inner} == dict(at[1][k]) == dict(task)
    for param in inner:
        own, none, half = (np.array([t[param.name] for t in some]) for some in (tasks, at[0], at[0.5]))
        assert (none == family.nominal(param)).all()
        assert (np.abs(half - none) <= np.abs(own - none)).all() and (half != none).any()
        np.testing.assert_array_equal(np.sign(half - none), np.sign(own - none))


def test_the_lists_of_tasks_have_their_stated_sizes_without_duplicates_and_do_not_change(family):
    sizes = {"train": family.n_train, "test": family.n_test, "ood": family.n_ood}
    for split in splits(family):
        tasks = family.tasks(split)
        assert tasks == load_family(family.name).tasks(split)
        assert len(set(tasks)) == len(tasks) == sizes[split]


def test_out_of_distribution_tasks_lie_outside_the_training_distribution(family):
    if not family.has_ood:
        with pytest.raises(InputError, match="out-of-distribution"):
            family.tasks("ood")
        with pytest.raises(InputError, match="out-of-distribution"):
            family.sample(np.random.default_rng(0), 1, "ood")
        return
    for task in family.tasks("ood"):
        assert not all(np.all(p.train.contains(task[p.name])) for p in family.params)
    for task in (t for split in splits(family) if split != "ood" for t in family.tasks(split)):
        assert all(np.all(p.train.contains(task[p.name])) for p in family.params)


def test_a_task_survives_json_and_is_hashable_and_immutable(family):
    tasks = [t for split in splits(family) for t in family.tasks(split)]
    for task in tasks + family.sample(np.random.default_rng(0), 50):
        again = family.task(json.loads(json.dumps(dict(task))))
        assert again == task and hash(again) == hash(task)
    with pytest.raises(TypeError):
        task["x"] = 1.0


def test_a_bad_task_is_one_line_that_names_the_cure(family):
    param = family.params[0]
    good = dict(family.tasks("test")[0])
    size = family.size(param)
    bad = {
        "unknown task parameter": good | {param.name + "s": 1.0},
        "is not a number": good | {param.name: "fast"},
        "is not finite": good | {param.name: float("nan")},
        "is out of range": good | {param.name: 1e9},
        f"takes {size} number": good | {param.name: [0.5] * (size + 1)},
    }
    for said, values in bad.items():
        with pytest.raises(InputError, match=said) as error:
            family.task(values)
        assert param.name in str(error.value) and "\n" not in str(error.value)


# The first number of the first two held-out tasks, as published: results under one list are not
# comparable with results under another. A new family adds its row.
PINNED = {
    "ArmPush": (0.02344754827849249, -0.09365934279258402),
    "ArmPushRandParams": (0.054656627579967504, 0.07150780113630859),
    "ArmReach": (0.0994941753879719, 0.015281566604911784),
    "AntBreaks": (0.7151348932441561, 0.6689354069959106),
    "Go1Adapt": (0.6824487860084393, 0.09866427840855463),
    "Go1Damage": (0.6951257557343274, 0.20567985574794234),
    "Go1Velocity": (0.2346295478734322, 0.33544043522997624),
    "HalfCheetahBreaks": (1.0, 1.0),
    "UR5eReach": (0.18585288145397655, -0.14263609520496248),
    "X2Goal": (0.9323595777952463, -0.95025403634983),
    "X2Hover": (0.07395841473051117, 0.15122661308049137),
    "AntDamage": (0.5732418715926022, 0.6001744740164717),
    "AntDir": (2.5680107272013335, 3.8180302904314747),
    "AntFwdBack": (3.141592653589793, 0.0),
    "AntGoal": (0.798918293377242, 1.338234910445211),
    "AntVel": (1.6720661269992783, 1.0001835428535393),
    "HalfCheetahDamage": (1.0, 1.0),
    "HalfCheetahDir": (1.0, -1.0),
    "HalfCheetahVel": (1.2527508597946937, 2.3475631255822473),
    "HalfCheetahPayload": (1.015025748461725, 1.8445723365893059),
    "HalfCheetahVelGap": (0.9934224093143502, 1.57031203153207),
    "HopperRandParams": (0.34831740787180177, 2.680712805756046),
    "HumanoidDir": (2.613896956465459, 4.824639290926809),
    "PointGoal": (-0.7705921106602298, 0.26831782735042187),
    "ReacherGoal": (0.1766125563270045, 0.19807307411026645),
    "SparsePointGoal": (2.0580420843424547, 0.7070037557602532),
    "Walker2dRandParams": (0.7221981311398958, 3.180877276240556),
}


def test_the_held_out_tasks_are_the_published_ones(family):
    first = [float(np.ravel(t[family.params[0].name])[0]) for t in family.tasks("test")[:2]]
    assert family.name in PINNED, f"pin {first}"
    assert first == pytest.approx(PINNED[family.name], rel=1e-12)


# Dynamics.

# By parameter, the columns that no motion of the robot feels: a planar robot turns about y only, so the
# inertias about the other axes do nothing, and spin and roll friction need a contact that turns or a
# dimension its contacts do not have.
PLANAR = {"body_inertia": (".0", ".2"), "geom_friction": (".1", ".2")}
INERT = {"HopperRandParams": PLANAR, "Walker2dRandParams": PLANAR}


def test_every_number_of_every_dynamics_parameter_changes_the_motion(family):
    dynamics = [p for p in family.params if p.kind == "dynamics"]
    if not dynamics:
        pytest.skip("only goals vary")
    goal = {p.name: family.tasks("test")[0][p.name] for p in family.params if p.kind == "goal"}
    nominal = dict(family.task(goal))
    if "load" in nominal:  # whose place says nothing where there is none
        nominal["load"] = family.tasks("test")[0]["load"]
    labels, tasks = [], [nominal]
    for p in dynamics:
        for i, label in enumerate(family.variations[p.name].labels):
            for extreme in (p.train.low, p.train.high):
                value = np.atleast_1d(np.array(nominal[p.name]))
                value[i] = extreme
                labels.append(f"{p.name} {label}")
                tasks.append(nominal | {p.name: value})
    sim = BatchSim(family, len(tasks), 2)
    sim.set_tasks([family.task(t) for t in tasks])
    inert = INERT.get(family.name, {})
    expected = {label for label in labels if label.endswith(inert.get(label.split()[0], "?"))}
    rng, apart, unfelt = np.random.default_rng(0), np.zeros(len(tasks)), None
    for _ in range(20):  # falls this way and that way, until every limb has touched the ground
        qpos, qvel = family.initial_state(rng, 1)
        sim.set_state(np.repeat(qpos, len(tasks), 0), np.repeat(qvel, len(tasks), 0))
        for a in rng.uniform(-1, 1, (150, 1, family.action_dim)):
            sim.step(np.repeat(a, len(tasks), 0))
            apart = np.maximum(apart, np.abs(sim.readings.qpos - sim.readings.qpos[0]).max(axis=1))
        unfelt = set(labels) - {label for label, d in zip(labels, apart[1:], strict=True) if d > 0}
        if unfelt == expected:
            break
    assert unfelt == expected


def test_what_is_off_is_a_number_with_a_unit_for_every_simulation(family):
    sim = batch(family, 5)
    sim.step(np.zeros((5, family.action_dim)))
    error = sim.error()
    assert (error is None) == (not family.error_unit)
    assert error is None or (error.shape == (5,) and (error >= 0).all())


def test_a_family_of_other_tasks_does_not_inherit_what_is_off():
    class Elsewhere(load_family("SparsePointGoal").__class__):
        params = (Param("angle", "rad", Uniform(3, 4)),)

    assert load_family("SparsePointGoal").says_error and not Elsewhere().says_error
    assert batch(Elsewhere(), 2).error() is None
