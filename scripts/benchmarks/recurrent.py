"""The Meta-LSTM: training against Stable-Baselines3's recurrent PPO, and what learning and memory cost."""

import time
from collections.abc import Callable, Iterable
from contextlib import closing
from importlib.util import find_spec
from statistics import median
from unittest import mock

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

import metarl.learners.meta_lstm.agent
from benchmarks.measure import Line, Plan, Skipped, alternate
from metarl import MetaLSTM, MetaLSTMConfig
from metarl.envs import FamilyEnv
from metarl.policies.cores import CORES
from metarl.sampling.trials import collect_trials
from metarl.threads import torch_threads

FAMILY = "HalfCheetahVel"
NO_LIMIT = 1000.0  # of the KL divergence: no iteration learns less than its epochs
PASSES = 5  # through a core, each turn


class TrialEnv(gymnasium.Wrapper):
    """A trial, for toolkits that know episodes only: several episodes on one task, as one that is longer.

    Observations are obs, then the last action, the last reward and whether obs is the first of an
    episode; our policy sees changes on top of these. A new episode begins wherever one has ended.
    """

    def __init__(self, n_episodes: int = MetaLSTMConfig.n_episodes):
        super().__init__(env := FamilyEnv(FAMILY))
        self.length = n_episodes * env.family.horizon
        n = env.family.obs_dim + env.family.action_dim + 2
        self.observation_space = Box(-np.inf, np.inf, (n,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Begin a trial on a new task."""
        obs, info = self.env.reset(seed=seed, options={"task": None})
        self.task, self.t = info["task"], 0
        return self._seen(obs, np.zeros(self.action_space.shape), 0.0, True), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Advance by one step; only the end of the trial is told as an end."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        self.t += 1
        over = self.t == self.length
        start = (terminated or truncated) and not over
        if start:
            obs, _ = self.env.reset(options={"task": self.task})
        return self._seen(obs, action, reward, start), reward, False, over, info

    def _seen(self, obs: np.ndarray, action: np.ndarray, reward: float, start: bool) -> np.ndarray:
        return np.concatenate([obs, np.clip(action, -1, 1), [reward, start]], dtype=np.float32)


def _agent(plan: Plan) -> MetaLSTM:
    return MetaLSTM(FAMILY, MetaLSTMConfig(n_trials=plan.n_trials, target_kl=NO_LIMIT))


def _partner(env: VecEnv, agent: MetaLSTM) -> BaseAlgorithm:
    """RecurrentPPO on whole trials, with an LSTM as wide as ours and as many steps of Adam."""
    from sb3_contrib import RecurrentPPO

    sizes = {
        "n_steps": agent.trial_length,
        "batch_size": agent.trial_length * env.num_envs // agent.config.minibatches,
        "n_epochs": agent.config.epochs,
        "policy_kwargs": {"lstm_hidden_size": agent.config.width},
    }
    model = RecurrentPPO("MlpLstmPolicy", env, **sizes, seed=0, device="cpu")
    model.set_logger(Logger(None, []))
    return model


def training(model: BaseAlgorithm, n_threads: int, seconds: float) -> float:
    """Frames per second of whole iterations of a Stable-Baselines3 model, on so many torch threads."""
    size, before = model.n_steps * model.n_envs, model.num_timesteps
    with torch_threads(n_threads):
        begun = time.perf_counter()
        while time.perf_counter() - begun < seconds:
            model.learn(size, reset_num_timesteps=False)
        return (model.num_timesteps - before) / (time.perf_counter() - begun)


def recurrent(name: str, plan: Plan) -> Line:
    """Our training over RecurrentPPO's on the same trials, with the environments that suit it best.

    Raises:
        Skipped: sb3-contrib, which is optional, is not installed.
    """
    if find_spec("sb3_contrib") is None:
        raise Skipped("sb3-contrib is not installed: pip install 'metarl-robots[bench]'")
    agent, speeds = _agent(plan), {}
    kinds = [(SubprocVecEnv, n) for n in plan.workers]
    kinds += [(DummyVecEnv, n) for n in {*plan.workers, plan.n_trials}]  # a process holds as many as ours
    for kind, n in kinds:
        with closing(kind([TrialEnv] * n)) as env:
            for n_threads in {1, torch.get_num_threads()}:
                speeds[kind, n, n_threads] = training(_partner(env, agent), n_threads, plan.seconds)
    kind, n, n_threads = max(speeds, key=speeds.get)

    def ours() -> float:
        begun = time.perf_counter()
        agent.iterate()
        return agent.steps_per_iteration / (time.perf_counter() - begun)

    with closing(kind([TrialEnv] * n)) as env:
        model = _partner(env, agent)
        value, versus = alternate(ours, lambda: training(model, n_threads, plan.seconds), plan.rounds)
    return Line(name, value, "steps/s", f"RecurrentPPO, {n} in {kind.__name__}", versus, value / versus)


def recurrent_learning(name: str, plan: Plan) -> Line:
    """Learning over collecting in an iteration of the Meta-LSTM."""
    agent, collecting, learning = _agent(plan), [], []

    def timed(*args, **kwargs):
        begun = time.perf_counter()
        trials = collect_trials(*args, **kwargs)
        collecting.append(time.perf_counter() - begun)
        return trials

    with mock.patch.object(metarl.learners.meta_lstm.agent, "collect_trials", timed):
        for _ in range(plan.rounds + 1):
            begun = time.perf_counter()
            agent.iterate()
            learning.append(time.perf_counter() - begun - collecting[-1])
    value, versus = median(learning[1:]), median(collecting[1:])  # the first one warms up
    return Line(name, value, "s", "collecting", versus, value / versus)


def memory_unroll(name: str, plan: Plan) -> Line:
    """Forward and backward through a minibatch: the core with its memory over an LSTM."""
    agent, generator = _agent(plan), torch.Generator().manual_seed(0)
    core = CORES["lstm-memory"](agent.learner.policy.core.n_in, agent.config.width)
    bare = torch.nn.LSTM(core.n_in, core.width)
    params = {k: p.requires_grad_() for k, p in core.init(generator).items()}
    n = max(1, agent.own_steps // agent.piece // agent.config.minibatches)
    x, slope = (torch.randn(agent.piece, n, size, generator=generator) for size in (core.n_in, core.n_out))

    def seconds(unroll: Callable[[], torch.Tensor], weights: Iterable[torch.Tensor]) -> float:
        weights, begun = list(weights), time.perf_counter()
        for _ in range(PASSES):
            out = unroll()
            torch.autograd.grad(out, weights, slope[..., : out.shape[-1]])
        return (time.perf_counter() - begun) / PASSES

    value, versus = alternate(
        lambda: seconds(lambda: core.unroll(params, core.start(params, n), x), params.values()),
        lambda: seconds(lambda: bare(x)[0], bare.parameters()),
        plan.rounds,
    )
    return Line(name, value, "s", "torch.nn.LSTM", versus, value / versus)
