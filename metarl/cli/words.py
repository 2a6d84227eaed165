"""What the commands share: what a command is, and what the same words mean in all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from metarl.envs import Task, TaskFamily
from metarl.envs.task import Split
from metarl.errors import InputError, plain
from metarl.ranges import checked_seed, checked_threads

FILE = "FILE:CLASS"  # a family in a file of somebody's own
MOST_STEPS, MOST_PROCESSES = 1e15, 1024


@dataclass
class Command:
    """What a command takes, as fields, and what it does."""

    @classmethod
    def taking(cls, words: Sequence[str]) -> "type[Command]":
        """The class whose fields these words can fill."""
        return cls

    def run(self) -> int:
        """Do it; returns the exit status."""
        raise NotImplementedError


def parse_tasks(family: TaskFamily, groups: Sequence[Sequence[str]]) -> list[Task]:
    """Tasks from words such as velocity=2.5; each group, and each repeated name, begins a task.

    Raises:
        InputError: a word is no assignment, or the family refuses the values.
    """
    tasks: list[dict[str, Any]] = []
    for words in groups:
        tasks.append({})
        for word in words:
            name, equals, value = word.partition("=")
            if not equals:
                raise InputError(f"--task {word}: write name=value, e.g. {family.params[0].name}=...")
            if name in tasks[-1]:
                tasks.append({})
            if "=" in value:
                raise InputError(f"--task {word}: write values apart, --task {word.replace(',', ' ')}")
            numbers = value.split(",")
            tasks[-1][name] = numbers if len(numbers) > 1 else value
    return [family.task(values) for values in tasks]


def split_tasks(family: TaskFamily, split: Split, seed: int) -> list[Task]:
    """A split's tasks; fresh ones where training has no fixed list."""
    if split == "train" and family.n_train is None:
        return family.sample(np.random.default_rng(seed), family.n_test)
    return family.tasks(split)


def check_common(seed: int, n_threads: int | None) -> None:
    """Raise InputError unless --seed and --n-threads are in range."""
    checked_seed(seed, "--seed")
    if n_threads is not None:
        checked_threads(n_threads, "--n-threads")


def check_amounts(steps: float | None, processes: int | None) -> None:
    """Raise InputError unless --steps and --processes of a training are in range."""
    if steps is not None and not 0 < steps < MOST_STEPS:
        raise InputError(f"--steps {steps:g} is out of range; give e.g. --steps 2e6")
    if processes is not None and not 1 <= processes <= MOST_PROCESSES:
        raise InputError(f"--processes {processes} is out of range; use 1 to {MOST_PROCESSES}")


def say(line: str) -> None:
    """Print a line. Names of files and what stands in them are shown, and not obeyed."""
    print(plain(line), flush=True)


def show(table: Table) -> None:
    """Print a table as wide as it has to be: a narrow terminal breaks its lines, but no number is lost."""
    names: dict[str, Any] = {"markup": False, "emoji": False}  # are names
    console, wide = Console(**names), Console(width=1000, **names)
    console.width = max(console.width * console.is_terminal, wide.measure(table).maximum)
    console.print(table)
