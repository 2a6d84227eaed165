"""Frames of recorded states, drawn off screen."""

import copy

import mujoco
import numpy as np

from envs.errors import InputError
from envs.family import TaskFamily

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
        model = copy.copy(family.model)  # the off-screen buffer grows here and not in the simulated model
        model.vis.global_.offwidth = max(width, model.vis.global_.offwidth)
        model.vis.global_.offheight = max(height, model.vis.global_.offheight)
        try:
            self._renderer = mujoco.Renderer(model, height, width)
        except (ImportError, AttributeError, RuntimeError, mujoco.FatalError) as error:
            raise InputError(
                f"cannot render ({str(error).splitlines()[0]}); without a display, set MUJOCO_GL=egl "
                "or MUJOCO_GL=osmesa before starting Python"
            ) from None
        self._model, self._data = model, mujoco.MjData(model)
        self._camera = _camera(model)

    def frame(self, state: np.ndarray) -> np.ndarray:
        """Draw one state, a row of `BatchSim.state`.

        Returns:
            (height, width, 3) uint8.
        """
        mujoco.mj_setState(self._model, self._data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        mujoco.mj_tendon(self._model, self._data)
        self._renderer.update_scene(self._data, self._camera)
        # Without a GPU these two cost several times the rest.
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        return self._renderer.render()

    def close(self) -> None:
        """Free the OpenGL context."""
        self._renderer.close()


def _camera(model: mujoco.MjModel) -> mujoco.MjvCamera:
    camera = mujoco.MjvCamera()
    mujoco.mjv_defaultFreeCamera(model, camera)
    named = [i for name in CAMERAS if (i := mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name)) >= 0]
    moving = np.flatnonzero(model.body_dofnum)
    if named:
        camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, named[0]
    elif len(moving):
        camera.type, camera.trackbodyid = mujoco.mjtCamera.mjCAMERA_TRACKING, moving[0]
    return camera
