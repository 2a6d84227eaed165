"""Gymnasium's views of a family: an Env of one simulation and a VectorEnv of many, both on a BatchSim."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from metarl.envs.batch_sim import BatchSim
from metarl.envs.catalogue import as_family
from metarl.envs.families import FAMILIES
from metarl.envs.family import TaskFamily
from metarl.envs.render import FrameRenderer
from metarl.envs.task import Task
from metarl.envs.world import Step
from metarl.errors import InputError, unknown
from metarl.ranges import whole

TaskValues = Mapping[str, float | Sequence[float]]
RENDER_MODES = ["rgb_array"]


def register_envs() -> None:
    """Register every family of the catalogue as `metarl/<family>-v0`; a second call changes nothing.

    Importing `metarl.envs` does it. The horizon, which Gymnasium is told of, is the family's own.
    """
    for name, family in FAMILIES.items():
        if f"metarl/{name}-v0" not in gymnasium.registry:
            gymnasium.register(
                id=f"metarl/{name}-v0",
                entry_point="metarl.envs.gym_env:FamilyEnv",
                vector_entry_point="metarl.envs.gym_env:FamilyVectorEnv",
                max_episode_steps=family.horizon,
                kwargs={"family": name},
            )


class FamilyEnv(gymnasium.Env):
    """One simulation of a family.

    `info` holds the `task` as it is now (a dict), after a step also the named `reward_terms` and, where the
    family defines it, `success`. Observations and actions are float32, actions in [-1, 1].

    Args:
        family: a family, its name in the catalogue, or `file.py:ClassName`.
        task: parameter names and numbers; None draws a training task at every reset.
        render_mode: "rgb_array" or None.
        width, height: of a frame, pixels.
        flat_info: `info` without dicts in it, as TorchRL wants it: arrays `task/velocity`,
            `reward_terms/forward`, ...

    Raises:
        InputError: no such family, or no such task in it.
    """

    metadata: dict[str, Any] = {"render_modes": RENDER_MODES}  # noqa: RUF012 (Gymnasium's name and type)

    def __init__(
        self,
        family: str | TaskFamily,
        task: TaskValues | None = None,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 480,
        flat_info: bool = False,
    ):
        self.family = as_family(family)
        self.sim = BatchSim(self.family, 1, n_threads=1)
        self.observation_space, self.action_space = _spaces(self.family)
        self.metadata = _metadata(self.family)
        self.render_mode = _checked_mode(render_mode)
        self._size, self._flat_info = (width, height), flat_info
        self._renderer: FrameRenderer | None = None
        self._task = None if task is None else self.family.task(task)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: of everything drawn from here on; None goes on drawing.
            options: {"task": {...}} sets the task of this and the following episodes, {"task": None}
                goes back to drawing one for each.
        """
        super().reset(seed=None if seed is None else whole("seed", seed))
        options = _checked_options(options, ("task",))
        if "task" in options:
            self._task = None if options["task"] is None else self.family.task(options["task"])
        tasks = self.family.sample(self.np_random, 1) if self._task is None else [self._task]
        self.sim.set_tasks(tasks)
        return self.sim.reset(self.np_random)[0], self._told({"task": dict(self.sim.task_now(0))})

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Advance by one step; action (action_dim,)."""
        step = self.sim.step(np.asarray(action)[None])
        info: dict[str, Any] = {
            "task": dict(self.sim.task_now(0)),
            "reward_terms": {name: float(term[0]) for name, term in step.terms.items()},
        }
        success = self.sim.succeeded
        if success is not None:
            info["success"] = bool(success[0])
        terminated, truncated = bool(step.terminated[0]), bool(step.truncated[0])
        return step.obs[0], float(step.reward[0]), terminated, truncated, self._told(info)

    def render(self) -> np.ndarray | None:
        """Draw the state and the task's goal: (height, width, 3) uint8; None without a render mode."""
        if self.render_mode is None:
            return None
        self._renderer = self._renderer or FrameRenderer(self.family, *self._size)
        return self._renderer.frame(self.sim.state[0], self.sim.task_now(0))

    @property
    def task(self) -> Task | None:
        """Which is played in every episode; None if each draws its own."""
        return self._task

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_renderer": None}  # a copy draws with one of its own

    def close(self) -> None:
        """Free what rendering took."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _told(self, info: dict[str, Any]) -> dict[str, Any]:
        return {k: np.asarray(v) for k, v in _flat(info).items()} if self._flat_info else info


class FamilyVectorEnv(gymnasium.vector.VectorEnv):
    """Many simulations of a family, each with its own task, stepped together.

    How ended episodes begin anew is Gymnasium's `AutoresetMode`:

    * SAME_STEP: the step that ends an episode returns the first observation of the next one, the flags and
      reward of the one that ended, and what that one ended with in `info["final_obs"]` and
      `info["final_info"]` (masks `_final_obs`, `_final_info`). So no step is spent on a reset.
    * NEXT_STEP: the step after returns it, with reward zero and whatever the action.
    * DISABLED: `reset(options={"reset_mask": ended})` does, before the next step.

    `info` is as `FamilyEnv`'s, with an array over simulations for every number.

    Args:
        family: a family, its name in the catalogue, or `file.py:ClassName`.
        num_envs: number of simulations, N.
        task: one task for all.
        tasks: N tasks, one each. With neither, every episode draws a training task.
        n_threads: physics threads; 0 is one per CPU.
        render_mode: "rgb_array" or None.
        width, height: of a frame, pixels.
        autoreset_mode: an `AutoresetMode`, or its value ("SameStep", "NextStep", "Disabled").
        max_episode_steps: of episodes that are shorter than the family's.
        flat_info: `info` without dicts in it (but for what SAME_STEP calls `final_info`): arrays
            `task/velocity`, `reward_terms/forward`, ...

    Raises:
        InputError: no such family, no such task in it, not N tasks, no such mode, or longer episodes.
    """

    metadata: dict[str, Any] = {"render_modes": RENDER_MODES, "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(
        self,
        family: str | TaskFamily,
        num_envs: int = 1,
        task: TaskValues | None = None,
        tasks: Sequence[TaskValues] | None = None,
        n_threads: int = 0,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 480,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        max_episode_steps: int | None = None,
        flat_info: bool = False,
    ):
        self.family = as_family(family)
        self.num_envs = num_envs = whole("num_envs", num_envs)
        self.sim = BatchSim(self.family, num_envs, n_threads)
        self.single_observation_space, self.single_action_space = _spaces(self.family)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.autoreset_mode = _checked_autoreset(autoreset_mode)
        self.metadata = {"autoreset_mode": self.autoreset_mode, **_metadata(self.family)}
        self._max_steps = _checked_length(self.family, max_episode_steps)
        self.render_mode = _checked_mode(render_mode)
        self._size, self._flat_info = (width, height), flat_info
        self._renderer: FrameRenderer | None = None
        self._tasks = self._chosen(task, tasks)
        self._ended = np.zeros(num_envs, bool)  # episodes that begin anew with the next step, or reset

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode in every simulation.

        Args:
            seed: of everything drawn from here on; None goes on drawing.
            options: {"task": {...}} or {"tasks": [...]} sets the tasks of this and the following
                episodes, {"task": None} goes back to drawing one for each; {"reset_mask": (N,) bool}
                leaves the other simulations as they are.

        Raises:
            InputError: no such option, no such task, or a mask that is none.
        """
        super().reset(seed=None if seed is None else whole("seed", seed))
        options = _checked_options(options, ("task", "tasks", "reset_mask"))
        mask = self._mask(options.get("reset_mask"))
        if {"task", "tasks"} & set(options):
            self._tasks = self._chosen(options.get("task"), options.get("tasks"))
        obs = self._begin(mask)
        return obs, self._told(self._info(None))

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance every simulation by one step; actions (N, action_dim).

        Raises:
            InputError: without autoreset, an episode has ended and was not begun anew.
        """
        waiting = self._ended
        if waiting.any() and self.autoreset_mode is AutoresetMode.DISABLED:
            raise InputError(
                f"episodes of simulations {np.flatnonzero(waiting).tolist()} have ended; begin new ones by "
                'reset(options={"reset_mask": terminated | truncated})'
            )
        step = self.sim.step(actions, ~waiting if waiting.any() else None)
        obs, reward, terminated, truncated = step.obs, step.reward, step.terminated, step.truncated
        if self._max_steps is not None:
            truncated |= (self.sim.elapsed >= self._max_steps) & ~terminated
        if waiting.any():
            obs[waiting] = self._begin(waiting)[waiting]
            reward[waiting], terminated[waiting], truncated[waiting] = 0.0, False, False
        info, ended = self._info(step), terminated | truncated
        if waiting.any():
            info |= _only(~waiting, info)
        if self.autoreset_mode is not AutoresetMode.SAME_STEP:
            self._ended = ended
        elif ended.any():
            final_obs = np.full(self.num_envs, None, object)
            for i in np.flatnonzero(ended):
                final_obs[i] = obs[i].copy()
            final = {"final_obs": final_obs, "_final_obs": ended, "final_info": info, "_final_info": ended}
            obs[ended] = self._begin(ended)[ended]
            # Terms and success were of the episodes that ended; only the others' stay at this level.
            info = {**info, **_only(~ended, info), **self._info(None), **final}
        return obs, reward, terminated, truncated, self._told(info)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Draw every simulation's present state and goal: N frames (height, width, 3) uint8."""
        if self.render_mode is None:
            return None
        self._renderer = self._renderer or FrameRenderer(self.family, *self._size)
        now = map(self.sim.task_now, range(self.num_envs))
        return tuple(map(self._renderer.frame, self.sim.state, now))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_renderer": None}  # a copy draws with one of its own

    def close_extras(self, **_: Any) -> None:
        """Free what rendering took."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _chosen(self, task: TaskValues | None, tasks: Sequence[TaskValues] | None) -> list[Task] | None:
        if tasks is None:
            return None if task is None else [self.family.task(task)] * self.num_envs
        if task is not None:
            raise InputError("give either task (one for all) or tasks (one each), not both")
        if len(tasks) != self.num_envs:
            raise InputError(f"{self.num_envs} simulations need as many tasks, got {len(tasks)}")
        return [self.family.task(t) for t in tasks]

    def _mask(self, mask: Any) -> np.ndarray:
        """Which simulations a reset is of, (N,) bool; None is all."""
        if mask is None:
            return np.ones(self.num_envs, bool)
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != bool:
            raise InputError(f"reset_mask is ({self.num_envs},) bool, not {mask.shape} {mask.dtype}")
        if not self.sim.tasks and not mask.all():
            raise InputError("the first reset is of all simulations: leave reset_mask out")
        return mask

    def _begin(self, mask: np.ndarray) -> np.ndarray:
        """New episodes where the mask is true; obs (N, obs_dim)."""
        ids = np.flatnonzero(mask)
        if self._tasks is None:
            self.sim.set_tasks(self.family.sample(self.np_random, len(ids)), ids)
        elif not self.sim.tasks or any(self.sim.tasks[i] is not self._tasks[i] for i in ids):
            self.sim.set_tasks([self._tasks[i] for i in ids], ids)
        self._ended = self._ended & ~mask
        return self.sim.reset(self.np_random, mask)

    def _info(self, step: Step | None) -> dict[str, Any]:
        """Gymnasium's vector info: for every key `k` a mask `_k` of the simulations that have it."""
        everyone = np.ones(self.num_envs, bool)
        task = {name: value.copy() for name, value in self.sim.task_values.items()}
        info: dict[str, Any] = {"task": task, "_task": everyone}
        if step is not None:
            info |= {"reward_terms": dict(step.terms), "_reward_terms": everyone.copy()}
            success = self.sim.succeeded
            if success is not None:
                info |= {"success": success.copy(), "_success": everyone.copy()}
        return info

    def _told(self, info: dict[str, Any]) -> dict[str, Any]:
        return _flat(info) if self._flat_info else info


