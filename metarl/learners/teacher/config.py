"""The settings of a teacher."""

from dataclasses import dataclass
from typing import Any, Literal

ToldIn = Literal["inputs", "weights"]


@dataclass(frozen=True)
class TeacherConfig:
    """How a policy that is told the task is trained.

    Many small steps of Adam to a frame: a frame without a memory costs the physics more than the learner.

    Attributes:
        width: of its layers.
        told_in: how it is told: by inputs, or by inputs and weights that change with them.
        init_std, min_std: standard deviation of actions at first, and its floor.
        gamma, gae_lambda: discount per step, and bias-variance trade-off of the advantages.
        lr: Adam's step size at the beginning; falls linearly to zero.
        epochs: passes over the steps of an iteration.
        minibatches: groups of steps, each one Adam step.
        clip: clip range of the probability ratio.
        target_kl: an iteration's learning stops early at 1.5 times this KL divergence.
        max_grad_norm: gradients longer than this are shortened.
    """

    width: int = 128
    told_in: ToldIn = "inputs"
    init_std: float = 0.6
    min_std: float = 0.1
    gamma: float = 0.98
    gae_lambda: float = 0.95
    lr: float = 1e-3
    epochs: int = 5
    minibatches: int = 16
    clip: float = 0.2
    target_kl: float = 0.03
    max_grad_norm: float = 0.5

    @classmethod
    def of_pupil(cls, pupil: Any, **own: Any) -> "TeacherConfig":
        """Settings of a pupil's teacher: those of the pupil, a trust region for the teacher, and its own."""
        same = {name: getattr(pupil, name) for name in ("told_in", "init_std", "gamma", "gae_lambda")}
        return cls(**same, target_kl=pupil.teacher_kl, **own)
