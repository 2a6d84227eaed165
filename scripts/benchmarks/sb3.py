"""Stable-Baselines3's PPO with its environments in our batch, over the same PPO with them in processes.

Both sides train SB3's default MlpPolicy on the same family and differ in nothing but the VecEnv. An
iteration has the same number of frames on both (n_envs * n_steps), the same minibatches and SB3's ten
epochs, so as many gradient steps: a side with more environments takes fewer steps of each. A minibatch is
an eighth of the frames, as is usual with hundreds of environments; with SB3's default of 64 frames both
sides would do little else than learn. Whole iterations are timed, collecting and learning. The partner's
environments are the family's own Gymnasium view, which is what SB3 could be given otherwise; Gymnasium's
HalfCheetah-v5, which has no tasks and says less in its infos, takes about 0.7 of the processes' time. The
partner is spared the `Monitor` that it would need to know the returns.
"""

from collections.abc import Callable, Iterable
from contextlib import closing
from functools import cache

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv

from benchmarks.measure import Line, Plan, alternate
from benchmarks.recurrent import training
from metarl.envs import FamilyEnv
from metarl.sb3 import FamilyVecEnv

FAMILY = "HalfCheetahVel"
STEPS = 20  # of all simulations, each iteration
MINIBATCHES = 8  # of an epoch


def in_batch(n: int) -> FamilyVecEnv:
    """Ours, on all physics threads."""
    return FamilyVecEnv(FAMILY, n)


def in_subproc(n: int) -> SubprocVecEnv:
    """The partner's, with a process for each."""
    return SubprocVecEnv([_cheetah] * n)


def _cheetah() -> FamilyEnv:
    return FamilyEnv(FAMILY)


def ppo(env: VecEnv, plan: Plan) -> PPO:
    """A PPO whose iteration has as many frames and gradient steps with any number of environments."""
    frames = plan.n_sims * STEPS
    sizes = {"n_steps": frames // env.num_envs, "batch_size": frames // MINIBATCHES}
    model = PPO("MlpPolicy", env, **sizes, seed=0, device="cpu")
    model.set_logger(Logger(None, []))
    return model


def _best(make: Callable[[int], VecEnv], sizes: Iterable[int], plan: Plan) -> tuple[int, int]:
    """The number of environments, of these, and of torch threads with which training is fastest."""
    speeds = {}
    for n in sizes:
        with closing(make(n)) as env:
            for n_threads in {1, torch.get_num_threads()}:
                speeds[n, n_threads] = training(ppo(env, plan), n_threads, plan.seconds)
    return max(speeds, key=speeds.get)


@cache
def _partners_best(plan: Plan) -> tuple[int, int]:
    return _best(in_subproc, plan.workers, plan)


def _against_subproc(name: str, n: int, plan: Plan) -> Line:
    """With n of our environments over the partner at its best."""
    workers, partners_threads = _partners_best(plan)
    n, n_threads = _best(in_batch, [n], plan)
    with closing(in_subproc(workers)) as processes, closing(in_batch(n)) as batch:
        ours, partner = ppo(batch, plan), ppo(processes, plan)
        value, versus = alternate(
            lambda: training(ours, n_threads, plan.seconds),
            lambda: training(
                partner, partners_threads, plan.seconds
            ),  # its workers sleep while it is our turn
            plan.rounds,
        )
    return Line(name, value, "steps/s", f"PPO on SubprocVecEnv, {workers} workers", versus, value / versus)


def sb3_ppo(name: str, plan: Plan) -> Line:
    """Each at its best: ours with all simulations."""
    return _against_subproc(name, plan.n_sims, plan)


def sb3_ppo_same_envs(name: str, plan: Plan) -> Line:
    """Ours with as many environments as suit the partner best."""
    return _against_subproc(name, _partners_best(plan)[0], plan)
