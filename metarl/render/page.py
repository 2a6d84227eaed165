"""Pages: rollouts as a 3D scene to orbit, scrub and play in a browser, in one file and offline."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from envs import InputError, Marker, TaskFamily
from envs.render import pose
from metarl.files import write_atomically
from metarl.render.rollouts import Rollout
from metarl.render.shapes import Shape, marker_shape, robot_shapes, trimesh

try:
    import viser
except ImportError:
    viser = None

PAGES = (".html",)
MAX_FPS = 25  # of a page; it moves at the speed of the clock all the same
MARGIN, GAP = 0.5, 0.3  # tiles of free floor around what moves, and between lanes
HOLD = 1.5  # s, before the page starts again
LIGHT, DARK = (0.86, 0.87, 0.88, 1.0), (0.72, 0.74, 0.76, 1.0)
FAR = 3.0  # m; a robot that goes farther is kept in view while the floor moves below it


def write_page(rollouts: Sequence[Sequence[Rollout]], family: TaskFamily, path: Path) -> None:
    """Write rollouts as one scene in which every rollout has a lane of its own.

    Args:
        rollouts: for each task, what lies side by side.
        family: whose robot.
        path: of the page. Needs no OpenGL, here or where it is opened.

    Raises:
        InputError: viser is not installed.
    """
    if viser is None or trimesh is None:
        raise InputError("pages need viser: pip install 'metarl[render]'")
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of its start and stop
        server = viser.ViserServer("127.0.0.1", verbose=False)
        try:
            html = _record(server, [r for row in rollouts for r in row], family)
            html = html.replace("<title>Viser</title>", f"<title>metarl: {family.name}</title>")
        finally:
            server.stop()
    write_atomically(path, lambda file: file.write(html.encode()))


def _record(server: Any, rollouts: list[Rollout], family: TaskFamily) -> str:
    scene = server.scene
    scene.configure_environment_map(None)
    scene.set_up_direction("+z")
    scene.add_light_ambient("/light", intensity=1.5)
    lanes, edge = [], 0.0
    for i, rollout in enumerate(rollouts):
        lane = Lane(scene, f"/lane{i}", rollout, family)
        lane.middle = edge - lane.width / 2
        edge -= lane.width + GAP * lane.tile
        lanes.append(lane)
    middle, reach = edge / 2, max(-edge, 1.2 * max(lane.length for lane in lanes))
    server.initial_camera.look_at = (0.0, middle, 0.0)
    server.initial_camera.position = (0.0, middle - 0.65 * reach, 0.65 * reach)
    stride = max(1, round(1 / family.dt / MAX_FPS))
    recording = server.get_scene_serializer()
    for t in range(0, max(r.n_steps for r in rollouts) + stride, stride):
        for lane in lanes:
            lane.show(min(t, lane.rollout.n_steps))
        recording.insert_sleep(stride * family.dt)
    recording.insert_sleep(HOLD)
    return recording.as_html()


class Lane:
    """One rollout on its own strip of floor.

    Args:
        scene: viser's.
        name: of its node.
        rollout: what to show.
        family: whose robot.

    Attributes:
        length, width: m, of what has to be seen of it.
        tile: m, of the floor.
        middle: m, where it lies across the lanes.
    """

    def __init__(self, scene: Any, name: str, rollout: Rollout, family: TaskFamily):
        self.scene, self.name, self.rollout, self.family = scene, name, rollout, family
        self.model = family.model
        self.data = mujoco.MjData(self.model)
        self.middle = 0.0
        moving = np.flatnonzero(self.model.body_dofnum)
        self.root = int(moving[0]) if len(moving) else 0
        low, high, path = self._extent()
        self.follows = bool((np.ptp(path, axis=0) > FAR).any())
        self.path = _smooth(path) if self.follows else np.tile((low + high)[:2] / 2, (len(path), 1))
        size = 2 * self.around.max(axis=0) if self.follows else (high - low)[:2]
        self.tile = 1.0 if size.max() > 1 else 0.1
        self.length, self.width = size + 2 * MARGIN * self.tile
        self.node = scene.add_frame(name, show_axes=False)
        self._floor(low, high)
        self.bodies = self._robot()
        self.markers: list[Any] = []
        self.label = scene.add_label(f"{name}-label", "", anchor="center-right")

    def _extent(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Lowest and highest corner, (3,), of everything seen, and where the root goes, (L + 1, 2)."""
        low, high, path, around = np.full(3, np.inf), np.full(3, -np.inf), [], []
        for state in self.rollout.states:
            pose(self.model, self.data, state)
            points = self.data.xipos[1:]
            low, high = np.minimum(low, points.min(axis=0)), np.maximum(high, points.max(axis=0))
            path.append(self.data.xipos[self.root, :2].copy())
            around.append(np.abs(points[:, :2] - path[-1]).max(axis=0))
            marks = [m.position for m in self.family.markers(self.rollout.task, self.data)]
            if marks and len(path) == 1:
                low, high = np.minimum(low, np.min(marks, axis=0)), np.maximum(high, np.max(marks, axis=0))
        self.around = np.array(around)
        return low, high, np.array(path)

    def _floor(self, low: np.ndarray, high: np.ndarray) -> None:
        """A checkered strip below everything the robot passes."""
        beyond = self.length if self.follows else MARGIN * self.tile
        first, last = low[0] - beyond, high[0] + beyond
        bottom = self.path[:, 1].min() - self.width / 2
        top = self.path[:, 1].max() + self.width / 2
        x = np.linspace(first, last, 1 + max(1, round((last - first) / self.tile)))
        y = np.linspace(bottom, top, 1 + max(1, round((top - bottom) / self.tile)))
        tiles: dict[tuple[float, ...], list[np.ndarray]] = {LIGHT: [], DARK: []}
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
        )

    def show(self, t: int) -> None:
        """Put everything where it is after t steps."""
        pose(self.model, self.data, self.rollout.states[t])
        x, y = self.path[t]
        self.node.position = (-x, self.middle - y, 0.0)
        for body, frame in self.bodies.items():
            frame.position, frame.wxyz = self.data.xpos[body], self.data.xquat[body]
        self._mark(self.family.markers(self.rollout.task, self.data))
        self.label.position = (-self.length / 2, self.middle, 0.0)
        self.label.text = (
            f"{self.family.words(self.rollout.task)}, {self.rollout.title}: "
            f"return {self.rollout.reward[:t].sum():.1f}"
        )

    def _mark(self, markers: Sequence[Marker]) -> None:
        if len(self.markers) != len(markers):
            self.markers = [
                self._add(f"{self.name}/marker{k}", marker_shape(m)) for k, m in enumerate(markers)
            ]
        for handle, marker in zip(self.markers, markers, strict=True):
            handle.position = marker.position


def _smooth(path: np.ndarray) -> np.ndarray:
    """A path (T, 2) without its wiggles."""
    width = min(len(path), 15) // 2
    padded = np.pad(path, ((width, width), (0, 0)), "edge")
    kernel = np.full(2 * width + 1, 1 / (2 * width + 1))
    return np.stack([np.convolve(padded[:, k], kernel, "valid") for k in range(2)], axis=1)
