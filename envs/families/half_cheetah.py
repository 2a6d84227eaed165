"""HalfCheetah (Gymnasium's MJCF): run at a hidden velocity, or in a hidden direction."""

from collections.abc import Mapping
from dataclasses import replace

import mujoco
import numpy as np

from metarl.envs.distributions import Choice, Either, OneWeak, Uniform
from metarl.envs.families.gymnasium_robot import GymnasiumRobot
from metarl.envs.markers import HARM, Marker, weak_size
from metarl.envs.param import Param
from metarl.envs.readings import Readings
from metarl.envs.recipe import Recipe
from metarl.envs.task import Task

X = 0  # coordinate of the root along the track
CONTROL_COST = 0.05
# Settings of a memory that has to learn to run forward.
RUNNING = {"teacher": 0.6, "imitate": 0.6, "init_std": 0.5, "min_std": 0.2, "gamma": 0.99}
# And of gradient steps by which one is to run.
STEPPING = {
    "teacher": 0.5,
    "teacher_kl": 0.06,
    "imitate": 0.3,
    "init_std": 0.5,
    "hidden": (128, 128),
    "n_context": 8,
}


class HalfCheetah(GymnasiumRobot):
    """The robot: state, observation and initial noise as Gymnasium's HalfCheetah-v5; never terminates."""

    mjcf = "half_cheetah.xml"
    frame_skip = 5
    horizon = 200
    n_test = 30

    def initial_state(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The resting pose, with noise U(-0.1, 0.1) on qpos and N(0, 0.1) on qvel."""
        qpos = self.model.qpos0 + rng.uniform(-0.1, 0.1, (n, self.model.nq))
        return qpos, 0.1 * rng.standard_normal((n, self.model.nv))

    def observe(self, r: Readings) -> np.ndarray:
        """All of qpos but x, and qvel: (N, 17)."""
        return np.concatenate([r.qpos[:, 1:], r.qvel], axis=1)

    def arrow(self, data: mujoco.MjData, length: float) -> Marker:
        """An arrow above the robot, so long and along the track."""
        x, y, z = data.body("torso").xpos
        return Marker("arrow", (x, y, z + 0.7), (0.03,), to=(x + length, y, z + 0.7))


class HalfCheetahVel(HalfCheetah):
    """Run at a hidden velocity v ~ U(0, 3) m/s: -|v_x - v| - 0.05 ||a||^2.

    As in PEARL (Rakelly et al. 2019) on Gymnasium's robot; v_x is the mean over the step. Trained on
    a fixed list of 100 tasks. Out of distribution: faster than trained, U(3, 4).
    """

    params = (Param("velocity", "m/s", Uniform(0, 3), ood=Uniform(3, 4)),)
    n_train = 100
    error_unit = "m/s"
    recipes = (
        Recipe(
            "meta-lstm",
            4_800_000,
            {"teacher": 0.5, "imitate": 0.7, "min_std": 0.2},
        ),
    )

    def reward(
        self, r: Readings, action: np.ndarray, task: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Velocity error and control cost."""
        return {
            "velocity": -self.error(r, task),
            "control": -CONTROL_COST * np.square(action).sum(axis=1),
        }

    def error(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """Velocity error."""
        return np.abs(r.velocity(X) - task["velocity"])

    def markers(self, task: Task, data: mujoco.MjData) -> tuple[Marker, ...]:
        """An arrow as long as half a second's way, and a post that goes at the asked velocity."""
        pace = Marker("cylinder", (task["velocity"] * data.time, 0.3, 0.5), (0.03, 0.5))
        return self.arrow(data, task["velocity"] / 2), pace


class HalfCheetahDir(HalfCheetah):
    """Run in a hidden direction d, forward (+1) or backward (-1): d v_x - 0.05 ||a||^2.

    As in MAML (Finn et al. 2017) on Gymnasium's robot. There are only two tasks, so the held-out
    tasks are the training tasks: what is tested is adaptation, not generalisation.
    """

    params = (Param("direction", "", Choice((-1.0, 1.0))),)
    recipes = (
        Recipe(
            "meta-lstm",
            8_500_000,
            {
                "teacher": 0.75,
                "teacher_kl": 0.1,
                "told_in": "weights",
                "imitate": 0.6,
                "init_std": 0.4,
                "min_std": 0.25,
                "gae_lambda": 0.9,
            },
        ),
        Recipe(
            "maml",
            settings={
                **STEPPING,
                "teacher_kl": 0.1,
                "told_in": "weights",
                "init_std": 0.4,
                "gamma": 0.98,
            },
        ),
    )
    n_train = 2
    n_test = 2
    disjoint = False

    def reward(
        self, r: Readings, action: np.ndarray, task: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Velocity along the direction and control cost."""
        return {
            "velocity": task["direction"] * r.velocity(X),
            "control": -CONTROL_COST * np.square(action).sum(axis=1),
        }

    def markers(self, task: Task, data: mujoco.MjData) -> tuple[Marker, ...]:
        """The direction."""
        return (self.arrow(data, task["direction"]),)


class HalfCheetahVelGap(HalfCheetahVel):
    """Run at a hidden velocity: trained at the two ends, 0 to 0.5 and 2.5 to 3 m/s, tested between them.

    Reward as HalfCheetahVel's. The split of latent dynamics mixture (Lee and Chung 2021).
    """

    params = (
        Param(
            "velocity",
            "m/s",
            Either((Uniform(0, 0.5), Uniform(2.5, 3))),
            test=Uniform(0.5, 2.5),
        ),
    )
    error = HalfCheetahVel.error


class HalfCheetahForward(HalfCheetah):
    """Run forward: v_x - 0.05 ||a||^2, with whatever a family varies of the robot."""

    recipes = (
        Recipe("meta-lstm", 6_000_000, RUNNING),
        Recipe("maml", settings=STEPPING),
        Recipe("meta-model", settings={"policy_width": 256}),
    )

    def reward(
        self, r: Readings, action: np.ndarray, task: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Forward velocity and control cost."""
        return {
            "velocity": r.velocity(X),
            "control": -CONTROL_COST * np.square(action).sum(axis=1),
        }


MOTORS = ("bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot")  # and the bodies that they move


class HalfCheetahDamage(HalfCheetahForward):
    """Run forward with one weak motor, hidden which: v_x - 0.05 ||a||^2.

    The motor has a fraction ~ U(0, 1) of its strength. Trained on four motors and tested on the other
    two, the back shin's and the front foot's.
    """

    params = (
        Param(
            "strength",
            "",
            OneWeak(0, 1, ((0,), (2,), (3,), (4,))),
            test=OneWeak(0, 1, ((1,), (5,))),
            field="actuator_gear",
            each=True,
        ),
    )

    def markers(self, task: Task, data: mujoco.MjData) -> tuple[Marker, ...]:
        """The joint of the weak motor, larger the weaker."""
        return tuple(
            Marker("sphere", tuple(data.body(name).xpos), (weak_size(0.11, 1 - strength),), colour=HARM)
            for name, strength in zip(MOTORS, task["strength"], strict=True)
        )


class HalfCheetahBreaks(HalfCheetahDamage):
    """Run forward until a motor breaks in the midst of the episode, hidden which: v_x - 0.05 ||a||^2.

    As HalfCheetahDamage, whose motor is weak from the beginning; here all are sound at first, and between a
    quarter and a half of the episode one keeps a fraction ~ U(0, 1) of its strength.
    """

    params = (replace(HalfCheetahDamage.params[0], change="once"),)


class HalfCheetahPayload(HalfCheetahForward):
    """Run forward with a hidden load on the torso: v_x - 0.05 ||a||^2.

    The torso weighs 0.5 to 2 times as much, its inertia with it, and its centre of mass is shifted by up
    to 0.2 m along it. Out of distribution: 2 to 3 times, and 0.2 to 0.3 m.
    """

    params = (
        Param("load", "", Uniform(0.5, 2), ood=Uniform(2, 3), field="body_mass", objects=("torso",)),
        Param(
            "shift",
            "m",
            Uniform(-0.2, 0.2),
            ood=Either((Uniform(-0.3, -0.2), Uniform(0.2, 0.3))),
            field="body_ipos",
            objects=("torso",),
            mode="add",
            axis=0,
        ),
    )
    recipes = (
        Recipe("meta-lstm", 6_000_000, {**RUNNING, "widen": 0.6}),
        *HalfCheetahForward.recipes[1:],
    )

    def markers(self, task: Task, data: mujoco.MjData) -> tuple[Marker, ...]:
        """The load, where it weighs and as large as it weighs."""
        turn, at = data.body("torso").xmat.reshape(3, 3), data.body("torso").xpos
        size = 0.12 * task["load"] ** (1 / 3)
        return (Marker("box", tuple(at + turn @ (task["shift"], 0, 0.05 + size)), (size,) * 3, colour=HARM),)
