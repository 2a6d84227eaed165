"""Sampling with a policy that remembers."""

import numpy as np
import torch

from envs import BatchSim
from metarl.collect import draw_noise, play, torch_threads
from metarl.meta_lstm import InputNormaliser
from metarl.policies import Params
from metarl.recurrent_policy import Decision, RecurrentPolicy, choose
from metarl.trajectories import Trajectories, Trials


class Player:
    """A policy in the midst of N trials: what it has to carry from one step to the next.

    Args:
        policy: the policy's sizes.
        params: its parameters, on the CPU.
        normaliser: of its inputs; not updated.
        n: trials.

    Attributes:
        memory: the policy's memory now.
        last: of the step before, "obs" (N, obs_dim), "action" (N, action_dim), "reward" (N,), and the
            "first" (N,) of an episode or not; and the "reward_before" (N,) it.
    """

    def __init__(self, policy: RecurrentPolicy, params: Params, normaliser: InputNormaliser, n: int):
        self.policy, self.params, self.normaliser = policy, params, normaliser
        self.memory = policy.start(params, n)
        self.last = {
            "obs": torch.zeros(n, policy.obs_dim),
            "action": torch.zeros(n, policy.action_dim),
            "reward": torch.zeros(n),
            "reward_before": torch.zeros(n),
            "first": torch.ones(n, dtype=torch.bool),
        }

    def decide(self, obs: np.ndarray, episode_start: np.ndarray, live: np.ndarray | None = None) -> Decision:
        """What to do now, remembering it.

        Args:
            obs: (N, obs_dim).
            episode_start: (N,) bool, obs is the first of an episode.
            live: (N,) bool, the trials that go on; the memory of the others stays. None is all.
        """
        obs = torch.tensor(obs)  # a copy, kept for the next step: whoever gave it may overwrite it
        episode_start = torch.from_numpy(episode_start)
        last = self.last
        step = obs - last["obs"]
        gain = torch.where(last["first"], 0, last["reward"] - last["reward_before"])
        change = torch.where(episode_start[:, None], 0, torch.cat([step, gain[:, None]], 1))
        x = self.normaliser(obs, last["action"], last["reward"], episode_start, change)
        self.last = {**last, "obs": obs, "first": episode_start}
        decision, memory = self.policy.act(self.params, self.memory, x)
        self.memory = memory if live is None else choose(torch.from_numpy(live), memory, self.memory)
        return decision

    def feel(self, action: np.ndarray, reward: np.ndarray, live: np.ndarray | None = None) -> None:
        """Take in what was done, (N, action_dim), and what came of it, (N,)."""
        felt = {
            "action": torch.from_numpy(action),
            "reward": torch.from_numpy(reward),
            "reward_before": self.last["reward"],
        }
        if live is not None:
            felt = choose(torch.from_numpy(live), felt, self.last)
        self.last = {**self.last, **felt}


def collect_trials(
    sim: BatchSim, player: Player, rng: np.random.Generator, length: int, deterministic: bool = False
) -> Trials:
    """One trial in each simulation; a new episode begins wherever one has ended.

    Args:
        sim: N simulations, tasks already set.
        player: at the start of N trials.
        rng: draws initial states and actions.
        length: steps of a trial, T.
        deterministic: act by the mean.
    """
    n = sim.n_sims
    out = Trials.empty(length, n, player.policy.obs_dim, player.policy.action_dim)
    noise = draw_noise(rng, out, deterministic)
    with torch_threads(1), torch.inference_mode():
        obs, ended = sim.reset(rng), np.ones(n, bool)
        out.trial_start[0] = out.valid[:] = True
        for t in range(length):
            out.obs[t], out.episode_start[t] = obs, ended
            decision = player.decide(obs, ended)
            std = decision.log_std.exp().numpy()
            np.add(decision.mean.numpy(), std * noise[t], out=out.action[t])
            out.value[t] = decision.value.numpy()
            step = sim.step(out.action[t])
            player.feel(out.action[t], step.reward)
            out.reward[t], out.terminated[t], out.truncated[t] = step.reward, step.terminated, step.truncated
            ended = step.terminated | step.truncated
            if t < length - 1:
                obs = sim.reset(rng, ended) if ended.any() else step.obs
        out.truncated[-1] = ~out.terminated[-1]
        out.value[-1] = player.decide(step.obs, np.zeros(n, bool)).value.numpy()
    out.log_prob[:] = _log_density(noise, std)
    return out


def collect_episode(
    sim: BatchSim,
    player: Player,
    rng: np.random.Generator,
    deterministic: bool,
    noise_rng: np.random.Generator | None = None,
) -> Trajectories:
    """The next episode of every trial; rows whose episode ends early are padded and wait.

    Args:
        sim: N simulations, tasks already set.
        player: in N trials.
        rng: draws initial states and actions.
        deterministic: act by the mean.
        noise_rng: draws actions instead, so that whoever acts meets the same initial states.
    """
    out = Trajectories.empty(sim.family.horizon, sim.n_sims, player.policy.obs_dim, player.policy.action_dim)
    noise = draw_noise(noise_rng or rng, out, deterministic)
    with torch_threads(1), torch.inference_mode():
        for t, going in play(sim, out, rng, player.feel):
            decision = player.decide(out.obs[t], out.episode_start[t], going)
            std = decision.log_std.exp().numpy()
            np.add(decision.mean.numpy(), std * noise[t], out=out.action[t])
    out.log_prob[:] = _log_density(noise, std)
    return out


def _log_density(noise: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Return log N(mean + std * noise; mean, std), (T, N)."""
    return -0.5 * np.square(noise).sum(-1) - np.log(std * np.sqrt(2 * np.pi)).sum()
