"""N simulations of a world that somebody else wrote: one by one, or in a VectorEnv of theirs."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from metarl.envs.others.family import SEED, GymFamily
from metarl.envs.task import Task
from metarl.envs.told import commands, task_features
from metarl.envs.world import Failure, Step, assigned
from metarl.errors import InputError, NotFiniteError, with_place
from metarl.ranges import whole

SUCCESS = ("success", "is_success")  # what infos call it
HERE = str(Path(__file__).parent)


class OthersWorld:
    """N simulations of a `GymFamily`, as `metarl.envs.world.World` has it.

    A subclass begins episodes and takes steps; it keeps `_obs` and `succeeded` of what it has stepped.

    Args:
        family: whose tasks.
        n_sims: N.
    """

    def __init__(self, family: GymFamily, n_sims: int):
        self.family, self.n_sims = family, whole("n_sims", n_sims)
        if self.n_sims < 1:
            raise InputError(f"{n_sims} simulations: use at least 1")
        self.tasks: list[Task] = []
        self.elapsed = np.zeros(n_sims, int)
        self.succeeded: np.ndarray | None = None  # until an info says what that is
        self.n_steps = self.n_failures = 0
        self.failures: list[Failure] = []
        self._task_values: dict[str, np.ndarray] = {}
        self._obs = np.zeros((n_sims, family.seen.size), np.float32)
        self._going = np.zeros(n_sims, bool)  # whether an episode has begun and not ended

    # What a subclass defines.

    def _place(self, ids: np.ndarray) -> None:
        """Simulations have got other tasks."""

    def _begin(self, mask: np.ndarray, seeds: np.ndarray) -> None:
        """Start episodes where the mask is true, each from its seed."""
        raise NotImplementedError

    def _advance(self, action: np.ndarray, live: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take a step where `live` is true: reward, terminated, truncated."""
        raise NotImplementedError

    # What follows from it.

    @property
    def task_values(self) -> dict[str, np.ndarray]:
        """The tasks' numbers by parameter, (N,), not to be written to."""
        return self._task_values

    def told(self) -> np.ndarray:
        """The tasks in numbers, (N, n) float32."""
        return task_features(self.family, self._task_values)

    def shown(self) -> None:
        """Nobody shows what to do in a world of others."""

    def set_tasks(self, tasks: Sequence[Mapping[str, Any]], ids: np.ndarray | None = None) -> None:
        """Give simulations their tasks; takes effect for their next reset.

        Those that have none yet get the first one.

        Args:
            tasks: one per simulation of `ids`, as tasks or as names and numbers.
            ids: (n,) sorted simulations; None is all.

        Raises:
            InputError: the family knows no such task.
        """
        ids, tasks, _ = assigned(self.family, self.n_sims, tasks, ids)
        first = not self.tasks
        if first:
            self.tasks = [tasks[0]] * self.n_sims
        for i, task in zip(ids, tasks, strict=True):
            self.tasks[i] = task
        self._task_values = self.family.stack(self.tasks)
        self._place(np.arange(self.n_sims) if first else ids)

    def reset(self, rng: np.random.Generator, mask: np.ndarray | None = None) -> np.ndarray:
        """Start new episodes where the mask is true; the others are left as they are.

        Args:
            rng: draws a seed for every simulation whatever the mask.
            mask: (N,) bool; None is all.

        Returns:
            obs (N, obs_dim) float32 of all simulations.

        Raises:
            InputError: no simulation has a task yet, or what is shown as an episode begins is not finite.
        """
        if not self.tasks:
            raise InputError("no simulation has a task yet: set the tasks before the first reset")
        seeds = rng.integers(2**31, size=self.n_sims)
        mask = np.ones(self.n_sims, bool) if mask is None else mask
        if mask.any():
            with as_agreed(self.family, "begin an episode"):
                self._begin(mask, seeds)
            lost = mask & ~np.isfinite(self._obs).all(axis=1)
            if lost.any():
                raise InputError(
                    f"{self.family.name} shows what is not a finite number as an episode begins, on task "
                    f"{dict(self.tasks[lost.argmax()])}: it has to be mended first"
                )
        self.elapsed[mask], self._going[mask] = 0, True
        if self.succeeded is not None:
            self.succeeded[mask] = False
        return self._with_commands()

    def step(self, action: np.ndarray, mask: np.ndarray | None = None) -> Step:
        """Advance simulations by one step.

        Args:
            action: (N, action_dim), clipped to [-1, 1].
            mask: (N,) bool, which simulations move; None is all. The others wait for their next reset.

        Raises:
            ValueError: an action has the wrong shape.
            InputError: an episode has not begun, or has ended.
            NotFiniteError: an action is not a number.
        """
        live = np.ones(self.n_sims, bool) if mask is None else mask
        if np.shape(action) != (self.n_sims, self.family.action_dim):
            raise ValueError(
                f"actions have shape {(self.n_sims, self.family.action_dim)}, not {np.shape(action)}"
            )
        if not self._going[live].all():
            raise InputError("no episode is going on in some simulations: reset them before they step")
        lost = live & np.isnan(action).any(axis=1)
        if lost.any():
            i = lost.argmax()
            raise NotFiniteError(
                f"action of simulation {i} is not a number; the policy is damaged or has diverged"
            )
        with as_agreed(self.family, "take a step"):
            reward, terminated, truncated = self._advance(np.asarray(action), live)
        self.elapsed += live
        self.n_steps += int(live.sum())
        obs, reward = self._with_commands(), reward.astype(np.float32)
        failed = live & ~(np.isfinite(obs).all(axis=1) & np.isfinite(reward))
        if failed.any():
            self.n_failures += int(failed.sum())
            obs[failed], reward[failed] = 0.0, 0.0
            self._obs[failed] = 0.0  # which those that wait are shown again
        terminated = terminated | failed
        truncated = (truncated | (self.elapsed >= self.family.horizon)) & ~terminated
        self._going &= live & ~(terminated | truncated)
        return Step(obs, reward, {"reward": reward.copy()}, terminated, truncated, failed)

    def _with_commands(self) -> np.ndarray:
        """Observations, (N, obs_dim) float32: what the world shows, and what is told."""
        return np.concatenate([self._obs, commands(self.family, self._task_values)], axis=1)

    def error(self) -> None:
        """Nobody says how far a simulation is from what is asked."""

    def take_failures(self, other: Any) -> None:
        """Count as ours what has failed in another world of the family, which begins anew."""
        self.n_failures += other.n_failures
        other.n_failures = 0

    def _note(self, i: Any, info: Mapping[str, Any]) -> None:
        """What an info says of success."""
        for name in SUCCESS:
            if name in info:
                if self.succeeded is None:
                    self.succeeded = np.zeros(self.n_sims, bool)
                self.succeeded[i] = np.asarray(info[name], float) > 0.5
                return


