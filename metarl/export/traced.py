"""Traced graphs of families as ONNX files."""

from collections.abc import Callable
from typing import Any

import numpy as np

from metarl.envs import BatchSim, TaskFamily
from metarl.envs.sensing import ACTION, BEFORE, TASK
from metarl.envs.trace import Graph
from metarl.export.write import open_session

OPSET, IR = 18, 9  # that every ONNX Runtime since 2023 knows
TASKS, STEPS = 3, 15  # of the check


def to_onnx(graph: Graph, name: str) -> bytes:
    """A traced graph as the content of an ONNX file, without what none of its outputs needs.

    Args:
        graph: of which inputs and outputs keep their names.
        name: of the model.

    Raises:
        ModuleNotFoundError: onnx is not installed.
    """
    import onnx
    from onnx import helper, numpy_helper

    def kind(dtype: np.dtype) -> int:
        return helper.np_dtype_to_tensor_dtype(dtype)

    def infos(arrays: Any) -> list[Any]:
        return [helper.make_tensor_value_info(key, kind(x.dtype), x.shape) for key, x in arrays]

    wanted = {x.name for x in graph.outputs.values()}
    nodes = []
    for node in reversed(graph.nodes):
        if node.output in wanted:
            wanted |= set(node.inputs)
            attributes = {k: kind(v) if isinstance(v, np.dtype) else v for k, v in node.attributes.items()}
            nodes.append(helper.make_node(node.op, node.inputs, node.outputs, **attributes))
    nodes.reverse()
    names = {x.name: out for out, x in graph.outputs.items()}
    nodes += [helper.make_node("Identity", [inside], [out]) for inside, out in names.items()]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            name,
            infos((key, x) for key, x in graph.inputs.items() if key in wanted),
            infos(graph.outputs.items()),
            [numpy_helper.from_array(x, key) for key, x in graph.constants.items() if key in wanted],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def sensing_difference(content: bytes, family: TaskFamily) -> float:
    """The largest, between what a sensing graph and the simulator make of the same steps."""
    session, sim, rng = open_session(content), BatchSim(family.quiet(), 1, 1), np.random.default_rng(0)
    names = [i.name for i in session.get_inputs()], [o.name for o in session.get_outputs()]
    differences = [0.0]
    for _ in range(TASKS):
        sim.start(rng)
        for _ in range(STEPS):
            action = rng.uniform(-1, 1, (1, family.action_dim))
            step, read = sim.step(action), sensing_inputs(sim, action)
            if step.failed[0]:
                break
            values = session.run(None, {name: np.array(read(name), float) for name in names[0]})
            out = dict(zip(names[1], values, strict=True))
            for name in ("obs", "reward", "terminated"):
                wanted = np.asarray(getattr(step, name), float)
                differences.append(float((np.abs(out[name] - wanted) / (1 + np.abs(wanted))).max()))
    return float(np.max(differences))


def sensing_inputs(sim: BatchSim, action: np.ndarray) -> Callable[[str], np.ndarray]:
    """What goes into a sensing graph, by its name: of one simulation that was stepped by an action."""
    r = sim.readings
    known = {
        ACTION: action,
        f"{BEFORE}{ACTION}": r.action_before,
        f"{BEFORE}qpos": r.qpos_before,
        "qpos": r.qpos,
        "qvel": r.qvel,
    }
    known |= {f"{BEFORE}{name}": value for name, value in r.before.items()}
    known |= {f"{TASK}{name}": value for name, value in sim.task_values.items()}
    return lambda name: known[name] if name in known else r.field(name)
