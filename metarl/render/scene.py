"""What a page shows of a robot: its shapes, the floor, from where to look; and how strongly one can pull."""

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

from metarl.envs import BatchSim, TaskFamily
from metarl.envs.render import CAMERAS
from metarl.render.shapes import GEOM, UNPAINTED, VISIBLE_GROUPS, colour

ROOM = 1.3  # of the distance in clips: a page is wider, and its camera's angle smaller
STEEPEST = 0.5  # cosine of a floor's slope
WATCHED = 100  # steps of a look at how deep a robot comes that has no floor
WRAP = mujoco.mjtWrap
TRAVELLING = (mujoco.mjtJoint.mjJNT_FREE, mujoco.mjtJoint.mjJNT_SLIDE)
KINDS = {
    GEOM.mjGEOM_PLANE: "plane",
    GEOM.mjGEOM_BOX: "box",
    GEOM.mjGEOM_CYLINDER: "cylinder",
    GEOM.mjGEOM_CAPSULE: "capsule",
    GEOM.mjGEOM_SPHERE: "sphere",
    GEOM.mjGEOM_ELLIPSOID: "ellipsoid",
    GEOM.mjGEOM_MESH: "mesh",
}


def page_scene(family: TaskFamily) -> dict[str, Any]:
    """What can be seen of a family's robot, as plain JSON."""
    model = family.model
    moving, floor = np.flatnonzero(model.body_dofnum), _floor(model)
    return {
        "geoms": [_geom(model, g) for g in range(model.ngeom) if g != floor and _is_seen(model, g)],
        "tendons": _tendons(model),
        "pulls": _pulls(model),
        "root": int(moving[0]) if len(moving) else 0,
        "floor": _place_of_floor(family, floor),
        "view": _view(family),
    }


def _floor(model: mujoco.MjModel) -> int | None:
    """The first plane that one can stand on."""
    planes = np.flatnonzero(model.geom_type == GEOM.mjGEOM_PLANE)
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    return next((int(g) for g in planes if data.geom_xmat[g, 8] > STEEPEST), None)


def _place_of_floor(family: TaskFamily, floor: int | None) -> dict[str, list[float]]:
    """Where the floor is, and how it is turned; of a robot that has none, below what it does by itself."""
    model = family.model
    data, turn = mujoco.MjData(model), np.zeros(4)
    if floor is not None:
        mujoco.mj_kinematics(model, data)
        mujoco.mju_mat2Quat(turn, data.geom_xmat[floor])
        return {"pos": data.geom_xpos[floor].tolist(), "quat": turn.tolist()}
    sim, rng = BatchSim(family, 1, 1), np.random.default_rng(0)
    seen = [g for g in range(model.ngeom) if _is_seen(model, g)]
    sim.start(rng)
    lows, sizes = [], []
    for _ in range(WATCHED):
        data.qpos[:] = sim.readings.qpos[0]
        mujoco.mj_kinematics(model, data)
        low, high = _ends(model, data, seen)
        lows.append(low[2])
        sizes.append(high[2] - low[2])
        if sim.step(rng.uniform(-1, 1, (1, family.action_dim))).failed[0]:
            break
    return {"pos": [0.0, 0.0, float(max(min(lows), lows[0] - sizes[0]))], "quat": [1.0, 0.0, 0.0, 0.0]}


