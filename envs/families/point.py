"""A point that is moved in the plane: the smallest family, whose optimum is known in closed form."""

from collections.abc import Mapping
from math import pi
from typing import ClassVar

import mujoco
import numpy as np

from metarl.envs.distributions import Uniform
from metarl.envs.family import TaskFamily
from metarl.envs.markers import Marker
from metarl.envs.param import Param
from metarl.envs.readings import Readings
from metarl.envs.recipe import Recipe
from metarl.envs.task import Task

# The servos are stiff against the mass, so that an action of 1 moves the point 0.1 m a step, the
# step of the MAML paper's point (Finn et al. 2017, section 5.3), to one part in a thousand.
POINT = """
<mujoco model="point">
  <option timestep="0.1" integrator="implicitfast" gravity="0 0 0"/>
  <asset>
    <texture name="grid" type="2d" builtin="checker" rgb1=".8 .8 .8" rgb2=".7 .7 .7" width="64" height="64"/>
    <material name="grid" texture="grid" texrepeat="8 8"/>
  </asset>
  <worldbody>
    <light directional="true" diffuse=".5 .5 .5" specular="0 0 0"/>
    <camera name="top" pos="0 0 4"/>
    <geom name="floor" type="plane" size="4 4 .1" material="grid" contype="0" conaffinity="0"/>
    <body name="point" pos="0 0 .05">
      <joint name="x" type="slide" axis="1 0 0"/>
      <joint name="y" type="slide" axis="0 1 0"/>
      <geom type="sphere" size=".05" mass=".01" rgba=".1 .4 .8 1" contype="0" conaffinity="0"/>
    </body>
  </worldbody>
  <actuator>
    <velocity name="x" joint="x" kv="100" ctrllimited="true" ctrlrange="-1 1"/>
    <velocity name="y" joint="y" kv="100" ctrllimited="true" ctrlrange="-1 1"/>
  </actuator>
</mujoco>
"""
STEP = 0.1  # m, largest displacement per step along each axis
NEAR = 0.2  # m, the reward radius of SparsePointGoal


class PointGoal(TaskFamily):
    """Move to a hidden goal in the square [-1, 1]^2 m. The reward is -||x - g||.

    The point starts at the origin. Best possible return: `optimum`.
    """

    params: ClassVar[tuple[Param, ...]] = (
        Param("goal_x", "m", Uniform(-1, 1)),
        Param("goal_y", "m", Uniform(-1, 1)),
    )
    recipes: ClassVar[tuple[Recipe, ...]] = (
        Recipe("meta-lstm", 1_000_000, {"teacher": 0.3, "change_input": "all"}),
        Recipe("maml", 600_000, {"minibatches": 3, "outer_lr": 1.5e-3}),
    )
    error_unit = "m"
    horizon = 20
    n_test = 20

    def build_spec(self) -> mujoco.MjSpec:
        """The point."""
        return mujoco.MjSpec.from_string(POINT)

    def observe(self, r: Readings) -> np.ndarray:
        """Position, (N, 2) m."""
        return r.qpos.copy()

    def reward(
        self, r: Readings, action: np.ndarray, task: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Minus the distance to the goal."""
        return {"distance": -self.error(r, task)}

    def error(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """Distance to the goal."""
        return np.hypot(r.qpos[:, 0] - task["goal_x"], r.qpos[:, 1] - task["goal_y"])

    def markers(self, task: Task, data: mujoco.MjData) -> tuple[Marker, ...]:
        """The goal."""
        return (Marker("cylinder", (task["goal_x"], task["goal_y"], 0.0), (0.06, 0.01)),)

    def optimum(self, goal: np.ndarray) -> np.ndarray:
        """Return of the best policy told the goal, (K,) for goals (K, 2): full speed, then stay."""
        moved = STEP * np.arange(1, self.horizon + 1)
        left = np.maximum(np.abs(goal)[:, None, :] - moved[:, None], 0.0)
        return -np.hypot(left[..., 0], left[..., 1]).sum(axis=1)


class SparsePointGoal(PointGoal):
    """Find a hidden goal on the half circle of radius 1 m; reward only within 0.2 m of it.

    1 - ||x - g|| inside the radius, else 0: what one must search for before one can go there.
    """

    params = (Param("angle", "rad", Uniform(0, pi)),)
    n_train = 80
    # A teacher that knows the goal never shows how to search for it. Searching in the last episode pays
    # little, so a trial has one more than it takes to look everywhere and go there.
    recipes: ClassVar[tuple[Recipe, ...]] = (
        Recipe(
            "meta-lstm",
            3_000_000,
            {
                "n_episodes": 4,
                "change_input": "none",
                "init_std": 2.0,
                "min_std": 0.3,
                "gamma": 0.99,
                "entropy": 0.005,
            },
        ),
    )

    def reward(
        self, r: Readings, action: np.ndarray, task: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """One minus the distance, near the goal."""
        distance = self.error(r, task)
        return {"near": np.where(distance <= NEAR, 1.0 - distance, 0.0)}

    def success(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """Within the radius."""
        return self.error(r, task) <= NEAR

    def markers(self, task: Task, data: mujoco.MjData) -> tuple[Marker, ...]:
        """Where there is reward."""
        return (Marker("cylinder", (np.cos(task["angle"]), np.sin(task["angle"]), 0.0), (NEAR, 0.01)),)

    def optimum(self, goal: np.ndarray) -> np.ndarray:
        """Not known in closed form here."""
        raise NotImplementedError

    def error(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """Distance to the goal."""
        return np.hypot(r.qpos[:, 0] - np.cos(task["angle"]), r.qpos[:, 1] - np.sin(task["angle"]))
