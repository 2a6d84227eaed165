"""A policy learned in imagination: it acts in the model, whose slopes tell it what would have been better.

The model is differentiable, so the policy climbs the slope of what it would earn in it over a few steps and
of what it expects afterwards (SVG, Heess et al. 2015; the actor and the critic are those of Dreamer, Hafner
et al. 2020, eq. 6 to 8). It sees the observation and what the ensemble's memories tell of the task.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from metarl.learners.checkpoint import copy_parameters
from metarl.learners.meta_model.adaptation import Adapted
from metarl.learners.meta_model.config import MetaModelConfig
from metarl.learners.meta_model.imagination import failures
from metarl.learners.meta_model.model import DynamicsModel
from metarl.learners.meta_model.scales import Scales
from metarl.policies.gaussian import Params
from metarl.policies.told import ToldPolicy

SLOWNESS = 0.98  # of the critic that targets are made with
LONGEST = 10.0  # gradients beyond this norm are shortened


class Dreamer:
    """Actor and critic.

    Attributes:
        policy: their sizes.
        params: "actor/..." and "critic/...".
        slow: the critic that targets are made with.

    Args:
        scales: of what they see; shared with the model.
        config: settings.
        n_hints: numbers that the memories tell of the task.
        generator: of everything random here.
    """

    def __init__(self, scales: Scales, config: MetaModelConfig, n_hints: int, generator: torch.Generator):
        robot = scales.robot
        self.scales, self.config, self.generator = scales, config, generator
        self.policy = ToldPolicy(robot.n_features + n_hints, robot.action_dim)
        self.params = {k: p.requires_grad_() for k, p in self.policy.init(generator).items()}
        self.slow = {k: p.detach().clone() for k, p in self.params.items() if k.startswith("critic/")}
        self.adam = torch.optim.Adam(self.params.values(), lr=config.policy_lr)

    @property
    def unit(self) -> Tensor:
        """Of value: the spread of rewards, over a discounted life."""
        return self.scales.outcome.scale()[1][-1] / (1 - self.config.gamma)

    def see(self, obs: Tensor, hints: Tensor) -> Tensor:
        """What actor and critic see: obs (..., obs_dim), hints (..., n_hints)."""
        return torch.cat([self.scales.features(obs), hints], -1)

    def act(self, params: Params, seen: Tensor, noise: Tensor | None = None) -> Tensor:
        """Actions (..., action_dim) in (-1, 1); without noise those of the mean."""
        mean, log_std = self.policy.mean_std(params, seen)
        return torch.tanh(mean if noise is None else mean + log_std.exp() * noise)

    def update(self, model: DynamicsModel, adapted: Adapted, obs: Tensor) -> dict[str, float]:
        """One step of actor and critic.

        Args:
            model: sizes of the model.
            adapted: its parameters, adapted to N windows.
            obs: (N, R, obs_dim), from where it is imagined.
        """
        c, e = self.config, self.config.members
        now = obs.expand(e, *obs.shape)
        hints = adapted.hints()[None, :, None].expand(*now.shape[:3], -1)
        robot, told = self.scales.robot, adapted.told_rows()
        params = {k: p.detach() if k.startswith("critic") else p for k, p in self.params.items()}
        reward_unit = self.scales.outcome.scale()[1][-1]
        seen, rewards, alive, entropy = (
            [self.see(now, hints)],
            [],
            [torch.ones(now.shape[:3])],
            torch.zeros(()),
        )
        for _ in range(c.dream):
            noise = torch.randn(*now.shape[:3], robot.action_dim, generator=self.generator)
            mean, log_std = self.policy.mean_std(params, seen[-1])
            action = torch.tanh(mean + log_std.exp() * noise)
            entropy = entropy + log_std.sum(-1).mean() + torch.log(1.001 - action.square()).sum(-1).mean()
            features = adapted.rows(self.scales.features(now))
            said = model.predict(adapted.params, features, adapted.rows(action), told)
            now, reward = self.scales.after(now, said.mean.reshape(*now.shape[:3], -1))
            rewards.append(reward * (1 - c.gamma) / reward_unit)
            failed = failures(robot, now, said.failure.reshape(now.shape[:3]))
            alive.append(alive[-1] * ~failed)
            seen.append(self.see(now, hints))
        values = [self.policy.value(self.slow, x) for x in seen]
        # G_t = r_t + gamma alive ((1 - lambda) V_t+1 + lambda G_t+1)
        target, targets = values[-1], []
        for k in reversed(range(c.dream)):
            goes_on = alive[k + 1] / alive[k].clamp(min=1)
            target = rewards[k] + c.gamma * goes_on * (
                (1 - c.gae_lambda) * values[k + 1] + c.gae_lambda * target
            )
            targets.append(target)
        targets.reverse()
        weight = torch.stack(alive[:-1])
        gain = (weight * torch.stack(targets)).mean() + c.entropy * entropy / c.dream
        actor = {k: p for k, p in self.params.items() if k.startswith("actor")}
        slopes = torch.autograd.grad(-gain, list(actor.values()))
        looked = torch.stack(seen[:-1]).detach()
        loss = (
            weight * (self.policy.value(self.params, looked) - torch.stack(targets).detach()).square()
        ).mean()
        critic = {k: p for k, p in self.params.items() if k.startswith("critic")}
        for named, found in ((actor, slopes), (critic, torch.autograd.grad(loss, list(critic.values())))):
            for p, slope in zip(named.values(), found, strict=True):
                p.grad = slope
            torch.nn.utils.clip_grad_norm_(list(named.values()), LONGEST)
        self.adam.step()
        with torch.no_grad():
            for name, p in self.slow.items():
                p.lerp_(self.params[name], 1 - SLOWNESS)
        return {"imagined": float(gain.detach()), "value_loss": float(loss.detach())}

    def state_dict(self) -> dict[str, Any]:
        """Parameters, the slow critic, and optimiser."""
        return {"params": self.acting(), "slow": self.slow, "adam": self.adam.state_dict()}

    def acting(self) -> Params:
        """The parameters to act with."""
        return {k: p.detach() for k, p in self.params.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; ValueError if the parameters have other shapes."""
        copy_parameters(self.params, state["params"])
        copy_parameters(self.slow, state["slow"])
        self.adam.load_state_dict(state["adam"])
