"""The closed loop (policy, physics, reward, storing) over the same physics alone."""

import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.measure import Line, Plan, alternate
from metarl.envs import BatchSim, TaskFamily, load_family
from metarl.policies.gaussian import GaussianMLP, expand
from metarl.policies.normaliser import Normaliser
from metarl.sampling.episodes import collect
from metarl.sampling.trajectories import Trajectories

TASK_SPREAD = 0.01  # deviation between tasks' parameters, as after adaptation


class ClosedLoop:
    """`collect` on a family, and a replay of its actions from its initial states.

    Attributes:
        rows: one rollout, whose actions and masks are replayed.
        start, end: (N, nstate) simulator states before and after it.
        control: (T, N, nu) float64, its actions as the simulator is given them.
    """

    def __init__(self, family: TaskFamily, plan: Plan):
        self.sim = BatchSim(family, plan.n_sims)
        tasks = family.sample(np.random.default_rng(0), plan.n_tasks)
        self.sim.set_tasks([task for task in tasks for _ in range(plan.n_episodes)])
        self.policy = GaussianMLP(family.obs_dim, family.action_dim)
        generator = torch.Generator().manual_seed(0)
        shared = expand(self.policy.init(generator), plan.n_tasks)
        self.params = {
            k: p + TASK_SPREAD * torch.randn(p.shape, generator=generator) for k, p in shared.items()
        }
        self.normaliser = Normaliser(family.obs_dim)
        self.rows = self.collect()
        self.end = self.sim.state.copy()
        self.start = self._initial_state()
        self.control = self._controls()

    def _controls(self) -> np.ndarray:
        """What the simulator is given for the rollout's actions."""
        controls = self.sim.family.controls
        now, given = np.tile(controls.middle, (self.sim.n_sims, 1)), []
        for action in np.clip(self.rows.action.astype(float), -1.0, 1.0):
            now = controls.of(action, now)
            given.append(now)
        return np.stack(given)

    def collect(self) -> Trajectories:
        """The same rollout every time."""
        rng = np.random.default_rng(1)
        return collect(self.sim, self.policy, self.params, self.normaliser, rng)

    def loop(self) -> float:
        """Environment steps per second of the closed loop."""
        begun = time.perf_counter()
        rows = self.collect()
        return rows.n_steps / (time.perf_counter() - begun)

    def ceiling(self) -> float:
        """Environment steps per second of the physics alone, on the same threads.

        Raises:
            RuntimeError: it did not end in the closed loop's states, so that it measured other physics.
        """
        batch, skip = self.sim.batch, self.sim.family.frame_skip
        self.sim.state[:] = self.start
        masks = [None if valid.all() else valid for valid in self.rows.valid if valid.any()]
        begun = time.perf_counter()
        for control, mask in zip(self.control, masks, strict=False):  # all may have ended before the horizon
            batch.ctrl = control
            batch.step(mask, nstep=skip)
        seconds = time.perf_counter() - begun
        self._check()
        return self.rows.n_steps / seconds

    def _initial_state(self) -> np.ndarray:
        rng = np.random.default_rng(1)
        rng.standard_normal(self.rows.action.shape, dtype=np.float32)  # the noise that collect draws first
        self.sim.reset(rng)
        return self.sim.state.copy()

    def _check(self) -> None:
        n = 1 + self.sim.family.model.nq + self.sim.family.model.nv  # time and all coordinates
        if not np.array_equal(self.sim.state[:, :n], self.end[:, :n]):
            raise RuntimeError("the replay left the path of the closed loop: the ratio would mean nothing")


def over_ceiling(family: str) -> Callable[[str, Plan], Line]:
    """The line of a family; only steps before a robot's fall count."""

    def measure(name: str, plan: Plan) -> Line:
        loop = ClosedLoop(load_family(family), plan)
        value, versus = alternate(loop.loop, loop.ceiling, plan.rounds)
        return Line(name, value, "steps/s", "the same physics alone", versus, value / versus)

    return measure
