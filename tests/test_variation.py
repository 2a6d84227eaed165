"""Varying a model: what is written is what the XML would have said, and what follows from it follows."""

import mujoco
import numpy as np
import pytest
from mujoco.batch import Batch

from metarl.envs import InputError, Param, Uniform, load_family
from metarl.envs.robot import compile_robot
from metarl.envs.variation import FIELDS, PAYLOAD, PLACE, ROWS, Variation, apply, value_of

XML = """
<mujoco>
  <option timestep="0.005" gravity="{gravity}" wind="{wind}" density="{density}"/>
  <worldbody>
    <geom name="floor" type="plane" size="5 5 .1" friction="{friction}"/>
    <body name="arm" pos="0 0 1">
      <joint name="shoulder" axis="0 1 0" damping="{damping}" armature="{armature}"
             stiffness="{stiffness}" frictionloss="{frictionloss}"/>
      <geom name="rod" type="capsule" fromto="0 0 0 .6 0 0" size=".05" mass="{mass}"/>
      <body name="hand" pos=".6 0 0">
        <joint name="wrist" type="ball" damping=".1" armature=".01"/>
        <inertial pos="{ipos}" mass="{hand}" diaginertia="{inertia}"/>
        <geom name="palm" type="box" size=".1 .05 .03" mass="0"/>
      </body>
    </body>
    <body name="puck" pos="0 1 .05">
      <freejoint name="float"/>
      <geom name="puck" type="cylinder" size=".1 .05" mass=".5" friction=".1"/>
    </body>
  </worldbody>
  <actuator>
    <general name="motor" joint="shoulder" gear="{gear}" gainprm="{gain}" nsample="8" delay="{delay}"
             forcerange="{force}"/>
    <general name="servo" joint="shoulder" gainprm="{kp}" biastype="affine" biasprm="{bias}"/>
  </actuator>
</mujoco>
"""
NOMINAL = {
    "gravity": "0 0 -9.81",
    "wind": "1 0 0",
    "density": "1.2",
    "delay": ".01",
    "force": "-1 1",
    "friction": ".6 .01 .001",
    "damping": "0.2",
    "armature": "0.02",
    "stiffness": "0.5",
    "frictionloss": "0.03",
    "mass": "1",
    "ipos": ".05 0 .01",
    "hand": ".4",
    "inertia": ".002 .003 .004",
    "gear": "2 .1 .1 .1 .1 .1",
    "gain": "1.5",
    "kp": ".5",
    "bias": "0 -.5 -.1",
}
WRIST = ["wrist.0", "wrist.1", "wrist.2"]


def model(**changed: str) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(XML.format(**(NOMINAL | changed)))


def varied(*parts: tuple[Variation, list[float]], n: int = 1, times: int = 1) -> Batch:
    """A batch of the nominal model whose simulation n - 1 carries the variations."""
    batch = Batch(model(), n, 1)
    for _ in range(times):
        numbers = [np.array([values], float) for _, values in parts]
        apply(batch, [variation for variation, _ in parts], numbers, np.array([n - 1]))
    return batch


def trajectory(m: mujoco.MjModel) -> np.ndarray:
    """State over 150 steps of a thrown puck and a driven arm, (150, nq + nv)."""
    data = mujoco.MjData(m)
    data.qvel[:] = np.linspace(0.3, 1.5, m.nv)
    rows = []
    for t in range(150):
        data.ctrl[:] = np.sin(t / 10)
        mujoco.mj_step(m, data)
        rows.append(np.concatenate([data.qpos, data.qvel]))
    return np.array(rows)


def arrays(m: mujoco.MjModel) -> dict[str, np.ndarray]:
    names = ["body_subtreemass", "dof_invweight0", "body_invweight0", "dof_M0", "actuator_acc0"]
    return {name: value_of(m, name).copy() for name in [*names, *FIELDS]}


