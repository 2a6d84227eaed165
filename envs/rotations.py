"""Rotations of N bodies, and vectors to be rotated."""

import numpy as np


def horizontal(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Vectors along the ground, (N, 3), of their x and y, (N,)."""
    return np.stack([x, y, np.zeros_like(x)], axis=-1)


def bearing(way: np.ndarray, distance: np.ndarray, far: float, near: float) -> np.ndarray:
    """The way to a goal in numbers of about one, (N, 6), for `TaskFamily.privileged`.

    Args:
        way: (N, 3), in a frame in which the robot can use it.
        distance: its length, (N,).
        far: a long way, which gives one.
        near: within which its direction means little, and fades.
    """
    return np.concatenate([way / far, way / (distance[:, None] + near)], axis=1)


def matrices(quaternion: np.ndarray) -> np.ndarray:
    """Rotation matrices, (N, 3, 3), of unit quaternions, (N, 4)."""
    w, x, y, z = (quaternion[:, k] for k in range(4))
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quaternions(turn: np.ndarray) -> np.ndarray:
    """Unit quaternions, (N, 4), of rotation matrices, (N, 3, 3) (Bar-Itzhack 2000)."""
    m = np.moveaxis(turn, 0, -1)
    skew = np.array([m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]])
    trace = np.trace(turn, axis1=1, axis2=2)
    k = np.empty((len(turn), 4, 4))
    k[:, 0, 0], k[:, 0, 1:], k[:, 1:, 0] = trace, skew.T, skew.T
    k[:, 1:, 1:] = turn + turn.transpose(0, 2, 1) - trace[:, None, None] * np.eye(3)
    return np.linalg.eigh(k)[1][:, :, -1]
