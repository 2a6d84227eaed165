"""Laws of live pages: what runs in the browser is what runs here."""

import json
import shutil
from dataclasses import replace

import mujoco
import numpy as np
import pytest
import torch
from test_meta_model import SMALL as SMALL_MODEL

from metarl import MAML, MAMLConfig, MetaLSTM, MetaLSTMConfig, MetaModel
from metarl.cli import main
from metarl.envs import (
    FAMILIES,
    Around,
    BatchSim,
    Choice,
    Index,
    InputError,
    Param,
    Push,
    Sensor,
    TaskFamily,
    Uniform,
    load_family,
)
from metarl.envs.families.half_cheetah import HalfCheetahVel
from metarl.envs.families.point import POINT, PointGoal
from metarl.envs.families.quadrotor import X2Hover
from metarl.envs.rotations import matrices
from metarl.envs.variation import value_of
from metarl.export.write import onnx_bytes
from metarl.render import write_live_page
from metarl.render.live_page import FRONT, _dynamics, _sensing, _task, turns_by_runge_kutta
from metarl.render.robot import page_robot

for module in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(module)
SMALL = MetaLSTMConfig(width=8, hidden=4)
VARIED = "HalfCheetahPayload", "HopperRandParams", "ArmPushRandParams", "X2Hover", "UR5eReach", "Go1Adapt"
needs_front = pytest.mark.skipif(not FRONT.is_file(), reason="scripts/build_page builds what this looks at")


@pytest.fixture(scope="module")
def agent():
    return MetaLSTM("PointGoal", SMALL, n_threads=1)


@pytest.fixture(scope="module")
def browser(chromium, tmp_path_factory):
    if not FRONT.is_file():
        pytest.skip("scripts/build_page builds what this looks at; it needs node and npm")
    pytest.importorskip("websockets")
    from browser import Browser

    with Browser(chromium, tmp_path_factory.mktemp("browser")) as browser:
        yield browser


# Writing.


def test_without_its_common_part_a_page_is_refused_with_the_cure(agent, tmp_path, monkeypatch):
    monkeypatch.setattr("metarl.render.live_page.FRONT", tmp_path / "none.html")
    with pytest.raises(InputError, match="scripts/build_page builds them, with node and npm"):
        write_live_page(agent, agent.family.tasks("test")[:1], tmp_path / "live.html")
    assert not [*tmp_path.iterdir()]


class ByHand(PointGoal):
    """Compiles its model where nobody can see of what."""

    build_spec = property(lambda self: self.nothing)  # type: ignore[assignment]

    def build_model(self):
        return mujoco.MjModel.from_xml_string(POINT)


class Untraced(PointGoal):
    """Uses what no graph has."""

    def reward(self, r, action, task):
        return {"distance": np.cumprod(r.qpos, axis=1)[:, 0] - task["goal_x"] + task["goal_y"]}


class Unmarked(PointGoal):
    """Marks with what cannot be traced."""

    def markers(self, task, data):
        return super().markers({k: float(v) for k, v in task.items()}, data)


@needs_front
@pytest.mark.parametrize(
    ("kind", "words"),
    [(ByHand, "override build_spec"), (Untraced, "Untraced.reward, line [0-9]+: np.cumprod cannot be")],
)
def test_what_a_page_cannot_hold_is_refused_in_one_line(kind, words, tmp_path):
    agent = MetaLSTM(kind(), SMALL, n_threads=1)
    with pytest.raises(InputError, match=words):
        write_live_page(agent, agent.family.tasks("test")[:1], tmp_path / "live.html")


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_page_can_hold_every_familys_robot_and_tasks(name):
    family = load_family(name)
    robot, task = page_robot(family), _task(family, family.tasks("test")[0], 0)
    assert robot["geoms"] and robot["sizes"]["nbody"] == family.model.nbody
    assert {part for p in task["variations"] for part in (t["field"] for t in p["targets"])} <= {
        *task["nominal"]
    }
    for param in family.params:  # what breaks is whole until somebody breaks it
        expected = family.nominal(param) if param.change else np.ravel(family.tasks("test")[0][param.name])
        np.testing.assert_array_equal(task["task"][param.name], expected)


