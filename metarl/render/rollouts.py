"""Rollouts: what a policy did on a task before and after adapting, recorded first and drawn later."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metarl.envs import BatchSim, InputError, Step, Task, TaskFamily, simulate
from metarl.learners.agent import Agent
from metarl.sampling.trajectories import Trajectories


@dataclass(frozen=True)
class Rollout:
    """One episode.

    Attributes:
        task: what it was about.
        title: when it was, as people say it: "after 1 gradient step", "episode 2".
        states: (L + 1, nstate), rows of `BatchSim.state`, the first before the first step.
        reward: (L,).
        terminated: whether the robot failed at the end.
        success: whether it ended at its goal; None where the family does not say what that is.
        error: (L,) how far from what is asked, in the family's unit; None where it does not say.
        attention: (L, slots) how the external memory was read, mean over heads; None without one.
        tasks: L + 1, the task as it was then, where numbers change within an episode; None elsewhere.
    """

    task: Task
    title: str
    states: np.ndarray
    reward: np.ndarray
    terminated: bool
    success: bool | None
    error: np.ndarray | None = None
    attention: np.ndarray | None = None
    tasks: Sequence[Task] | None = None

    @property
    def n_steps(self) -> int:
        """L, steps until it ended."""
        return len(self.reward)

    def task_at(self, step: int) -> Task:
        """What it was about before this step."""
        return self.tasks[step] if self.tasks else self.task


class Recorder(BatchSim):
    """Simulations that remember what was since their last reset.

    Attributes:
        states: (T + 1, N, nstate).
        errors: (T, N), how far from what is asked; empty where the family does not say.
        tasks_then: (T + 1, N), as they were; empty where nothing changes within an episode.
    """

    def set_state(self, *args: Any, **kwargs: Any) -> np.ndarray:
        """Start new episodes, and a new recording."""
        obs = super().set_state(*args, **kwargs)
        self.states: list[np.ndarray] = []
        self.errors: list[np.ndarray] = []
        self.tasks_then: list[list[Task]] = []
        self._look()
        return obs

    def step(self, action: np.ndarray, mask: np.ndarray | None = None) -> Step:
        """Advance, and remember what came of it."""
        step = super().step(action, mask)
        self._look()
        error = self.error()
        if error is not None:
            self.errors.append(error)
        return step

    def _look(self) -> None:
        self.states.append(self.state.copy())
        if self._events.changing:
            self.tasks_then.append([self.task_now(i) for i in range(self.n_sims)])


def telling_tasks(family: TaskFamily, tasks: Sequence[Task]) -> list[Task]:
    """Two tasks that ask for different things: a low and a high one by their first number."""
    ranked = family.ranked(tasks)
    return [ranked[len(ranked) // 6], ranked[-1 - len(ranked) // 6]] if len(ranked) > 1 else ranked


def record_rollouts(
    agent: Agent, tasks: Sequence[Task], columns: Sequence[int], seed: int = 0
) -> list[list[Rollout]]:
    """Let a policy meet tasks, and record its episodes in some columns of what would be an evaluation.

    Actions are the mean of the policy's distribution; what a gradient step learns from is drawn, as in
    evaluation. All columns of a learner that adapts between episodes start from the same state.

    Args:
        agent: whose policy.
        tasks: K of them.
        columns: which, the first one being 0: before adaptation, or episode 1 of a trial.
        seed: of initial states and exploration.

    Returns:
        For each task, its rollouts, one a column.

    Raises:
        InputError: a column is negative.
    """
    if min(columns) < 0:
        raise InputError(f"there is no column {min(columns)}; the first is 0")
    columns = sorted(set(columns))
    adapter, n_explore = agent.adapter(), agent.evaluation_size[1]
    show, explore = np.random.SeedSequence(seed).spawn(2)
    sim, rng, explore_rng = (
        Recorder(agent.family, len(tasks), agent.n_threads),
        np.random.default_rng(show),
        np.random.default_rng(explore),
    )
    sim.set_tasks(tasks)
    if adapter.shares_episodes:
        explorer = simulate(agent.family, len(tasks) * n_explore, agent.n_threads)
        explorer.set_tasks([task for task in tasks for _ in range(n_explore)])
    adapter.begin(tasks, explore_rng)
    seen, taken = [], {}
    for column in range(columns[-1] + 1):
        adapter.deterministic = True
        if adapter.shares_episodes:
            rng = np.random.default_rng(show)
        seen.append(adapter.collect(sim, rng))
        if column in columns:
            succeeded = None if sim.succeeded is None else sim.succeeded.copy()
            taken[column] = (
                adapter.title(column),
                sim.states,
                sim.errors,
                sim.tasks_then,
                seen[-1],
                succeeded,
            )
        if column < columns[-1]:
            adapter.deterministic = False
            adapter.adapt(adapter.collect(explorer, explore_rng) if adapter.shares_episodes else seen[-1])
    rollouts = []
    for k, task in enumerate(tasks):
        attention = agent.attention(seen, k) or dict.fromkeys(columns)
        rollouts.append([_rollout(task, k, *taken[c], attention[c]) for c in columns])
    return rollouts


def _rollout(
    task: Task,
    k: int,
    title: str,
    states: list[np.ndarray],
    errors: list[np.ndarray],
    tasks_then: list[list[Task]],
    episodes: Trajectories,
    succeeded: np.ndarray | None,
    attention: np.ndarray | None,
) -> Rollout:
    length = int(episodes.valid[:, k].sum())
    return Rollout(
        task=task,
        title=title,
        states=np.stack([state[k] for state in states[: length + 1]]),
        reward=episodes.reward[:length, k],
        terminated=bool(episodes.terminated[:, k].any()),
        success=None if succeeded is None else bool(succeeded[k]),
        error=np.stack([error[k] for error in errors[:length]]) if errors else None,
        attention=attention,
        tasks=[now[k] for now in tasks_then[: length + 1]] or None,
    )
