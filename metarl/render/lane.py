"""A rollout in a page's 3D scene."""

from collections.abc import Sequence
from dataclasses import replace
from textwrap import shorten
from typing import Any

import mujoco
import numpy as np

from metarl.envs import Marker, TaskFamily
from metarl.envs.render import pose
from metarl.errors import plain
from metarl.render.extent import Extent, Frame
from metarl.render.rollouts import Rollout
from metarl.render.shapes import Shape, marker_shape, robot_shapes

BOX = 12  # triangles; the edges of what has no more are sharp
WORDS = 48  # characters, at most, about a task
LIGHT, DARK = (0.86, 0.87, 0.88, 1.0), (0.72, 0.74, 0.76, 1.0)


class Lane:
    """One rollout on its own strip of floor.

    Args:
        scene: viser's.
        name: of its node.
        rollout: what to show.
        family: whose robot.
        extent: of the rollout.
        frame: what has to be seen of it, as of all others on the page.

    Attributes:
        middle: (x, y) m, where it lies.
    """

    def __init__(
        self, scene: Any, name: str, rollout: Rollout, family: TaskFamily, extent: Extent, frame: Frame
    ):
        self.scene, self.name, self.rollout, self.family, self.frame = scene, name, rollout, family, frame
        self.model = family.portrait
        self.data = mujoco.MjData(self.model)
        self.middle = 0.0, 0.0
        still = np.tile(frame.middle, (len(extent.path), 1))
        self.path = _smooth(extent.path) if frame.follows else still
        self.node = scene.add_frame(name, show_axes=False)
        self._floor()
        self.bodies = self._robot()
        self.markers: dict[int, tuple[Marker, Any]] = {}  # around the origin, and on the page
        task = shorten(family.words(rollout.task), WORDS, placeholder=" …")
        self.words = plain(f"{task}; {rollout.title}")
        anchor = "center-right" if frame.follows else "top-center"
        self.label = scene.add_label(f"{name}-label", "", anchor=anchor)

    def _floor(self) -> None:
        """A checkered strip below everything the robot passes."""
        frame = self.frame
        half = np.array([2 * frame.length if frame.follows else frame.length / 2, frame.width / 2])
        ends = self.path.min(axis=0) - half, self.path.max(axis=0) + half
        x, y = (
            np.linspace(a, b, 1 + max(1, round((b - a) / frame.tile))) for a, b in zip(*ends, strict=True)
        )
        tiles: dict[tuple[float, float, float, float], list[np.ndarray]] = {LIGHT: [], DARK: []}
        for i, j in np.ndindex(len(x) - 1, len(y) - 1):
            corners = [(x[i], y[j]), (x[i + 1], y[j]), (x[i + 1], y[j + 1]), (x[i], y[j + 1])]
            tiles[LIGHT if (i + j) % 2 else DARK].append(np.array([(*c, 0.0) for c in corners]))
        for k, (colour, quads) in enumerate(tiles.items()):
            if quads:
                faces = [np.array([[0, 1, 2], [0, 2, 3]]) + 4 * q for q in range(len(quads))]
                shape = Shape(np.concatenate(quads).astype(np.float32), np.concatenate(faces), colour)
                self._add(f"{self.name}/floor{k}", shape)

    def _robot(self) -> dict[int, Any]:
        """A frame for every body that one can see."""
        frames = {}
        for body, shapes in robot_shapes(self.model).items():
            name = f"{self.name}/body{body}"
            frames[body] = self.scene.add_frame(name, show_axes=False)
            for k, shape in enumerate(shapes):
                self._add(f"{name}/{k}", shape)
        return frames

    def _add(self, name: str, shape: Shape) -> Any:
        *colour, opacity = shape.colour
        return self.scene.add_mesh_simple(
            name,
            shape.vertices,
            shape.faces,
            color=tuple(round(255 * c) for c in colour),
            opacity=None if opacity >= 1 else opacity,
            flat_shading=len(shape.faces) <= BOX,
        )

    def place(self, x: float, y: float) -> None:
        """Put the middle there."""
        self.middle = x, y
        left, front = x - self.frame.length / 2, y - self.frame.width / 2
        self.label.position = (left, y, 0.0) if self.frame.follows else (x, front, 0.0)

    def show(self, t: int) -> None:
        """Put everything where it is after t steps."""
        pose(self.model, self.data, self.rollout.states[t])
        x, y = self.path[t]
        self.node.position = (self.middle[0] - x, self.middle[1] - y, 0.0)
        for body, frame in self.bodies.items():
            frame.position, frame.wxyz = self.data.xpos[body], self.data.xquat[body]
        self._mark(self.family.seen_markers(self.rollout.task_at(t), self.data))
        self.label.text = f"{self.words}: return {self.rollout.reward[:t].sum():.1f}"

    def _mark(self, markers: Sequence[Marker]) -> None:
        for k, marker in enumerate(markers):
            look = _look(marker)
            if k not in self.markers or self.markers[k][0] != look:
                self.markers[k] = look, self._add(f"{self.name}/marker{k}", marker_shape(look))
            self.markers[k][1].position = marker.position


def _look(marker: Marker) -> Marker:
    """The marker around the origin; arrows to two centimetres, so that few of them are sent."""
    if marker.to is None:
        return replace(marker, position=(0.0, 0.0, 0.0))
    x, y, z = (round(50 * (b - a)) / 50 for a, b in zip(marker.position, marker.to, strict=True))
    return replace(marker, position=(0.0, 0.0, 0.0), to=(x, y, z))


def _smooth(path: np.ndarray) -> np.ndarray:
    """A path (T, 2) without its wiggles."""
    width = min(len(path), 15) // 2
    padded = np.pad(path, ((width, width), (0, 0)), "edge")
    kernel = np.full(2 * width + 1, 1 / (2 * width + 1))
    return np.stack([np.convolve(padded[:, k], kernel, "valid") for k in range(2)], axis=1)
