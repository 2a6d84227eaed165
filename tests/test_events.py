"""What real robots have: told commands, things that change in mid-episode, pushes, sensors, latency."""

from copy import deepcopy

import mujoco
import numpy as np
import pytest

from metarl.envs import BatchSim, InputError, Param, TaskFamily, Uniform
from metarl.envs.actions import Around, Increment
from metarl.envs.check import check
from metarl.envs.events import Push
from metarl.envs.sensors import Sensor

XML = """
<mujoco>
  <option timestep=".01"/>
  <worldbody>
    <geom name="floor" type="plane" size="5 5 .1"/>
    <body name="box" pos="0 0 .2">
      <freejoint/><geom name="shell" type="box" size=".1 .1 .1" mass="1"/>
    </body>
    <body name="arm" pos="2 0 1">
      <joint name="j" axis="0 1 0" damping="1"/>
      <geom size=".05" fromto="0 0 0 0 0 -.4" type="capsule" mass="1"/>
    </body>
  </worldbody>
  <actuator><position name="servo" joint="j" kp="20" kv="2" forcerange="-30 30"/></actuator>
  <keyframe><key name="home" qpos="0 0 .1 1 0 0 0 .5"/></keyframe>
</mujoco>
"""


class Robot(TaskFamily):
    """A box on the floor beside an arm that a servo holds."""

    params = (Param("goal", "rad", Uniform(-1, 1)),)
    action = Around("home", 0.3)
    contacts = (("shell", "floor"),)
    horizon = 100

    def build_spec(self):
        return mujoco.MjSpec.from_string(XML)

    def observe(self, r):
        return {"box": r.qpos[:, :7], "joint": r.qpos[:, 7:], "speed": r.qvel[:, 6:], "last": r.action}

    def reward(self, r, action, task):
        return {"near": -np.abs(r.qpos[:, 7] - task["goal"]), "jerk": -np.abs(action - r.action_before)[:, 0]}


def family(**changed) -> TaskFamily:
    return type("Robot", (Robot,), changed)()


def started(fam: TaskFamily, n: int = 4, seed: int = 0, n_threads: int = 1) -> BatchSim:
    sim = BatchSim(fam, n, n_threads)
    sim.start(np.random.default_rng(seed))
    return sim


def still(sim: BatchSim, steps: int = 1):
    for _ in range(steps):
        step = sim.step(np.zeros((sim.n_sims, sim.family.action_dim)))
    return step


def test_an_episode_begins_at_the_keyframe_home_and_zero_actions_stay_there():
    sim = started(Robot())
    assert (sim.readings.qpos[:, 7] == 0.5).all()
    still(sim, 50)
    assert np.abs(sim.readings.qpos[:, 7] - 0.5).max() < 0.15  # but for what gravity bends it


def test_increments_add_up_within_the_range_and_begin_anew_with_an_episode():
    sim = started(family(action=Increment(0.1)))
    ctrl = sim.batch.bind("ctrl")
    for k in range(1, 4):
        sim.step(np.ones((4, 1)))
        np.testing.assert_allclose(ctrl, 0.5 + 0.1 * k)
    sim.reset(np.random.default_rng(0), np.array([True, False, False, False]))
    sim.step(np.ones((4, 1)))
    np.testing.assert_allclose(ctrl[:, 0], [0.6, 0.9, 0.9, 0.9])


def test_the_last_action_is_there_for_observations_and_the_one_before_for_rewards():
    sim = started(Robot())
    assert (sim.reset(np.random.default_rng(0))[:, -1] == 0).all()
    first, second = sim.step(np.full((4, 1), 0.5)), sim.step(np.full((4, 1), -0.25))
    np.testing.assert_allclose(first.obs[:, -1], 0.5)
    np.testing.assert_allclose(first.terms["jerk"], -0.5)
    np.testing.assert_allclose(second.terms["jerk"], -0.75)


