"""What may be known of the tasks in training, as it is while somebody acts."""

import numpy as np

from metarl.envs import World


class Known:
    """The tasks in numbers and the expert's actions at every step of an episode or a trial.

    Args:
        sim: N simulations.
        length: steps, T.
        knows: the tasks are looked at.
        shows: the family's expert is asked.

    Attributes:
        told: (T, N, n_told) float32; (T, N, 0) where they are not looked at.
        shown: (T, N, action_dim) float32; (T, N, 0) where it is not asked.
    """

    def __init__(self, sim: World, length: int, knows: bool = False, shows: bool = False):
        self.sim, self.knows, self.shows = sim, knows, shows
        self.told = np.zeros((length, sim.n_sims, 0), np.float32)
        self.shown = np.zeros((length, sim.n_sims, sim.family.action_dim if shows else 0), np.float32)

    def look(self, t: int) -> None:
        """Keep what is so before step t."""
        if self.knows and t == 0:
            first = self.sim.told()
            self.told = np.repeat(first[None], len(self.told), axis=0)
        elif self.knows and self.sim.family.moves:
            self.told[t] = self.sim.told()
        if self.shows:
            action = self.sim.shown()
            assert action is not None
            self.shown[t] = action
