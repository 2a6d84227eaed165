"""The box: trained policies that come with metarl, each a run folder whose policy acts, and no more."""

import json
from pathlib import Path
from typing import Any

from metarl.errors import unknown

MADE = "made.json"  # of a policy: the command, its settings, what it took, and what it gets
MARK = "box:"
FOLDER = Path(__file__).parent
PREFERRED = "meta-lstm"  # of the learners that a family has a policy of


def contents() -> list[str]:
    """Names of the run folders in the box: a family's name, a dash, and the learner's."""
    return sorted(path.name for path in FOLDER.iterdir() if (path / "config.json").is_file())


def unboxed(path: str | Path) -> Path:
    """The run folder that is meant by box:AntDir or box:AntDir-maml; any other path as it is.

    Raises:
        InputError: there is no such policy in the box.
    """
    if not str(path).startswith(MARK):
        return Path(path)
    name = str(path).removeprefix(MARK)
    for folder in (name, f"{name}-{PREFERRED}"):
        if folder in contents():
            return FOLDER / folder
    raise unknown("policy of the box", name, contents())


def made(family: str, learner: str) -> dict[str, Any] | None:
    """How the policy of the box was made for a family by a learner; None if there is none."""
    path = FOLDER / f"{family}-{learner}" / MADE
    return json.loads(path.read_text()) if path.is_file() else None
