"""The robots on Gymnasium's MJCF move as Gymnasium's own environments do."""

import gymnasium
import mujoco
import numpy as np
import pytest

from metarl.envs import BatchSim, load_family
from metarl.envs.families.arm import fetch_assets

pytest.importorskip("imageio", reason="Gymnasium's own MuJoCo environments import imageio")

STEPS = 50

# ours, theirs, and the reward terms that must agree: ours -> (theirs, factor)
VELOCITY = {"velocity": ("x_velocity", 1.0)}
SAME = {
    "HalfCheetahDir": ("HalfCheetah-v5", {**VELOCITY, "control": ("reward_ctrl", 0.05 / 0.1)}),
    "HopperRandParams": (
        "Hopper-v5",
        {**VELOCITY, "control": ("reward_ctrl", 1.0), "healthy": ("reward_survive", 1.0)},
    ),
    "Walker2dRandParams": (
        "Walker2d-v5",
        {**VELOCITY, "control": ("reward_ctrl", 1.0), "healthy": ("reward_survive", 1.0)},
    ),
    "AntDir": ("Ant-v5", {"control": ("reward_ctrl", 1.0)}),
    "HumanoidDir": ("Humanoid-v5", {"control": ("reward_ctrl", 1.0)}),
}
TASK = {
    "AntDir": {"direction": 0.0},
    "HalfCheetahDir": {"direction": 1.0},
    "HalfCheetahVel": {"velocity": 2.0},
    "HumanoidDir": {"direction": 0.0},
}

CENTRE = {"AntDir": (1.0, "root"), "HumanoidDir": (1.25, "mass")}  # whose velocity is paid, and how much


def centre(theirs) -> dict[str, float]:
    """The x of the root and of the centre of mass, now."""
    data = mujoco.MjData(theirs.model)
    data.qpos[:] = theirs.data.qpos
    mujoco.mj_kinematics(theirs.model, data)
    mujoco.mj_comPos(theirs.model, data)
    return {"root": data.qpos[0], "mass": data.subtree_com[0, 0]}


def beside(name: str, theirs, seed: int) -> BatchSim:
    """Our simulation, started from the state in which theirs stands, solver's warm start included."""
    family = load_family(name)
    sim = BatchSim(family, 1, 1)
    sim.set_tasks([family.task(TASK.get(name))])
    sim.reset(np.random.default_rng(seed))
    integration = mujoco.mjtState.mjSTATE_INTEGRATION
    mujoco.mj_getState(theirs.model, theirs.data, sim.state[0], integration)
    sim.refresh()
    return sim


