"""The file that an agent is kept in."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from metarl.errors import DamagedError, InputError
from metarl.files import is_deep

FORMAT = "metarl-checkpoint-1"
PARTS = {"family": str, "learner": str, "seed": int, "config": dict, "state": dict}  # of a checkpoint
CHECKPOINT = "checkpoint.pt"  # its name in a run folder


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint file. Nothing in the file can run code.

    Raises:
        InputError: the file is missing, unreadable or something else.
    """
    if not path.is_file():
        raise DamagedError(f"no checkpoint {path}; give a run folder that `metarl train` has written")
    try:
        if not is_whole(path):  # torch itself compares no checksums
            raise ValueError
        content = torch.load(path, map_location="cpu", weights_only=True)
        if any(x.numel() * x.element_size() > x.untyped_storage().nbytes() for x in _tensors(content)):
            raise ValueError  # a number that claims to be a billion of them
    except Exception as error:  # torch names no common type for the many ways a file can be damaged
        raise DamagedError(
            f"{path} is not a readable checkpoint ({type(error).__name__}); use another copy or train again"
        ) from None
    known = isinstance(content, dict) and {"format", *PARTS} <= set(content) and content["format"] == FORMAT
    if not known or not all(isinstance(content[name], kind) for name, kind in PARTS.items()):
        raise InputError(f"{path} is not a checkpoint of metarl in the format {FORMAT}")
    try:
        json.dumps(content["config"])
        if is_deep(content["config"]):
            raise ValueError
    except (TypeError, ValueError, RecursionError):
        raise InputError(f"{path} is not a checkpoint of metarl: its settings are not plain values") from None
    return content


def is_whole(path: Path) -> bool:
    """Whether a checkpoint's checksums are right, and nothing in it is larger than it looks."""
    try:
        with zipfile.ZipFile(path) as file:
            size = sum(part.file_size for part in file.infolist())
            return size <= path.stat().st_size and file.testzip() is None
    except Exception:  # zipfile names no common type for the many ways a file can be damaged
        return False


def is_finite(state: Any) -> bool:
    """Whether all floating-point numbers in a nest of tensors are finite."""
    return all(bool(torch.isfinite(x).all()) for x in _tensors(state) if x.is_floating_point())


def copy_parameters(params: Mapping[str, torch.Tensor], saved: Mapping[str, torch.Tensor]) -> None:
    """Give parameters the values that were saved; ValueError if these have other names or shapes."""
    if not same_shapes(params, saved):
        raise ValueError("the parameters have other names or shapes")
    with torch.no_grad():
        for k, p in params.items():
            p.copy_(saved[k])


def same_shapes(params: Mapping[str, torch.Tensor], others: Mapping[str, torch.Tensor]) -> bool:
    """Whether parameters have the same names and shapes."""
    return {k: p.shape for k, p in params.items()} == {k: p.shape for k, p in others.items()}


def _tensors(state: Any) -> list[torch.Tensor]:
    return [x for x in tree_leaves(state) if torch.is_tensor(x)]
