"""The policy: it learns off-policy from all that was lived through, and is told what the model remembers.

Soft actor-critic (Haarnoja et al. 2018, the version that tunes its temperature), with critics that normalise
their layers (as in DroQ, Hiraoka et al. 2022), since they learn from few steps many times over.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import log, sqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear, softplus

from metarl.learners.checkpoint import copy_parameters
from metarl.learners.meta_model.config import MetaModelConfig
from metarl.learners.meta_model.scales import Scales
from metarl.policies.gaussian import Params

CRITICS = "critic_1", "critic_2"
PATIENCE = 2  # steps of the critics to one of the actor
QUIET, LOUD = -5.0, 2.0  # between which the log of the actor's spread lies, before it is squashed


@dataclass(frozen=True)
class Experience:
    """B steps to learn from.

    Attributes:
        seen: (B, n_in), before each.
        action: (B, action_dim) in [-1, 1].
        earned: (B,) discounted reward of the step, and of a few after it.
        worth: (B,) what a reward after those counts now; zero where the robot has failed.
        after: (B, n_in), what is seen after them, before any reset.
    """

    seen: Tensor
    action: Tensor
    earned: Tensor
    worth: Tensor
    after: Tensor


class ActorCritic:
    """An actor, two critics, and the temperature at which the actor is held.

    Attributes:
        params: "actor/...", "critic_1/...", "critic_2/...", and "temperature/log".
        slow: critics that follow the critics, from which targets are made.
        n_steps: taken so far.

    Args:
        scales: of what they see; shared with the model.
        config: settings.
        n_hints: numbers that a memory tells of the task.
        generator: of everything random here.
    """

    def __init__(self, scales: Scales, config: MetaModelConfig, n_hints: int, generator: torch.Generator):
        self.scales, self.config, self.generator = scales, config, generator
        n_in, n_act = scales.robot.n_features + n_hints, scales.robot.action_dim
        width = config.policy_width
        self.params: Params = _layers("actor", (n_in, width, width, 2 * n_act), generator)
        for name in CRITICS:
            self.params |= _layers(name, (n_in + n_act, width, width, 1), generator)
        self.params["temperature/log"] = torch.tensor(log(0.1))
        self.slow = {k: p.clone() for k, p in self.params.items() if k.startswith("critic")}
        for p in self.params.values():
            p.requires_grad_()
        lr = {"actor": config.policy_lr, "critic": config.critic_lr, "temperature": config.critic_lr}
        self.adam = {
            name: torch.optim.Adam(self._own(name).values(), lr=rate, fused=True) for name, rate in lr.items()
        }
        self.n_steps = 0

    def _own(self, name: str) -> Params:
        return {k: p for k, p in self.params.items() if k.startswith(name)}

    @property
    def unit(self) -> Tensor:
        """Of value: the spread of rewards."""
        return self.scales.outcome.scale()[1][-1]

    def see(self, obs: Tensor, hints: Tensor) -> Tensor:
        """What actor and critics see: obs (..., obs_dim), hints (..., n_hints)."""
        return torch.cat([self.scales.features(obs), hints], -1)

    def act(self, params: Params, seen: Tensor, noise: Tensor | None = None) -> Tensor:
        """Actions (..., action_dim) in (-1, 1); without noise those of the mean."""
        mean, log_std = _actor(params, seen)
        return torch.tanh(mean if noise is None else mean + log_std.exp() * noise)

    def worth(self, params: Params, seen: Tensor) -> Tensor:
        """What is expected from there on if the actor goes on by its mean, discounted reward (...,)."""
        return self.unit * _least(params, seen, self.act(params, seen))

    def update(self, some: Experience, pool: Executor | None = None) -> dict[str, float]:
        """One step of the critics, and now and then one of actor and temperature; numbers to log.

        Args:
            some: steps to learn from.
            pool: threads to compute on; None for this one alone, with the same result.
        """
        target = self._target(some)
        acts = self.n_steps % PATIENCE == 0
        noise = torch.randn(some.action.shape, generator=self.generator)
        jobs = [partial(self._critic_slopes, name, some, target) for name in CRITICS]
        if acts:
            jobs.append(partial(self._actor_slopes, some.seen, noise))
        stats: dict[str, float] = {}
        for slopes, numbers in (pool.map if pool else map)(lambda job: job(), jobs):
            for name, slope in slopes.items():
                self.params[name].grad = slope
            stats |= numbers
        for name, adam in self.adam.items():
            if acts or name == "critic":
                adam.step()
        with torch.no_grad():
            critics = [self.params[name] for name in self.slow]
            torch._foreach_lerp_(list(self.slow.values()), critics, self.config.tau)
        self.n_steps += 1
        return stats

    @torch.no_grad()
    def _target(self, some: Experience) -> Tensor:
        """What the critics should have said: what was earned, and the value of what came, noise included."""
        noise = torch.randn(some.action.shape, generator=self.generator)
        action, density = _draw(self.params, some.after, noise)
        value = _least(self.slow, some.after, action) - self.params["temperature/log"].exp() * density
        return some.earned / self.unit + some.worth * value

    def _critic_slopes(self, name: str, some: Experience, target: Tensor) -> tuple[Params, dict[str, float]]:
        own = self._own(name)
        said = _critic(name, self.params, some.seen, some.action)
        loss = (said - target).square().mean()
        slopes = torch.autograd.grad(loss, list(own.values()))
        stats = {"value_loss": float(loss.detach()), "value": float(said.detach().mean())}
        return dict(zip(own, slopes, strict=True)), stats

    def _actor_slopes(self, seen: Tensor, noise: Tensor) -> tuple[Params, dict[str, float]]:
        own = self._own("actor")
        action, density = _draw(self.params, seen, noise)
        temperature = self.params["temperature/log"].exp().detach()
        loss = (temperature * density - _least(self.params, seen, action)).mean()
        slopes = dict(zip(own, torch.autograd.grad(loss, list(own.values())), strict=True))
        # The entropy is led to minus one nat a number of the action.
        wanted = -float(noise.shape[-1])
        slopes["temperature/log"] = -temperature * (density.detach().mean() + wanted)
        return slopes, {"temperature": float(temperature), "entropy": -float(density.detach().mean())}

    def state_dict(self) -> dict[str, Any]:
        """Parameters, the slow critics, optimisers and the number of steps."""
        adam = {name: adam.state_dict() for name, adam in self.adam.items()}
        return {"params": self.acting(), "slow": self.slow, "adam": adam, "n_steps": self.n_steps}

    def acting(self) -> Params:
        """The parameters to act with."""
        return {k: p.detach() for k, p in self.params.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; ValueError if the parameters have other shapes."""
        copy_parameters(self.params, state["params"])
        copy_parameters(self.slow, state["slow"])
        for name, adam in self.adam.items():
            adam.load_state_dict(state["adam"][name])
        self.n_steps = int(state["n_steps"])


