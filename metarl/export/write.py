"""A policy as an ONNX file, which is written only if it does what the policy does."""

import contextlib
import io
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from metarl.envs import BatchSim, InputError, Task, TaskFamily
from metarl.export.graph import Graph
from metarl.export.robot import describe_robot
from metarl.files import check_writable, write_atomically
from metarl.threads import plain_torch
from metarl.versions import versions

FORMAT = "metarl-onnx-1"
TOLERANCE = 1e-5  # of actions
STEPS, TRIAL, EPISODE = 1000, 500, 125  # of the check: in all, of a trial, of an episode at most


class Deployable(Protocol):
    """A policy that can be exported: what it does at a step, and the same as a graph."""

    @property
    def family(self) -> TaskFamily:
        """Of whose robot."""

    @property
    def predict(self) -> Callable[..., tuple[np.ndarray, Any]]:
        """As agents have it: actions, and the state for the next call."""

    def graph(self, attention: bool = False) -> Graph:
        """Its step as a graph; with how its memory was read, where that is wanted."""

    def describe(self) -> dict[str, Any]:
        """Where it comes from, in plain values: learner, task, ..."""


@dataclass(frozen=True)
class Exported:
    """What has been written.

    Attributes:
        path: of the file.
        size: of it, bytes.
        inputs, outputs: their names.
        difference: the largest, between its actions and those of `predict`; where what is remembered
            amplifies rounding, each step begins with what `predict` remembers.
        drift: the same where it is left alone for a trial of 500 steps, on what `predict` observes.
        n_steps: over which that was looked at.
        seconds: that it took.
        metadata: what the file says of itself.
    """

    path: Path
    size: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    difference: float
    drift: float
    n_steps: int
    seconds: float
    metadata: dict[str, Any]


def export(policy: Deployable, path: str | Path) -> Exported:
    """Write a policy as an ONNX file, once that has been found to act as the policy does.

    Args:
        policy: as `agent.adapt` gives it, or an agent's before it has adapted.
        path: of the file; ends in .onnx.

    Raises:
        InputError: the policy cannot be a graph, the graph acts otherwise, or there can be no such file.
        ModuleNotFoundError: onnx, onnxscript or onnxruntime is not installed.
    """
    begun, path = time.monotonic(), Path(path)
    check_export(path)
    graph = policy.graph()
    metadata = describe(policy, graph)
    content, difference, drift = same_onnx(policy, graph, str(path), metadata)
    write_atomically(path, lambda file: file.write(content))
    return Exported(
        path,
        len(content),
        tuple(graph.inputs),
        graph.outputs,
        difference,
        drift,
        STEPS,
        time.monotonic() - begun,
        {**metadata, **computing(graph)},
    )


def same_onnx(
    policy: Deployable, graph: Graph, name: str, metadata: Mapping[str, Any] | None = None
) -> tuple[bytes, float, float]:
    """A graph as the content of an ONNX file that has been found to act as its policy does.

    What is remembered may amplify rounding, in `predict` as well. So a policy whose actions drift apart in a
    trial of 500 steps, in float32 and in float64, is looked at step by step, from what `predict` remembers
    each time.

    Args:
        policy: whose.
        graph: of it; computes from now on in what the content does.
        name: of the file, for people.
        metadata: that the file holds.

    Returns:
        The content, and by how much its actions differ from those of `predict` at most: in a step, and left
        alone for a trial.

    Raises:
        InputError: it acts otherwise.
    """
    kept = {**metadata} if metadata else {}
    drifting = {}
    for dtype in (torch.float32, torch.float64):
        graph.computing_in(dtype)
        content = onnx_bytes(graph, kept | (computing(graph) if kept else {}))
        drift = largest_difference(content, policy, graph)
        if drift <= TOLERANCE:
            return content, drift, drift
        drifting[dtype] = content, drift
    difference = drift
    for dtype, (content, drift) in drifting.items() if graph.state_size else ():
        difference = largest_difference(content, policy, graph.computing_in(dtype), by_steps=True)
        if difference <= TOLERANCE:
            return content, difference, drift
    raise InputError(
        f"{name} was not written: its actions differ from those of predict by up to {difference:.1g}, "
        f"and {TOLERANCE:g} is allowed; the exporter of torch {torch.__version__} has made a wrong graph"
    )


