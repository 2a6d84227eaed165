"""What is not always installed, and which extra of this package brings it."""

DISTRIBUTION = "metarl-robots"
EXTRAS = {
    "gymnasium_robotics": "robots",
    "imageio_ffmpeg": "render",
    "matplotlib": "plots",
    "PIL": "render",
    "trimesh": "render",
    "viser": "render",
}


def cure(error: ModuleNotFoundError) -> str:
    """One line on what to install.

    Raises:
        ModuleNotFoundError: the same, if no extra brings the module.
    """
    name = (error.name or "").partition(".")[0]
    if name not in EXTRAS:
        raise error
    return f"this needs {name}: {install(EXTRAS[name])}"


def install(extra: str) -> str:
    """The command that brings an extra."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"
