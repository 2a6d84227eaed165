"""OpenGL: find a way to draw off screen on this machine, without risking the process.

A failed attempt can abort a process, so every way is tried in a process of its own first.
"""

import os
import subprocess
import sys
from functools import cache
from importlib import import_module

import mujoco

from metarl.errors import InputError

BACKENDS = {"glfw": "mujoco.glfw", "egl": "mujoco.egl", "osmesa": "mujoco.osmesa"}
TRIAL = """
import importlib, mujoco, sys
context = importlib.import_module(sys.argv[1]).GLContext(16, 16)
context.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), mujoco.mjtFontScale.mjFONTSCALE_100)
print("works", flush=True)
"""
TRIAL_SECONDS = 60
CURE = (
    "install a software OpenGL (Debian, Ubuntu: apt-get install -y libegl1 libgl1), "
    "or write a .html page, which needs none"
)


def has_display() -> bool:
    """Whether somebody sits before this machine, as far as it knows."""
    there = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return sys.platform != "linux" or bool(there)


def use_opengl() -> str:
    """Let `mujoco.Renderer` draw by the first backend that works, and return its name.

    Tried in this order: what MUJOCO_GL says; the display, if there is one; EGL; OSMesa. The environment
    stays as it is.

    Raises:
        InputError: none works, or the one that MUJOCO_GL asks for does not.
    """
    asked = os.environ.get("MUJOCO_GL", "").lower().strip()
    if asked in ("disable", "disabled", "off", "false", "0"):
        raise InputError(f"OpenGL is switched off by MUJOCO_GL={asked}; unset it, or write a .html page")
    if sys.platform != "linux":
        return "the system's own"  # MuJoCo has chosen it at import
    if asked in ("egl", "osmesa"):
        order = [asked]
    elif has_display():
        order = list(BACKENDS)
    else:
        order = ["egl", "osmesa"]
    for backend in order:
        if _works(backend):
            # Where the renderer looks its context up, in every version of MuJoCo.
            sys.modules[mujoco.Renderer.__module__].gl_context.GLContext = import_module(
                BACKENDS[backend]
            ).GLContext
            return backend
    tried = f"MUJOCO_GL={asked}" if asked in order else " or ".join(order)
    raise InputError(f"cannot draw: no OpenGL by {tried} on this machine; {CURE}")


@cache
def _works(backend: str) -> bool:
    """Whether a process of its own can draw so."""
    trial = [sys.executable, "-c", TRIAL, BACKENDS[backend]]
    # The child must not choose another one at import, nor inherit the choice of PyOpenGL's platform.
    env = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    env["MUJOCO_GL"] = "disable"
    try:
        done = subprocess.run(trial, env=env, capture_output=True, text=True, timeout=TRIAL_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return done.stdout.startswith("works")