class Shaken(X2Hover):
    """Senses badly, and is pushed at every moment."""

    sensors = (Sensor("spin", noise=0.1, bias=0.1),)
    pushes = (Push(every=(0.02, 0.04)),)


def test_a_robot_that_senses_badly_and_is_pushed_gets_a_page_that_says_it_is_not():
    page_robot(Shaken())
    notes = _sensing(Shaken())["notes"]
    assert "In training it is pushed; here you pull at it." in notes
    assert "Its sensors are perfect here." in notes


class Touching(HalfCheetahVel):
    """Reads a contact."""

    contacts = (("floor", "bfoot"),)


def test_a_robot_that_reads_contacts_is_refused():
    with pytest.raises(
        InputError, match="Touching has contacts that are read, which a live page cannot hold"
    ):
        page_robot(Touching())


class Slow(TaskFamily):
    """A servo that follows slowly, and begins where it holds."""

    params = (Param("goal", "rad", Uniform(-1, 1)), Param("s", "", Uniform(0.5, 1), field="motor_strength"))
    action = Around("home", 0.1)

    def build_spec(self):
        return mujoco.MjSpec.from_string(
            """<mujoco><worldbody><body><joint name="j" actuatorfrcrange="-9 9"/><geom size=".1"/></body>
            </worldbody><actuator><position joint="j" kp="9" timeconst=".1"/></actuator>
            <keyframe><key name="home" qpos="1"/></keyframe></mujoco>"""
        )

    def reward(self, r, action, task):
        return {"near": -np.abs(r.qpos[:, 0] - task["goal"])}


class Quick(Slow):
    """The same, at once."""

    def edit(self, spec):
        spec.actuators[0].dyntype = mujoco.mjtDyn.mjDYN_NONE


def test_a_robot_whose_actuators_begin_with_a_state_is_refused_and_a_page_varies_what_it_has():
    with pytest.raises(InputError, match="begin with a state of their own"):
        page_robot(Slow())
    page_robot(Quick())
    assert list(_dynamics(Quick())["nominal"]) == [
        "actuator_gainprm",
        "actuator_biasprm",
        "actuator_forcerange",
        "jnt_actfrcrange",
    ]
    assert "jnt_actfrcrange" not in _dynamics(load_family("X2Hover"))["nominal"]


def test_a_family_that_is_stepped_otherwise_than_a_page_steps_is_refused(agent, monkeypatch):
    step, late = BatchSim.step, []

    def step_late(self, action, mask=None):
        late.append(action)
        return step(self, late[-2] if len(late) > 1 else action, mask)

    monkeypatch.setattr(BatchSim, "step", step_late)
    with pytest.raises(InputError, match="stepped in a way that a live page does not know"):
        page_robot(agent.family)


class Soon(PointGoal):
    """How strong the point is changes as soon as it has begun to move."""

    params = (
        *PointGoal.params,
        Param("gear", "", Uniform(1, 3), field="actuator_gear", change="once", when=(0.1, 0.3)),
    )


def test_a_family_that_changes_at_once_has_a_page():
    page_robot(Soon())


