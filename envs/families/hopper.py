"""Hopper (Gymnasium's MJCF) with unknown masses, inertias, frictions and dampings."""

import numpy as np

from metarl.envs.families.planar_walker import PITCH, PlanarWalker, Z
from metarl.envs.readings import Readings
from metarl.envs.recipe import Recipe


class HopperRandParams(PlanarWalker):
    """Hop forward; every mass, inertia, friction and damping is drawn anew for each task.

    Observation, reward and termination as Gymnasium's Hopper-v5, dynamics as rand_param_envs
    (Rakelly et al. 2019), which ignored frame_skip; here it is Gymnasium's 4.
    """

    mjcf = "hopper.xml"
    recipes = (
        Recipe("meta-lstm", 3_000_000, {"change_input": "all", "gamma": 0.99}),
        Recipe("maml", settings={"widen": 0.5}),
    )

    def healthy(self, r: Readings) -> np.ndarray:
        """Torso above 0.7 m, pitch within 0.2 rad, every other coordinate within 100."""
        rest = np.concatenate([r.qpos[:, 2:], r.qvel], axis=1)
        upright = (r.qpos[:, Z] > 0.7) & (np.abs(r.qpos[:, PITCH]) < 0.2)
        return upright & (np.abs(rest) < 100.0).all(axis=1)
