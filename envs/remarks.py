"""What no law says about a family, and an engineer would ask of its robot."""

from collections.abc import Iterator, Sequence

import mujoco
import numpy as np

from metarl.envs.actions import Direct
from metarl.envs.batch_sim import BatchSim
from metarl.envs.check import name_of, zeros
from metarl.envs.family import TaskFamily

N, SECONDS = 16, 1.0  # robots that do nothing, and how long their motors are looked at
OFTEN = 0.5  # of the robots, or of the time
NAMED = 4  # in one remark
BODY, JOINT, ACTUATOR = mujoco.mjtObj.mjOBJ_BODY, mujoco.mjtObj.mjOBJ_JOINT, mujoco.mjtObj.mjOBJ_ACTUATOR


def remarks(family: TaskFamily) -> Iterator[str]:
    """What is no law, and an engineer would ask about this robot."""
    yield from _idle_remarks(family)
    if not 0.002 <= family.dt <= 0.2:
        yield f"{1 / family.dt:.3g} actions a second: few robots take more than 500 or less than 5"
    model = family.model
    if model.opt.cone == mujoco.mjtCone.mjCONE_ELLIPTIC and model.opt.impratio > 10:
        yield (
            f"contacts are elliptic with impratio {model.opt.impratio:g}: pyramidal ones with 1 step up to 3 "
            "times as fast; change them in `edit`"
        )
    yield from _mass_remarks(family.portrait)
    yield from _pose_remarks(family)
    yield from _time_remarks(family)


