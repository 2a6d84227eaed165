"""A policy as a live page takes it along."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from metarl.envs import InputError, Task
from metarl.export.graph import Graph
from metarl.export.write import same_onnx
from metarl.learners.acting import Acting
from metarl.learners.agent import Agent

ATTENTION = "attention"  # an output of a graph


def page_policies(agent: Agent, tasks: Sequence[Task], seed: int) -> dict[str, Any]:
    """What acts in a page, as plain JSON: a policy that remembers, or one before and after gradient steps.

    Raises:
        InputError: it cannot be a graph, or the graph acts otherwise.
    """
    family, policy = agent.family, agent.policy()
    acting = [("", policy)]
    if not policy.graph().state_size:
        acting = [("before adaptation", policy)]
        acting += [(f"adapted to {family.words(task)}", agent.adapt(dict(task), seed=seed)) for task in tasks]
    graphs = [_graph(policy) for _, policy in acting]
    return {
        "policies": [
            {"name": name, "state_size": graph.state_size, "graph": _packed(policy, graph)}
            for (name, policy), graph in zip(acting, graphs, strict=True)
        ],
        "slots": max(map(_slots, graphs)),
    }


def _graph(policy: Acting) -> Graph:
    """With how its memory was read, where it has any."""
    try:
        return policy.graph(attention=True)
    except InputError:
        return policy.graph()


def _slots(graph: Graph) -> int:
    """Of its external memory."""
    if ATTENTION not in graph.outputs:
        return 0
    return int(graph(*graph.example())[graph.outputs.index(ATTENTION)].shape[-1])


def _packed(policy: Acting, graph: Graph) -> str:
    content, *_ = same_onnx(policy, graph, "the page")
    return b64encode(content).decode()
