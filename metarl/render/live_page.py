"""Live pages: a robot, its physics and its policy in one HTML file, to change the task in."""

import gzip
import json
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from metarl.envs import Choice, Either, Index, InputError, LogUniform, Marker, Param, Task, TaskFamily
from metarl.envs.sensing import BEFORE, TASK, marker_graph, sensing_graph
from metarl.envs.trace import Graph, TraceError
from metarl.envs.variation import INERTIAL, PAYLOAD, PLACE, follower, following, value_of
from metarl.errors import plain
from metarl.export.traced import sensing_difference, to_onnx
from metarl.export.write import TOLERANCE
from metarl.extras import install
from metarl.files import write_atomically
from metarl.learners.agent import Agent
from metarl.render.policies import page_policies
from metarl.render.robot import page_robot

FRONT = Path(__file__).with_name("live.html")  # what is the same for all robots, by scripts/build_page
N_STARTS, N_DRAWS = 32, 32  # states that episodes begin in, and tasks that may be drawn
NEEDED = ("onnx", "onnxruntime", "onnxscript")
ABSENT = ("eq_active", "geom_xquat", "site_xquat", "xiquat", "plastic", "history")  # in the page's MuJoCo
FAR = 1e9  # instead of no limit, which JSON has no word for
STRIDE = 0.4  # s, over which a speed is averaged
LIVE = "live.html"  # how the name of a live page ends


def write_live_page(agent: Agent, tasks: Sequence[Task], path: str | Path, seed: int = 0) -> None:
    """Write a page in which a policy acts on its robot, while whoever looks changes the task.

    Args:
        agent: whose policy.
        tasks: the first one is what the page begins with; a policy that adapts by gradient steps is shown as
            it has adapted to each.
        path: of the page.
        seed: of initial states, and of what gradient steps learn from.

    Raises:
        InputError: the part that is the same for all robots is not built, or the family, its robot or the
            policy is one that a page cannot hold.
    """
    if not FRONT.is_file():
        raise InputError(
            "live pages are not built in this checkout: scripts/build_page builds them, with node and npm"
        )
    absent = [name for name in NEEDED if find_spec(name) is None]
    if absent:
        raise InputError(f"live pages need {absent[0]}: {install('export')}")
    family = agent.family
    content = {
        **page_robot(family),
        **_sensing(family),
        **_task(family, tasks[0], seed),
        **page_policies(agent, tasks, seed),
        "title": plain(family.name),
        "about": _about(family),
    }
    packed = b64encode(gzip.compress(json.dumps(content).encode(), mtime=0)).decode()
    page = FRONT.read_text(encoding="utf-8")
    page = page.replace("<!--metarl:title-->", f"metarl: {escape(plain(family.name))}", 1)
    robot = f'<script type="application/gzip" id="robot">{packed}</script>'
    page = page.replace("<!--metarl:robot-->", robot, 1)
    write_atomically(Path(path), lambda file: file.write(page.encode()))


def _about(family: TaskFamily) -> str:
    """What a family is about, in a sentence without its formula."""
    first = (type(family).__doc__ or "").strip().split("\n")[0]
    return plain(first.partition(": ")[0].rstrip("."))


def _sensing(family: TaskFamily) -> dict[str, Any]:
    """What the family's own code makes of a state, as graphs."""
    try:
        sensing = sensing_graph(family)
        _check_fields(sensing)
    except TraceError as error:
        raise InputError(f"{family.name} cannot be put into a page: {error}") from None
    content = to_onnx(sensing, family.name)
    difference = sensing_difference(content, family)
    if not difference <= TOLERANCE:  # nor if it is not a number
        raise InputError(
            f"{family.name} cannot be put into a page: traced, its functions give other numbers (by up to "
            f"{difference:.1g}); they have to depend on what they are given alone"
        )
    notes, marking, found = _unlike_training(family), None, list[Marker]()
    if turns_by_runge_kutta(family.model):
        notes.append("Its integrator, RK4, turns bodies a little less exactly here than in MuJoCo 4.")
    try:
        graph, found = marker_graph(family)
        _check_fields(graph)
        marking = b64encode(to_onnx(graph, "markers")).decode() if found else None
    except TraceError as error:
        notes.append(f"What the task asks for is not drawn: {plain(error)}.")
    return {
        "sensing": b64encode(content).decode(),
        "marking": marking,
        "markers": [{"kind": m.kind, "colour": m.colour} for m in found],
        "derived": list(family.derived),
        "remembered": list(family.remembered),
        "plot": _plot(family, sensing),
        "notes": notes,
    }


def _check_fields(graph: Graph) -> None:
    """Raise TraceError where a graph needs what the page's MuJoCo does not give."""
    for name in graph.inputs:
        if name.removeprefix(BEFORE) in ABSENT:
            raise TraceError(
                f"the MuJoCo of live pages gives no {name}; read another field, e.g. the rotation matrices "
                "site_xmat instead of site_xquat"
            )


def _unlike_training(family: TaskFamily) -> list[str]:
    """What happens in training, and in the page only if somebody does it."""
    notes = []
    for param in family.params:
        what = f"In training the {_words(param.name)}"
        if param.every:
            notes.append(
                "{} is another one every {:g} to {:g} s; here you say it.".format(what, *param.every)
            )
        elif param.change:
            notes.append(f"{what} changes once in the midst of an episode; here you change it.")
    if family.pushes:
        notes.append("In training it is pushed; here you pull at it.")
    if family.sensors:
        notes.append("Its sensors are perfect here.")
    if "initial_state" in family.asks_task:
        notes.append("Episodes begin as those of the task that the page begins with.")
    return notes


