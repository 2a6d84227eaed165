"""From a robot's MJCF to the model that is simulated."""

from collections.abc import Iterable, Sequence

import mujoco
import numpy as np

from metarl.envs.mjcf import compile_spec
from metarl.envs.mjlog import no_console
from metarl.envs.param import Param
from metarl.envs.touch import add_touch
from metarl.envs.variation import FLOOR, PAYLOAD, PLACE, fields_of_row

NUDGE = 1e-6  # m, by which a centre of mass is off its body's frame, and turned, while it is compiled
INERTIAL = {"body_ipos", "body_iquat"}


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
    moved = _moved_inertias(model, params)
    if moved:
        model = _recompiled(spec, model, moved)
    for param in params:
        if param.field == FLOOR:
            geoms = [model.geom(name).id for name in param.objects or ()]
            model.geom_priority[geoms] = model.geom_priority.max() + 1
    return model


def has_clothes(spec: mujoco.MjSpec) -> bool:
    """Whether a robot has meshes that are there for the eye only."""
    return any(_for_the_eye(geom) for geom in spec.geoms)


def _compiled(spec: mujoco.MjSpec) -> mujoco.MjModel:
    with no_console():  # what MuJoCo remarks about others' files is nobody's news
        return compile_spec(spec)


def _keep_controls(spec: mujoco.MjSpec, param: Param) -> None:
    """Let actuators remember controls for as long as they may be late."""
    longest = max(dist.high for dist in param.ranges)
    samples = int(np.ceil(longest / spec.option.timestep)) + 1
    for actuator in spec.actuators:
        if param.objects is None or actuator.name in param.objects:
            actuator.nsample = max(actuator.nsample, samples)


def _for_the_eye(geom: mujoco.MjsGeom) -> bool:
    collides = geom.contype or geom.conaffinity
    return geom.type == mujoco.mjtGeom.mjGEOM_MESH and not collides and bool(geom.parent.explicitinertial)


def _undress(spec: mujoco.MjSpec) -> None:
    """Take off meshes that touch nothing, of bodies whose inertia is stated: nothing moves otherwise."""
    for geom in list(spec.geoms):
        if _for_the_eye(geom):
            spec.delete(geom)
    used = {geom.meshname for geom in spec.geoms}
    for mesh in list(spec.meshes):
        if mesh.name not in used and (mesh.name or mesh.file):
            spec.delete(mesh)


def _moved_inertias(model: mujoco.MjModel, params: Sequence[Param]) -> list[int]:
    """Bodies whose centre of mass or axes vary, and that MuJoCo computes by a shortcut that forbids it."""
    bodies: list[int] = []
    for param in params:
        if param.field in (PAYLOAD, PLACE) or INERTIAL & {*fields_of_row(param.field)}:
            names = param.objects or [model.body(i).name for i in range(1, model.nbody)]
            bodies += [
                found
                for name in names
                if (found := mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, name)) > 0
            ]
    return [b for b in dict.fromkeys(bodies) if model.body_simple[b] or model.body_sameframe[b]]


def _recompiled(spec: mujoco.MjSpec, model: mujoco.MjModel, bodies: Sequence[int]) -> mujoco.MjModel:
    """The same robot without shortcuts for some bodies."""
    for b in bodies:
        body = spec.body(model.body(b).name)
        body.explicitinertial, body.mass = True, model.body_mass[b]
        turned = model.body_iquat[b] + NUDGE
        body.inertia, body.iquat = model.body_inertia[b], turned / np.linalg.norm(turned)
        body.ipos = model.body_ipos[b] + NUDGE
    again = _compiled(spec)
    for field in ("body_ipos", "body_iquat", "body_inertia"):
        getattr(again, field)[bodies] = getattr(model, field)[bodies]
    mujoco.mj_setConst(again, mujoco.MjData(again))
    return again