@contextmanager
def as_agreed(family: GymFamily, doing: str) -> Iterator[None]:
    """Say in one line, and where, that a world does not do something as Gymnasium's worlds do.

    Raises:
        InputError: it has failed within.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # somebody else's can fail in any way
        raise InputError(
            f"{family.name} does not {doing} as Gymnasium's worlds do: {with_place(error, HERE)}"
        ) from error


class GymWorld(OthersWorld):
    """N worlds of Gymnasium's, stepped one after another.

    Every episode begins from a seed of ours, so that a training that was stopped goes on as if it never had.
    """

    def __init__(self, family: GymFamily, n_sims: int):
        super().__init__(family, n_sims)
        self._envs: list[Any] = [None] * n_sims
        self._kinds: list[Hashable] = [None] * n_sims
        self._spare: dict[Hashable, list[gymnasium.Env]] = {}

    def _place(self, ids: np.ndarray) -> None:
        wanted = {int(i): self.family.kind(self.tasks[i]) for i in ids}
        leaving = [i for i, kind in wanted.items() if self._envs[i] is None or self._kinds[i] != kind]
        for i in leaving:
            if (env := self._envs[i]) is not None:
                self._spare.setdefault(self._kinds[i], []).append(env)
        for i in leaving:
            spare = self._spare.get(wanted[i])
            self._envs[i] = spare.pop() if spare else self.family.make(wanted[i])
            self._kinds[i], self._going[i] = wanted[i], False

    def _begin(self, mask: np.ndarray, seeds: np.ndarray) -> None:
        for i in np.flatnonzero(mask):
            obs, _ = self.family.begin(self._envs[i], self.tasks[i], int(seeds[i]))
            self._obs[i] = self.family.seen(obs)[0]

    def _advance(self, action: np.ndarray, live: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        reward, terminated, truncated = np.zeros(self.n_sims), np.zeros_like(live), np.zeros_like(live)
        done = self.family.done(action)
        for i in np.flatnonzero(live):
            obs, earned, terminated[i], truncated[i], info = self._envs[i].step(done[i])
            self._obs[i], reward[i] = self.family.seen(obs)[0], float(earned)
            self._note(i, info)
        return reward, terminated, truncated


class VectorWorld(OthersWorld):
    """A VectorEnv of somebody's, in any of Gymnasium's three ways to begin episodes anew.

    Without autoreset it is told which ones; after a reset at the same step, what it has shown already is
    handed over. After one at the next step nobody can see how an episode begins before all others have moved
    on: where only some end, the next one begins with a step in which nothing happens, at what was seen last.
    """

    def __init__(self, family: GymFamily, n_sims: int):
        super().__init__(family, n_sims)
        self.env = family.make_vec(n_sims)
        self.mode = AutoresetMode(self.env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        self._over = np.zeros(n_sims, bool)  # as the VectorEnv has it
        self._fresh = np.zeros_like(self._obs)  # what episodes begin with that it has begun by itself
        self._idle = np.zeros(n_sims, bool)  # whose next step is the one in which nothing happens
        self._told: dict[str, np.ndarray] = {}

    def _begin(self, mask: np.ndarray, seeds: np.ndarray) -> None:
        if mask.all() or self.mode is AutoresetMode.DISABLED:
            self._reset(mask, seeds)
        elif (mask & ~self._over).any():
            raise InputError(
                f"{self.family.name} begins an episode by itself where one has ended, and nowhere else: its "
                f"episodes have to end by themselves, at the latest after {self.family.horizon} steps"
            )
        elif self._told is not self._task_values:
            raise InputError(f"{self.family.name} takes new tasks only where all episodes begin anew")
        elif self.mode is AutoresetMode.SAME_STEP:
            self._obs[mask] = self._fresh[mask]
        else:
            self._idle |= mask
        self._over &= ~mask

    def _reset(self, mask: np.ndarray, seeds: np.ndarray) -> None:
        """Let the VectorEnv begin episodes, all or, where it is made for that, some."""
        values = self._task_values
        self.family.set_tasks(self.env, {k: v for k, v in values.items() if k != SEED.name})
        self._told = values
        options = self.family.options(values) or {}
        if not mask.all():
            options["reset_mask"] = mask
        own = values[SEED.name] if SEED in self.family.params else seeds
        if hasattr(self.env, "set_attr"):  # it holds single worlds, each of which has a seed
            seed: Any = [int(x) for x in own]
        elif SEED in self.family.params:
            raise InputError(
                f"{self.family.name} takes one seed for all simulations, which cannot be what tells their "
                "tasks apart: name what does"
            )
        else:
            seed = int(own[0]) if mask.all() else None
        obs, _ = self.env.reset(seed=seed, options=options or None)
        self._obs[mask] = self.family.seen(obs, self.n_sims)[mask]
        self._idle[mask] = False

    def _advance(self, action: np.ndarray, live: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        waiting = self._over & ~live
        if self.mode is AutoresetMode.DISABLED and waiting.any():  # all move; what it shows of these is lost
            before = self._obs.copy()
            self._reset(waiting, np.zeros(self.n_sims, int))
            self._obs, self._over = before, self._over & ~waiting
        obs, reward, terminated, truncated, info = self.env.step(self.family.done(action))
        ended = terminated | truncated
        rows = self.family.seen(obs, self.n_sims)
        if self.mode is AutoresetMode.SAME_STEP and ended.any():
            self._fresh[ended] = rows[ended]
            rows[ended] = self._final(info, ended)
        self._note_all(info, ended, live)
        self._over, self._obs[live] = ended, rows[live]
        self.elapsed[self._idle & live] -= 1  # it counts for nothing
        self._idle &= ~live
        return np.array(reward, float), np.array(terminated), np.array(truncated)

    def _final(self, info: Mapping[str, Any], ended: np.ndarray) -> np.ndarray:
        """What was seen at the end of episodes, of those that have ended."""
        final = info.get("final_obs", info.get("final_observation"))
        if final is None:
            raise InputError(f"{self.family.name} begins anew within a step, and does not tell its final_obs")
        if isinstance(final, np.ndarray) and final.dtype == object:
            return np.concatenate([self.family.seen(final[i]) for i in np.flatnonzero(ended)])
        return self.family.seen(final, self.n_sims)[ended]

    def _note_all(self, info: Mapping[str, Any], ended: np.ndarray, live: np.ndarray) -> None:
        """What infos say of success, at an episode's end in `final_info`."""
        for found, rows in ((info, live), (info.get("final_info"), ended & live)):
            if isinstance(found, Mapping):
                self._note(rows, {k: np.asarray(v)[rows] for k, v in found.items() if k in SUCCESS})
