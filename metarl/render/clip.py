"""Clips: rollouts side by side as an .mp4 or .gif, a row for each task."""

import os
from collections.abc import Iterator, Sequence
from functools import cache
from math import ceil
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from metarl.envs import FrameRenderer, InputError, TaskFamily
from metarl.errors import plain
from metarl.extras import install
from metarl.files import unfinished
from metarl.progress import progress
from metarl.render.rollouts import Rollout

try:
    import imageio_ffmpeg
except ImportError:
    imageio_ffmpeg = None

CLIPS = (".mp4", ".gif")
MAX_FPS = 50  # of a clip; faster robots are shown in real time by leaving frames out
LATELY = 0.5  # s, over which what is off is averaged
HOLD = 1.0  # s, how long the last frame stays
BAR, STRIP, GAP = 30, 44, 4  # px: a caption's height, that of a strip of attention, and between panels
GIF_WIDTH = 720  # px, at most
PAPER, INK, FAINT = (250, 250, 250), (30, 30, 30), (130, 130, 130)
FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def write_clip(
    rollouts: Sequence[Sequence[Rollout]],
    family: TaskFamily,
    path: Path,
    width: int = 480,
    height: int = 360,
    progress_bar: bool = False,
) -> None:
    """Draw rollouts, in real time, into a video that is there whole or not at all.

    Args:
        rollouts: for each task, what stands side by side.
        family: whose robot.
        path: ends in .mp4 or .gif.
        width: of one picture, pixels; even.
        height: the same.
        progress_bar: show one.

    Raises:
        InputError: there is no OpenGL, or no imageio-ffmpeg.
    """
    if imageio_ffmpeg is None:
        raise InputError(f"clips need imageio-ffmpeg: {install('render')}; or write a .html page")
    film = Film(rollouts, family, width, height)
    gif = path.suffix.lower() == ".gif"
    squeeze = f"scale='min({GIF_WIDTH},iw)':-2:flags=lanczos,"
    palette = f"[0:v]{squeeze}split[a][b];[a]palettegen=max_colors=128[p];[b][p]paletteuse=dither=none"
    temporary = unfinished(path, path.suffix)
    writer = imageio_ffmpeg.write_frames(
        str(temporary),
        film.size,
        fps=film.fps,
        codec="gif" if gif else "libx264",
        pix_fmt_out="pal8" if gif else "yuv420p",
        macro_block_size=2,
        quality=None if gif else 7,
        output_params=["-filter_complex", palette] if gif else ["-movflags", "+faststart"],
        ffmpeg_log_level="error",
    )
    try:
        writer.send(None)
        with progress("rendering", film.n_frames, shown=progress_bar) as bar:
            for i, frame in enumerate(film.frames(), start=1):
                writer.send(np.ascontiguousarray(frame))
                bar.update(i)
        writer.close()
        os.replace(temporary, path)
    finally:
        film.close()
        writer.close()
        temporary.unlink(missing_ok=True)


