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
        pose: a keyframe of the robot, where episodes then begin, or the controls themselves.
        scale: of actions, in the actuators' units; one number, or one for each.
    """

    pose: str | Sequence[float] = "home"
    scale: Numbers = 1.0

    def controls(self, model: mujoco.MjModel) -> Controls:
        """For this robot."""
        return Controls(_pose(model, self.pose), _scale(model, self.scale), *_range(model))


@dataclass(frozen=True)
class Increment:
    """Steps from where the controls were: control += scale * action, within the actuators' ranges.

    Attributes:
        scale: of actions, in the actuators' units a step; one number, or one for each.
        pose: a keyframe of the robot, where episodes then begin, or the controls with which they do.
    """

    scale: Numbers
    pose: str | Sequence[float] = "home"

    def controls(self, model: mujoco.MjModel) -> Controls:
        """For this robot."""
        scale = _scale(model, self.scale)
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
        error = unknown("keyframe", pose, [name for name in known if name])
        raise InputError(f"{error}; a pose may also be {model.nu} controls")
    if model.key_ctrl[key].any():
        return model.key_ctrl[key].copy()
    return np.where(_integrates(model), 0.0, holding(model, model.key_qpos[key]))


def holding(model: mujoco.MjModel, qpos: np.ndarray) -> np.ndarray:
    """What actuators are to be asked for to hold a pose, (nu,): position servos where they are, others 0."""
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_fwdPosition(model, data)
    gain, bias = model.actuator_gainprm[:, 0], model.actuator_biasprm
    servo = (model.actuator_biastype == mujoco.mjtBias.mjBIAS_AFFINE) & (bias[:, 1] != 0) & (gain != 0)
    force = bias[:, 0] + bias[:, 1] * data.actuator_length
    return 0.0 - np.divide(force, gain, out=np.zeros(model.nu), where=servo)


def activations(model: mujoco.MjModel, controls: Controls, home: np.ndarray, key: int | None) -> np.ndarray:
    """What actuators with a state of their own begin an episode with, (na,), so that they hold still.

    Args:
        model: the robot.
        controls: its action map.
        home: (nq,) where the episode begins.
        key: the keyframe that this is from, which says it where it has any; None if it is from none.
    """
    if key is not None and model.key_act[key].any():
        return model.key_act[key].copy()
    act = np.zeros(model.na)
    if len(model.actuator_actnum) != model.nu:  # some are told several things at once
        return act
    held = holding(model, home)
    filters = np.isin(model.actuator_dyntype, (mujoco.mjtDyn.mjDYN_FILTER, mujoco.mjtDyn.mjDYN_FILTEREXACT))
    for wanted, which in ((held, _integrates(model)), (controls.middle, filters)):
        for i in np.flatnonzero(which & (model.actuator_actnum == 1)):
            low, high = model.actuator_actrange[i] if model.actuator_actlimited[i] else (-np.inf, np.inf)
            act[model.actuator_actadr[i]] = np.clip(wanted[i], low, high)
    return act


def _integrates(model: mujoco.MjModel) -> np.ndarray:
    """Which actuators are told how fast their target moves, (nu,) bool."""
    return model.actuator_dyntype == mujoco.mjtDyn.mjDYN_INTEGRATOR


def _each(model: mujoco.MjModel, what: str, numbers: Numbers) -> np.ndarray:
    try:
        array = np.asarray(numbers, float)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if not np.isfinite(array).all():
        raise InputError(f"the actions' {what}={numbers!r} is not made of numbers")
    if array.shape not in ((), (model.nu,)):
        raise InputError(
            f"the actions' {what} takes 1 number or {model.nu}, one an actuator, not {array.size}"
        )
    return np.broadcast_to(array, (model.nu,)).copy()


def _scale(model: mujoco.MjModel, numbers: Numbers) -> np.ndarray:
    scale = _each(model, "scale", numbers)
    if not scale.any():
        raise InputError("the actions' scale is 0: none of them would do anything")
    return scale


def _range(model: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray]:
    low, high = model.actuator_ctrlrange.T
    limited = model.actuator_ctrllimited.astype(bool)
    return np.where(limited, low, -np.inf), np.where(limited, high, np.inf)
