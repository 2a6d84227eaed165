"""Named physical readings of N simulations, so that a reward reads as a sentence."""

from collections.abc import Callable, Collection

import mujoco
import numpy as np

from metarl.errors import InputError

STATE = frozenset(("qpos", "qvel", "act", "ctrl", "time", "mocap_pos", "mocap_quat", "eq_active", "userdata"))


class Readings:
    """What a family may read: live arrays over N simulations, none of them to be written to.

    Attributes:
        qpos, qvel: (N, nq), (N, nv) now.
        qpos_before: (N, nq) before the step just taken.
        before: fields that the family lists in `remembered`, before the step just taken.
        dt: seconds per step.
        known: fields that may be read: the state's own, and those that the family lists in `derived`.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        qpos: np.ndarray,
        qvel: np.ndarray,
        field: Callable[[str], np.ndarray],
        dt: float,
        derived: Collection[str] = (),
    ):
        self.model, self.qpos, self.qvel, self.dt = model, qpos, qvel, dt
        self.known = STATE | {*derived}
        self.qpos_before = qpos.copy()
        self.before: dict[str, np.ndarray] = {}
        self._field = field

    @classmethod
    def of_data(
        cls, model: mujoco.MjModel, data: mujoco.MjData, dt: float, derived: Collection[str] = ()
    ) -> "Readings":
        """Readings of one simulation held in an MjData, N = 1."""
        qpos, qvel = data.qpos[None], data.qvel[None]
        return cls(model, qpos, qvel, lambda name: getattr(data, name)[None], dt, derived)

    def field(self, name: str) -> np.ndarray:
        """A field of MjData, (N, ...), live.

        Raises:
            InputError: it would be that of a physics substep ago, as the family does not ask for it.
        """
        if name not in self.known:
            raise InputError(
                f"{name} lags behind the state: the family has to list it, derived = ({name!r}, ...)"
            )
        return self._field(name)

    def velocity(self, i: int) -> np.ndarray:
        """Mean velocity of position coordinate i over the step just taken, (N,), m/s or rad/s."""
        return (self.qpos[:, i] - self.qpos_before[:, i]) / self.dt

    def body_position(self, name: str) -> np.ndarray:
        """World position of a body's frame, (N, 3) m. The family lists "xpos" in `derived`."""
        return self.field("xpos")[:, self.model.body(name).id]

    def site_position(self, name: str) -> np.ndarray:
        """World position of a site, (N, 3) m. The family lists "site_xpos" in `derived`."""
        return self.field("site_xpos")[:, self.model.site(name).id]
