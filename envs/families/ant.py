"""Ant (Gymnasium's MJCF): a four-legged robot with hidden velocities, directions, goals or damage."""

from collections.abc import Mapping
from dataclasses import replace
from math import pi

import mujoco
import numpy as np

from metarl.envs.distributions import AnnulusRadius, Choice, OneWeak, Uniform
from metarl.envs.families.gymnasium_robot import GymnasiumRobot
from metarl.envs.markers import HARM, Marker, View, weak_size
from metarl.envs.param import Param
from metarl.envs.readings import Readings
from metarl.envs.recipe import Recipe
from metarl.envs.rotations import bearing, horizontal
from metarl.envs.task import Task, polar

X, Y, Z = 0, 1, 2  # coordinates of the root
HEALTHY = 0.2, 1.0  # m, of z
# Actuators in the order of the file: hip and ankle of each leg, and the leg's first body.
LEGS = {"aux_4": (0, 1), "aux_1": (2, 3), "aux_2": (4, 5), "aux_3": (6, 7)}


def _recipe(steps: int, teacher: float) -> Recipe:
    """How an ant learns to run, so much of its steps with its teacher."""
    settings = {"teacher": teacher, "imitate": 0.6, "init_std": 0.5, "min_std": 0.15, "gamma": 0.99}
    return Recipe("meta-lstm", steps, settings)


