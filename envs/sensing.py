"""What a family makes of a simulation's state, as graphs: what is seen, what is paid, what is marked.

A page or a robot's own computer runs them, where there is no Python: the code that `BatchSim` runs, traced.
"""

from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np

from metarl.envs.batch_sim import BatchSim
from metarl.envs.family import TaskFamily
from metarl.envs.markers import Marker
from metarl.envs.readings import Readings
from metarl.envs.told import commands
from metarl.envs.trace import Graph, Traced, TraceError

BEFORE, TASK, ACTION = "before.", "task.", "action"  # names, and beginnings of names, of inputs
MARKER = 9  # numbers of a marker: where it is, how large, and where the tip of an arrow is


def sensing_graph(family: TaskFamily) -> Graph:
    """What a family reads off a simulation after a step.

    In go fields of MjData by their names, those before the step ("before.qpos", ...), "action" and the task's
    numbers ("task.velocity"), each with an axis of one simulation in front. Out come "obs" (1, obs_dim)
    float32, "reward", "terms" (1, terms), "terminated", and where the family says so "success" and "error";
    where the error is how far one number is from another one that only the task decides about, these two,
    "real" and "asked".

    Raises:
        TraceError: its code cannot be traced.
    """
    sim, graph = _example(family), Graph()
    live = sim.readings
    r = Readings(
        family.model,
        graph.input("qpos", live.qpos),
        graph.input("qvel", live.qvel),
        lambda name: graph.input(name, live.field(name)),
        family.dt,
        live.known,
    )
    r.qpos_before = graph.input(f"{BEFORE}qpos", live.qpos)
    r.before = {name: graph.input(f"{BEFORE}{name}", live.field(name)) for name in family.remembered}
    action = r.action = graph.input(ACTION, np.zeros((1, family.action_dim)))
    r.action_before = graph.input(f"{BEFORE}{ACTION}", live.action_before)
    task = {name: graph.input(f"{TASK}{name}", value) for name, value in sim.task_values.items()}

    def read() -> None:
        seen = family.observe(r)
        parts = list(seen.values()) if isinstance(seen, dict) else [seen]
        if family.told_params:
            parts.append(commands(family, task))
        lifted = [graph.lift(part).astype(np.float32) for part in parts]
        graph.output("obs", np.concatenate(lifted, axis=1))
        terms = {name: graph.lift(term) for name, term in family.reward(r, action, task).items()}
        graph.labels["terms"] = tuple(terms)
        graph.output("terms", np.stack(list(terms.values()), axis=1).astype(np.float64))
        graph.output("reward", np.stack(list(terms.values())).sum(axis=0).astype(np.float32))
        graph.output("terminated", family.has_ended(r, task))
        success = family.success(r, task)
        if success is not None:
            graph.output("success", success)
        error = family.error(r, task) if family.says_error else None
        if error is not None:
            graph.output("error", graph.lift(error).astype(np.float64))
            for name, value in zip(("real", "asked"), _halves(graph), strict=False):
                graph.output(name, value)

    _traced(family, read)
    if not any(f"{BEFORE}{ACTION}" in graph.needs(output) for output in graph.outputs):
        del graph.inputs[f"{BEFORE}{ACTION}"]
    return graph


def marker_graph(family: TaskFamily) -> tuple[Graph, list[Marker]]:
    """What a family marks of a task in a state.

    In go fields of MjData by their names, and the task's numbers ("task.velocity"). Out comes "markers",
    (markers, 9): where each is, its size, and the tip of an arrow.

    Returns:
        The graph, and the markers for an example: their kinds and colours, which do not change.

    Raises:
        TraceError: its code cannot be traced.
    """
    sim, graph, found = _example(family), Graph(), []
    task = {
        name: graph.input(f"{TASK}{name}", np.asarray(value)) for name, value in dict(sim.tasks[0]).items()
    }

    def mark() -> None:
        markers = family.markers(task, TracedData(graph, family.model, _data(family, sim)))  # type: ignore[arg-type]
        rows: list[Any] = []
        for marker in markers:
            size = [*marker.size, *[0.0] * 3][:3]
            numbers = [*marker.position, *size, *(marker.position if marker.to is None else marker.to)]
            rows.append(np.stack([graph.lift(x).reshape(()).astype(np.float64) for x in numbers]))
            found.append(Marker(marker.kind, (0.0, 0.0, 0.0), (1.0,), colour=marker.colour))
        if any(isinstance(x, Traced) for marker in markers for x in marker.colour):
            raise TraceError("a marker's colour that depends on the task cannot be traced")
        graph.output("markers", np.stack(rows) if rows else np.zeros((0, MARKER)))

    _traced(family, mark)
    return graph, found


