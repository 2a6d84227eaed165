"""From a robot's MJCF to the model that is simulated."""

from collections.abc import Iterable, Sequence

import mujoco
import numpy as np

from metarl.envs.mjcf import compile_spec
from metarl.envs.mjlog import no_console
from metarl.envs.param import Param
from metarl.envs.touch import add_touch
from metarl.envs.variation import FLOOR, fields_of_row, varied_rows

FORCE = 2  # place among a muscle's numbers; negative where it follows from the next one and what is moved
SEEING = {  # sensors to which every geom matters
    mujoco.mjtSensor.mjSENS_RANGEFINDER,
    mujoco.mjtSensor.mjSENS_GEOMDIST,
    mujoco.mjtSensor.mjSENS_GEOMNORMAL,
    mujoco.mjtSensor.mjSENS_GEOMFROMTO,
    mujoco.mjtSensor.mjSENS_PLUGIN,
}
FRAME = {"body_ipos", "body_iquat"}  # where a body's centre of mass and its axes are


def compile_robot(
    spec: mujoco.MjSpec, params: Sequence[Param], contacts: Iterable[tuple[str, str]], visual: bool
) -> mujoco.MjModel:
    """Compile a robot with what its family's parameters and readings need.

    Args:
        spec: the robot; it is changed.
        params: what varies.
        contacts: pairs of geoms or bodies that are read.
        visual: whether meshes that are there for the eye are kept; without them it steps the same.

    Raises:
        InputError: MuJoCo cannot compile it.
    """
    for a, b in contacts:
        add_touch(spec, a, b)
    for param in params:
        if param.field == "actuator_delay":
            _keep_controls(spec, param)
    if not visual:
        _undress(spec)
    model = _compiled(spec)
    if _fix_muscles(spec, model):
        model = _compiled(spec)
    moved = _moved_inertias(model, params)
    if model.body_simple[moved].any():  # a shortcut of MuJoCo's, which forbids it
        for body in spec.bodies:
            if body.id in moved:
                body.simple = False
        model = _compiled(spec)
    for param in params:
        if param.field == FLOOR:
            geoms = varied_rows(model, param)
            model.geom_priority[geoms] = model.geom_priority.max() + 1
    return model


def has_clothes(spec: mujoco.MjSpec) -> bool:
    """Whether a robot has meshes that are there for the eye only."""
    return bool(_for_the_eye(spec))


def _compiled(spec: mujoco.MjSpec) -> mujoco.MjModel:
    with no_console():  # what MuJoCo remarks about others' files is nobody's news
        return compile_spec(spec)


def _keep_controls(spec: mujoco.MjSpec, param: Param) -> None:
    """Let actuators remember controls for as long as they may be late."""
    number = max(dist.high for dist in param.ranges)
    named = param.objects if param.groups is None else [n for group in param.groups.values() for n in group]
    for actuator in spec.actuators:
        of_joint = actuator.trntype == mujoco.mjtTrn.mjTRN_JOINT
        name = actuator.name or (actuator.target if of_joint else f"#{actuator.id}")
        if named is None or name in named:
            longest = {"set": number, "scale": actuator.delay * number, "add": actuator.delay + number}
            samples = int(np.ceil(longest[param.mode] / spec.option.timestep)) + 1
            actuator.nsample = max(actuator.nsample, samples)


def _fix_muscles(spec: mujoco.MjSpec, model: mujoco.MjModel) -> bool:
    """State how strong muscles are that MuJoCo scales by what they move; whether there are any.

    Else it would do so anew for every task, and a muscle be the stronger the heavier its load is.
    """
    found = False
    for actuator in spec.actuators:
        moves = max(model.actuator_acc0[actuator.id], mujoco.mjMINVAL)
        gain = actuator.gaintype == mujoco.mjtGain.mjGAIN_MUSCLE, actuator.gainprm
        bias = actuator.biastype == mujoco.mjtBias.mjBIAS_MUSCLE, actuator.biasprm
        for is_muscle, numbers in (gain, bias):
            if is_muscle and numbers[FORCE] < 0:
                numbers[FORCE], found = numbers[FORCE + 1] / moves, True
    return found


def _for_the_eye(spec: mujoco.MjSpec) -> list[mujoco.MjsGeom]:
    """Meshes that touch nothing and are named by nobody, of bodies whose inertia is stated.

    None where all shapes weigh something, or a sensor measures how far away they are.
    """
    by_shape = spec.compiler.inertiafromgeom == mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_TRUE
    if by_shape or any(sensor.type in SEEING for sensor in spec.sensors):
        return []
    return [
        geom
        for geom in spec.geoms
        if geom.type == mujoco.mjtGeom.mjGEOM_MESH
        and not (geom.contype or geom.conaffinity or geom.name or geom.fluid_ellipsoid)
        and geom.parent.explicitinertial
    ]


def _undress(spec: mujoco.MjSpec) -> None:
    """Take off what is there for the eye: nothing moves or is measured otherwise."""
    for geom in _for_the_eye(spec):
        spec.delete(geom)
    used = {geom.meshname for geom in spec.geoms} | {
        name for sensor in spec.sensors for name in (sensor.objname, sensor.refname)
    }
    for mesh in list(spec.meshes):
        if mesh.name not in used and (mesh.name or mesh.file):
            spec.delete(mesh)


def _moved_inertias(model: mujoco.MjModel, params: Sequence[Param]) -> list[int]:
    """Bodies whose centre of mass or axes vary."""
    return sorted(
        {
            int(body)
            for param in params
            if FRAME & {*fields_of_row(param.field)}
            for body in varied_rows(model, param)
        }
    )
