"""Which files of a run folder are videos, and which are pages to look at."""

import re
from pathlib import Path

FOLDER = "clips"  # of a run folder, where every video and page counts
PAGE = re.compile(r"(replay|render).*\.html")  # one in the run folder itself
VIDEOS = {".gif": (0, b"GIF8"), ".mp4": (4, b"ftyp")}  # what such a file has, and where


def find_clips(folder: Path) -> tuple[list[Path], list[Path]]:
    """Videos and pages in a run folder, and what is called a video and is none."""
    inner = folder / FOLDER
    paths = [*folder.iterdir(), *(inner.iterdir() if inner.is_dir() else [])]
    clips: list[Path] = []
    damaged: list[Path] = []
    for path in sorted(path for path in paths if path.is_file()):
        if path.suffix.lower() in VIDEOS:
            (clips if _is_video(path) else damaged).append(path)
        elif path.suffix.lower() == ".html" and (path.parent == inner or PAGE.fullmatch(path.name)):
            clips.append(path)
    return clips, damaged


def _is_video(path: Path) -> bool:
    start, magic = VIDEOS[path.suffix.lower()]
    with open(path, "rb") as file:
        return file.read(start + len(magic))[start:] == magic
