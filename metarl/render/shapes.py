"""A robot's and a marker's shapes as triangle meshes, for renderers that are not MuJoCo's."""

from dataclasses import dataclass

import mujoco
import numpy as np

from metarl.envs import Marker

try:
    import trimesh
except ImportError:
    trimesh = None

VISIBLE_GROUPS = 3  # geoms of groups 0 to 2 are drawn, as in MuJoCo's own viewer
GEOM = mujoco.mjtGeom
UNPAINTED = (0.5, 0.5, 0.5, 1.0)  # MuJoCo's colour of a geom that was given none


@dataclass(frozen=True)
class Shape:
    """A mesh of one colour.

    Attributes:
        vertices: (V, 3) m, in the frame of what it belongs to.
        faces: (F, 3) indices.
        colour: red, green, blue and opacity, 0 to 1.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colour: tuple[float, float, float, float]


def robot_shapes(model: mujoco.MjModel) -> dict[int, list[Shape]]:
    """The shapes of every body by its number, in the body's frame; no planes."""
    out: dict[int, list[Shape]] = {}
    for g in range(model.ngeom):
        kind, opacity = GEOM(model.geom_type[g]), colour(model, g)[3]
        if kind in (GEOM.mjGEOM_PLANE, GEOM.mjGEOM_HFIELD) or not opacity:
            continue
        if model.geom_group[g] >= VISIBLE_GROUPS:
            continue
        mesh = _mesh(model, g)
        turn = np.zeros(9)
        mujoco.mju_quat2Mat(turn, model.geom_quat[g])
        vertices = mesh.vertices @ turn.reshape(3, 3).T + model.geom_pos[g]
        shape = Shape(vertices.astype(np.float32), mesh.faces.astype(np.uint32), colour(model, g))
        out.setdefault(int(model.geom_bodyid[g]), []).append(shape)
    return out


def marker_shape(marker: Marker) -> Shape:
    """A marker as it is now, around its position."""
    if marker.kind == "sphere":
        mesh = trimesh.creation.icosphere(subdivisions=2, radius=marker.size[0])
    elif marker.kind == "cylinder":
        mesh = trimesh.creation.cylinder(marker.size[0], 2 * marker.size[1], sections=24)
    elif marker.kind == "box":
        mesh = trimesh.creation.box(2 * np.array(marker.size))
    else:
        mesh = _arrow(np.array(marker.to) - marker.position, marker.size[0])
    return Shape(mesh.vertices.astype(np.float32), mesh.faces.astype(np.uint32), marker.colour)


def _mesh(model: mujoco.MjModel, g: int) -> "trimesh.Trimesh":
    kind, size = GEOM(model.geom_type[g]), model.geom_size[g]
    if kind == GEOM.mjGEOM_BOX:
        return trimesh.creation.box(2 * size)
    if kind == GEOM.mjGEOM_CYLINDER:
        return trimesh.creation.cylinder(size[0], 2 * size[1], sections=24)
    if kind == GEOM.mjGEOM_CAPSULE:
        return trimesh.creation.capsule(2 * size[1], size[0], count=(16, 12))
    if kind in (GEOM.mjGEOM_SPHERE, GEOM.mjGEOM_ELLIPSOID):
        mesh = trimesh.creation.icosphere(subdivisions=2)
        return mesh.apply_scale(size if kind == GEOM.mjGEOM_ELLIPSOID else size[0])
    m = model.geom_dataid[g]
    first, n = model.mesh_vertadr[m], model.mesh_vertnum[m]
    first_face, n_faces = model.mesh_faceadr[m], model.mesh_facenum[m]
    return trimesh.Trimesh(
        model.mesh_vert[first : first + n],
        model.mesh_face[first_face : first_face + n_faces],
        process=False,
    )


def _arrow(along: np.ndarray, width: float) -> "trimesh.Trimesh":
    """A shaft and a head, from the origin to `along`."""
    length = max(float(np.linalg.norm(along)), 1e-6)
    head = min(6 * width, length)
    shaft = trimesh.creation.cylinder(width, max(length - head, 1e-6), sections=16)
    shaft.apply_translation((0, 0, (length - head) / 2))
    tip = trimesh.creation.cone(2.2 * width, head, sections=16)
    tip.apply_translation((0, 0, length - head))
    mesh = trimesh.util.concatenate([shaft, tip])
    return mesh.apply_transform(trimesh.geometry.align_vectors((0, 0, 1), along / length))


def colour(model: mujoco.MjModel, g: int) -> tuple[float, float, float, float]:
    """A geom's own colour, or else its material's, with the mean of its texture."""
    rgba, material = model.geom_rgba[g], model.geom_matid[g]
    if material >= 0 and (rgba == UNPAINTED).all():
        rgba = model.mat_rgba[material].copy()
        texture = model.mat_texid[material, mujoco.mjtTextureRole.mjTEXROLE_RGB]
        if texture >= 0:
            first, width = model.tex_adr[texture], model.tex_nchannel[texture]
            size = model.tex_height[texture] * model.tex_width[texture] * width
            pixels = model.tex_data[first : first + size].reshape(-1, width)
            rgba[:3] *= pixels[:, :3].mean(axis=0) / 255
    return tuple(rgba.tolist())
