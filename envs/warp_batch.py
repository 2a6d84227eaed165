"""WarpBatch: the engine's simulations, stepped by MuJoCo Warp on a GPU (or, for tests, on the CPU)."""

import copy
from dataclasses import fields
from typing import Any

import mujoco
import numpy as np

from metarl.envs.engine import Batch
from metarl.errors import InputError
from metarl.extras import cure

# The state in rows, as far as MuJoCo Warp has it, and what a step changes of it.
BROUGHT = ("time", "qpos", "qvel", "act", "history", "plastic", "qacc_warmstart")
TAKEN = (*BROUGHT, "ctrl", "qfrc_applied", "xfrc_applied", "eq_active", "mocap_pos", "mocap_quat")
# As mj_step does: what counts as blown up, and which of its warnings says so.
UNUSABLE = {
    "qpos": mujoco.mjtWarning.mjWARN_BADQPOS,
    "qvel": mujoco.mjtWarning.mjWARN_BADQVEL,
    "qacc_warmstart": mujoco.mjtWarning.mjWARN_BADQACC,
}
DOUBLINGS = 6  # of the room for contacts and constraints, and a simulation that needs more is no robot


class WarpBatch(Batch):
    """A `mujoco.batch.Batch` whose steps are taken by MuJoCo Warp, in numbers of 32 bits.

    Rows of states, resets, models that vary and what follows from a state written by hand are Batch's own, on
    the CPU: a step takes the rows to the device and brings them back. Robots with the PGS solver, which Warp
    does not have, are solved by Newton's method. Contacts are never dropped: where there is no room for them,
    the step is taken again with more.

    Args:
        model: the robot.
        nsim: simulations.
        nthread: of the CPU, 0 for all.
        device: "cpu" or "cuda".

    Raises:
        InputError: MuJoCo Warp is not installed, or does not know something in the robot.
    """

    def __init__(self, model: mujoco.MjModel, nsim: int, nthread: int = 0, device: str = "cpu"):
        super().__init__(model, nsim, nthread)
        try:
            import mujoco_warp
            import warp
        except ModuleNotFoundError as error:
            raise InputError(f"--physics warp: {cure(error, 'warp')}") from None
        warp.config.log_level = warp.LOG_ERROR  # that there is no GPU is nothing to warn of
        self._warp, self._engine = warp, mujoco_warp
        try:
            self._place = warp.get_device(device)
        except (RuntimeError, ValueError):
            raise InputError(f"MuJoCo Warp finds no device {device!r} here; use --device cpu") from None
        self._robot = copy.copy(model)
        if model.opt.solver == mujoco.mjtSolver.mjSOL_PGS:
            self._robot.opt.solver = mujoco.mjtSolver.mjSOL_NEWTON
        late = model.sensor_needstage == mujoco.mjtStage.mjSTAGE_ACC
        self._late = np.flatnonzero(np.repeat(late, model.sensor_dim))  # of sensordata, a substep ago
        self._shown: dict[str, np.ndarray] = {}  # derived fields that somebody reads
        self._room: dict[str, int] = {}  # for contacts and constraints, once Warp's own guess did not do
        with warp.ScopedDevice(self._place):
            try:
                self._there = mujoco_warp.put_model(self._robot)
            except NotImplementedError as error:
                raise InputError(f"MuJoCo Warp cannot simulate this robot: {error}") from None
            self._there.opt.warn_overflow = 0  # it is looked at here
            self._make_data()

    def _make_data(self) -> None:
        """Simulations on the device, and no step recorded yet."""
        self._now = self._engine.make_data(self._robot, self.nsim, **self._room)
        self._steps: dict[tuple[int, bool], Any] = {}
        self._taken = [name for name in TAKEN if getattr(self._now, name).size]
        self._felt = self._warp.zeros_like(self._now.sensordata)

    def bind(self, name: str) -> np.ndarray:
        """As Batch has it: a live (nsim, ...) array over a field of MjData."""
        live = super().bind(name)
        if live.flags.writeable:  # the state's own
            return live
        if name not in self._shown:
            if not isinstance(getattr(self._now, name, None), self._warp.array):
                raise InputError(f"MuJoCo Warp has no {name}, which the family reads: leave --physics out")
            self._shown[name] = live.copy()
        return self._shown[name]

    def expand(self, name: str) -> np.ndarray:
        """As Batch has it: a field of the model, (nsim, ...), live; `set_const` takes it to the device."""
        if self._on_device(name) is None:
            raise InputError(f"MuJoCo Warp cannot vary {name}: leave --physics out")
        return super().expand(name)

    def _on_device(self, name: str) -> tuple[Any, str] | None:
        """Where the model on the device has a field that may vary, and what it calls it; None without."""
        holder = self._there.opt if name.startswith("opt.") else self._there
        own = name.removeprefix("opt.")
        shapes = (getattr(f.type, "shape", None) for f in fields(holder) if f.name == own)
        return (holder, own) if any(shape and shape[0] == "*" for shape in shapes) else None

    def set_const(self, ids: Any = None) -> None:
        """As Batch has it; what varies goes to the device."""
        super().set_const(ids)
        for name in mujoco.batch.MODEL_FIELDS:
            value = self.expanded(name)
            if value is None or (place := self._on_device(name)) is None:
                continue
            there = getattr(*place)
            if there.shape[0] == self.nsim:
                there.assign(_single(value))
            else:
                new = self._warp.array(_single(value), dtype=there.dtype, device=self._place)
                setattr(*place, new)
                self._steps.clear()  # they were recorded with the old one

    def forward(self, ids: Any = None, stage: int = mujoco.mjtStage.mjSTAGE_ACC.value) -> None:
        """As Batch has it, on the CPU."""
        super().forward(ids, stage)
        rows = slice(None) if ids is None else ids
        for name, value in self._shown.items():
            value[rows] = super().bind(name)[rows]

    def step(self, ids: Any = None, nstep: int = 1, stage: int = mujoco.mjtStage.mjSTAGE_NONE.value) -> None:
        """As Batch has it; all move on the device, and those in `ids` here."""
        derived = bool(self._shown) and stage != mujoco.mjtStage.mjSTAGE_NONE
        with self._warp.ScopedDevice(self._place):
            for _ in range(DOUBLINGS):
                self._advance(nstep, derived)
                if not self._grow():
                    break
            else:
                raise InputError("a simulation has more contacts than MuJoCo Warp has room for here")
            rows = np.arange(self.nsim) if ids is None else np.arange(self.nsim)[ids]
            self._bring(rows, derived)

    def _advance(self, nstep: int, derived: bool) -> None:
        """Take the rows to the device, and the steps there."""
        key = nstep, derived
        if key not in self._steps:
            self._take()
            self._launch(*key)  # what has to be compiled is
            with self._warp.ScopedCapture() as capture:
                self._launch(*key)
            self._steps[key] = capture.graph
        self._take()
        self._warp.capture_launch(self._steps[key])

    def _take(self) -> None:
        self._now.overflow.zero_()
        for name in self._taken:
            getattr(self._now, name).assign(_single(super().bind(name)))

    def _launch(self, nstep: int, derived: bool) -> None:
        for _ in range(nstep):
            self._engine.step(self._there, self._now)
        if derived:
            self._warp.copy(self._felt, self._now.sensordata)
            self._engine.step1(self._there, self._now)  # which forgets forces and accelerations

    def _grow(self) -> bool:
        """Make room where contacts or constraints had none; whether they had."""
        kinds = self._engine.OverflowType
        found = int(np.bitwise_or.reduce(self._now.overflow.numpy()))
        contacts = bool(found & (kinds.BROADPHASE | kinds.NARROWPHASE | kinds.CCD))
        constraints = bool(found & (kinds.NEFC | kinds.NJMAX_NNZ))
        if not contacts and not constraints:
            return False
        self._room = {
            "nconmax": max(1, self._now.naconmax // self.nsim) * (2 if contacts else 1),
            "njmax": max(1, self._now.njmax) * (2 if constraints else 1),
        }
        self._make_data()
        return True

    def _bring(self, rows: np.ndarray, derived: bool) -> None:
        """Let rows here be what the device has, or begin anew where that is unusable, as mj_step does."""
        bad = {}
        for name in BROUGHT:
            if name in self._taken:
                value = getattr(self._now, name).numpy()[rows]
                if name in UNUSABLE:
                    usable = np.abs(value) <= mujoco.mjMAXVAL  # what is no number is not
                    bad[UNUSABLE[name]] = rows[~usable.all(axis=1)]
                live = super().bind(name)
                live[rows] = value.reshape(len(rows), *live.shape[1:])
        if derived:
            for name, shown in self._shown.items():
                shown[rows] = getattr(self._now, name).numpy()[rows].reshape(len(rows), *shown.shape[1:])
            if "sensordata" in self._shown:
                self._shown["sensordata"][np.ix_(rows, self._late)] = self._felt.numpy()[rows][:, self._late]
        if any(map(len, bad.values())):
            self.reset(np.unique(np.concatenate(list(bad.values()))), stage=mujoco.mjtStage.mjSTAGE_NONE)
            for warning, ids in bad.items():
                self.warning[ids, int(warning), 1] = 1


def _single(value: np.ndarray) -> np.ndarray:
    """Numbers as the device has them."""
    with np.errstate(over="ignore"):
        kind = value.dtype if value.dtype.kind in "iub" else np.float32
        return np.ascontiguousarray(value, kind)
