"""Policies before Meta-World's own evaluation of meta-learners, `metaworld.evaluation`.

It needs Meta-World, see `metarl.envs.others.metaworld`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from metarl.envs import TaskFamily
from metarl.envs.others.metaworld import N_GOALS, SEED, MetaWorld
from metarl.errors import InputError
from metarl.learners.agent import Agent
from metarl.learners.maml.agent import MAML
from metarl.learners.meta_lstm.agent import MetaLSTM
from metarl.policies.gaussian import log_prob
from metarl.sampling.trajectories import Trajectories
from metarl.threads import plain_torch

PER_WORLD = {"ML1": 10}  # simulations of an environment that are judged at once; of the others fewer
FEWER = 2
AROUND = 2  # numbers that Meta-World shows beside observation and action: the reward and whether it ended


@dataclass(frozen=True)
class TheirJudgement:
    """What Meta-World's evaluation found.

    Attributes:
        success: share of evaluation episodes in which the goal was reached, which ends them.
        mean_return: over these episodes.
        by_world: success by environment.
        n_tasks: goals that were judged, as many as the benchmark has at most.
        n_adapting: episodes of each before that.
    """

    success: float
    mean_return: float
    by_world: Mapping[str, float]
    n_tasks: int
    n_adapting: int


def check_metaworld(family: TaskFamily) -> None:
    """Raise InputError unless a family is one of Meta-World's benchmarks."""
    if not isinstance(family, MetaWorld):
        raise InputError(f"Meta-World judges on its own benchmarks, and {family.name} is none of them")


def judged_by_metaworld(agent: Agent, n_evaluations: int = 2, n_episodes: int = 3) -> TheirJudgement:
    """Let Meta-World judge an agent on its test goals.

    Args:
        agent: trained on one of its benchmarks.
        n_evaluations: how often all simulations get a new goal.
        n_episodes: of each goal, after adaptation.

    Raises:
        InputError: the agent was trained on something else, or nobody can judge it here.
    """
    check_metaworld(agent.family)
    family = cast(MetaWorld, agent.family)
    if isinstance(agent, MAML):
        client: _Client = _MAMLClient(agent)
    elif isinstance(agent, MetaLSTM):
        client = _MetaLSTMClient(agent)
    else:
        raise InputError(f"a {agent.name} policy has no client for Meta-World's evaluation")
    from metaworld import make_ml_envs_test
    from metaworld.evaluation import metalearning_evaluation

    each = PER_WORLD.get(family.benchmark_name, FEWER)  # divides the goals, which Meta-World insists on
    n = each * len(family.benchmark.test_classes)
    envs = make_ml_envs_test(
        family.world or family.benchmark_name,
        seed=SEED,
        meta_batch_size=n,
        recurrent_info_in_obs=client.recurrent,
        normalize_reward_in_recurrent_info=False,
    )
    try:
        success, mean_return, by_world = metalearning_evaluation(
            client,
            envs,
            num_evals=n_evaluations,
            adaptation_steps=client.n_steps,
            adaptation_episodes=client.n_episodes,
            evaluation_episodes=n_episodes,
        )
    finally:
        envs.close()
    shares = {name: float(share) for name, share in by_world.items()}
    n_tasks = min(n_evaluations * n, N_GOALS * len(shares))
    return TheirJudgement(success, mean_return, shares, n_tasks, client.n_steps * client.n_episodes)


