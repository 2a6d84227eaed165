"""The meta-model at work: the training loop, acting by it, and its evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
import torch
from typing_extensions import Self

from metarl.envs import InputError, Task, World
from metarl.learners.acting import PREDICTION_SEED, Remembering, first_episodes, relive
from metarl.learners.adapter import ADAPTING, column_title
from metarl.learners.agent import Agent
from metarl.learners.given import as_rewards, as_rows, as_starts, check_state
from metarl.learners.meta_model.actor_critic import CRITICS
from metarl.learners.meta_model.config import MetaModelConfig
from metarl.learners.meta_model.graph import ModelGraph
from metarl.learners.meta_model.learner import MetaModelLearner
from metarl.learners.meta_model.planner.icem import colours
from metarl.learners.meta_model.player import ModelPlayer, TrialState
from metarl.learners.meta_model.robot import Robot
from metarl.ranges import checked_seed, whole
from metarl.sampling.episodes import play
from metarl.sampling.trajectories import Trajectories
from metarl.sampling.transitions import Transitions, collect_transitions
from metarl.threads import plain_torch, thread_pool, torch_threads

N_TRIALS = 2  # of each task in an evaluation
WARM_UP_STD = 0.3, 1.0  # of the random actions of a trial


class MetaModel(Agent):
    """Meta-trains a model of the robot that adapts, and acts by it (see `Agent` for the arguments).

    Example:
        >>> agent = MetaModel("HalfCheetahDamage", seed=0).learn(200_000, progress_bar=True)
        >>> action, state = agent.predict(obs)  # a trial begins
        >>> action, state = agent.predict(obs, state, reward=reward)  # and goes on
    """

    name = "meta-model"
    config_class = MetaModelConfig
    remembers = True
    usual_steps = 200_000  # it learns from each of them many times
    learner: MetaModelLearner

    @classmethod
    def n_least(cls, config: MetaModelConfig) -> int:
        """Weights between the model's layers, and between those of the policy and its critics."""
        model = config.members * sum(a * b for a, b in pairwise(config.hidden))
        networks = 0 if config.act == "planner" else 1 + len(CRITICS)
        return model + networks * config.policy_width**2

    def build_learner(self) -> MetaModelLearner:
        """The learner for this robot."""
        if self.device != "cpu":
            raise InputError("the meta-model computes on the CPU; leave --device out")
        return MetaModelLearner(Robot.of(self.family), self.config, self.seed)

    @property
    def n_sims(self) -> int:
        """One a trial."""
        return self.config.n_trials

    @property
    def steps_per_iteration(self) -> int:
        """A horizon in every trial."""
        return self.n_sims * self.family.horizon

    def iterate(self) -> dict[str, float]:
        """Sample a task for every trial, act in it, and learn from all trials so far."""
        sim, learner = self.sim, self.learner
        sim.set_tasks(self.draw(sim.n_sims)[0])
        new = self._wander() if self.iterations < self.config.warm_up else self._act()
        learner.remember(new)
        self.num_timesteps += new.n_steps
        stats = learner.update(self.config.updates)
        stats |= learner.practise(round(self.config.replay * new.n_steps))
        return {"return/episode_1": new.mean_return(), **{f"learn/{k}": v for k, v in stats.items()}}

    def _wander(self) -> Transitions:
        """Trials of random actions, from which who acts later takes his bearings.

        They are smooth for a planner, whose own are; a policy learns sooner from uniform ones.
        """
        n, length, rng = self.n_sims, self.family.horizon, self.rng
        if self.config.act == "planner":
            white = rng.standard_normal((n, self.family.action_dim, length), dtype=np.float32)
            with torch_threads(1):
                smooth = (torch.from_numpy(white) @ colours(length, self.config.colour)).numpy()
            action = smooth * rng.uniform(*WARM_UP_STD, (n, 1, 1)).astype(np.float32)
        else:
            action = rng.uniform(-1, 1, (n, self.family.action_dim, length)).astype(np.float32)
        steps = iter(range(length))
        return collect_transitions(
            self.sim, lambda obs, first: action[:, :, next(steps)], lambda *felt: None, rng, length
        )

    def _act(self) -> Transitions:
        """Trials of the policy's actions, drawn, or of planned ones with a little noise."""
        with thread_pool() as pool:
            player = ModelPlayer(self.learner, self.n_sims, self.rng, pool=pool)

            def act(obs: np.ndarray, first: np.ndarray) -> np.ndarray:
                return player.decide(obs, first, explores=True)

            return collect_transitions(self.sim, act, player.feel, self.rng, self.family.horizon)

    def headline(self, stats: Mapping[str, float]) -> str:
        """Return in training, and how wrong the model is."""
        return f"return {stats['return/episode_1']:.1f}, error {stats['learn/error_1']:.2g}"

    def act_by(self, who: str) -> Self:
        """Let somebody else act from now on than in training: "policy", "planner" or "both"; this agent.

        Raises:
            InputError: a policy is to act, and none was trained.
        """
        if who != "planner" and self.learner.policy is None:
            raise InputError(
                f"no policy was trained that could act ({who}): this model was trained for a planner"
            )
        self.config = self.learner.config = replace(self.config, act=who)
        return self

    def adapter(self) -> "MetaModelAdapter":
        """This agent as the evaluator sees it."""
        return MetaModelAdapter(self)

    @property
    def evaluation_size(self) -> tuple[int, int]:
        """An episode without adaptation, then those of a trial, in a few trials of each task."""
        return 1 + self.config.n_episodes, N_TRIALS

    @property
    def trained_column(self) -> int:
        """The first episode of a trial."""
        return 1

    @property
    def shown_columns(self) -> tuple[int, ...]:
        """Without adaptation, and the first episodes of a trial."""
        return tuple(range(1 + self.config.n_episodes))[:4]

    @plain_torch()
    def adapt(
        self,
        task_or_env: Mapping[str, Any] | gymnasium.Env,
        n_episodes: int = 1,
        seed: int = PREDICTION_SEED,
    ) -> "MetaModelPolicy":
        """Play the first episodes of a trial, and hand over the policy that has adapted to them.

        Args:
            task_or_env: task values by name, simulated here, or a Gymnasium environment of the
                same robot, which is stepped.
            n_episodes: how many.
            seed: of initial states and of planning.

        Returns:
            The policy, whose next step begins the next episode of that trial.

        Raises:
            InputError: no such task, an environment of another robot, or a number out of range.
        """
        n_episodes = whole("n_episodes", n_episodes)
        rng = np.random.default_rng(checked_seed(seed))
        player = ModelPlayer(self.learner, 1, rng)
        collect = partial(collect_planned, player=player, rng=rng)
        task = first_episodes(self, task_or_env, n_episodes, rng, player.decide, player.feel, collect)
        return MetaModelPolicy(self, TrialState(player.state, 0), adapted={"episodes": n_episodes}, task=task)

    @plain_torch()
    def adapt_to_recorded(self, recordings: Sequence[Trajectories]) -> "MetaModelPolicy":
        """The policy that has adapted to recorded episodes, one after the other, as those of one trial.

        Args:
            recordings: as `read_recording` gives them.
        """
        player = ModelPlayer(self.learner, 1, np.random.default_rng(PREDICTION_SEED))
        adapted = relive(player, recordings)
        return MetaModelPolicy(self, TrialState(player.state, 0), adapted=adapted)

    def policy(self) -> "MetaModelPolicy":
        """Who acts, at the start of a trial."""
        return MetaModelPolicy(self)

    def predict(
        self,
        obs: np.ndarray,
        state: TrialState | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
        reward: float | np.ndarray | None = None,
    ) -> tuple[np.ndarray, TrialState]:
        """Actions, from the start of a trial; see `MetaModelPolicy.predict`."""
        policy = MetaModelPolicy(self, rng=self.prediction_rng)
        return policy.predict(obs, state, episode_start, deterministic, reward)


