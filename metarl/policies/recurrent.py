"""A policy that remembers: a recurrent core between what is seen and what is done."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import log, sqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils._pytree import tree_map

from metarl.policies.cores import CORES, Core, LSTMMemory
from metarl.policies.gaussian import Params, orthogonal
from metarl.policies.inputs import Inputs
from metarl.policies.told import through, two_layers

CRITIC_WIDTH = 128

Memory = dict[str, Tensor]  # (N, ...) each; what a policy carries from step to step of a trial


@dataclass(frozen=True)
class Decision:
    """What a policy makes of it: a Gaussian over actions, and what it expects.

    Attributes:
        mean: (..., action_dim).
        log_std: (action_dim,).
        value: (...,), expected discounted reward to go, in scaled reward; zero where a critic that is told
            the task was not.
    """

    mean: Tensor
    log_std: Tensor
    value: Tensor


@dataclass(frozen=True)
class RecurrentPolicy:
    """Core, then a fully connected layer with a skip from the observation, then action and value.

    The object holds sizes only; parameters and memory are passed in, and nothing is changed.
    `unroll` over a whole trial gives what `act` gives step by step.

    Args:
        obs_dim, action_dim: of the robot.
        core_name: one of `CORES`.
        width: of the core.
        hidden: of the fully connected layer, for action and value each.
        init_std, min_std: standard deviation of actions at first, and its floor.
        forgetful: the memory lasts for an episode instead of a trial.
        change_input: what the core sees of the change: "none", of the "reward" alone, or "all".
        n_told: numbers that the critic is told of the task, which are never seen by what acts; 0 for a critic
            that knows as little.
        n_weighty: of these numbers, the first, with which the weights of the critic's first layer change.
    """

    obs_dim: int
    action_dim: int
    core_name: str = "lstm-memory"
    width: int = 128
    hidden: int = 128
    init_std: float = 0.6
    min_std: float = 0.1
    forgetful: bool = False
    change_input: str = "reward"
    n_told: int = 0
    n_weighty: int = 0
    core: Core = field(init=False)

    def __post_init__(self):
        n_in = self.obs_dim + self.action_dim + 2 + self._n_change
        object.__setattr__(self, "core", CORES[self.core_name](n_in, self.width))

    @property
    def _n_change(self) -> int:
        return {"none": 0, "reward": 1, "all": self.obs_dim + 1}[self.change_input]

    def init(self, generator: torch.Generator) -> Params:
        """Fresh parameters: orthogonal, with small first actions."""
        n = self.core.n_out + self.obs_dim
        halves = [orthogonal(n, self.hidden, sqrt(2.0), generator) for _ in range(1 if self.n_told else 2)]
        return {
            **self.core.init(generator),
            "joint": torch.cat(halves, 1),
            "joint_bias": torch.zeros(len(halves) * self.hidden),
            "mean": orthogonal(self.hidden, self.action_dim, 0.01, generator),
            "mean_bias": torch.zeros(self.action_dim),
            **self._init_critic(generator),
            "log_std": torch.full((self.action_dim,), log(self.init_std)),
        }

    def _init_critic(self, generator: torch.Generator) -> Params:
        if self.n_told:
            n = self.obs_dim + self.n_told + self.core.n_out
            return two_layers("critic", n, CRITIC_WIDTH, 1, 1.0, generator, self.n_weighty)
        return {"value": orthogonal(self.hidden, 1, 1.0, generator), "value_bias": torch.zeros(1)}

    def start(self, params: Params, n: int) -> Memory:
        """What N new trials begin with."""
        return self.core.start(params, n)

    def act(
        self, params: Params, memory: Memory, inputs: Inputs, told: Tensor | None = None
    ) -> tuple[Decision, Memory]:
        """One step of N trials; told is what the critic is told of their tasks, (N, n_told)."""
        if self.forgetful:
            first = inputs.episode_start[:, 0] > 0
            memory = choose(~first, memory, self.start(params, len(first)))
        out, memory = self.core.step(params, memory, self._join(inputs))
        return self._decide(params, out, inputs.obs, told), memory

    def unroll(
        self, params: Params, inputs: Inputs, told: Tensor | None = None, memory: Memory | None = None
    ) -> Decision:
        """T steps of N trials, (T, N, ...).

        Args:
            params: of the policy.
            inputs: what was seen.
            told: (N, n_told), what the critic is told of the tasks.
            memory: what the N rows begin with, where they are pieces of trials; None for whole trials.
        """
        out = self._through(self.core.unroll, params, inputs, memory)
        return self._decide(params, out, inputs.obs, told)

    @property
    def can_be_cut(self) -> bool:
        """Whether a trial can be unrolled piece by piece, from the memory that each began with."""
        return self.core.fixed_size and not self.forgetful

    def inspect(self, params: Params, inputs: Inputs) -> dict[str, Tensor]:
        """What goes on in the core in T steps of N whole trials, (T, N, ...) each."""
        return self._through(self.core.inspect, params, inputs)

    def slot_effects(self, params: Params, inputs: Inputs) -> Tensor | None:
        """How far the mean action would be off, were a slot of the external memory never written.

        Returns:
            Root mean square over the action's numbers, (T, N, slots); None where the core has no slots.
        """
        core = self.core
        if not isinstance(core, LSTMMemory):
            return None
        mean = self.unroll(params, inputs).mean

        def off(slot: int) -> Tensor:
            out = self._through(partial(core.without, slot=slot), params, inputs)
            return (self._decide(params, out, inputs.obs, None).mean - mean).square().mean(-1).sqrt()

        return torch.stack([off(slot) for slot in range(core.n_slots)], -1)

    def _through(
        self, unroll: Callable[..., Any], params: Params, inputs: Inputs, memory: Memory | None = None
    ) -> Any:
        """What a function of the core that unrolls makes of trials, or of pieces that begin with a memory."""
        x = self._join(inputs)
        if not self.forgetful:
            return unroll(params, memory or self.start(params, x.shape[1]), x)
        steps, places = _episodes(inputs.episode_start[..., 0] > 0)
        out = unroll(params, self.start(params, steps.shape[1]), x.flatten(0, 1)[steps])
        return tree_map(lambda y: y.flatten(0, 1)[places], out)

    def _decide(self, params: Params, out: Tensor, obs: Tensor, told: Tensor | None) -> Decision:
        joint = torch.cat([out, obs], -1) @ params["joint"] + params["joint_bias"]
        actor, *critic = joint.tanh().split(self.hidden, -1)  # each with its half of the layer
        mean = actor @ params["mean"] + params["mean_bias"]
        if critic:
            value = (critic[0] @ params["value"] + params["value_bias"])[..., 0]
        elif told is not None:
            told = told.expand(*obs.shape[:-1], -1)
            seen = torch.cat([obs, told, out], -1)
            value = through("critic", params, seen, told[..., : self.n_weighty])[..., 0]
        else:
            value = obs.new_zeros(obs.shape[:-1])
        return Decision(mean, params["log_std"].clamp(min=log(self.min_std)), value)

    def _join(self, inputs: Inputs) -> Tensor:
        change = inputs.change[..., self.obs_dim + 1 - self._n_change :]  # that of the reward stands last
        before = torch.cat([inputs.prev_action, inputs.prev_reward, change], -1)
        if self.forgetful:
            before = before * (1 - inputs.episode_start)
        return torch.cat([inputs.obs, before, inputs.episode_start], -1)


def choose(mask: Tensor, new: Memory, old: Memory) -> Memory:
    """The new memory of the trials where the mask (N,) is true, the old one of the others.

    The second axis may have grown in one of them.
    """
    out = {}
    for k, x in new.items():
        y = old[k]
        if x is y:  # nothing has touched it
            out[k] = x
            continue
        if x.shape != y.shape:
            x, y = (pad(z, (0, 0, 0, max(x.shape[1], y.shape[1]) - z.shape[1])) for z in (x, y))
        out[k] = torch.where(mask.view(-1, *[1] * (x.ndim - 1)), x, y)
    return out


def _episodes(start: Tensor) -> tuple[Tensor, Tensor]:
    """How to lay the episodes of trials side by side, given where they start, (T, N) bool.

    Returns:
        For (L, M) places of M episodes of at most L steps, the step (of T * N) that goes there, or any
        step beyond an episode's end; and for each step, (T, N), the place (of L * M) it went to.
    """
    length, n = start.shape
    start = start.clone()
    start[0] = True
    number = start.T.flatten().cumsum(0) - 1  # of the episode, trial by trial
    step = torch.arange(length * n, device=start.device)  # trial by trial
    first = step[start.T.flatten()]
    age = step - first[number]
    n_episodes, longest = len(first), int(age.max()) + 1
    places = torch.zeros(longest, n_episodes, dtype=torch.int64, device=start.device)
    places[age, number] = (step % length) * n + step // length
    return places, (age * n_episodes + number).view(n, length).T
