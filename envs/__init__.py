"""The world: robots, parameterised families of tasks, and batches of their simulations."""

import envs.mujoco_import  # noqa: F401 (before anything else of MuJoCo's)

# isort: split
from envs.batch_sim import BatchSim, Step
from envs.catalogue import load_family
from envs.distributions import AnnulusRadius, Choice, Either, LogUniform, OneWeak, Uniform
from envs.errors import InputError
from envs.families import FAMILIES
from envs.family import Param, Task, TaskFamily
from envs.gym_env import FamilyEnv, FamilyVectorEnv, register_envs
from envs.markers import Marker, View
from envs.readings import Readings
from envs.render import FrameRenderer

__all__ = [
    "FAMILIES",
    "AnnulusRadius",
    "BatchSim",
    "Choice",
    "Either",
    "FamilyEnv",
    "FamilyVectorEnv",
    "FrameRenderer",
    "InputError",
    "LogUniform",
    "Marker",
    "OneWeak",
    "Param",
    "Readings",
    "Step",
    "Task",
    "TaskFamily",
    "Uniform",
    "View",
    "load_family",
    "register_envs",
]

register_envs()  # so that after `import envs`, gymnasium.make("metarl/HalfCheetahVel-v0") works