def _only(mask: np.ndarray, info: dict[str, Any]) -> dict[str, np.ndarray]:
    """The masks of a vector info, true only where a step was taken; everybody has a task."""
    return {key: mask for key in info if key.startswith("_") and key != "_task"}


def _flat(info: dict[str, Any]) -> dict[str, Any]:
    """An info without the dicts in it, `task/velocity` for `task`, `velocity`; and so with their masks."""
    out: dict[str, Any] = {}
    nested = {key for key, value in info.items() if isinstance(value, dict)} - {"final_info"}  # Gymnasium's
    for key, value in info.items():
        if key in nested:
            out |= {f"{key}/{name}": number for name, number in value.items()}
        elif key.startswith("_") and key[1:] in nested:
            out |= {f"{key}/{name}": value for name in info[key[1:]]}
        else:
            out[key] = _flat(value) if key == "final_info" else value
    return out


def _spaces(family: TaskFamily) -> tuple[Box, Box]:
    """Of observations and actions."""
    return Box(-np.inf, np.inf, (family.obs_dim,), np.float32), Box(
        -1.0, 1.0, (family.action_dim,), np.float32
    )


def _metadata(family: TaskFamily) -> dict[str, Any]:
    return {"render_modes": RENDER_MODES, "render_fps": round(1 / family.dt)}


def _checked_mode(render_mode: str | None) -> str | None:
    if render_mode == "human":
        raise InputError(
            "render mode 'human' is Gymnasium's window: put an environment with render_mode='rgb_array' into "
            "its wrapper HumanRendering, or without a display into RecordVideo"
        )
    if render_mode is not None and render_mode not in RENDER_MODES:
        raise unknown("render mode", render_mode, RENDER_MODES)
    return render_mode


def _checked_autoreset(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        raise unknown("autoreset mode", str(mode), [m.value for m in AutoresetMode]) from None


def _checked_length(family: TaskFamily, steps: int | None) -> int | None:
    """Steps of an episode where it is shorter than the family's own; a longer one would never be reached."""
    if steps is not None and not 1 <= steps <= family.horizon:
        raise InputError(
            f"max_episode_steps={steps} is out of range; episodes of {family.name} take 1 to {family.horizon}"
        )
    return None if steps == family.horizon else steps


def _checked_options(options: dict[str, Any] | None, known: tuple[str, ...]) -> dict[str, Any]:
    for name in options or {}:
        if name not in known:
            raise unknown("reset option", name, known)
    return options or {}
