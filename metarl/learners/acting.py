"""A policy to act with, as `adapt` hands it over."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import numpy as np

from metarl.envs import Task, TaskFamily
from metarl.export.graph import Graph
from metarl.export.write import Exported, export

NOTHING: Mapping[str, int] = MappingProxyType({})  # has it been adapted by


class Whose(Protocol):
    """What a policy has to know of its agent."""

    family: TaskFamily
    name: ClassVar[str]
    seed: int
    num_timesteps: int


class Acting:
    """The shared half of every learner's policy.

    Args:
        agent: whose policy.
        adapted: what it was adapted by, in numbers.
        task: to which, if that is known.

    Attributes:
        predict: as agents have it: actions, and the state for the next call.
    """

    predict: Callable[..., tuple[np.ndarray, Any]]

    def __init__(self, agent: Whose, adapted: Mapping[str, int] = NOTHING, task: Task | None = None):
        self.agent, self.adapted, self.task = agent, adapted, task

    @property
    def family(self) -> TaskFamily:
        """Of whose robot."""
        return self.agent.family

    def graph(self, attention: bool = False) -> Graph:
        """What it does at a step; with how its memory was read, where that is wanted."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Where it comes from, in plain values."""
        agent = self.agent
        return {
            "learner": agent.name,
            "seed": agent.seed,
            "trained_steps": agent.num_timesteps,
            "adapted": dict(self.adapted),
            "task": None if self.task is None else dict(self.task),
        }

    def export(self, path: str | Path) -> Exported:
        """Write it as an ONNX file (see `Agent.export`)."""
        return export(self, path)
