"""The one table of what a dynamics parameter may vary of a model, and how.

A varied field is one row here. Parameters that vary the same numbers go one after the other, always from the
value in the model file, so that applying a task twice is applying it once.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import mujoco
import numpy as np

from metarl.envs.engine import Batch
from metarl.envs.param import Param
from metarl.envs.rotations import matrices, quaternions
from metarl.errors import InputError, unknown


@dataclass(frozen=True)
class Field:
    """One row of the table: which objects index the field, and what has to follow it.

    Attributes:
        objects: MuJoCo's kind; None where the robot has only one, as of its gravity.
        along: the field whose rows take the scale of this one's first column (but see `Param.alone`).
        stored: the fields of the model that it stands for, each with its columns (None: all), which are
            scaled together; none where it is a field itself.
    """

    objects: mujoco.mjtObj | None
    along: str | None = None
    stored: Mapping[str, tuple[int, ...] | None] = field(default_factory=dict)


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
    "actuator_forcerange": Field(ACTUATOR),  # N or N m, least and most
    "actuator_delay": Field(ACTUATOR),  # s, from a control to its effect
    "opt.gravity": Field(None),  # m/s^2
    "opt.wind": Field(None),  # m/s; the medium has a density (kg/m^3)
}
INERTIAL = dict.fromkeys(("body_mass", "body_inertia", "body_ipos", "body_iquat"))
PAYLOAD, PLACE, FLOOR = "payload", "payload_pos", "floor_friction"
LIMITS = "jnt_actfrcrange"
TOGETHER: dict[str, Field] = {
    # all that a motor or servo does, at any speed, and the most it can do
    "motor_strength": Field(
        ACTUATOR,
        stored={
            "actuator_gainprm": None,
            "actuator_biasprm": None,
            "actuator_forcerange": None,
            LIMITS: None,  # of joints that a motor drives alone
        },
    ),
    "servo_gain": Field(ACTUATOR, stored={"actuator_gainprm": (0,), "actuator_biasprm": (1,)}),  # kp alone
    FLOOR: Field(GEOM, stored={"geom_friction": None}),  # of geoms whose own friction always counts
    PAYLOAD: Field(BODY, stored=INERTIAL),  # kg, of a point on a body
    PLACE: Field(BODY, stored=INERTIAL),  # m, where it is from the centre of mass, in the body's frame
}
ROWS = FIELDS | TOGETHER
VECTORS = "body_ipos", "opt.gravity", "opt.wind"
AT_LEAST_0 = {
    *("body_mass", "body_inertia", "geom_friction", "dof_damping", "dof_armature", "dof_frictionloss"),
    *("actuator_delay", "motor_strength", "servo_gain", FLOOR),
}
STRONG = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtGain.mjGAIN_AFFINE, mujoco.mjtGain.mjGAIN_MUSCLE
MUSCLE_FORCE = 2, 3  # of a muscle's parameters: its peak force, or else what that is made of


@dataclass(frozen=True)
class Target:
    """Elements of a field of the model that a parameter writes.

    Attributes:
        field: its name.
        index: (n,) flat indices into it.
        number: (n,) which of the parameter's numbers each element takes.
    """

    field: str
    index: np.ndarray
    number: np.ndarray


class Variation:
    """Where one dynamics parameter writes in the model, resolved against a compiled model.

    Attributes:
        field: a row of the table.
        rows: (m,) objects that are varied, in the field's order.
        width: numbers that the field has for an object.
        index: (n,) flat indices into the field, of the elements that are varied.
        nominal: (n,) their values in the model file.
        alone: what follows the field elsewhere stays as it is.
        size: how many numbers the parameter takes: n if each element has its own, else 1, or one a group.
        labels: (size,) names of the numbers, for people.
        neutral: (size,) numbers that leave the model as it is; None if no single number does.
        number: (n,) which of the parameter's numbers each element takes.
        targets: what is written.
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
        groups: Mapping[str, Sequence[str]] | None = None,
    ):
        if field not in ROWS:
            raise unknown("model field", field, ROWS)
        if mode not in ("set", "scale", "add"):
            raise unknown("mode", mode, ("set", "scale", "add"))
        self.field, self.mode, self.alone, self.axis = field, mode, alone, axis
        self._stored = ROWS[field].stored
        names, self.rows, number = _grouped(model, field, objects, groups)
        value = self._value(model)
        self.width = width = int(np.prod(value.shape[1:], dtype=int))
        if field not in TOGETHER and axis is not None and not 0 <= axis < width:
            raise InputError(f"{field} has no axis {axis}; use 0 to {width - 1}")
        if field in VECTORS and mode != "scale" and axis is None and not each:
            raise InputError(f"{field} is a vector, and one number cannot say which way: axis=0, 1 or 2")
        columns = np.arange(width) if axis is None or field in TOGETHER else np.array([axis])
        index = (self.rows[:, None] * width + columns).ravel()
        labels = [(name, i) for name in names for i in columns]
        keep = np.ones(len(index), bool)
        if mode == "scale":  # scaling a zero changes nothing: such elements are not a parameter
            keep = value.ravel()[index] != 0
            if not keep.any():
                raise InputError(f"scaling {field} of {objects or 'all'} changes nothing: it is zero")
        self.index, self.nominal = index[keep], value.ravel()[index[keep]].copy()
        if groups:
            self.number, self.labels = np.repeat(number, len(columns))[keep], list(groups)
        else:
            kept = [label for label, k in zip(labels, keep, strict=True) if k]
            often = Counter(name for name, _ in kept)
            self.number = np.arange(len(kept)) if each else np.zeros(len(kept), int)
            self.labels = [n if often[n] == 1 else f"{n}.{i}" for n, i in kept] if each else [field]
        self.size = len(self.labels)
        self.neutral = self._neutral()
        self.targets = self._targets(model)

    @property
    def load_column(self) -> int:
        """Which number of a load it is, mass or coordinates: of a payload, or of its place."""
        return 0 if self.field == PAYLOAD else 1 + int(self.axis or 0)

    def _value(self, model: mujoco.MjModel) -> np.ndarray:
        """What is varied, over all objects: the field, or a factor or a sum for what stands for several."""
        if self.field not in TOGETHER:
            return value_of(model, self.field)
        adds = self.field in (PAYLOAD, PLACE)
        if self.mode != ("add" if adds else "scale"):
            raise InputError(
                f"{self.field} stands for several fields: its mode is {'add' if adds else 'scale'!r}"
            )
        if self.field == PLACE and self.axis not in (0, 1, 2):
            raise InputError(f"{PLACE} is along one axis: axis=0, 1 or 2")
        if self.field != PLACE and self.axis is not None:
            raise InputError(f"{self.field} stands for several fields: leave its axis out")
        return np.full(int(self.rows.max()) + 1, 0.0 if adds else 1.0)

    def _neutral(self) -> np.ndarray | None:
        if self.mode != "set":
            return np.full(self.size, 1.0 if self.mode == "scale" else 0.0)
        parts = [self.nominal[self.number == k] for k in range(self.size)]
        return None if any(np.ptp(part) for part in parts) else np.array([part[0] for part in parts])

    def _targets(self, model: mujoco.MjModel) -> list[Target]:
        if self.field not in TOGETHER:
            return [Target(self.field, self.index, self.number)]
        if self.field in (PAYLOAD, PLACE):
            return []  # see `add_payloads`
        targets = []
        for name, columns in self._stored.items():
            width = int(np.prod(getattr(model, name).shape[1:], dtype=int))
            chosen = np.arange(width) if columns is None else np.array(columns)
            rows, number = self.index, self.number
            if name == LIMITS:
                alone, rows = driven_alone(model, rows)
                number = number[alone]
            index = (rows[:, None] * width + chosen).ravel()
            number = np.repeat(number, len(chosen))
            if name in ("actuator_gainprm", "actuator_biasprm"):
                muscle = model.actuator_gaintype[index // width] == mujoco.mjtGain.mjGAIN_MUSCLE
                keep = ~muscle | np.isin(index % width, MUSCLE_FORCE)
                index, number = index[keep], number[keep]
            if len(index):
                targets.append(Target(name, index, number))
        return targets

    def check(self, model: mujoco.MjModel, low: float, high: float) -> None:
        """Raise `InputError` if numbers from low to high make of the robot what none can be."""
        if self.field == PAYLOAD and low < 0:
            lightest = self.rows[model.body_mass[self.rows].argmin()]
            if low <= -model.body_mass[lightest]:
                name, mass = model.body(lightest).name, model.body_mass[lightest]
                raise InputError(f"a payload of {low:g} kg takes more from {name} than its {mass:g} kg")
        if self.field not in AT_LEAST_0:
            return
        ends = np.array([[low], [high]]) * np.ones(self.size)
        least = self.values(ends).min()
        if least < 0:
            raise InputError(
                f"{self.field} would be down to {least:g} with numbers from {low:g} to {high:g} "
                f"(mode {self.mode!r}): it is at least 0"
            )

    def values(self, numbers: np.ndarray) -> np.ndarray:
        """Field values, (N, n), of the varied elements for the numbers of N tasks, (N, size)."""
        return self._changed(self.nominal, numbers[:, self.number])

    def _changed(self, value: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        if self.mode == "set":
            return np.broadcast_to(numbers, np.broadcast_shapes(value.shape, numbers.shape))
        return value * numbers if self.mode == "scale" else value + numbers

    def write(
        self, batch: Batch, ids: np.ndarray, numbers: np.ndarray, variations: "Iterable[Variation]"
    ) -> None:
        """Change what the simulations `ids` have now, by the numbers of their tasks, (N, size).

        Args:
            batch: the simulations.
            ids: (N,) sorted.
            numbers: (N, size).
            variations: all that vary.
        """
        for target in self.targets:
            live = flat(batch, target.field)
            where = np.ix_(ids, target.index)
            before = live[where]
            after = live[where] = self._changed(before, numbers[:, target.number])
        along = follower(self, variations)
        if along is not None:
            self._scale_rows(batch, along, ids, before, after)

    def _scale_rows(
        self, batch: Batch, field: str, ids: np.ndarray, before: np.ndarray, after: np.ndarray
    ) -> None:
        """Scale rows of `field` by what became of the first column of this one's, of the same objects."""
        leads, rows = following(batch.model, field, self)
        if not len(leads):  # as with motors, which have no bias
            return
        before, after = before[:, leads], after[:, leads]
        ratio = np.divide(after, before, out=np.ones_like(after), where=before != 0)  # (N, n)
        batch.expand(field)[np.ix_(ids, rows)] *= ratio[:, :, None]


def value_of(model: mujoco.MjModel, field: str) -> np.ndarray:
    """A field of the model, or of its options, one row an object."""
    if field.startswith("opt."):
        return np.array(getattr(model.opt, field.removeprefix("opt."))).reshape(1, -1)
    return getattr(model, field)


def flat(batch: Batch, field: str) -> np.ndarray:
    """A field's values in every simulation, (N, all of them), live."""
    live = batch.expand(field)
    return live.reshape(live.shape[0], -1)


def variation_of(model: mujoco.MjModel, param: Param) -> Variation:
    """Where a dynamics parameter writes.

    Raises:
        InputError: the robot has no such object, or cannot be as the numbers say.
    """
    try:
        found = Variation(
            model,
            str(param.field),
            param.objects,
            param.mode,
            param.each,
            param.axis,
            param.alone,
            param.groups,
        )
        for dist in param.ranges:
            found.check(model, dist.low, dist.high)
    except InputError as error:
        raise InputError(f"{param.name}: {error}") from None
    return found


def varied_rows(model: mujoco.MjModel, param: Param) -> np.ndarray:
    """Bodies, joints, geoms or actuators whose field a parameter varies (of joints, their dofs).

    Raises:
        InputError: the robot has no such object.
    """
    return _grouped(model, str(param.field), param.objects, param.groups)[1]


def driven_alone(model: mujoco.MjModel, actuators: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of some actuators are the only one of a joint whose force is limited, and the joints."""
    of_joint = np.isin(model.actuator_trntype, (mujoco.mjtTrn.mjTRN_JOINT, mujoco.mjtTrn.mjTRN_JOINTINPARENT))
    joint = np.where(of_joint, model.actuator_trnid[:, 0], -1)
    motors = np.bincount(joint[of_joint], minlength=model.njnt)
    alone = [j >= 0 and motors[j] == 1 and bool(model.jnt_actfrclimited[j]) for j in joint[actuators]]
    return np.array(alone, bool), joint[actuators[np.array(alone, bool)]]


def fields_of_row(name: str | None) -> list[str]:
    """The fields of the model that a row of the table writes; none for what is no row of it."""
    if name not in ROWS:
        return []
    row = ROWS[name]
    return (list(row.stored) or [name]) + ([row.along] if row.along else [])


def _grouped(
    model: mujoco.MjModel,
    field: str,
    objects: Sequence[str] | None,
    groups: Mapping[str, Sequence[str]] | None,
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names and rows of the objects in a field, and of which group each is."""
    if groups is None:
        names, rows = _rows(model, field, objects)
        return names, rows, np.zeros(len(rows), int)
    parts = [_rows(model, field, group) for group in groups.values()]
    rows = np.concatenate([rows for _, rows in parts])
    if len(set(rows)) < len(rows):
        raise InputError(f"{field}: an object is in two of the groups {', '.join(groups)}")
    number = np.concatenate([np.full(len(rows), k) for k, (_, rows) in enumerate(parts)])
    return [name for names, _ in parts for name in names], rows, number


def _rows(model: mujoco.MjModel, field: str, objects: Sequence[str] | None) -> tuple[list[str], np.ndarray]:
    """Names and first-axis rows of the objects in a field (for dof fields, a joint's every dof).

    The world, body 0, is not among all bodies: it has no mass and never moves. Nor are motors that have no
    kp among all servos.
    """
    kind = ROWS[field].objects
    if kind is None:
        if objects is not None:
            raise InputError(f"{field} is the whole robot's: leave its objects out")
        return [field], np.zeros(1, int)
    n_actuators = len(model.actuator_gaintype)  # of which one may take several controls
    count = {BODY: model.nbody, JOINT: model.njnt, GEOM: model.ngeom, ACTUATOR: n_actuators}[kind]
    first = 1 if kind is BODY else 0
    known = [mujoco.mj_id2name(model, kind, i) or _unnamed(model, kind, i) for i in range(count)]
    for name in objects or ():
        if name not in known[first:]:
            raise unknown(kind.name.removeprefix("mjOBJ_").lower(), name, known[first:])
    ids = list(range(first, count)) if objects is None else [known.index(name) for name in objects]
    if kind is ACTUATOR:
        ids = _fitting(model, field, ids, known, objects is None)
    if not field.startswith("dof_"):
        return [known[i] for i in ids], np.array(ids, int)
    dofs = {j: np.flatnonzero(model.dof_jntid == j) for j in ids}
    names = [known[j] if len(d) == 1 else f"{known[j]}.{i}" for j, d in dofs.items() for i in range(len(d))]
    return names, np.concatenate([*dofs.values(), np.zeros(0, int)])


def _fitting(
    model: mujoco.MjModel, field: str, ids: list[int], known: Sequence[str], any_will_do: bool
) -> list[int]:
    """Those of some actuators that have what a field stands for.

    Raises:
        InputError: they were named, and have not; or none of them has.
    """
    if field == "servo_gain":
        has = (model.actuator_biastype == mujoco.mjtBias.mjBIAS_AFFINE) & (model.actuator_biasprm[:, 1] != 0)
        cure = "has no kp, as position servos have: vary motor_strength"
    elif field == "motor_strength":
        has = np.isin(model.actuator_gaintype, STRONG)
        cure = "is no motor, servo or muscle: vary one of its own fields, such as actuator_gainprm"
    else:
        return ids
    lacking = [i for i in ids if not has[i]]
    if lacking and not (any_will_do and len(lacking) < len(ids)):
        raise InputError(f"{field}: actuator {known[lacking[0]]} {cure}")
    return [i for i in ids if has[i]]


def _unnamed(model: mujoco.MjModel, kind: mujoco.mjtObj, i: int) -> str:
    """What to call an object without a name: an actuator by the joint that it drives."""
    if kind is ACTUATOR and model.actuator_trntype[i] == mujoco.mjtTrn.mjTRN_JOINT:
        return mujoco.mj_id2name(model, JOINT, model.actuator_trnid[i, 0]) or f"#{i}"
    return f"#{i}"


def apply(
    batch: Batch, variations: Sequence[Variation], numbers: Sequence[np.ndarray], ids: np.ndarray
) -> None:
    """Write the dynamics of N tasks into the simulations `ids`, and what follows from them.

    Args:
        batch: the simulations; the varied fields become per-simulation.
        variations: one per dynamics parameter.
        numbers: for each, (N, size) task values.
        ids: (N,) simulations, sorted.
    """
    if not variations:
        return
    for name in {name for v in variations for name in fields_of_row(v.field)}:
        if batch.expanded(name) is not None:
            flat(batch, name)[ids] = value_of(batch.model, name).ravel()
    for variation, number in zip(variations, numbers, strict=True):
        variation.write(batch, ids, number, variations)
    add_payloads(batch, variations, numbers, ids)
    batch.set_const(ids)


def follower(variation: Variation, variations: Iterable[Variation]) -> str | None:
    """The field whose rows take the scale of a varied one, among all that vary; None if there is none."""
    along, own = ROWS[variation.field].along, {v.field for v in variations}
    return along if along not in own and not variation.alone else None


def following(model: mujoco.MjModel, field: str, lead: Variation) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a field that follow another one, and which of the elements that are varied they follow.

    Returns:
        (n,) places among the elements of `lead`, and (n,) rows.
    """
    rows, column = np.divmod(lead.index, lead.width)
    leads = np.flatnonzero((column == 0) & getattr(model, field)[rows].any(axis=1))
    return leads, rows[leads]


def add_payloads(
    batch: Batch, variations: Sequence[Variation], numbers: Sequence[np.ndarray], ids: np.ndarray
) -> None:
    """Put points of mass on bodies: mass, centre of mass and inertia become those of body and load together.

    With M and m the masses and o where the load is from the body's centre of mass, the common one moves by
    o m / (M + m), and the inertia about it grows by M m / (M + m) (|o|^2 1 - o o^T) (parallel axes).
    """
    loads: dict[int, np.ndarray] = {}  # body: (N, 4), kg and m
    for variation, number in zip(variations, numbers, strict=True):
        if variation.field in (PAYLOAD, PLACE):
            for body, k in zip(variation.index, variation.number, strict=True):
                loads.setdefault(int(body), np.zeros((len(ids), 4)))[:, variation.load_column] += number[:, k]
    for body, load in loads.items():
        mass, offset = load[:, :1], load[:, 1:]
        own = batch.expand("body_mass")[ids, body][:, None]
        both = own + mass
        share = np.divide(mass, both, out=np.zeros_like(mass), where=both > 0)
        turn = matrices(batch.expand("body_iquat")[ids, body])
        principal = batch.expand("body_inertia")[ids, body]
        inertia = np.einsum("nij,nj,nkj->nik", turn, principal, turn)
        square = np.square(offset).sum(axis=1)[:, None, None]
        inertia += (own * share)[:, :, None] * (square * np.eye(3) - offset[:, :, None] * offset[:, None])
        principal, turn = np.linalg.eigh(inertia)
        if (principal[mass[:, 0] < 0] <= 0).any():
            raise InputError(
                f"a payload of {mass.min():.3g} kg takes more inertia from body {body} of the model than it "
                "has: take less away, or nearer to its centre of mass"
            )
        turn[:, :, 2] *= np.sign(np.linalg.det(turn))[:, None]  # a rotation, no reflection
        moved = (load != 0)[:, 0] & (offset != 0).any(axis=1)  # else the numbers stay as they are
        batch.expand("body_mass")[ids, body] = both[:, 0]
        batch.expand("body_ipos")[ids, body] += share * offset
        batch.expand("body_inertia")[ids[moved], body] = principal[moved]
        batch.expand("body_iquat")[ids[moved], body] = quaternions(turn[moved])