def turns_by_runge_kutta(model: mujoco.MjModel) -> bool:
    """Whether MuJoCo 4 integrates the robot otherwise than the MuJoCo of the page does."""
    runge_kutta = model.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4
    turning = np.isin(model.jnt_type, [mujoco.mjtJoint.mjJNT_FREE, mujoco.mjtJoint.mjJNT_BALL])
    return bool(runge_kutta and turning.any() and mujoco.mj_version() >= 4_000_000)


def _plot(family: TaskFamily, sensing: Graph) -> dict[str, Any]:
    """What is drawn over time, and in which words."""
    if "asked" in sensing.outputs:
        (name, *more) = sensing.needs("asked")
        what = "goal" if more else _words(name.removeprefix(TASK))
        train = next(p.train for p in family.params if p.name == name.removeprefix(TASK))
        span = 0.5 * max(abs(train.low), abs(train.high)) or 0.1
        return {
            "asked": f"Asked {what}",
            "real": f"real {what}",
            "unit": family.error_unit,
            "smoothing": STRIDE,
            "least": span,
        }
    if "error" in sensing.outputs:
        start = float(np.abs(sensing.outputs["error"].value).max())
        real = "How far from what is asked"
        return {
            "asked": "",
            "real": real,
            "unit": family.error_unit,
            "smoothing": family.dt,
            "least": start / 2 or 0.1,
        }
    (first, *_) = sensing.labels["terms"]
    return {
        "asked": "",
        "real": f"Reward a step: {_words(first)}",
        "unit": "",
        "smoothing": STRIDE,
        "least": 0.5,
    }


def _task(family: TaskFamily, task: Task, seed: int) -> dict[str, Any]:
    """What the task's numbers are and do, how actions are carried out, and how episodes begin."""
    rng = np.random.default_rng(seed)
    qpos, qvel = family.draw_states(rng, N_STARTS, family.stack([task] * N_STARTS))
    model, controls = family.model, family.controls
    whole = {
        p.name: family.nominal(p) for p in family.params if p.change
    }  # it breaks when somebody breaks it
    begin = {**_numbers(task), **{name: value.tolist() for name, value in whole.items() if value is not None}}
    return {
        "dt": family.dt,
        "timestep": model.opt.timestep,
        "frame_skip": family.frame_skip,
        "horizon": family.horizon,
        "action": {
            "middle": controls.middle.tolist(),
            "scale": controls.scale.tolist(),
            "low": np.maximum(controls.low, -FAR).tolist(),
            "high": np.minimum(controls.high, FAR).tolist(),
            "adds": controls.adds,
        },
        "starts": {"qpos": qpos.tolist(), "qvel": qvel.tolist()},
        "task": begin,
        "draws": [_numbers(drawn) for drawn in family.sample(rng, N_DRAWS)],
        "params": [_param(family, param) for param in family.params],
        **_dynamics(family),
    }


def _numbers(task: Task) -> dict[str, list[float]]:
    return {name: np.atleast_1d(value).tolist() for name, value in task.items()}


def _param(family: TaskFamily, param: Param) -> dict[str, Any]:
    known = param.ranges
    choices = sorted({x for d in known if isinstance(d, Choice) for x in d.values})
    few = all(isinstance(d, Choice) for d in known)
    trained = param.train.ranges if isinstance(param.train, Either) else [param.train]
    labels = family.variations[param.name].labels if param.field else [param.name]
    return {
        "name": param.name,
        "words": _words(param.name),
        "unit": param.unit,
        "sign": param.sign,
        "dynamics": param.kind == "dynamics",
        "low": min(d.low for d in known),
        "high": max(max(d.high for d in known), 1.0 if param.sign == "*" else -np.inf),
        "trained": [[d.low, d.high] for d in trained],
        "choices": choices if few else None,
        "whole": isinstance(param.train, Index) or (few and all(x == round(x) for x in choices)),
        "log": isinstance(param.train, LogUniform),
        "labels": [_words(label) for label in labels],
    }


def _words(name: str) -> str:
    """A name as people write it."""
    return plain(name).replace("_", " ")


def _dynamics(family: TaskFamily) -> dict[str, Any]:
    """Where the numbers of a task go in the model, and what follows them (see `metarl.envs.variation`)."""
    model, chosen = family.model, family.variations
    loads: dict[
        int, list[dict[str, Any]]
    ] = {}  # by body: which number of which parameter is its mass, or place
    variations, written = [], dict[str, None]()
    for name, variation in chosen.items():
        if variation.field in (PAYLOAD, PLACE):
            for body, number in zip(variation.index, variation.number, strict=True):
                part = {"param": name, "number": int(number), "column": variation.load_column}
                loads.setdefault(int(body), []).append(part)
            written |= INERTIAL
        along, follows = follower(variation, chosen.values()), None
        if along is not None:
            leads, rows = following(model, along, variation)
            width = int(np.prod(getattr(model, along).shape[1:]))
            follows = {"field": along, "leads": leads.tolist(), "rows": rows.tolist(), "width": width}
            written[along] = None
        targets = [
            {"field": t.field, "index": t.index.tolist(), "number": t.number.tolist()}
            for t in variation.targets
        ]
        written |= dict.fromkeys(t.field for t in variation.targets)
        variations.append({"param": name, "mode": variation.mode, "targets": targets, "follows": follows})
    return {
        "nominal": {name: value_of(model, name).ravel().tolist() for name in written},
        "variations": variations,
        "loads": [{"body": body, "parts": parts} for body, parts in loads.items()],
    }
