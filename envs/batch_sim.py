"""BatchSim: N simulations of a family, stepped together on C++ threads by mujoco.batch."""

import os
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from ctypes import py_object, pythonapi
from typing import Any
from weakref import WeakSet

import mujoco
import numpy as np

from metarl.envs import variation
from metarl.envs.actions import Direct
from metarl.envs.answers import finite, real, truth
from metarl.envs.catalogue import as_family
from metarl.envs.engine import Batch
from metarl.envs.events import Events
from metarl.envs.family import TaskFamily
from metarl.envs.mjlog import no_warnings
from metarl.envs.readings import Readings
from metarl.envs.sensors import Sensing
from metarl.envs.task import Task
from metarl.envs.told import commands, task_features
from metarl.envs.world import Failure, Step, assigned
from metarl.errors import InputError, NotFiniteError
from metarl.ranges import whole

# A simulation MuJoCo had to reset by itself because its state was no longer usable.
FATAL_WARNINGS = [
    int(w)
    for w in (
        mujoco.mjtWarning.mjWARN_BADQPOS,
        mujoco.mjtWarning.mjWARN_BADQVEL,
        mujoco.mjtWarning.mjWARN_BADQACC,
    )
]


MADE_ANEW = ("batch", "_ctrl", "_readings", "_stage", "_state_before")  # in a copy
KEPT_FAILURES = 10  # of a BatchSim, the first ones


