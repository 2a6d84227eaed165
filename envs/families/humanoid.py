"""Humanoid (Gymnasium's MJCF): walk in a hidden direction."""

from collections.abc import Mapping
from math import pi

import mujoco
import numpy as np

from metarl.envs.distributions import Uniform
from metarl.envs.families.gymnasium_robot import GymnasiumRobot
from metarl.envs.markers import Marker, View
from metarl.envs.param import Param
from metarl.envs.readings import Readings
from metarl.envs.recipe import Recipe
from metarl.envs.rotations import horizontal
from metarl.envs.task import Task

Z = 2  # coordinate of the root
HEALTHY = 1.0, 2.0  # m, of z
NOISE = 0.01
VELOCITY = 1.25  # per m/s
COM = "subtree_com"  # of a body and all below it; that of the world is the robot's


class HumanoidDir(GymnasiumRobot):
    """Walk in a hidden direction theta ~ U(0, 2 pi): 1.25 v_com . (cos, sin) - 0.1 ||ctrl||^2 + 5.

    As in PEARL (Rakelly et al. 2019) on Gymnasium's robot, without contact cost: its code pays 0.25 for a
    velocity that it takes over a timestep of 0.003 s, where a step lasts five: 1.25 for a metre a second,
    Gymnasium's own weight. State, initial noise and health as Gymnasium's Humanoid-v5; observed are
    positions and velocities only, not its inertias and forces. The control cost counts what the motors are
    told, 0.4 of an action.
    """

    mjcf = "humanoid.xml"
    frame_skip = 5
    horizon = 200
    params = (Param("direction", "rad", Uniform(0, 2 * pi)),)
    recipes = (
        Recipe("meta-lstm", 6_000_000, {"teacher": 0.6, "imitate": 0.6, "min_std": 0.15, "gamma": 0.99}),
    )
    n_train = 100
    n_test = 30
    derived = (COM,)
    remembered = (COM,)
    view = View(distance=4.0)

    def initial_state(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The standing pose with noise U(-0.01, 0.01)."""
        noise = rng.uniform(-NOISE, NOISE, (n, self.model.nq + self.model.nv))
        return self.model.qpos0 + noise[:, : self.model.nq], noise[:, self.model.nq :]

    def observe(self, r: Readings) -> np.ndarray:
        """All of qpos but x and y, and qvel: (N, 45)."""
        return np.concatenate([r.qpos[:, Z:], r.qvel], axis=1)

    def privileged(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """The direction as the torso has it, (N, 3)."""
        return r.local("torso", horizontal(np.cos(task["direction"]), np.sin(task["direction"])))

    def reward(
        self, r: Readings, action: np.ndarray, task: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Velocity of the centre of mass along the direction, a bonus for standing, and control cost."""
        v = (r.field(COM)[:, 0] - r.before[COM][:, 0]) / r.dt
        along = np.cos(task["direction"]) * v[:, 0] + np.sin(task["direction"]) * v[:, 1]
        ctrl = action * self.model.actuator_ctrlrange[:, 1]
        return {
            "velocity": VELOCITY * along,
            "alive": np.full(len(action), 5.0),
            "control": -0.1 * np.square(ctrl).sum(axis=1),
        }

    def terminated(self, r: Readings) -> np.ndarray:
        """Fallen."""
        low, high = HEALTHY
        return ~((r.qpos[:, Z] > low) & (r.qpos[:, Z] < high))

    def markers(self, task: Task, data: mujoco.MjData) -> tuple[Marker, ...]:
        """The direction."""
        x, y = data.body("torso").xpos[:2]
        tip = x + np.cos(task["direction"]), y + np.sin(task["direction"]), 1.9
        return (Marker("arrow", (x, y, 1.9), (0.03,), to=tip),)
