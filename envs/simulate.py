"""Simulations of any family, by whatever runs them."""

from functools import partial
from typing import Any, Literal, get_args

from metarl.envs.batch_sim import BatchSim
from metarl.envs.catalogue import as_family
from metarl.envs.family import TaskFamily
from metarl.envs.others.family import GymFamily
from metarl.envs.others.world import GymWorld, VectorWorld
from metarl.envs.warp_batch import WarpBatch
from metarl.envs.world import World
from metarl.errors import InputError, unknown

Physics = Literal["mujoco", "warp"]
PHYSICS: tuple[Physics, ...] = get_args(Physics)
MUJOCO, WARP = PHYSICS


def simulate(
    family: TaskFamily | str, n_sims: int, n_threads: int = 0, physics: str = MUJOCO, device: str = "cpu"
) -> World:
    """N simulations of a family.

    Args:
        family: the family, or its name.
        n_sims: N.
        n_threads: physics threads, 0 for one per CPU; of worlds of others, which run on one, it says nothing.
        physics: "mujoco", or "warp" for MuJoCo Warp, in numbers of 32 bits.
        device: where Warp simulates, "cpu" or "cuda".

    Raises:
        InputError: there is no such physics, it is not installed, or it cannot simulate the family.
    """
    family = as_family(family)
    if physics not in PHYSICS:
        raise unknown("physics", physics, PHYSICS)
    if not isinstance(family, GymFamily):
        engine: dict[str, Any] = {} if physics == MUJOCO else {"engine": partial(WarpBatch, device=device)}
        return BatchSim(family, n_sims, n_threads, **engine)
    if physics == WARP:
        raise InputError(f"{family.name} is a world of somebody else's, which has physics of its own")
    return VectorWorld(family, n_sims) if family.vectorized else GymWorld(family, n_sims)
