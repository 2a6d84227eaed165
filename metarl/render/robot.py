"""A robot as a page takes it along: MJCF that its MuJoCo reads, the compiled model's numbers, shapes."""

from base64 import b64encode
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import mujoco
import numpy as np

from metarl.envs import BatchSim, TaskFamily
from metarl.envs.mjcf import compile_spec
from metarl.envs.mjlog import no_console
from metarl.envs.robot import compile_robot
from metarl.errors import InputError
from metarl.render.scene import page_scene

COUNTS = ("nq", "nv", "nu", "na", "nbody", "njnt", "ngeom", "nsite", "ntendon", "neq")
UNKNOWN = {"plugins": "nplugin", "deformable bodies": "nflex", "height fields": "nhfield", "skins": "nskin"}
OURS = (  # fields of numbers, of which MJCF as it is written knows six digits
    *("body_", "jnt_", "dof_", "geom_", "site_", "actuator_", "tendon_", "eq_", "qpos"),
    *("wrap_", "pair_", "sensor_", "cam_"),
)
DRAWN = ("texture", "material", "skin", "visual", "custom", "keyframe")  # what physics knows nothing of
# Attributes that an earlier MuJoCo does not know. Their numbers are copied, or the page does it itself.
NEWER = {"general": ("input", "nsample", "interp", "delay"), "geom": ("castshadow",)}
YIELDING = ("jnt_springyield", "tendon_springyield")  # fields that MuJoCo has from 4 on
WIDTHS = {"eq_data": 11}  # columns that an earlier MuJoCo has, of fields that have more
STEPS, SAME = 10, 1e-9  # of a look at whether a page would step the robot as it is stepped here


def page_robot(family: TaskFamily) -> dict[str, Any]:
    """What a page needs of a family's robot, as plain JSON.

    Raises:
        InputError: it has what pages cannot show, or comes from nobody knows where.
    """
    model = family.model
    for unknown, count in UNKNOWN.items():
        if getattr(model, count):
            raise InputError(
                f"{family.name} has {unknown}, which a live page cannot hold; use --live, or a clip"
            )
    if (words := _beyond(family)) is not None:
        raise InputError(f"{family.name} has {words}, which a live page cannot hold; use --live, or a clip")
    _check_steps(family)
    xml, files, compiled = _source(family)
    return {
        "xml": xml,
        "files": {name: b64encode(content).decode() for name, content in files.items()},
        "sizes": {name: int(getattr(model, name)) for name in COUNTS},
        "options": _options(model, compiled),
        "meaninertia": float(model.stat.meaninertia),
        "fields": {
            name: b64encode(value.tobytes()).decode() for name, value in _fields(model, compiled).items()
        },
        **page_scene(family),
    }


def _fields(model: mujoco.MjModel, compiled: mujoco.MjModel) -> dict[str, np.ndarray]:
    """The model's numbers in all their digits, and what was changed of it after it was compiled.

    Raises:
        InputError: what was changed is nothing that a page could change.
    """
    values = {name: getattr(model, name) for name in dir(model) if not name.startswith("_")}
    arrays = {name: v for name, v in values.items() if isinstance(v, np.ndarray) and v.size}
    fields = {name: v for name, v in arrays.items() if name.startswith(OURS) and v.dtype == float}
    for name, value in arrays.items():
        if value.dtype.kind in "ib" and not np.array_equal(value, getattr(compiled, name)):
            if value.dtype != np.int32:
                raise InputError(
                    f"{name} is changed after the robot was compiled, which a live page cannot do: change it "
                    "in `edit`, which is given a mujoco.MjSpec"
                )
            fields[name] = value.astype(float)
    return {name: v[:, : WIDTHS[name]] if name in WIDTHS else v for name, v in fields.items()}


def _options(model: mujoco.MjModel, compiled: mujoco.MjModel) -> dict[str, list[float]]:
    """What physics goes by: numbers, and choices where they were changed after the robot was compiled."""
    names = [name for name in dir(model.opt) if not name.startswith("_")]
    values = {name: np.asarray(getattr(model.opt, name)) for name in names}
    return {
        name: value.astype(float).ravel().tolist()
        for name, value in values.items()
        if value.dtype == float or value != getattr(compiled.opt, name)
    }


