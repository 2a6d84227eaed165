"""Robots that come with other packages, or lie in the user's copy of MuJoCo's menagerie."""

import os
from importlib.util import find_spec
from pathlib import Path

from metarl.errors import InputError
from metarl.extras import install

MENAGERIE = "MENAGERIE_ROOT"  # variable that names the folder of the user's own copy


def robot_file(package: str, extra: str, inside: Path, menagerie: str) -> Path:
    """Where a robot's MJCF file is: in an installed package, or else in the user's menagerie.

    Args:
        package: that carries it.
        extra: of ours, which brings the package.
        inside: the file there.
        menagerie: the file in the menagerie.

    Raises:
        InputError: it is in neither.
    """
    found = find_spec(package)
    roots = [Path(place) / inside for place in (found and found.submodule_search_locations) or ()]
    if os.environ.get(MENAGERIE):
        roots.append(Path(os.environ[MENAGERIE]) / menagerie)
    for path in roots:
        if path.is_file():
            return path
    raise InputError(
        f"the robot's files come with {package}: {install(extra)}; or {MENAGERIE} names a menagerie"
    )
