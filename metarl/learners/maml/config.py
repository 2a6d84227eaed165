"""The settings of MAML. Each is a flag of `metarl train --learner maml`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from metarl.learners.teacher.config import ToldIn
from metarl.ranges import check

RANGES = {
    "n_tasks": (1, 100_000),
    "n_episodes": (1, 100_000),
    "inner_lr": (0, 100),
    "inner_steps": (1, 100),
    "gamma": (0, 1),
    "gae_lambda": (0, 1),
    "hidden": (1, 4096),
    "n_context": (0, 1024),
    "init_std": (1e-3, 10),
    "min_std": (1e-6, 10),
    "max_kl": (1e-8, 100),
    "cg_iterations": (1, 1000),
    "cg_damping": (0, 1000),
    "fisher_stride": (1, 100_000),
    "outer_lr": (1e-8, 10),
    "epochs": (1, 1000),
    "minibatches": (1, 100_000),
    "clip": (1e-3, 1000),
    "inner_kl": (0, 1e6),
    "max_grad_norm": (1e-6, 1e6),
    "teacher": (0, 0.95),
    "teacher_kl": (1e-8, 1000),
    "imitate": (0, 0.999),
    "nominal": (0, 1),
    "widen": (0, 1),
}


@dataclass(frozen=True)
class MAMLConfig:
    """How a MAML policy is meta-trained.

    Attributes:
        n_tasks: tasks an iteration
        n_episodes: episodes of each task before, and again after, every inner step
        inner_lr: step size of adaptation (initial value if it is learned)
        inner_steps: gradient steps the outer objective looks through
        learn_inner_lr: learn a step size for every parameter (Meta-SGD, Li et al. 2017)
        learned_loss: learn a part of the inner loss, too (Yang et al. 2019, Bechtle et al. 2021); steps
            beyond training go without it, and are shorter still
        shorter_steps: the k-th inner step has 1/k of the length, in training, too; else those beyond training
            have inner_steps/k
        every_step: the objective counts what every inner step reaches, not the last (Antoniou et al. 2019)
        first_order: leave out the second-order terms of the meta-gradient (FOMAML), and the learned loss,
            which learns from them
        outer: how the meta-parameters move: a TRPO step, or clipped epochs of Adam (ProMP)
        gamma: discount per step
        gae_lambda: bias-variance trade-off of the advantages, 1 for Monte-Carlo returns
        hidden: widths of the tanh layers
        n_context: numbers, zero before adaptation, that change the whole first layer and are adapted in
            longer steps (CAVIA, Zintgraf et al. 2019); they pay where there is somebody to imitate
        init_std: initial standard deviation of the actions
        min_std: floor of the standard deviation
        max_kl: TRPO: trust region, mean over tasks and states
        cg_iterations: TRPO: conjugate gradient iterations
        cg_damping: TRPO: damping of the Fisher matrix
        fisher_stride: TRPO: Fisher products use every n-th sample (best with no factor in common with
            n_episodes)
        outer_lr: PPO: Adam's step size at the beginning
        lr_schedule: PPO: how it falls to zero towards the end of training
        epochs: PPO: passes over the tasks
        minibatches: PPO: groups of tasks, each one Adam step; fewer where there are fewer tasks
        clip: PPO: clip range of the probability ratio after adaptation
        inner_kl: PPO: weight of the KL penalty on the policies that collected the inner data
        max_grad_norm: PPO: gradients longer than this are shortened
        told_in: how a teacher is told: by inputs, or by inputs and weights that change with them, which pays
            where tasks are few numbers and done in different ways
        teacher: share of the steps in which a teacher is trained first, which is told the task and does not
            adapt, to be imitated; 0 for none, nor is there one where the family brings an expert
        teacher_kl: target_kl of the teacher: its iteration stops early at 1.5 times this KL divergence
        imitate: share of the other steps in which teacher or expert is only imitated, by the adapted policies
            on the states that they visit; in half of the rest that fades; 0 imitates no expert
        nominal: share of the steps, the first, in which all robots are as in the model file
        widen: share of the steps, the next, in which their dynamics go from there to what the tasks say
    """

    n_tasks: int = 6
    n_episodes: int = 4
    inner_lr: float = 0.1
    inner_steps: int = 2
    learn_inner_lr: bool = True
    learned_loss: bool = True
    shorter_steps: bool = True
    every_step: bool = True
    first_order: bool = False
    outer: Literal["trpo", "ppo"] = "ppo"
    gamma: float = 0.99
    gae_lambda: float = 0.9
    hidden: tuple[int, ...] = (64, 64)
    n_context: int = 0
    init_std: float = 0.4
    min_std: float = 0.05
    max_kl: float = 0.03
    cg_iterations: int = 10
    cg_damping: float = 1e-2
    fisher_stride: int = 13
    outer_lr: float = 1e-3
    lr_schedule: Literal["linear", "cosine", "constant"] = "linear"
    epochs: int = 8
    minibatches: int = 6
    clip: float = 0.2
    inner_kl: float = 5e-4
    max_grad_norm: float = 1.0
    told_in: ToldIn = "inputs"
    teacher: float = 0.0
    teacher_kl: float = 0.03
    imitate: float = 0.6
    nominal: float = 0.0
    widen: float = 0.0
    # What files hold implicitly that were written before there was such a setting.
    EARLIER: ClassVar[Mapping[str, Any]] = {
        "lr_schedule": "constant",
        "shorter_steps": False,
        "every_step": False,
        "learned_loss": False,
        "n_context": 0,
        "told_in": "inputs",
        "teacher": 0.0,
        "teacher_kl": 0.03,
        "imitate": 0.6,  # of nobody: their states say that there was none to imitate
        "nominal": 0.0,
        "widen": 0.0,
    }

    def __post_init__(self):
        check(self, RANGES)
