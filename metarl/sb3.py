"""Stable-Baselines3: its view of a family, without subprocesses, and its policies before the evaluator."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from metarl.envs import FamilyVectorEnv, InputError, Task, TaskFamily, World
from metarl.envs.told import known_of
from metarl.learners.adapter import EPISODES
from metarl.sampling.episodes import play
from metarl.sampling.trajectories import Trajectories
from metarl.threads import torch_threads


class FamilyVecEnv(VecEnv):
    """Many simulations of a family, each with its own task, for any algorithm of Stable-Baselines3.

        PPO("MlpPolicy", FamilyVecEnv("HalfCheetahVel", 256)).learn(1_000_000)

    The infos of an episode's last step hold `terminal_observation`, `TimeLimit.truncated`, `episode` (as
    `Monitor` and `VecMonitor` write it, so neither is needed), its `task` and, where the family defines
    success, `is_success`; all others are empty. `reset_infos` hold the `task` of the episode that goes on.
    `set_options({"task": {...}})`, or a list with one for each, sets the tasks from the next reset on,
    {"task": None} goes back to drawing one for each episode.

    Args:
        family: a family, its name in the catalogue, or `file.py:ClassName`.
        n_envs: number of simulations, N.
        task: one task for all.
        tasks: N tasks, one each. With neither, every episode draws a training task.
        told: whether observations end with the task's numbers, as `BatchSim.told` gives them: what an
            oracle sees.
        n_threads: physics threads; 0 is one per CPU. The numbers are the same with any.
        seed: of everything drawn, as `seed(seed)` before the first reset.
        render_mode: "rgb_array" or None.
        width, height: of a frame, pixels.

    Raises:
        InputError: no such family, no such task in it, not N tasks, or no simulation at all.
    """

    def __init__(
        self,
        family: str | TaskFamily,
        n_envs: int,
        task: Mapping[str, float | Sequence[float]] | None = None,
        tasks: Sequence[Mapping[str, float | Sequence[float]]] | None = None,
        told: bool = False,
        n_threads: int = 0,
        seed: int | None = None,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 480,
    ):
        if n_envs < 1:
            raise InputError(f"{n_envs} environments are too few; use at least 1")
        self._batch = FamilyVectorEnv(family, n_envs, task, tasks, n_threads, render_mode, width, height)
        self.family, self.sim, self.told = self._batch.family, self._batch.sim, told
        self.render_mode = render_mode  # the base class asks for it
        n = self.family.obs_dim + (known_of(self.family) if told else 0)
        space = Box(-np.inf, np.inf, (n,), np.float32)
        super().__init__(n_envs, space, self._batch.single_action_space)
        self.metadata["render_fps"] = self._batch.metadata["render_fps"]
        self._return = np.zeros(n_envs)  # of each episode so far
        self._created = time.perf_counter()
        if seed is not None:
            self.seed(seed)

    def reset(self) -> np.ndarray:
        """Start an episode in every simulation; obs (N, obs_dim).

        Raises:
            InputError: no such option, or no such task.
        """
        seed, options = self._seeds[0], self._options
        self._reset_seeds()
        self._reset_options()
        obs, _ = self._batch.reset(seed=seed, options=_shared(options))
        self._begin(np.arange(self.num_envs))
        return self._seen(obs)

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions (N, action_dim); they are clipped to [-1, 1]."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Advance every simulation by one step. Ended episodes begin anew.

        Returns:
            obs (N, obs_dim), reward (N,), ended (N,), and N infos.
        """
        length = self.sim.elapsed + 1
        obs, reward, terminated, truncated, info = self._batch.step(self._actions)
        self._return += reward
        ended = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if ended.any():
            last, success = info["final_obs"], info["final_info"].get("success")
            seconds, ids = round(time.perf_counter() - self._created, 6), np.flatnonzero(ended)
            for i in ids:
                infos[i] = {
                    "terminal_observation": np.concatenate([last[i], self._told[i]]),
                    "TimeLimit.truncated": bool(truncated[i]),
                    "episode": {"r": float(self._return[i]), "l": int(length[i]), "t": seconds},
                    "task": self.reset_infos[i]["task"],
                }
                if success is not None:
                    infos[i]["is_success"] = bool(success[i])
            self._begin(ids)
        return self._seen(obs), reward, ended, infos

    def close(self) -> None:
        """Free what rendering took."""
        self._batch.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Draw every simulation's present state: N frames (height, width, 3) uint8; None without a mode."""
        return list(self._batch.render() or [None] * self.num_envs)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Each environment's `task`, or an attribute of this object or else of the family: they share it."""
        ids = self._get_indices(indices)
        if attr_name == "task":
            return [self.reset_infos[i].get("task") for i in ids]
        value = getattr(self if hasattr(self, attr_name) else self.family, attr_name)
        return [value for _ in ids]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the family, for all environments at once: they share it.

        Raises:
            InputError: not for all of them, or it is no attribute for the family.
        """
        if attr_name == "task" or hasattr(self, attr_name):
            raise InputError(f"{attr_name} cannot be set; tasks are chosen by set_options before a reset")
        if set(self._get_indices(indices)) != set(range(self.num_envs)):
            raise InputError(f"all environments share one {attr_name}: set it without indices")
        setattr(self.family, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the family, once: each of the environments gets its result."""
        value = getattr(self.family, method_name)(*method_args, **method_kwargs)
        return [value for _ in self._get_indices(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None
    ) -> list[bool]:
        """True for `Monitor`, whose infos these are, else False."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def _begin(self, ids: np.ndarray) -> None:
        """Note what the new episodes of simulations `ids` begin with."""
        self._return[ids] = 0.0
        for i in ids:
            self.reset_infos[i] = {"task": dict(self.sim.tasks[i])}

    def _seen(self, obs: np.ndarray) -> np.ndarray:
        self._told = self.sim.told() if self.told else np.empty((self.num_envs, 0), np.float32)
        return np.concatenate([obs, self._told], axis=1)


class PolicyAdapter:
    """A policy of Stable-Baselines3 or sb3-contrib as the evaluator sees it: each episode for itself.

        evaluate(PolicyAdapter(model), family, family.tasks("test"), 1, 10, learner="ppo")

    One that was trained on `FamilyVecEnv(..., told=True)` is told the task again. A recurrent policy begins
    every episode with an empty memory, as in its training.

    Args:
        model: PPO, SAC, RecurrentPPO, ... trained on a `FamilyVecEnv`.
        deterministic: act by the mean; else draw actions, the same ones for the same seed of the evaluation.
        normalize: whose means and scales observations get; None is the model's own, where it has a
            `VecNormalize`. A model that was loaded without its environment has lost it.
    """

    column = EPISODES
    shares_episodes = False

    def __init__(
        self, model: BaseAlgorithm, deterministic: bool = True, normalize: VecNormalize | None = None
    ):
        self.model, self.deterministic = model, deterministic
        self.normalize = normalize or model.get_vec_normalize_env()

    def begin(self, tasks: Sequence[Task], rng: np.random.Generator) -> None:
        """New tasks."""
        self.rng = rng

    def collect(self, sim: World, rng: np.random.Generator) -> Trajectories:
        """One episode in each simulation.

        Raises:
            InputError: the model is of another robot.
        """
        family, tells = sim.family, self._tells(sim)
        out = Trajectories.empty(family.horizon, sim.n_sims, family.obs_dim, family.action_dim)
        state: Any = None
        with torch_threads(1), torch.random.fork_rng():  # the model draws from the one that all share
            torch.manual_seed(int(self.rng.integers(2**31)))
            for t, _ in play(sim, out, rng):
                seen: Any = np.concatenate([out.obs[t], sim.told()], axis=1) if tells else out.obs[t]
                if self.normalize is not None:
                    seen = self.normalize.normalize_obs(seen)
                start = out.episode_start[t]
                out.action[t], state = self.model.predict(seen, state, start, self.deterministic)
        return out

    def adapt(self, episodes: Trajectories) -> None:
        """Nothing is learned."""

    def _tells(self, sim: World) -> bool:
        """Whether the model sees more than the observation: what may be known of the task."""
        shape, blind = self.model.observation_space.shape, sim.family.obs_dim
        known = blind + sim.told().shape[1]
        if shape not in ((blind,), (known,)):
            raise InputError(
                f"the model sees {shape}, and {sim.family.name} gives ({blind},), or with the task told "
                f"({known},); judge it on the family that it was trained on"
            )
        return shape != (blind,)


def _shared(options: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Options of N environments as those of the batch.

    Raises:
        InputError: some environments are given a task and others are not.
    """
    if all(o is options[0] for o in options):  # given once, for all
        return options[0]
    if not any(options):
        return None
    if any(o.get("task") is None for o in options):
        raise InputError("give every environment a task, or the same options to all")
    return {"tasks": [o["task"] for o in options]}
