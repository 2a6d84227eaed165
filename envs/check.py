"""What can be wrong with a family, found and said in plain words before anybody trains on it for hours."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import mujoco
import numpy as np

from metarl.envs.batch_sim import BatchSim
from metarl.envs.declared import check_declared
from metarl.envs.family import TaskFamily
from metarl.envs.mjcf import robot_files
from metarl.envs.param import Param
from metarl.envs.readings import Readings
from metarl.envs.sensing import marker_graph, sensing_graph
from metarl.envs.task import Task
from metarl.envs.trace import TraceError
from metarl.errors import InputError, with_place

N, STEPS = 64, 40  # simulations and steps of a check
BEGINS = 5  # times that their episodes begin, to see whether that goes well
SAME = 1e-12
FULL = [int(mujoco.mjtWarning.mjWARN_CONTACTFULL), int(mujoco.mjtWarning.mjWARN_CNSTRFULL)]
HERE = str(Path(__file__).parent)


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        law: what has to hold.
        problem: what is wrong, and what to do about it; None where the law holds.
        remark: what cannot be had from the family as it is, though nothing is wrong with it.
    """

    law: str
    problem: str | None = None
    remark: str | None = None


@dataclass(frozen=True)
class Trial:
    """What somebody gets who was not trained.

    Attributes:
        agent: which.
        returns: (N,) of one episode each.
        lengths: (N,) steps.
        terms: mean of each reward term over all steps.
        failures: simulations that blew up.
        steps_per_second: environment steps, all simulations together.
    """

    agent: str
    returns: np.ndarray
    lengths: np.ndarray
    terms: dict[str, float]
    failures: int
    steps_per_second: float


def check(family: TaskFamily) -> Iterator[Finding]:
    """Try the laws that every family has to keep, and stop where the others make no sense."""
    sound = True
    for law, find in CHECKS.items():
        try:
            with np.errstate(all="ignore"):  # what is not finite is found by a check of its own
                problem = find(family)
        except InputError as error:
            problem = str(error)
        except Exception as error:  # a family of somebody's own can fail in any way
            problem = with_place(error, HERE)
        sound = sound and problem is None
        yield Finding(law, problem)
        if problem is not None and law in FIRST:
            return
    if sound and (remark := _traced(family)) is not None:
        yield Finding(TRACED, remark=remark)


def try_agent(family: TaskFamily, agent: str) -> Trial:
    """Let an agent play an episode on each of some training tasks.

    Args:
        family: the family.
        agent: "zero", "random" for uniform actions, or "expert" for the family's own.
    """
    rng, sim = np.random.default_rng(0), BatchSim(family, N)
    sim.start(rng)
    live, returns, lengths = np.ones(N, bool), np.zeros(N), np.zeros(N, int)
    terms: dict[str, float] = {}
    begun = time.perf_counter()
    while live.any():
        action: np.ndarray | None = zeros(family, N)
        if agent != "zero":
            action = sim.shown() if agent == "expert" else rng.uniform(-1, 1, (N, family.action_dim))
        assert action is not None
        step = sim.step(action, live)
        returns += np.where(live, step.reward, 0)
        lengths += live
        for name, term in step.terms.items():
            terms[name] = terms.get(name, 0.0) + float(term[live].sum())
        live = live & ~step.terminated & ~step.truncated
    seconds = time.perf_counter() - begun
    means = {name: total / lengths.sum() for name, total in terms.items()}
    return Trial(agent, returns, lengths, means, sim.n_failures, lengths.sum() / seconds)


# The checks: None, or what is wrong.


def _compiles(family: TaskFamily) -> str | None:
    if not family.model.nu:
        return "the robot has no actuators: add some to the MJCF file"
    check_declared(family)
    robot = getattr(family, "mjcf", None)
    if robot is not None and Path(robot).is_file():
        robot_files(Path(robot))  # which a run folder keeps
    _ = family.variations  # finds the bodies, joints, geoms and actuators that are named
    if family.home_key is not None and not family.defines("build_model"):
        key = family.edited_spec().keys[family.home_key]
        if len(key.qpos) not in (0, family.model.nq):
            return (
                f"keyframe {key.name!r} gives {len(key.qpos)} coordinates, and the robot has "
                f"{family.model.nq}: MuJoCo would fill in the others; write them all"
            )
    seconds = family.horizon * family.dt
    for param in family.params:
        if param.when and param.when[0] >= seconds:
            return (
                f"{param.name} changes {param.when[0]:g} to {param.when[1]:g} s after an episode begins, and "
                f"that ends after {seconds:.3g} s: an earlier `when`, or a longer horizon"
            )
    return None