@pytest.mark.parametrize("name", sorted(SAME))
@pytest.mark.parametrize("seed", range(3))
def test_states_observations_rewards_and_ends_are_gymnasiums(name, seed):
    their_id, terms = SAME[name]
    theirs = gymnasium.make(their_id).unwrapped
    theirs.reset(seed=seed)
    sim = beside(name, theirs, seed)
    assert sim.family.dt == theirs.dt
    fell = False
    for action in np.random.default_rng(seed).uniform(-1, 1, (STEPS, theirs.model.nu)).astype(np.float32):
        before = centre(theirs)
        obs, _, terminated, _, info = theirs.step(action * theirs.model.actuator_ctrlrange[:, 1])
        step = sim.step(action[None])
        if name in CENTRE:  # theirs reads positions one substep late
            factor, of = CENTRE[name]
            velocity = (centre(theirs)[of] - before[of]) / theirs.dt
            np.testing.assert_allclose(step.terms["velocity"][0], factor * velocity, rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(sim.readings.qpos[0], theirs.data.qpos)
        np.testing.assert_array_equal(sim.readings.qvel[0], theirs.data.qvel)
        # Theirs adds inertias and forces to what Ant and Humanoid see.
        np.testing.assert_array_equal(step.obs[0], obs[: sim.family.obs_dim].astype(np.float32))
        assert step.terminated[0] == terminated
        for ours, (key, factor) in terms.items():
            np.testing.assert_allclose(step.terms[ours][0], factor * info[key], rtol=1e-6, atol=1e-12)
        fell |= bool(terminated)
    if name != "AntDir":  # which falls over only sometimes
        assert fell is (name != "HalfCheetahDir")  # so that both answers were compared


def test_the_velocity_that_half_cheetah_is_asked_for_is_gymnasiums_velocity():
    theirs = gymnasium.make("HalfCheetah-v5").unwrapped
    theirs.reset(seed=0)
    sim = beside("HalfCheetahVel", theirs, 0)
    for action in np.random.default_rng(0).uniform(-1, 1, (STEPS, 6)).astype(np.float32):
        *_, info = theirs.step(action)
        expected = -abs(info["x_velocity"] - 2.0) + 0.5 * info["reward_ctrl"]
        np.testing.assert_allclose(sim.step(action[None]).reward[0], expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["HopperRandParams", "Walker2dRandParams"])
def test_a_state_is_healthy_where_gymnasium_says_so(name):
    theirs = gymnasium.make(SAME[name][0]).unwrapped
    rng, n = np.random.default_rng(0), 400
    qpos = rng.normal(0, 0.1, (n, theirs.model.nq))
    qpos[:, 1], qpos[:, 2] = rng.uniform(0.5, 2.3, n), rng.uniform(-1.2, 1.2, n) * rng.choice([0.2, 1.0], n)
    qvel = rng.normal(0, 1, (n, theirs.model.nv))
    qvel[::10, 0] = 200.0
    healthy = []
    for p, v in zip(qpos, qvel, strict=True):
        theirs.set_state(p, v)
        healthy.append(theirs.is_healthy)
    family = load_family(name)
    sim = BatchSim(family, n, 1)
    sim.set_state(qpos, qvel)
    np.testing.assert_array_equal(~family.terminated(sim.readings), healthy)
    assert 0.2 < np.mean(healthy) < 0.8


def test_the_reacher_moves_as_gymnasiums_whose_target_is_only_a_marker():
    theirs = gymnasium.make("Reacher-v5").unwrapped
    theirs.reset(seed=0)
    family = load_family("ReacherGoal")
    target = theirs.data.body("target").xpos[:2]
    task = {"radius": np.hypot(*target), "angle": np.arctan2(target[1], target[0])}
    sim = BatchSim(family, 1, 1)
    sim.set_tasks([family.task(task)])
    sim.set_state(theirs.data.qpos[None, :2], theirs.data.qvel[None, :2])
    assert family.dt == theirs.dt
    arm = [0, 1, 2, 3, 6, 7]  # cosines, sines and velocities; theirs also tells the target
    for action in np.random.default_rng(0).uniform(-1, 1, (STEPS, 2)).astype(np.float32):
        obs, _, terminated, _, info = theirs.step(action)
        step = sim.step(action[None])
        np.testing.assert_allclose(sim.readings.qpos[0], theirs.data.qpos[:2], rtol=0, atol=1e-9)
        np.testing.assert_allclose(sim.readings.qvel[0], theirs.data.qvel[:2], rtol=0, atol=1e-9)
        np.testing.assert_allclose(step.obs[0, :6], obs[arm], rtol=0, atol=1e-6)
        assert not terminated and not step.terminated[0]
        np.testing.assert_allclose(step.terms["control"][0], 0.1 * info["reward_ctrl"], rtol=1e-6)
        # Theirs reads the fingertip one substep late: ours is where it is after that substep.
        mujoco.mj_kinematics(theirs.model, theirs.data)
        tip = theirs.data.body("fingertip").xpos[:2]
        np.testing.assert_allclose(step.obs[0, 6:], tip, rtol=0, atol=1e-6)
        np.testing.assert_allclose(step.terms["distance"][0], -np.hypot(*(tip - target)), rtol=0, atol=1e-6)


def test_initial_states_are_drawn_from_gymnasiums_range():
    for name, their_id in {n: i for n, (i, _) in SAME.items()}.items():
        theirs = gymnasium.make(their_id).unwrapped
        drawn = []
        for seed in range(200):
            theirs.reset(seed=seed)
            drawn.append(np.concatenate([theirs.data.qpos, theirs.data.qvel]))
        family = load_family(name)
        ours = np.concatenate(family.initial_state(np.random.default_rng(0), 200), axis=1)
        drawn = np.array(drawn)
        np.testing.assert_allclose(ours.mean(0), drawn.mean(0), atol=0.35 * drawn.std(0).max())
        np.testing.assert_allclose(ours.std(0), drawn.std(0), rtol=0.25)


@pytest.mark.parametrize("name", ["ArmReach", "ArmPush"])
def test_the_arms_hand_begins_where_fetch_leads_it_to(name):
    family = load_family(name)
    model = mujoco.MjModel.from_xml_path(str(fetch_assets() / family.file))
    data = mujoco.MjData(model)
    for joint, value in {"slide0": 0.405, "slide1": 0.48, "slide2": 0.0}.items():
        data.joint(f"robot0:{joint}").qpos[0] = value
    model.eq_data[0, 3:10] = 0, 0, 0, 1, 0, 0, 0  # as it resets its welds
    mujoco.mj_forward(model, data)
    lead = -0.498, 0.005, -0.431 + family.extra_height
    data.mocap_pos[0] = data.site("robot0:grip").xpos + np.array(lead)
    data.mocap_quat[0] = 1, 0, 1, 0
    mujoco.mj_step(model, data, nstep=10 * 20)
    np.testing.assert_allclose(family.hand_at_rest, data.site("robot0:grip").xpos, rtol=0, atol=0.02)


def test_an_arms_hand_goes_as_fast_as_told_and_takes_the_fingertips_along():
    family = load_family("ArmReach")
    sim = BatchSim(family, 3, 1)
    sim.set_tasks(family.tasks("test")[:3])
    start = sim.reset(np.random.default_rng(0))
    for _ in range(5):
        step = sim.step(0.5 * np.eye(3))
    moved = step.obs[:, 3:6] - start[:, 3:6]
    np.testing.assert_allclose(moved, 0.5 * 5 * family.dt * np.eye(3), atol=0.01)
    tips = step.obs[:, :3] - start[:, :3]
    np.testing.assert_allclose(tips, moved, atol=0.03)


def test_a_block_is_pushed_and_success_is_within_five_centimetres():
    family = load_family("ArmPush")
    sim = BatchSim(family, 1, 1)
    sim.set_tasks([family.task({"goal_x": 0.15, "goal_y": 0.0})])
    qpos, qvel = family.initial_state(np.random.default_rng(0), 1)
    first = family.block[0]
    qpos[0, first : first + 2] = family.hand_at_rest[:2] + np.array([0.08, 0.0])
    sim.set_state(qpos, qvel)
    distances = []
    for t in range(25):
        step = sim.step(np.array([[0.5 if t < 8 else 0.0, 0.0, 0.0]]))
        distances.append(-step.terms["distance"][0])
    assert distances[0] == pytest.approx(0.07, abs=0.01) and min(distances) < 0.05
    assert (step.terms["success"][0] == 1) == bool(sim.succeeded[0]) == (distances[-1] < 0.05)
