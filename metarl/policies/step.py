"""What a policy that remembers does at a step, as pure functions of what it carries.

Everybody who acts goes through them: the player in simulation, the graph on a robot, the page in a browser.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.policies.gaussian import Params
from metarl.policies.inputs import InputNormaliser
from metarl.policies.recurrent import Decision, Memory, RecurrentPolicy, choose


@dataclass(frozen=True)
class TrialState:
    """What a policy carries from step to step of N trials; users hand it back as they got it.

    Attributes:
        memory: of the policy.
        last: of the step before, "obs" (N, obs_dim), "action" (N, action_dim), "reward" (N,), and the
            "first" (N,) of an episode or not; and the "reward_before" (N,) it.
    """

    memory: Memory
    last: Memory

    @property
    def n_trials(self) -> int:
        """N."""
        return len(self.last["reward"])

    @property
    def tensors(self) -> Memory:
        """All of it, (N, ...) each."""
        return {f"{part}/{k}": x for part in ("memory", "last") for k, x in getattr(self, part).items()}

    def where(self, mask: Tensor, other: "TrialState") -> "TrialState":
        """This of the trials where the mask (N,) is true, the other of the others."""
        return TrialState(choose(mask, self.memory, other.memory), choose(mask, self.last, other.last))

    def rewarded(self, reward: Tensor) -> "TrialState":
        """This, where the reward (N,) of the step before has become known only now."""
        return TrialState(self.memory, {**self.last, "reward": reward})

    def expand(self, n: int) -> "TrialState":
        """That of one trial, for N that go on from there."""
        memory, last = (
            {k: x.expand(n, *x.shape[1:]) for k, x in part.items()} for part in (self.memory, self.last)
        )
        return TrialState(memory, last)


def begin(policy: RecurrentPolicy, params: Params, n: int) -> TrialState:
    """What N trials begin with."""
    return TrialState(
        policy.start(params, n),
        {
            "obs": torch.zeros(n, policy.obs_dim),
            "action": torch.zeros(n, policy.action_dim),
            "reward": torch.zeros(n),
            "reward_before": torch.zeros(n),
            "first": torch.ones(n, dtype=torch.bool),
        },
    )


def decide(
    policy: RecurrentPolicy,
    params: Params,
    normaliser: InputNormaliser,
    state: TrialState,
    obs: Tensor,
    first: Tensor,
    told: Tensor | None = None,
) -> tuple[Decision, TrialState]:
    """What to do now, and what is carried on.

    Args:
        policy: the policy's sizes.
        params: its parameters.
        normaliser: of its inputs; not updated.
        state: what it carries, of N trials.
        obs: (N, obs_dim), kept in the new state.
        first: (N,) bool, obs is the first of an episode.
        told: (N, n_told), what the critic is told of the tasks; None where nobody asks what it expects.
    """
    last = state.last
    gain = torch.where(last["first"], 0, last["reward"] - last["reward_before"])
    change = torch.where(first[:, None], 0, torch.cat([obs - last["obs"], gain[:, None]], 1))
    inputs = normaliser(obs, last["action"], last["reward"], first, change)
    decision, memory = policy.act(params, state.memory, inputs, told)
    return decision, TrialState(memory, {**last, "obs": obs, "first": first})


def feel(state: TrialState, action: Tensor, reward: Tensor) -> TrialState:
    """Take in what was done, (N, action_dim), and what came of it, (N,)."""
    last = {**state.last, "action": action, "reward": reward, "reward_before": state.last["reward"]}
    return TrialState(state.memory, last)
