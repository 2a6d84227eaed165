"""The recurrent learner: PPO over trials, so that what is remembered pays (RL2, Duan et al. 2016).

A trial is several episodes on one task. The policy sees its last action and reward and keeps its memory
over the episodes; the advantage runs over their ends too, so that exploring in the first episode is
rewarded by what the second one brings. PPO: Schulman et al. 2017.

Before that, a teacher may be trained that is told the task, or the family brings an expert; the policy
imitates it on the states that it visits itself (DAgger, Ross et al. 2011). And the critic, which nobody
needs afterwards, may be told the task, too (Pinto et al. 2017).
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from copy import deepcopy
from functools import partial
from math import log
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metarl import ranks
from metarl.learners.checkpoint import copy_parameters, same_shapes
from metarl.learners.meta_lstm.config import MetaLSTMConfig
from metarl.learners.ppo import TOO_FAR, braked, minibatches, remaining, surrogate
from metarl.learners.returns import discounted_past, gae, standardised
from metarl.learners.shards import Shards, set_gradients
from metarl.learners.teacher.config import TeacherConfig
from metarl.learners.teacher.imitator import IMITATION, Imitator
from metarl.policies.gaussian import Params, log_prob
from metarl.policies.inputs import InputNormaliser, Inputs
from metarl.policies.normaliser import Normaliser
from metarl.policies.recurrent import CRITIC_WIDTH, RecurrentPolicy, choose
from metarl.sampling.trajectories import Trials
from metarl.threads import thread_pool

SHARD = 800  # steps that a CPU thread learns from at a time: small products gain little from more threads
QUIET = 0.3, 0.8  # of the learner's own progress, where its noise begins to be led, and has its final size


class MetaLSTMLearner(Imitator):
    """The learner: takes trials, returns numbers. It never sees a simulator.

    Attributes, besides those of `Imitator`:
        policy: sizes of the policy.
        params: its parameters.
        normaliser: of its inputs; moves at the end of `update` only.
        scale: of discounted returns; rewards are divided by its standard deviation.
        brake: what the learning rate is multiplied by; below 1 after steps that went too far.

    Args:
        obs_dim, action_dim: of the robot.
        config: settings.
        seed: of everything random here.
        device: where to compute.
        n_told: numbers in which a task is told, to whoever may know it in training.
        expert: trials say what an expert would have done, which is imitated instead of a teacher.
    """

    config: MetaLSTMConfig

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        config: MetaLSTMConfig,
        seed: int,
        device: str = "cpu",
        n_told: int = 0,
        expert: bool = False,
    ):
        c = config
        super().__init__(obs_dim, action_dim, c, teaching(c), seed, n_told, expert)
        self.device = torch.device(device)
        for_critic = n_told if c.critic == "told" else 0
        self.policy = RecurrentPolicy(
            obs_dim,
            action_dim,
            c.core,
            c.width,
            c.hidden,
            c.init_std,
            min(c.min_std, c.final_std or c.min_std),
            forgetful=c.memory_span == "episode",
            change_input=c.change_input,
            n_told=for_critic,
            n_weighty=for_critic if c.told_in == "weights" else 0,
        )
        self.normaliser = InputNormaliser(obs_dim, c.reward_input)
        self.scale = Normaliser(1)
        self.brake = 1.0
        self.generator = torch.Generator().manual_seed(seed)
        initial = self.policy.init(self.generator)
        self.params = {k: p.to(self.device).requires_grad_() for k, p in initial.items()}
        self.adam = torch.optim.Adam(self.params.values(), lr=c.lr, eps=1e-5)

    def acting(self) -> Params:
        """The parameters to act with, on the CPU."""
        return {k: p.detach().cpu() for k, p in self.params.items()}

    def take_over(self) -> None:
        """Begin where the teacher has come to, but for what it does when: that has to be imitated."""
        assert self.teacher is not None
        self.taught = True
        self.normaliser.obs.load_state_dict(deepcopy(self.teacher.normaliser.state_dict()))
        self.scale.load_state_dict(deepcopy(self.teacher.scale.state_dict()))
        with torch.no_grad():
            self.params["log_std"].copy_(self.teacher.log_std)
            for name, learned in self.teacher.critic_params().items():
                if (p := self.params.get(name)) is not None:  # a blind critic has none of them
                    p.zero_()  # what the memory holds says nothing new so far
                    p[: len(learned)].copy_(learned)

    def update(self, trials: Trials, progress: float) -> dict[str, float]:
        """Learn from trials.

        Args:
            trials: collected by the present parameters.
            progress: fraction of the training that is over, without the teacher's, for the learning rate
                and for how much the teacher is imitated.

        Returns:
            Numbers to log.
        """
        c = self.config
        self.imitation = self.imitates(progress)
        for group in self.adam.param_groups:
            group["lr"] = c.lr * remaining(c.lr_schedule, progress) * self.brake
        steps = []
        with thread_pool() as pool:
            self._rescale(trials)
            batch = self._batch(trials)
            n = batch["action"].shape[1]
            for index in minibatches(n, c.epochs, c.minibatches, self.generator):
                steps.append(self._step(batch, index.to(self.device), pool))
                if self._too_far(steps[-1]):
                    break
            self.brake = braked(self.brake, steps[-1]["kl"], c.target_kl, self._too_far(steps[-1]))
            self._take_in(trials)
        self._lead_std(progress)
        stats = {k: float(np.mean([s[k] for s in steps])) for k in steps[0]}
        explained = 1 - (batch["target"] - batch["value"]).var() / batch["target"].var().clamp(min=1e-8)
        return {
            **stats,
            "kl": steps[-1]["kl"],
            "adam_steps": float(len(steps)),
            "lr": self.adam.param_groups[0]["lr"],
            "explained_variance": ranks.mean(float(explained), n),
            "reward_scale": float(self._reward_scale()),
        }

    def _lead_std(self, progress: float) -> None:
        """Keep the noise of the actions between bounds that close upon its final size."""
        c = self.config
        if not c.final_std:
            return
        left = float(np.clip((QUIET[1] - progress) / (QUIET[1] - QUIET[0]), 0, 1))
        low, high = (log(c.final_std) + left * log(std / c.final_std) for std in (c.min_std, c.init_std))
        with torch.no_grad():
            self.params["log_std"].clamp_(min(low, high), max(low, high))

    def inputs(self, trials: Trials) -> Inputs:
        """What the policy saw at every step of the trials."""
        obs, action, reward, start, change = (
            torch.from_numpy(x).to(self.device)
            for x in (trials.obs, trials.action, trials.reward, trials.episode_start, trials.change())
        )
        # The last action and reward are those of the row before; a trial begins with none.
        action = torch.cat([torch.zeros_like(action[:1]), action[:-1]])
        reward = torch.cat([torch.zeros_like(reward[:1]), reward[:-1]])
        return self.normaliser(obs, action, reward, start, change)

    def _take_in(self, trials: Trials) -> None:
        """Let the normaliser see what was seen."""
        obs, reward, change, start = (
            torch.from_numpy(x) for x in (trials.obs, trials.reward, trials.change(), trials.episode_start)
        )
        self.normaliser.update(obs.flatten(0, 1), reward.reshape(-1, 1), change[~start])

    def _rescale(self, trials: Trials) -> None:
        earned = discounted_past(torch.from_numpy(trials.reward), self.config.gamma)
        self.scale.update(earned.reshape(-1, 1))

    def _reward_scale(self) -> Tensor:
        return self.scale.scale()[1][0]

    def _batch(self, trials: Trials) -> dict[str, Tensor]:
        """Everything a minibatch is cut from, (L, P, ...) tensors: P pieces of L steps, or whole trials."""
        c = self.config
        reward, value, terminated, action, old, told = (
            torch.from_numpy(x).to(self.device)
            for x in (
                trials.reward,
                trials.value,
                trials.terminated,
                trials.action,
                trials.log_prob,
                trials.told,
            )
        )
        failed = terminated & c.cut_at_failure
        end = failed.clone()
        end[-1] = True  # the end of a trial; the end of an episode within it cuts nothing
        scaled = reward / self._reward_scale()
        advantage = gae(scaled, value[:-1], value[1:], failed, end, c.gamma, c.gae_lambda)
        batch = {
            **vars(self.inputs(trials)),
            "action": action,
            "log_prob": old,
            "value": value[:-1],
            "target": advantage + value[:-1],
            "advantage": standardised(advantage),
            "told": told,
        }
        if self.imitation:
            batch["shown"] = self.shown(trials).to(self.device)
        memory = {f"memory/{k}": x.flatten(0, 1)[None].to(self.device) for k, x in trials.memory.items()}
        cut = {k: _cut(x, trials.n_pieces) for k, x in batch.items()}
        first = torch.arange(cut["value"].shape[1], device=self.device) < trials.reward.shape[1]
        return {**cut, **memory, "first": first[None]}

    def _step(self, batch: Mapping[str, Tensor], index: Tensor, pool: Executor) -> dict[str, float]:
        """One step of Adam on some of the pieces, one thread to a shard of them.

        It is not taken where the steps before it have gone too far already.
        """
        shards = Shards(index, len(batch["action"]), SHARD)
        slopes, means = shards.average(pool.map(partial(self._gradient, batch), shards.parts))
        norm = set_gradients(list(self.params.values()), slopes, self.config.max_grad_norm)
        if not self._too_far(means):
            self.adam.step()
        return {**means, "grad_norm": float(norm)}

    def _too_far(self, stats: Mapping[str, float]) -> bool:
        """Whether the policy has moved too far from the one that acted.

        As far as it imitates it may: else the rate would fall by what imitating moves it, and be gone when
        the policy goes on by itself.
        """
        return stats["kl"] * (1 - self.imitation) > TOO_FAR * self.config.target_kl

    def _gradient(
        self, batch: Mapping[str, Tensor], index: Tensor
    ) -> tuple[Sequence[Tensor], dict[str, float]]:
        """Slopes of the loss on some of the pieces with respect to every parameter, and numbers to log."""
        c = self.config
        some = {k: x[:, index] for k, x in batch.items()}
        inputs = Inputs(*(some[k] for k in Inputs.__dataclass_fields__))
        memory = {k.removeprefix("memory/"): x[0] for k, x in some.items() if k.startswith("memory/")}
        if memory:  # that of a trial's first piece is a parameter, and learned
            memory = choose(some["first"][0], self.policy.start(self.params, len(index)), memory)
        decision = self.policy.unroll(self.params, inputs, some["told"], memory or None)
        now = log_prob(decision.mean, decision.log_std, some["action"])
        promise = surrogate(now, some["log_prob"], some["advantage"], c.clip)
        value_loss = 0.5 * (decision.value - some["target"]).square().mean()
        loss = c.value_weight * value_loss
        stats = {
            "gain": promise.gain,
            "value_loss": value_loss,
            "kl": promise.kl,
            "clipped": promise.clipped,
            "action_std": decision.log_std.exp().mean(),
        }
        if self.imitation < 1:
            loss = loss - promise.gain - c.entropy * decision.log_std.sum()  # the entropy, up to a constant
        if self.imitation > 0:
            stats["distance"] = (decision.mean - some["shown"]).square().sum(-1).mean()
            loss = loss + IMITATION * self.imitation * stats["distance"]
        # While it only imitates, the noise of its actions has no slope.
        slopes = torch.autograd.grad(
            loss, list(self.params.values()), allow_unused=True, materialize_grads=True
        )
        return slopes, {k: float(v.detach()) for k, v in stats.items()}

    def state_dict(self) -> dict[str, Any]:
        """Parameters, optimiser, normalisers and generator."""
        return {
            "params": {k: p.detach() for k, p in self.params.items()},
            "adam": self.adam.state_dict(),
            "normaliser": self.normaliser.state_dict(),
            "scale": self.scale.state_dict(),
            "brake": self.brake,
            "generator": self.generator.get_state(),
            **self.imitator_state(),
        }

    def acting_state(self) -> dict[str, Any]:
        """The part of it that acting needs."""
        return {
            "params": {k: p.detach() for k, p in _acting(self.params).items()},
            "normaliser": self.normaliser.state_dict(),
        }

    def load_acting_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `acting_state` gave."""
        copy_parameters(_acting(self.params), _acting(state["params"]))
        self.normaliser.load_state_dict(state["normaliser"])

    def can_only_act(self, state: Mapping[str, Any]) -> bool:
        """Whether of what `state_dict` gave all fits but the critic, which was told other things."""
        theirs = state["params"]
        return same_shapes(_acting(self.params), _acting(theirs)) and not same_shapes(self.params, theirs)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; ValueError if the parameters have other shapes."""
        copy_parameters(self.params, state["params"])
        self.adam.load_state_dict(state["adam"])
        self.normaliser.load_state_dict(state["normaliser"])
        self.scale.load_state_dict(state["scale"])
        self.brake = float(state["brake"])
        self.generator.set_state(state["generator"])
        self.load_imitator_state(state)


def teaching(config: MetaLSTMConfig) -> TeacherConfig:
    """How the teacher of a policy with a memory is trained."""
    return TeacherConfig.of_pupil(config, width=CRITIC_WIDTH, min_std=config.min_std)


def _acting(params: Params) -> Params:
    """Those of the parameters that acting needs."""
    return {k: p for k, p in params.items() if not k.startswith("critic/")}


def _cut(x: Tensor, n_pieces: int) -> Tensor:
    """Trials (T, N, ...) cut into pieces, side by side, (T / n_pieces, n_pieces * N, ...)."""
    return x if n_pieces == 1 else x.unflatten(0, (n_pieces, -1)).transpose(0, 1).flatten(1, 2)
