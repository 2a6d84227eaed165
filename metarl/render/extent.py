"""How much room rollouts take in a scene."""

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from metarl.envs import TaskFamily
from metarl.envs.render import pose
from metarl.render.rollouts import Rollout
from metarl.render.shapes import Shape, robot_shapes

MARGIN = 0.5  # tiles of free floor around what moves
SPREAD = 0.8  # of a robot's height lies between rows, so that none hides another
FAR = 3.0  # m; a robot that goes farther is kept in view while the floor moves below it


@dataclass(frozen=True)
class Extent:
    """Where a rollout takes place.

    Attributes:
        low, high: (3,) m, corners of a box around everything seen.
        path: (L + 1, 2) m, where the robot's root goes.
        around: (2,) m, how far from its root the robot reaches.
    """

    low: np.ndarray
    high: np.ndarray
    path: np.ndarray
    around: np.ndarray


@dataclass(frozen=True)
class Frame:
    """What has to be seen of every rollout of a page.

    Attributes:
        length, width, height: m.
        tile: m, of the floor.
        middle: (2,) m, of what is seen of a robot that stays in its place.
        follows: whether robots are kept in view while the floor moves below them.
    """

    length: float
    width: float
    height: float
    tile: float
    middle: np.ndarray
    follows: bool

    @classmethod
    def around(cls, extents: Sequence[Extent]) -> "Frame":
        """One that suits all of them."""
        low, high = np.min([e.low for e in extents], axis=0), np.max([e.high for e in extents], axis=0)
        follows = any((np.ptp(e.path, axis=0) > FAR).any() for e in extents)
        size = 2 * np.max([e.around for e in extents], axis=0) if follows else (high - low)[:2]
        tile = 1.0 if size.max() > 1 else 0.1
        length, width = size + 2 * MARGIN * tile
        return cls(length, max(width, SPREAD * high[2]), high[2], tile, (low + high)[:2] / 2, follows)


def extent(rollout: Rollout, family: TaskFamily) -> Extent:
    """The room that a rollout takes."""
    model = family.portrait
    data = mujoco.MjData(model)
    moving = np.flatnonzero(model.body_dofnum)
    root = moving[0] if len(moving) else 0
    boxes = {body: _corners(shapes) for body, shapes in robot_shapes(model).items()}
    corners, path, around = [], [], []
    for state in rollout.states:
        pose(model, data, state)
        path.append(data.xipos[root, :2].copy())
        turned = [box @ data.xmat[b].reshape(3, 3).T + data.xpos[b] for b, box in boxes.items()]
        points = np.concatenate(turned)
        around.append(np.abs(points[:, :2] - path[-1]).max(axis=0))
        corners += [points.min(axis=0), points.max(axis=0)]
        if len(path) == 1:
            corners += [marker.position for marker in family.seen_markers(rollout.task, data)]
    return Extent(np.min(corners, axis=0), np.max(corners, axis=0), np.array(path), np.max(around, axis=0))


def _corners(shapes: Sequence[Shape]) -> np.ndarray:
    """Of the box around a body's shapes, (8, 3)."""
    vertices = np.concatenate([shape.vertices for shape in shapes])
    ends = vertices.min(axis=0), vertices.max(axis=0)
    return np.array([[ends[i][0], ends[j][1], ends[k][2]] for i, j, k in np.ndindex(2, 2, 2)])
