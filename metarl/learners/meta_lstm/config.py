"""The settings of the Meta-LSTM. Each is a flag of `metarl train --learner meta-lstm`."""

from dataclasses import dataclass
from typing import Literal

from metarl.envs import InputError
from metarl.policies.cores import CORES
from metarl.ranges import check

RANGES = {
    "n_trials": (1, 100_000),
    "n_episodes": (1, 1000),
    "width": (1, 4096),
    "hidden": (1, 4096),
    "init_std": (1e-3, 10),
    "min_std": (1e-6, 10),
    "gamma": (0, 1),
    "gae_lambda": (0, 1),
    "lr": (1e-8, 10),
    "epochs": (1, 1000),
    "minibatches": (1, 100_000),
    "clip": (1e-3, 1000),
    "target_kl": (1e-8, 1000),
    "entropy": (0, 100),
    "value_weight": (0, 1000),
    "max_grad_norm": (1e-6, 1e6),
}


@dataclass(frozen=True)
class MetaLSTMConfig:
    """How a policy with a memory is meta-trained."""

    n_trials: int = 64
    """trials an iteration, each on a task of its own"""
    n_episodes: int = 2
    """episodes a trial, memory kept in between; a trial is so many horizons long, and where episodes
    end early it holds more of them"""
    core: Literal[tuple(CORES)] = "lstm-memory"
    """what the policy remembers with (feedforward: nothing)"""
    width: int = 128
    """of the core"""
    hidden: int = 64
    """of the fully connected layer, for action and value each"""
    memory_span: Literal["trial", "episode"] = "trial"
    """how long the policy remembers (episode shows what remembering for longer is worth)"""
    reward_input: bool = True
    """the policy sees the last reward (false shows what that is worth)"""
    change_input: Literal["none", "reward", "all"] = "reward"
    """what the policy sees of the changes in the last step, magnified, which tell it which way the reward
    grows: that of the reward, or those of the observation too (all), which finds goals sooner"""
    init_std: float = 0.6
    """initial standard deviation of the actions"""
    min_std: float = 0.1
    """floor of the standard deviation, which keeps exploration alive"""
    gamma: float = 0.98
    """discount per step"""
    gae_lambda: float = 0.95
    """bias-variance trade-off of the advantages, 1 for Monte-Carlo returns"""
    lr: float = 2e-3
    """Adam's step size at the beginning"""
    lr_schedule: Literal["linear", "cosine", "constant"] = "linear"
    """how it falls to zero towards the end of training"""
    epochs: int = 3
    """passes over the trials of an iteration"""
    minibatches: int = 4
    """groups of whole trials, each one Adam step"""
    clip: float = 0.2
    """clip range of the probability ratio"""
    target_kl: float = 0.05
    """an iteration's learning stops early at 1.5 times this KL divergence from the policy that acted, and
    the learning rate falls until it is kept"""
    entropy: float = 0.001
    """weight of the entropy bonus"""
    value_weight: float = 0.5
    """weight of the value loss"""
    max_grad_norm: float = 0.5
    """gradients longer than this are shortened"""
    cut_at_failure: bool = True
    """nothing after a failed episode counts for what led to it; false lets the rest of the trial count"""

    def __post_init__(self):
        check(self, RANGES)
        if self.minibatches > self.n_trials:
            raise InputError(f"--minibatches {self.minibatches} is more than --n-trials {self.n_trials}")
