"""What strangers write of a robot: what cannot be is refused in a line, the rest does what it says."""

import re
from copy import deepcopy

import mujoco
import numpy as np
import pytest

from metarl.cli import main
from metarl.envs import (
    Around,
    BatchSim,
    Choice,
    Direct,
    Either,
    Increment,
    InputError,
    LogUniform,
    Marker,
    OneWeak,
    Param,
    Push,
    Sensor,
    TaskFamily,
    Uniform,
    load_family,
)
from metarl.envs.check import check
from metarl.envs.families.quadrotor import X2Hover
from metarl.envs.remarks import remarks
from metarl.envs.told import known_of, task_features

XML = """
<mujoco>
  <option timestep=".01"/>
  <worldbody>
    <geom name="floor" type="plane" size="5 5 .1"/>
    <body name="box" pos="0 0 .1">
      <freejoint name="free"/><geom name="shell" type="box" size=".1 .1 .1" mass="3"/>
    </body>
    <body name="arm" pos="2 0 1">
      <joint name="j" axis="0 1 0" damping="1" actuatorfrcrange="-9 9"/>
      <geom size=".05" fromto="0 0 0 0 0 -.4" type="capsule" mass="1"/>
      <body name="hand" pos="0 0 -.4">
        <joint name="k" axis="0 1 0" damping="1"/>
        <geom size=".03" fromto="0 0 0 0 0 -.3" type="capsule" mass=".5"/>
        <body name="frame"/>
      </body>
    </body>
  </worldbody>
  <actuator>
    <position name="servo" joint="j" kp="20" kv="2" forcerange="-8 8"/>
    <motor name="motor" joint="k" ctrlrange="-1 1"/>
    <velocity joint="free" gear="0 0 0 0 0 .1" kv=".1"/>
  </actuator>
  <keyframe>
    <key name="home" qpos="0 0 .1 1 0 0 0 .5 0"/>
    <key name="stretched" qpos="0 0 .1 1 0 0 0 .9 -.3"/>
  </keyframe>
</mujoco>
"""
GOAL = Param("goal", "rad", Uniform(-1, 1))


class Robot(TaskFamily):
    """A box beside an arm with a servo, a motor and a velocity servo."""

    params = (GOAL,)
    horizon = 40
    xml = XML

    def build_spec(self):
        return mujoco.MjSpec.from_string(self.xml)

    def observe(self, r):
        return {"place": r.qpos, "speed": r.qvel}

    def reward(self, r, action, task):
        return {"near": -np.abs(r.qpos[:, 0] - task.get("goal", 0.0))}


def family(**changed) -> TaskFamily:
    return type("Robot", (Robot,), changed)()


def varied(field: str | None = None, **more) -> TaskFamily:
    """The robot, and one thing more that varies."""
    train = more.pop("train", Uniform(0.5, 1))
    return family(params=(GOAL, Param("x", "", train, field=field, **more)))


def drawn(marker: Marker):
    """Markers of a state, as pictures show them."""
    fam = family(markers=lambda self, task, data: (marker,))
    return fam.seen_markers(fam.tasks("test")[0], mujoco.MjData(fam.model))


def started(fam: TaskFamily, n: int = 3, n_threads: int = 1) -> BatchSim:
    sim = BatchSim(fam, n, n_threads)
    sim.start(np.random.default_rng(0))
    return sim


def moved(sim: BatchSim, steps: int = 1):
    for _ in range(steps):
        step = sim.step(np.zeros((sim.n_sims, sim.family.action_dim)))
    return step