# The one number of each variation, and the same said in XML.
AXIS = {("body_ipos", "add"): 1}  # along which a vector is moved
SAID = [
    ("body_mass", ("arm",), "set", 2.5, {"mass": "2.5"}),
    ("body_mass", ("arm",), "scale", 3.0, {"mass": "3"}),
    ("body_mass", ("arm",), "add", 0.7, {"mass": "1.7"}),
    ("body_mass", ("hand",), "scale", 2.0, {"hand": ".8", "inertia": ".004 .006 .008"}),
    ("body_inertia", ("hand",), "scale", 2.0, {"inertia": ".004 .006 .008"}),
    ("body_ipos", ("hand",), "scale", 2.0, {"ipos": ".1 0 .02"}),
    ("body_ipos", ("hand",), "add", 0.02, {"ipos": ".05 .02 .01"}),
    ("geom_friction", ("floor",), "scale", 0.5, {"friction": ".3 .005 .0005"}),
    ("dof_damping", ("shoulder",), "set", 1.3, {"damping": "1.3"}),
    ("dof_damping", ("shoulder",), "scale", 4.0, {"damping": "0.8"}),
    ("dof_armature", ("shoulder",), "add", 0.1, {"armature": "0.12"}),
    ("dof_frictionloss", ("shoulder",), "scale", 2.0, {"frictionloss": "0.06"}),
    ("jnt_stiffness", ("shoulder",), "scale", 5.0, {"stiffness": "2.5"}),
    ("actuator_gear", ("motor",), "scale", 0.5, {"gear": "1 .05 .05 .05 .05 .05"}),
    ("actuator_gainprm", ("motor",), "scale", 2.0, {"gain": "3"}),
    ("actuator_gainprm", ("servo",), "scale", 2.0, {"kp": "1", "bias": "0 -1 -.2"}),
    ("actuator_gainprm", None, "scale", 2.0, {"gain": "3", "kp": "1", "bias": "0 -1 -.2"}),
    ("actuator_biasprm", ("servo",), "scale", 2.0, {"bias": "0 -1 -.2"}),
    ("actuator_forcerange", ("motor",), "scale", 0.5, {"force": "-.5 .5"}),
    ("actuator_delay", ("motor",), "set", 0.03, {"delay": ".03"}),
    ("opt.gravity", None, "scale", 0.5, {"gravity": "0 0 -4.905"}),
    ("opt.wind", None, "scale", 8.0, {"wind": "8 0 0"}),
    ("motor_strength", ("motor",), "scale", 0.5, {"gain": ".75", "force": "-.5 .5"}),
    ("motor_strength", ("servo",), "scale", 2.0, {"kp": "1", "bias": "0 -1 -.2"}),
    ("servo_gain", ("servo",), "scale", 2.0, {"kp": "1", "bias": "0 -1 -.1"}),
    ("floor_friction", ("floor",), "scale", 0.5, {"friction": ".3 .005 .0005"}),
]


def test_every_row_of_the_table_is_tried_below():
    assert {field for field, *_ in SAID} == set(ROWS) - {PAYLOAD, PLACE}


@pytest.mark.parametrize(("field", "objects", "mode", "number", "xml"), SAID)
def test_a_varied_model_equals_the_same_values_compiled_from_xml(field, objects, mode, number, xml):
    nominal, compiled = model(), model(**xml)
    batch = varied((Variation(nominal, field, objects, mode, False, AXIS.get((field, mode))), [number]))
    for name, value in arrays(compiled).items():
        np.testing.assert_allclose(arrays(batch.get_model(0))[name], value, rtol=1e-12, atol=0, err_msg=name)
    moved, expected = trajectory(batch.get_model(0)), trajectory(compiled)
    np.testing.assert_allclose(moved, expected, rtol=1e-6, atol=1e-9)
    assert np.abs(expected - trajectory(nominal)).max() > 1e-4


