"""Looking at a model's predictions: how far off they are as a trial goes on, and what adapting is worth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from metarl.envs import Task, simulate
from metarl.learners.meta_model.adaptation import adapt
from metarl.learners.meta_model.agent import MetaModel
from metarl.learners.meta_model.imagination import foresee
from metarl.learners.meta_model.player import ModelPlayer
from metarl.learners.meta_model.replay import Replay, Windows
from metarl.sampling.transitions import collect_transitions
from metarl.threads import plain_torch, thread_pool

N_FIRST, N_TIMES = 10, 40  # times at which to predict: the first steps, and some over the whole trial
AHEAD = 10  # steps that are predicted from the model's own predictions
SOME = 256  # predictions at a time
OWN, NOTHING, OTHERS = TOLD = "its own task", "nothing", "another task"


@dataclass(frozen=True)
class Predictions:
    """How wrong a model is, where it has seen its own task's transitions, none, or another task's.

    Errors are squared, in variances of the number that is predicted: 0 is right, 1 is no better than always
    saying the mean. They are of the ensemble's mean, and means over what is observed.

    Attributes:
        time: (S,) steps of the trial before which something is predicted.
        episodes: steps at which an episode of the first trial begins.
        obs: by what it was told, (S, K, H) of the observation so many steps ahead; NaN past an episode's end.
        reward: the same of the reward.
    """

    time: np.ndarray
    episodes: np.ndarray
    obs: dict[str, np.ndarray]
    reward: dict[str, np.ndarray]

    def words(self) -> str:
        """What one sees."""
        off = [[float(mean(self.obs[told][..., k - 1].ravel())) for told in TOLD] for k in (1, AHEAD)]
        (own, nothing, others), later = off
        return (
            f"One step ahead its predictions are off by {own:.2g} of the variance where it has seen {OWN}, "
            f"by {nothing:.2g} where it has seen {NOTHING}, and by {others:.2g} where it has seen {OTHERS}; "
            f"{AHEAD} steps ahead by {', '.join(f'{x:.2g}' for x in later)}."
        )


def mean(errors: np.ndarray) -> np.ndarray:
    """Over the last axis, of those that are numbers; NaN where none is."""
    known = np.isfinite(errors)
    n = known.sum(axis=-1)
    return np.where(n, np.where(known, errors, 0).sum(axis=-1) / np.maximum(n, 1), np.nan)


def predictions(agent: MetaModel, tasks: Sequence[Task], seed: int = 0) -> Predictions:
    """Let the agent act in tasks, and look at what its model would have said.

    Args:
        agent: whose model.
        tasks: K held-out tasks.
        seed: of initial states.

    Returns:
        The errors; with one task there is no other one to be told of, which then is as its own.
    """
    lived = _lived(agent, tasks, seed)
    n, length = lived.parts["reward"].shape
    first = np.arange(min(N_FIRST, length))
    time = np.union1d(first, np.linspace(0, length - 1, N_TIMES).astype(int))
    trial, step = (torch.as_tensor(x.ravel()) for x in np.meshgrid(np.arange(n), time))  # (S * K,)
    window = agent.config.window

    def cut(trial: Tensor, shown: int) -> Windows:
        return lived.cut(trial, step, torch.full_like(step, shown), window, 1, AHEAD)

    own, others = cut(trial, window), cut((trial + 1) % n, window)
    told = {
        OWN: own,
        NOTHING: cut(trial, 0),
        OTHERS: replace(own, seen=others.seen, known=others.known),
    }
    found = {name: _errors(agent, windows, lived) for name, windows in told.items()}
    shape = len(time), n, AHEAD
    return Predictions(
        time,
        np.flatnonzero(lived.parts["episode_start"][0].numpy()),
        {name: obs.reshape(shape) for name, (obs, _) in found.items()},
        {name: reward.reshape(shape) for name, (_, reward) in found.items()},
    )


@plain_torch()
def _lived(agent: MetaModel, tasks: Sequence[Task], seed: int) -> Replay:
    """A trial on each task."""
    rng, length = np.random.default_rng(seed), agent.config.n_episodes * agent.family.horizon
    sim = simulate(agent.family, len(tasks), agent.n_threads)
    sim.set_tasks(tasks)
    lived = Replay(len(tasks) * length)
    with thread_pool() as pool:
        player = ModelPlayer(agent.learner, len(tasks), rng, pool=pool)
        lived.add(collect_transitions(sim, player.decide, player.feel, rng, length))
    return lived


@plain_torch()
def _errors(agent: MetaModel, windows: Windows, lived: Replay) -> tuple[np.ndarray, np.ndarray]:
    """Of the observation and of the reward, (B, AHEAD) each."""
    learner, members = agent.learner, agent.config.members
    params, parts = learner.acting(), lived.parts
    valid = parts["valid"]
    spread = {name: parts[name][valid].var(0).clamp(min=1e-12) for name in ("obs_after", "reward")}
    moving = spread["obs_after"] > 1e-12  # others say nothing
    out: list[tuple[Tensor, Tensor]] = []
    for rows in torch.arange(len(windows.obs)).split(SOME):
        some = windows.at(rows)
        state = adapt(learner.model, params, learner.seen(some, members), agent.config.adapt)
        now = some.obs.expand(members, *some.obs.shape)
        errors = []
        with torch.no_grad():
            for k in range(AHEAD):
                action = some.action[None, :, :, k].expand(members, -1, -1, -1)
                now, reward, _ = foresee(learner.model, learner.scales, state, now, action)
                gap = (now.mean(0) - some.obs_after[:, :, k])[:, 0, moving]
                off = (reward.mean(0) - some.reward[..., k])[:, 0]
                errors.append(
                    ((gap.square() / spread["obs_after"][moving]).mean(-1), off.square() / spread["reward"])
                )
        over = some.valid[:, 0] == 0
        obs, reward = (torch.stack(x, 1).masked_fill(over, torch.nan) for x in zip(*errors, strict=True))
        out.append((obs, reward))
    all_obs, all_rewards = (torch.cat(x).numpy() for x in zip(*out, strict=True))
    return all_obs, all_rewards
