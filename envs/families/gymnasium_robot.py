"""What the robots from Gymnasium's MJCF files share."""

from pathlib import Path

import gymnasium
import mujoco

from metarl.envs.family import TaskFamily
from metarl.envs.mjcf import load_spec
from metarl.envs.mjlog import no_console

ASSETS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"


class GymnasiumRobot(TaskFamily):
    """A family on a robot that Gymnasium ships; `mjcf` is the file's name there."""

    def build_spec(self) -> mujoco.MjSpec:
        """Read the robot; what MuJoCo remarks about Gymnasium's files is nobody's news."""
        with no_console():
            return load_spec(ASSETS / self.mjcf)
