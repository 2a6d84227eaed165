"""What an action in [-1, 1] is to the actuators."""

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from metarl.errors import InputError, unknown

Numbers = float | Sequence[float]


@dataclass(frozen=True)
class Controls:
    """An action map for a robot: control = middle + scale * action, or for increments, what it was, and that.

    Attributes:
        middle: (nu,) the controls of action 0, and those with which an episode begins.
        scale: (nu,) of actions.
        low, high: (nu,) the actuators' ranges; infinite where they have none.
        adds: whether actions are added to the controls before.
    """

    middle: np.ndarray
    scale: np.ndarray
    low: np.ndarray
    high: np.ndarray
    adds: bool = False

    def of(self, action: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Controls, (N, nu), for actions in [-1, 1], (N, nu), after the controls before, (N, nu)."""
        if self.adds:
            return np.clip(before + self.scale * action, self.low, self.high)
        return self.middle + self.scale * action


@dataclass(frozen=True)
class Direct:
    """From the low end of each actuator's control range, -1, to the high end, 1; itself where it has none."""

    def controls(self, model: mujoco.MjModel) -> Controls:
        """For this robot."""
        low, high = model.actuator_ctrlrange.T
        limited = model.actuator_ctrllimited.astype(bool)
        middle = np.where(limited, (low + high) / 2, 0.0)
        return Controls(middle, np.where(limited, (high - low) / 2, 1.0), *_range(model))


@dataclass(frozen=True)
class Around:
    """Around a pose: control = pose + scale * action. An episode begins with the pose's controls.

    Attributes:
        pose: a keyframe of the robot, or the controls themselves.
        scale: of actions, in the actuators' units; one number, or one for each.
    """

    pose: str | Sequence[float] = "home"
    scale: Numbers = 1.0

    def controls(self, model: mujoco.MjModel) -> Controls:
        """For this robot."""
        return Controls(_pose(model, self.pose), _each(model, "scale", self.scale), *_range(model))


@dataclass(frozen=True)
class Increment:
    """Steps from where the controls were: control += scale * action, within the actuators' ranges.

    Attributes:
        scale: of actions, in the actuators' units a step; one number, or one for each.
        pose: a keyframe of the robot, or the controls themselves, with which an episode begins.
    """

    scale: Numbers
    pose: str | Sequence[float] = "home"

    def controls(self, model: mujoco.MjModel) -> Controls:
        """For this robot."""
        scale = _each(model, "scale", self.scale)
        return Controls(_pose(model, self.pose), scale, *_range(model), adds=True)


ActionMap = Direct | Around | Increment


def keyframe(model: mujoco.MjModel, name: str) -> int | None:
    """A keyframe's number; None if the robot has none of this name."""
    found = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_KEY, name)
    return found if found >= 0 else None


def _pose(model: mujoco.MjModel, pose: str | Sequence[float]) -> np.ndarray:
    """Controls of a pose: a keyframe's own, or else those that hold its joints where they are."""
    if not isinstance(pose, str):
        return _each(model, "pose", pose)
    key = keyframe(model, pose)
    if key is None:
        known = [mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_KEY, i) for i in range(model.nkey)]
        raise unknown("keyframe", pose, [name for name in known if name])
    if model.key_ctrl[key].any():
        return model.key_ctrl[key].copy()
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, key)
    mujoco.mj_fwdPosition(model, data)
    servo = model.actuator_biasprm[:, 1] != 0
    return np.where(servo, data.actuator_length, 0.0)


def _each(model: mujoco.MjModel, what: str, numbers: Numbers) -> np.ndarray:
    array = np.asarray(numbers, float)
    if array.shape not in ((), (model.nu,)):
        raise InputError(
            f"the actions' {what} takes 1 number or {model.nu}, one an actuator, not {array.size}"
        )
    return np.broadcast_to(array, (model.nu,)).copy()


def _range(model: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray]:
    low, high = model.actuator_ctrlrange.T
    limited = model.actuator_ctrllimited.astype(bool)
    return np.where(limited, low, -np.inf), np.where(limited, high, np.inf)