def test_what_touches_is_read_and_directions_are_those_of_the_bodys_own_frame():
    sim = started(Robot())
    still(sim, 5)
    assert sim.readings.contact("shell", "floor").all()
    half = np.sqrt(0.5)
    sim.set_state(np.tile([0, 0, 2, half, 0, 0, half, 0], (4, 1)), np.tile([0, 3, 0, 0, 0, 0, 0], (4, 1)))
    np.testing.assert_allclose(sim.readings.local_velocity("box"), np.tile([3, 0, 0], (4, 1)), atol=1e-12)
    np.testing.assert_allclose(sim.readings.up("box"), np.tile([0, 0, 1], (4, 1)), atol=1e-12)
    assert not sim.readings.contact("shell", "floor").any()


def test_a_told_number_is_seen_scaled_and_a_hidden_one_is_not():
    told = Param("goal", "rad", Uniform(-2, 2), told=True)
    fam = family(params=(told, Param("load", "", Uniform(0.5, 2), field="body_mass", objects=("arm",))))
    sim = BatchSim(fam, 2, 1)
    sim.set_tasks([{"goal": 1.0, "load": 0.5}, {"goal": -2.0, "load": 2.0}])
    obs = sim.reset(np.random.default_rng(0))
    np.testing.assert_allclose(obs[:, -1], [0.5, -1.0])
    assert fam.obs_dim == obs.shape[1] == max(p.stop for p in fam.parts.values()) + 1
    assert sim.told().shape == (2, 1)


def test_a_command_changes_every_so_often_in_what_is_seen_and_in_what_is_asked():
    fam = family(params=(Param("goal", "rad", Uniform(-1, 1), told=True, every=(0.1, 0.2)),))
    sim = started(fam, 3)
    seen = np.stack([still(sim).obs[:, -1] for _ in range(60)])
    changes = (np.diff(seen, axis=0) != 0).sum(axis=0)
    assert (changes >= 2).all() and (changes <= 6).all()
    np.testing.assert_allclose(sim.task_values["goal"], seen[-1], rtol=1e-6)


def test_what_changes_once_is_nominal_before_and_the_tasks_own_after_and_again_in_the_next_episode():
    weak = Param("strength", "", Uniform(0, 0.5), field="motor_strength", change="once", when=(0.2, 0.3))
    sim = BatchSim(family(params=(Robot.params[0], weak)), 3, 1)
    sim.set_tasks([{"goal": 0.0, "strength": s} for s in (0.0, 0.25, 0.5)])
    rng = np.random.default_rng(0)
    for _ in range(2):
        sim.reset(rng)
        gain = [(still(sim), sim.batch.expand("actuator_gainprm")[:, 0, 0].copy())[1] for _ in range(40)]
        np.testing.assert_allclose(gain[18], 20.0)
        np.testing.assert_allclose(gain[31], [0.0, 5.0, 10.0])
        np.testing.assert_allclose(sim.told()[:, 1], sim.task_values["strength"] * 4 - 1)


def test_pushes_kick_what_moves_freely_and_nothing_else():
    pushed, calm = (started(family(pushes=p)) for p in ((Push((0.1, 0.15), Uniform(1, 1)),), ()))
    fastest = np.zeros((2, 4))
    for _ in range(20):
        for k, sim in enumerate((pushed, calm)):
            still(sim)
            fastest[k] = np.maximum(fastest[k], np.hypot(*sim.readings.qvel[:, :2].T))
    assert (fastest[0] > 0.4).all() and (fastest[1] < 0.05).all()
    np.testing.assert_allclose(pushed.readings.qvel[:, 6], calm.readings.qvel[:, 6], atol=1e-9)
    with pytest.raises(InputError, match="free joint"):
        Push(joint="j").dofs(Robot().model)


def test_noise_bias_and_delay_are_those_that_were_asked_for():
    sensors = (Sensor("speed", noise=0.5), Sensor("joint", bias=0.2), Sensor("last", delay=0.02))
    sim = started(family(sensors=sensors), 2000)
    first = sim.reset(np.random.default_rng(1))
    joint, speed = sim.family.parts["joint"], sim.family.parts["speed"]
    off = first[:, joint] - sim.readings.qpos[:, 7:]
    assert 0.18 < np.abs(off).max() <= 0.2001 and off.std() == pytest.approx(0.2 / np.sqrt(3), rel=0.05)
    assert (first[:, speed] - sim.readings.qvel[:, 6:]).std() == pytest.approx(0.5, rel=0.05)
    late = [sim.step(np.full((2000, 1), a)).obs[0, -1] for a in (0.1, 0.2, 0.3, 0.4)]
    np.testing.assert_allclose(late, [0, 0, 0.1, 0.2], atol=1e-6)
    again = sim.step(np.zeros((2000, 1))).obs
    np.testing.assert_allclose(again[:, joint] - sim.readings.qpos[:, 7:], off, atol=1e-5)


