"""What is known of a robot before anything is learned: what the numbers of its observations are."""

from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np
import torch
from torch import Tensor

from metarl.envs import GymFamily, InputError, Readings, TaskFamily

N_PROBES = 64  # random states
QUATERNION = 4  # numbers
FREE, BALL, HINGE = (int(getattr(mujoco.mjtJoint, f"mjJNT_{k}")) for k in ("FREE", "BALL", "HINGE"))

PAST = "qpos_before", "action", "action_before", "before"  # of readings, which no observation tells

Failed = Callable[[np.ndarray], np.ndarray]  # obs (B, obs_dim) to (B,) bool


@dataclass(frozen=True)
class Robot:
    """The columns of an observation that turn, and what a failure is.

    Attributes:
        obs_dim, action_dim: of the robot.
        angles: columns that are angles of joints without limits, rad, which mean the same a turn further.
        rotations: first columns of unit quaternions, which is how MuJoCo gives free and ball joints.
        failed: whether an observation is of a robot that has failed, by the family's own function; None where
            that cannot be told from observations, and has to be learned.
        fails: whether there is any failure at all.
    """

    obs_dim: int
    action_dim: int
    angles: tuple[int, ...] = ()
    rotations: tuple[int, ...] = ()
    failed: Failed | None = None
    fails: bool = False

    @property
    def n_features(self) -> int:
        """Numbers that a network sees of an observation."""
        return self.obs_dim + len(self.angles) + 2 * len(self.rotations)

    @property
    def learns_failure(self) -> bool:
        """Whether failures have to be learned from what was seen."""
        return self.fails and self.failed is None

    @classmethod
    def of(cls, family: TaskFamily) -> "Robot":
        """Find out by looking at a few random states, simulated; of a world of others' nothing is known."""
        if isinstance(family, GymFamily):
            return cls(family.obs_dim, family.action_dim, fails=True)
        readings = list(_random_states(family))
        obs = np.concatenate([family.see(r) for r in readings])
        qpos, qvel = (np.concatenate([getattr(r, name) for r in readings]) for name in ("qpos", "qvel"))
        at, model = _places(obs, qpos), family.model
        angles, rotations = [], []
        for kind, limited, first in zip(model.jnt_type, model.jnt_limited, model.jnt_qposadr, strict=True):
            if kind == HINGE and not limited and first in at:
                angles.append(at[first])
            if kind in (BALL, FREE):
                start = first + 3 * (kind == FREE)
                columns = [at.get(start + k, -1) for k in range(QUATERNION)]
                if columns[0] >= 0 and np.array_equal(np.diff(columns), [1, 1, 1]):
                    rotations.append(columns[0])
        fails = family.defines("terminated")
        failed = None
        if fails and not family.sensors and "terminated" not in family.asks_task:
            told = _Failed(family, at, _places(obs, qvel))
            failed = told if told.agrees(readings, obs) else None
        return cls(family.obs_dim, family.action_dim, tuple(angles), tuple(rotations), failed, fails)

    def features(self, obs: Tensor, normalised: Tensor) -> Tensor:
        """What a network sees of observations (..., obs_dim), (..., n_features): what turns, without a seam.

        Angles are given as sine and cosine, quaternions as two columns of the rotation (Zhou et al. 2019).
        """
        if not self.angles and not self.rotations:
            return normalised
        parts = []
        turning = set(self.angles)
        if self.angles:
            angle = obs[..., list(self.angles)]
            parts += [angle.sin(), angle.cos()]
        for first in self.rotations:
            turning |= set(range(first, first + QUATERNION))
            w, x, y, z = obs[..., first : first + QUATERNION].unbind(-1)
            rotation = (
                *(1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)),
                *(2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)),
            )
            parts.append(torch.stack(rotation, -1))
        plain = [column for column in range(self.obs_dim) if column not in turning]
        return torch.cat([normalised[..., plain], *parts], -1)

    def whole(self, obs: Tensor) -> Tensor:
        """Observations (..., obs_dim) to which a change was added, their quaternions of length one again."""
        for first in self.rotations:
            part = slice(first, first + QUATERNION)
            turned = torch.nn.functional.normalize(obs[..., part], dim=-1)
            obs = torch.cat([obs[..., :first], turned, obs[..., first + QUATERNION :]], -1)
        return obs


class _Failed:
    """A family's `terminated`, given observations that hold what it reads of qpos and qvel."""

    def __init__(self, family: TaskFamily, qpos_at: dict[int, int], qvel_at: dict[int, int]):
        self.family, self.qpos_at, self.qvel_at = family, qpos_at, qvel_at

    def __call__(self, obs: np.ndarray) -> np.ndarray:
        model = self.family.model
        qpos, qvel = np.tile(model.qpos0, (len(obs), 1)), np.zeros((len(obs), model.nv))
        for array, places in ((qpos, self.qpos_at), (qvel, self.qvel_at)):
            array[:, list(places)] = obs[:, list(places.values())]
        readings = Readings(model, qpos, qvel, _unknown, self.family.dt)
        for name in PAST:
            delattr(readings, name)
        return np.asarray(self.family.terminated(readings), bool)

    def agrees(self, readings: list[Readings], obs: np.ndarray) -> bool:
        """Whether it says of these observations what the family says of their states."""
        try:
            said = self(obs)
        except (InputError, LookupError, AttributeError):  # it reads what is in no observation
            return False
        return np.array_equal(said, np.concatenate([self.family.terminated(r) for r in readings]))


def _unknown(name: str) -> np.ndarray:
    raise InputError(f"{name} is in no observation")


def _random_states(family: TaskFamily) -> list[Readings]:
    """States near and far from the initial one, all coordinates apart, one a `Readings`."""
    rng, model, found = np.random.default_rng(0), family.model, []
    for k in range(N_PROBES):
        data = mujoco.MjData(model)
        qpos, qvel = family.draw_states(rng, 1, family.stack(family.sample(rng, 1)))
        spread = 2.0 * k / N_PROBES
        data.qpos[:] = qpos[0] + spread * rng.standard_normal(model.nq)
        data.qvel[:] = qvel[0] + spread * rng.standard_normal(model.nv)
        mujoco.mj_normalizeQuat(model, data.qpos)
        mujoco.mj_forward(model, data)
        found.append(family.readings_of(data))
    return found


def _places(obs: np.ndarray, state: np.ndarray) -> dict[int, int]:
    """Which column of obs (B, n) shows each column of the state (B, m), where one does."""
    same = np.isclose(obs[:, None], state[:, :, None], rtol=0, atol=1e-9).mean(axis=0) > 0.9  # or is clipped
    return {int(i): int(same[i].argmax()) for i in np.flatnonzero(same.any(axis=1))}
