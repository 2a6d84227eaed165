"""Speed, as ratios measured side by side: `scripts/benchmark.py [--only NAME ...] [--json FILE]`.

Both sides of a ratio run in this one process run, in turn, and the median of several rounds counts.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from unittest import mock

import metarl.maml_agent  # isort: skip - before torch, so that its idle threads sleep
import gymnasium
import mujoco
import numpy as np
import torch
import tyro
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.vec_env import SubprocVecEnv

from envs import BatchSim, Param, TaskFamily, Uniform, load_family
from envs.families.gymnasium_robot import GymnasiumRobot
from envs.families.half_cheetah import HalfCheetahVel
from envs.mjlog import no_console
from metarl import MAML, MAMLConfig
from metarl.collect import collect, torch_threads
from metarl.policies import GaussianMLP, ObsNormaliser, expand

N_TASKS, N_EPISODES = 40, 20  # 800 simulations
WORKERS = (1, 2, 4, 8)
SECONDS = 2.0  # of stepping somebody else's vector environment, each round


@dataclass
class Options:
    """What to measure."""

    only: tuple[str, ...] = ()
    """names of lines; none is all"""
    json: Path | None = None
    """write the lines here"""
    rounds: int = 5
    """how often both sides of a ratio take their turn"""


@dataclass(frozen=True)
class Line:
    """One measured ratio, and what it should be."""

    name: str
    value: float
    unit: str
    versus: str
    versus_value: float
    ratio: float
    target: str = ""


class AntRun(GymnasiumRobot):
    """An Ant-sized robot for timing: run forward, never terminate."""

    mjcf = "ant.xml"
    frame_skip = 5
    horizon = 100
    params = (Param("weight", "", Uniform(0.5, 1.0)),)

    def observe(self, r):
        """All of qpos but x and y, and qvel."""
        return np.concatenate([r.qpos[:, 2:], r.qvel], axis=1)

    def reward(self, r, action, task):
        """Forward velocity."""
        return {"velocity": task["weight"] * r.velocity(0)}


class ShortCheetah(HalfCheetahVel):
    """HalfCheetahVel with the 100 steps that other toolkits' iterations have."""

    horizon = 100


def alternate(first: Callable[[], float], second: Callable[[], float], rounds: int) -> tuple[float, float]:
    """Medians of two measurements that take turns, after one round to warm up."""
    pairs = [(first(), second()) for _ in range(rounds + 1)][1:]
    return median(a for a, _ in pairs), median(b for _, b in pairs)


class ClosedLoop:
    """`collect` on a family, and the same physics alone: the same actions from the same states."""

    def __init__(self, family: TaskFamily):
        self.sim = BatchSim(family, N_TASKS * N_EPISODES)
        rng = np.random.default_rng(0)
        tasks = family.sample(rng, N_TASKS)
        self.sim.set_tasks([task for task in tasks for _ in range(N_EPISODES)])
        self.policy = GaussianMLP(family.obs_dim, family.action_dim)
        generator = torch.Generator().manual_seed(0)
        shared = expand(self.policy.init(generator), N_TASKS)
        self.params = {k: p + 0.01 * torch.randn(p.shape, generator=generator) for k, p in shared.items()}
        self.normaliser = ObsNormaliser(family.obs_dim)
        self.rows = self.collect()
        self.end = self.sim.state.copy()
        rng = np.random.default_rng(1)
        rng.standard_normal(self.rows.action.shape, dtype=np.float32)  # the noise collect draws first
        self.sim.reset(rng)
        self.start = self.sim.state.copy()
        low, high = family.model.actuator_ctrlrange.T
        clipped = np.clip(self.rows.action, -1.0, 1.0)
        self.control = (low + high) / 2 + (high - low) / 2 * clipped

    def collect(self):
        """Policy, physics, reward, storing."""
        rng = np.random.default_rng(1)
        return collect(self.sim, self.policy, self.params, self.normaliser, rng)

    def loop(self) -> float:
        """Environment steps per second of the closed loop."""
        begun = time.perf_counter()
        rows = self.collect()
        return rows.n_steps / (time.perf_counter() - begun)

    def ceiling(self) -> float:
        """Environment steps per second of the physics alone; it must end in the same states."""
        batch, skip = self.sim.batch, self.sim.family.frame_skip
        self.sim.state[:] = self.start
        masks = [None if valid.all() else valid for valid in self.rows.valid if valid.any()]
        begun = time.perf_counter()
        for control, mask in zip(self.control, masks, strict=False):
            batch.ctrl = control
            batch.step(mask, nstep=skip)
        seconds = time.perf_counter() - begun
        self.check()
        return self.rows.n_steps / seconds

    def check(self) -> None:
        """Raise unless the replay has gone where the closed loop went."""
        n = 1 + self.sim.family.model.nq + self.sim.family.model.nv  # time and all coordinates
        if not np.array_equal(self.sim.state[:, :n], self.end[:, :n]):
            raise RuntimeError("the replay left the path of the closed loop: the ratio would mean nothing")


