#!/usr/bin/env -S bash -c '"${0%/*}"/environment && exec "${0%/*}"/../.venv/bin/python "$0" "$@"'
"""Measure what others get on a family's held-out tasks: random, average, oracle, and from scratch.

Stable-Baselines3's PPO is trained over the family without a memory (average), told the task (oracle), and on
a few of the held-out tasks alone (from scratch). The figures go to `envs/references/<family>.json`, where
every evaluation finds them.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecNormalize

from metarl.envs import InputError, TaskFamily, load_family
from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.references import ModelPolicy, RandomPolicy, References
from metarl.runs.run_folder import versions
from metarl.sb3 import FamilyVecEnv
from metarl.threads import torch_threads

N_EPISODES = 10  # of each task in an evaluation


@dataclass
class Options:
    """What to measure."""

    family: tyro.conf.Positional[str]
    """a name from `metarl families`"""
    steps: float = 5e6
    """environment steps of the average and of the oracle's training, each"""
    scratch_steps: float = 2e6
    """environment steps of each training from scratch"""
    scratch_tasks: int = 3
    """held-out tasks to train on from scratch, spread over their list"""
    seeds: int = 1
    """trainings of the average and of the oracle"""
    n_envs: int = 64
    """simulations side by side"""
    n_threads: int = 0
    """physics threads, 0 for one per CPU"""


class Curve(BaseCallback):
    """The mean return of the last episodes, after each rollout."""

    def __init__(self):
        super().__init__()
        self.env_steps: list[int] = []
        self.returns: list[float] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if self.model.ep_info_buffer:
            self.env_steps.append(self.num_timesteps)
            self.returns.append(float(np.mean([e["r"] for e in self.model.ep_info_buffer])))


def ppo(env: VecNormalize, n_steps: int, seed: int) -> PPO:
    """The PPO that references are trained with, n_steps of every environment an iteration."""
    return PPO(
        "MlpPolicy",
        env,
        learning_rate=lambda left: 1e-3 * left,
        n_steps=n_steps,
        batch_size=max(2, n_steps * env.num_envs // 8),
        n_epochs=5,
        gamma=0.98,
        stats_window_size=env.num_envs,
        policy_kwargs={"log_std_init": -0.5},
        seed=seed,
        device="cpu",
    )


def train(
    options: Options, family: TaskFamily, steps: float, seed: int, **kwargs: Any
) -> tuple[ModelPolicy, Curve]:
    """Train PPO on a family; the policy acts by its mode on observations normalised as in training.

    Args:
        options: sizes.
        family: to train on.
        steps: environment steps.
        seed: of everything.
        kwargs: of `FamilyVecEnv`: which task, and whether it is told.
    """
    env = FamilyVecEnv(family, options.n_envs, n_threads=options.n_threads, seed=seed, **kwargs)
    normalised = VecNormalize(env, gamma=0.98)
    model = ppo(normalised, family.horizon, seed)
    curve = Curve()
    with torch_threads(1):
        model.learn(int(steps), curve)

    def act(obs: np.ndarray) -> np.ndarray:
        return model.predict(normalised.normalize_obs(obs), deterministic=True)[0]

    return ModelPolicy(act, env.told), curve


def measure(options: Options) -> References:
    """Train and evaluate everything."""
    family = load_family(options.family)
    tasks = family.tasks("test")

    def returns(policy: ModelPolicy | RandomPolicy) -> np.ndarray:
        result = evaluate(policy, family, tasks, 1, N_EPISODES, n_threads=options.n_threads)
        return np.array(result.returns)[:, 0]

    found = {"random": returns(RandomPolicy())}
    for name, told in (("average", False), ("oracle", True)):
        policies = [
            train(options, family, options.steps, seed, told=told)[0] for seed in range(options.seeds)
        ]
        found[name] = np.mean([returns(policy) for policy in policies], axis=0)
        print(f"{name}: {found[name].mean():.1f} (random: {found['random'].mean():.1f})", flush=True)
    scratch = []
    for k in np.linspace(0, len(tasks) - 1, min(options.scratch_tasks, len(tasks))).astype(int):
        _, curve = train(options, family, options.scratch_steps, 0, task=tasks[k])
        scratch.append({"task": dict(tasks[k]), "env_steps": curve.env_steps, "returns": curve.returns})
        print(f"from scratch on {dict(tasks[k])}: {curve.returns[-1]:.1f}", flush=True)
    return References(
        family=family.name,
        tasks=[dict(task) for task in tasks],
        **{name: values.tolist() for name, values in found.items()},
        scratch=scratch,
        made_by={"options": vars(options), "versions": versions()},
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and save; returns the exit status."""
    options = tyro.cli(Options, args=argv, description=__doc__)
    try:
        print(f"saved {measure(options).save()}")
    except InputError as error:
        print(f"baselines: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