def _shapes(family: TaskFamily) -> str | None:
    sim = _started(family)
    for name, numbers in (("what may be told", sim.told()), ("error", sim.error())):
        if numbers is not None and not np.isfinite(numbers).all():
            return f"{name} is not finite as an episode begins: look at features, privileged and error"
    sim.shown(), sim.success(), sim.step(zeros(family, N))
    model, task = family.model, sim.tasks[0]
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = sim.readings.qpos[0], sim.readings.qvel[0]
    mujoco.mj_forward(model, data)
    family.seen_markers(task, data)
    return None


def _finite(family: TaskFamily) -> str | None:
    sim = BatchSim(family, N, 1)
    for begins in range(BEGINS):  # which says itself what is not finite
        sim.start(np.random.default_rng(begins))
    for action in _actions(family):
        step = sim.step(action)
        if step.failed.any():
            i = int(step.failed.argmax())
            return (
                f"after {sim.elapsed[i]} steps of random actions a simulation blew up{_where(sim, i)} or gave"
                f" numbers that are not finite, on task {dict(sim.tasks[i])}: a smaller timestep, more "
                "damping or narrower ranges help; look at observe and reward for divisions by zero and "
                "logarithms"
            )
    if sim.batch.warning[:, FULL, 1].any():
        return (
            "MuJoCo has no room for all contacts of random actions, and drops some: "
            '<size memory="10M"/> in the MJCF gives it more'
        )
    return None


def _where(sim: BatchSim, i: int) -> str:
    """At which joint a simulation is no longer usable, in words, if it says so."""
    model, warning = sim.family.model, sim.batch.warning[i]
    for kind in (mujoco.mjtWarning.mjWARN_BADQVEL, mujoco.mjtWarning.mjWARN_BADQACC):
        dof, often = (int(x) for x in warning[int(kind)])
        if often and 0 <= dof < model.nv:
            return f" at joint {name_of(model, mujoco.mjtObj.mjOBJ_JOINT, int(model.dof_jntid[dof]))}"
    return ""


def _pure(family: TaskFamily) -> str | None:
    sim = _started(family)
    live = sim.readings

    def locked(array: np.ndarray) -> np.ndarray:
        view = array.view()
        view.flags.writeable = False
        return view

    r = Readings(
        family.model,
        locked(live.qpos),
        locked(live.qvel),
        lambda name: locked(live.field(name)),
        family.dt,
        live.known,
    )
    r.action, r.action_before = locked(live.action), locked(live.action_before)
    r.qpos_before, r.before = locked(live.qpos_before), {k: locked(v) for k, v in live.before.items()}
    task = {name: locked(value) for name, value in sim.task_values.items()}
    try:
        family.observe(r), family.reward(r, locked(zeros(family, N)), task), family.has_ended(r, task)
        family.success(r, task), family.expert(r, task), family.error(r, task)
        family.seen_in_training(r, task), family.features(task)
    except ValueError as error:
        if "read-only" in str(error):
            return f"{with_place(error, HERE)}: copy an array before changing it"
        raise
    return None


def _alone(family: TaskFamily) -> str | None:
    family = _still(family)
    together, alone = _started(family), BatchSim(family, 1, 1)
    alone.set_tasks([together.task_now(N - 1)])
    alone.state[0] = together.state[N - 1]
    alone.refresh()
    for action in _actions(family)[:5]:
        both, one = together.step(action), alone.step(action[-1:])
        if not np.allclose(both.obs[-1], one.obs[0], equal_nan=True):
            return "observe mixes simulations: a row must depend on its own simulation only (axis=1, not 0)"
        if not np.allclose(both.reward[-1], one.reward[0], equal_nan=True):
            return "reward mixes simulations: every number must depend on its own simulation only"
    return None


def _hidden(family: TaskFamily) -> str | None:
    first, second = _two_tasks(family)
    second = family.task({**second, **{p.name: first[p.name] for p in family.told_params}})
    obs = [_same_start(family, task)[1] for task in (first, second)]
    if np.abs(obs[0] - _same_start(family, first)[1]).max() > SAME:
        return "the same task does not begin alike from the same seed: draw from rng, which is given, only"
    if np.abs(obs[0] - obs[1]).max() > SAME:
        i = int(np.abs(obs[0] - obs[1]).max(axis=0).argmax())
        return (
            f"the task can be seen in the observation, number {i}: two tasks that begin in the same state "
            "look different at once; what the policy is told it need not adapt to"
        )
    return None


