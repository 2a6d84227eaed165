"""A Fetch robot's arm (gymnasium-robotics' MJCF): reach a hidden point, push a block to one."""

from collections.abc import Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import mujoco
import numpy as np

from metarl.envs.distributions import Uniform
from metarl.envs.family import TaskFamily
from metarl.envs.markers import Marker, View
from metarl.envs.param import Param
from metarl.envs.readings import Readings
from metarl.envs.recipe import Recipe
from metarl.envs.rotations import bearing
from metarl.envs.task import Task
from metarl.errors import InputError
from metarl.extras import install

BASE = 0.6919, 0.7441, 0.0  # m, where gymnasium-robotics drives the base to
DOWN = 0.70711, 0.0, 0.70711, 0.0  # the hand's orientation, fingers down
SPEED = 1.0  # m/s, of the hand for an action of 1
HEAVY, STIFF = 1000.0, 1e5  # kg and N s/m: servos that lead the hand and are not led by the arm
HAND, GRIP, OBJECT = ("hand_x", "hand_y", "hand_z"), "robot0:grip", "object0"
FIXED = (
    "slide0",
    "slide1",
    "slide2",
    "torso_lift",
    "head_pan",
    "head_tilt",
    "finger",
)  # joints that never move
SUCCESS = 0.05  # m, as Fetch defines it
RANGE = 0.15  # m, how far goals and blocks are from where the hand begins
SETTLING = 300  # substeps in which the arm comes to rest before the first episode


