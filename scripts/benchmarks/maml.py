"""What a MAML iteration by TRPO costs beyond sampling: 40 tasks x 20 episodes x 100 steps, twice."""

import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from unittest import mock

import metarl.learners.maml.agent
from benchmarks.measure import Line, Plan
from metarl import MAML, MAMLConfig
from metarl.envs.families.half_cheetah import HalfCheetahVel
from metarl.sampling.episodes import collect

MEMORY_LIMIT = 2048.0  # MiB
MEMORY_ITERATIONS = 3


class ShortCheetah(HalfCheetahVel):
    """HalfCheetahVel with the 100 steps that other toolkits' iterations have."""

    horizon = 100


def _agent(n_tasks: int, n_episodes: int) -> MAML:
    config = MAMLConfig(
        n_tasks=n_tasks, n_episodes=n_episodes, inner_steps=1, outer="trpo", learned_loss=False
    )
    return MAML(ShortCheetah(), config)


def maml_overhead(name: str, plan: Plan) -> Line:
    """Adaptation and meta-update over the whole iteration."""
    agent, sampling = _agent(plan.n_tasks, plan.n_episodes), []

    def timed(*args, **kwargs):
        begun = time.perf_counter()
        rows = collect(*args, **kwargs)
        sampling.append(time.perf_counter() - begun)
        return rows

    learning, whole = [], []
    with mock.patch.object(metarl.learners.maml.agent, "collect", timed):
        for _ in range(plan.rounds + 1):
            sampling.clear()
            begun = time.perf_counter()
            agent.iterate()
            whole.append(time.perf_counter() - begun)
            learning.append(whole[-1] - sum(sampling))
    value, versus = median(learning[1:]), median(whole[1:])  # the first one warms up
    return Line(name, value, "s", "the whole iteration", versus, value / versus)


def maml_memory(name: str, plan: Plan) -> Line:
    """Peak memory of MAML iterations, in a process of their own."""
    command = [sys.executable, "-m", "benchmarks.maml", str(plan.n_tasks), str(plan.n_episodes)]
    scripts = Path(__file__).parents[1]
    peak = float(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=scripts).stdout)
    return Line(name, peak, "MiB", "2 GiB", MEMORY_LIMIT, peak / MEMORY_LIMIT)


def peak_memory() -> float:
    """Peak resident memory of this process, MiB."""
    # Linux hands ru_maxrss on through exec: a child reports its parent's peak if that was higher.
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 1024
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    agent = _agent(*map(int, sys.argv[1:]))
    for _ in range(MEMORY_ITERATIONS):
        agent.iterate()
    print(peak_memory())