def _matters(family: TaskFamily) -> str | None:
    first, second = _two_tasks(family)
    seen = [_play(_same_start(family, task)[0], _actions(family)) for task in (first, second)]
    if np.abs(seen[0] - seen[1]).max() <= SAME:
        return (
            f"the task does not matter: the same actions give the same observations and rewards on "
            f"{dict(first)} and {dict(second)}; use the task in reward, or vary dynamics that act"
        )
    return None


def _every_parameter(family: TaskFamily) -> str | None:
    base = dict(family.tasks("test")[0])
    for param in family.params:
        seen = []
        for value in _two_values(param):
            task = family.task({**base, param.name: value})
            seen.append(_play(_same_start(family, task)[0], _actions(family)))
        if np.abs(seen[0] - seen[1]).max() <= SAME:
            if param.train.low == param.train.high:
                return f"{param.name} is always {param.train.low:g}: give it a range, or leave it out"
            what = "dynamics that act" if param.kind == "dynamics" else "use it in reward"
            return (
                f"{param.name} changes nothing in {len(seen[0])} steps of random actions: {what}, or leave "
                "it out (a mass that never moves; of two geoms that touch, the larger friction counts)"
            )
    return None


def _servos(family: TaskFamily) -> str | None:
    meant = [
        v.index // v.width for v in family.variations.values() if v.alone and v.field.startswith("actuator_")
    ]
    for task in _two_tasks(family):
        sim = BatchSim(family, 1, 1)
        sim.set_tasks([task])
        before, now = _reach(family.model), _reach(sim.model_of(0))
        moved = np.abs(now - before) > 1e-6 * np.abs(before)  # NaN has not
        moved[np.concatenate([*meant, []]).astype(int)] = False
        if moved.any():
            name = name_of(family.model, mujoco.mjtObj.mjOBJ_ACTUATOR, int(moved.argmax()))
            return (
                f"what varies moves the place or speed that servo {name} is told to go to, not only its "
                "strength: vary actuator_gainprm, which its bias follows (alone=True if that is meant)"
            )
    return None


def _frictions(family: TaskFamily) -> str | None:
    varied = {n: v for n, v in family.variations.items() if v.field == "geom_friction"}
    if not varied:
        return None
    model, friction = family.model, _started(family).batch.expand("geom_friction")  # (N, ngeom, 3)
    pairs = [
        (one, other) for one, other in combinations(range(model.ngeom), 2) if _can_touch(model, one, other)
    ]
    for name, variation in varied.items():
        geoms, axes = np.divmod(variation.index, variation.width)
        names = ", ".join(name_of(model, mujoco.mjtObj.mjOBJ_GEOM, int(g)) for g in dict.fromkeys(geoms))
        if not any(_decides(model, friction, {*geoms}, {*axes}, pair) for pair in pairs):
            return (
                f"{name} never decides about a contact of {names}: of two geoms that "
                "touch, the one of higher priority says what the friction is, or with equal ones the larger "
                "friction counts; vary the other geom's, or give these a higher priority in the MJCF file"
            )
    return None


def _splits(family: TaskFamily) -> str | None:
    test = family.tasks("test")
    if len(set(test)) < len(test):
        return f"the {len(test)} held-out tasks are not all different: fewer (n_test), or a wider range"
    if family.disjoint and set(test) & set(family.sample(np.random.default_rng(0), 200)):
        return "held-out tasks are also trained on: set disjoint = False if that cannot be helped"
    return None


CHECKS: dict[str, Callable[[TaskFamily], str | None]] = {
    "the robot compiles, and what varies is found in it": _compiles,
    "functions give arrays of the right shape": _shapes,
    "numbers stay finite under random actions": _finite,
    "functions change nothing that they read": _pure,
    "a simulation does not depend on the others": _alone,
    "the task cannot be seen in the first observation": _hidden,
    "the task matters": _matters,
    "everything that varies matters": _every_parameter,
    "a servo of another strength goes where it is told": _servos,
    "a friction that varies counts where something touches": _frictions,
    "held-out tasks differ, and are not trained on": _splits,
}
TRACED = "a live page can run its functions"
FIRST = list(CHECKS)[:3]  # without which the others have nothing to go by


def _traced(family: TaskFamily) -> str | None:
    """What keeps a family from being taken out of Python."""
    if family.contacts:
        return "the page's MuJoCo does not tell which bodies touch: leave `contacts` out to have one"
    try:
        sensing_graph(family)
        marker_graph(family)
    except TraceError as error:
        return str(error)
    return None