def _layers(name: str, sizes: Sequence[int], generator: torch.Generator) -> Params:
    """Fresh parameters of layers from each size to the next, uniform within 1 / sqrt(columns)."""
    params = {}
    for i, (columns, rows) in enumerate(pairwise(sizes)):
        for part, shape in (("w", (rows, columns)), ("b", (rows,))):
            drawn = torch.rand(shape, generator=generator)
            params[f"{name}/{part}{i}"] = (2 * drawn - 1) / sqrt(columns)
    return params


def _through(name: str, params: Params, x: Tensor, normalised: bool) -> Tensor:
    """What two layers and a linear one make of (..., n_in), (..., n_out)."""
    for i in range(2):
        x = linear(x, params[f"{name}/w{i}"], params[f"{name}/b{i}"])
        x = torch.relu(layer_norm(x, x.shape[-1:]) if normalised else x)
    return linear(x, params[f"{name}/w2"], params[f"{name}/b2"])


def _actor(params: Params, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log spread of the action before it is squashed, (..., action_dim) each."""
    mean, log_std = _through("actor", params, seen, False).chunk(2, -1)
    return mean, QUIET + (LOUD - QUIET) / 2 * (torch.tanh(log_std) + 1)


def _draw(params: Params, seen: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Actions drawn by noise, in (-1, 1), and their log densities (...,) (Haarnoja et al. 2018, eq. 21)."""
    mean, log_std = _actor(params, seen)
    raw = mean + log_std.exp() * noise
    squash = 2 * (log(2) - raw - softplus(-2 * raw))  # log of 1 - tanh ** 2
    density = -0.5 * noise.square() - log_std - 0.5 * log(2 * torch.pi) - squash
    return torch.tanh(raw), density.sum(-1)


def _critic(name: str, params: Params, seen: Tensor, action: Tensor) -> Tensor:
    """What an action is worth there, in spreads of the reward, (...,)."""
    return _through(name, params, torch.cat([seen, action], -1), True)[..., 0]


def _least(params: Params, seen: Tensor, action: Tensor) -> Tensor:
    """The lower of what the two critics say, (...,)."""
    return torch.minimum(*(_critic(name, params, seen, action) for name in CRITICS))