def test_the_batch_moves_as_the_varied_model_does():
    v = Variation(model(), "body_mass", ("arm",), "scale", each=False)
    batch = varied((v, [3.0]), n=2)
    qvel, ctrl = batch.bind("qvel"), batch.bind("ctrl")
    qvel[:] = np.linspace(0.3, 1.5, model().nv)
    for t in range(150):
        ctrl[:] = np.sin(t / 10)
        batch.step()
    np.testing.assert_array_equal(batch.bind("qpos")[1], trajectory(batch.get_model(1))[-1, : model().nq])
    np.testing.assert_array_equal(batch.bind("qpos")[0], trajectory(model())[-1, : model().nq])


def test_applying_twice_is_applying_once_and_a_nominal_task_restores_the_model():
    for field, objects, mode, number, _ in SAID:
        v = Variation(model(), field, objects, mode, False, AXIS.get((field, mode)))
        once, twice = varied((v, [number])), varied((v, [number]), times=2)
        for name, value in arrays(once.get_model(0)).items():
            np.testing.assert_array_equal(arrays(twice.get_model(0))[name], value, err_msg=name)
        if v.neutral is not None:
            apply(twice, [v], [v.neutral[None]], np.array([0]))
            for name, value in arrays(model()).items():
                np.testing.assert_allclose(arrays(twice.get_model(0))[name], value, rtol=1e-12, err_msg=name)


def test_only_the_named_simulations_change():
    v = Variation(model(), "body_mass", None, "scale", each=False)
    batch = varied((v, [2.0]), n=3)
    assert batch.get_model(2).body("arm").mass == 2.0
    for i in (0, 1):
        for name, value in arrays(model()).items():
            np.testing.assert_array_equal(arrays(batch.get_model(i))[name], value, err_msg=name)


def test_mass_moves_inertia_with_it_unless_the_inertia_is_varied_itself():
    mass = Variation(model(), "body_mass", ("arm",), "scale", each=False)
    inertia = Variation(model(), "body_inertia", ("arm",), "scale", each=False)
    nominal = model().body("arm").inertia
    np.testing.assert_allclose(varied((mass, [3.0])).get_model(0).body("arm").inertia, 3 * nominal)
    for parts in ([(mass, [3.0]), (inertia, [5.0])], [(inertia, [5.0]), (mass, [3.0])]):
        both = varied(*parts).get_model(0).body("arm")
        np.testing.assert_allclose(both.inertia, 5 * nominal)
        np.testing.assert_allclose(both.mass, 3.0)


def test_a_servos_bias_follows_its_gain_unless_it_is_varied_itself_or_the_gain_is_to_vary_alone():
    gain = Variation(model(), "actuator_gainprm", ("servo",), "scale", each=False)
    bias = Variation(model(), "actuator_biasprm", ("servo",), "scale", each=False)
    alone = Variation(model(), "actuator_gainprm", ("servo",), "scale", each=False, alone=True)
    for parts, scale in (([(gain, [3.0])], 3), ([(gain, [3.0]), (bias, [5.0])], 5), ([(alone, [3.0])], 1)):
        servo = varied(*parts).get_model(0).actuator("servo")
        np.testing.assert_allclose(servo.gainprm[0], 1.5)
        np.testing.assert_allclose(servo.biasprm[:3], scale * np.array([0, -0.5, -0.1]))


def test_the_bias_of_motors_is_not_touched_by_their_gain():
    batch = varied((Variation(model(), "actuator_gainprm", ("motor",), "scale", each=False), [3.0]))
    assert batch.expanded("actuator_gainprm") is not None and batch.expanded("actuator_biasprm") is None


def test_the_constants_that_mujoco_derives_follow():
    v = Variation(model(), "body_mass", None, "scale", each=False)
    nominal, heavy = model(), varied((v, [2.0])).get_model(0)
    np.testing.assert_allclose(heavy.body_subtreemass, 2 * nominal.body_subtreemass)
    free = nominal.jnt_dofadr[nominal.joint("float").id]
    np.testing.assert_allclose(heavy.dof_invweight0[free:], nominal.dof_invweight0[free:] / 2)