def over_ceiling(name: str, family: TaskFamily, target: str, rounds: int) -> Line:
    """Closed loop over physics ceiling."""
    loop = ClosedLoop(family)
    value, versus = alternate(loop.loop, loop.ceiling, rounds)
    return Line(name, value, "steps/s", "the same physics alone", versus, value / versus, target)


def collect_cheetah(rounds: int) -> Line:
    """HalfCheetah: closed loop over ceiling."""
    return over_ceiling("collect", load_family("HalfCheetahVel"), ">= 0.90", rounds)


def collect_hopper(rounds: int) -> Line:
    """Hopper with its own dynamics in every simulation."""
    return over_ceiling("collect-hopper", load_family("HopperRandParams"), "", rounds)


def collect_ant(rounds: int) -> Line:
    """A robot with many contacts."""
    return over_ceiling("collect-ant", AntRun(), "", rounds)


class Actor:
    """The 64x64 policy for other people's environments, on one thread."""

    def __init__(self):
        self.policy = GaussianMLP(17, 6)
        self.params = expand(self.policy.init(torch.Generator().manual_seed(0)), 1)

    def __call__(self, obs: np.ndarray) -> np.ndarray:
        """Actions (N, 6) for observations (N, 17)."""
        with torch.inference_mode():
            mean, log_std = self.policy.mean_std(self.params, torch.from_numpy(obs).float()[None])
            return (mean + log_std.exp() * torch.randn_like(mean))[0].clamp(-1, 1).numpy()


def stepping(n: int, obs: np.ndarray, step: Callable[[np.ndarray], np.ndarray]) -> float:
    """Environment steps per second of a policy in n environments."""
    act, count = Actor(), 0
    with torch_threads(1):
        begun = time.perf_counter()
        while time.perf_counter() - begun < SECONDS:
            obs = step(act(obs))
            count += n
        return count / (time.perf_counter() - begun)


def in_async(n: int) -> float:
    """Gymnasium's AsyncVectorEnv with n workers."""
    env = gymnasium.vector.AsyncVectorEnv([_cheetah] * n)
    obs, _ = env.reset(seed=0)
    speed = stepping(n, obs, lambda action: env.step(action)[0])
    env.close()
    return speed


def in_subproc(n: int) -> float:
    """Stable-Baselines3's SubprocVecEnv with n workers."""
    env = SubprocVecEnv([_cheetah] * n)
    speed = stepping(n, env.reset(), lambda action: env.step(action)[0])
    env.close()
    return speed


def _cheetah() -> gymnasium.Env:
    with no_console():  # MuJoCo's remarks on Gymnasium's file
        return gymnasium.make("HalfCheetah-v5")


def against(name: str, title: str, other: Callable[[int], float], rounds: int) -> Line:
    """Our closed loop over another way to step the same robot, at its best number of workers."""
    speeds = {n: other(n) for n in WORKERS}
    best = max(speeds, key=speeds.get)
    ours = ClosedLoop(load_family("HalfCheetahVel"))
    value, versus = alternate(ours.loop, lambda: other(best), rounds)
    return Line(name, value, "steps/s", f"{title}, {best} workers", versus, value / versus, ">= 10")


def collect_vs_async(rounds: int) -> Line:
    """Against Gymnasium's AsyncVectorEnv."""
    return against("collect-vs-async", "AsyncVectorEnv", in_async, rounds)


def collect_vs_subproc(rounds: int) -> Line:
    """Against Stable-Baselines3's SubprocVecEnv."""
    return against("collect-vs-subproc", "SubprocVecEnv", in_subproc, rounds)