class BatchSim:
    """N simulations of one family, each with its own task and, where dynamics vary, its own model.

    Results are the same, bit for bit, at any number of threads. Nothing here loops over simulations.
    A copy, pickled or deep, and one in a forked process go on as the original does.

    Args:
        family: the family, or its name.
        n_sims: N.
        n_threads: physics threads; 0 is one per CPU.
        engine: what steps them, made of the robot, N and n_threads.

    Attributes:
        tasks: the simulations', N of them; none before `set_tasks`.
        n_steps: steps taken so far, those of all simulations together.
        n_failures: simulations that have blown up so far.
        failures: the first of them, to be looked at and replayed.
    """

    def __init__(
        self,
        family: TaskFamily | str,
        n_sims: int,
        n_threads: int = 0,
        engine: Callable[[mujoco.MjModel, int, int], Batch] = Batch,
    ):
        n_sims, n_threads = whole("n_sims", n_sims), whole("n_threads", n_threads)
        if n_sims < 1 or n_threads < 0:
            raise InputError(f"{n_sims} simulations on {n_threads} threads: use at least 1, on 0 or more")
        self.family, self.n_sims, self.n_threads, self.n_failures = as_family(family), n_sims, n_threads, 0
        self.n_steps, self._engine = 0, engine
        self.tasks: list[Task] = []
        self.elapsed = np.zeros(n_sims, int)  # steps since each simulation's reset
        self.failures: list[Failure] = []
        self._begun = np.zeros(n_sims, bool)  # whether a simulation has a state that somebody gave it
        self._lost = np.zeros(n_sims, bool)  # whether its last step was one that it did not survive
        self._task_values: dict[str, np.ndarray] = {}
        # Where each simulation's last step has ended, at the goal or not; None if the family has none.
        self.succeeded = np.zeros(n_sims, bool) if self.family.defines("success") else None
        family = self.family
        self._controls, self._rest = family.controls, _late_controls(family)
        self._events = Events(family.params, family.pushes, n_sims, family.dt, family.horizon)
        self._pushed = {push: push.dofs(family.model) for push in family.pushes}
        self._sensing = (
            Sensing(family.sensors, family.parts, n_sims, family.dt, family.horizon)
            if family.sensors
            else None
        )
        self._seen = np.zeros((n_sims, family.obs_dim), np.float32)
        self._given: dict[str, np.ndarray] = {}  # the tasks' numbers, where `_task_values` are those of now
        self._start_engine()

    def _start_engine(self) -> None:
        """The simulations, and live views of them."""
        family = self.family
        self.batch = self._engine(family.model, self.n_sims, self.n_threads)
        no_warnings()  # a simulation that blows up is counted, and a thousand lines about it help nobody
        self._state_before = self.batch.state.copy()
        bind = self.batch.bind
        self._ctrl = bind("ctrl")
        self._readings = Readings(family.model, bind("qpos"), bind("qvel"), bind, family.dt, family.derived)
        for name in family.derived:
            bind(name)
        self._readings.before = {name: bind(name).copy() for name in family.remembered}
        self._stage = mujoco.mjtStage.mjSTAGE_VEL if family.derived else mujoco.mjtStage.mjSTAGE_NONE
        _RUNNING.add(self)

    def __getstate__(self) -> dict[str, Any]:
        kept = {k: v for k, v in vars(self).items() if k not in MADE_ANEW}
        return {**kept, "arrays": [array.copy() for array in self._arrays()]}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update({k: v for k, v in state.items() if k != "arrays"})
        self._start_engine()
        if self.tasks:
            self._vary(np.arange(self.n_sims), self._task_values)
        self.batch.state[:] = state["arrays"][0]
        if self.family.derived:
            self.batch.forward(stage=self._stage)
        for live, value in zip(self._arrays(), state["arrays"], strict=True):
            live[:] = value

    def __copy__(self) -> "BatchSim":
        return deepcopy(self)  # half a simulation is none

    def _arrays(self) -> list[np.ndarray]:
        """What steps and observations go by, live; the fields of MjData follow from the state."""
        r = self._readings
        return [
            self.batch.state,
            self.batch.warning,
            r.qpos_before,
            r.action,
            r.action_before,
            *r.before.values(),
        ]

    @property
    def state(self) -> np.ndarray:
        """Integration state, (N, nstate), live: record it to render later; write it, then `refresh`."""
        return self.batch.state

    @property
    def readings(self) -> Readings:
        """The live readings that the family's functions see."""
        return self._readings

    @property
    def task_values(self) -> dict[str, np.ndarray]:
        """The tasks' numbers now by parameter, (N,) or (N, size), live and not to be written to."""
        return self._task_values

    def task_now(self, i: int) -> Task:
        """Simulation i's task as it is now, where numbers change within an episode."""
        if not self._events.changing:
            return self.tasks[i]
        return Task({name: value[i] for name, value in self._task_values.items()})

    def moments(self, name: str) -> np.ndarray:
        """Before which step of its episode each simulation's number of this name changes first, (N,)."""
        return self._events.moments(name)

    def told(self) -> np.ndarray:
        """What may be known in training: the hidden numbers now, and what is privileged, (N, n) float32."""
        features = task_features(self.family, self._task_values)
        if (more := self.family.seen_in_training(self._readings, self._task_values)) is None:
            return features
        more = real("privileged", more, self.n_sims, None)
        more = finite("privileged", np.where(self._lost[:, None], 0, more))
        return np.concatenate([features, more], axis=1, dtype=np.float32)

    def shown(self) -> np.ndarray | None:
        """What the family's expert would do now, (N, action_dim) float32 in [-1, 1]; None without one."""
        if not self.family.has_expert:
            return None
        given = self.family.expert(self._readings, self._task_values)
        action = finite("expert", real("expert", given, self.n_sims, self.family.action_dim))
        return np.clip(action, -1, 1).astype(np.float32)

    def model_of(self, i: int) -> mujoco.MjModel:
        """A copy of simulation i's model, with its task's dynamics, for rendering and checks."""
        return self.batch.get_model(i)

    def set_tasks(self, tasks: Sequence[Mapping[str, Any]], ids: np.ndarray | None = None) -> None:
        """Give simulations their tasks, from their next reset on: episodes of before are over.

        One that is stepped on all the same is under the new task as a whole at once, and no number changes
        in it any more. Simulations that have no task yet get the first one.

        Args:
            tasks: one per simulation of `ids`, as tasks or as names and numbers.
            ids: (n,) sorted simulations; None is all.

        Raises:
            InputError: the family knows no such task, or no split has such numbers.
        """
        ids, tasks, new = assigned(self.family, self.n_sims, tasks, ids)
        if not self.tasks:
            self.tasks = [tasks[0]] * self.n_sims
            self._task_values, self._given = self.family.stack(self.tasks), self.family.stack(self.tasks)
            if len(ids) < self.n_sims:
                self._vary(np.arange(self.n_sims), self._task_values)
        for i, task in zip(ids, tasks, strict=True):
            self.tasks[i] = task
        for name, value in new.items():
            self._task_values[name][ids] = self._given[name][ids] = value
        self._events.forget(ids)
        self._vary(ids, new)

    def _vary(self, ids: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        """Give simulations the dynamics of these tasks."""
        chosen = self.family.variations
        numbers = [values[name].reshape(len(ids), -1) for name in chosen]
        variation.apply(self.batch, list(chosen.values()), numbers, ids)

    def start(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a training task for every simulation, and start; obs (N, obs_dim) float32."""
        self.set_tasks(self.family.sample(rng, self.n_sims))
        return self.reset(rng)

    def reset(self, rng: np.random.Generator, mask: np.ndarray | None = None) -> np.ndarray:
        """Start new episodes where the mask is true; the others are left as they are.

        Args:
            rng: draws the initial states, one for every simulation whatever the mask.
            mask: (N,) bool; None is all.

        Returns:
            obs (N, obs_dim) float32 of all simulations.

        Raises:
            InputError: states depend on the tasks, and there are none yet, or `initial_state` gives others
                than it should, or what is observed there is not finite.
        """
        if not self.tasks and "initial_state" in self.family.asks_task:
            raise InputError("this robot's episodes begin by its task: set the tasks before the first reset")
        qpos, qvel = self.family.draw_states(rng, self.n_sims, self._given)
        ids = np.arange(self.n_sims) if mask is None else np.flatnonzero(mask)
        return self.set_state(qpos[ids], qvel[ids], ids, rng)

    def set_state(
        self,
        qpos: np.ndarray,
        qvel: np.ndarray,
        ids: np.ndarray | None = None,
        rng: np.random.Generator | None = None,
    ) -> np.ndarray:
        """Start new episodes of simulations `ids` from given qpos (n, nq) and qvel (n, nv).

        What happens in them and how sensors are off is drawn from `rng`; None draws the same each time.

        Raises:
            InputError: what is observed there is not finite.
        """
        ids = np.arange(self.n_sims) if ids is None else np.asarray(ids)
        r, rng = self._readings, rng or np.random.default_rng(0)
        self.batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE)
        r.qpos[ids], r.qvel[ids] = qpos, qvel
        r.action[ids] = r.action_before[ids] = 0.0
        if self._rest is not None:
            self._ctrl[ids] = self._controls.middle
            self.batch.bind("history")[ids] = self._rest
        if self.family.model.na:
            self.batch.bind("act")[ids] = self.family.activations
        if self._events and self.tasks:
            self._events.begin(rng, ids, self._given)
            self._change({name: (ids, numbers) for name, numbers in self._nominal(ids).items()})
        if self._sensing is not None:
            self._sensing.restart(rng)
        self.elapsed[ids], self._lost[ids] = 0, False
        if self.succeeded is not None:
            self.succeeded[ids] = False
        obs = self.refresh(ids)
        finite = np.isfinite(obs[ids]).all(axis=1)
        if not finite.all():
            i = int(ids[finite.argmin()])
            raise InputError(
                f"{self.family.name}: what is observed as an episode begins is not finite"
                + (f", on task {dict(self.tasks[i])}" if self.tasks else "")
                + ": look at observe and initial_state for divisions by zero, as of a speed at rest, and for "
                "logarithms"
            )
        return obs

    @property
    def can_be_followed(self) -> bool:
        """Whether all that becomes of a simulation is in its state: no number changes, no sensor is off."""
        return not self._events and self._sensing is None

    def follow(self, other: "BatchSim", ids: np.ndarray) -> None:
        """Be where simulations `ids`, (N,), of another one of the family are; tasks stay as they are.

        Raises:
            InputError: it cannot be followed.
        """
        if not self.can_be_followed:
            raise InputError(
                f"{self.family.name} cannot be followed: more happens in it than its state tells"
            )
        for mine, theirs in zip(self._arrays(), other._arrays(), strict=True):
            mine[:] = theirs[ids]
        self.elapsed[:], self._begun[:] = other.elapsed[ids], other._begun[ids]
        self._lost[:] = other._lost[ids]
        if self.succeeded is not None and other.succeeded is not None:
            self.succeeded[:] = other.succeeded[ids]

    def refresh(self, ids: np.ndarray | None = None) -> np.ndarray:
        """Let the readings follow states of simulations `ids` that were written by hand; obs of all."""
        ids = np.arange(self.n_sims) if ids is None else np.asarray(ids)
        r = self._readings
        self._begun[ids] = True
        r.qpos_before[ids] = r.qpos[ids]
        if self.family.derived:
            self.batch.forward(ids, stage=self._stage)
        for name, value in r.before.items():
            value[ids] = r.field(name)[ids]
        seen = self.family.see(r)
        if self._sensing is not None:
            clean, seen = seen, seen.copy()
            seen[ids] = self._sensing.begin(clean, ids)
        self._seen[ids] = self._with_commands(seen)[ids]
        return self._seen.copy()

    def _with_commands(self, seen: np.ndarray) -> np.ndarray:
        """Observations, (N, obs_dim) float32: what is seen, (N, n), and what is told."""
        if not self.family.told_params:
            return seen.astype(np.float32)
        n_told = self.family.obs_dim - seen.shape[1]
        told = commands(self.family, self._task_values) if self.tasks else np.zeros((self.n_sims, n_told))
        return np.concatenate([seen, told], axis=1, dtype=np.float32)

    def _nominal(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """With which numbers episodes of these simulations begin, of the parameters that change in them."""
        begin = {}
        for param in self._events.changing:
            numbers = self._given[param.name][ids]
            if param.change:
                nominal = self.family.nominal(param)
                if nominal is None:
                    raise InputError(
                        f"{param.name} changes once from what the model says, which is more than one number: "
                        "let it scale or add, or be one number each"
                    )
                numbers = np.broadcast_to(nominal if numbers.ndim > 1 else nominal[0], numbers.shape)
            begin[param.name] = numbers
        return begin

    def _change(self, changed: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
        """Give tasks other numbers for the time being: of which simulations, (n,), and which, (n, ...)."""
        for name, (ids, value) in changed.items():
            self._task_values[name][ids] = value
        varied = [ids for name, (ids, _) in changed.items() if name in self.family.variations]
        if varied:  # all at once, as all is written anew
            every = varied[0] if len(varied) == 1 else np.unique(np.concatenate(varied))
            self._vary(every, {name: value[every] for name, value in self._task_values.items()})

    def _let_happen(self, mask: np.ndarray | None) -> None:
        """What happens just before this step."""
        self._change(self._events.due_numbers(self.elapsed, mask))
        for push, ids, velocity in self._events.due_pushes(self.elapsed, mask):
            self._readings.qvel[np.ix_(ids, self._pushed[push])] += velocity

    def step(self, action: np.ndarray, mask: np.ndarray | None = None) -> Step:
        """Advance simulations by one step of `frame_skip` physics substeps.

        Args:
            action: (N, action_dim), clipped to [-1, 1].
            mask: (N,) bool, which simulations move; None is all.

        Raises:
            ValueError: an action has the wrong shape.
            InputError: a simulation that is to move has no task or no state yet, or a function of the family
                gives what it is not to give.
            NotFiniteError: an action is not a number.
        """
        r, family = self._readings, self.family
        if np.shape(action) != self._ctrl.shape:
            raise ValueError(f"actions have shape {self._ctrl.shape}, not {np.shape(action)}")
        if not self.tasks or not (self._begun if mask is None else self._begun | ~mask).all():
            raise InputError("no episode has begun yet: set the tasks and reset before the first step")
        if np.isnan(action).any():  # MuJoCo would quietly take 0 instead
            i = np.isnan(action).any(axis=1).argmax()
            raise NotFiniteError(
                f"action of simulation {i} is not a number; the policy is damaged or has diverged"
            )
        action = np.clip(action, -1.0, 1.0)
        where = True if mask is None else mask[:, None]
        if self._events:
            self._let_happen(mask)
        np.copyto(r.action_before, r.action, where=where)
        np.copyto(r.action, action, where=where)
        for name, value in r.before.items():
            now = r.field(name)
            np.copyto(value, now, where=True if mask is None else mask.reshape(-1, *[1] * (now.ndim - 1)))
        np.copyto(r.qpos_before, r.qpos, where=where)
        np.copyto(self._ctrl, self._controls.of(action, self._ctrl), where=where)
        np.copyto(self._state_before, self.batch.state)
        self.batch.step(mask, nstep=family.frame_skip, stage=self._stage)
        self.elapsed += 1 if mask is None else mask
        self.n_steps += self.n_sims if mask is None else int(np.count_nonzero(mask))
        clean = family.see(r)
        seen = clean if self._sensing is None else self._sensing.step(clean, mask)
        obs = self._with_commands(seen)
        with np.errstate(all="ignore"):  # the numbers of a simulation that blew up are anything
            terms = family.reward(r, action, self._task_values)
            if not (isinstance(terms, dict) and terms and all(isinstance(name, str) for name in terms)):
                raise InputError(
                    f"reward gives {type(terms).__name__}, not a dict of named terms whose sum is the reward"
                )
            terms = {  # ours, not views
                name: real(f"reward term {name!r}", term, self.n_sims).astype(float)
                for name, term in terms.items()
            }
            reward = np.asarray(sum(terms.values()), np.float32)
            there = None if self.succeeded is None else self.success()
        failed = self._failed(obs, reward)
        if self.succeeded is not None and there is not None:
            np.copyto(self.succeeded, there & ~failed, where=True if mask is None else mask)
        if failed.any():
            self._keep(failed if mask is None else failed & mask, action)
            for array in (obs, reward, *terms.values()):
                array[failed] = 0.0
        np.copyto(self._seen, obs, where=where)
        np.copyto(self._lost, failed)
        terminated = truth("terminated", family.has_ended(r, self._task_values), self.n_sims) | failed
        truncated = (self.elapsed >= family.horizon) & ~terminated
        return Step(obs, reward, terms, terminated, truncated, failed)

    def success(self) -> np.ndarray | None:
        """Which simulations are at their goal now, (N,) bool, where the family defines it."""
        given = self.family.success(self._readings, self._task_values)
        return None if given is None else truth("success", given, self.n_sims)

    def error(self) -> np.ndarray | None:
        """How far each simulation is from what is asked now, (N,), where the family says so."""
        if not self.family.says_error:
            return None
        given = self.family.error(self._readings, self._task_values)
        return None if given is None else real("error", given, self.n_sims)

    def _keep(self, failed: np.ndarray, action: np.ndarray) -> None:
        """Count failures, and remember the first ones."""
        self.n_failures += int(failed.sum())
        for i in np.flatnonzero(failed)[: KEPT_FAILURES - len(self.failures)]:
            elapsed = int(self.elapsed[i]) - 1
            self.failures.append(Failure(self.task_now(i), self._state_before[i], action[i], elapsed))

    def take_failures(self, other: "BatchSim") -> None:
        """Count as ours what has failed in other simulations of the family, which begin anew."""
        self.n_failures += other.n_failures
        self.failures += other.failures[: KEPT_FAILURES - len(self.failures)]
        other.n_failures, other.failures = 0, []

    def _failed(self, obs: np.ndarray, reward: np.ndarray) -> np.ndarray:
        # MuJoCo's counters start again when it resets a simulation, so a second failure shows no rise:
        # any count since the episode began means failed.
        fatal = self.batch.warning[:, FATAL_WARNINGS, 1].any(axis=1)
        return fatal | ~np.isfinite(obs).all(axis=1) | ~np.isfinite(reward)


def _late_controls(family: TaskFamily) -> np.ndarray | None:
    """What actuators remember when an episode begins: the controls of action 0; None if that is nothing new.

    Returns:
        (nhistory,), the same for all simulations.
    """
    model, middle = family.model, family.controls.middle
    if not (middle.any() and (model.nhistory or not isinstance(family.action, Direct))):
        return None
    data = mujoco.MjData(model)
    for i in range(model.nu):
        samples = model.actuator_history[i, 0]
        if samples:
            mujoco.mj_initCtrlHistory(model, data, i, None, np.full((samples, 1), middle[i]))
    return data.history.copy()


_RUNNING: WeakSet[BatchSim] = WeakSet()


def _start_again() -> None:
    """In a forked process: engines whose threads have stayed behind start anew where they were."""
    for sim in list(_RUNNING):
        if sim.batch.nthread > 1:
            pythonapi.Py_IncRef(py_object(sim.batch))  # never freed: that would wait for its threads
            sim.__setstate__(sim.__getstate__())


os.register_at_fork(after_in_child=_start_again)
