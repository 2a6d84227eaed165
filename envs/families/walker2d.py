"""Walker2d (Gymnasium's MJCF) with unknown masses, inertias, frictions and dampings."""

import numpy as np

from metarl.envs.families.planar_walker import PITCH, PlanarWalker, Z
from metarl.envs.readings import Readings
from metarl.envs.recipe import Recipe


class Walker2dRandParams(PlanarWalker):
    """Walk forward; every mass, inertia, friction and damping is drawn anew for each task.

    Observation, reward and termination as Gymnasium's Walker2d-v5, dynamics as rand_param_envs
    (Rakelly et al. 2019), which ignored frame_skip; here it is Gymnasium's 4.
    """

    mjcf = "walker2d_v5.xml"
    # A teacher, told the 58 numbers of forty walkers or not, is of no use here: docs/results.md.
    recipes = (
        Recipe(
            "meta-lstm",
            4_500_000,
            {"change_input": "all", "gamma": 0.99, "widen": 0.6},
        ),
        Recipe("maml", settings={"widen": 0.5}),
    )

    def healthy(self, r: Readings) -> np.ndarray:
        """Torso between 0.8 and 2 m, pitch within 1 rad."""
        z = r.qpos[:, Z]
        return (z > 0.8) & (z < 2.0) & (np.abs(r.qpos[:, PITCH]) < 1.0)