def test_the_world_is_not_among_all_bodies_and_adding_mass_to_a_massless_body_is_finite():
    bare = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><body name='frame'>"
        "<body name='load'><joint/><geom size='.1' mass='1'/></body></body></worldbody></mujoco>"
    )
    v = Variation(bare, "body_mass", None, "add", each=True)
    assert v.labels == ["frame", "load"]
    batch = Batch(bare, 1, 1)
    apply(batch, [v], [np.array([[0.5, 0.5]])], np.array([0]))
    np.testing.assert_allclose(batch.get_model(0).body_mass, [0.0, 0.5, 1.5])
    np.testing.assert_allclose(batch.get_model(0).body("frame").inertia, 0.0)
    np.testing.assert_allclose(batch.get_model(0).body("load").inertia, 1.5 * bare.body("load").inertia)


def test_modes_set_scale_and_add():
    values = {
        mode: Variation(model(), "dof_damping", ("shoulder",), mode, False).values(np.array([[3.0]]))
        for mode in ("set", "scale", "add")
    }
    assert {mode: round(float(v[0, 0]), 12) for mode, v in values.items()} == {
        "set": 3.0,
        "scale": 0.6,
        "add": 3.2,
    }


def test_each_gives_every_element_a_number_and_a_label():
    one = Variation(model(), "dof_damping", None, "set", each=False)
    assert (one.size, one.labels) == (1, ["dof_damping"])
    each = Variation(model(), "dof_damping", None, "set", each=True)
    assert (each.size, each.labels) == (10, ["shoulder", *WRIST, *[f"float.{i}" for i in range(6)]])
    inertia = Variation(model(), "body_inertia", ("hand",), "scale", each=True)
    assert inertia.labels == ["hand.0", "hand.1", "hand.2"]
    m = varied((inertia, [1.0, 2.0, 3.0])).get_model(0)
    np.testing.assert_allclose(m.body("hand").inertia, model().body("hand").inertia * [1, 2, 3])


def test_scaling_leaves_out_what_is_zero():
    v = Variation(model(), "dof_damping", None, "scale", each=True)
    assert v.labels == ["shoulder", *WRIST]  # the floating puck has none
    assert Variation(model(), "body_ipos", ("hand",), "scale", each=True).labels == ["hand.0", "hand.2"]
    with pytest.raises(InputError, match=r"scaling dof_damping of .*float.* changes nothing: it is zero"):
        Variation(model(), "dof_damping", ("float",), "scale", each=False)


def test_neutral_numbers_leave_the_model_as_it_is():
    def neutral(objects: tuple[str, ...] | None, mode: str, each: bool) -> list[float] | None:
        numbers = Variation(model(), "body_mass", objects, mode, each).neutral
        return None if numbers is None else numbers.tolist()

    assert neutral(None, "scale", False) == [1.0]
    assert neutral(("arm", "hand"), "add", True) == [0.0, 0.0]
    assert neutral(("arm", "hand"), "set", True) == [1.0, 0.4]
    assert neutral(("arm",), "set", False) == [1.0]
    assert neutral(("arm", "hand"), "set", False) is None  # no one number is both their masses


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("body_mas", None, "scale"), "unknown model field 'body_mas'; did you mean 'body_mass'?"),
        (("body_mass", ("arn",), "scale"), "unknown body 'arn'; did you mean 'arm'?"),
        (("body_mass", ("world",), "scale"), "unknown body 'world'"),
        (("dof_damping", ("shoulders",), "scale"), "unknown joint 'shoulders'; did you mean 'shoulder'?"),
        (("actuator_gear", ("moter",), "scale"), "unknown actuator 'moter'; did you mean 'motor'?"),
        (("body_mass", None, "scaled"), "unknown mode 'scaled'; did you mean 'scale'?"),
    ],
)
def test_unknown_names_are_answered_with_the_closest_match(arguments, said):
    with pytest.raises(InputError) as error:
        Variation(model(), *arguments, each=False)
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


