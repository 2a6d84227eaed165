"""The settings of the Meta-LSTM. Each is a flag of `metarl train --learner meta-lstm`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from metarl.learners.teacher.config import ToldIn
from metarl.ranges import check

RANGES = {
    "n_trials": (1, 100_000),
    "n_episodes": (1, 1000),
    "width": (1, 4096),
    "hidden": (1, 4096),
    "init_std": (1e-3, 10),
    "min_std": (1e-6, 10),
    "final_std": (0, 10),
    "gamma": (0, 1),
    "gae_lambda": (0, 1),
    "lr": (1e-8, 10),
    "epochs": (1, 1000),
    "minibatches": (1, 100_000),
    "piece": (1, 1_000_000),
    "teacher": (0, 0.95),
    "teacher_kl": (1e-8, 1000),
    "imitate": (0, 0.999),
    "clip": (1e-3, 1000),
    "target_kl": (1e-8, 1000),
    "entropy": (0, 100),
    "value_weight": (0, 1000),
    "max_grad_norm": (1e-6, 1e6),
    "nominal": (0, 1),
    "widen": (0, 1),
}


@dataclass(frozen=True)
class MetaLSTMConfig:
    """How a policy with a memory is meta-trained.

    Attributes:
        n_trials: trials an iteration, each on a task of its own
        n_episodes: episodes a trial, memory kept in between; a trial is so many horizons long, and where
            episodes end early it holds more of them
        core: what the policy remembers with (feedforward: nothing)
        width: of the core
        hidden: of the fully connected layer, for action and value each
        memory_span: how long the policy remembers (episode shows what remembering for longer is worth)
        reward_input: the policy sees the last reward (false shows what that is worth)
        change_input: what the policy sees of the changes in the last step, magnified, which tell it which way
            the reward grows: that of the reward, or those of the observation too (all), which finds goals
            sooner
        init_std: initial standard deviation of the actions
        min_std: floor of the standard deviation, which keeps exploration alive
        final_std: what the standard deviation is led to amid the training, so that the policy learns to
            search without noise, as it is judged; 0 leaves it to itself
        gamma: discount per step
        gae_lambda: bias-variance trade-off of the advantages, 1 for Monte-Carlo returns
        lr: Adam's step size at the beginning
        lr_schedule: how it falls to zero towards the end of training
        epochs: passes over the trials of an iteration
        minibatches: groups of pieces of trials, each one Adam step; fewer where there are fewer pieces
        piece: steps through which slopes flow back: a trial is learned from in pieces of about so many, each
            from what was remembered there
        clip: clip range of the probability ratio
        target_kl: an iteration's learning stops early at 1.5 times this KL divergence from the policy that
            acted, and the learning rate falls until it is kept
        entropy: weight of the entropy bonus
        value_weight: weight of the value loss
        max_grad_norm: gradients longer than this are shortened
        critic: what expects the return in training is told the task, or as blind as what acts
        told_in: how critic and teacher are told: by inputs, or by inputs and weights that change with them,
            which pays where tasks are few numbers and done in different ways
        teacher: share of the steps in which a teacher is trained first, which is told the task and has no
            memory, to be imitated; 0 for none, nor is there one where the family brings an expert
        teacher_kl: target_kl of the teacher
        imitate: share of the other steps in which teacher or expert is only imitated, on the states that the
            policy visits itself; in half of the rest that fades; 0 imitates no expert
        cut_at_failure: nothing after a failed episode counts for what led to it; false lets the rest of the
            trial count
        nominal: share of the steps, the first, in which all robots are as in the model file
        widen: share of the steps, the next, in which their dynamics go from there to what the tasks say
    """

    n_trials: int = 64
    n_episodes: int = 2
    core: Literal["lstm-memory", "lstm", "gru", "transformer", "feedforward"] = "lstm-memory"
    width: int = 128
    hidden: int = 64
    memory_span: Literal["trial", "episode"] = "trial"
    reward_input: bool = True
    change_input: Literal["none", "reward", "all"] = "reward"
    init_std: float = 0.6
    min_std: float = 0.1
    final_std: float = 0.0
    gamma: float = 0.98
    gae_lambda: float = 0.95
    lr: float = 1e-3
    lr_schedule: Literal["linear", "cosine", "constant"] = "linear"
    epochs: int = 3
    minibatches: int = 16
    piece: int = 100
    clip: float = 0.2
    target_kl: float = 0.05
    entropy: float = 0.001
    value_weight: float = 0.5
    max_grad_norm: float = 0.5
    critic: Literal["told", "blind"] = "told"
    told_in: ToldIn = "inputs"
    teacher: float = 0.0
    teacher_kl: float = 0.03
    imitate: float = 0.6
    cut_at_failure: bool = True
    nominal: float = 0.0
    widen: float = 0.0
    # What files hold implicitly that were written before there was such a setting.
    EARLIER: ClassVar[Mapping[str, Any]] = {
        "piece": 1_000_000,
        "critic": "blind",
        "told_in": "inputs",
        "teacher": 0.0,
        "teacher_kl": 0.03,
        "imitate": 0.0,
        "final_std": 0.0,
        "nominal": 0.0,
        "widen": 0.0,
    }

    def __post_init__(self):
        check(self, RANGES)
