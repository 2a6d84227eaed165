"""Physics of MuJoCo Warp, on its CPU device: short horizons are those of MuJoCo itself."""

import json
import pickle
import sys
from functools import partial

import mujoco
import numpy as np
import pytest
from helpers import SMALL_COMMANDS, TINY_STEPS

from metarl import MAML
from metarl.cli import main
from metarl.envs import BatchSim, InputError, Param, Uniform, load_family, simulate
from metarl.envs.batch_sim import FATAL_WARNINGS
from metarl.envs.families.half_cheetah import HalfCheetahVel
from metarl.envs.warp_batch import WarpBatch

N = 6
pytestmark = pytest.mark.xdist_group("warp")  # what one of them has compiled the others have
slow = pytest.mark.slow
needs_warp = pytest.mark.usefixtures("warp")
VARIED = ("body_mass", "body_ipos", "geom_friction", "dof_damping", "dof_armature", "jnt_stiffness")


@pytest.fixture(scope="module")
def warp():
    pytest.importorskip("mujoco_warp", reason="no MuJoCo Warp here: pip install 'metarl-robots[warp]'")


class Varied(HalfCheetahVel):
    """Much about the cheetah is unknown."""

    params = (
        Param("velocity", "m/s", Uniform(0, 3)),
        *(Param(f, "", Uniform(0.7, 1.4), field=f, mode="scale") for f in VARIED),
        Param("actuator_gear", "", Uniform(0.5, 1.5), field="actuator_gear", mode="scale"),
        Param("dof_frictionloss", "", Uniform(0.5, 1), field="dof_frictionloss", mode="set"),
        Param("load", "kg", Uniform(0, 3), field="payload", objects=("torso",), mode="add"),
        Param("gravity", "", Uniform(-12, -8), field="opt.gravity", mode="set", axis=2),
    )


def pair(family, n=N):
    """The same simulations, of MuJoCo and of Warp."""
    family = load_family(family) if isinstance(family, str) else family()
    tasks = family.sample(np.random.default_rng(0), n)
    both = simulate(family, n, 1), simulate(family, n, 1, "warp")
    for sim in both:
        sim.set_tasks(tasks)
        sim.reset(np.random.default_rng(1))
    return both


def actions(sim, steps, seed=2):
    return np.random.default_rng(seed).uniform(-1, 1, (steps, sim.n_sims, sim.family.action_dim))


@slow
@needs_warp
@pytest.mark.parametrize("family", ["HalfCheetahVel", Varied, "ReacherGoal", "X2Goal"])
def test_few_steps_are_those_of_mujoco(family):
    own, sim = pair(family)
    differences = []
    for action in actions(own, 5):
        a, b = own.step(action), sim.step(action)
        assert not (a.failed | b.failed).any()
        differences.append(np.abs(a.obs - b.obs))
        np.testing.assert_allclose(b.reward, a.reward, atol=1e-3)
    assert np.median(differences[0]) < 1e-5 and np.max(differences[0]) < 1e-3
    assert np.median(differences[4]) < 1e-4 and np.max(differences[4]) < 5e-3
    assert np.max(differences) > 0  # or Warp took no step


class Touching(HalfCheetahVel):
    """A cheetah that feels its feet, and how it is shaken."""

    contacts = (("floor", "bfoot"), ("floor", "ffoot"))
    derived = ("sensordata", "subtree_com", "cvel", "xpos", "xmat")

    def edit(self, spec):
        spec.body("torso").add_site(name="imu")
        for kind in (mujoco.mjtSensor.mjSENS_ACCELEROMETER, mujoco.mjtSensor.mjSENS_GYRO):
            spec.add_sensor(name=kind.name, type=kind, objtype=mujoco.mjtObj.mjOBJ_SITE, objname="imu")


@slow
@needs_warp
def test_what_sensors_feel_is_what_they_feel_in_mujoco():
    own, sim = pair(Touching)
    touched = 0
    for action in actions(own, 6):
        own.step(action), sim.step(action)
        for foot in ("bfoot", "ffoot"):
            feels = [one.readings.contact("floor", foot) for one in (own, sim)]
            np.testing.assert_array_equal(*feels)
            touched += feels[0].sum()
        for name in Touching.derived:
            a, b = (one.readings.field(name) for one in (own, sim))
            np.testing.assert_allclose(b, a, atol=2e-3 * max(1.0, np.abs(a).max()))
    assert touched and np.abs(sim.readings.sensor("mjSENS_ACCELEROMETER")).min(axis=0).max() > 0


@slow
@needs_warp
def test_robots_that_differ_move_differently():
    own, sim = pair(Varied)
    sim.set_tasks([own.tasks[0]] * N)
    for _ in range(2):
        sim.reset(np.random.default_rng(1))
        alike = sim.step(np.ones((N, 6)))
        np.testing.assert_array_equal(sim.state[0, 1:] * 0, sim.state[1, 1:] * 0)  # finite
        sim.set_tasks(own.tasks)  # what they are from now on
        sim.reset(np.random.default_rng(1))
        assert np.abs(sim.step(np.ones((N, 6))).obs - alike.obs)[1:].max() > 1e-3
        sim.set_tasks([own.tasks[0]] * N)


