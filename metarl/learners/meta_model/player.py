"""Acting step by step: adapt to what was just seen, and do what the policy says, or what promises most."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from metarl.learners.meta_model.actor_critic import ActorCritic
from metarl.learners.meta_model.adaptation import Adapted, Seen, adapt
from metarl.learners.meta_model.imagination import foresee, imagine
from metarl.learners.meta_model.learner import MetaModelLearner
from metarl.learners.meta_model.planner.icem import ICEM, Plan
from metarl.learners.meta_model.scales import Scales
from metarl.threads import torch_threads

ROWS = 1024  # predictions of a step that a thread makes at a time, which its caches hold
State = dict[str, Tensor]  # (N, ...) each


@dataclass(frozen=True)
class TrialState:
    """What is carried from step to step of N trials; users hand it back as they got it.

    Attributes:
        state: of the player.
        n_steps: so far, which decides what the next plan draws.
    """

    state: State
    n_steps: int

    @property
    def n_trials(self) -> int:
        """N."""
        return len(self.state["last/reward"])

    @property
    def tensors(self) -> State:
        """All that is carried, (N, ...) each."""
        return self.state


class ModelPlayer:
    """A model, and who acts by it, in the midst of N trials.

    Args:
        learner: whose model; not changed.
        n: trials.
        rng: draws candidates, and the noise of a policy.
        adapts: what was seen is adapted to; else the model stays as it was before adaptation.
        pool: threads to imagine on; None for this one alone.

    Attributes:
        state: what is carried from step to step, to be handed on as it is: the last transitions "seen/...",
            the "plan/...", and "last/..." what was seen and done in the step before, and whether there was
            "any".
    """

    def __init__(
        self,
        learner: MetaModelLearner,
        n: int,
        rng: np.random.Generator,
        adapts: bool = True,
        pool: Executor | None = None,
    ):
        self.learner, self.rng, self.adapts, self.pool = learner, rng, adapts, pool
        self.params, self.planner = learner.acting(), planner_of(learner)
        c = learner.config
        self.refiner = replace(self.planner, horizon=c.refine, std=c.refine_std)
        self.policy = None if c.act == "planner" else learner.policy
        robot, window = learner.robot, c.window
        sizes = {"features": robot.n_features, "action": robot.action_dim, "outcome": robot.obs_dim + 1}
        self.state: State = {
            **{f"seen/{k}": torch.zeros(n, window, size) for k, size in sizes.items()},
            "seen/known": torch.zeros(n, window),
            **{f"plan/{k}": x for k, x in self.planner.start(n).items()},
            "last/obs": torch.zeros(n, robot.obs_dim),
            "last/action": torch.zeros(n, robot.action_dim),
            "last/reward": torch.zeros(n),
            "last/any": torch.zeros(n),
        }

    def decide(
        self,
        obs: np.ndarray,
        episode_start: np.ndarray,
        live: np.ndarray | None = None,
        explores: bool = False,
    ) -> np.ndarray:
        """What to do now, (N, action_dim) in [-1, 1], remembering the plan.

        Args:
            obs: (N, obs_dim).
            episode_start: (N,) bool, obs is the first of an episode.
            live: (N,) bool, the trials that go on; for the others nothing is decided. None is all.
            explores: with the noise that actions have in training.
        """
        n = len(obs)
        rows = np.arange(n) if live is None else np.flatnonzero(live)
        now = torch.tensor(obs[rows])
        with torch_threads(1), torch.no_grad():
            mine = self._take_in({k: x[rows] for k, x in self.state.items()}, now, episode_start[rows])
            adapted = self.adapted(mine)
            noise = self._noise((len(rows), self.learner.robot.action_dim)) if explores else None
            if self.policy is None:
                action, plan = self._plan(adapted, now, mine, noise)
                mine |= {f"plan/{k}": x for k, x in plan.items()}
            elif self.learner.config.act == "policy":
                action = self.policy.act(self.policy.params, self.policy.see(now, adapted.hints()), noise)
            else:
                action = self._refine(self.policy, adapted, now, noise)
        self._keep(mine | {"last/obs": now}, rows)
        out = np.zeros((n, action.shape[-1]), np.float32)
        out[rows] = action.clamp(-1, 1).numpy()
        return out

    def _noise(self, shape: Sequence[int]) -> Tensor:
        return torch.from_numpy(self.rng.standard_normal(tuple(shape), dtype=np.float32))

    def _plan(self, adapted: Adapted, obs: Tensor, state: State, noise: Tensor | None) -> tuple[Tensor, Plan]:
        """What is planned, noise (N, action_dim) added, and the plan for the next step."""
        plan: Plan = {k[5:]: x for k, x in state.items() if k.startswith("plan/")}
        action, plan = self.planner.plan(plan, partial(self._imagine, adapted, obs), self.rng)
        return action if noise is None else action + self.learner.config.noise * noise, plan

    def _refine(self, policy: ActorCritic, adapted: Adapted, obs: Tensor, noise: Tensor | None) -> Tensor:
        """The best that is found near what the policy would do, whose first action has the noise.

        The plan begins anew at every step (policy planning in action space, Wang & Ba 2019): further from
        what the robot has done than this, its model and critics promise what they do not keep.
        """
        offers = self._offers(policy, adapted, obs, noise)
        plan = {"mean": offers.mean(1), "elites": offers}
        return self.refiner.plan(plan, partial(self._imagine, adapted, obs), self.rng)[0]

    def _offers(self, policy: ActorCritic, adapted: Adapted, obs: Tensor, noise: Tensor | None) -> Tensor:
        """What the policy would do, as each member imagines it, (N, E, H, action_dim)."""
        learner = self.learner
        e, n = learner.config.members, len(obs)
        now, hints = (x.expand(e, n, -1)[:, :, None] for x in (obs, adapted.hints()))
        first = None if noise is None else noise[:, None]
        out = []
        for drawn in (first, *[None] * (self.refiner.horizon - 1)):
            out.append(policy.act(policy.params, policy.see(now, hints), drawn))
            now, _, _ = foresee(learner.model, learner.scales, adapted, now, out[-1])
        return torch.cat(out, 2).transpose(0, 1)

    def feel(self, action: np.ndarray, reward: np.ndarray, live: np.ndarray | None = None) -> None:
        """Take in what was done, (N, action_dim), and what came of it, (N,)."""
        rows = np.arange(len(action)) if live is None else np.flatnonzero(live)
        done = torch.tensor(np.clip(action[rows], -1, 1))
        earned = torch.tensor(np.asarray(reward, np.float32)[rows])
        self._keep({"last/action": done, "last/reward": earned, "last/any": torch.ones(len(rows))}, rows)

    def adapted(self, state: State) -> Adapted:
        """The model, adapted to what was seen."""
        e, known = self.learner.config.members, state["seen/known"] * self.adapts
        parts = (state[f"seen/{k}"] for k in ("features", "action", "outcome"))
        seen = Seen(*(x.expand(e, *x.shape) for x in (*parts, known)))
        return adapt(self.learner.model, self.params, seen, self.learner.config.adapt)

    def imagine(self, adapted: Adapted, obs: Tensor, candidates: Tensor) -> Tensor:
        """What sequences of actions would earn, discounted, (N, P): the mean of what the members expect.

        Where there is a critic, it tells what the end of the plan is worth.

        Args:
            adapted: the model, adapted to N tasks.
            obs: (N, obs_dim), now.
            candidates: (N, P, H, action_dim).
        """
        learner, e = self.learner, self.learner.config.members
        action = candidates.permute(2, 0, 1, 3)[:, None].expand(-1, e, -1, -1, -1)
        gamma, policy = learner.config.gamma, self.policy
        total, end, alive = imagine(learner.model, learner.scales, adapted, obs, action, gamma)
        if policy is not None:
            hints = adapted.hints()[None, :, None].expand(*end.shape[:3], -1)
            value = policy.worth(policy.params, policy.see(end, hints))
            total = total + gamma ** len(action) * alive * value
        return total.mean(0)

    def _imagine(self, adapted: Adapted, obs: Tensor, candidates: Tensor) -> Tensor:
        """The same, some trials after the other, or side by side."""
        n, p = candidates.shape[:2]
        some = max(1, ROWS // (p * self.learner.config.members))
        parts = [slice(k, min(k + some, n)) for k in range(0, n, some)]

        def one(part: slice) -> Tensor:
            with torch.no_grad():
                return self.imagine(adapted.of(part), obs[part], candidates[part])

        return torch.cat(list((self.pool.map if self.pool else map)(one, parts)))

    def _take_in(self, state: State, obs: Tensor, start: np.ndarray) -> State:
        """The last step becomes a transition, unless an episode ended with it; new episodes have no plan."""
        first = torch.from_numpy(np.asarray(start))
        out = state | taken_in(self.learner.scales, state, obs, first)
        for k, x in self.planner.start(len(obs)).items():
            old = state[f"plan/{k}"]
            out[f"plan/{k}"] = torch.where(first.view(-1, *[1] * (old.ndim - 1)), x, old)
        return out

    def _keep(self, new: State, rows: np.ndarray) -> None:
        state = dict(self.state)
        for k, x in new.items():
            state[k] = state[k].clone()
            state[k][rows] = x
        self.state = state


def taken_in(scales: Scales, state: State, obs: Tensor, first: Tensor) -> State:
    """The last transitions once the step that ends in obs is one of them, unless an episode ended with it.

    Args:
        scales: of what the model sees.
        state: "seen/..." and "last/..." of N trials, as `ModelPlayer.state` has them.
        obs: (N, obs_dim), now.
        first: (N,) bool, obs is the first of an episode.

    Returns:
        "seen/..." anew.
    """
    last = state["last/obs"]
    new = {
        "seen/features": scales.features(last),
        "seen/action": state["last/action"],
        "seen/outcome": scales.outcomes(last, obs, state["last/reward"]),
        "seen/known": state["last/any"],
    }
    whole = (~first) & (state["last/any"] > 0)
    out = {}
    for k, x in new.items():
        pushed = torch.cat([state[k][:, 1:], x[:, None]], 1)
        out[k] = torch.where(whole.view(-1, *[1] * (pushed.ndim - 1)), pushed, state[k])
    return out


def planner_of(learner: MetaModelLearner) -> ICEM:
    """The planner of these settings."""
    c = learner.config
    return ICEM(learner.robot.action_dim, c.plan, c.candidates, c.rounds, c.elites, c.colour, c.plan_std)
