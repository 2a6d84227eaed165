"""A policy's step as a function of arrays alone, which torch can write down as a graph."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metarl.envs import InputError
from metarl.policies.cores import LSTMMemory
from metarl.policies.gaussian import GaussianMLP, Params, act
from metarl.policies.inputs import InputNormaliser
from metarl.policies.normaliser import Normaliser
from metarl.policies.recurrent import RecurrentPolicy
from metarl.policies.step import TrialState, decide, feel

TRUE = 0.5  # a flag that is a float is set from here on


class Graph(torch.nn.Module):
    """One step of one robot: tensors in, tensors out, nothing kept.

    Attributes:
        inputs: their names and shapes; all are float32, and so are outputs.
        outputs: their names.
        params: of the policy.
        dtype: in which the step is computed.
        state_size: S, numbers carried from step to step.
    """

    inputs: dict[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    params: Params
    state_size = 0
    dtype = torch.float32

    def computing_in(self, dtype: torch.dtype) -> "Graph":
        """The same, whose step is computed in float32 or in float64."""
        self.params, self.dtype = {k: p.to(dtype) for k, p in self.params.items()}, dtype
        return self

    def packed(self, state: Any) -> np.ndarray:
        """What a policy remembers as this carries it, (1, S); of a policy that remembers."""
        raise NotImplementedError

    def example(self) -> tuple[Tensor, ...]:
        """Inputs of the right shapes."""
        return tuple(torch.zeros(shape) for shape in self.inputs.values())


class MemorylessGraph(Graph):
    """A policy that acts by what it sees: obs (1, n) to actions (1, m), in [-1, 1]."""

    outputs: tuple[str, ...] = ("actions",)

    def __init__(self, policy: GaussianMLP, params: Params, normaliser: Normaliser):
        super().__init__()
        self.policy, self.normaliser = policy, normaliser
        self.params = {k: p.detach().cpu() for k, p in params.items()}
        self.inputs = {"obs": (1, policy.obs_dim)}

    def forward(self, obs: Tensor) -> Tensor:
        """What to do."""
        mean, _ = act(self.policy, self.params, self.normaliser, obs.to(self.dtype))
        return mean.clamp(-1, 1).to(obs.dtype)


class CarryingGraph(Graph):
    """A policy that remembers, with what it remembers outside.

    It takes obs (1, n), reward (1,) of the step before, episode_start (1,), and state_in (1, S); it gives
    actions (1, m) in [-1, 1] and state_out (1, S), the next step's state_in. Zeros are the start of a trial,
    where the reward is not looked at and an episode begins whatever is said: the last number of a state says
    that a trial has begun. (Differences from what a trial begins with would lose digits at every step, and a
    memory may amplify that.)

    Args:
        obs_dim: n.
        start: what is carried at the start of a trial, by its name, of one trial.
    """

    outputs: tuple[str, ...] = ("actions", "state_out")

    def __init__(self, obs_dim: int, start: Mapping[str, Tensor]):
        super().__init__()
        self.start = {k: x.to(torch.float32) for k, x in start.items()}
        self.flat_start = torch.cat([x.reshape(1, -1) for x in self.start.values()], 1)
        self.state_size = self.flat_start.numel() + 1
        self.inputs = {
            "obs": (1, obs_dim),
            "reward": (1,),
            "episode_start": (1,),
            "state_in": (1, self.state_size),
        }

    def _unpack(self, flat: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Whether a trial has begun, (1,) bool, and what it carries, by its name."""
        begun = flat[:, -1] > TRUE
        whole = torch.where(begun[:, None], flat[:, :-1], self.flat_start).to(self.dtype)
        parts = whole.split([x.numel() for x in self.start.values()], 1)
        names = zip(self.start.items(), parts, strict=True)
        return begun, {k: part.reshape(x.shape) for (k, x), part in names}

    def _pack(self, carried: Mapping[str, Tensor]) -> Tensor:
        """What is carried on, of a trial that has begun, (1, S)."""
        flat = [carried[k].to(torch.float32).reshape(1, -1) for k in self.start]
        return torch.cat([*flat, torch.ones(1, 1)], 1)


class RememberingGraph(CarryingGraph):
    """A recurrent policy.

    Args:
        policy: the policy's sizes.
        params: its parameters.
        normaliser: of its inputs.
        start: what a trial begins with, of one trial.
        attention: give attention (1, heads, slots) too, how the external memory was read.

    Raises:
        InputError: the policy's memory grows with the trial, or attention is wanted where there are no slots.
    """

    def __init__(
        self,
        policy: RecurrentPolicy,
        params: Params,
        normaliser: InputNormaliser,
        start: TrialState,
        attention: bool = False,
    ):
        if not policy.core.fixed_size:
            raise InputError(
                f"a {policy.core_name} core remembers ever more in a trial, and a graph has a state of one "
                "size; train with another --core, e.g. lstm-memory, to export it"
            )
        # A tensor that stands in two places would be taken for one that is always the same.
        memory, last = ({k: x.clone() for k, x in part.items()} for part in (start.memory, start.last))
        reward = last.pop("reward")  # is an input
        super().__init__(policy.obs_dim, memory | last)
        self.memory, self.last, self.no_reward = list(memory), list(last), reward
        if attention:
            if not isinstance(policy.core, LSTMMemory):
                raise InputError(f"a {policy.core_name} core has no slots to look at")
            self.outputs = (*self.outputs, "attention")
        self.policy, self.normaliser = policy, normaliser
        self.params = {k: p.detach().cpu() for k, p in params.items()}

    def forward(
        self, obs: Tensor, reward: Tensor, episode_start: Tensor, state_in: Tensor
    ) -> tuple[Tensor, ...]:
        """What to do, and what is carried on."""
        begun, carried = self._unpack(state_in)
        received = torch.where(begun, reward, self.no_reward).to(self.dtype)
        first = (episode_start > TRUE) | ~begun
        carried["first"] = carried["first"] > TRUE
        parts = ({k: carried[k] for k in names} for names in (self.memory, self.last))
        state = TrialState(*parts).rewarded(received)
        seen = obs.to(self.dtype)
        decision, state = decide(self.policy, self.params, self.normaliser, state, seen, first)
        action = decision.mean.clamp(-1, 1).to(obs.dtype)
        state = feel(state, action, torch.zeros_like(reward))
        packed = self._pack({**state.memory, **state.last})
        if "attention" not in self.outputs:
            return action, packed
        assert isinstance(self.policy.core, LSTMMemory)
        return action, packed, self.policy.core.look(self.params, state.memory).to(obs.dtype)

    def packed(self, state: TrialState) -> np.ndarray:
        """What a policy remembers as this carries it, (1, S)."""
        return self._pack({**state.memory, **state.last}).numpy()
