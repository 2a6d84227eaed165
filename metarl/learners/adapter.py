"""What anything that can be judged promises to the evaluator."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from metarl.envs import Task, World
from metarl.sampling.trajectories import Trajectories

EPISODES = "episodes"  # the column of who adapts within its episodes, if at all
ADAPTING = (
    "adapting episodes"  # the same, but in the first column it is kept from it, and nothing is remembered
)


def column_title(column: str, k: int) -> str:
    """When the episodes of column k are played, in words: "before adaptation", "episode 1"."""
    if is_episode(column, k):
        return f"episode {k + first_number(column)}"
    return f"after {k} {column.rstrip('s')}{'s' * bool(k > 1)}" if k else "before adaptation"


def first_number(column: str) -> int:
    """How people count a first column: no gradient step, but episode 1."""
    return int(column == EPISODES)


def is_episode(column: str, k: int) -> bool:
    """Whether column k is an episode within which is adapted."""
    return column == EPISODES or (column == ADAPTING and k > 0)


def n_forgotten(column: str) -> int:
    """First columns from which nothing is learned."""
    return int(column == ADAPTING)


class Adapter(Protocol):
    """Anything that can be judged: it begins on new tasks, acts, and sees what came of it."""

    column: str  # what one more column is, for people: "gradient steps", "episodes", ...
    shares_episodes: bool  # all episodes of a task teach one adaptation; else each is a trial of its own

    def begin(self, tasks: Sequence[Task], rng: np.random.Generator) -> None:
        """Forget everything: K new tasks, at which only an oracle may look. Draw actions from rng."""

    def collect(self, sim: World, rng: np.random.Generator) -> Trajectories:
        """One episode in each of K * E simulations, task by task; rng draws initial states only.

        Every step that is simulated counts as experience of the task, whether it is shown or not.
        """

    def adapt(self, episodes: Trajectories) -> None:
        """Take in the episodes of the column just collected."""


class AgentAdapter(Adapter, Protocol):
    """An agent as the evaluator sees it, and as pictures show it."""

    deterministic: bool  # act by the mean

    def title(self, column: int) -> str:
        """When a column's episodes are played, in words."""