# Parts.


def _started(family: TaskFamily) -> BatchSim:
    sim = BatchSim(family, N, 1)
    sim.start(np.random.default_rng(0))
    return sim


def _actions(family: TaskFamily) -> np.ndarray:
    """Random ones, of which half go on as they began, (T, N, action_dim), until all has changed that will."""
    last = max(
        (p.when[1] / family.dt if p.when else family.horizon / 2 for p in family.params if p.change),
        default=0,
    )
    steps = STEPS + min(int(last), family.horizon)
    actions = np.random.default_rng(1).uniform(-1, 1, (steps, N, family.action_dim))
    actions[:, ::2] = actions[0, ::2]
    return actions


def zeros(family: TaskFamily, n: int) -> np.ndarray:
    """Zero actions of n robots."""
    return np.zeros((n, family.action_dim))


def _still(family: TaskFamily) -> TaskFamily:
    """The same family without anything that is drawn within an episode."""
    still = family.quiet()
    still.params = tuple(replace(p, every=None, change=None, when=None) for p in family.params)  # type: ignore[misc]
    for derived in ("variations", "told_params", "hidden_params"):
        vars(still).pop(derived, None)
    return still


def _two_tasks(family: TaskFamily) -> tuple[Task, Task]:
    """Two that differ as much as held-out ones do."""
    ranked = family.ranked(family.tasks("test"))
    return ranked[0], ranked[-1]


def _two_values(param: Param) -> tuple[float, float]:
    """Two that differ, also where the range is that of an angle and its ends are one."""
    low, high = param.train.low, param.train.high
    inside = low + 0.4 * (high - low)
    return low, inside if param.train.contains(np.array(inside)) else high


def _same_start(family: TaskFamily, task: Task) -> tuple[BatchSim, np.ndarray]:
    """Simulations of one task that always begin in the same states, and their first observations."""
    sim = BatchSim(family, N, 1)
    sim.set_tasks([task] * N)
    return sim, sim.reset(np.random.default_rng(0))


def _play(sim: BatchSim, actions: np.ndarray) -> np.ndarray:
    """Observations and rewards of all steps, (T, N, obs_dim + 1)."""
    steps = [sim.step(action) for action in actions]
    return np.stack([np.concatenate([s.obs, s.reward[:, None]], axis=1) for s in steps]).astype(float)


def _reach(model: mujoco.MjModel) -> np.ndarray:
    """How far a position or how fast a velocity servo goes for a control of 1, (nu,); NaN for others."""
    gain, bias = model.actuator_gainprm[:, 0], model.actuator_biasprm
    pull = np.where(bias[:, 1] != 0, bias[:, 1], bias[:, 2]) * model.actuator_gear[:, 0]
    servo = (model.actuator_biastype == mujoco.mjtBias.mjBIAS_AFFINE) & (pull != 0)
    return np.divide(-gain, pull, out=np.full(model.nu, np.nan), where=servo)


def _can_touch(model: mujoco.MjModel, one: int, other: int) -> bool:
    """Whether MuJoCo looks for contacts of two geoms whose own numbers decide about them."""
    a, b = model.geom_bodyid[[one, other]]
    weld, parent = model.body_weldid, model.body_parentid
    a, b = weld[a], weld[b]
    kin = a and b and (weld[parent[a]] == b or weld[parent[b]] == a)  # the world is nobody's kin
    types, affinities = model.geom_contype, model.geom_conaffinity
    meets = types[one] & affinities[other] or types[other] & affinities[one]
    return bool(a != b and not kin and meets)


def _decides(
    model: mujoco.MjModel, friction: np.ndarray, geoms: set[int], axes: set[int], pair: tuple[int, int]
) -> bool:
    """Whether the friction of some geoms, along some axes, is that of a contact in some simulation."""
    priority = model.geom_priority
    lead, other = sorted(pair, key=lambda g: (-priority[g], g not in geoms))
    if lead not in geoms:
        return False
    alone = priority[lead] > priority[other]
    condim = model.geom_condim[lead] if alone else model.geom_condim[[lead, other]].max()
    counts = [axis for axis in axes if axis < {1: 0, 3: 1, 4: 2, 6: 3}[int(condim)]]
    larger = friction[:, lead] > friction[:, other]
    return bool(counts) and (alone or other in geoms or bool(larger[:, counts].any()))


def name_of(model: mujoco.MjModel, kind: mujoco.mjtObj, i: int) -> str:
    """What an object is called, or its number."""
    return mujoco.mj_id2name(model, kind, i) or f"#{i}"
