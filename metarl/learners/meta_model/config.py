"""The settings of the meta-model. Each is a flag of `metarl train --learner meta-model`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from metarl.errors import InputError
from metarl.ranges import check

RANGES = {
    "n_trials": (1, 10_000),
    "n_episodes": (1, 1000),
    "window": (1, 1000),
    "context": (1, 1024),
    "hidden": (1, 4096),
    "members": (1, 64),
    "open_loop": (1, 200),
    "inner_lr": (0, 100),
    "lr": (1e-8, 10),
    "batch": (1, 100_000),
    "updates": (1, 100_000),
    "max_grad_norm": (1e-6, 1e6),
    "nominal": (0, 1),
    "widen": (0, 1),
    "capacity": (1, 100_000_000),
    "warm_up": (1, 10_000),
    "candidates": (2, 100_000),
    "rounds": (1, 100),
    "plan": (1, 1000),
    "elites": (1, 100_000),
    "colour": (0, 10),
    "plan_std": (1e-3, 10),
    "refine": (1, 1000),
    "refine_std": (1e-3, 10),
    "gamma": (0, 0.9999),
    "noise": (0, 10),
    "replay": (0, 1000),
    "policy_batch": (1, 100_000),
    "policy_width": (1, 4096),
    "n_step": (1, 1000),
    "policy_lr": (1e-8, 10),
    "critic_lr": (1e-8, 10),
    "tau": (1e-6, 1),
}


@dataclass(frozen=True)
class MetaModelConfig:
    """How a model of a robot that adapts is meta-trained, and who acts by it.

    Attributes:
        adapt: how the model adapts to a task: by a memory of the last transitions (CaDM), by a gradient step
            on them (GrBAL), by both, or not at all (none)
        act: who acts: a policy that learns from all that was lived through (fast), a planner (iCEM), or the
            planner that looks for something better near the policy's plan, whose end the critics value (both)
        n_trials: trials an iteration, each on a task of its own and one horizon long
        n_episodes: episodes of a trial in an evaluation, what was seen kept in between
        window: transitions that the model adapts to, the last ones of the trial
        context: numbers that the memory tells the model
        hidden: widths of the model's layers
        members: networks of the ensemble
        open_loop: steps that the model predicts from its own predictions, in the loss
        inner_lr: step size of adaptation by gradient at the beginning; each layer learns its own
        lr: Adam's step size
        batch: windows that each member sees in an Adam step
        updates: Adam steps an iteration
        max_grad_norm: gradients longer than this are shortened
        capacity: transitions kept to learn from, the last ones
        warm_up: iterations of random actions before anything is planned or learned by a policy
        candidates: planner: sequences of actions in the first round of planning
        rounds: planner: of planning; each has fewer candidates, drawn around the best of the one before
        plan: planner: steps that are planned ahead
        elites: planner: candidates that the next round is drawn around
        colour: planner: of the noise in candidates, 0 for white, 1 for pink: how smooth they are
        plan_std: planner: standard deviation of candidates in the first round
        refine: both: steps of the policy's plan that the planner varies
        refine_std: both: standard deviation of candidates around it in the first round
        gamma: discount per step
        noise: planner: standard deviation of what is added to planned actions in training
        replay: policy: Adam steps of the policy's critics to a step of the environment
        policy_batch: policy: steps that each of them learns from
        policy_width: policy: of its two layers, and of its critics'
        n_step: policy: rewards that are counted as they came before the rest is estimated
        policy_lr: policy: Adam's step size
        critic_lr: policy: Adam's step size for what it expects, and for its temperature
        tau: policy: of the way to the critics, that the slow ones, of which they learn, go in a step
        nominal: share of the steps, the first, in which all robots are as in the model file
        widen: share of the steps, the next, in which their dynamics go from there to what the tasks say
    """

    adapt: Literal["memory", "gradient", "both", "none"] = "memory"
    act: Literal["policy", "planner", "both"] = "policy"
    n_trials: int = 10
    n_episodes: int = 2
    window: int = 32
    context: int = 16
    hidden: tuple[int, ...] = (128, 128, 128)
    members: int = 3
    open_loop: int = 6
    inner_lr: float = 0.01
    lr: float = 1e-3
    batch: int = 128
    updates: int = 50
    max_grad_norm: float = 10.0
    capacity: int = 1_000_000
    warm_up: int = 1
    candidates: int = 36
    rounds: int = 3
    plan: int = 20
    elites: int = 8
    colour: float = 1.0
    plan_std: float = 0.5
    refine: int = 5
    refine_std: float = 0.1
    gamma: float = 0.98
    noise: float = 0.1
    replay: float = 1.0
    policy_batch: int = 128
    policy_width: int = 128
    n_step: int = 1
    policy_lr: float = 3e-4
    critic_lr: float = 3e-3
    tau: float = 0.02
    nominal: float = 0.0
    widen: float = 0.0
    # What files hold implicitly that were written before there was such a setting.
    EARLIER: ClassVar[Mapping[str, Any]] = {
        "tau": 0.005,
        "policy_width": 128,
        "refine": 5,
        "refine_std": 0.1,
        "nominal": 0.0,
        "widen": 0.0,
    }

    def __post_init__(self):
        check(self, RANGES)
        if not self.hidden:
            raise InputError("--hidden needs the width of one layer at least")
        if self.elites > self.candidates:
            raise InputError(
                f"--elites {self.elites} are chosen from --candidates {self.candidates}; use fewer"
            )
