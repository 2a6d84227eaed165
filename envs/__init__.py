"""The world: robots, parameterised families of tasks, and batches of their simulations."""

import metarl.envs.mujoco_import  # noqa: F401 (before anything else of MuJoCo's)

# isort: split
from metarl.envs.actions import Around, Direct, Increment
from metarl.envs.batch_sim import BatchSim
from metarl.envs.catalogue import load_family
from metarl.envs.distributions import AnnulusRadius, Choice, Either, Index, LogUniform, OneWeak, Uniform
from metarl.envs.events import Push
from metarl.envs.families import FAMILIES
from metarl.envs.family import TaskFamily
from metarl.envs.gym_env import FamilyEnv, FamilyVectorEnv, register_envs
from metarl.envs.markers import Marker, View
from metarl.envs.others.family import GymFamily
from metarl.envs.param import Param
from metarl.envs.readings import Readings
from metarl.envs.recipe import Recipe
from metarl.envs.render import FrameRenderer
from metarl.envs.sensors import Sensor
from metarl.envs.simulate import simulate
from metarl.envs.task import Task
from metarl.envs.world import Step, World
from metarl.errors import InputError

__all__ = [
    "FAMILIES",
    "AnnulusRadius",
    "Around",
    "BatchSim",
    "Choice",
    "Direct",
    "Either",
    "FamilyEnv",
    "FamilyVectorEnv",
    "FrameRenderer",
    "GymFamily",
    "Increment",
    "Index",
    "InputError",
    "LogUniform",
    "Marker",
    "OneWeak",
    "Param",
    "Push",
    "Readings",
    "Recipe",
    "Sensor",
    "Step",
    "Task",
    "TaskFamily",
    "Uniform",
    "View",
    "World",
    "load_family",
    "register_envs",
    "simulate",
]

register_envs()  # so that after `import metarl.envs`, gymnasium.make("metarl/HalfCheetahVel-v0") works
