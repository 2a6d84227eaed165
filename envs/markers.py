"""What a picture shows and physics knows nothing of: markers of a task, and from where to look."""

from dataclasses import dataclass
from typing import Any, Literal

import mujoco
import numpy as np

Colour = tuple[float, float, float, float]
Point = tuple[float, float, float]

GOAL: Colour = (0.0, 0.62, 0.45, 0.7)  # Okabe and Ito's green, told apart by everyone
HARM: Colour = (0.84, 0.37, 0.0, 0.9)  # and their vermilion

KINDS = {
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "arrow": mujoco.mjtGeom.mjGEOM_ARROW,
}
SIZES = {"sphere": 1, "cylinder": 2, "box": 3, "arrow": 1}


@dataclass(frozen=True)
class View:
    """From where to look at a robot.

    Attributes:
        distance: from what the camera looks at, m.
        azimuth, elevation: of the line of sight, degrees; an elevation of -90 looks straight down.
        lookat: the point it looks at, m; None follows the robot.
    """

    distance: float
    azimuth: float = 90.0
    elevation: float = -15.0
    lookat: Point | None = None


@dataclass(frozen=True)
class Marker:
    """A shape in the world.

    Attributes:
        kind: a sphere, an upright cylinder, an upright box, or an arrow.
        position: of the centre, of an arrow the tail, m.
        size: radius; radius and half the height; half of each side; or an arrow's half width, m. What has
            no size is not seen.
        to: the tip of an arrow, m.
        colour: red, green, blue and opacity, 0 to 1.
    """

    kind: Literal["sphere", "cylinder", "box", "arrow"]
    position: Point
    size: tuple[float, ...]
    to: Point | None = None
    colour: Colour = GOAL

    def problem(self) -> str | None:
        """What is wrong with it, in words; None if it can be drawn."""
        if self.kind not in KINDS:
            return f"that is none of {', '.join(KINDS)}"
        if np.ndim(self.size) != 1 or len(self.size) not in (1, SIZES[self.kind]):
            return f"of size {self.size!r}: a tuple of 1 or {SIZES[self.kind]} numbers"
        if self.kind == "arrow" and self.to is None:
            return "without `to`, where it points"
        for words, point in (("position", self.position), ("to", self.to or self.position)):
            if np.shape(point) != (3,) or not np.isfinite(np.asarray(point, float)).all():
                return f"whose {words} is {point!r}, and not three finite numbers"
        return None

    def write(self, geom: mujoco.MjvGeom) -> None:
        """Turn a scene's geom into the marker."""
        size = np.resize(self.size, 3)
        position, turn = np.array(self.position), np.eye(3).ravel()
        mujoco.mjv_initGeom(geom, KINDS[self.kind], size, position, turn, np.array(self.colour))
        if self.to is not None:
            mujoco.mjv_connector(geom, KINDS[self.kind], self.size[0], position, np.array(self.to))
        geom.category, geom.emission = mujoco.mjtCatBit.mjCAT_DECOR, 0.3


def weak_size(largest: float, lost: Any) -> Any:
    """Radius of a marker on what has lost a fraction of its strength, m; nothing where it has lost none."""
    return largest * np.sqrt(np.maximum(lost, 0.0))