def test_latency_varies_between_simulations_and_begins_at_the_pose():
    late = Param("latency", "s", Uniform(0, 0.1), field="actuator_delay", mode="set")
    sim = BatchSim(family(params=(Robot.params[0], late)), 2, 1)
    sim.set_tasks([{"goal": 0.0, "latency": x} for x in (0.0, 0.1)])
    sim.reset(np.random.default_rng(0))
    still(sim, 5)
    np.testing.assert_allclose(sim.readings.qpos[0, 7], sim.readings.qpos[1, 7], atol=1e-9)
    for _ in range(5):
        sim.step(np.ones((2, 1)))
    assert sim.readings.qpos[0, 7] - sim.readings.qpos[1, 7] > 0.01


ALL = {
    "params": (
        Param("goal", "rad", Uniform(-1, 1), told=True, every=(0.1, 0.2)),
        Param("strength", "", Uniform(0, 0.5), field="motor_strength", change="once", when=(0.2, 0.3)),
    ),
    "pushes": (Push((0.1, 0.2)),),
    "sensors": (Sensor("joint", noise=0.1, bias=0.1, delay=0.01),),
}


def test_with_all_of_it_the_same_seed_gives_the_same_numbers_at_any_thread_count_and_in_a_copy():
    one, two = started(family(**ALL), 5, n_threads=1), started(family(**ALL), 5, n_threads=2)
    rng = np.random.default_rng(3)
    for k in range(50):
        if k == 25:
            two = deepcopy(two)
        action = rng.uniform(-1, 1, (5, 1))
        a, b = one.step(action), two.step(action)
        np.testing.assert_array_equal(a.obs, b.obs)
        np.testing.assert_array_equal(a.reward, b.reward)


def test_with_all_of_it_a_masked_reset_leaves_the_others_observation_as_it_was():
    sim = started(family(**ALL), 4)
    before = still(sim, 7).obs
    after = sim.reset(np.random.default_rng(0), np.array([True, False, False, True]))
    np.testing.assert_array_equal(after[1:3], before[1:3])
    assert (after[[0, 3]] != before[[0, 3]]).any()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: Param("a", "", Uniform(0, 1), every=(2, 1)), "positive numbers of seconds"),
        (lambda: Param("a", "", Uniform(0, 1), change="once"), "`field` of the model"),
        (lambda: Param("a", "", Uniform(0, 1), field="body_mass", change="twice"), "use 'once'"),
        (lambda: Param("a", "", Uniform(0, 1), when=(1, 2)), "needs change='once'"),
        (lambda: Param("a", "", Uniform(0, 1), groups={"g": ("x",)}), "of a `field`"),
        (lambda: Sensor("joint", noise=-1), "at least 0"),
        (lambda: started(family(sensors=(Sensor("joints", noise=1),))), "did you mean 'joint'"),
        (lambda: started(family(action=Around("hom"))), "did you mean 'home'"),
        (lambda: started(family(action=Around((1.0, 2.0)))), "1 number or 1"),
        (lambda: started(family(contacts=(("shell", "flor"),))), "no geom and no body 'flor'"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(wrong, said):
    with pytest.raises(InputError, match=said) as error:
        wrong()
    assert "\n" not in str(error.value)


def test_initial_states_and_ends_are_given_the_task_where_they_ask_for_it_and_check_knows():
    class Asks(Robot):
        def initial_state(self, rng, n, task):
            qpos, qvel = super().initial_state(rng, n)
            qpos[:, 7] = task["goal"]
            return qpos, qvel

        def terminated(self, r, task):
            return np.abs(r.qpos[:, 7] - task["goal"]) > 0.5

    sim = started(Asks())
    np.testing.assert_allclose(sim.readings.qpos[:, 7], sim.task_values["goal"])
    assert not still(sim).terminated.any()
    found = {finding.law: finding.problem for finding in check(Asks())}
    assert found["functions give arrays of the right shape"] is None