STRANGE = """
<mujoco><compiler angle="radian" autolimits="true"/>
<option timestep="0.0041666666666666667" gravity="0 0 -9.8066501"/>
<worldbody><body pos="0 0 -1"><geom name="hill" type="plane" size="2 2 .1" euler="0 .25 0"/></body>
<geom name="wall" type="plane" size=".5 .5 .1" pos="0 1 0" euler="1.5707963 0 0"/>
<body name="aim" mocap="true" pos=".3 0 0"><geom type="sphere" size=".02" contype="0" conaffinity="0"/></body>
<site name="anchor" pos="0.1 0 .5"/>
<body name="arm"><joint name="ball" type="ball" damping=".01"/>
<geom type="capsule" fromto="0 0 0 0 0 -.3" size=".02"/>
<site name="tip" pos="0 0 -.3"/>
<body pos="0 0 -.3"><joint name="wrist" axis="0 1 0" range="-1 1" damping=".02"/>
<geom type="ellipsoid" size=".05 .03 .04"/></body></body>
<body name="wheel" pos="0 .3 0"><joint name="wheel" axis="0 1 0" damping=".01"/>
<geom type="cylinder" size=".05 .01"/></body>
<body name="heavy" pos="5 0 0"><geom size=".1" mass="900" castshadow="false"/></body>
<body name="stone" pos=".5 0 -1.1"><freejoint/><geom size=".05" mass=".01"/></body></worldbody>
<tendon><spatial name="rope" width=".004" rgba=".8 .1 .1 1"><site site="anchor"/><site site="tip"/></spatial>
<fixed name="both">
<joint joint="wrist" coef="0.3333333333"/><joint joint="wheel" coef="-0.7777777777"/></fixed></tendon>
<equality><joint joint1="wheel" joint2="wrist" polycoef="0 1.2345678912 0.1 0 0"/></equality>
<actuator><muscle name="pull" tendon="rope" force="3" lengthrange=".5 1"/>
<motor name="turn" joint="ball" gear="0 .05 .02"/>
<position name="bend" tendon="both" kp=".1" kv=".003" ctrlrange="-1 1"/></actuator>
<sensor><gyro name="gyro" site="tip"/><tendonvel name="rope" tendon="rope"/></sensor></mujoco>
"""


class Strange(PointGoal):
    """What MJCF has and the catalogue has not; changed after it was compiled, too."""

    params = (
        Param("bend", "rad", Uniform(-1, 0)),
        Param("slip", "", Uniform(0.2, 0.9), field="floor_friction", objects=("hill",)),
        Param("name", "", Index(0, 7)),
        Param("way", "", Choice((-1.0, 1.0)), test=Choice((0.0, 1.0))),
    )
    derived, remembered = ("sensordata", "ten_length", "ncon", "site_xpos"), ("site_xpos",)
    frame_skip, horizon, error_unit = 4, 100, "rad"

    def build_spec(self):
        return mujoco.MjSpec.from_string(STRANGE)

    def build_model(self, visual=False):
        model = super().build_model(visual)
        model.opt.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        model.geom_condim[-1] = 1
        return model

    def initial_state(self, rng, n, task):
        qpos, qvel = TaskFamily.initial_state(self, rng, n)
        return qpos, qvel + 0.3 * rng.standard_normal(qvel.shape) * task["way"][:, None] ** 2

    def observe(self, r):
        moved = r.site_position("tip") - r.before["site_xpos"][:, r.model.site("tip").id]
        ordered = np.sort(r.qvel, axis=1) + np.argsort(r.qpos[:, :3], axis=1).sum(axis=1, keepdims=True)
        parts = [r.qpos, r.qvel, r.sensor("gyro"), r.sensor("rope"), r.field("ncon")[:, None], moved, ordered]
        return np.concatenate(
            [*parts, r.field("ten_length"), r.field("act"), np.arccos(r.qpos[:, :4])], axis=1
        )

    def reward(self, r, action, task):
        return {"bend": -np.abs(r.qpos[:, 4] - task["bend"]), "name": 0.01 * task["name"] * task["way"]}

    def error(self, r, task):
        return np.abs(r.qpos[:, 4] - task["bend"])

    success = TaskFamily.success
    markers = TaskFamily.markers


def test_a_page_stands_on_what_a_robot_stands_on_and_shows_its_ropes():
    robot = page_robot(Strange())
    turn = matrices(np.array([robot["floor"]["quat"]]))[0]
    np.testing.assert_allclose(turn[:, 2], [np.sin(0.25), 0, np.cos(0.25)], atol=1e-12)
    assert robot["floor"]["pos"] == [0, 0, -1]
    assert [geom["type"] for geom in robot["geoms"]].count("plane") == 1  # the wall
    assert [tendon["rgba"][0] for tendon in robot["tendons"]] == [pytest.approx(0.8)]
    by = dict(
        zip(("world", "?", "aim", "arm", "hand", "wheel", "heavy", "stone"), robot["pulls"], strict=True)
    )
    assert by["aim"] is None and by["heavy"] is None and by["stone"] == pytest.approx(0.01)
    assert by["arm"] == by["hand"] > by["wheel"]


