"""Frames of recorded states, drawn off screen."""

import copy
from collections.abc import Iterable

import mujoco
import numpy as np

from metarl.envs.family import TaskFamily
from metarl.envs.gl import use_opengl
from metarl.envs.markers import Marker
from metarl.envs.task import Task

CAMERAS = ("track", "top")  # a model's camera of one of these names is used, else one that follows it


class FrameRenderer:
    """Draws states of a family's robot. Needs OpenGL, which nothing else here does.

    Args:
        family: whose robot.
        width, height: of a frame, pixels.

    Raises:
        InputError: this machine offers no OpenGL.
    """

    def __init__(self, family: TaskFamily, width: int = 480, height: int = 480):
        use_opengl()
        self.family = family
        model = copy.copy(family.portrait)  # the off-screen buffer grows here and not in the simulated model
        model.vis.global_.offwidth = max(width, model.vis.global_.offwidth)
        model.vis.global_.offheight = max(height, model.vis.global_.offheight)
        self._renderer = mujoco.Renderer(model, height, width)
        self._model, self._data = model, mujoco.MjData(model)
        self._camera = _camera(family, model)

    def frame(self, state: np.ndarray, task: Task | None = None) -> np.ndarray:
        """Draw one state, and what the family marks of the task.

        Args:
            state: a row of `BatchSim.state`.
            task: whose goal to show; None shows none.

        Returns:
            (height, width, 3) uint8.
        """
        pose(self._model, self._data, state)
        self._renderer.update_scene(self._data, self._camera)
        if task is not None:
            add_markers(self._renderer.scene, self.family.seen_markers(task, self._data))
        # Without a GPU these two cost several times the rest.
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        return self._renderer.render()

    def close(self) -> None:
        """Free the OpenGL context."""
        self._renderer.close()


def pose(model: mujoco.MjModel, data: mujoco.MjData, state: np.ndarray) -> None:
    """Put a robot where a row of `BatchSim.state` says, as far as one can see."""
    mujoco.mj_setState(model, data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    mujoco.mj_camlight(model, data)
    mujoco.mj_tendon(model, data)


def add_markers(scene: mujoco.MjvScene, markers: Iterable[Marker]) -> None:
    """Put markers into a scene, as many as it has room for."""
    for marker in list(markers)[: scene.maxgeom - scene.ngeom]:
        marker.write(scene.geoms[scene.ngeom])
        scene.ngeom += 1


def viewing_model(family: TaskFamily) -> mujoco.MjModel:
    """A copy of a family's robot that viewers look at from where pictures are taken."""
    model = copy.copy(family.portrait)
    camera = _camera(family, model)
    if camera.type == mujoco.mjtCamera.mjCAMERA_FIXED:
        model.vis.global_.cameraid = camera.fixedcamid
    model.vis.global_.azimuth, model.vis.global_.elevation = camera.azimuth, camera.elevation
    if camera.type == mujoco.mjtCamera.mjCAMERA_FREE:
        model.stat.center[:] = camera.lookat
    return model


def _camera(family: TaskFamily, model: mujoco.MjModel) -> mujoco.MjvCamera:
    camera = mujoco.MjvCamera()
    mujoco.mjv_defaultFreeCamera(model, camera)
    named = [i for name in CAMERAS if (i := mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name)) >= 0]
    moving = np.flatnonzero(model.body_dofnum)
    view = family.view
    if view is None and named:
        camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, named[0]
        return camera
    if view is not None:
        camera.distance, camera.azimuth, camera.elevation = view.distance, view.azimuth, view.elevation
    if view is not None and view.lookat is not None:
        camera.lookat[:] = view.lookat
    elif len(moving):
        camera.type, camera.trackbodyid = mujoco.mjtCamera.mjCAMERA_TRACKING, moving[0]
    return camera
