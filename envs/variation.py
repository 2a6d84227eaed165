"""The one table of MjModel fields that a dynamics parameter may vary, and how.

A varied field is one row here. Scaling starts from the value in the model file, so applying a task
twice is applying it once. `Variation.writes` turns a parameter's numbers into field values.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from metarl.envs.engine import Batch
from metarl.errors import InputError, unknown


@dataclass(frozen=True)
class Field:
    """One row of the table: which objects index the field, and what has to follow it."""

    objects: mujoco.mjtObj
    along: str | None = None  # whose rows take the scale of this one's first column (but see `Param.alone`)


BODY, JOINT, GEOM, ACTUATOR = (
    mujoco.mjtObj.mjOBJ_BODY,
    mujoco.mjtObj.mjOBJ_JOINT,
    mujoco.mjtObj.mjOBJ_GEOM,
    mujoco.mjtObj.mjOBJ_ACTUATOR,
)

FIELDS: dict[str, Field] = {
    "body_mass": Field(BODY, along="body_inertia"),  # kg
    "body_inertia": Field(BODY),  # kg m^2, principal
    "body_ipos": Field(BODY),  # m, centre of mass in the body frame
    "geom_friction": Field(GEOM),  # slide, spin, roll
    "dof_damping": Field(JOINT),  # N s/m or N m s/rad
    "dof_armature": Field(JOINT),  # kg or kg m^2
    "dof_frictionloss": Field(JOINT),  # N or N m
    "jnt_stiffness": Field(JOINT),  # N/m or N m/rad
    "actuator_gear": Field(ACTUATOR),  # transmission ratio
    "actuator_gainprm": Field(ACTUATOR, along="actuator_biasprm"),  # gain parameters: kp of a servo
    "actuator_biasprm": Field(ACTUATOR),  # bias parameters: 0, -kp, -kv of a servo
}


class Variation:
    """Where one dynamics parameter writes in the model, resolved against a compiled model.

    Attributes:
        width: numbers that the field has for an object.
        index: (n,) flat indices into the field, of the elements that are varied.
        nominal: (n,) their values in the model file.
        alone: what follows the field elsewhere stays as it is.
        size: how many numbers the parameter takes: n if each element has its own, else 1.
        labels: (size,) names of the numbers, for people.
        neutral: (size,) numbers that leave the model as it is; None if no single number does.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        field: str,
        objects: tuple[str, ...] | None,
        mode: str,
        each: bool,
        axis: int | None = None,
        alone: bool = False,
    ):
        if field not in FIELDS:
            raise unknown("model field", field, FIELDS)
        if mode not in ("set", "scale", "add"):
            raise unknown("mode", mode, ("set", "scale", "add"))
        self.field, self.mode, self.alone = field, mode, alone
        value = getattr(model, field)
        self.width = width = int(np.prod(value.shape[1:], dtype=int))
        names, rows = _rows(model, field, objects)
        if axis is not None and not 0 <= axis < width:
            raise InputError(f"{field} has no axis {axis}; use 0 to {width - 1}")
        columns = np.arange(width) if axis is None else np.array([axis])
        index = (rows[:, None] * width + columns).ravel()
        labels = [n if width == 1 else f"{n}.{i}" for n in names for i in columns]
        keep = np.ones(len(index), bool)
        if mode == "scale":  # scaling a zero changes nothing: such elements are not a parameter
            keep = value.ravel()[index] != 0
            if not keep.any():
                raise InputError(f"scaling {field} of {objects or 'all'} changes nothing: it is zero")
        self.index = index[keep]
        self.nominal = value.ravel()[self.index].copy()
        self.size = len(self.index) if each else 1
        self.labels = [label for label, k in zip(labels, keep, strict=True) if k] if each else [field]
        self.neutral = self._neutral()

    def _neutral(self) -> np.ndarray | None:
        if self.mode != "set":
            return np.full(self.size, 1.0 if self.mode == "scale" else 0.0)
        same = self.size == len(self.nominal) or np.ptp(self.nominal) == 0
        return self.nominal[: self.size] if same else None

    def values(self, numbers: np.ndarray) -> np.ndarray:
        """Field values, (N, n), of the varied elements for the numbers of N tasks, (N, size)."""
        if self.mode == "set":
            return np.broadcast_to(numbers, (len(numbers), len(self.index)))
        return self.nominal * numbers if self.mode == "scale" else self.nominal + numbers


def _rows(model: mujoco.MjModel, field: str, objects: tuple[str, ...] | None) -> tuple[list[str], np.ndarray]:
    """Names and first-axis rows of the objects in a field (for dof fields, a joint's every dof).

    The world, body 0, is not among all bodies: it has no mass and never moves.
    """
    kind = FIELDS[field].objects
    count = {BODY: model.nbody, JOINT: model.njnt, GEOM: model.ngeom, ACTUATOR: model.nu}[kind]
    first = 1 if kind is BODY else 0
    known = [mujoco.mj_id2name(model, kind, i) or f"#{i}" for i in range(count)]
    for name in objects or ():
        if name not in known[first:]:
            raise unknown(kind.name.removeprefix("mjOBJ_").lower(), name, known[first:])
    ids = range(first, count) if objects is None else [known.index(name) for name in objects]
    if not field.startswith("dof_"):
        return [known[i] for i in ids], np.array(ids, int)
    dofs = {j: np.flatnonzero(model.dof_jntid == j) for j in ids}
    names = [known[j] if len(d) == 1 else f"{known[j]}.{i}" for j, d in dofs.items() for i in range(len(d))]
    return names, np.concatenate(list(dofs.values()))


def apply(batch: Batch, variations: list[Variation], numbers: list[np.ndarray], ids: np.ndarray) -> None:
    """Write the dynamics of N tasks into the simulations `ids`, and what follows from them.

    Args:
        batch: the simulations; the varied fields become per-simulation.
        variations: one per dynamics parameter.
        numbers: for each, (N, size) task values.
        ids: (N,) simulations, sorted.
    """
    own = {v.field for v in variations}
    for variation, number in zip(variations, numbers, strict=True):
        value = variation.values(number)
        _write(batch, variation.field, ids, variation.index, value)
        along = FIELDS[variation.field].along
        if along and along not in own and not variation.alone:
            _scale_rows(batch, along, ids, variation, value)
    if variations:
        batch.set_const(ids)


def _write(batch: Batch, field: str, ids: np.ndarray, index: np.ndarray, value: np.ndarray) -> None:
    live = batch.expand(field)
    live.reshape(live.shape[0], -1)[np.ix_(ids, index)] = value


def _scale_rows(batch: Batch, field: str, ids: np.ndarray, lead: Variation, value: np.ndarray) -> None:
    """Scale the rows of `field` by what `lead` did to the first column of its field, of the same objects."""
    rows, column = np.divmod(lead.index, lead.width)
    leads = (column == 0) & getattr(batch.model, field)[rows].any(axis=1)
    if not leads.any():  # as with motors, which have no bias
        return
    rows, value, base = rows[leads], value[:, leads], lead.nominal[leads]
    nominal = getattr(batch.model, field)[rows]  # (n, width)
    ratio = np.divide(value, base, out=np.ones_like(value), where=base != 0)  # (N, n)
    live = batch.expand(field)
    live[np.ix_(ids, rows)] = nominal * ratio[:, :, None]