class Hanging(PointGoal):
    """A pendulum over nothing that begins upright."""

    def build_spec(self):
        return mujoco.MjSpec.from_string(
            "<mujoco><worldbody><body><joint name='j' axis='0 1 0'/><geom type='capsule' size='.05' "
            "fromto='0 0 0 0 0 .5'/></body></worldbody><actuator><motor joint='j' gear='30'/></actuator>"
            "</mujoco>"
        )

    initial_state, terminated = TaskFamily.initial_state, TaskFamily.terminated
    frame_skip = 10

    def observe(self, r):
        return r.qpos

    def reward(self, r, action, task):
        return {"angle": -np.abs(r.qpos[:, 0] - task["goal_x"] - task["goal_y"])}


def test_a_robot_without_a_floor_is_above_the_one_that_is_drawn():
    assert page_robot(Hanging())["floor"]["pos"][2] == pytest.approx(-0.55, abs=0.15)


@pytest.mark.parametrize("size", [0.002, 1, 60])
def test_tiles_are_as_large_as_the_robot_makes_one_look_from_afar(size):
    box = f"<joint name='j' axis='0 1 0'/><geom type='box' size='{size} {size} {size}'/>"
    motor = "<actuator><motor joint='j'/></actuator>"
    text = f"<mujoco><worldbody><body>{box}</body></worldbody>{motor}</mujoco>"
    build_spec = {"build_spec": lambda _: mujoco.MjSpec.from_string(text)}
    view = page_robot(type("Sized", (Hanging,), build_spec)())["view"]
    assert 2 < view["distance"] / view["tile"] < 40


class Unlimited(Strange):
    """Changes of its model what a page cannot."""

    def build_model(self, visual=False):
        model = super().build_model(visual)
        model.jnt_limited[:] = False
        return model


class Yielding(Strange):
    """Has what only MuJoCo 4 knows."""

    def edit(self, spec):
        spec.joint("wrist").springyield = 0.1


class Turning(Strange):
    """Reads what only MuJoCo 4 gives."""

    derived = (*Strange.derived, "site_xquat")

    def observe(self, r):
        return np.concatenate([super().observe(r), r.field("site_xquat")[:, 0]], axis=1)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Unlimited, "jnt_limited is changed after the robot was compiled, .* in `edit`"),
        (Yielding, "Yielding has springs that yield"),
        (
            Turning,
            "Turning cannot be put into a page: the MuJoCo of live pages gives no site_xquat; .*site_xmat",
        ),
    ],
)
def test_what_the_pages_mujoco_does_not_have_is_refused_in_one_line(kind, words):
    with pytest.raises(InputError, match=words):
        page_robot(kind()), _sensing(kind())


def test_whole_numbers_stay_whole_and_starts_of_one_task_are_said_to_be_that():
    family = Strange()
    params = {p["name"]: p for p in _task(family, family.tasks("test")[0], 0)["params"]}
    assert (params["name"]["whole"], params["name"]["choices"]) == (True, None)
    assert (params["way"]["whole"], params["way"]["choices"]) == (True, [-1, 0, 1])
    assert not params["bend"]["whole"] and params["bend"]["choices"] is None
    sensing = _sensing(family)
    assert sensing["plot"]["least"] == 0.5  # of a range that ends with 0
    assert "Episodes begin as those of the task that the page begins with." in sensing["notes"]


@needs_front
def test_a_growing_memory_is_refused_in_one_line(tmp_path):
    agent = MetaLSTM("PointGoal", replace(SMALL, core="transformer"), n_threads=1)
    with pytest.raises(InputError, match="transformer"):
        write_live_page(agent, agent.family.tasks("test")[:1], tmp_path / "live.html")