class Film:
    """Frames of rollouts side by side.

    Args:
        rollouts: for each task, what stands side by side.
        family: whose robot.
        width, height: of one picture, pixels; even.

    Attributes:
        size: (width, height) of a frame, pixels.
        fps: frames a second.
        n_frames: of them.
    """

    def __init__(self, rollouts: Sequence[Sequence[Rollout]], family: TaskFamily, width: int, height: int):
        self.rollouts, self.family = rollouts, family
        self.renderer = FrameRenderer(family, width, height)
        self.width, self.height = width, height
        self.strips = any(r.attention is not None for row in rollouts for r in row)
        self.stride = max(1, ceil(1 / family.dt / MAX_FPS - 1e-9))
        self.fps = 1 / family.dt / self.stride
        longest = max(r.n_steps for row in rollouts for r in row)
        self.moving = range(0, longest + self.stride, self.stride)
        self.n_frames = len(self.moving) + ceil(HOLD * self.fps)
        self._row = 2 * BAR + height + STRIP * self.strips + GAP
        n_columns = max(map(len, rollouts))
        self.size = n_columns * (width + GAP) - GAP, len(rollouts) * self._row - GAP
        self._last: dict[int, np.ndarray] = {}  # the frame that an ended rollout keeps

    def frames(self) -> Iterator[np.ndarray]:
        """All of them, (height, width, 3) uint8."""
        for t in self.moving:
            frame = self._frame(t)
            yield frame
        for _ in range(self.n_frames - len(self.moving)):
            yield frame

    def close(self) -> None:
        """Free the OpenGL context."""
        self.renderer.close()

    def _frame(self, t: int) -> np.ndarray:
        canvas = Image.new("RGB", self.size, PAPER)
        draw = ImageDraw.Draw(canvas)
        for i, row in enumerate(self.rollouts):
            top = i * self._row
            words = plain(f"{self.family.name}: {self.family.words(row[0].task)}")
            draw.text((8, top + BAR / 2), _fit(words, self.size[0] - 16), INK, _font(15), anchor="lm")
            for j, rollout in enumerate(row):
                self._panel(canvas, draw, j * (self.width + GAP), top + BAR, rollout, t)
        return np.asarray(canvas)

    def _panel(
        self, canvas: Image.Image, draw: ImageDraw.ImageDraw, left: int, top: int, rollout: Rollout, t: int
    ) -> None:
        now = min(t, rollout.n_steps)
        canvas.paste(Image.fromarray(self._picture(rollout, now)), (left, top))
        if rollout.tasks:
            words = f"now {self.family.words(rollout.task_at(now), changing=True)}"
            write_over(draw, (left + 8, top + 8), _fit(plain(words), self.width - 16, 14))
        middle = top + self.height + BAR / 2
        value = f"return {rollout.reward[:now].sum():.1f}"
        if rollout.error is not None and now:
            lately = rollout.error[max(0, now - round(LATELY / self.family.dt)) : now].mean()
            value = f"{lately:.2f} {self.family.error_unit} off, {value}"
        draw.text((left + self.width - 8, middle), value, INK, _font(14), anchor="rm")
        room = self.width - 24 - draw.textlength(value, _font(14))
        state = f"{rollout.title}, {now * self.family.dt:.1f} s"
        if now == rollout.n_steps and rollout.terminated:
            state += ": failed"
        elif rollout.success is not None and now == rollout.n_steps and rollout.success:
            state += ": at the goal"
        draw.text((left + 8, middle), _fit(state, room, 14), INK, _font(14), anchor="lm")
        if rollout.attention is not None:
            self._strip(canvas, draw, left, top + self.height + BAR, rollout.attention, now)

    def _picture(self, rollout: Rollout, now: int) -> np.ndarray:
        if now < rollout.n_steps:
            return self.renderer.frame(rollout.states[now], rollout.task_at(now))
        if id(rollout) not in self._last:
            self._last[id(rollout)] = self.renderer.frame(rollout.states[now], rollout.task_at(now))
        return self._last[id(rollout)]

    def _strip(
        self,
        canvas: Image.Image,
        draw: ImageDraw.ImageDraw,
        left: int,
        top: int,
        attention: np.ndarray,
        now: int,
    ) -> None:
        """Attention over the memory's slots (rows) so far, as wide as the whole episode."""
        label = min(74, self.width // 2)
        draw.text((left + 8, top + STRIP / 2), "memory\nread", FAINT, _font(12), anchor="lm")
        width = self.width - label - 8
        seen = attention[: max(now, 1)].T
        colours = matplotlib.colormaps["viridis"](seen / max(attention.max(), 1e-6), bytes=True)
        part = max(1, round(width * seen.shape[1] / self.family.horizon))
        picture = Image.fromarray(colours[..., :3]).resize((part, STRIP - 8), Image.Resampling.NEAREST)
        draw.rectangle((left + label, top + 2, left + label + width, top + STRIP - 7), fill=(232, 232, 232))
        canvas.paste(picture, (left + label, top + 2))


def write_over(draw: ImageDraw.ImageDraw, place: tuple[float, float], words: str) -> None:
    """Words on a picture of any colour."""
    draw.text(place, words, INK, _font(14), stroke_width=2, stroke_fill=PAPER)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONT), size)


@cache
def _fit(words: str, width: float, size: int = 15) -> str:
    """As much of the words as fits into so many pixels."""
    if _font(size).getlength(words) <= width:
        return words
    while words and _font(size).getlength(words + "…") > width:
        words = words[:-1]
    return words + "…"
