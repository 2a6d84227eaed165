"""The half of a learner that has to do with whom it imitates."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from metarl.learners.teacher.config import TeacherConfig
from metarl.learners.teacher.learner import Teacher, imitation
from metarl.sampling.trajectories import Trajectories

IMITATION = 3.0  # weight of the squared distance to the action that is shown


class Imitator:
    """A learner that may imitate somebody first, on states that it visits itself (DAgger, Ross et al. 2011).

    Attributes:
        teacher: is told the task and trained first, to be imitated; None where an expert is, or nobody.
        taught: there is somebody to imitate: an expert, or a teacher that has been trained.
        imitation: how much the learner imitates now, 1 for nothing else, 0 for not any more.

    Args:
        obs_dim, action_dim: of the robot.
        config: settings of the learner: whether it has a `teacher`, and up to which share of its own training
            it only is to `imitate`.
        teaching: how a teacher is trained.
        seed: of the teacher.
        n_told: numbers in which a task is told, to whoever may know it in training.
        expert: trajectories say what an expert would have done, which is imitated instead of a teacher.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        config: Any,
        teaching: TeacherConfig,
        seed: int,
        n_told: int,
        expert: bool,
    ):
        self.config = config
        self.taught, self.imitation = expert and config.imitate > 0, 0.0
        wanted = config.teacher and not self.taught
        self.teacher = Teacher(obs_dim, n_told, action_dim, teaching, seed) if wanted else None

    def imitates(self, progress: float) -> float:
        """How much it imitates when so much of its training is over, from 1 to 0."""
        return imitation(progress, self.config.imitate) if self.taught else 0.0

    def shown(self, trajectories: Trajectories) -> Tensor:
        """What whom it imitates would have done, (T, N, action_dim), on the CPU."""
        if self.teacher is None:
            return torch.from_numpy(trajectories.shown)
        return self.teacher.show(trajectories.obs, torch.from_numpy(trajectories.told))

    def imitator_state(self) -> dict[str, Any]:
        """The part of its state that has to do with this."""
        return {"taught": self.taught, "teacher": self.teacher and self.teacher.state_dict()}

    def load_imitator_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `imitator_state` gave; ValueError if a teacher is missing or of another shape."""
        self.taught = bool(state.get("taught"))  # not in files of before there was a teacher
        if self.teacher is not None:
            if state["teacher"] is None:
                raise ValueError("it was trained with an expert and no teacher; the family has lost it")
            self.teacher.load_state_dict(state["teacher"])
