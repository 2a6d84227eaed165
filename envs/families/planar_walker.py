"""What Hopper and Walker2d share: a planar robot that walks forward until it falls."""

from collections.abc import Mapping

import numpy as np

from metarl.envs.families.gymnasium_robot import GymnasiumRobot
from metarl.envs.families.rand_params import rand_params
from metarl.envs.readings import Readings

X, Z, PITCH = 0, 1, 2  # coordinates of the root
CONTROL_COST = 0.001
MAX_SPEED = 10.0  # Gymnasium clips the observed velocities here
INITIAL_NOISE = 0.005


class PlanarWalker(GymnasiumRobot):
    """Walk forward with unknown dynamics: v_x + 1 while healthy - 0.001 ||a||^2."""

    frame_skip = 4
    horizon = 200
    params = rand_params()
    n_train = 40
    n_test = 10
    n_ood = 10

    def initial_state(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The standing pose with noise U(-0.005, 0.005)."""
        noise = rng.uniform(-INITIAL_NOISE, INITIAL_NOISE, (n, self.model.nq + self.model.nv))
        return self.model.qpos0 + noise[:, : self.model.nq], noise[:, self.model.nq :]

    def observe(self, r: Readings) -> np.ndarray:
        """All of qpos but x, and the clipped qvel."""
        return np.concatenate([r.qpos[:, 1:], np.clip(r.qvel, -MAX_SPEED, MAX_SPEED)], axis=1)

    def reward(
        self, r: Readings, action: np.ndarray, task: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Forward velocity, a bonus for being healthy, and control cost."""
        return {
            "velocity": r.velocity(X),
            "healthy": self.healthy(r).astype(float),
            "control": -CONTROL_COST * np.square(action).sum(axis=1),
        }

    def terminated(self, r: Readings) -> np.ndarray:
        """Fallen."""
        return ~self.healthy(r)

    def healthy(self, r: Readings) -> np.ndarray:
        """Whether the robot still stands, (N,) bool."""
        raise NotImplementedError
