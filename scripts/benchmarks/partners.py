"""The closed loop against other ways to step the same robot."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from importlib.util import find_spec

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.vec_env import SubprocVecEnv

from benchmarks.closed_loop import ClosedLoop
from benchmarks.measure import Line, Plan, Skipped, alternate
from metarl.envs import load_family
from metarl.envs.mjlog import no_console
from metarl.policies.gaussian import GaussianMLP, expand
from metarl.threads import torch_threads

OBS_DIM, ACTION_DIM = 17, 6  # of HalfCheetah
ENVPOOL_STEPS = 100  # of all environments, each round


class Actor:
    """The 64x64 policy for other people's environments."""

    def __init__(self):
        self.policy = GaussianMLP(OBS_DIM, ACTION_DIM)
        self.params = expand(self.policy.init(torch.Generator().manual_seed(0)), 1)

    def __call__(self, obs: np.ndarray) -> np.ndarray:
        """Actions (N, 6) for observations (N, 17)."""
        with torch.inference_mode():
            mean, log_std = self.policy.mean_std(self.params, torch.from_numpy(obs).float()[None])
            return (mean + log_std.exp() * torch.randn_like(mean))[0].clamp(-1, 1).numpy()


Reset = Callable[[], np.ndarray]  # -> obs
Step = Callable[[np.ndarray], np.ndarray]  # action -> obs


@contextmanager
def in_async(n: int) -> Iterator[tuple[Reset, Step]]:
    """Gymnasium's AsyncVectorEnv with n workers."""
    with closing(gymnasium.vector.AsyncVectorEnv([_cheetah] * n)) as env:
        yield lambda: env.reset(seed=0)[0], lambda action: env.step(action)[0]


@contextmanager
def in_subproc(n: int) -> Iterator[tuple[Reset, Step]]:
    """Stable-Baselines3's SubprocVecEnv with n workers."""
    with closing(SubprocVecEnv([_cheetah] * n)) as env:
        yield env.reset, lambda action: env.step(action)[0]


def stepping(reset: Reset, step: Step, seconds: float) -> float:
    """Environment steps per second of a policy, on one torch thread as ours, in an environment."""
    act, obs, count = Actor(), reset(), 0
    with torch_threads(1):
        begun = time.perf_counter()
        while time.perf_counter() - begun < seconds:
            obs = step(act(obs))
            count += len(obs)
        return count / (time.perf_counter() - begun)


def _cheetah() -> gymnasium.Env:
    with no_console():  # MuJoCo's remarks on Gymnasium's file
        return gymnasium.make("HalfCheetah-v5")


def _against(
    name: str, title: str, partner: Callable[[int], AbstractContextManager[tuple[Reset, Step]]], plan: Plan
) -> Line:
    """Our closed loop over a partner's, each at its best: ours with all simulations on all threads."""
    speeds = {}
    for n in plan.workers:
        with partner(n) as (reset, step):
            speeds[n] = stepping(reset, step, plan.seconds)
    best = max(speeds, key=speeds.get)
    ours = ClosedLoop(load_family("HalfCheetahVel"), plan)
    with partner(best) as (reset, step):  # its workers sleep while it is our turn
        value, versus = alternate(ours.loop, lambda: stepping(reset, step, plan.seconds), plan.rounds)
    return Line(name, value, "steps/s", f"{title}, {best} workers", versus, value / versus)


def collect_vs_async(name: str, plan: Plan) -> Line:
    """Against Gymnasium's AsyncVectorEnv."""
    return _against(name, "AsyncVectorEnv", in_async, plan)


def collect_vs_subproc(name: str, plan: Plan) -> Line:
    """Against Stable-Baselines3's SubprocVecEnv."""
    return _against(name, "SubprocVecEnv", in_subproc, plan)


def collect_vs_envpool(name: str, plan: Plan) -> Line:
    """Our whole loop over EnvPool's bare stepping with random actions.

    Raises:
        Skipped: EnvPool, which is optional, is not installed.
    """
    if find_spec("envpool") is None:
        raise Skipped("EnvPool is not installed: pip install 'metarl-robots[bench]'")
    import envpool

    n, rng = plan.n_sims, np.random.default_rng(0)
    pool = envpool.make("HalfCheetah-v4", env_type="gymnasium", num_envs=n, num_threads=os.cpu_count())
    pool.reset()

    def bare() -> float:
        actions = rng.uniform(-1, 1, (ENVPOOL_STEPS, n, ACTION_DIM))
        begun = time.perf_counter()
        for action in actions:
            pool.step(action)
        return ENVPOOL_STEPS * n / (time.perf_counter() - begun)

    ours = ClosedLoop(load_family("HalfCheetahVel"), plan)
    value, versus = alternate(ours.loop, bare, plan.rounds)
    return Line(name, value, "steps/s", "EnvPool, no policy", versus, value / versus)