def test_a_payload_is_what_a_welded_body_of_the_same_mass_would_be():
    still = {**NOMINAL, "density": "0"}  # in a medium two bodies meet another drag than one
    varies = Param("load", "kg", Uniform(0, 1), field=PAYLOAD, objects=("hand",), mode="add")
    nominal = compile_robot(mujoco.MjSpec.from_string(XML.format(**still)), [varies], (), visual=True)
    load = Variation(nominal, PAYLOAD, ("hand",), "add", each=False)
    places = [Variation(nominal, PLACE, ("hand",), "add", False, axis) for axis in range(3)]
    offset = np.array([0.03, -0.02, 0.05])
    batch = Batch(nominal, 1, 1)
    apply(batch, [load, *places], [np.array([[x]]) for x in (0.3, *offset)], np.array([0]))
    spec = mujoco.MjSpec.from_string(XML.format(**still))
    welded = spec.body("hand").add_body(pos=np.array([0.05, 0, 0.01]) + offset)
    welded.mass, welded.inertia, welded.explicitinertial = 0.3, [1e-9] * 3, True
    welded.ipos = [0, 0, 0]
    moved = trajectory(batch.get_model(0))
    np.testing.assert_allclose(moved, trajectory(spec.compile()), rtol=1e-3, atol=1e-3)
    assert np.abs(moved - trajectory(nominal)).max() > 1e-2


LOADED = """
<mujoco>
  <compiler inertiafromgeom="{inertia}"/>
  <worldbody>
    <geom type="plane" size="5 5 .1"/>
    <body name="capsule" pos="0 0 .04">
      <freejoint/><geom type="capsule" size=".05" fromto="-.2 0 0 .2 0 0" mass="1"/>
      <site name="s" size=".01"/>{capsule}
    </body>
    <body name="bent" pos="0 1 .5">
      <freejoint/><geom type="capsule" size=".05" fromto="-.2 .1 .1 .3 0 0" mass="1"/>{bent}
    </body>
    <body name="box" pos="1 0 .09"><freejoint/><geom type="box" size=".1 .1 .1" mass="1"/>{box}</body>
    <body{stated} pos="2 0 .5">
      <freejoint/><geom type="box" size=".1 .2 .1" mass="1"/>{inertial}{stated_load}
    </body>
  </worldbody>
</mujoco>
"""
STATED = '<inertial pos="0 0 0" mass="1" fullinertia=".02 .03 .04 .001 .002 .003"/>'


