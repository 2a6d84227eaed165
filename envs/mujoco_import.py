"""Import MuJoCo even where MUJOCO_GL names an OpenGL that is not installed.

MuJoCo loads that library when it is imported, and the import ends in an error of the library's. Physics
needs none; who wants to draw is told by `metarl.envs.gl`.
"""

import os
from importlib import import_module

try:
    import_module("mujoco")
except AttributeError:
    if (asked := os.environ.get("MUJOCO_GL")) is None:
        raise
    os.environ["MUJOCO_GL"] = "disable"
    try:
        import_module("mujoco")
    finally:
        os.environ["MUJOCO_GL"] = asked