def _ends(model: mujoco.MjModel, data: mujoco.MjData, geoms: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Corners of a box around geoms, (3,) each."""
    boxes = model.geom_aabb[geoms].reshape(-1, 2, 3)
    turn = data.geom_xmat[geoms].reshape(-1, 3, 3)
    middle = data.geom_xpos[geoms] + np.einsum("gij,gj->gi", turn, boxes[:, 0])
    half = np.einsum("gij,gj->gi", np.abs(turn), boxes[:, 1])
    if not len(middle):
        return np.zeros(3), np.zeros(3)
    return (middle - half).min(axis=0), (middle + half).max(axis=0)


def _tendons(model: mujoco.MjModel) -> list[dict[str, Any]]:
    """Those that one can see."""
    spatial = [t for t in range(model.ntendon) if model.wrap_type[model.tendon_adr[t]] != WRAP.mjWRAP_JOINT]
    seen = [t for t in spatial if model.tendon_group[t] < VISIBLE_GROUPS]
    return [{"tendon": t, "width": float(model.tendon_width[t]), "rgba": _painted(model, t)} for t in seen]


def _painted(model: mujoco.MjModel, tendon: int) -> list[float]:
    """A tendon's own colour, or else its material's."""
    material = model.tendon_matid[tendon]
    own = model.tendon_rgba[tendon]
    return (own if material < 0 or (own != UNPAINTED).any() else model.mat_rgba[material]).tolist()


def _is_seen(model: mujoco.MjModel, g: int) -> bool:
    """Whether a geom is drawn; of a robot that has nothing to be seen, what it touches with is."""
    groups = model.geom_group[_movable(model)[model.geom_bodyid]]
    seen = model.geom_group[g] < VISIBLE_GROUPS or not (groups < VISIBLE_GROUPS).any()
    return bool(seen and GEOM(model.geom_type[g]) in KINDS and colour(model, g)[3] > 0)


def _geom(model: mujoco.MjModel, g: int) -> dict[str, Any]:
    return {
        "body": int(model.geom_bodyid[g]),
        "type": KINDS[GEOM(model.geom_type[g])],
        "size": model.geom_size[g].tolist(),
        "pos": model.geom_pos[g].tolist(),
        "quat": model.geom_quat[g].tolist(),
        "rgba": colour(model, g),
        "mesh": int(model.geom_dataid[g]),
    }


def _movable(model: mujoco.MjModel) -> np.ndarray:
    """Which bodies hang on a joint, (nbody,)."""
    return model.body_dofnum[model.body_weldid] > 0


def _travels(model: mujoco.MjModel) -> bool:
    """Whether a robot may go anywhere: it hangs on no hinge."""
    joints = model.jnt_type[model.jnt_bodyid == model.jnt_bodyid[0]] if model.njnt else []
    return any(kind in TRAVELLING for kind in joints)


def _pulls(model: mujoco.MjModel) -> list[float | None]:
    """How heavy each body is with all that moves with it, kg; None of those that cannot move."""
    top = np.arange(model.nbody)
    for body in range(1, model.nbody):
        if _movable(model)[parent := model.body_parentid[body]]:
            top[body] = top[parent]
    return [
        float(model.body_subtreemass[t]) if moves else None
        for t, moves in zip(top, _movable(model), strict=True)
    ]


def _view(family: TaskFamily) -> dict[str, Any]:
    """From where to look, how far the robot reaches, and the size of the floor's tiles, m."""
    model, view = family.model, family.view
    data = mujoco.MjData(model)
    data.qpos[:] = family.draw_states(np.random.default_rng(0), 1, family.stack(family.tasks("test")[:1]))[0][
        0
    ]
    mujoco.mj_forward(model, data)
    moving = np.flatnonzero(model.body_dofnum)
    root = data.xipos[moving[0]] if len(moving) else np.zeros(3)
    seen = [g for g in range(model.ngeom) if _is_seen(model, g) and _movable(model)[model.geom_bodyid[g]]]
    ends = [data.geom_xpos[g] + s * model.geom_rbound[g] for g in seen for s in (-1, 1)] or [np.zeros(3)]
    size = float(np.ptp(ends, axis=0).max()) or 1.0
    middle = (np.max(ends, axis=0) + np.min(ends, axis=0)) / 2
    distance, azimuth, elevation, lookat = 2.2 * size, 90.0, -15.0, None
    named = [c for n in CAMERAS if (c := mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, n)) >= 0]
    if view is not None:
        distance, azimuth, elevation, lookat = view.distance, view.azimuth, view.elevation, view.lookat
    elif named:
        at, ahead = data.cam_xpos[named[0]], -data.cam_xmat[named[0]].reshape(3, 3)[:, 2]
        azimuth = float(np.degrees(np.arctan2(ahead[1], ahead[0]))) if abs(ahead[2]) < 0.99 else 90.0
        elevation = float(np.degrees(np.arcsin(np.clip(ahead[2], -1, 1))))
        distance = float(np.linalg.norm(at - root))
        if model.cam_mode[named[0]] == mujoco.mjtCamLight.mjCAMLIGHT_FIXED:
            lookat = (at + ahead * distance).tolist()
    return {
        "distance": float(distance if lookat else max(ROOM * distance, 2.0 * size)),
        "azimuth": float(azimuth),
        "elevation": float(elevation),
        "lookat": None if lookat is None else [float(x) for x in lookat],
        "height": float(middle[2]),
        "beside": [0.0, 0.0] if _travels(model) else (middle - root)[:2].tolist(),
        "reach": float(max(size, 0.5 * distance)),
        "tile": float(10 ** (np.ceil(np.log10(distance / 2.5)) - 1)),  # 1 m from 2.5 to 25 m
    }
