"""A policy that a model's memory tells what it makes of the last transitions, as a graph."""

import numpy as np
import torch
from torch import Tensor

from metarl.export.graph import TRUE, CarryingGraph
from metarl.learners.meta_model.actor_critic import ActorCritic
from metarl.learners.meta_model.adaptation import MEMORY
from metarl.learners.meta_model.learner import MetaModelLearner
from metarl.learners.meta_model.player import State, TrialState, taken_in


class ModelGraph(CarryingGraph):
    """The policy of a meta-model. Of the model it holds no more than the first member's memory.

    Args:
        learner: whose policy.
        policy: of it.
        start: what a trial begins with, of one trial, as `ModelPlayer.state` has it.
    """

    def __init__(self, learner: MetaModelLearner, policy: ActorCritic, start: State):
        own = {k: x for k, x in start.items() if k.startswith(("seen/", "last/")) and k != "last/reward"}
        super().__init__(learner.robot.obs_dim, own)
        self.scales, self.model, self.policy = learner.scales, learner.model, policy
        memory = learner.acting() if learner.config.adapt in MEMORY else {}
        self.params = {k: p[:1] for k, p in memory.items() if k.startswith(("seen/", "told/"))}
        self.params |= {k: p for k, p in policy.acting().items() if k.startswith("actor/")}

    def forward(
        self, obs: Tensor, reward: Tensor, episode_start: Tensor, state_in: Tensor
    ) -> tuple[Tensor, ...]:
        """What to do, and what is carried on."""
        begun, carried = self._unpack(state_in)
        first, now = (episode_start > TRUE) | ~begun, obs.to(self.dtype)
        seen = taken_in(self.scales, {**carried, "last/reward": reward.to(self.dtype)}, now, first)
        action = self.policy.act(self.params, self._sees(now, seen)).clamp(-1, 1).to(obs.dtype)
        last = {"last/obs": now, "last/action": action, "last/any": torch.ones_like(reward)}
        return action, self._pack(seen | last)

    def _sees(self, obs: Tensor, seen: State) -> Tensor:
        """What the policy sees."""
        if not self.model.context:
            return self.scales.features(obs)
        transitions = torch.cat([seen[f"seen/{k}"] for k in ("features", "action", "outcome")], -1)
        told = self.model.tell(self.params, transitions[None], seen["seen/known"][None])
        assert told is not None
        return self.policy.see(obs, told[0])

    def packed(self, state: TrialState) -> np.ndarray:
        """What a policy remembers as this carries it, (1, S)."""
        return self._pack(state.state).numpy()