def check_export(path: Path) -> None:
    """Raise InputError unless an ONNX file can be written there, and what writes it is installed."""
    if path.suffix.lower() != ".onnx":
        raise InputError(f"{path} is to hold ONNX: give it a name that ends in .onnx")
    check_writable(path)
    for name in ("onnx", "onnxscript", "onnxruntime"):  # torch says less clearly what is missing
        import_module(name)


def describe(policy: Deployable, graph: Graph) -> dict[str, Any]:
    """What a file says of itself: of the robot, and of where the policy comes from."""
    family = policy.family
    return {
        "format": FORMAT,
        **describe_robot(family),
        "family": family.name,
        **policy.describe(),
        "horizon": family.horizon,
        "state_size": graph.state_size,
        "versions": versions(),
    }


def computing(graph: Graph) -> dict[str, str]:
    """What a file says of how it computes."""
    return {"computes_in": str(graph.dtype).removeprefix("torch.")}


@plain_torch()
def onnx_bytes(graph: Graph, metadata: Mapping[str, Any]) -> bytes:
    """A graph as the content of an ONNX file; metadata is written as JSON, key by key."""
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            graph.eval(),
            graph.example(),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=json.dumps(value))
    return model.SerializeToString()


def largest_difference(content: bytes, policy: Deployable, graph: Graph, by_steps: bool = False) -> float:
    """Between the actions of an ONNX file and those of a policy, on what the policy meets in simulation.

    Args:
        content: of the file.
        policy: that it is to act as.
        graph: what the file was made of.
        by_steps: let it begin every step with what the policy remembers, and compare what it remembers after
            it, too, number by number in parts of 1 + their size.
    """
    session = open_session(content)
    sim, rng, differences = BatchSim(policy.family, 1, n_threads=1), np.random.default_rng(0), []
    tasks = _tasks(policy)
    state, flat = None, np.zeros((1, graph.state_size), np.float32)
    obs = sim.start(rng)
    reward, age = np.zeros(1, np.float32), 0
    for t in range(STEPS):
        if t % TRIAL == 0:
            sim.set_tasks([tasks[t // TRIAL % len(tasks)]])
            obs, age, state, flat = sim.reset(rng), 0, None, np.zeros_like(flat)
        first = np.array([age == 0])
        given = {"obs": obs, "reward": reward, "episode_start": first.astype(np.float32), "state_in": flat}
        actions, *rest = session.run(None, {name: given[name] for name in graph.inputs})
        if graph.state_size:
            flat = rest[0]
            action, state = policy.predict(obs, state, first, **({} if state is None else {"reward": reward}))
            if by_steps:
                own = graph.packed(state)
                differences.append((np.abs(flat - own) / (1 + np.abs(own))).max())
                flat = own
        else:
            action, _ = policy.predict(obs)
        differences.append(np.abs(actions - action).max())
        step = sim.step(action)
        obs, reward, age = step.obs, step.reward, age + 1
        if step.terminated[0] or step.truncated[0] or age == EPISODE:
            obs, age = sim.reset(rng), 0
    return float(np.max(differences))  # not a number, if one of them is none


def open_session(content: bytes) -> Any:
    """An onnxruntime session of one thread: small products gain nothing from more."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _tasks(policy: Deployable) -> list[Task]:
    """Those that the policy is looked at on: its own, or held-out ones."""
    task = policy.describe().get("task")
    return [policy.family.task(task)] if task else policy.family.tasks("test")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of packages that are not needed, and prints."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
