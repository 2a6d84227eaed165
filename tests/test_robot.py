"""From a robot's file to what is simulated: it moves and is measured as MuJoCo says the file is."""

import mujoco
import numpy as np
import pytest
from mujoco.batch import Batch

from metarl.envs import Param, Uniform
from metarl.envs.robot import compile_robot, has_clothes
from metarl.envs.variation import Variation, apply

MUSCLE = """
<mujoco>
  <worldbody>
    <body name="arm">
      <joint name="elbow" axis="0 1 0" range="-2 2"/>
      <geom type="capsule" fromto="0 0 0 .3 0 0" size=".03" mass="1"/>
      <site name="s" pos=".3 0 0"/>
    </body>
  </worldbody>
  <actuator>
    <muscle name="flexor" joint="elbow" lengthrange="-2 2" {force}/>
    <motor name="motor" joint="elbow"/>
  </actuator>
</mujoco>
"""
DRESSED = """
<mujoco>
  <compiler inertiafromgeom="{weighs}"/>
  <option density="1000" viscosity=".1"/>
  <asset><mesh name="shell" vertex="0 0 0  .1 0 0  0 .1 0  0 0 .1"/></asset>
  <worldbody>
    <geom name="floor" type="plane" size="3 3 .1"/>
    <body name="b" pos="0 0 .3">
      <inertial pos="0 0 0" mass="1" diaginertia=".01 .01 .01"/>
      <freejoint/>
      <geom type="mesh" mesh="shell" contype="0" conaffinity="0" {geom}/>
      <site name="s" pos="0 0 -.2"/>
    </body>
  </worldbody>
  {more}
</mujoco>
"""
SENSOR = "<sensor>{}</sensor>"
NEEDED = {  # what makes of a mesh more than something to look at
    "it collides with some": ('name="foot"', '<contact><pair geom1="foot" geom2="floor"/></contact>'),
    "a sensor is on it": ('name="foot"', SENSOR.format('<framepos objtype="geom" objname="foot"/>')),
    "a family may ask for it": ('name="foot"', ""),
    "it pushes the water": ('fluidshape="ellipsoid"', ""),
    "a beam can hit it": ("", SENSOR.format('<rangefinder site="s"/>')),
    "a distance is to it": ("", SENSOR.format('<distance body1="b" geom2="floor"/>')),
}


def strength(model: mujoco.MjModel) -> float:
    """The force of the muscle at full activation."""
    data = mujoco.MjData(model)
    data.act[:] = 1
    mujoco.mj_forward(model, data)
    return float(data.actuator("flexor").force[0])


@pytest.mark.parametrize("field", ["body_mass", "body_inertia", "dof_armature", "payload"])
@pytest.mark.parametrize("force", ["", 'force="30"'])
def test_a_muscle_is_as_strong_whatever_it_moves(field, force):
    plain = mujoco.MjModel.from_xml_string(MUSCLE.format(force=force))
    loads = field in ("payload", "dof_armature")
    param = Param("x", "", Uniform(0.5, 4), field=field, mode="add" if loads else "scale")
    model = compile_robot(mujoco.MjSpec.from_string(MUSCLE.format(force=force)), [param], (), visual=True)
    assert strength(model) == pytest.approx(strength(plain), rel=1e-12)
    batch = Batch(model, 3, 1)
    varied = Variation(model, field, None, param.mode, each=False)
    apply(batch, [varied], [np.array([[0.5], [1.0], [4.0]])], np.arange(3))
    assert [strength(batch.get_model(i)) for i in range(3)] == pytest.approx(3 * [strength(plain)], rel=1e-12)


def test_a_mesh_that_is_only_looked_at_is_left_out_and_nothing_moves_otherwise():
    text = DRESSED.format(weighs="auto", geom="", more="")
    assert has_clothes(mujoco.MjSpec.from_string(text))
    bare = compile_robot(mujoco.MjSpec.from_string(text), (), (), visual=False)
    plain = mujoco.MjModel.from_xml_string(text)
    assert (bare.ngeom, bare.nmesh) == (1, 0) and (plain.ngeom, plain.nmesh) == (2, 1)
    for name in ("body_mass", "body_inertia", "body_ipos", "body_iquat"):
        np.testing.assert_array_equal(getattr(bare, name), getattr(plain, name))


@pytest.mark.parametrize("need", [*NEEDED, "it weighs"])
def test_a_mesh_that_matters_is_kept(need):
    geom, more = NEEDED.get(need, ("", ""))
    text = DRESSED.format(weighs="true" if need == "it weighs" else "auto", geom=geom, more=more)
    assert not has_clothes(mujoco.MjSpec.from_string(text))
    mine = compile_robot(mujoco.MjSpec.from_string(text), (), (), visual=False)
    plain = mujoco.MjModel.from_xml_string(text)
    assert (mine.ngeom, mine.nmesh) == (plain.ngeom, plain.nmesh)
    found = []
    for model in (mine, plain):
        data = mujoco.MjData(model)
        mujoco.mj_step(model, data, 100)
        found.append(np.concatenate([data.qpos, data.sensordata]))
    np.testing.assert_array_equal(*found)
