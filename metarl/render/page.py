"""Pages: rollouts as a 3D scene to orbit, scrub and play in a browser, in one file and offline."""

import contextlib
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from metarl.envs import InputError, TaskFamily
from metarl.errors import plain
from metarl.extras import install
from metarl.files import write_atomically
from metarl.render.extent import Frame, extent
from metarl.render.lane import Lane
from metarl.render.rollouts import Rollout
from metarl.render.shapes import trimesh

try:
    import viser
except ImportError:
    viser = None

PAGES = (".html",)
MAX_FPS = 25  # of a page; it moves at the speed of the clock all the same
GAP = 0.3  # tiles between lanes
HOLD = 1.5  # s, before the page starts again


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
        raise InputError(f"pages need viser: {install('render')}")
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of its start and stop
        server = viser.ViserServer("127.0.0.1", verbose=False)
        try:
            html = _record(server, rollouts, family)
            html = html.replace(
                "<title>Viser</title>", f"<title>metarl: {escape(plain(family.name))}</title>"
            )
        finally:
            server.stop()
    write_atomically(path, lambda file: file.write(html.encode()))


def _record(server: Any, rollouts: Sequence[Sequence[Rollout]], family: TaskFamily) -> str:
    scene = server.scene
    scene.configure_environment_map(None)
    scene.set_up_direction("+z")
    scene.add_light_ambient("/light", intensity=1.5)
    extents = [[extent(rollout, family) for rollout in row] for row in rollouts]
    frame = Frame.around([e for row in extents for e in row])
    grid = [
        [Lane(scene, f"/lane{i}-{j}", rollout, family, extents[i][j], frame) for j, rollout in enumerate(row)]
        for i, row in enumerate(rollouts)
    ]
    lanes = [lane for row in grid for lane in row]
    # Long strips of floor lie one behind the other; what stays in its place has room side by side.
    depth, width = _place([[lane] for lane in lanes] if frame.follows else grid, frame)
    high = frame.height
    reach = max(depth, width, 1.5 * high)
    server.initial_camera.look_at = (0.0, -depth / 2, high / 2)
    server.initial_camera.position = (0.0, -depth / 2 - 0.65 * reach, high / 2 + 0.65 * reach)
    stride = max(1, round(1 / family.dt / MAX_FPS))
    recording = server.get_scene_serializer()
    for t in range(0, max(lane.rollout.n_steps for lane in lanes) + stride, stride):
        for lane in lanes:
            lane.show(min(t, lane.rollout.n_steps))
        recording.insert_sleep(stride * family.dt)
    recording.insert_sleep(HOLD)
    return recording.as_html()


def _place(grid: list[list[Lane]], frame: Frame) -> tuple[float, float]:
    """Lay lanes out in rows, the first one farthest away, around x = 0; returns depth and width, m."""
    gap = GAP * frame.tile
    n_columns = max(map(len, grid))
    width = n_columns * (frame.length + gap) - gap
    for i, row in enumerate(grid):
        for j, lane in enumerate(row):
            x = (frame.length - width) / 2 + j * (frame.length + gap)
            lane.place(x, -frame.width / 2 - i * (frame.width + gap))
    return len(grid) * (frame.width + gap), width