def collect_vs_envpool(rounds: int) -> Line | str:
    """Our whole loop over EnvPool's bare stepping with random actions."""
    if find_spec("envpool") is None:
        return "skipped: EnvPool is not installed (pip install envpool)"
    import envpool

    n = N_TASKS * N_EPISODES
    pool = envpool.make("HalfCheetah-v4", env_type="gymnasium", num_envs=n, num_threads=os.cpu_count())
    pool.reset()
    rng = np.random.default_rng(0)

    def bare() -> float:
        action = rng.uniform(-1, 1, (n, 6))
        begun = time.perf_counter()
        for _ in range(50):
            pool.step(action)
        return 50 * n / (time.perf_counter() - begun)

    ours = ClosedLoop(load_family("HalfCheetahVel"))
    value, versus = alternate(ours.loop, bare, rounds)
    return Line("collect-vs-envpool", value, "steps/s", "EnvPool, no policy", versus, value / versus, "1")


def maml_overhead(rounds: int) -> Line:
    """Share of a MAML iteration that is adaptation and meta-update."""
    agent = MAML(ShortCheetah(), MAMLConfig(n_tasks=N_TASKS, n_episodes=N_EPISODES))
    sampling = []

    def timed(*args, **kwargs):
        begun = time.perf_counter()
        rows = collect(*args, **kwargs)
        sampling.append(time.perf_counter() - begun)
        return rows

    shares, wholes = [], []
    with mock.patch.object(metarl.maml_agent, "collect", timed):
        for _ in range(rounds + 1):
            sampling.clear()
            begun = time.perf_counter()
            agent.iterate()
            wholes.append(time.perf_counter() - begun)
            shares.append(1 - sum(sampling) / wholes[-1])
    share, whole = median(shares[1:]), median(wholes[1:])
    return Line("maml-overhead", share * whole, "s", "the whole iteration", whole, share, "<= 0.25")


def maml_memory(rounds: int) -> Line:
    """Peak memory of MAML iterations in a process of their own."""
    code = f"import runpy; runpy.run_path({__file__!r})['print_peak']()"
    peak = float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)
    return Line("maml-memory", peak, "MiB", "2 GiB", 2048.0, peak / 2048.0, "<= 1")


def print_peak() -> None:
    """Do three iterations and print the peak resident memory, MiB."""
    agent = MAML(ShortCheetah(), MAMLConfig(n_tasks=N_TASKS, n_episodes=N_EPISODES))
    for _ in range(3):
        agent.iterate()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


BENCHMARKS: dict[str, Callable[[int], Line | str]] = {
    "collect": collect_cheetah,
    "collect-hopper": collect_hopper,
    "collect-ant": collect_ant,
    "collect-vs-async": collect_vs_async,
    "collect-vs-subproc": collect_vs_subproc,
    "collect-vs-envpool": collect_vs_envpool,
    "maml-overhead": maml_overhead,
    "maml-memory": maml_memory,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    options = tyro.cli(Options, args=argv, description=__doc__)
    unknown = [name for name in options.only if name not in BENCHMARKS]
    if unknown or options.rounds < 1:
        print(f"benchmark: unknown {unknown}; known: {', '.join(BENCHMARKS)}; rounds >= 1", file=sys.stderr)
        return 2
    console = Console(width=120)
    torch_version = distribution("torch").version
    console.print(
        f"{os.cpu_count()} cores, mujoco {mujoco.__version__}, torch {torch_version} on "
        f"{torch.get_num_threads()} threads when learning and 1 when collecting, {options.rounds} rounds"
    )
    lines = []
    table = Table("line", "value", "versus", "", "ratio", "target", box=SIMPLE_HEAD)
    for name in options.only or BENCHMARKS:
        line = BENCHMARKS[name](options.rounds)
        if isinstance(line, str):
            table.add_row(name, line)
            continue
        lines.append({k: v for k, v in asdict(line).items() if k != "target"})
        numbers = [f"{line.value:,.4g} {line.unit}", line.versus, f"{line.versus_value:,.4g}"]
        table.add_row(name, *numbers, f"{line.ratio:.3f}", line.target)
    console.print(table)
    if options.json is not None:
        options.json.write_text(json.dumps(lines, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
