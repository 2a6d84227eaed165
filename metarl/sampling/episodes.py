"""Sampling: a simulator and a policy give Trajectories."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch

from metarl.envs import InputError, World
from metarl.policies.gaussian import GaussianMLP, Params, settled
from metarl.policies.normaliser import Normaliser
from metarl.sampling.known import Known
from metarl.sampling.trajectories import Trajectories
from metarl.threads import torch_threads

Feel = Callable[[np.ndarray, np.ndarray, np.ndarray | None], None]


def collect(
    sim: World,
    policy: GaussianMLP,
    params: Params,
    normaliser: Normaliser,
    rng: np.random.Generator,
    deterministic: bool = False,
    noise_rng: np.random.Generator | None = None,
    knows: bool = False,
    shows: bool = False,
) -> Trajectories:
    """One episode in each simulation, under K adapted policies.

    Args:
        sim: N = K * E simulations, task k in rows k * E ... k * E + E - 1, tasks already set.
        policy: the policy's sizes.
        params: its parameters, (K, ...), on any device.
        normaliser: of the observations; not updated.
        rng: draws initial states and actions.
        deterministic: act by the mean.
        noise_rng: draws actions instead, so that whoever acts meets the same initial states.
        knows: what may be known of the tasks in training is kept.
        shows: what the family's expert would have done is kept.

    Returns:
        Trajectories of T = horizon steps, padded where an episode ended early.
    """
    n, horizon = sim.n_sims, sim.family.horizon
    obs_dim, action_dim = policy.obs_dim, policy.action_dim
    out = Trajectories.empty(horizon, n, obs_dim, action_dim)
    noise = draw_noise(noise_rng or rng, out, deterministic)
    folded = fold(params, normaliser)
    n_tasks = len(folded["log_std"])
    per_task = torch.from_numpy(out.obs).view(horizon, n_tasks, -1, obs_dim)
    std = folded["log_std"].clamp(min=np.log(policy.min_std)).exp()
    scaled = torch.from_numpy(noise).view(horizon, n_tasks, -1, action_dim) * std
    action = torch.from_numpy(out.action).view(horizon, n_tasks, -1, action_dim)
    known = Known(sim, horizon, knows, shows)
    out.trial_start[0] = True
    with torch_threads(1), torch.inference_mode():
        for t, _ in play(sim, out, rng):
            known.look(t)
            mean, _ = policy.mean_std(folded, per_task[t])
            torch.add(mean, scaled[t], out=action[t])
    # log N(a; mean, std) = -||noise||^2 / 2 - sum log std - log sqrt(2 pi)^d, with the noise at hand
    log_std = np.repeat(std.log().sum(-1).numpy(), n // n_tasks)
    out.log_prob[:] = -0.5 * np.square(noise).sum(-1) - log_std - 0.5 * np.log(2 * np.pi) * action_dim
    return replace(out, told=known.told, shown=known.shown)


def draw_noise(rng: np.random.Generator, out: Trajectories, deterministic: bool) -> np.ndarray:
    """Standard normal numbers for every action, or zeros, (T, N, action_dim)."""
    if deterministic:
        return np.zeros_like(out.action)
    return rng.standard_normal(out.action.shape, dtype=np.float32)


def play(
    sim: World, out: Trajectories, rng: np.random.Generator, feel: Feel | None = None
) -> Iterator[tuple[int, np.ndarray | None]]:
    """One episode in each simulation; rows whose episode ends early are padded and wait.

    Args:
        sim: N simulations, tasks already set.
        out: empty, T steps long; where everything is written. Whoever iterates fills out.action[t].
        rng: draws initial states.
        feel: told after every step what was done, what came of it, and which episodes were going on.

    Yields:
        t, when out.obs[t] is there and out.action[t] is needed; and the episodes going on, (N,) bool, or
        None if all are.
    """
    check_robot(sim, out)
    obs, live = sim.reset(rng), np.ones(sim.n_sims, bool)
    out.episode_start[0] = True
    for t in range(len(out.obs)):
        out.obs[t], out.valid[t] = obs, live
        going = None if live.all() else live
        yield t, going
        step = sim.step(out.action[t], going)
        if feel is not None:
            feel(out.action[t], step.reward, going)
        out.reward[t] = step.reward * live
        out.terminated[t], out.truncated[t] = step.terminated & live, step.truncated & live
        obs, live = step.obs, live & ~(step.terminated | step.truncated)
        if not live.any():
            break


def check_robot(sim: World, out: Trajectories) -> None:
    """Raise InputError if a policy, for which `out` was made, is another robot's than the simulations'."""
    policy, robot = (out.obs.shape[-1], out.action.shape[-1]), (sim.family.obs_dim, sim.family.action_dim)
    if policy != robot:
        raise InputError(
            f"the policy is of another robot: it sees {policy[0]} numbers and gives {policy[1]}, "
            f"{sim.family.name} shows {robot[0]} and takes {robot[1]}"
        )


def fold(params: Params, normaliser: Normaliser) -> Params:
    """CPU parameters that take raw observations: the normaliser goes into the first layer."""
    cpu = {k: p.detach().cpu() for k, p in settled(params).items()}
    mean, std = normaliser.scale()
    weight = cpu["w0"] / std[:, None]
    return {**cpu, "w0": weight, "b0": cpu["b0"] - (mean[:, None] * weight).sum(-2, keepdim=True)}
