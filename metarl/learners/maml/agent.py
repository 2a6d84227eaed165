"""MAML at work: the training loop, adaptation to a task or an environment, and its evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
import torch

from metarl import ranks
from metarl.envs import InputError, Task, World, simulate
from metarl.export.graph import MemorylessGraph
from metarl.learners.acting import NOTHING, PREDICTION_SEED, Acting
from metarl.learners.adapter import column_title
from metarl.learners.given import as_paid, as_rows, is_env
from metarl.learners.maml.config import MAMLConfig
from metarl.learners.maml.learner import MAMLLearner
from metarl.learners.pupil import Pupil
from metarl.policies.gaussian import Params, act, log_prob, settled
from metarl.ranges import checked_seed, whole
from metarl.sampling.episodes import collect
from metarl.sampling.trajectories import Trajectories
from metarl.threads import plain_torch

LEAST_NOISE = 1e-4  # of recorded actions, variance in units of the policy's


class MAML(Pupil):
    """Meta-trains a policy that adapts by gradient steps (see `Agent` for the arguments).

    Example:
        >>> agent = MAML("HalfCheetahVel", seed=0).learn(2_000_000, progress_bar=True)
        >>> adapted = agent.adapt({"velocity": 2.5})
        >>> action, _ = adapted.predict(obs)
    """

    name = "maml"
    config_class = MAMLConfig
    usual_steps = 2_500_000
    in_many = True
    learner_class = MAMLLearner
    learner: MAMLLearner

    @classmethod
    def n_least(cls, config: MAMLConfig) -> int:
        """Weights between the policy's layers, and of what the context changes."""
        first = (*config.hidden, 1)[0]
        return config.n_context * first + sum(n_in * n_out for n_in, n_out in pairwise(config.hidden))

    @property
    def n_sims(self) -> int:
        """Tasks times episodes."""
        return self.config.n_tasks * self.config.n_episodes

    @property
    def n_tasks(self) -> int:
        """Each is that of several episodes."""
        return self.config.n_tasks

    @property
    def own_steps(self) -> int:
        """One episode in every simulation, before and after each inner step."""
        return self.n_sims * self.family.horizon * (self.config.inner_steps + 1)

    def learn_once(self) -> dict[str, float]:
        """Sample tasks, alternate collecting and adapting, then learn from all of it."""
        c, learner = self.config, self.learner
        imitates, has_teacher = learner.imitates(self.progress) > 0, learner.teacher is not None
        tasks, rng = self.draw(c.n_tasks)
        params, stages = learner.initial(len(tasks)), []
        with ranks.together():
            self.sim.set_tasks([task for task in tasks for _ in range(c.n_episodes)])
            for k in range(c.inner_steps + 1):
                episodes = collect(
                    self.sim,
                    learner.policy,
                    params,
                    learner.normaliser,
                    rng,
                    knows=imitates and has_teacher,
                    shows=imitates and not has_teacher,
                )
                stages.append(episodes)
                if k < c.inner_steps:
                    params = learner.adapt(params, stages[-1], k + 1)
        stats = learner.update(stages, self.progress)
        n_steps = [ranks.total(stage.n_steps) for stage in stages]
        self.num_timesteps += sum(n_steps)
        means = {f"return/after_{k}": float(s.returns().mean()) for k, s in enumerate(stages)}
        returns, lengths = ranks.mean(means, len(tasks)), {"episode_length": n_steps[-1] / self.n_sims}
        return {**returns, **lengths, **{f"learn/{k}": v for k, v in stats.items()}}

    def adapter(self) -> "MAMLAdapter":
        """This agent as the evaluator sees it."""
        return MAMLAdapter(self.learner)

    @property
    def evaluation_size(self) -> tuple[int, int]:
        """0 to 3 gradient steps, or twice as many as in training and one; with as many episodes as there."""
        return max(4, 2 * self.config.inner_steps + 2), self.config.n_episodes

    @property
    def trained_column(self) -> int:
        """After as many gradient steps as in training."""
        return self.config.inner_steps

    @plain_torch()
    def adapt(
        self,
        task_or_env: Mapping[str, Any] | gymnasium.Env,
        n_steps: int | None = None,
        n_episodes: int | None = None,
        seed: int = PREDICTION_SEED,
    ) -> "MAMLPolicy":
        """Adapt to one new task by gradient steps, each on n fresh episodes.

        Args:
            task_or_env: task values by name, simulated here, or a Gymnasium environment of the
                same robot, which is stepped.
            n_steps: gradient steps; None for as many as in training.
            n_episodes: episodes for each; None for as many as in training.
            seed: of the exploration.

        Returns:
            The adapted policy.

        Raises:
            InputError: no such task, an environment of another robot, or a number out of range.
        """
        n_steps = self.config.inner_steps if n_steps is None else whole("n_steps", n_steps)
        n_episodes = self.config.n_episodes if n_episodes is None else whole("n_episodes", n_episodes)
        if n_steps < 0 or n_episodes < 1:
            raise InputError(f"{n_steps} steps on {n_episodes} episodes each: use 0 or more, 1 or more")
        rng = np.random.default_rng(checked_seed(seed))
        params = self.learner.initial(1)
        if is_env(task_or_env, self.family):
            for k in range(n_steps):
                rows = self._roll(task_or_env, params, n_episodes, rng)
                params = self.learner.adapt(params, rows, k + 1)
            return self._adapted(params, n_steps, n_episodes)
        sim = simulate(self.family, n_episodes, self.n_threads)
        task = self.family.task(task_or_env)
        sim.set_tasks([task] * n_episodes)
        for k in range(n_steps):
            rows = collect(sim, self.learner.policy, params, self.learner.normaliser, rng)
            params = self.learner.adapt(params, rows, k + 1)
        return self._adapted(params, n_steps, n_episodes, task)

    def predict(
        self,
        obs: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Any]:
        """Actions of the policy before adaptation; see `MAMLPolicy.predict`."""
        policy = MAMLPolicy(self, self.learner.initial(1), self.prediction_rng)
        return policy.predict(obs, state, episode_start, deterministic)

    def policy(self) -> "MAMLPolicy":
        """The policy before adaptation, to act with."""
        return MAMLPolicy(self, self.learner.initial(1))

    @plain_torch()
    def adapt_to_recorded(self, recordings: Sequence[Trajectories]) -> "MAMLPolicy":
        """Adapt by one gradient step on each of several recordings.

        Args:
            recordings: as `read_recording` gives them; the first one of the policy before adaptation, each
                next one of what the recordings before have made of it.

        Raises:
            InputError: a recording's actions are without the noise that one learns from.
        """
        learner = self.learner
        params = learner.initial(1)
        for k, rows in enumerate(recordings):
            obs, action = (
                torch.from_numpy(x).to(learner.device).flatten(0, 1) for x in (rows.obs, rows.action)
            )
            with torch.no_grad():
                mean, log_std = act(learner.policy, params, learner.normaliser, obs)
                noise = ((action - mean) / log_std.exp())[torch.from_numpy(rows.valid).flatten()]
                if float(noise.square().mean()) < LEAST_NOISE:
                    raise InputError(
                        "the recorded actions are the policy's own, without the noise that one learns from; "
                        "record what policy.sample(obs) gives, or add noise of action_std"
                    )
                density = log_prob(mean, log_std, action).cpu().numpy()
            rows = replace(rows, log_prob=density.reshape(rows.reward.shape))
            params = learner.adapt(params, rows, k + 1)
        n = sum(int(rows.episode_start.sum()) for rows in recordings)
        return MAMLPolicy(self, params, adapted={"recorded_episodes": n, "gradient_steps": len(recordings)})

    def _adapted(
        self, params: Params, n_steps: int, n_episodes: int, task: Task | None = None
    ) -> "MAMLPolicy":
        adapted = {"gradient_steps": n_steps, "episodes": n_steps * n_episodes}
        return MAMLPolicy(self, params, adapted=adapted, task=task)

    def _roll(
        self, env: gymnasium.Env, params: Params, n_episodes: int, rng: np.random.Generator
    ) -> Trajectories:
        """Episodes of a policy in somebody's environment, cut at the family's horizon."""
        horizon = self.family.horizon
        policy = MAMLPolicy(self, params, rng)
        out = Trajectories.empty(horizon, n_episodes, self.family.obs_dim, self.family.action_dim)
        out.episode_start[0] = out.trial_start[0] = True
        for e in range(n_episodes):
            obs, _ = env.reset(seed=int(rng.integers(2**31)))
            for t in range(horizon):
                out.obs[t, e], out.valid[t, e] = as_rows(obs, self.family.obs_dim)[0], True
                out.action[t, e], out.log_prob[t, e] = policy.sample(out.obs[t, e])
                obs, reward, terminated, truncated, _ = env.step(np.clip(out.action[t, e], -1, 1))
                out.reward[t, e], out.terminated[t, e] = as_paid(reward), terminated
                out.truncated[t, e] = (truncated or t == horizon - 1) and not terminated
                if terminated or truncated:
                    break
        return out


