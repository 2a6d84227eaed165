"""A policy that acts on and on while its task may change."""

from typing import Any

import numpy as np

from metarl.envs import BatchSim, Task
from metarl.learners.agent import Agent


class Session:
    """A policy that acts on one robot for as long as somebody looks.

    Changes of the task reach the robot at once. What the policy knows of the old task stays with it until it
    has learned better, or is told to forget.

    Args:
        agent: whose policy.
        task: to begin with.
        seed: of initial states and exploration.

    Attributes:
        task: the present one.
        sim: one simulation.
        episode: number of the present one, from 1, since it last forgot.
        earned: return of the present episode so far.
        steps_learned: gradient steps taken since it last forgot, of a policy that takes any.
    """

    def __init__(self, agent: Agent, task: Task, seed: int = 0):
        self.agent, self.task = agent, task
        self.rng = np.random.default_rng(seed)
        self.sim = BatchSim(agent.family, 1, n_threads=1)
        self.sim.set_tasks([task])
        self.forget()

    def forget(self) -> None:
        """Begin a new trial: nothing is known of the task."""
        self.policy, self.steps_learned = self.agent, 0
        self.state: Any = None
        self.reward, self.episode = 0.0, 0
        self._begin()

    def _begin(self) -> None:
        self.obs, self.earned = self.sim.reset(self.rng)[0], 0.0
        self.episode += 1

    def change(self, task: Task) -> None:
        """Another task, from the next step on."""
        self.task = task
        self.sim.set_tasks([task])

    def learn(self) -> None:
        """One more gradient step on the present task, for a policy that takes them."""
        self.steps_learned += 1
        self.policy = self.agent.adapt(dict(self.task), self.steps_learned)

    def step(self) -> None:
        """Act once; the next episode begins where one has ended."""
        if self.agent.remembers:
            first = None if self.state is None else np.array([self.sim.elapsed[0] == 0])
            reward = None if self.state is None else self.reward
            predict: Any = self.agent.predict
            action, self.state = predict(self.obs, self.state, first, reward=reward)
        else:
            action, _ = self.policy.predict(self.obs)
        step = self.sim.step(action[None])
        self.obs, self.reward = step.obs[0], float(step.reward[0])
        self.earned += self.reward
        if step.terminated[0] or step.truncated[0]:
            self._begin()
