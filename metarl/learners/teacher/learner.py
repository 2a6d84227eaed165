"""The teacher's learner: PPO of a policy that is told the task, on single steps."""

from collections.abc import Mapping, Sequence
from math import log
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metarl import ranks
from metarl.learners.checkpoint import copy_parameters
from metarl.learners.ppo import TOO_FAR, braked, minibatches, surrogate
from metarl.learners.returns import discounted_past, gae, standardised
from metarl.learners.shards import Shards, set_gradients
from metarl.learners.teacher.config import TeacherConfig
from metarl.policies.gaussian import Params, log_prob
from metarl.policies.inputs import BOUND
from metarl.policies.normaliser import Normaliser
from metarl.policies.told import ToldPolicy
from metarl.sampling.lessons import Lessons
from metarl.threads import thread_pool

FEW = 8  # numbers of a task that weigh as they are
ACTOR, CRITIC = range(ranks.LANES)  # which learn side by side


class Teacher:
    """A policy without a memory that is told the task, and its learner. It never sees a simulator.

    With n_told = 0 it is told nothing, and learns what is best on average.

    Attributes:
        n_told: numbers of a task that it is told.
        weight: of each of them. Adam moves all parameters by as much, so many numbers together would drown
            what is seen, and a few tasks be learned by heart by them: they weigh no more than a few.
        policy: sizes of the policy.
        params: its parameters.
        normaliser: of observations; moves at the end of `update` only.
        scale: of discounted returns; rewards are divided by its standard deviation.
        brake: what the learning rate is multiplied by; below 1 after steps that went too far.
        log_std: (action_dim,) of its actions, as they were lately.
    """

    def __init__(self, obs_dim: int, n_told: int, action_dim: int, config: TeacherConfig, seed: int):
        c = self.config = config
        self.n_told, self.weight = n_told, min(1.0, FEW / max(1, n_told))
        n_weighty = n_told if c.told_in == "weights" else 0
        self.policy = ToldPolicy(obs_dim + n_told, action_dim, c.width, c.init_std, c.min_std, n_weighty)
        self.normaliser, self.scale, self.brake = Normaliser(obs_dim), Normaliser(1), 1.0
        self.generator = torch.Generator().manual_seed(seed)
        self.params: Params = {k: p.requires_grad_() for k, p in self.policy.init(self.generator).items()}
        self.actor = _Part("actor", self.params, c.lr)
        self.critic = _Part("critic", self.params, c.lr)
        self.log_std = torch.full((action_dim,), log(c.init_std))

    def seen(self, obs: Tensor, told: Tensor) -> Tensor:
        """What the policy sees, (..., n_in), of obs (..., obs_dim) and of the task in numbers.

        Of told, (..., n), the policy sees the first n_told: all or none.
        """
        told = self.weight * told[..., : self.n_told]
        return torch.cat([self.normaliser(obs).clamp(-BOUND, BOUND), told.expand(*obs.shape[:-1], -1)], -1)

    def act(self, obs: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of its action, (..., action_dim) each."""
        return self.policy.mean_std(self.params, self.seen(obs, told))

    def show(self, obs: np.ndarray, told: Tensor) -> Tensor:
        """What it would do at (T, N, obs_dim) in tasks (T, N, n_told), as carried out, (T, N, action_dim)."""
        with torch.no_grad():
            return self.act(torch.from_numpy(obs), told)[0].clamp(-1, 1)

    def critic_params(self) -> Params:
        """The critic's parameters, as one needs them who sees the numbers of the task as they are."""
        params = {k: p.detach() for k, p in self.params.items() if k.startswith("critic/")}
        first = params["critic/w0"].clone()
        by_input = first.unflatten(0, (self.policy.n_in, -1))  # alone, and times each number of the task
        by_input[self.policy.n_in - self.n_told :] *= self.weight
        by_input[:, 1:] *= self.weight
        return {**params, "critic/w0": first}

    def update(self, lessons: Lessons, progress: float) -> dict[str, float]:
        """Learn from steps.

        Args:
            lessons: collected by the present parameters.
            progress: fraction of the training that is over, for the learning rate.

        Returns:
            Numbers to log.
        """
        c = self.config
        lr = c.lr * (1 - progress) * self.brake
        batch = self._batch(lessons)
        orders = list(minibatches(len(batch["x"]), c.epochs, c.minibatches, self.generator))
        with thread_pool(2) as pool:  # actor and critic share nothing
            actor = pool.submit(self._learn_actor, batch, orders, lr)
            critic = pool.submit(self._learn_critic, batch, orders, lr)
            steps, stats = actor.result(), critic.result()
        kl = steps[-1]["kl"]
        self.brake = braked(self.brake, kl, c.target_kl, stopped=kl > TOO_FAR * c.target_kl)
        self.normaliser.update(torch.from_numpy(lessons.obs).flatten(0, 1))
        self.log_std = ranks.mean(torch.from_numpy(lessons.log_std).mean((0, 1)), lessons.reward.size)
        return {**stats, **steps[-1], "adam_steps": float(len(steps)), "lr": lr}

    def _batch(self, lessons: Lessons) -> dict[str, Tensor]:
        """Everything a minibatch is cut from, (B, ...) tensors."""
        c = self.config
        data = {k: torch.from_numpy(x) for k, x in vars(lessons).items()}
        reward, terminated = data["reward"], data["terminated"]
        self.scale.update(discounted_past(reward, c.gamma).reshape(-1, 1))
        x = self.seen(data["obs"], data["told"])
        with torch.no_grad():
            value = self.policy.value(self.params, x)
            after = self.policy.value(self.params, self.seen(data["obs_after"], data["told_after"]))
        scaled, end = reward / self.scale.scale()[1], terminated | data["truncated"]
        advantage = gae(scaled, value, after, terminated, end, c.gamma, c.gae_lambda)
        return {
            "x": x.flatten(0, 1),
            "action": data["action"].flatten(0, 1),
            "log_prob": data["log_prob"].flatten(),
            "target": (advantage + value).flatten(),
            "advantage": standardised(advantage).flatten(),
        }

    def _learn_actor(
        self, batch: Mapping[str, Tensor], orders: Sequence[Tensor], lr: float
    ) -> list[dict[str, float]]:
        """A step of Adam for each minibatch, until the policy has gone too far; numbers of every step."""
        c, steps = self.config, []
        for index in orders:
            shards = Shards(index)
            (some,) = shards.parts
            mean, log_std = self.policy.mean_std(self.params, batch["x"][some])
            promise = surrogate(
                log_prob(mean, log_std, batch["action"][some]),
                batch["log_prob"][some],
                batch["advantage"][some],
                c.clip,
            )
            numbers = {"kl": float(promise.kl.detach()), "action_std": float(log_std.detach().exp().mean())}
            slopes, numbers = shards.average([(self.actor.slopes(-promise.gain), numbers)], ACTOR)
            steps.append(numbers)
            if numbers["kl"] > TOO_FAR * c.target_kl:
                break
            self.actor.step(slopes, lr, c.max_grad_norm)
        return steps

    def _learn_critic(
        self, batch: Mapping[str, Tensor], orders: Sequence[Tensor], lr: float
    ) -> dict[str, float]:
        """A step of Adam for each minibatch."""
        losses = []
        for index in orders:
            shards = Shards(index)
            (some,) = shards.parts
            value = self.policy.value(self.params, batch["x"][some])
            loss = 0.5 * (value - batch["target"][some]).square().mean()
            found = self.critic.slopes(loss), float(loss.detach())
            slopes, number = shards.average([found], CRITIC)
            self.critic.step(slopes, lr, self.config.max_grad_norm)
            losses.append(number)
        return {"value_loss": float(np.mean(losses))}

    def state_dict(self) -> dict[str, Any]:
        """Parameters, optimiser, normalisers and generator."""
        return {
            "params": {k: p.detach() for k, p in self.params.items()},
            "actor": self.actor.adam.state_dict(),
            "critic": self.critic.adam.state_dict(),
            "normaliser": self.normaliser.state_dict(),
            "scale": self.scale.state_dict(),
            "brake": self.brake,
            "log_std": self.log_std,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; ValueError if the parameters have other shapes."""
        copy_parameters(self.params, state["params"])
        self.actor.adam.load_state_dict(state["actor"])
        self.critic.adam.load_state_dict(state["critic"])
        self.normaliser.load_state_dict(state["normaliser"])
        self.scale.load_state_dict(state["scale"])
        self.brake, self.log_std = float(state["brake"]), state["log_std"]
        self.generator.set_state(state["generator"])


class _Part:
    """One of the two networks, and its Adam."""

    def __init__(self, name: str, params: Params, lr: float):
        self.params = [p for k, p in params.items() if k.startswith(f"{name}/")]
        self.adam = torch.optim.Adam(self.params, lr=lr, eps=1e-5, fused=True)

    def slopes(self, loss: Tensor) -> Sequence[Tensor]:
        """Of the loss, in each parameter."""
        return torch.autograd.grad(loss, self.params)

    def step(self, slopes: Sequence[Tensor], lr: float, max_grad_norm: float) -> None:
        """One step down these slopes."""
        set_gradients(self.params, slopes, max_grad_norm)
        for group in self.adam.param_groups:
            group["lr"] = lr
        self.adam.step()


def imitation(progress: float, until: float) -> float:
    """How much a pupil imitates: all the way up to a share of its training, not any more amid the rest."""
    return float(np.clip(1 - 2 * (progress - until) / (1 - until), 0, 1))