REFUSED = {
    "a kp of a motor": (lambda: varied("servo_gain", objects=("motor",)), "motor has no kp"),
    "a strength below 0": (lambda: varied("motor_strength", train=Uniform(-1, 1)), "down to -1"),
    "an axis of several fields": (lambda: varied("motor_strength", axis=0), "leave its axis out"),
    "an axis with a name": (lambda: varied("opt.gravity", axis="z"), "whole number"),
    "a load without an axis": (lambda: varied("payload_pos", mode="add"), "axis=0, 1 or 2"),
    "a load that lifts": (
        lambda: varied("payload", mode="add", objects=("box",), train=Uniform(-4, 1)),
        "takes more from box than its 3 kg",
    ),
    "a load on the world": (
        lambda: varied("payload", mode="add", objects=("world",)),
        "unknown body 'world'",
    ),
    "a mass below 0": (lambda: varied("body_mass", mode="add", train=Uniform(-2, 1)), "at least 0"),
    "a latency below 0": (lambda: varied("actuator_delay", mode="set", train=Uniform(-1, 1)), "at least 0"),
    "groups of nothing": (lambda: varied("body_mass", groups={}), "names and their objects"),
    "an empty group": (
        lambda: varied("body_mass", groups={"a": ("box",), "b": ()}),
        "group 'b' names nothing",
    ),
    "a group that is a word": (lambda: varied("body_mass", groups={"a": "box"}), r"\('box',\)"),
    "objects that are a word": (lambda: varied("body_mass", objects="box"), r"\('box',\)"),
    "no objects": (lambda: varied("body_mass", objects=()), "names nothing"),
    "an object twice": (lambda: varied("body_mass", objects=("box", "box")), "twice"),
    "a floor that is none": (lambda: varied("floor_friction", objects=("flor",)), "did you mean 'floor'"),
    "a range that is a pair": (lambda: varied(train=(0, 1)), "no distribution"),
    "an ood that is a pair": (lambda: varied(ood=(0, 1)), "ood=.* no distribution"),
    "choices that are a number": (lambda: Choice(1.0), "at least one value"),
    "a choice that is none": (lambda: Choice((float("nan"), 1)), "must be numbers"),
    "ranges that are pairs": (lambda: Either(((0, 1),)), "give ranges"),
    "a weak part that is not there": (
        lambda: varied("motor_strength", train=OneWeak(0, 1, ((0,), (3,))), groups={"a": ("servo",)}),
        "only 1 part",
    ),
    "a name twice": (lambda: family(params=(GOAL, GOAL)), "two of its params are called 'goal'"),
    "no name": (lambda: Param("", "", Uniform(0, 1)), "name is a word"),
    "one parameter": (lambda: family(params=GOAL), "params is a list"),
    "no parameter": (lambda: family(params=()), "nothing varies"),
    "one sensor": (lambda: family(sensors=Sensor("place")), "sensors is a list"),
    "a sensor that is a word": (lambda: family(sensors=("place",)), "no Sensor"),
    "a part sensed twice": (
        lambda: family(sensors=(Sensor("place", noise=0.1), Sensor("place", delay=0.1))),
        "two of its sensors are called 'place'",
    ),
    "noise in words": (lambda: Sensor("place", noise="much"), "at least 0"),
    "noise by number": (lambda: Sensor("place", noise=[0.1, 0.2]), "at least 0"),
    "one push": (lambda: family(pushes=Push()), "pushes is a list"),
    "a push of one speed": (lambda: Push(speed=1.0), "no distribution"),
    "an action map that is a class": (lambda: family(action=Direct), "action = "),
    "a scale in words": (lambda: family(action=Around("home", "big")), "not made of numbers"),
    "a scale that is no number": (lambda: family(action=Around("home", float("nan"))), "not made of numbers"),
    "a pose of nobody": (lambda: family(action=Around("stand")), "may also be 3 controls"),
    "a pair that is two words": (lambda: family(contacts=("shell", "floor")), "pairs of names"),
    "a pair twice": (lambda: family(contacts=(("shell", "floor"),) * 2), "name a pair once"),
    "no steps": (lambda: family(horizon=0), "whole number of at least 1"),
    "half a step": (lambda: family(frame_skip=2.5), "whole number of at least 1"),
    "a reward that is a column": (
        lambda: family(reward=lambda self, r, action, task: {"near": r.qpos[:, :1]}),
        r"reward term 'near' gives shape \(3, 1\)",
    ),
    "one state for all": (
        lambda: family(initial_state=lambda self, rng, n: (self.home[None], np.zeros((1, 8)))),
        r"initial_state gives qpos of shape \(1, 9\), not \(3, 9\)",
    ),
    "nothing observed": (lambda: family(observe=lambda self, r: {}), "observe gives {}"),
    "a list of parts": (lambda: family(observe=lambda self, r: [r.qpos, r.qvel]), "or its parts by name"),
    "an edit that returns": (lambda: family(edit=lambda self, spec: spec), "returns nothing"),
    "a reward that is not given the action": (
        lambda: BatchSim(family(reward=lambda self, r, task: {"x": r.qpos[:, 0]}), 3, 1),
        r"reward is given other arguments: def reward\(self, r, action, task\)",
    ),
    "a reward without names": (
        lambda: family(reward=lambda self, r, action, task: {1: r.qpos[:, 0]}),
        "reward gives dict, not a dict of named terms",
    ),
    "a reward of complex numbers": (
        lambda: family(reward=lambda self, r, action, task: {"near": np.sqrt(r.qpos[:, 0] + 0j)}),
        "reward term 'near' gives no array of real numbers",
    ),
    "a success in numbers": (
        lambda: family(success=lambda self, r, task: r.qpos[:, 0]),
        "success gives no array of bool, but a ndarray of float64",
    ),
    "an error a coordinate": (
        lambda: started(family(error=lambda self, r, task: r.qpos[:, :2])).error(),
        r"error gives shape \(3, 2\): it must be \(3,\), a row a simulation",
    ),
    "an end in numbers": (
        lambda: family(terminated=lambda self, r: r.qpos[:, 0]),
        "terminated gives no array of bool, but a ndarray of float64",
    ),
    "an end in a column": (
        lambda: family(terminated=lambda self, r: r.qpos[:, :1] > 9),
        r"terminated gives shape \(3, 1\): it must be \(3,\)",
    ),
    "features in a row": (
        lambda: started(family(features=lambda self, task: next(iter(task.values())))).told(),
        r"features gives shape \(3,\): it must be \(3, numbers\)",
    ),
    "no state to begin in": (
        lambda: family(initial_state=lambda self, rng, n: None),
        "initial_state gives two arrays",
    ),
    "contacts by number": (lambda: family(contacts=((1, 2),)), "contacts are pairs of names"),
    "too many held-out tasks": (lambda: family(n_test=10**7), "n_test = 10000000 is more tasks than a list"),
    "too many trained tasks": (lambda: family(n_train=10**7), "n_train = None draws them anew"),
    "no held-out tasks": (lambda: family(n_test=0), "n_test = 0 must be a whole number of at least 1"),
    "half a validation task": (lambda: family(n_validation=0.5), "n_validation = 0.5 must be a whole number"),
    "a recipe that is a word": (lambda: family(recipes=("meta-lstm",)), "which is no Recipe"),
    "a name with a sign": (lambda: Param("a=b", "", Uniform(0, 1)), "a Param's name has no '='"),
    "a unit that is none": (lambda: Param("a", None, Uniform(0, 1)), "a: unit=None is a word, or ''"),
    "an arrow to nowhere": (
        lambda: drawn(Marker("arrow", (0, 0, 1), (0.1,))),
        "markers gives a 'arrow' without `to`, where it points",
    ),
    "a ball": (lambda: drawn(Marker("ball", (0, 0, 1), (0.1,))), "a 'ball' that is none of sphere, cylinder"),
    "a place on a plane": (lambda: drawn(Marker("sphere", (0, 0), (0.1,))), "whose position is"),
    "a box of one number": (lambda: drawn(Marker("box", (0, 0, 1), 0.1)), "of size 0.1: a tuple of 1 or 3"),
    "an expert of one number": (
        lambda: family(expert=lambda self, r, task: r.qpos[:, 0]),
        r"expert gives shape \(3,\): it must be \(3, \d\)",
    ),
    "an expert who says nothing": (
        lambda: family(expert=lambda self, r, task: None),
        "no array of real numbers, but a NoneType",
    ),
    "an expert who speaks in words": (
        lambda: family(expert=lambda self, r, task: [["a", "b"]] * 3),
        "no array of real numbers, but a list",
    ),
    "an expert of rows of several lengths": (
        lambda: family(expert=lambda self, r, task: [[0.0], [1.0, 2.0], [0.0]]),
        "no array of real numbers, but a list",
    ),
    "an expert of complex numbers": (
        lambda: family(expert=lambda self, r, task: np.full((3, 2), 1j)),
        "no array of real numbers, but a ndarray",
    ),
    "an expert who does not know": (
        lambda: family(expert=lambda self, r, task: np.full((3, 3), np.nan)),
        "expert gives what is not a finite number",
    ),
    "privileged numbers that are none": (
        lambda: family(privileged=lambda self, r: np.full((3, 1), np.nan)),
        "privileged gives what is not a finite number",
    ),
    "privileged numbers in a row": (
        lambda: family(privileged=lambda self, r: r.qpos[:, 0]),
        "privileged gives",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(what):
    make, said = REFUSED[what]
    with pytest.raises(InputError, match=said) as error:
        moved(sim := started(make()))
        sim.told()
        sim.shown()
    assert "\n" not in str(error.value)


def test_what_is_privileged_of_a_robot_that_did_not_survive_is_nothing():
    wild = {"observe": lambda self, r: np.where(np.abs(r.qvel) > 50, np.nan, r.qvel)}
    sim = started(family(privileged=lambda self, r: self.observe(r), **wild))
    sim.readings.qvel[1] = 100.0
    assert moved(sim).failed.tolist() == [False, True, False]
    assert not sim.told()[1, -sim.family.model.nv :].any()
    sim.reset(np.random.default_rng(0))
    sim.readings.qvel[1] = 100.0
    with pytest.raises(InputError, match="privileged gives what is not a finite number"):
        sim.told()


def test_the_kp_of_all_servos_is_that_of_those_that_have_one():
    sim = started(varied("servo_gain"))
    assert sim.family.variations["x"].rows.tolist() == [0]


def test_a_motors_strength_is_also_the_most_that_its_joint_takes():
    sim = BatchSim(varied("motor_strength"), 2, 1)
    sim.set_tasks([{"goal": 0.0, "x": x} for x in (1.0, 0.5)])
    limits = sim.batch.expand("jnt_actfrcrange")
    np.testing.assert_allclose(limits[:, 1], [[-9, 9], [-4.5, 4.5]])


MUSCLE = """
<mujoco>
  <worldbody><body><joint name="j" range="-1 1"/><geom size=".1" pos=".2 0 0"/></body></worldbody>
  <actuator><muscle name="m" joint="j" lengthrange="-1 1" force="100"/></actuator>
</mujoco>
"""


def test_a_weak_muscle_has_less_force_and_the_same_curves():
    model = mujoco.MjModel.from_xml_string(MUSCLE)
    weak = BatchSim(
        type("Muscle", (Robot,), {"xml": MUSCLE, "params": varied("motor_strength").params})(), 1, 1
    )
    weak.set_tasks([{"goal": 0.0, "x": 0.5}])
    for field in ("actuator_gainprm", "actuator_biasprm"):
        nominal, now = getattr(model, field)[0], getattr(weak.model_of(0), field)[0]
        np.testing.assert_allclose(now[[2, 3]], nominal[[2, 3]] / 2)
        np.testing.assert_array_equal(np.delete(now, [2, 3]), np.delete(nominal, [2, 3]))


def test_an_actuator_that_is_told_several_things_at_once_is_no_motor():
    xml = MUSCLE.replace(
        '<muscle name="m" joint="j" lengthrange="-1 1" force="100"/>', '<pid joint="j" kp="5" kv="1"/>'
    )
    held = type("Held", (Robot,), {"xml": xml})()
    assert held.action_dim == 2
    moved(started(held))
    with pytest.raises(InputError, match="actuator j is no motor"):
        started(type("Weak", (Robot,), {"xml": xml, "params": varied("motor_strength").params})())


def test_floors_in_groups_count_under_any_foot():
    fam = varied("floor_friction", groups={"here": ("floor",)})
    assert fam.model.geom("floor").priority[0] > fam.model.geom("shell").priority[0]


@pytest.mark.parametrize(
    ("mode", "number", "seconds"), [("set", 0.07, 0.07), ("add", 0.05, 0.07), ("scale", 3.0, 0.06)]
)
def test_what_is_late_remembers_long_enough_also_without_a_name_and_from_a_latency_of_its_own(
    mode, number, seconds
):
    xml = XML.replace('<motor name="motor" joint="k"', '<motor joint="k" delay=".02" nsample="3"')
    train = Uniform(1.0 if mode == "scale" else 0.0, number)
    late = Param("x", "", train, field="actuator_delay", mode=mode, objects=("k",))
    sim = BatchSim(family(params=(GOAL, late), xml=xml), 1, 1)
    sim.set_tasks([{"goal": 0.0, "x": number}])
    sim.reset(np.random.default_rng(0))
    force = []
    for _ in range(12):
        sim.step(np.array([[0.0, 1.0, 0.0]]))
        force.append(sim.batch.bind("actuator_force")[0, 1])
    assert np.argmax(np.array(force) > 0) == round(seconds / 0.01)


# Where an episode begins.


def test_an_episode_begins_at_the_keyframe_that_actions_are_around():
    for action in (Around("stretched", 0.1), Increment(0.1, "stretched")):
        sim = started(family(action=action))
        np.testing.assert_allclose(sim.readings.qpos[:, 7:], [[0.9, -0.3]] * 3)
        np.testing.assert_allclose(sim.family.controls.middle, [0.9, 0, 0])
    np.testing.assert_allclose(started(Robot()).readings.qpos[:, 7:], [[0.5, 0]] * 3)


STATEFUL = {
    "a servo that follows slowly": '<position joint="j" kp="50" kv="3" timeconst=".1"/>',
    "a servo that is told how fast to turn": '<intvelocity joint="j" kp="50" kv="3" actrange="-2 2"/>',
    "a servo in units of its own": '<general joint="j" gainprm="5" biastype="affine" biasprm="1 -50 -3"/>',
}


@pytest.mark.parametrize("actuator", STATEFUL.values(), ids=STATEFUL)
def test_servos_of_any_kind_hold_the_pose_that_actions_are_around(actuator):
    xml = f"""
    <mujoco>
      <option gravity="0 0 0"/>
      <worldbody><body><joint name="j" damping=".1"/><geom size=".1" pos=".2 0 0"/></body></worldbody>
      <actuator>{actuator}</actuator><keyframe><key name="home" qpos=".8"/></keyframe>
    </mujoco>
    """
    sim = started(family(xml=xml, action=Around("home", 0.1), horizon=100))
    moved(sim, 20)
    np.testing.assert_allclose(sim.readings.qpos, 0.8, atol=1e-9)
    sim.step(np.ones((3, 1)))
    sim.reset(np.random.default_rng(0))
    moved(sim, 20)
    np.testing.assert_allclose(sim.readings.qpos, 0.8, atol=1e-9)


# Within an episode.


def test_choices_may_be_truths_and_are_numbers():
    fam = family(params=(GOAL, Param("mirrored", "", Choice((True, False)))))
    assert {float(task["mirrored"]) for task in fam.tasks("test")} == {0.0, 1.0}
    assert task_features(fam, fam.stack(fam.tasks("test"))).dtype == np.float32


def test_a_number_that_begins_at_zero_has_a_finite_logarithm_for_who_is_told_it():
    fam = varied(
        "dof_armature", mode="set", objects=("j",), change="once", train=LogUniform(0.05, 1), told=True
    )
    assert np.isfinite(started(fam).refresh()).all()
    hidden = varied("dof_armature", mode="set", objects=("j",), change="once", train=LogUniform(0.05, 1))
    np.testing.assert_allclose(started(hidden).told()[:, 1], -3.0)
    numbers = {"goal": np.zeros(2), "x": np.array([0.05, 1.0])}
    np.testing.assert_allclose(task_features(hidden, numbers)[:, 1], [-1, 1], atol=1e-6)


def test_another_task_in_mid_episode_holds_from_now_on_and_nothing_of_the_old_one_comes():
    fam = family(
        params=(
            Param("goal", "rad", Uniform(-1, 1), told=True, every=(0.1, 0.2)),
            Param("x", "", Uniform(0.2, 0.8), field="motor_strength", change="once"),
        )
    )
    sim = started(fam)
    moved(sim, 2)
    sim.set_tasks([{"goal": 0.5, "x": 0.25}], np.array([1]))
    seen = [(moved(sim), sim.task_values["goal"].copy(), sim.task_values["x"].copy())[1:] for _ in range(38)]
    goal, x = (np.stack(column) for column in zip(*seen, strict=True))
    assert (goal[:, 1] == 0.5).all() and (x[:, 1] == 0.25).all()
    assert (np.ptp(goal[:, [0, 2]], axis=0) > 0).all() and (np.ptp(x[:, [0, 2]], axis=0) > 0).all()
    sim.reset(np.random.default_rng(1))
    assert (sim.task_values["x"] == 1).all()


def test_what_is_drawn_more_often_than_the_robot_acts_is_drawn_at_every_step():
    goal = Param("goal", "rad", Uniform(-1, 1), every=(1e-9, 1e-8))
    sim = started(family(params=(goal,), pushes=(Push(every=(1e-9, 1e-8)),)))
    goals = [(moved(sim), sim.task_values["goal"].copy())[1] for _ in range(20)]
    assert (np.diff(goals, axis=0) != 0)[1:].all()


def test_late_sensors_show_what_was_true_then_also_of_robots_that_wait_and_begin_anew():
    sensors = (Sensor("place", delay=0.03), Sensor("speed", delay=1e6))
    sim, clean = started(family(sensors=sensors)), started(Robot())
    place, speed = sim.family.parts["place"], sim.family.parts["speed"]
    rng, truth = np.random.default_rng(0), [[row] for row in clean.refresh()]
    for t in range(30):
        mask, action = rng.random(3) < 0.7, rng.uniform(-1, 1, (3, 3))
        seen, real = sim.step(action, mask).obs, clean.step(action, mask).obs
        for i in np.flatnonzero(mask):
            truth[i].append(real[i])
            np.testing.assert_array_equal(seen[i, place], truth[i][max(0, len(truth[i]) - 4)][place])
            np.testing.assert_array_equal(seen[i, speed], truth[i][0][speed])
        if t == 15:
            fresh = np.array([True, False, False])
            seen, real = sim.reset(rng, fresh), clean.reset(rng, fresh)
            np.testing.assert_array_equal(seen[0], real[0])
            truth[0] = [real[0]]


def test_pushes_and_changes_of_any_part_of_a_robot_come_together_at_any_thread_count_and_in_a_copy():
    fam = family(
        params=(
            Param("goal", "rad", LogUniform(0.1, 1), told=True, every=(0.05, 0.1)),
            Param("load", "kg", Uniform(0, 2), field="payload", objects=("box",), mode="add", change="once"),
            Param("at", "m", Uniform(-0.1, 0.1), field="payload_pos", objects=("box",), mode="add", axis=1),
            Param("late", "s", Uniform(0, 0.05), field="actuator_delay", mode="set", change="once"),
            Param("slope", "", Uniform(-2, 2), field="opt.gravity", mode="add", axis=0, change="once"),
            Param("ice", "", Uniform(0.1, 1), field="floor_friction", objects=("floor",), change="once"),
            Param("weak", "", Uniform(0.5, 1), field="motor_strength", groups={"arm": ("servo", "motor")}),
        ),
        pushes=(Push((0.1, 0.2)),),
        sensors=(Sensor("place", noise=0.1, bias=0.1, delay=0.02),),
        action=Around("stretched", 0.5),
    )
    one, two = started(fam, 5, n_threads=1), started(fam, 5, n_threads=2)
    rng, same = np.random.default_rng(0), True
    for t in range(60):
        action, mask = rng.uniform(-1, 1, (5, 3)), rng.random(5) < 0.9
        steps = [sim.step(action, mask) for sim in (one, two)]
        same &= np.array_equal(steps[0].obs[mask], steps[1].obs[mask])
        if t == 20:
            two = deepcopy(two)
        ended = steps[0].truncated | steps[0].terminated
        if ended.any():
            seen = [sim.reset(np.random.default_rng(t), ended) for sim in (one, two)]
            same &= np.array_equal(*seen)
    assert same and np.isfinite(one.state).all()


def test_a_body_that_is_none_is_refused_and_an_episode_by_a_task_needs_one():
    sim = started(Robot())
    with pytest.raises(InputError, match="unknown body 'bx'; did you mean 'box'"):
        sim.readings.up("bx")

    class Asks(Robot):
        def initial_state(self, rng, n, task):
            return super().initial_state(rng, n)

    with pytest.raises(InputError, match="set the tasks before the first reset"):
        BatchSim(Asks(), 1, 1).reset(np.random.default_rng(0))


OWN = """
from metarl.envs import Param, Uniform
from metarl.envs.families.quadrotor import X2


class Mine(X2):
    "Mine."

    params = (Param("v", "m/s", Uniform(0, 1)),)

    def reward(self, r, action, task):
        return {"v": -abs(r.local_velocity("x2")[:, 0] - task["w"])}
"""


def test_what_goes_wrong_in_a_users_own_file_is_said_with_its_line_and_no_traceback(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(OWN)
    command = ["train", f"{tmp_path / 'mine.py'}:Mine", "--learner", "meta-lstm", "--n-trials", "2"]
    assert main([*command, "--steps", "600", "--n-threads", "1", "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert re.search(r"KeyError: 'w' .*mine\.py, line 12\); .*metarl check", said)


def test_a_base_class_asks_for_the_end_of_an_episode_as_its_subclass_says_it():
    class Low(X2Hover):
        def terminated(self, r, task):
            return r.qpos[:, 2] < 10 * task["load"]

    sim = BatchSim(Low(), 2, 1)
    low, high = (dict(sim.family.task({"load": load})) for load in (0.0, 0.3))
    sim.set_tasks([low, high])
    sim.reset(np.random.default_rng(0))
    assert moved(sim).terminated.tolist() == [False, True]


# What `metarl check` remarks.

WEAK = XML.replace('kp="20" kv="2" forcerange="-8 8"', 'kp="200" kv="2" forcerange="-.5 .5"')


class Falls(Robot):
    """An episode ends where the arm is no longer near its home."""

    def terminated(self, r):
        return np.abs(r.qpos[:, 7] - self.home[7]) > 0.2


REMARKED = {
    "a pose that it is too weak for": (
        {"xml": WEAK, "action": Around("stretched", 0.1), "horizon": 100},
        "with zero actions these are at their force limits, and stay there: servo (0.5)",
    ),
    "a pose beyond a control's range": (
        {"action": Around((0, 2, 0))},
        "action 0 asks motor for 2, outside -1 to 1",
    ),
    "commands that never change": (
        {"params": (Param("goal", "m", Uniform(-1, 1), told=True, every=(1, 2)),)},
        "goal is never another one: every 1 to 2 s, and an episode ends after 0.4 s",
    ),
    "pushes that never come": ({"pushes": (Push(every=(1, 2)),)}, "the robot is never pushed"),
    "a change that may come too late": (
        {
            "params": (
                Param("x", "", Uniform(0.5, 1), field="motor_strength", change="once", when=(0.1, 2.0)),
            )
        },
        "x changes in some episodes only: up to 2 s after they begin, and they end after 0.4 s",
    ),
    "a sensor that is late for ever": (
        {"sensors": (Sensor("place", delay=3),)},
        "place is 3 s late: all that",
    ),
    "a sensor that is late by nothing": (
        {"sensors": (Sensor("place", delay=0.004),)},
        "place is 0.004 s late, less than half a step of 0.01 s",
    ),
}


@pytest.mark.parametrize("what", REMARKED)
def test_what_an_engineer_would_ask_is_remarked_and_nothing_of_a_robot_as_it_should_be(what):
    changed, said = REMARKED[what]
    assert any(remark.startswith(said) for remark in remarks(family(**changed)))
    assert list(remarks(family(action=Around("home", 0.1)))) == []


def test_a_robot_that_falls_is_told_what_it_lacks():
    as_it_is, held = (
        type("Falls", (Falls,), {"action": a, "xml": WEAK, "horizon": 200})()
        for a in (Direct(), Around("home"))
    )
    assert "let actions be around a pose" in next(remarks(as_it_is))
    assert "its servos' kp and their force limits" in next(remarks(held))
    motors = WEAK.replace("<position", "<motor").replace('kp="200" kv="2"', "")
    assert "make servos of its motors" in next(
        remarks(type("Falls", (Falls,), {"xml": motors, "horizon": 200})())
    )


def test_a_robot_that_sinks_and_never_ends_is_told_so():
    xml = """<mujoco><option timestep=".01"/><worldbody><geom type="plane" size="5 5 .1"/>
    <body pos="0 0 .45"><freejoint/><geom type="sphere" size=".1"/>
    <body pos="0 .05 -.2"><joint name="j"/><geom size=".03" fromto="0 0 0 0 0 -.2" type="capsule"/>
    </body></body></worldbody><actuator><motor joint="j"/></actuator></mujoco>"""
    remark = next(remarks(family(xml=xml, horizon=200)))
    assert remark.startswith("with zero actions the robot sinks from 0.45") and "a floor" not in remark
    floating = xml.replace('<geom type="plane" size="5 5 .1"/>', "")
    assert "add a floor in `edit`" in next(remarks(family(xml=floating, horizon=200)))


def test_a_change_after_the_end_is_wrong_and_a_contact_is_read_either_way():
    late = Param("x", "", Uniform(0.5, 1), field="motor_strength", change="once", when=(1.0, 2.0))
    found = [finding.problem for finding in check(family(params=(late,)))]
    assert found == [
        "x changes 1 to 2 s after an episode begins, and that ends after 0.4 s: an earlier `when`, "
        "or a longer horizon"
    ]
    sim = started(family(contacts=(("floor", "shell"),)))
    moved(sim, 3)
    for pair in (("floor", "shell"), ("shell", "floor")):
        assert sim.readings.contact(*pair).all()
    with pytest.raises(InputError, match=r"contacts = \(\('shell', 'box'\),\)"):
        sim.readings.contact("shell", "box")


def test_what_is_privileged_may_depend_on_the_task_and_is_read_at_every_step():
    class Tells(X2Hover):
        def privileged(self, r, task):
            return np.stack([task["load"], r.qpos[:, 2]], axis=1)

    sim = BatchSim(Tells(), 2, 1)
    sim.set_tasks([dict(sim.family.task({"load": load})) for load in (0.1, 0.3)])
    sim.reset(np.random.default_rng(0))
    for _ in range(2):
        told = sim.told()
        np.testing.assert_allclose(told[:, -2], [0.1, 0.3])
        np.testing.assert_allclose(told[:, -1], sim.readings.qpos[:, 2], rtol=1e-6)
        moved(sim)
    assert known_of(sim.family) == told.shape[1]


def test_a_family_of_other_tasks_inherits_what_is_privileged_only_if_it_is_of_no_task():
    class Sees(X2Hover):
        def privileged(self, r):
            return r.qpos[:, :2]

    class Asks(X2Hover):
        def privileged(self, r, task):
            return task["load"][:, None]

    other = {"params": (Param("speed", "m/s", Uniform(0, 1)),)}
    sees, asks = (type("Other", (kind,), other)() for kind in (Sees, Asks))
    assert (known_of(sees), known_of(asks)) == (1 + 2, 1)
    assert known_of(Asks()) == known_of(X2Hover()) + 1
    assert (sees.moves, asks.moves) == (True, False)  # what does not change is not read at every step


@pytest.mark.parametrize(
    "name, task, seen",
    [
        ("AntDir", {"direction": np.pi / 2}, (1, 0, 0)),
        ("AntFwdBack", {"direction": np.pi}, (0, 1, 0)),
        ("HumanoidDir", {"direction": 0.0}, (0, -1, 0)),
        ("AntGoal", {"radius": 2.0, "angle": np.pi}, (0, 1, 0, 0, 2 / 2.2, 0)),
    ],
)
def test_a_teacher_is_told_where_to_as_the_torso_has_it(name, task, seen):
    sim = BatchSim(load_family(name), 1, 1)
    sim.set_tasks([task])
    sim.reset(np.random.default_rng(0))
    sim.readings.qpos[0, :7] = 0, 0, 1, np.sqrt(0.5), 0, 0, np.sqrt(0.5)  # turned to the left, to +y
    np.testing.assert_allclose(sim.told()[0, -len(seen) :], seen, atol=1e-6)


def test_the_teacher_of_an_arm_is_told_the_way_that_is_left():
    sim = BatchSim(family := load_family("ArmReach"), 3, 1)
    sim.set_tasks(family.tasks("test")[:3])
    sim.reset(np.random.default_rng(0))
    moved(sim)
    way, direction = 0.15 * sim.told()[:, -6:-3], sim.told()[:, -3:]
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), sim.error(), rtol=1e-5)
    np.testing.assert_allclose(direction, way / (sim.error()[:, None] + 0.05), rtol=1e-4, atol=1e-6)
