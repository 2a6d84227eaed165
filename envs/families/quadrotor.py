"""A quadrotor the size of Skydio's X2, written from published figures: hover, or fly to a hidden point."""

from collections.abc import Mapping
from itertools import product
from typing import ClassVar

import mujoco
import numpy as np

from metarl.envs.actions import Around
from metarl.envs.distributions import Uniform
from metarl.envs.family import TaskFamily
from metarl.envs.markers import HARM, Marker, View
from metarl.envs.param import Param
from metarl.envs.readings import Readings
from metarl.envs.recipe import Recipe
from metarl.envs.rotations import matrices
from metarl.envs.task import Task

MASS = 1.325  # kg
ARMS = 0.14, 0.18  # m, of the rotors from the middle, along x and y
HOVER = 3.25  # N, of a rotor: a quarter of the weight
DRAG = 0.0201  # m, torque about a rotor's axis per newton
ROTORS = ("front_left", "front_right", "back_left", "back_right")
HEIGHT = 1.0  # m, where it is to hover
CRASH = 0.1  # m above the ground
AWAY = 3.0  # m, from the goal, at which it is lost


class X2(TaskFamily):
    """The robot: actions change the thrust of each rotor, from nothing to twice what hovering takes.

    Observed: where it is from the middle of the room, 1 m up; its velocity, the upward direction and its
    turning, in its own frame; and where its nose points. An episode begins near the middle, tilted and moving
    a little, and ends where it crashes or is lost.
    """

    action = Around((HOVER,) * 4, HOVER)
    frame_skip = 4
    horizon = 150
    n_test = 30
    error_unit = "m"
    view = View(distance=3.0, azimuth=120.0, elevation=-20.0, lookat=(0.0, 0.0, HEIGHT))

    def build_spec(self) -> mujoco.MjSpec:
        """A plate with an arm and a rotor at each corner, in the air over a floor."""
        spec = mujoco.MjSpec()
        spec.modelname = "x2"
        spec.option.timestep, spec.option.integrator = 0.005, mujoco.mjtIntegrator.mjINT_RK4
        spec.option.density, spec.option.viscosity = 1.225, 1.8e-5
        spec.worldbody.add_light(pos=(0, 0, 4), diffuse=(0.7, 0.7, 0.7))
        floor = spec.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=(5, 5, 0.1))
        floor.contype = floor.conaffinity = 0
        floor.rgba = (0.8, 0.82, 0.84, 1)
        body = spec.worldbody.add_body(name="x2", pos=(0, 0, HEIGHT))
        body.add_freejoint(name="free")
        body.mass, body.ipos, body.explicitinertial = MASS, (0, 0, 0), True
        body.inertia = (0.0365, 0.0254, 0.0598)
        self._add_shape(body)
        for name, (x, y) in zip(ROTORS, product((1, -1), (1, -1)), strict=True):
            site = body.add_site(name=name, pos=(x * ARMS[0], y * ARMS[1], 0.05))
            rotor = spec.add_actuator(name=name, target=site.name, trntype=mujoco.mjtTrn.mjTRN_SITE)
            rotor.set_to_motor()
            rotor.gear = (0, 0, 1, 0, 0, -x * y * DRAG)
            rotor.ctrllimited, rotor.ctrlrange = True, (0, 2 * HOVER)
        return spec

    def _add_shape(self, body: mujoco.MjsBody) -> None:
        """What one sees of it, which weighs nothing."""
        parts = [
            body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=(0.09, 0.05, 0.03), rgba=(0.2, 0.24, 0.3, 1))
        ]
        for x, y in product((1, -1), (1, -1)):
            tip = (x * ARMS[0], y * ARMS[1], 0.05)
            arm = body.add_geom(
                type=mujoco.mjtGeom.mjGEOM_CAPSULE, size=(0.012, 0, 0), rgba=(0.35, 0.4, 0.46, 1)
            )
            arm.fromto = (x * 0.06, y * 0.04, 0.0, *tip)
            disc = body.add_geom(type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=(0.1, 0.004, 0), pos=tip)
            disc.rgba = (0.1, 0.45, 0.75, 0.6) if x > 0 else (0.6, 0.64, 0.7, 0.6)
            parts += [arm, disc]
        for part in parts:
            part.mass, part.contype, part.conaffinity = 0, 0, 0

    def initial_state(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """In the middle but for U(-0.2, 0.2) m, tilted by up to 0.2, moving by N(0, 0.1)."""
        qpos, qvel = np.tile(self.home, (n, 1)), 0.1 * rng.standard_normal((n, self.model.nv))
        qpos[:, :3] += rng.uniform(-0.2, 0.2, (n, 3))
        qpos[:, 4:7] = rng.uniform(-0.1, 0.1, (n, 3))
        qpos[:, 3] = np.sqrt(1 - np.square(qpos[:, 4:7]).sum(axis=1))
        return qpos, qvel

    def observe(self, r: Readings) -> dict[str, np.ndarray]:
        """Place, velocity, upward axis, turning and heading: (N, 14)."""
        return {
            "place": r.qpos[:, :3] - (0, 0, HEIGHT),
            "velocity": r.local_velocity("x2"),
            "up": r.up("x2"),
            "spin": r.local_spin("x2"),
            "heading": matrices(r.qpos[:, 3:7])[:, :2, 0],
        }

    def goal(self, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """Where it is to be, (3,) m, or (N, 3)."""
        return np.array([0, 0, HEIGHT])

    def error(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """How far it is from where it is to be, (N,) m."""
        return np.linalg.norm(r.qpos[:, :3] - self.goal(task), axis=1)

    def reward(
        self, r: Readings, action: np.ndarray, task: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Nearness, more of it within 15 cm, calm, and the price of a crash."""
        distance = self.error(r, task)
        return {
            "near": self.nearness(distance),
            "there": 0.5 * np.exp(-np.square(distance / 0.15)),
            "calm": -0.02 * (np.square(r.qvel).sum(axis=1) + np.square(action).sum(axis=1)),
            "crash": -5.0 * self.has_ended(r, task),
        }

    def nearness(self, distance: np.ndarray) -> np.ndarray:
        """What being so far away pays, (N,)."""
        return np.exp(-2 * distance)

    def terminated(self, r: Readings) -> np.ndarray:
        """Within 10 cm of the ground, or more than 3 m away."""
        away = np.linalg.norm(r.qpos[:, :3] - (0, 0, HEIGHT), axis=1)
        return (r.qpos[:, 2] < CRASH) | (away > AWAY)


DYNAMICS = (
    Param("load", "kg", Uniform(0, 0.3), ood=Uniform(0.3, 0.4), field="payload", objects=("x2",), mode="add"),
    Param(
        "rotor",
        "",
        Uniform(0.75, 1.05),
        ood=Uniform(0.68, 0.75),
        field="motor_strength",
        groups={name: (name,) for name in ROTORS},
    ),
    *(
        Param(f"wind_{axis}", "m/s", Uniform(-3, 3), ood=Uniform(-5, 5), field="opt.wind", mode="add", axis=k)
        for k, axis in enumerate("xy")
    ),
)


class X2Hover(X2):
    """Hover with a hidden load, four rotors of hidden strength and a hidden wind.

    exp(-2 d) + 0.5 exp(-(d / 0.15)^2) - 0.02 (|v|^2 + |w|^2 + |a|^2), -5 for a crash; d is the distance from
    1 m above the middle. The load weighs up to 0.3 kg, a rotor has 0.75 to 1.05 of its strength, and the wind
    blows with up to 3 m/s along each axis. Out of distribution: 0.3 to 0.4 kg, 0.68 to 0.75, and up to 5 m/s,
    which leaves a tenth of the thrust to steer with.
    """

    params = DYNAMICS
    recipes: ClassVar[tuple[Recipe, ...]] = (
        Recipe("meta-lstm", 2_000_000, {"teacher": 0.3, "imitate": 0.6, "init_std": 0.3, "gamma": 0.98}),
        Recipe(
            "maml",
            1_000_000,
            {"teacher": 0.5, "imitate": 0.5, "n_context": 8, "init_std": 0.3, "gamma": 0.98},
        ),
    )
    error = X2.error

    def markers(self, task: Task, data: mujoco.MjData) -> tuple[Marker, ...]:
        """Where it is to hover, and the load."""
        x, y, z = data.body("x2").xpos
        size = 0.01 + 0.2 * task["load"] ** (1 / 3) / 2
        load = Marker("box", (x, y, z - 0.03 - size), (size,) * 3, colour=HARM)
        return (Marker("sphere", tuple(self.goal(task)), (0.04,)), load)


class X2Goal(X2):
    """Fly to a hidden point up to 1 m away along each horizontal axis and 0.5 m up or down.

    1.5 - d + 0.5 exp(-(d / 0.15)^2) - 0.02 (|v|^2 + |w|^2 + |a|^2), -5 for a crash, with d the distance from
    that point: far away, too, it tells which way is nearer. The robot itself does not vary.
    """

    params = (
        Param("goal_x", "m", Uniform(-1, 1)),
        Param("goal_y", "m", Uniform(-1, 1)),
        Param("goal_z", "m", Uniform(-0.5, 0.5)),
    )
    recipes: ClassVar[tuple[Recipe, ...]] = (
        Recipe(
            "meta-lstm",
            8_000_000,
            {"teacher": 0.2, "imitate": 0.15, "init_std": 0.3, "change_input": "all", "gamma": 0.98},
        ),
    )
    error = X2.error

    def goal(self, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """The hidden point, (3,) or (N, 3) m."""
        return np.stack([task["goal_x"], task["goal_y"], HEIGHT + task["goal_z"]], axis=-1)

    def nearness(self, distance: np.ndarray) -> np.ndarray:
        """As much more for each metre, near or far, (N,)."""
        return 1.5 - distance

    def markers(self, task: Task, data: mujoco.MjData) -> tuple[Marker, ...]:
        """The point."""
        return (Marker("sphere", tuple(self.goal(task)), (0.05,)),)