class TracedData:
    """An MjData whose fields are inputs of a graph."""

    def __init__(self, graph: Graph, model: mujoco.MjModel, data: mujoco.MjData):
        self._graph, self._data = graph, data
        names = [name for name in dir(data) if not name.startswith("_") and name not in NOT_FIELDS]
        fields = {name: getattr(data, name) for name in names}
        self._fields = {n: f for n, f in fields.items() if isinstance(f, np.ndarray) and f.size}

    def __getattr__(self, name: str) -> Any:
        if name == "time":
            return self._graph.input("time", np.array(self._data.time))
        if name in self._fields:
            return self._graph.input(name, self._fields[name])
        accessor = getattr(self._data, name)
        if not callable(accessor):
            raise TraceError(f"data.{name} in `markers` cannot be traced")
        return lambda key=None: TracedObject(self, accessor(key))

    def part(self, view: np.ndarray) -> Traced:
        """What a view of the data's memory shows."""
        at = view.__array_interface__["data"][0]
        for name, whole in self._fields.items():
            first = (at - whole.__array_interface__["data"][0]) // whole.itemsize
            if 0 <= first < whole.size and whole.dtype == view.dtype:
                return getattr(self, name).reshape(-1)[first : first + view.size].reshape(view.shape)
        raise TraceError("a part of `data` in `markers` cannot be traced")


class TracedObject:
    """A body, site, joint, ... of an MjData, whose fields are parts of inputs of a graph."""

    def __init__(self, data: TracedData, accessor: Any):
        self._data, self._accessor = data, accessor

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._accessor, name)
        return self._data.part(value) if isinstance(value, np.ndarray) else value


NOT_FIELDS = ("contact", "warning", "timer", "solver", "model", "signature")


def _example(family: TaskFamily) -> BatchSim:
    sim = BatchSim(family, 1, 1)
    with np.errstate(all="ignore"):
        sim.start(np.random.default_rng(0))
    return sim


def _data(family: TaskFamily, sim: BatchSim) -> mujoco.MjData:
    data = mujoco.MjData(family.model)
    mujoco.mj_setState(family.model, data, sim.state[0], mujoco.mjtState.mjSTATE_INTEGRATION)
    mujoco.mj_forward(family.model, data)
    return data


def _traced(family: TaskFamily, run: Callable[[], None]) -> None:
    """Run code of a family's on traced arrays.

    Raises:
        TraceError: it does what cannot be traced.
    """
    try:
        with np.errstate(all="ignore"):
            run()
    except TraceError as error:
        raise TraceError(f"{_place(family, error)}{error}") from None
    except Exception as error:  # a family of somebody's own can fail in any way
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TraceError(f"{_place(family, error)}{said}") from None


def _place(family: TaskFamily, error: Exception) -> str:
    """Where in a family's files it happened."""
    here, place, function, step = __name__.rpartition(".")[0], "", "", error.__traceback__
    while step is not None:
        module = step.tb_frame.f_globals.get("__name__", "")
        if module.startswith((f"{here}.families", f"{here}.yours.")) or module == type(family).__module__:
            name = step.tb_frame.f_code.co_name
            function = name if name.isidentifier() else function
            place = f"{family.name}.{function}, line {step.tb_lineno}: "
        step = step.tb_next
    return place


def _halves(graph: Graph) -> tuple[Traced, ...]:
    """Of an error |a - b|, the one that the task has no part in and the one that only the task decides about.

    None where the error is another thing.
    """
    made = {node.output: node for node in graph.nodes}
    values = {name: x for name, x in graph.inputs.items()}

    def back(name: str, ops: tuple[str, ...]) -> str:
        while name in made and made[name].op in ops:
            name = made[name].inputs[0]
        return name

    def needs(name: str) -> set[str]:
        found, waiting = set(), {name}
        while waiting:
            found |= waiting
            waiting = {x for one in waiting if one in made for x in made[one].inputs} - found
        return found & set(values)

    top = back(graph.outputs["error"].name, ("Identity", "Cast", "Neg"))
    if top not in made or made[top].op != "Abs":
        return ()
    top = back(made[top].inputs[0], ("Identity", "Neg"))
    if top not in made or made[top].op != "Sub":
        return ()
    parts = {name: {need.startswith(TASK) for need in needs(name)} for name in made[top].inputs}
    real = [name for name, kinds in parts.items() if kinds == {False}]
    asked = [name for name, kinds in parts.items() if kinds == {True}]
    if len(real) != 1 or len(asked) != 1:
        return ()
    like = graph.outputs["error"].value
    return tuple(Traced(graph, name, like) for name in (real[0], asked[0]))