class MAMLPolicy(Acting):
    """A policy with one set of parameters, to act with.

    Args:
        agent: whose policy.
        params: its parameters, (1, ...).
        rng: draws actions that are not deterministic.
        adapted: what it was adapted by, in numbers.
        task: to which, if that is known.
    """

    def __init__(
        self,
        agent: MAML,
        params: Params,
        rng: np.random.Generator | None = None,
        adapted: Mapping[str, int] = NOTHING,
        task: Task | None = None,
    ):
        super().__init__(agent, adapted, task)
        self.learner, self.params = agent.learner, settled(params)
        self.rng = rng or np.random.default_rng(PREDICTION_SEED)

    def graph(self, attention: bool = False) -> MemorylessGraph:
        """What it does at a step; there is no memory to look at."""
        params = {k: p.cpu() for k, p in self.params.items()}
        return MemorylessGraph(self.learner.policy, params, self.learner.normaliser)

    def describe(self) -> dict[str, Any]:
        """Where it comes from, and the noise by which it explores."""
        std = self.params["log_std"].exp().clamp(min=self.learner.policy.min_std).flatten()
        return {**super().describe(), "action_std": std.tolist()}

    def predict(
        self,
        obs: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Any]:
        """Actions for one observation (obs_dim,) or several (N, obs_dim), as in Stable-Baselines3.

        The policy keeps nothing between steps: `state` is handed back and `episode_start` ignored.

        Returns:
            Actions (action_dim,) or (N, action_dim) in [-1, 1], and the state.
        """
        mean, std = self._gaussian(as_rows(obs, self.learner.policy.obs_dim))
        action = mean if deterministic else mean + std * self.rng.standard_normal(mean.shape)
        return np.clip(action, -1, 1).astype(np.float32).reshape(*np.shape(obs)[:-1], -1), state

    def sample(self, obs: np.ndarray) -> tuple[np.ndarray, float]:
        """An action (action_dim,), not clipped, and its log probability."""
        mean, std = self._gaussian(obs[None])
        noise = self.rng.standard_normal(mean.shape)
        log_prob = -0.5 * np.square(noise) - np.log(std) - 0.5 * np.log(2 * np.pi)
        return (mean + std * noise)[0], float(log_prob.sum())

    @plain_torch()
    def _gaussian(self, obs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            learner = self.learner
            seen = torch.from_numpy(obs).to(learner.device)
            mean, log_std = act(learner.policy, self.params, learner.normaliser, seen)
            return mean.cpu().numpy(), log_std.exp().cpu().numpy()


class MAMLAdapter:
    """MAML as the evaluator sees it: every column is paid for by one more gradient step.

    Args:
        learner: whose parameters.
        deterministic: act by the mean, which a gradient step can learn nothing from.
    """

    column = "gradient steps"
    shares_episodes = True

    def __init__(self, learner: MAMLLearner, deterministic: bool = False):
        self.learner, self.deterministic = learner, deterministic

    def title(self, column: int) -> str:
        """When a column's episodes are played, in words."""
        return column_title(self.column, column)

    @plain_torch()
    def begin(self, tasks: Sequence[Task], rng: np.random.Generator) -> None:
        """Forget everything: K new tasks."""
        self.rng = rng
        self.params, self.n_steps = self.learner.initial(len(tasks)), 0

    @plain_torch()
    def collect(self, sim: World, rng: np.random.Generator) -> Trajectories:
        """One episode in each simulation, with what has been learned so far."""
        learner = self.learner
        return collect(
            sim, learner.policy, self.params, learner.normaliser, rng, self.deterministic, self.rng
        )

    @plain_torch()
    def adapt(self, episodes: Trajectories) -> None:
        """Take in what the last column's episodes taught."""
        self.n_steps += 1
        self.params = self.learner.adapt(self.params, episodes, self.n_steps)