@slow
@needs_warp
def test_who_waits_stays_as_it_is():
    _, sim = pair("HalfCheetahVel")
    sim.step(np.ones((N, 6)))
    mask = np.arange(N) % 2 == 0
    before = sim.state.copy()
    sim.step(np.ones((N, 6)), mask)
    assert (sim.state[~mask] == before[~mask]).all() and (sim.state[mask] != before[mask]).any(axis=1).all()
    before = sim.state.copy()
    sim.reset(np.random.default_rng(3), mask)
    assert (sim.state[~mask] == before[~mask]).all() and (sim.elapsed == np.where(mask, 0, 1)).all()


@slow
@needs_warp
def test_no_contact_is_dropped_where_there_is_too_little_room_for_it():
    (_, wide), (_, narrow) = pair("HalfCheetahVel"), pair("HalfCheetahVel")
    narrow.batch._room = {"nconmax": 1, "njmax": 2}
    narrow.batch._make_data()
    for action in actions(wide, 8):
        a, b = wide.step(action), narrow.step(action)
        np.testing.assert_allclose(b.obs, a.obs, atol=1e-4)
    assert narrow.batch._room["njmax"] > 2


@slow
@needs_warp
@pytest.mark.parametrize("velocity", [1e12, np.nan, np.inf])
def test_a_simulation_that_blows_up_is_counted_and_others_go_on(velocity):
    own, sim = pair("HalfCheetahVel")
    for one in (own, sim):
        one.readings.qvel[2] = velocity
        step = one.step(np.zeros((N, 6)))
        assert step.failed.tolist() == [i == 2 for i in range(N)] == step.terminated.tolist()
        assert one.n_failures == 1 and not step.obs[2].any()
        assert one.batch.warning[2, FATAL_WARNINGS, 1].any()
        one.reset(np.random.default_rng(0), np.arange(N) == 2)
        assert not one.step(np.zeros((N, 6))).failed.any()


@slow
@needs_warp
def test_a_copy_goes_on_as_the_original_does():
    _, sim = pair(Varied)
    sim.step(np.ones((N, 6)))
    other = pickle.loads(pickle.dumps(sim))
    assert isinstance(other.batch, WarpBatch)
    for action in actions(sim, 2):
        np.testing.assert_array_equal(sim.step(action).obs, other.step(action).obs)


@slow
@needs_warp
@pytest.mark.parametrize("learner", ["maml", "meta-lstm"])
def test_training_goes_on_and_says_that_it_is_not_exact(tmp_path, capfd, learner):
    run = tmp_path / "run"
    words = ["train", "ReacherGoal", *SMALL_COMMANDS[learner], "--physics", "warp", "--out", str(run)]
    assert main([*words, "--steps", str(10 * TINY_STEPS)]) == 0
    assert json.loads((run / "config.json").read_text())["physics"] == "warp"
    assert main(["train", "--resume", str(run), "--steps", str(20 * TINY_STEPS)]) == 0
    assert "not as if it had never stopped" in capfd.readouterr().out
    assert main(["train", "--resume", str(run), "--physics", "mujoco"]) == 2
    assert "--physics is warp" in capfd.readouterr().err
    assert main(["evaluate", str(run), "--episodes", "1"]) == 0


@needs_warp
def test_a_solver_that_warp_has_not_is_newtons():
    family = load_family("HumanoidDir")
    assert family.model.opt.solver == mujoco.mjtSolver.mjSOL_PGS
    sim = simulate(family, 1, 1, "warp")
    assert sim.batch._robot.opt.solver == mujoco.mjtSolver.mjSOL_NEWTON
    assert sim.batch.model.opt.solver == mujoco.mjtSolver.mjSOL_PGS  # the family's is as it was


@needs_warp
def test_what_warp_does_not_know_is_refused_in_a_line():
    batch = WarpBatch(load_family("PointGoal").model, 2)
    with pytest.raises(InputError, match="cannot vary geom_user"):
        batch.expand("geom_user")
    with pytest.raises(InputError, match="has no xiquat"):
        batch.bind("xiquat")
    odd = mujoco.MjModel.from_xml_string(
        "<mujoco><option noslip_iterations='3' integrator='discrete'/><worldbody/></mujoco>"
    )
    with pytest.raises(InputError, match="cannot simulate this robot"):
        WarpBatch(odd, 1)
    with pytest.raises(InputError, match="no device 'cuda:99'"):
        WarpBatch(load_family("PointGoal").model, 1, device="cuda:99")


def test_without_warp_or_with_other_physics_a_line_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "mujoco_warp", None)
    words = ["train", "PointGoal", "--physics", "warp", "--out", str(tmp_path / "run")]
    assert main(words) == 2
    assert "pip install 'metarl-robots[warp]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="physics of its own"):
        simulate("gym:gymnasium:Pendulum-v1", 1, physics="warp")
    with pytest.raises(InputError, match="unknown physics"):
        MAML("PointGoal", physics="bullet")


def test_batches_of_other_engines_are_one_argument():
    made = []
    engine = partial(lambda *args: made.append(args) or BatchSim("PointGoal", 2).batch)
    BatchSim("PointGoal", 2, 1, engine)
    assert [args[1:] for args in made] == [(2, 1)]