class _Client:
    """What Meta-World asks of a meta-learner, in its own words.

    Attributes:
        recurrent: it has to be shown its last action and reward.
        n_steps: of adaptation.
        n_episodes: of each goal for one.
    """

    recurrent: bool
    n_steps: int
    n_episodes: int

    def init(self) -> None:
        """New goals."""
        raise NotImplementedError

    def adapt_action(self, observations: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Explore."""
        raise NotImplementedError

    def step(self, timestep: Any) -> None:
        """See what came of it."""

    def adapt(self) -> None:
        """Adapt to what was seen."""

    def eval_action(self, observations: np.ndarray) -> np.ndarray:
        """Act, adapted."""
        raise NotImplementedError

    def reset(self, env_mask: np.ndarray) -> None:
        """Evaluation episodes begin."""


class _MAMLClient(_Client):
    recurrent = False

    def __init__(self, agent: MAML):
        self.learner, config = agent.learner, agent.config
        self.n_steps, self.n_episodes = config.inner_steps, config.n_episodes
        self.rng = np.random.default_rng(0)

    def init(self) -> None:
        self.params: Any = None
        self.taken = 0
        self.seen: list[Any] = []

    @plain_torch()
    def _gaussian(self, observations: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log standard deviation of each goal's own policy, (N, action_dim) each."""
        learner = self.learner
        self.params = learner.initial(len(observations)) if self.params is None else self.params
        with torch.inference_mode():
            seen = torch.from_numpy(observations.astype(np.float32)).to(learner.device)
            mean, log_std = learner.policy.mean_std(self.params, learner.normaliser(seen)[:, None])
        return mean[:, 0].cpu(), log_std.expand_as(mean)[:, 0].cpu()

    def adapt_action(self, observations: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        mean, log_std = self._gaussian(observations)
        noise = torch.from_numpy(self.rng.standard_normal(mean.shape, dtype=np.float32))
        action = mean + log_std.exp() * noise
        own = {"action": action.numpy(), "log_prob": log_prob(mean, log_std, action).numpy()}
        return np.clip(own["action"], -1, 1), own

    def step(self, timestep: Any) -> None:
        self.seen.append(timestep)

    def adapt(self) -> None:
        self.taken += 1
        self.params = self.learner.adapt(self.params, _episodes(self.seen, self.n_episodes), self.taken)
        self.seen = []

    def eval_action(self, observations: np.ndarray) -> np.ndarray:
        return np.clip(self._gaussian(observations)[0].numpy(), -1, 1)


def _episodes(seen: list[Any], n_episodes: int) -> Trajectories:
    """Episodes of N goals as MAML has them: those of a goal side by side, goal by goal."""
    length = len(seen) // n_episodes

    def rows(name: str, own: bool = False) -> np.ndarray:
        columns = [t.aux_policy_outputs[name] if own else getattr(t, name) for t in seen]
        array = np.stack(columns).reshape(n_episodes, length, len(columns[0]), *columns[0].shape[1:])
        array = np.moveaxis(array, 0, 2)  # (length, N, E, ...)
        return array.reshape(length, -1, *array.shape[3:])

    obs, action = rows("observation"), rows("action", own=True)
    out = Trajectories.empty(length, obs.shape[1], obs.shape[2], action.shape[2])
    out.obs[:], out.action[:], out.log_prob[:] = obs, action, rows("log_prob", own=True)
    out.reward[:], out.terminated[:], out.truncated[:] = rows("reward"), rows("terminated"), rows("truncated")
    out.valid[:] = out.episode_start[0] = out.trial_start[0] = True
    return out


class _MetaLSTMClient(_Client):
    """Every evaluation episode begins with what is remembered of the adaptation's, and of no other."""

    recurrent = True
    n_steps = 1

    def __init__(self, agent: MetaLSTM):
        self.agent, self.n_episodes = agent, max(1, agent.config.n_episodes - 1)

    def init(self) -> None:
        self.player: Any = None
        self.adapted: Any = None

    @plain_torch()
    def _act(self, observations: np.ndarray) -> np.ndarray:
        obs_dim, n = self.agent.family.obs_dim, len(observations)
        if self.player is None:
            self.player, self.start = self.agent.player(n), np.ones(n, bool)
            self.action = np.zeros((n, self.agent.family.action_dim), np.float32)
        else:
            self.player.feel(self.action, observations[:, -AROUND].astype(np.float32), ~self.start)
        with torch.inference_mode():
            seen = observations[:, :obs_dim].astype(np.float32)
            self.action = self.player.decide(seen, self.start).mean.numpy()
        self.start = np.zeros(n, bool)
        return np.clip(self.action, -1, 1)

    def adapt_action(self, observations: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return self._act(observations), {}

    def step(self, timestep: Any) -> None:
        ended = timestep.terminated | timestep.truncated
        if ended.any():  # what it shows next is of another episode: the last reward is told here
            self.player.feel(self.action, np.asarray(timestep.reward, np.float32), ended)
            self.start = ended

    def adapt(self) -> None:
        self.adapted = self.player.state

    def eval_action(self, observations: np.ndarray) -> np.ndarray:
        return self._act(observations)

    def reset(self, env_mask: np.ndarray) -> None:
        """Go back to where adaptation has ended."""
        if self.adapted is None or not env_mask.any():
            return
        self.player.state = self.adapted.where(torch.from_numpy(env_mask), self.player.state)
        self.start = self.start | env_mask
