"""Sampling with a policy that remembers."""

from dataclasses import replace

import numpy as np
import torch

from metarl.envs import World
from metarl.policies.player import Player
from metarl.sampling.episodes import check_robot, draw_noise, play
from metarl.sampling.known import Known
from metarl.sampling.trajectories import Trajectories, Trials
from metarl.threads import torch_threads


def collect_trials(
    sim: World,
    player: Player,
    rng: np.random.Generator,
    length: int,
    deterministic: bool = False,
    piece: int | None = None,
    n_quiet: int = 0,
    knows: bool = False,
    shows: bool = False,
) -> Trials:
    """One trial in each simulation; a new episode begins wherever one has ended.

    Args:
        sim: N simulations, tasks already set.
        player: at the start of N trials.
        rng: draws initial states and actions.
        length: steps of a trial, T.
        deterministic: act by the mean.
        n_quiet: trials, the first ones, that act by the mean.
        knows: what may be known of the tasks in training is kept, and the critic is told it.
        shows: what the family's expert would have done is kept.
        piece: steps between two looks at what the policy remembers, which are kept; None keeps none.
    """
    n = sim.n_sims
    out = Trials.empty(length, n, player.policy.obs_dim, player.policy.action_dim)
    check_robot(sim, out)
    noise, memories = draw_noise(rng, out, deterministic), []
    noise[:, :n_quiet] = 0
    known = Known(sim, length, knows, shows)
    with torch_threads(1), torch.inference_mode():
        obs, ended = sim.reset(rng), np.ones(n, bool)
        out.trial_start[0] = out.valid[:] = True
        for t in range(length):
            if piece and t % piece == 0:
                memories.append(player.state.memory)
            out.obs[t], out.episode_start[t] = obs, ended
            known.look(t)
            if knows:
                player.told = torch.from_numpy(known.told[t])
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
        memory = {k: torch.stack([m[k] for m in memories]) for k in player.state.memory if memories}
    out.log_prob[:] = _log_density(noise, std)
    return replace(
        out,
        told=known.told,
        shown=known.shown,
        n_pieces=max(1, len(memories)),
        memory=memory,
    )


def collect_episode(
    sim: World,
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
