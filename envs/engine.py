"""The engine of our own families: mujoco.batch, where MuJoCo has it."""

from typing import Any

import mujoco

from metarl.errors import InputError

try:
    from mujoco.batch import Batch
except ModuleNotFoundError:

    class Batch:  # type: ignore[no-redef]
        """Stands in for the engine, so that worlds of others run beside an older MuJoCo."""

        def __init__(self, *_: Any):
            raise InputError(
                f"MuJoCo {mujoco.__version__} has no mujoco.batch, which metarl's own families run on; use "
                "an environment with mujoco>=3.17 for them"
            )


__all__ = ["Batch"]
