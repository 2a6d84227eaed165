"""How fast robots are simulated, compared with one another on the machine at hand."""

import time
from collections.abc import Sequence

import mujoco
import numpy as np

from metarl.envs.batch_sim import BatchSim
from metarl.envs.family import TaskFamily

N, ROUNDS, SECONDS = 64, 3, 0.05  # simulations, and how often and how long each is timed


def steps_per_second(families: Sequence[TaskFamily]) -> list[float]:
    """Environment steps a second of each family under random actions, all measured side by side.

    Families that share a robot are measured once. The best of a few short rounds counts.
    """
    keys = [_robot(family) for family in families]
    robots = dict(zip(keys, families, strict=True))
    sims = {key: BatchSim(family, N) for key, family in robots.items()}
    for sim in sims.values():
        sim.start(np.random.default_rng(0))
    speeds = dict.fromkeys(sims, 0.0)
    for _ in range(ROUNDS):
        for key, sim in sims.items():
            speeds[key] = max(speeds[key], _measure(sim))
    return [speeds[key] for key in keys]


def _robot(family: TaskFamily) -> tuple[bytes, int]:
    """What two families have in common that step the same simulation."""
    buffer = np.empty(mujoco.mj_sizeModel(family.model), np.uint8)
    mujoco.mj_saveModel(family.model, None, buffer)
    return buffer.tobytes(), family.frame_skip


def _measure(sim: BatchSim) -> float:
    actions = np.random.default_rng(0).uniform(-1, 1, (8, sim.n_sims, sim.family.action_dim))
    n, begun = 0, time.perf_counter()
    while (seconds := time.perf_counter() - begun) < SECONDS:
        sim.step(actions[n % len(actions)])
        n += 1
    return n * sim.n_sims / seconds
