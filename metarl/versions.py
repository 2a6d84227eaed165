"""Versions of everything that numbers depend on."""

import platform
from importlib.metadata import distribution

from metarl import __version__

PACKAGES = ("torch", "numpy", "mujoco", "gymnasium", "stable-baselines3")


def versions() -> dict[str, str]:
    """By name."""
    system = {"python": platform.python_version(), "platform": platform.platform()}
    return {**system, "metarl": __version__, **{d.name: d.version for d in map(distribution, PACKAGES)}}
