"""Named physical readings of N simulations, so that a reward reads as a sentence."""

from collections.abc import Callable, Collection

import mujoco
import numpy as np

from metarl.envs.rotations import matrices
from metarl.envs.touch import touch_sensor
from metarl.errors import InputError, unknown

BODY, SITE, SENSOR = mujoco.mjtObj.mjOBJ_BODY, mujoco.mjtObj.mjOBJ_SITE, mujoco.mjtObj.mjOBJ_SENSOR
STATE = frozenset(("qpos", "qvel", "act", "ctrl", "time", "mocap_pos", "mocap_quat", "eq_active", "userdata"))


class Readings:
    """What a family may read: live arrays over N simulations, none of them to be written to.

    Attributes:
        qpos, qvel: (N, nq), (N, nv) now.
        qpos_before: (N, nq) before the step just taken.
        action, action_before: (N, nu) of the step just taken, in [-1, 1], and of the one before; zero before
            the first.
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
        self.action, self.action_before = (np.zeros((len(qpos), model.nu)) for _ in range(2))
        self.before: dict[str, np.ndarray] = {}
        self._field = field

    @classmethod
    def of_data(
        cls,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        dt: float,
        derived: Collection[str] = (),
        remembered: Collection[str] = (),
    ) -> "Readings":
        """Readings of one simulation held in an MjData, N = 1, in which nothing has happened yet."""
        qpos, qvel = data.qpos[None], data.qvel[None]
        r = cls(model, qpos, qvel, lambda name: np.asarray(getattr(data, name))[None], dt, derived)
        r.before = {name: r.field(name).copy() for name in remembered}
        return r

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
        return self.field("xpos")[:, self._number(BODY, name)]

    def site_position(self, name: str) -> np.ndarray:
        """World position of a site, (N, 3) m. The family lists "site_xpos" in `derived`."""
        return self.field("site_xpos")[:, self._number(SITE, name)]

    def sensor(self, name: str) -> np.ndarray:
        """What a sensor of the MJCF file reads, (N, its size). The family lists "sensordata" in `derived`.

        Forces and accelerations are those of a physics substep ago.

        Raises:
            InputError: the robot has no such sensor.
        """
        known = [self.model.sensor(i).name for i in range(self.model.nsensor)]
        if name not in known:
            raise unknown("sensor", name, known)
        sensor = self.model.sensor(name)
        first = int(sensor.adr[0])
        return self.field("sensordata")[:, first : first + int(sensor.dim[0])]

    def contact(self, a: str, b: str) -> np.ndarray:
        """Whether two geoms or bodies touch, (N,) bool. The family lists the pair in `contacts`, too.

        Raises:
            InputError: it does not.
        """
        found = [mujoco.mj_name2id(self.model, SENSOR, touch_sensor(*pair)) for pair in ((a, b), (b, a))]
        if max(found) < 0:
            raise InputError(f"who reads whether {a} touches {b} lists it: contacts = (({a!r}, {b!r}),)")
        return self.field("sensordata")[:, self.model.sensor_adr[max(found)]] > 0

    def up(self, body: str) -> np.ndarray:
        """The world's upward direction in a body's frame, (N, 3): (0, 0, 1) where it stands upright.

        A body that moves freely needs nothing else; for others the family lists "xmat" in `derived`.
        """
        return self._turn(body)[:, 2]

    def local(self, body: str, vector: np.ndarray) -> np.ndarray:
        """The world's vectors, (N, 3), as a body's frame has them, (N, 3); it needs what `up` does."""
        return (vector[:, None] @ self._turn(body))[:, 0]

    def local_velocity(self, body: str) -> np.ndarray:
        """How fast the origin of a body's frame moves, in that frame, (N, 3) m/s.

        A body that moves freely needs nothing else; for others the family lists "xmat", "xpos", "cvel" and
        "subtree_com" in `derived`.
        """
        free = self._free(body)
        if free is not None:
            return self.local(body, self.qvel[:, free[1] : free[1] + 3])
        i = self._number(BODY, body)
        about = self.field("subtree_com")[:, self.model.body_rootid[i]]
        spin, velocity = self.field("cvel")[:, i, :3], self.field("cvel")[:, i, 3:]
        return self.local(body, velocity + np.cross(spin, self.field("xpos")[:, i] - about))

    def local_spin(self, body: str) -> np.ndarray:
        """How fast a body turns about its frame's axes, (N, 3) rad/s; it needs what `local_velocity` does."""
        free = self._free(body)
        if free is not None:
            return self.qvel[:, free[1] + 3 : free[1] + 6]
        return self.local(body, self.field("cvel")[:, self._number(BODY, body), :3])

    def _turn(self, body: str) -> np.ndarray:
        """A body's axes in the world, the columns of (N, 3, 3)."""
        free = self._free(body)
        if free is None:
            return self.field("xmat")[:, self._number(BODY, body)].reshape(-1, 3, 3)
        return matrices(self.qpos[:, free[0] + 3 : free[0] + 7])

    def _free(self, body: str) -> tuple[int, int] | None:
        """Where a body that moves freely is in qpos and in qvel."""
        joint = self.model.body_jntadr[self._number(BODY, body)]
        if joint < 0 or self.model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_FREE:
            return None
        return int(self.model.jnt_qposadr[joint]), int(self.model.jnt_dofadr[joint])

    def _number(self, kind: mujoco.mjtObj, name: str) -> int:
        """An object's number.

        Raises:
            InputError: the robot has none of this name.
        """
        found = mujoco.mj_name2id(self.model, kind, name)
        if found < 0:
            count = self.model.nbody if kind is BODY else self.model.nsite
            known = [mujoco.mj_id2name(self.model, kind, i) for i in range(count)]
            raise unknown(kind.name.removeprefix("mjOBJ_").lower(), name, filter(None, known))
        return found