def _beyond(family: TaskFamily) -> str | None:
    """What a family has that pages know nothing of."""
    model = family.model
    late = [param for param in family.params if param.field == "actuator_delay"]
    known = {
        "contacts that are read": family.contacts,
        "controls or sensors that are late by more than its tasks say": model.nhistory and not late,
        "springs that yield": any(np.any(getattr(model, name, 0)) for name in YIELDING),
        "controls that are late and smoothed": model.actuator_history[:, 1].any(),
        "actuators that begin with a state of their own": family.activations.any(),
    }
    return next((words for words, has in known.items() if has), None)


def _check_steps(family: TaskFamily) -> None:
    """Find out whether the family is stepped as a page steps it: actions to controls, then plain MuJoCo.

    Raises:
        InputError: it is not.
    """
    sim, rng = BatchSim(family.quiet(), 1, 1), np.random.default_rng(0)
    sim.start(rng)
    sim.set_tasks(sim.tasks)  # from now on nothing changes by itself, as in a page
    model, controls = sim.model_of(0), family.controls
    data = mujoco.MjData(model)
    mujoco.mj_setState(model, data, sim.state[0], mujoco.mjtState.mjSTATE_INTEGRATION)
    for action in rng.uniform(-1, 1, (STEPS, 1, family.action_dim)):
        sim.step(action)
        data.ctrl[:] = controls.of(action[0], data.ctrl)
        mujoco.mj_step(model, data, family.frame_skip)
        if not np.allclose(data.qpos, sim.readings.qpos[0], atol=SAME, equal_nan=True):
            raise InputError(
                f"{family.name} is stepped in a way that a live page does not know (late actions, or "
                "dynamics that change by themselves); use --live, or a clip"
            )


def _source(family: TaskFamily) -> tuple[str, dict[str, bytes], mujoco.MjModel]:
    """MJCF without what is only looked at, the files that it refers to, by name, and what it compiles to."""
    lacking = InputError(
        f"{family.name} compiles its model itself, and a live page needs to know of what: let it override "
        "build_spec, which gives a mujoco.MjSpec, instead of build_model"
    )
    try:
        spec = family.edited_spec()
    except AttributeError:
        raise lacking from None
    dressed = family.model.nmesh == len(spec.meshes)
    compile_robot(spec, family.params, family.contacts, dressed)  # leaves in the spec what it compiles
    with no_console():
        compiled = compile_spec(spec)
        root = ElementTree.fromstring(spec.to_xml())
    bodies = list(root.iter("body"))
    if (
        any(getattr(compiled, n) != getattr(family.model, n) for n in COUNTS)
        or len(bodies) != compiled.nbody - 1
    ):
        raise lacking
    folders = [""]
    for compiler in root.iter("compiler"):
        folders += [
            compiler.attrib.pop(k) for k in ("meshdir", "assetdir", "texturedir") if k in compiler.attrib
        ]
        for name in ("inertiafromgeom", "settotalmass", "boundmass", "boundinertia", "balanceinertia"):
            compiler.attrib.pop(name, None)
    for i, body in enumerate(bodies, start=1):
        _weigh(body, compiled, i)
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag in DRAWN]:
            parent.remove(child)
        parent.attrib.pop("material", None)
        for name in NEWER.get(parent.tag, ()):
            parent.attrib.pop(name, None)
    files: dict[str, bytes] = {}
    for element in root.iter():
        if "file" in element.attrib:
            name = element.attrib["file"]
            short = f"{len(files)}{Path(name).suffix.lower()}"
            element.attrib.setdefault("name", Path(name).stem)
            files[short] = _content(spec, folders, name)
            element.attrib["file"] = short
    return ElementTree.tostring(root, encoding="unicode"), files, compiled


def _weigh(body: ElementTree.Element, model: mujoco.MjModel, i: int) -> None:
    """Say what a body weighs: a spec that was edited does not always write it down."""
    for inertial in body.findall("inertial"):
        body.remove(inertial)
    if model.body_mass[i] > 0:
        numbers = {
            "pos": model.body_ipos[i],
            "quat": model.body_iquat[i],
            "mass": model.body_mass[i : i + 1],
            "diaginertia": model.body_inertia[i],
        }
        written = {name: " ".join(map(repr, value.tolist())) for name, value in numbers.items()}
        body.insert(0, ElementTree.Element("inertial", written))


def _content(spec: mujoco.MjSpec, folders: list[str], name: str) -> bytes:
    """Of a file that a robot refers to."""
    for folder in folders:
        key = str(Path(folder, name))
        if key in spec.assets:
            return bytes(spec.assets[key])
        path = Path(spec.modelfiledir or "", key)
        if path.is_file():
            return path.read_bytes()
    raise InputError(f"the robot's file {name} is not there")
