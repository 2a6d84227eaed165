"""The Meta-LSTM at work: the training loop, a policy in the midst of a trial, and its evaluation."""

from collections.abc import Mapping, Sequence
from functools import partial
from math import log
from typing import Any

import gymnasium
import numpy as np
import torch

from metarl import ranks
from metarl.envs import Task, World
from metarl.export.graph import RememberingGraph
from metarl.learners.acting import PREDICTION_SEED, Remembering, first_episodes, relive
from metarl.learners.adapter import EPISODES, column_title
from metarl.learners.given import as_rewards, as_rows, as_starts, check_state
from metarl.learners.meta_lstm.config import MetaLSTMConfig
from metarl.learners.meta_lstm.learner import MetaLSTMLearner
from metarl.learners.pupil import Pupil
from metarl.policies.player import Player
from metarl.policies.step import TrialState
from metarl.ranges import checked_seed, whole
from metarl.sampling.trajectories import Trajectories, Trials
from metarl.sampling.trials import collect_episode, collect_trials
from metarl.threads import plain_torch

N_TRIALS = 10  # of each task in an evaluation


class MetaLSTM(Pupil):
    """Meta-trains a policy that adapts from its memory alone (see `Agent` for the arguments).

    Example:
        >>> agent = MetaLSTM("HalfCheetahVel", seed=0).learn(10_000_000, progress_bar=True)
        >>> action, state = agent.predict(obs)  # a trial begins
        >>> action, state = agent.predict(obs, state, reward=reward)  # and goes on
    """

    name = "meta-lstm"
    config_class = MetaLSTMConfig
    remembers = in_many = True
    learner_class = MetaLSTMLearner
    learner: MetaLSTMLearner

    @classmethod
    def n_least(cls, config: MetaLSTMConfig) -> int:
        """Weights of the smallest core that remembers, the GRU, and of the layer behind it."""
        from_state = 0 if config.core == "feedforward" else 3 * config.width**2
        return from_state + config.width * config.hidden

    @property
    def n_sims(self) -> int:
        """One a trial."""
        return self.config.n_trials

    @property
    def trial_length(self) -> int:
        """Steps of a trial."""
        return self.config.n_episodes * self.family.horizon

    @property
    def piece(self) -> int | None:
        """Steps of a piece of a trial, of which there are whole ones; None if it cannot be cut."""
        if not self.learner.policy.can_be_cut:
            return None
        length, wanted = self.trial_length, self.config.piece
        divisors = [n for n in range(1, length + 1) if length % n == 0]
        return min(divisors, key=lambda n: abs(log(n / wanted)))

    @property
    def own_steps(self) -> int:
        """Whole trials."""
        return self.n_sims * self.trial_length

    def learn_once(self) -> dict[str, float]:
        """Sample a task for every trial, play the trials, and learn from them."""
        sim = self.sim
        tasks, rng = self.draw(self.n_sims)
        # Whoever only imitates needs no noise; half of the trials have some, for what comes afterwards.
        imitates = self.learner.imitates(self.progress)
        n_quiet = sim.n_sims // 2 if imitates == 1 else 0
        with ranks.together():
            sim.set_tasks(tasks)
            trials = collect_trials(
                sim,
                self.player(sim.n_sims),
                rng,
                self.trial_length,
                piece=self.piece,
                n_quiet=n_quiet,
                knows=self.config.critic == "told" or imitates > 0,
                shows=imitates > 0 and self.learner.teacher is None,
            )
        stats = self.learner.update(trials, self.progress)
        self.num_timesteps += ranks.total(trials.n_steps)
        returns = trials.episode_returns(self.config.n_episodes).mean(axis=0)
        means = {f"return/episode_{e}": float(r) for e, r in enumerate(returns, start=1)}
        return {**ranks.mean(means, len(tasks)), **{f"learn/{k}": v for k, v in stats.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; where a critic was told other things, only what acts."""
        only_acts = state.get("acts_only") or self.learner.can_only_act(state["learner"])
        super().load_state_dict({**state, "acts_only": only_acts})

    def player(self, n: int) -> Player:
        """The policy at the start of n trials."""
        learner = self.learner
        return Player(learner.policy, learner.acting(), learner.normaliser, n)

    def adapter(self) -> "MetaLSTMAdapter":
        """This agent as the evaluator sees it."""
        return MetaLSTMAdapter(self)

    @property
    def evaluation_size(self) -> tuple[int, int]:
        """The episodes of a trial, in a few trials of each task."""
        return self.config.n_episodes, N_TRIALS

    @property
    def trained_column(self) -> int:
        """The last episode of a trial."""
        return self.config.n_episodes - 1

    @property
    def shown_columns(self) -> tuple[int, ...]:
        """Every episode of a trial, at most four."""
        return tuple(range(self.config.n_episodes))[:4]

    @plain_torch()
    def attention(self, episodes: Sequence[Trajectories], k: int) -> list[np.ndarray] | None:
        """How the memory was read in row k of a trial's episodes, (L, slots) each, mean over heads."""
        lengths = [int(e.valid[:, k].sum()) for e in episodes]
        trial = Trials.empty(sum(lengths), 1, self.family.obs_dim, self.family.action_dim)
        for name in ("obs", "action", "reward", "episode_start"):
            rows = [getattr(e, name)[:n, k] for e, n in zip(episodes, lengths, strict=True)]
            getattr(trial, name)[:, 0] = np.concatenate(rows)
        with torch.inference_mode():
            traces = self.learner.policy.inspect(self.learner.params, self.learner.inputs(trial))
        if "attention" not in traces:
            return None
        weights = traces["attention"][:, 0].mean(dim=1).cpu().numpy()
        return np.split(weights, np.cumsum(lengths)[:-1])

    @plain_torch()
    def adapt(
        self,
        task_or_env: Mapping[str, Any] | gymnasium.Env,
        n_episodes: int | None = None,
        seed: int = PREDICTION_SEED,
    ) -> "MetaLSTMPolicy":
        """Play the first episodes of a trial, and hand over the policy that remembers them.

        Args:
            task_or_env: task values by name, simulated here, or a Gymnasium environment of the
                same robot, which is stepped.
            n_episodes: how many; None for all but one of a training trial's.
            seed: of initial states.

        Returns:
            The policy, whose next step begins the next episode of that trial.

        Raises:
            InputError: no such task, an environment of another robot, or a number out of range.
        """
        n_episodes = self.config.n_episodes - 1 if n_episodes is None else whole("n_episodes", n_episodes)
        rng, player = np.random.default_rng(checked_seed(seed)), self.player(1)
        collect = partial(collect_episode, player=player, rng=rng, deterministic=True)
        act = partial(_mean, player)
        with torch.inference_mode():
            task = first_episodes(self, task_or_env, n_episodes, rng, act, player.feel, collect)
        return MetaLSTMPolicy(self, player.state, adapted={"episodes": n_episodes}, task=task)

    @plain_torch()
    def adapt_to_recorded(self, recordings: Sequence[Trajectories]) -> "MetaLSTMPolicy":
        """The policy that remembers recorded episodes, one after the other, as those of one trial.

        Args:
            recordings: as `read_recording` gives them.
        """
        player = self.player(1)
        with torch.inference_mode():
            adapted = relive(player, recordings)
        return MetaLSTMPolicy(self, player.state, adapted=adapted)

    def predict(
        self,
        obs: np.ndarray,
        state: TrialState | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
        reward: float | np.ndarray | None = None,
    ) -> tuple[np.ndarray, TrialState]:
        """Actions of the policy, from the start of a trial; see `MetaLSTMPolicy.predict`."""
        policy = MetaLSTMPolicy(self, rng=self.prediction_rng)
        return policy.predict(obs, state, episode_start, deterministic, reward)

    def policy(self) -> "MetaLSTMPolicy":
        """The policy at the start of a trial, to act with."""
        return MetaLSTMPolicy(self)


def _mean(player: Player, obs: np.ndarray, episode_start: np.ndarray) -> np.ndarray:
    """What a policy does without noise, (N, action_dim)."""
    return player.decide(obs, episode_start).mean.numpy()


class MetaLSTMPolicy(Remembering):
    """A policy with a memory at some point of a trial, to act with."""

    agent: MetaLSTM
    state: TrialState | None

    def graph(self, attention: bool = False) -> RememberingGraph:
        """What it does at a step, from where it begins; with how the memory was read, if that is wanted."""
        player = self.agent.player(1)
        start = self.state or player.state
        return RememberingGraph(player.policy, player.params, player.normaliser, start, attention)

    def describe(self) -> dict[str, Any]:
        """Where it comes from, and whether it looks at rewards."""
        return {**super().describe(), "reward_input": self.agent.config.reward_input}

    @plain_torch()
    def predict(
        self,
        obs: np.ndarray,
        state: TrialState | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
        reward: float | np.ndarray | None = None,
    ) -> tuple[np.ndarray, TrialState]:
        """Actions for one observation (obs_dim,) or several (N, obs_dim), as in Stable-Baselines3.

        Args:
            obs: what is seen now.
            state: what the last call gave; None where this policy begins.
            episode_start: (N,) bool, which observations are the first of an episode of the same
                trial; None for all of them at the beginning, and none later.
            deterministic: act by the mean.
            reward: (N,) what the last step gave, from which the policy learns about its task;
                needed with a state.

        Returns:
            Actions (action_dim,) or (N, action_dim) in [-1, 1], and the state for the next call.

        Raises:
            InputError: a state came without a reward, or is another agent's.
        """
        rows = as_rows(obs, self.agent.family.obs_dim)
        player = self.agent.player(len(rows))
        first = as_starts(episode_start, len(rows), state is None)
        if state is not None:
            check_state(state, player.state)
            player.state = state.rewarded(as_rewards(reward, len(rows)))
        elif self.state is not None:
            player.state = self.state.expand(len(rows))
        with torch.inference_mode():
            decision = player.decide(rows, first)
            mean, std = decision.mean.numpy(), decision.log_std.exp().numpy()
        action = mean if deterministic else mean + std * self.rng.standard_normal(mean.shape)
        action = np.clip(action, -1, 1).astype(np.float32)
        player.feel(action, np.zeros(len(rows), np.float32))
        return action.reshape(*np.shape(obs)[:-1], -1), player.state


class MetaLSTMAdapter:
    """A Meta-LSTM as the evaluator sees it: a column is one more episode of the trial.

    Args:
        agent: whose parameters.
        deterministic: act by the mean.
    """

    column = EPISODES
    shares_episodes = False

    def __init__(self, agent: MetaLSTM, deterministic: bool = True):
        self.agent, self.deterministic = agent, deterministic
        self.player: Player | None = None

    def title(self, column: int) -> str:
        """When a column's episodes are played, in words."""
        return column_title(self.column, column)

    def begin(self, tasks: Sequence[Task], rng: np.random.Generator) -> None:
        """Forget everything: K new tasks."""
        self.rng = rng
        self.player = None

    @plain_torch()
    def collect(self, sim: World, rng: np.random.Generator) -> Trajectories:
        """The next episode of every trial."""
        self.player = self.player or self.agent.player(sim.n_sims)
        return collect_episode(sim, self.player, rng, self.deterministic, self.rng)

    def adapt(self, episodes: Trajectories) -> None:
        """Nothing to do: what was learned is in the memory."""
