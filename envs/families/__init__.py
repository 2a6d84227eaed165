"""The catalogue: every family by name. Adding one is its file and one line here."""

from envs.families.ant import AntDamage, AntDir, AntFwdBack, AntGoal, AntVel
from envs.families.arm import ArmPush, ArmPushRandParams, ArmReach
from envs.families.half_cheetah import (
    HalfCheetahDamage,
    HalfCheetahDir,
    HalfCheetahPayload,
    HalfCheetahVel,
    HalfCheetahVelGap,
)
from envs.families.hopper import HopperRandParams
from envs.families.humanoid import HumanoidDir
from envs.families.point import PointGoal, SparsePointGoal
from envs.families.reacher import ReacherGoal
from envs.families.walker2d import Walker2dRandParams
from envs.family import TaskFamily

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
    )
}