class FetchArm(TaskFamily):
    """The robot: actions move the hand along x, y and z, its fingers closed and pointing down.

    As in gymnasium-robotics the hand is led through the air and the arm's joints follow, but by servos
    that an action tells a velocity, up to 1 m/s, where there a mocap body jumps by up to 5 cm: servos are
    part of the physics, have a response that can vary, and need nothing written but ctrl. Base, torso, head
    and fingers do not move, and of the robot only the hand touches things: that is five times as fast.
    """

    file = "reach.xml"
    extra_height = 0.2  # m, of the hand above the table when an episode begins
    frame_skip = 10
    horizon = 50
    n_test = 40
    error_unit = "m"
    derived = ("site_xpos",)
    view = View(distance=1.6, azimuth=140.0, elevation=-25.0, lookat=(1.25, 0.75, 0.5))

    def build_spec(self) -> mujoco.MjSpec:
        """The arm without what never moves, and with servos for the hand."""
        spec = mujoco.MjSpec.from_file(str(fetch_assets() / self.file))
        spec.option.timestep, spec.option.integrator = 0.004, mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        spec.body("robot0:base_link").pos = BASE
        for joint in spec.joints:
            if any(name in joint.name for name in FIXED):
                spec.delete(joint)
        for geom in spec.geoms:
            if geom.name == OBJECT:
                geom.priority = 1  # its friction counts, not the larger one of two that touch
            if geom.name.startswith("robot0:") and "finger" not in geom.name:
                geom.contype = geom.conaffinity = 0
        spec.delete(spec.site("target0"))
        spec.delete(spec.body("robot0:mocap"))
        for equality in spec.equalities:
            spec.delete(equality)
        self._add_servos(spec)
        return spec

    def build_model(self, visual: bool = True) -> mujoco.MjModel:
        """Compile the arm, whose meshes are light enough to be kept."""
        return super().build_model(visual)

    def _add_servos(self, spec: mujoco.MjSpec) -> None:
        """A weightless hand in the air that is driven along x, y and z, and the gripper tied to it."""
        hand = spec.worldbody.add_body(name="hand", quat=DOWN, gravcomp=1.0)
        hand.mass, hand.inertia, hand.explicitinertial = 1.0, [0.01] * 3, True
        for name, axis in zip(HAND, _world_axes(), strict=True):
            hand.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=axis, armature=HEAVY)
            servo = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
            servo.set_to_velocity(kv=STIFF)
            servo.ctrllimited, servo.ctrlrange = True, (-SPEED, SPEED)
        weld = spec.add_equality(
            name1="hand",
            name2="robot0:gripper_link",
            type=mujoco.mjtEq.mjEQ_WELD,
            objtype=mujoco.mjtObj.mjOBJ_BODY,
        )
        weld.data[:] = [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1]
        weld.solref, weld.solimp[:3] = [0.02, 1], [0.9, 0.95, 0.001]

    @cached_property
    def rest(self) -> np.ndarray:
        """The arm at rest with the hand where an episode begins, (nq,)."""
        data = mujoco.MjData(self.model)
        mujoco.mj_kinematics(self.model, data)
        start = data.site(GRIP).xpos + np.array([-0.498, 0.005, -0.431 + self.extra_height])
        for _ in range(SETTLING):  # in which the hand is held where it begins, and the arm follows
            for name, value in zip(HAND, start, strict=True):
                data.joint(name).qpos[0], data.joint(name).qvel[0] = value, 0.0
            mujoco.mj_step(self.model, data)
        return data.qpos.copy()

    @cached_property
    def hand_at_rest(self) -> np.ndarray:
        """Where the fingertips are when an episode begins, (3,) m."""
        data = mujoco.MjData(self.model)
        data.qpos[:] = self.rest
        mujoco.mj_kinematics(self.model, data)
        return data.site(GRIP).xpos.copy()

    @cached_property
    def hand(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the hand's servos are in qpos and in qvel, (3,) each."""
        joints = [self.model.joint(name) for name in HAND]
        return np.array([j.qposadr[0] for j in joints]), np.array([j.dofadr[0] for j in joints])

    def initial_state(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The arm at rest, with noise U(-0.01, 0.01) m on where the hand is led to."""
        qpos = np.tile(self.rest, (n, 1))
        qpos[:, self.hand[0]] += rng.uniform(-0.01, 0.01, (n, 3))
        return qpos, np.zeros((n, self.model.nv))

    def observe(self, r: Readings) -> np.ndarray:
        """Position of the fingertips, and where and how fast the hand is led: (N, 9)."""
        position, velocity = self.hand
        return np.concatenate([r.site_position(GRIP), r.qpos[:, position], r.qvel[:, velocity]], axis=1)

    def reward(
        self, r: Readings, action: np.ndarray, task: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Distance to the goal, and a bonus within 5 cm of it."""
        distance = self.error(r, task)
        return {"distance": -distance, "success": (distance < SUCCESS).astype(float)}

    def success(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """Within 5 cm of the goal, as Fetch defines it."""
        return self.error(r, task) < SUCCESS

    def error(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """What is left to the goal, (N,) m."""
        return np.linalg.norm(r.site_position(GRIP) - self._goal(task), axis=1)

    def _goal(self, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """(N, 3) m, or (3,) for one task."""
        offset = np.stack([task["goal_x"], task["goal_y"], task["goal_z"]], axis=-1)
        return self.hand_at_rest + offset

    def markers(self, task: Task, data: mujoco.MjData) -> tuple[Marker, ...]:
        """The goal, as large as success is wide."""
        return (Marker("sphere", tuple(self._goal(task)), (SUCCESS,)),)


class ArmReach(FetchArm):
    """Bring the fingertips to a hidden point within 15 cm along each axis: -||tip - g|| + 1 within 5 cm.

    As FetchReach (Plappert et al. 2018), whose goal is observed and whose reward has no bonus.
    """

    params = tuple(Param(f"goal_{axis}", "m", Uniform(-RANGE, RANGE)) for axis in "xyz")
    error = FetchArm.error
    recipes = (Recipe("meta-lstm", 1_500_000, {"teacher": 0.3, "change_input": "all"}),)

    def privileged(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """The way to the goal, (N, 6)."""
        return bearing(self._goal(task) - r.site_position(GRIP), self.error(r, task), far=0.15, near=0.05)


class ArmPush(FetchArm):
    """Push a block to a hidden point on the table: -||block - g|| - 0.2 ||tip - block|| + 1 within 5 cm.

    As FetchPush (Plappert et al. 2018), whose goal is observed and whose reward is the first term alone.
    Block and goal are within 15 cm of the hand along each axis, the block at least 10 cm from it.
    """

    file = "push.xml"
    extra_height = 0.0
    params = tuple(Param(f"goal_{axis}", "m", Uniform(-RANGE, RANGE)) for axis in "xy")
    recipes = (
        Recipe(
            "meta-lstm",
            3_000_000,
            {"imitate": 0.5, "gamma": 0.95, "change_input": "all", "init_std": 0.2, "min_std": 0.05},
        ),
    )

    @cached_property
    def table(self) -> float:
        """Height of the block's centre on the table, m."""
        table = self.model.body("table0")
        geom = self.model.geom(table.geomadr[0])
        return float(table.pos[2] + geom.size[2] + self.model.geom(OBJECT).size[2])

    @cached_property
    def block(self) -> tuple[int, int]:
        """Where the block's position begins in qpos and in qvel."""
        joint = self.model.joint("object0:joint")
        return int(joint.qposadr[0]), int(joint.dofadr[0])

    def initial_state(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The arm at rest, and the block somewhere around the hand, turned by any angle."""
        qpos, qvel = super().initial_state(rng, n)
        offset = rng.uniform(-RANGE, RANGE, (n, 2))
        while (near := np.linalg.norm(offset, axis=1) < 0.1).any():
            offset[near] = rng.uniform(-RANGE, RANGE, (near.sum(), 2))
        first = self.block[0]
        qpos[:, first : first + 2] = self.hand_at_rest[:2] + offset
        turn = rng.uniform(-np.pi, np.pi, n) / 2
        still = np.zeros(n)
        qpos[:, first + 2] = self.table
        qpos[:, first + 3 : first + 7] = np.stack([np.cos(turn), still, still, np.sin(turn)], axis=1)
        return qpos, qvel

    def observe(self, r: Readings) -> np.ndarray:
        """What ArmReach sees, the block's pose, its place from the fingertips, its velocity: (N, 25)."""
        pose, velocity = self.block
        tip, block = r.site_position(GRIP), r.qpos[:, pose : pose + 7]
        parts = [super().observe(r), block, block[:, :3] - tip, r.qvel[:, velocity : velocity + 6]]
        return np.concatenate(parts, axis=1)

    def reward(
        self, r: Readings, action: np.ndarray, task: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Distance of the block to the goal and of the fingertips to the block, and a bonus."""
        pose, _ = self.block
        reach = np.linalg.norm(r.site_position(GRIP) - r.qpos[:, pose : pose + 3], axis=1)
        return {**super().reward(r, action, task), "reach": -0.2 * reach}

    def error(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """What is left from the block to the goal, (N,) m."""
        pose, _ = self.block
        return np.linalg.norm(r.qpos[:, pose : pose + 3] - self._goal(task), axis=1)

    def expert(self, r: Readings, task: Mapping[str, np.ndarray]) -> np.ndarray:
        """Go around the block to where the goal is straight behind it, then push until it is there."""
        pose, _ = self.block
        tip, block = r.site_position(GRIP), r.qpos[:, pose : pose + 3]
        way = self._goal(task) - block
        left = np.linalg.norm(way[:, :2], axis=1, keepdims=True)
        ahead = way * [1, 1, 0] / np.maximum(left, 1e-6)
        aside = np.stack([-ahead[:, 1], ahead[:, 0], np.zeros(len(way))], axis=1)
        along, across = (((tip - block) * axis).sum(axis=1, keepdims=True) for axis in (ahead, aside))
        around = block - 0.05 * ahead + np.where(across < 0, -0.09, 0.09) * aside
        behind = block - 0.06 * ahead
        pushes = (along < -0.03) & (abs(across) < 0.02)
        target = np.where(pushes, block + 0.02 * ahead, np.where(along > -0.02, around, behind))
        target[:, 2] = self.table
        speed = np.where(pushes, 0.4, 0.5) * (target - tip) / self.dt
        return np.where(left < 0.03, 0.0, np.clip(speed / SPEED, -1, 1))

    def _goal(self, task: Mapping[str, np.ndarray]) -> np.ndarray:
        x, y, _ = self.hand_at_rest
        table = np.full_like(task["goal_x"], self.table)
        return np.stack([x + task["goal_x"], y + task["goal_y"], table], axis=-1)


class ArmPushRandParams(ArmPush):
    """Push a block of unknown mass and friction, with an arm of unknown response, to a hidden point.

    Goal and dynamics vary at once: the block weighs 0.5 to 2 times its 2 kg, slides with 0.5 to 1.5 times
    its friction, and the hand moves 0.7 to 1.3 times as fast as told. Reward as ArmPush's. Out of
    distribution: heavier (2 to 3 times) and more slippery (0.25 to 0.5 times).
    """

    params = (
        *ArmPush.params,
        Param("mass", "", Uniform(0.5, 2), ood=Uniform(2, 3), field="body_mass", objects=(OBJECT,)),
        Param(
            "friction",
            "",
            Uniform(0.5, 1.5),
            ood=Uniform(0.25, 0.5),
            field="geom_friction",
            objects=(OBJECT,),
            axis=0,
        ),
        Param("response", "", Uniform(0.7, 1.3), field="actuator_gainprm", axis=0, alone=True),
    )
    error = ArmPush.error


def fetch_assets() -> Path:
    """The folder of the robot's files.

    Raises:
        InputError: gymnasium-robotics is not installed.
    """
    found = find_spec("gymnasium_robotics")
    if found is None or found.origin is None:
        raise InputError(f"the arm's files come with gymnasium-robotics: {install('robots')}")
    return Path(found.origin).parent / "envs" / "assets" / "fetch"


def _world_axes() -> np.ndarray:
    """The world's x, y and z in the frame of a hand that points down, (3, 3)."""
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, np.array(DOWN))
    return turn.reshape(3, 3)
