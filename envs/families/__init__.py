"""The catalogue: every family by name. Adding one is its file and one line here."""

from metarl.envs.families.ant import AntBreaks, AntDamage, AntDir, AntFwdBack, AntGoal, AntVel
from metarl.envs.families.arm import ArmPush, ArmPushRandParams, ArmReach
from metarl.envs.families.go1 import Go1Adapt, Go1Damage, Go1Velocity
from metarl.envs.families.half_cheetah import (
    HalfCheetahBreaks,
    HalfCheetahDamage,
    HalfCheetahDir,
    HalfCheetahPayload,
    HalfCheetahVel,
    HalfCheetahVelGap,
)
from metarl.envs.families.hopper import HopperRandParams
from metarl.envs.families.humanoid import HumanoidDir
from metarl.envs.families.point import PointGoal, SparsePointGoal
from metarl.envs.families.quadrotor import X2Goal, X2Hover
from metarl.envs.families.reacher import ReacherGoal
from metarl.envs.families.ur5e import UR5eReach
from metarl.envs.families.walker2d import Walker2dRandParams
from metarl.envs.family import TaskFamily

FAMILIES: dict[str, type[TaskFamily]] = {
    family.__name__: family
    for family in (
        PointGoal,
        SparsePointGoal,
        ReacherGoal,
        HalfCheetahVel,
        HalfCheetahVelGap,
        HalfCheetahDir,
        HalfCheetahDamage,
        HalfCheetahPayload,
        HopperRandParams,
        Walker2dRandParams,
        AntVel,
        AntDir,
        AntFwdBack,
        AntGoal,
        AntDamage,
        HumanoidDir,
        ArmReach,
        ArmPush,
        ArmPushRandParams,
        X2Hover,
        X2Goal,
        UR5eReach,
        Go1Velocity,
        Go1Adapt,
        Go1Damage,
        HalfCheetahBreaks,
        AntBreaks,
    )
}