@pytest.mark.parametrize(
    ("flags", "written"),
    [
        (["--out", "live.html"], ["live live.html"]),
        (["--out", "my-live.html", "replay.html"], ["live my-live.html", "replay replay.html"]),
        (["--live", "--out", "page.html"], ["live page.html"]),
        (["--out", "LIVE.HTML"], ["live LIVE.HTML"]),
        (["--out", "page.html"], ["replay page.html"]),
    ],
)
def test_a_live_page_is_told_from_a_replay_by_its_name_or_the_flag(
    flags, written, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr("metarl.render.write_live_page", lambda a, t, path, s: seen.append(f"live {path}"))
    monkeypatch.setattr("metarl.render.write_page", lambda r, f, path: seen.append(f"replay {path}"))
    assert main(["render", "box:PointGoal", *flags]) == 0
    assert seen == written and capsys.readouterr().out.count("wrote ") == len(written)


def test_a_live_clip_is_refused(capsys):
    assert main(["render", "box:PointGoal", "--live", "--out", "clip.mp4"]) == 2
    assert "use a name that ends in .html" in capsys.readouterr().err


# In a browser.


PLAY = """
(async ({ task, qpos, qvel, actions }) => {
  const { session, simulation } = metarl;
  session.held = true;
  while (!metarl.idle()) await new Promise((r) => setTimeout(r, 5));
  simulation.vary(task);
  simulation.reset(qpos, qvel);
  const states = [], seen = [];
  session.task = task;
  for (const action of actions) {
    simulation.act(action);
    session.action = Float64Array.from(action);
    for (let k = 0; k < session.robot.frame_skip; k++) simulation.substep();
    simulation.finish();
    states.push([...simulation.data.qpos, ...simulation.data.qvel]);
    const { obs, reward } = await session.sense();
    seen.push({ obs: [...obs], reward: [...reward] });
  }
  const fields = Object.keys(session.robot.nominal).map((name) => [name, [...simulation.field(name)]]);
  return { states, seen, fields: Object.fromEntries(fields) };
})"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["HalfCheetahPayload", "HopperRandParams", "ArmPushRandParams", "X2Hover", "UR5eReach", "Go1Adapt"],
)
def test_physics_in_the_page_is_mujocos_to_rounding_with_varied_dynamics(browser, name, tmp_path):
    agent = MetaLSTM(name, SMALL, n_threads=1)
    family, rng = agent.family, np.random.default_rng(3)
    write_live_page(agent, family.tasks("test")[:1], tmp_path / "live.html")
    browser.open(tmp_path / "live.html")
    task = family.tasks("ood" if family.has_ood else "test")[1]
    sim, actions = BatchSim(family, 1, 1), 0.5 * rng.uniform(-1, 1, (20, family.action_dim))
    sim.set_tasks([task])
    qpos, qvel = family.initial_state(rng, 1)
    sim.set_state(qpos, qvel)
    given = {
        "task": {k: np.atleast_1d(v).tolist() for k, v in task.items()},
        "qpos": qpos[0].tolist(),
        "qvel": qvel[0].tolist(),
        "actions": actions.tolist(),
    }
    played = browser.run(f"{PLAY}({json.dumps(given)})")
    for field, values in played["fields"].items():
        expected = value_of(sim.model_of(0), field).ravel()
        if field == "body_iquat":  # axes of inertia have two directions each
            values, expected = (np.abs(matrices(np.reshape(x, (-1, 4)))) for x in (values, expected))
        np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-12, err_msg=field)
    close = 1e-6 if turns_by_runge_kutta(family.model) else 1e-9
    for action, state in zip(actions, played["states"], strict=True):
        sim.step(action[None])
        now = np.concatenate([sim.readings.qpos[0], sim.readings.qvel[0]])
        np.testing.assert_allclose(state, now, atol=close, rtol=close)


@pytest.mark.slow
def test_a_strange_robot_moves_and_senses_in_the_page_as_in_the_simulator(browser, tmp_path):
    agent = MetaLSTM(Strange(), replace(SMALL, core="feedforward"), n_threads=1)
    family, rng = agent.family, np.random.default_rng(3)
    write_live_page(agent, family.tasks("test")[:1], tmp_path / "live.html")
    browser.open(tmp_path / "live.html")
    task, sim, actions = family.tasks("test")[1], BatchSim(family, 1, 1), rng.uniform(-1, 1, (30, 1, 3))
    sim.set_tasks([task])
    qpos, qvel = family.draw_states(rng, 1, sim.task_values)
    sim.set_state(qpos, qvel)
    given = {
        "task": {k: np.atleast_1d(v).tolist() for k, v in task.items()},
        "qpos": qpos[0].tolist(),
        "qvel": qvel[0].tolist(),
        "actions": actions[:, 0].tolist(),
    }
    played = browser.run(f"{PLAY}({json.dumps(given)})")
    touched = 0
    for action, state, seen in zip(actions, played["states"], played["seen"], strict=True):
        step = sim.step(action)
        now = np.concatenate([sim.readings.qpos[0], sim.readings.qvel[0]])
        np.testing.assert_allclose(state, now, atol=1e-9, rtol=1e-9)
        np.testing.assert_allclose(seen["obs"], step.obs[0], atol=1e-6, rtol=1e-6)
        np.testing.assert_allclose(seen["reward"], step.reward, atol=1e-6)
        touched += int(sim.readings.field("ncon")[0])
    assert touched  # there was a contact to get wrong
    browser.run("metarl.view.draw(1, false, 0.01)")
    assert browser.run("metarl.view.tendons[0].group.children.length") == 1
    kept = browser.run("""(() => {
      const history = new metarl.session.history.constructor(0.001, 0);
      for (let k = 0; k < 50000; k++) history.add(k, k, null);
      return [history.length, history.dt, [...history.each()].length];
    })()""")
    assert kept == [1000, pytest.approx(0.02), 1000]
    texts = "[...document.querySelectorAll('#task output b, .choices button')].map((e) => e.textContent)"
    said = browser.run(texts)
    assert said[0].startswith("\u22120.") and "." not in said[2] and said[-3:] == ["\u22121", "0", "1"]
    browser.run("document.documentElement.dataset.theme = 'dark'")
    assert browser.run("getComputedStyle(document.documentElement).colorScheme") == "dark"  # of scroll bars
    assert browser.complaints() == []


@pytest.mark.slow
def test_a_robot_follows_the_slider_and_nothing_leaves_the_page(browser, tmp_path):
    agent = MetaLSTM.load("box:HalfCheetahVel")
    page = tmp_path / "live.html"
    write_live_page(agent, [agent.family.task({"velocity": 0.5})], page)
    browser.open(page)
    # Steps are counted, not seconds: a machine may be slow.
    speeds = browser.run("""(async () => {
      const { session } = metarl;
      session.held = true;
      while (!metarl.idle()) await new Promise((r) => setTimeout(r, 5));
      const steps = async (n) => {
        const seen = [];
        for (const end = session.steps + n; session.steps < end;) {
          const before = session.steps;
          await session.advance();
          if (session.steps > before) seen.push(session.real);
        }
        return seen;
      };
      const before = await steps(80);
      const input = document.querySelector("[data-param=velocity]");
      input.value = 625;
      input.dispatchEvent(new Event("input"));
      return { asked: session.task.velocity[0], dt: session.robot.dt, before, after: await steps(60) };
    })()""")
    second = round(1 / speeds["dt"])
    assert speeds["asked"] == pytest.approx(2.5)
    assert np.mean(speeds["before"][-second:]) == pytest.approx(0.5, abs=0.25)
    assert np.mean(speeds["after"][second : 2 * second]) == pytest.approx(2.5, abs=0.4)
    assert np.mean(speeds["after"][second // 2 : second]) > 1.5
    # It goes by the clock, and draws.
    browser.run("metarl.session.held = false")
    browser.run("new Promise((r) => setTimeout(r, 2000))")
    assert browser.run("metarl.session.steps") > 145
    assert browser.run("document.getElementById('view').toDataURL().length") > 5000
    assert {address.partition(":")[0] for address in browser.asked_for()} <= {"file", "data", "blob"}
    assert browser.complaints() == []


@pytest.mark.slow
def test_memory_does_not_grow_with_steps(browser, agent, tmp_path):
    write_live_page(agent, agent.family.tasks("test")[:1], tmp_path / "live.html")
    browser.open(tmp_path / "live.html")
    grown = browser.run("""(async () => {
      const { session, simulation, view } = metarl;
      session.held = true;
      const steps = async (n) => {
        for (const end = session.steps + n; session.steps < end;) { view.note(); await session.advance(); }
        for (let k = 0; k < 5; k++) { gc(); await new Promise((r) => setTimeout(r, 20)); }
        return [performance.memory.usedJSHeapSize, simulation.data.qpos.buffer.byteLength];
      };
      const [js, wasm] = await steps(500);
      const [more, larger] = await steps(4000);
      return [more - js, larger - wasm];
    })()""")
    assert grown[0] < 1_000_000 and grown[1] == 0


@pytest.mark.slow
def test_a_policy_of_gradient_steps_is_shown_before_and_after_them(browser, tmp_path):
    agent = MAML("PointGoal", MAMLConfig(n_tasks=2, n_episodes=3, hidden=(8,)), n_threads=1)
    tasks = [agent.family.tasks("test")[k] for k in (0, 1, 1)]  # some may have the same words
    write_live_page(agent, tasks, tmp_path / "live.html")
    browser.open(tmp_path / "live.html")
    names = browser.run("metarl.policies.map((policy) => policy.name)")
    assert names == ["before adaptation", *(f"adapted to {agent.family.words(task)}" for task in tasks)]
    assert browser.run("document.getElementById('forget').hidden")
    browser.run("document.querySelector('#policies span').textContent = 'adapted to a long task '.repeat(40)")
    wide = "(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.getElementById('panel'))"
    assert browser.run(wide) == 0


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_policy_that_a_model_tells_remembers_in_the_page(dtype, browser, monkeypatch, tmp_path):
    agent = MetaModel("PointGoal", replace(SMALL_MODEL, hidden=(16, 16)), n_threads=1)
    agent.learn(2 * agent.steps_per_iteration)
    graph = agent.policy().graph().computing_in(dtype)
    monkeypatch.setattr("metarl.render.policies.same_onnx", lambda *_: (onnx_bytes(graph, {}), 0.0, 0.0))
    write_live_page(agent, agent.family.tasks("test")[:1], tmp_path / "live.html")
    browser.open(tmp_path / "live.html")
    given = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
    acted = browser.run(
        """(async (given) => {
      const { session, policies: [policy] } = metarl;
      session.held = true;
      while (!metarl.idle()) await new Promise((r) => setTimeout(r, 5));
      let state = new Float32Array(policy.state_size);
      const acted = [];
      for (const [k, [x, y, reward]] of given.entries()) {
        const out = await policy.graph.run({ obs: Float32Array.of(x, y), reward: Float32Array.of(reward),
          episode_start: Float32Array.of(k % 5 == 0 ? 1 : 0), state_in: state });
        acted.push([...out.actions]);
        state = out.state_out;
      }
      return acted;
    })"""
        + f"({given.tolist()})"
    )
    state = None
    for k, (x, y, reward) in enumerate(given):
        start = None if state is None else np.array([k % 5 == 0])
        action, state = agent.predict(np.array([x, y]), state, start, reward=reward)
        np.testing.assert_allclose(acted[k], action, atol=1e-5)


@pytest.mark.slow
def test_a_page_of_markers_that_cannot_be_traced_says_so_and_runs(browser, tmp_path):
    agent = MetaLSTM(Unmarked(), SMALL, n_threads=1)
    write_live_page(agent, agent.family.tasks("test")[:1], tmp_path / "live.html")
    browser.open(tmp_path / "live.html")
    assert "not drawn: Unmarked.markers, line" in browser.run("document.getElementById('notes').textContent")


@pytest.mark.slow
def test_the_common_part_builds_from_pinned_packages(tmp_path):
    if shutil.which("npm") is None:
        pytest.skip("no npm here: install node to run this test")
    if not FRONT.is_file():
        pytest.skip("scripts/build_page has not been run here, and would fetch packages")
    text = FRONT.read_text(encoding="utf-8")
    for mark in (
        "<!--metarl:title-->",
        "<!--metarl:robot-->",
        'id="licences"',
        'id="mujoco"',
        'id="onnxruntime"',
    ):
        assert text.count(mark) == 1, mark