@pytest.mark.parametrize("inertia", ["auto", "true"])
def test_a_payload_anywhere_on_any_body_is_exactly_what_a_welded_point_would_be(inertia):
    bodies, offset = ("capsule", "bent", "box", "stated"), np.array([0.03, -0.02, 0.05])
    said = {"inertia": inertia, "inertial": STATED if inertia == "auto" else ""}

    def robot(**loads: str) -> mujoco.MjSpec:
        loads = {k: loads.get(k, "") for k in ("capsule", "bent", "box", "stated_load")}
        return mujoco.MjSpec.from_string(LOADED.format(stated=' name="stated"', **said, **loads))

    load = Param("load", "kg", Uniform(0, 2), field=PAYLOAD, mode="add", groups={"all": bodies})
    nominal = compile_robot(robot(), [load], (), visual=True)
    plain = robot().compile()
    for name in ("body_mass", "body_inertia", "body_ipos", "body_iquat", "geom_pos", "geom_quat"):
        np.testing.assert_array_equal(getattr(nominal, name), getattr(plain, name), err_msg=name)
    load = Variation(nominal, PAYLOAD, bodies, "add", each=False)
    places = [Variation(nominal, PLACE, bodies, "add", False, axis) for axis in range(3)]
    batch = Batch(nominal, 2, 1)
    apply(batch, [load, *places], [np.array([[x]]) for x in (0.7, *offset)], np.array([1]))
    point = '<body pos="{} {} {}"><inertial pos="0 0 0" mass=".7" diaginertia="1e-12 1e-12 1e-12"/></body>'
    welds = {
        "stated_load" if name == "stated" else name: point.format(*(plain.body(name).ipos + offset))
        for name in bodies
    }
    spec = robot(**welds)
    spec.compiler.inertiafromgeom = mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_AUTO
    found = []
    for m in (batch.get_model(1), spec.compile()):
        data = mujoco.MjData(m)
        data.qvel[:] = np.linspace(-1, 1, m.nv)
        for b in range(4):
            data.qpos[7 * b + 3 : 7 * b + 7] = (0.9, 0.1, -0.2, 0.3)
        batch.bind("qpos")[:], batch.bind("qvel")[:] = data.qpos, data.qvel
        mujoco.mj_forward(m, data)
        found.append([x.copy() for x in (data.qacc_smooth, data.geom_xpos, data.site_xpos)])
    for mine, welded in zip(*found, strict=True):
        np.testing.assert_allclose(mine, welded, rtol=1e-6, atol=1e-6)
    ours, data = batch.get_model(1), mujoco.MjData(nominal)
    data.qpos[:], data.qvel[:] = batch.bind("qpos")[1], batch.bind("qvel")[1]
    batch.step(nstep=20)
    mujoco.mj_step(ours, data, 20)
    np.testing.assert_array_equal(batch.bind("qpos")[1], data.qpos)


def test_bodies_without_a_name_are_loaded_too():
    unnamed = "<mujoco><worldbody><body><freejoint/><geom size='.1'/></body></worldbody></mujoco>"
    load = Param("load", "kg", Uniform(0, 2), field=PAYLOAD, mode="add")
    assert not compile_robot(mujoco.MjSpec.from_string(unnamed), [load], (), True).body_simple[1:].any()


def test_a_group_shares_a_number_and_parameters_of_the_same_field_go_one_after_the_other():
    groups = {"all": ("motor", "servo")}
    strength = Variation(model(), "motor_strength", None, "scale", False, groups=groups)
    gain = Variation(model(), "servo_gain", ("servo",), "scale", each=False)
    assert strength.size == 1 and strength.labels == ["all"]
    both = varied((strength, [0.5]), (gain, [3.0]), times=2).get_model(0)
    np.testing.assert_allclose(both.actuator("motor").gainprm[0], 0.75)
    np.testing.assert_allclose(both.actuator("servo").gainprm[0], 0.75)
    np.testing.assert_allclose(both.actuator("servo").biasprm[:3], [0, -0.75, -0.05])


def test_groups_that_share_an_object_and_modes_that_make_no_sense_are_refused():
    for wrong in (
        {"field": "motor_strength", "mode": "scale", "groups": {"a": ("motor",), "b": ("motor", "servo")}},
        {"field": "motor_strength", "mode": "set"},
        {"field": PAYLOAD, "mode": "scale"},
        {"field": PLACE, "mode": "add"},
        {"field": "opt.gravity", "mode": "scale", "objects": ("hand",)},
    ):
        given = {"objects": None, "each": False, **wrong}
        with pytest.raises(InputError):
            Variation(model(), **given)


@pytest.mark.parametrize(
    "name, words",
    [
        ("HalfCheetahDamage", "strength *0.411 of ffoot"),
        ("AntDamage", "strength *0.573 of hip_4, ankle_4"),
        ("X2Hover", "rotor *0.758 to *1.01"),
    ],
)
def test_what_is_weak_is_named(name, words):
    family = load_family(name)
    assert words in family.words(family.tasks("test")[0])