class Ant(GymnasiumRobot):
    """The robot: state, initial noise and health as Gymnasium's Ant-v5.

    Contact forces are neither observed nor paid for: they were always zero in the simulators that the
    published results come from, and computing them costs more than they tell.
    """

    mjcf = "ant.xml"
    frame_skip = 5
    horizon = 200
    n_test = 30
    recipes = (_recipe(7_000_000, teacher=0.6),)
    view = View(distance=4.5, elevation=-25.0)

    def initial_state(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The standing pose, with noise U(-0.1, 0.1) on qpos and N(0, 0.1) on qvel."""
        qpos = self.model.qpos0 + rng.uniform(-0.1, 0.1, (n, self.model.nq))
        return qpos, 0.1 * rng.standard_normal((n, self.model.nv))

    def observe(self, r: Readings) -> np.ndarray:
        """All of qpos but x and y, and qvel: (N, 27)."""
        return np.concatenate([r.qpos[:, Z:], r.qvel], axis=1)

    def terminated(self, r: Readings) -> np.ndarray:
        """The torso is too low or too high."""
        low, high = HEALTHY
        return ~((r.qpos[:, Z] >= low) & (r.qpos[:, Z] <= high))

    def arrow(self, data: mujoco.MjData, x: float, y: float) -> Marker:
        """An arrow above the robot, so long in x and y."""
        at = data.body("torso").xpos
        return Marker("arrow", (at[0], at[1], 1.2), (0.04,), to=(at[0] + x, at[1] + y, 1.2))


class AntVel(Ant):
    """Run along x at a hidden velocity v ~ U(0, 3) m/s: 1 - |v_x - v| + 0.05 - 0.005 ||a||^2.

    As in MAML and PEARL on Gymnasium's robot, without contact cost. Out of distribution: U(3, 4).
    """

    params = (Param("velocity", "m/s", Uniform(0, 3), ood=Uniform(3, 4)),)
    error_unit = "m/s"

    def reward(
        self, r: Readings, action: np.ndarray, task: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """One minus the velocity error, a small bonus for being alive, and control cost."""
        return {
            "velocity": 1.0 - self.error(r, task),
            "alive": np.full(len(action), 0.05),
            "control": -0.005 * np.square(action).sum(axis=1),
        }

    def error(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """Velocity error."""
        return np.abs(r.velocity(X) - task["velocity"])

    def markers(self, task: Task, data: mujoco.MjData) -> tuple[Marker, ...]:
        """An arrow as long as half a second's way, and a post that goes at the asked velocity."""
        pace = Marker("cylinder", (task["velocity"] * data.time, 1.0, 0.5), (0.04, 0.5))
        return self.arrow(data, task["velocity"] / 2, 0.0), pace


class AntDir(Ant):
    """Run in a hidden direction theta ~ U(0, 2 pi): v . (cos, sin) - 0.5 ||a||^2 + 1.

    As in PEARL's and VariBAD's AntDir on Gymnasium's robot, without contact cost.
    """

    params = (Param("direction", "rad", Uniform(0, 2 * pi)),)
    recipes = (_recipe(5_200_000, teacher=0.8),)

    def privileged(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """The direction as the torso has it, (N, 3)."""
        return r.local("torso", horizontal(np.cos(task["direction"]), np.sin(task["direction"])))

    def reward(
        self, r: Readings, action: np.ndarray, task: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Velocity along the direction, a bonus for being alive, and control cost."""
        along = np.cos(task["direction"]) * r.velocity(X) + np.sin(task["direction"]) * r.velocity(Y)
        return {
            "velocity": along,
            "alive": np.ones(len(action)),
            "control": -0.5 * np.square(action).sum(axis=1),
        }

    def markers(self, task: Task, data: mujoco.MjData) -> tuple[Marker, ...]:
        """The direction."""
        return (self.arrow(data, np.cos(task["direction"]), np.sin(task["direction"])),)


class AntFwdBack(AntDir):
    """Run forward (direction 0) or backward (pi), hidden which: v . (cos, sin) - 0.5 ||a||^2 + 1.

    As in MAML (Finn et al. 2017) on Gymnasium's robot, without contact cost. There are only two tasks,
    so the held-out tasks are the training tasks: what is tested is adaptation, not generalisation.
    """

    params = (Param("direction", "rad", Choice((0.0, pi))),)
    recipes = Ant.recipes
    privileged = AntDir.privileged
    n_train = 2
    n_test = 2
    disjoint = False


class AntGoal(Ant):
    """Go to a hidden goal in a disc of 3 m: -||xy - g||_1 - 0.1 ||a||^2; never terminates.

    As in PEARL (Rakelly et al. 2019) on Gymnasium's robot, without contact cost; x and y are observed.
    Trained on a fixed list of 150 tasks. Out of distribution: goals 3 to 4 m away.
    """

    params = (
        Param("radius", "m", AnnulusRadius(0, 3), ood=AnnulusRadius(3, 4)),
        Param("angle", "rad", Uniform(0, 2 * pi)),
    )
    n_train = 150
    error_unit = "m"
    view = View(distance=10.0, elevation=-50.0, lookat=(0.0, 0.0, 0.0))

    def observe(self, r: Readings) -> np.ndarray:
        """All of qpos and qvel: (N, 29)."""
        return np.concatenate([r.qpos, r.qvel], axis=1)

    def privileged(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """The way to the goal as the torso has it, (N, 6)."""
        x, y = polar(task)
        way = r.local("torso", horizontal(x - r.qpos[:, X], y - r.qpos[:, Y]))
        return bearing(way, self.error(r, task), far=2.0, near=0.2)

    def reward(
        self, r: Readings, action: np.ndarray, task: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Distance to the goal in the 1-norm, and control cost."""
        x, y = polar(task)
        return {
            "distance": -np.abs(r.qpos[:, X] - x) - np.abs(r.qpos[:, Y] - y),
            "control": -0.1 * np.square(action).sum(axis=1),
        }

    def error(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """Distance to the goal."""
        x, y = polar(task)
        return np.hypot(r.qpos[:, X] - x, r.qpos[:, Y] - y)

    def terminated(self, r: Readings) -> np.ndarray:
        """Never."""
        return np.zeros(len(r.qpos), bool)

    def markers(self, task: Task, data: mujoco.MjData) -> tuple[Marker, ...]:
        """The goal."""
        x, y = polar(task)
        return (Marker("cylinder", (x, y, 0.4), (0.1, 0.4)),)


class AntDamage(Ant):
    """Run forward with one leg whose two motors are weak, hidden which: v_x + 1 - 0.5 ||a||^2.

    The motors of the leg have a fraction ~ U(0, 1) of their strength. Trained on three legs and tested
    on the fourth.
    """

    params = (
        Param(
            "strength",
            "",
            OneWeak(0, 1, (LEGS["aux_1"], LEGS["aux_2"], LEGS["aux_3"])),
            test=OneWeak(0, 1, (LEGS["aux_4"],)),
            field="actuator_gear",
            each=True,
        ),
    )

    def reward(
        self, r: Readings, action: np.ndarray, task: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Forward velocity, a bonus for being alive, and control cost."""
        return {
            "velocity": r.velocity(X),
            "alive": np.ones(len(action)),
            "control": -0.5 * np.square(action).sum(axis=1),
        }

    def markers(self, task: Task, data: mujoco.MjData) -> tuple[Marker, ...]:
        """The weak leg, more of it the weaker."""
        lost = {leg: 1 - sum(task["strength"][m] for m in motors) / 2 for leg, motors in LEGS.items()}
        return tuple(
            Marker("sphere", tuple(data.body(leg).xpos), (weak_size(0.16, lost[leg]),), colour=HARM)
            for leg in LEGS
        )


class AntBreaks(AntDamage):
    """Run forward until a leg breaks in the midst of the episode, hidden which: v_x + 1 - 0.5 ||a||^2.

    As AntDamage, whose leg is weak from the beginning; here all are sound at first, and between a quarter and
    a half of the episode the motors of one keep a fraction ~ U(0, 1) of their strength.
    """

    params = (replace(AntDamage.params[0], change="once"),)