def collect_planned(
    sim: World, player: ModelPlayer, rng: np.random.Generator, explores: bool = False
) -> Trajectories:
    """The next episode of every trial; rows whose episode ends early are padded and wait.

    Args:
        sim: N simulations, tasks already set.
        player: in N trials.
        rng: draws initial states.
        explores: with the noise that actions have in training.
    """
    robot = player.learner.robot
    out = Trajectories.empty(sim.family.horizon, sim.n_sims, robot.obs_dim, robot.action_dim)
    for t, going in play(sim, out, rng, player.feel):
        out.action[t] = player.decide(out.obs[t], out.episode_start[t], going, explores)
    return out


class MetaModelPolicy(Remembering):
    """A model at some point of a trial, to act by."""

    agent: MetaModel
    state: TrialState | None

    def graph(self, attention: bool = False) -> ModelGraph:
        """What it does at a step, from where it begins.

        Raises:
            InputError: a planner acts, or attention is wanted, which there is none of.
        """
        learner = self.agent.learner
        if learner.policy is None or learner.config.act != "policy":
            raise InputError(
                "a planner tries thousands of steps before each of its own, which no file or page can hold; "
                "train with --act policy, or, after --act both, let its policy act (--act policy here, too)"
            )
        if attention:
            raise InputError("a meta-model has no slots to look at")
        start = self.state.state if self.state else ModelPlayer(learner, 1, self.rng).state
        return ModelGraph(learner, learner.policy, start)

    def describe(self) -> dict[str, Any]:
        """Where it comes from, and whether it looks at rewards."""
        return {**super().describe(), "reward_input": self.agent.learner.model.context > 0}

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
            deterministic: act by the policy's mean, or as planned; else with the noise of training.
            reward: (N,) what the last step gave, from which the model learns about its task;
                needed with a state.

        Returns:
            Actions (action_dim,) or (N, action_dim) in [-1, 1], and the state for the next call.

        Raises:
            InputError: a state came without a reward, or is another agent's.
        """
        rows = as_rows(obs, self.agent.family.obs_dim)
        player = ModelPlayer(self.agent.learner, len(rows), self.rng)
        if state is not None:
            check_state(state, TrialState(player.state, 0))
        begun = state or self.state
        n_steps = begun.n_steps if begun else 0
        if deterministic:
            player.rng = np.random.default_rng([PREDICTION_SEED, n_steps])
        first = as_starts(episode_start, len(rows), state is None)
        if state is not None:
            player.state = {**state.state, "last/reward": as_rewards(reward, len(rows))}
        elif self.state is not None:
            player.state = {k: x.expand(len(rows), *x.shape[1:]) for k, x in self.state.state.items()}
        action = player.decide(rows, first, explores=not deterministic)
        player.feel(action, np.zeros(len(rows), np.float32))
        return action.reshape(*np.shape(obs)[:-1], -1), TrialState(player.state, n_steps + 1)


class MetaModelAdapter:
    """A meta-model as the evaluator sees it: an episode without adaptation, then the episodes of a trial.

    Args:
        agent: whose model.
        deterministic: act by the policy's mean, or as planned, without noise.
    """

    column = ADAPTING
    shares_episodes = False

    def __init__(self, agent: MetaModel, deterministic: bool = True):
        self.agent, self.deterministic = agent, deterministic

    def title(self, column: int) -> str:
        """When a column's episodes are played, in words."""
        return column_title(self.column, column)

    def begin(self, tasks: Sequence[Task], rng: np.random.Generator) -> None:
        """Forget everything: K new tasks."""
        self.rng, self.adapts = rng, False
        self.player: ModelPlayer | None = None

    @plain_torch()
    def collect(self, sim: World, rng: np.random.Generator) -> Trajectories:
        """The next episode of every trial."""
        learner = self.agent.learner
        self.player = self.player or ModelPlayer(learner, sim.n_sims, self.rng, self.adapts)
        with thread_pool() as self.player.pool:
            return collect_planned(sim, self.player, rng, not self.deterministic)

    def adapt(self, episodes: Trajectories) -> None:
        """What was learned is in the trial; but the episode without adaptation is no part of it."""
        if not self.adapts:
            self.adapts, self.player = True, None
