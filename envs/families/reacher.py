"""Reacher (Gymnasium's MJCF): a two-link arm reaches for a hidden target."""

from collections.abc import Mapping
from math import pi

import mujoco
import numpy as np

from metarl.envs.distributions import AnnulusRadius, Uniform
from metarl.envs.families.gymnasium_robot import GymnasiumRobot
from metarl.envs.markers import Marker
from metarl.envs.param import Param
from metarl.envs.readings import Readings
from metarl.envs.recipe import Recipe
from metarl.envs.task import Task, polar

CONTROL_COST = 0.1
ARM = 2  # joints of the arm


class ReacherGoal(GymnasiumRobot):
    """Bring the fingertip to a hidden target in the arm's annulus: -||tip - g|| - 0.1 ||a||^2.

    Arm, frame skip and initial noise as Gymnasium's Reacher-v5, without its target body (the target
    is hidden) and with the fingertip read after the step, where Gymnasium's lags by a substep.
    """

    mjcf = "reacher.xml"
    frame_skip = 2
    horizon = 50
    params = (
        Param("radius", "m", AnnulusRadius(0.05, 0.2)),
        Param("angle", "rad", Uniform(-pi, pi)),
    )
    n_test = 40
    error_unit = "m"
    recipes = (Recipe("meta-lstm", 1_500_000, {"change_input": "all"}), Recipe("maml", 1_200_000))
    derived = ("xpos",)

    def edit(self, spec: mujoco.MjSpec) -> None:
        """Take the body away that marks Gymnasium's target, and look at the arm from above."""
        spec.delete(spec.body("target"))
        spec.worldbody.add_camera(name="top", pos=[0, 0, 0.7])

    def initial_state(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The stretched arm, with noise U(-0.1, 0.1) rad and U(-0.005, 0.005) rad/s."""
        return rng.uniform(-0.1, 0.1, (n, ARM)), rng.uniform(-0.005, 0.005, (n, ARM))

    def observe(self, r: Readings) -> np.ndarray:
        """Cosine and sine of the joint angles, joint velocities, fingertip x and y: (N, 8)."""
        tip = r.body_position("fingertip")[:, :2]
        return np.concatenate([np.cos(r.qpos), np.sin(r.qpos), r.qvel, tip], axis=1)

    def markers(self, task: Task, data: mujoco.MjData) -> tuple[Marker, ...]:
        """The target."""
        x, y = polar(task)
        return (Marker("sphere", (x, y, 0.01), (0.012,)),)

    def reward(
        self, r: Readings, action: np.ndarray, task: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Distance from the fingertip to the target and control cost."""
        return {
            "distance": -self.error(r, task),
            "control": -CONTROL_COST * np.square(action).sum(axis=1),
        }

    def error(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """Distance from the fingertip to the target."""
        tip = r.body_position("fingertip")
        x, y = polar(task)
        return np.hypot(tip[:, 0] - x, tip[:, 1] - y)
