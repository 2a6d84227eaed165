"""The recurrent learner: PPO over whole trials, so that what is remembered pays (RL2, Duan et al. 2016).

A trial is several episodes on one task. The policy sees its last action and reward and keeps its memory
over the episodes; the advantage runs over their ends too, so that exploring in the first episode is
rewarded by what the second one brings. PPO: Schulman et al. 2017.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from math import cos, log, pi
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metarl.learners.meta_lstm.config import MetaLSTMConfig
from metarl.learners.returns import discounted_returns, gae
from metarl.policies.gaussian import Params, log_prob
from metarl.policies.inputs import InputNormaliser, Inputs
from metarl.policies.normaliser import Normaliser
from metarl.policies.recurrent import RecurrentPolicy
from metarl.sampling.trajectories import Trials
from metarl.threads import torch_threads

SHARD = 3200  # steps that a CPU thread learns from at a time: small products gain little from more threads
DUAL_CLIP = 3.0  # ratio beyond which an action pushes no longer, however bad it was


TOO_FAR = 1.5  # times the target KL, where an iteration's learning stops
BRAKE, RELEASE = 1.5, 1.05  # by which the learning rate falls after such a stop, and recovers


class MetaLSTMLearner:
    """The learner: takes trials, returns numbers. It never sees a simulator.

    Attributes:
        policy: sizes of the policy.
        params: its parameters.
        normaliser: of its inputs; moves at the end of `update` only.
        scale: of discounted returns; rewards are divided by its standard deviation.
        brake: what the learning rate is multiplied by; below 1 after steps that went too far.
    """

    def __init__(self, obs_dim: int, action_dim: int, config: MetaLSTMConfig, seed: int, device: str = "cpu"):
        c = self.config = config
        self.device = torch.device(device)
        self.policy = RecurrentPolicy(
            obs_dim,
            action_dim,
            c.core,
            c.width,
            c.hidden,
            c.init_std,
            c.min_std,
            forgetful=c.memory_span == "episode",
            change_input=c.change_input,
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

    def update(self, trials: Trials, progress: float) -> dict[str, float]:
        """Learn from whole trials.

        Args:
            trials: collected by the present parameters.
            progress: fraction of the training that is over, for the learning rate.

        Returns:
            Numbers to log.
        """
        c = self.config
        for group in self.adam.param_groups:
            group["lr"] = c.lr * _remaining(c.lr_schedule, progress) * self.brake
        steps, n_threads = [], torch.get_num_threads()
        with torch_threads(1), ThreadPoolExecutor(n_threads) as pool:
            self._rescale(trials)
            batch = self._batch(trials)
            for index in self._minibatches(trials.reward.shape[1]):
                steps.append(self._step(batch, index, pool))
                if steps[-1]["kl"] > TOO_FAR * c.target_kl:
                    self.brake /= BRAKE
                    break
            else:
                self.brake = min(1.0, self.brake * RELEASE)
            self._take_in(trials)
        stats = {k: float(np.mean([s[k] for s in steps])) for k in steps[0]}
        explained = 1 - (batch["target"] - batch["value"]).var() / batch["target"].var().clamp(min=1e-8)
        return {
            **stats,
            "kl": steps[-1]["kl"],
            "adam_steps": float(len(steps)),
            "lr": self.adam.param_groups[0]["lr"],
            "explained_variance": float(explained),
            "reward_scale": float(self._reward_scale()),
        }

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
        backwards = torch.from_numpy(trials.reward[::-1].copy())
        earned = discounted_returns(backwards, torch.ones_like(backwards).bool(), self.config.gamma)
        self.scale.update(earned.reshape(-1, 1))

    def _reward_scale(self) -> Tensor:
        return self.scale.scale()[1][0]

    def _batch(self, trials: Trials) -> dict[str, Tensor]:
        """Everything a minibatch is cut from, (T, N, ...) tensors."""
        c = self.config
        reward, value, terminated, action, old = (
            torch.from_numpy(x).to(self.device)
            for x in (trials.reward, trials.value, trials.terminated, trials.action, trials.log_prob)
        )
        failed = terminated & c.cut_at_failure
        end = failed.clone()
        end[-1] = True  # the end of a trial; the end of an episode within it cuts nothing
        scaled = reward / self._reward_scale()
        advantage = gae(scaled, value[:-1], value[1:], failed, end, c.gamma, c.gae_lambda)
        return {
            **vars(self.inputs(trials)),
            "action": action,
            "log_prob": old,
            "value": value[:-1],
            "target": advantage + value[:-1],
            "advantage": (advantage - advantage.mean()) / (advantage.std() + 1e-8),
        }

    def _minibatches(self, n_trials: int) -> Iterator[Tensor]:
        """Which trials to learn from, step by step: all of them once an epoch, in a new order."""
        for _ in range(self.config.epochs):
            order = torch.randperm(n_trials, generator=self.generator)
            yield from order.to(self.device).tensor_split(self.config.minibatches)

    def _step(self, batch: Mapping[str, Tensor], index: Tensor, pool: Executor) -> dict[str, float]:
        """One step of Adam on some of the trials, one thread to a shard of them.

        It is not taken where the steps before it have gone too far already.
        """
        n_trials = max(1, SHARD // len(batch["action"])) if self.device.type == "cpu" else len(index)
        shards = index.split(n_trials)
        share = [len(shard) / len(index) for shard in shards]
        slopes, stats = zip(*pool.map(partial(self._gradient, batch), shards), strict=True)
        params = list(self.params.values())
        for p, *parts in zip(params, *slopes, strict=True):
            p.grad = sum(w * part for w, part in zip(share, parts, strict=True))
        norm = torch.nn.utils.clip_grad_norm_(params, self.config.max_grad_norm)
        means = {k: sum(w * float(s[k]) for w, s in zip(share, stats, strict=True)) for k in stats[0]}
        if means["kl"] <= TOO_FAR * self.config.target_kl:
            self.adam.step()
        return {**means, "grad_norm": float(norm)}

    def _gradient(
        self, batch: Mapping[str, Tensor], index: Tensor
    ) -> tuple[Sequence[Tensor], dict[str, Tensor]]:
        """Slopes of the loss on some of the trials with respect to every parameter, and numbers to log."""
        c = self.config
        some = {k: x[:, index] for k, x in batch.items()}
        inputs = Inputs(*(some[k] for k in Inputs.__dataclass_fields__))
        decision = self.policy.unroll(self.params, inputs)
        log_ratio = log_prob(decision.mean, decision.log_std, some["action"]) - some["log_prob"]
        # A few steps in strange states can have ratios beyond all bounds: they neither push (dual-clip
        # PPO, Ye et al. 2020, eq. 5) nor decide how far the policy has moved.
        log_ratio = log_ratio.clamp(max=log(DUAL_CLIP))
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - c.clip, 1 + c.clip)
        gain = torch.minimum(ratio * some["advantage"], clipped * some["advantage"]).mean()
        value_loss = 0.5 * (decision.value - some["target"]).square().mean()
        entropy = decision.log_std.sum()  # up to a constant
        loss = c.value_weight * value_loss - gain - c.entropy * entropy
        slopes = torch.autograd.grad(loss, list(self.params.values()))
        stats = {
            "gain": gain,
            "value_loss": value_loss,
            # Schulman's estimate, never negative, of which no step contributes more than about 1.
            "kl": (ratio - 1 - log_ratio.clamp(min=-2)).mean(),
            "clipped": (ratio != clipped).float().mean(),
            "action_std": decision.log_std.exp().mean(),
        }
        return slopes, {k: v.detach() for k, v in stats.items()}

    def state_dict(self) -> dict[str, Any]:
        """Parameters, optimiser, normalisers and generator."""
        return {
            "params": {k: p.detach() for k, p in self.params.items()},
            "adam": self.adam.state_dict(),
            "normaliser": self.normaliser.state_dict(),
            "scale": self.scale.state_dict(),
            "brake": self.brake,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; ValueError if the parameters have other shapes."""
        shapes = {k: p.shape for k, p in state["params"].items()}
        if shapes != {k: p.shape for k, p in self.params.items()}:
            raise ValueError("the parameters have other names or shapes")
        with torch.no_grad():
            for k, p in self.params.items():
                p.copy_(state["params"][k])
        self.adam.load_state_dict(state["adam"])
        self.normaliser.load_state_dict(state["normaliser"])
        self.scale.load_state_dict(state["scale"])
        self.brake = float(state["brake"])
        self.generator.set_state(state["generator"])


def _remaining(schedule: str, progress: float) -> float:
    """Fraction of the first learning rate that is left."""
    if schedule == "constant":
        return 1.0
    return 1 - progress if schedule == "linear" else (1 + cos(pi * progress)) / 2
