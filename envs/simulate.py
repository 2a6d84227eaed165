"""Simulations of any family, by whatever runs them."""

from metarl.envs.batch_sim import BatchSim
from metarl.envs.catalogue import as_family
from metarl.envs.family import TaskFamily
from metarl.envs.others.family import GymFamily
from metarl.envs.others.world import GymWorld, VectorWorld
from metarl.envs.world import World


def simulate(family: TaskFamily | str, n_sims: int, n_threads: int = 0) -> World:
    """N simulations of a family.

    Args:
        family: the family, or its name.
        n_sims: N.
        n_threads: physics threads, 0 for one per CPU; of worlds of others, which run on one, it says nothing.
    """
    family = as_family(family)
    if not isinstance(family, GymFamily):
        return BatchSim(family, n_sims, n_threads)
    return VectorWorld(family, n_sims) if family.vectorized else GymWorld(family, n_sims)
