"""Seconds to a score: our learners with no flag, and others given the same cores.

A side is done when the episodes of an iteration of its training, with the noise of its actions, return
as much on average as the goal says. Medians over seeds; a training that is not there when patience or its
steps end counts as that long, and the line says how many were there.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from statistics import median

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from benchmarks.measure import Line, Plan, Skipped
from benchmarks.recurrent import TrialEnv
from metarl import MAML, MAMLConfig, MetaLSTM
from metarl.envs import load_family
from metarl.learners.agent import Agent
from metarl.sb3 import FamilyVecEnv
from metarl.threads import torch_threads

FAMILY, GOAL = "HalfCheetahVel", -80.0
MAML_GOAL = -130.0  # after the gradient steps that a side trains for
# As in the ProMP paper (Rothfuss et al. 2019), and its published configuration.
PROMP = MAMLConfig(
    n_tasks=40,
    n_episodes=20,
    inner_steps=1,
    learn_inner_lr=False,
    learned_loss=False,
    outer="ppo",
    outer_lr=1e-3,
    lr_schedule="constant",
    epochs=5,
    minibatches=1,
    clip=0.3,
    gae_lambda=1.0,
    init_std=1.0,
)


@dataclass(frozen=True)
class Found:
    """How a training ended.

    Attributes:
        seconds: that it took.
        frames: environment steps until then.
        arrived: it got to the goal.
    """

    seconds: float
    frames: int
    arrived: bool


def train(agent: Agent, steps: int, goal: float, patience: float) -> Found:
    """Train one of ours until its last kind of episode returns as much."""
    begun, arrived = time.perf_counter(), False

    def look(_: Agent, stats: dict[str, float]) -> bool:
        nonlocal arrived
        returns = [value for name, value in stats.items() if name.startswith("return/")]
        arrived = bool(returns) and returns[-1] >= goal
        return not arrived and time.perf_counter() - begun < patience

    agent.learn(steps, look)
    return Found(time.perf_counter() - begun, agent.num_timesteps, arrived)


class Look(BaseCallback):
    """Ends a training of Stable-Baselines3 as `train` ends one of ours."""

    def __init__(self, goal: float, patience: float, episodes: int):
        super().__init__()
        self.goal, self.patience, self.episodes = goal, patience, episodes
        self.begun, self.arrived = time.perf_counter(), False

    def _on_step(self) -> bool:
        return not self.arrived and time.perf_counter() - self.begun < self.patience

    def _on_rollout_end(self) -> None:
        returns = [e["r"] / self.episodes for e in self.model.ep_info_buffer]
        self.arrived = bool(returns) and float(np.mean(returns)) >= self.goal


def train_sb3(model: BaseAlgorithm, goal: float, patience: float, episodes: int = 1) -> Found:
    """Train one of Stable-Baselines3's on one torch thread, whose episodes are so many of ours."""
    model.set_logger(Logger(None, []))
    look = Look(goal, patience, episodes)
    with torch_threads(1):
        model.learn(1_000_000_000, look)
    return Found(time.perf_counter() - look.begun, model.num_timesteps, look.arrived)


def memory(seed: int, patience: float) -> Found:
    """The Meta-LSTM, by the family's recipe."""
    steps, config = MetaLSTM.usual(load_family(FAMILY))
    return train(MetaLSTM(FAMILY, config, seed=seed), steps, GOAL, patience)


def maml(config: MAMLConfig, seed: int, patience: float) -> Found:
    """MAML with some settings."""
    return train(MAML(FAMILY, config, seed=seed), 8_000_000, MAML_GOAL, patience)


def recurrent_ppo(seed: int, patience: float, n_envs: int) -> Found:
    """RecurrentPPO on the same trials, as many as ours in the process, where it is fastest."""
    from sb3_contrib import RecurrentPPO

    with closing(DummyVecEnv([TrialEnv] * n_envs)) as trials:
        env = VecNormalize(VecMonitor(trials), gamma=0.98)
        length = 2 * load_family(FAMILY).horizon
        model = RecurrentPPO(
            "MlpLstmPolicy",
            env,
            n_steps=length,
            batch_size=length * n_envs // 16,
            n_epochs=3,
            learning_rate=1e-3,
            gamma=0.98,
            stats_window_size=n_envs,
            policy_kwargs={"lstm_hidden_size": 128, "log_std_init": -0.5},
            seed=seed,
            device="cpu",
        )
        return train_sb3(model, GOAL, patience, episodes=2)


def ppo(env: VecNormalize, n_steps: int, seed: int) -> PPO:
    """Stable-Baselines3's PPO, n_steps of every environment an iteration."""
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


def told_ppo(seed: int, patience: float) -> Found:
    """PPO that is told the task: nothing to find out, on simulations in our batch."""
    horizon = load_family(FAMILY).horizon
    with closing(FamilyVecEnv(FAMILY, 64, seed=seed, told=True)) as batch:
        return train_sb3(ppo(VecNormalize(batch, gamma=0.98), horizon, seed), GOAL, patience)


def _ended(side: Sequence[Found]) -> tuple[float, str]:
    """Median seconds of trainings, and in words how they ended."""
    frames, there = median(f.frames for f in side) / 1e6, sum(f.arrived for f in side)
    return median(f.seconds for f in side), f"{frames:.2g} M frames, {there} of {len(side)} there"


def _line(
    name: str,
    ours: Callable[[int, float], Found],
    theirs: Callable[[int, float], Found],
    partner: str,
    plan: Plan,
) -> Line:
    """Medians over seeds, the two sides in turn."""
    pairs = [(ours(seed, plan.patience), theirs(seed, plan.patience)) for seed in range(min(3, plan.rounds))]
    (value, mine), (versus, other) = map(_ended, zip(*pairs, strict=True))
    return Line(name, value, f"s ({mine})", f"{partner} ({other})", versus, value / versus)


def memory_to_score(name: str, plan: Plan) -> Line:
    """The Meta-LSTM over RecurrentPPO.

    Raises:
        Skipped: sb3-contrib, which is optional, is not installed.
    """
    if find_spec("sb3_contrib") is None:
        raise Skipped("sb3-contrib is not installed: pip install 'metarl-robots[bench]'")
    partner = partial(recurrent_ppo, n_envs=plan.n_trials)
    return _line(name, memory, partner, "RecurrentPPO", plan)


def memory_to_told_score(name: str, plan: Plan) -> Line:
    """The Meta-LSTM, which has to find out its task, over a PPO that is told it."""
    return _line(name, memory, told_ppo, "SB3's PPO, told the task", plan)


def maml_to_score(name: str, plan: Plan) -> Line:
    """MAML at its defaults over the settings of ProMP."""
    return _line(name, partial(maml, MAMLConfig()), partial(maml, PROMP), "settings of ProMP", plan)