def _idle_remarks(family: TaskFamily) -> Iterator[str]:
    """Whether the robot stands if it does nothing, and what that takes."""
    family = family.quiet()
    sim, seconds, model = BatchSim(family, N, 1), family.dt, family.model
    sim.start(np.random.default_rng(0))
    force, limits = sim.batch.bind("actuator_force"), _limits(model)
    live, lengths, strained = np.ones(N, bool), np.zeros(N), []
    for _ in range(family.horizon):
        step = sim.step(zeros(family, N), live)
        lengths += live
        if lengths.max() * seconds <= SECONDS:
            strained.append(np.abs(force) >= 0.999 * limits)
        live = live & ~step.terminated & ~step.truncated
        if not live.any():
            break
    if lengths.mean() < 0.5 * family.horizon:
        yield (
            f"with zero actions an episode ends after {lengths.mean():.0f} of {family.horizon} steps, "
            f"{lengths.mean() * seconds:.2g} s: if the robot should stand or hover, {_cure(family)}"
        )
        return
    if not family.defines("terminated") and (root := _root(model)) is not None:
        height = sim.readings.qpos[:, model.jnt_qposadr[root] + 2].mean()
        begun = family.home[model.jnt_qposadr[root] + 2]
        if height < OFTEN * begun:
            cure = f"define `terminated`; if it should stand, {_floor(model)}{_cure(family)}"
            yield (
                f"with zero actions the robot sinks from {begun:.2g} to {height:.2g} m, and no episode ends "
                f"where it has fallen: {cure}"
            )
    later = np.array(strained[len(strained) // 2 :])  # (T, N, nu)
    share = later.mean(axis=(0, 1)) if len(later) else np.zeros(model.nu)
    for_long = np.flatnonzero(share > OFTEN)
    if len(for_long):
        names = _names(model, ACTUATOR, for_long, [f" ({x:.3g})" for x in limits])
        yield f"with zero actions these are at their force limits, and stay there: {names}"


def _limits(model: mujoco.MjModel) -> np.ndarray:
    """The largest force of each actuator, (nu,); infinite where nothing limits it."""
    most = np.abs(model.actuator_forcerange).max(axis=1)
    return np.where((model.actuator_forcelimited != 0) & (most > 0), most, np.inf)


def _root(model: mujoco.MjModel) -> int | None:
    """The free joint on which all that the actuators drive hangs; None if there is none."""
    joints = model.actuator_trnid[model.actuator_trntype == mujoco.mjtTrn.mjTRN_JOINT, 0]
    roots = {int(model.body_rootid[model.jnt_bodyid[j]]) for j in joints}
    if len(roots) != 1:
        return None
    first = int(model.body_jntadr[roots.pop()])
    return first if first >= 0 and model.jnt_type[first] == mujoco.mjtJoint.mjJNT_FREE else None


def _floor(model: mujoco.MjModel) -> str:
    """That there is nothing to stand on, where that is so."""
    touches = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    fixed = model.body_weldid[model.geom_bodyid] == 0
    return "" if (touches & fixed).any() else "add a floor in `edit` (spec.worldbody.add_geom), "


def _cure(family: TaskFamily) -> str:
    """What lets a robot stand that falls with zero actions."""
    if not isinstance(family.action, Direct):
        return "look at the pose that its actions are around, at its servos' kp and their force limits"
    holds = family.controls.middle.any() or (family.model.actuator_biasprm[:, 1] != 0).any()
    servos = "" if holds else "make servos of its motors in `edit` (actuator.set_to_position) and "
    return f"{servos}let actions be around a pose, action = Around('home', 0.4)"


def _names(model: mujoco.MjModel, kind: mujoco.mjtObj, which: np.ndarray, words: Sequence[str]) -> str:
    """What some objects are called, with a word to each of all: the first few, and how many more."""
    said = [name_of(model, kind, int(i)) + words[i] for i in which[:NAMED]]
    return ", ".join(said) + (f" and {len(which) - NAMED} more" if len(which) > NAMED else "")


def _mass_remarks(model: mujoco.MjModel) -> Iterator[str]:
    """Bodies whose mass lies beside what one sees of them.

    A body of an MjSpec that is given its inertia and no `ipos` has its centre of mass as far from itself as
    it is from its parent, and MuJoCo says nothing.
    """
    for b in np.flatnonzero(model.body_mass > 0):
        shapes = np.flatnonzero((model.geom_bodyid == b) & (model.geom_rbound > 0))
        away = np.linalg.norm(model.geom_pos[shapes] - model.body_ipos[b], axis=1)
        if len(shapes) and (away > 2 * model.geom_rbound[shapes]).all():
            place = " ".join(f"{x:.3g}" for x in model.body_ipos[b])
            name = name_of(model, BODY, int(b))
            yield f"the mass of {name} lies outside of it, at {place} m: give its inertia an `ipos`"


def _pose_remarks(family: TaskFamily) -> Iterator[str]:
    """What is odd about where episodes begin."""
    model, data = family.model, mujoco.MjData(family.model)
    for j in np.flatnonzero(model.jnt_limited):
        low, high = model.jnt_range[j]
        at = family.home[model.jnt_qposadr[j]]
        hinge = model.jnt_type[j] in (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE)
        if hinge and not low <= at <= high:
            name = name_of(model, JOINT, int(j))
            yield f"joint {name} begins at {at:.3g}, outside its range {low:.3g} to {high:.3g}"
    controls = family.controls
    for i in np.flatnonzero((controls.middle < controls.low) | (controls.middle > controls.high)):
        name, low, high = name_of(model, ACTUATOR, int(i)), controls.low[i], controls.high[i]
        yield f"action 0 asks {name} for {controls.middle[i]:.3g}, outside {low:.3g} to {high:.3g}"
    data.qpos[:], data.ctrl[:] = family.home, controls.middle
    mujoco.mj_forward(model, data)
    limits = _limits(model)
    strained = np.flatnonzero(np.abs(data.actuator_force) >= limits)
    if len(strained):
        names = _names(model, ACTUATOR, strained, [f" ({x:.3g})" for x in limits])
        yield f"at the pose where an episode begins, these are at their force limits: {names}"


def _time_remarks(family: TaskFamily) -> Iterator[str]:
    """What never happens in an episode, or never reaches the policy."""
    seconds = family.horizon * family.dt
    for what, every in (
        *((f"{p.name} is never another one", p.every) for p in family.params if p.every),
        *(("the robot is never pushed", push.every) for push in family.pushes),
    ):
        if every[0] >= seconds:
            yield f"{what}: every {every[0]:g} to {every[1]:g} s, and an episode ends after {seconds:.3g} s"
    for param in family.params:
        if param.when and param.when[1] > seconds:
            yield (
                f"{param.name} changes in some episodes only: up to {param.when[1]:g} s after they begin, "
                f"and they end after {seconds:.3g} s"
            )
    for param in family.params:
        if param.field == "actuator_delay" and param.mode == "set" and param.train.high >= seconds:
            yield (
                f"{param.name} is up to {param.train.high:g} s, and an episode ends after {seconds:.3g} s: "
                "no control would take effect (actuator_delay is in seconds)"
            )
    for sensor in family.sensors:
        if sensor.delay >= seconds:
            yield f"{sensor.part} is {sensor.delay:g} s late: all that is seen of it is how an episode begins"
        elif 0 < sensor.delay < family.dt / 2:
            yield (
                f"{sensor.part} is {sensor.delay:g} s late, less than half a step of {family.dt:g} s: it is "
                "seen at once"
            )
