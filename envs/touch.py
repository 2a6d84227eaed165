"""Sensors that tell whether two things touch."""

import mujoco

from metarl.errors import InputError


def touch_sensor(a: str, b: str) -> str:
    """Name of the sensor of two geoms or bodies."""
    return f"{a}~{b}"


def add_touch(spec: mujoco.MjSpec, a: str, b: str) -> None:
    """A sensor that reads 1 or more while two things touch."""
    kinds = []
    for name in (a, b):
        if spec.geom(name) is not None:
            kinds.append(mujoco.mjtObj.mjOBJ_GEOM)
        elif spec.body(name) is not None:
            kinds.append(mujoco.mjtObj.mjOBJ_BODY)
        else:
            raise InputError(f"contacts: the robot has no geom and no body {name!r}")
    sensor = spec.add_sensor(
        name=touch_sensor(a, b),
        type=mujoco.mjtSensor.mjSENS_CONTACT,
        objtype=kinds[0],
        objname=a,
        reftype=kinds[1],
        refname=b,
    )
    sensor.intprm[0], sensor.intprm[2] = 1, 1  # how many are found; one slot
