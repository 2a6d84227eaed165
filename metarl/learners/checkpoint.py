"""The file that an agent is kept in."""

import json
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from metarl.errors import DamagedError, InputError

FORMAT = "metarl-checkpoint-1"
PARTS = {"family": str, "learner": str, "seed": int, "config": dict, "state": dict}  # of a checkpoint
CHECKPOINT = "checkpoint.pt"  # its name in a run folder


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint file. Nothing in the file can run code.

    Raises:
        InputError: the file is missing, unreadable or something else.
    """
    if not path.is_file():
        raise InputError(f"no checkpoint {path}; give a run folder that `metarl train` has written")
    try:
        if not is_whole(path):  # torch itself compares no checksums
            raise ValueError
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch names no common type for the many ways a file can be damaged
        raise DamagedError(
            f"{path} is not a readable checkpoint ({type(error).__name__}); use another copy or train again"
        ) from None
    known = isinstance(content, dict) and {"format", *PARTS} <= set(content) and content["format"] == FORMAT
    if not known or not all(isinstance(content[name], kind) for name, kind in PARTS.items()):
        raise InputError(f"{path} is not a checkpoint of metarl in the format {FORMAT}")
    try:
        json.dumps(content["config"])
    except (TypeError, ValueError):
        raise InputError(f"{path} is not a checkpoint of metarl: its settings are not plain values") from None
    return content


def is_whole(path: Path) -> bool:
    """Whether a checkpoint's checksums are right."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except Exception:  # zipfile names no common type for the many ways a file can be damaged
        return False


def is_finite(state: Any) -> bool:
    """Whether all floating-point numbers in a nest of tensors are finite."""
    tensors = [x for x in tree_leaves(state) if torch.is_tensor(x) and x.is_floating_point()]
    return all(bool(torch.isfinite(x).all()) for x in tensors)
