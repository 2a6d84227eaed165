"""What a robot has to know about a policy: which joint is which, and what its numbers mean."""

from typing import Any

import mujoco
import numpy as np

from metarl.envs import BatchSim, LogUniform, TaskFamily

SINGLE = mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_HINGE  # joints that one number describes
ON_JOINT = mujoco.mjtTrn.mjTRN_JOINT, mujoco.mjtTrn.mjTRN_JOINTINPARENT


def describe_robot(family: TaskFamily) -> dict[str, Any]:
    """A robot in plain values, its actuators in the order of actions.

    Returns:
        By the names that tools for deployment know: joint_names, default_joint_pos, action_scale,
        joint_stiffness and joint_damping where actuators are servos, observation_names, control_dt.
        And actuator_names, action_offset, action_adds (whether an action is added to the control before,
        which begins as the offset, and not to the offset), control_range, observation_slices,
        reward_terms, whose sum is the reward, and of what the policy is told, if it is told anything,
        command_names, command_units, command_ranges (of training, which are -1 and 1 in an observation)
        and command_scales ("linear" or "log").
    """
    model, controls = family.model, family.controls
    joints = [_joint(model, i) for i in range(model.nu)]
    names = [_name(model, mujoco.mjtObj.mjOBJ_ACTUATOR, i) or f"actuator{i}" for i in range(model.nu)]
    return {
        "joint_names": [
            name if j is None else _name(model, mujoco.mjtObj.mjOBJ_JOINT, j) or f"joint{j}"
            for j, name in zip(joints, names, strict=True)
        ],
        "default_joint_pos": [
            None if j is None else float(family.home[model.jnt_qposadr[j]]) for j in joints
        ],
        "actuator_names": names,
        "action_scale": controls.scale.tolist(),
        "action_offset": controls.middle.tolist(),
        "action_adds": controls.adds,
        "control_range": [
            [float(end) if np.isfinite(end) else None for end in ends]
            for ends in zip(controls.low, controls.high, strict=True)
        ],
        **_servos(model),
        **_observation(family),
        **_commands(family),
        "reward_terms": _reward_terms(family),
        "control_dt": family.dt,
    }


def _joint(model: mujoco.MjModel, actuator: int) -> int | None:
    """The joint that an actuator drives, if it is one that a single number describes."""
    joint = int(model.actuator_trnid[actuator, 0])
    on_joint = model.actuator_trntype[actuator] in [int(kind) for kind in ON_JOINT]
    return joint if on_joint and model.jnt_type[joint] in [int(kind) for kind in SINGLE] else None


def _servos(model: mujoco.MjModel) -> dict[str, list[float | None]]:
    """Stiffness and damping at the joints, of those actuators that are servos; nothing where none is."""
    # force = gain * ctrl + bias[1] * length + bias[2] * velocity, and length = gear * joint
    affine = model.actuator_biastype == int(mujoco.mjtBias.mjBIAS_AFFINE)
    stiffness, damping = -(model.actuator_biasprm[:, 1:3] * model.actuator_gear[:, :1] ** 2).T
    servo = affine & ((stiffness != 0) | (damping != 0))
    if not servo.any():
        return {}
    return {
        name: [float(x) + 0.0 if is_servo else None for x, is_servo in zip(values, servo, strict=True)]
        for name, values in (("joint_stiffness", stiffness), ("joint_damping", damping))
    }


def _observation(family: TaskFamily) -> dict[str, Any]:
    """Names of the parts of an observation, and from where to where each is; commands stand at its end."""
    parts = list(family.parts.items())
    end = max(part.stop for _, part in parts)
    for param in family.told_params:
        parts.append((f"{param.name}_command", slice(end, end + family.size(param))))
        end += family.size(param)
    return {
        "observation_names": [name for name, _ in parts],
        "observation_slices": [[part.start, part.stop] for _, part in parts],
    }


def _commands(family: TaskFamily) -> dict[str, Any]:
    """What somebody has to tell the policy, and how that becomes numbers of an observation."""
    told = family.told_params
    if not told:
        return {}
    return {
        "command_names": [param.name for param in told],
        "command_units": [param.unit for param in told],
        "command_ranges": [[float(param.train.low), float(param.train.high)] for param in told],
        "command_scales": ["log" if isinstance(param.train, LogUniform) else "linear" for param in told],
    }


def _reward_terms(family: TaskFamily) -> list[str]:
    """Names of what the reward is made of."""
    sim = BatchSim(family, 1, n_threads=1)
    sim.start(np.random.default_rng(0))
    return list(sim.step(np.zeros((1, family.action_dim))).terms)


def _name(model: mujoco.MjModel, kind: mujoco.mjtObj, i: int) -> str:
    return mujoco.mj_id2name(model, kind, i) or ""
