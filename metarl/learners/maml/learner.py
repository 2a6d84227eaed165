"""MAML policy gradients: adapt by gradient steps, and learn what to adapt from.

The inner step and its exact second-order gradient follow Finn et al. 2017 with the low-variance
curvature surrogate of ProMP (Rothfuss et al. 2019, eq. 11). The outer step is TRPO (as in MAML) or
PPO (ProMP, algorithm 1). Every task is adapted at once: parameters carry a leading task axis.

Before that, a teacher may be trained that is told the task, or the family brings an expert; what the policy
is to become by adapting is then shown to it at first, on the states that it visits itself.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metarl import ranks
from metarl.learners.checkpoint import copy_parameters
from metarl.learners.maml.baseline import features, fit_predict
from metarl.learners.maml.batch import Batch
from metarl.learners.maml.config import MAMLConfig
from metarl.learners.maml.loss import Dist, LearnedLoss
from metarl.learners.maml.trpo import Jacobian, trust_region_step
from metarl.learners.ppo import minibatches, remaining
from metarl.learners.returns import discounted_returns, gae
from metarl.learners.shards import Shards, set_gradients
from metarl.learners.teacher.config import TeacherConfig
from metarl.learners.teacher.imitator import IMITATION, Imitator
from metarl.policies.gaussian import GaussianMLP, Params, expand, kl, log_prob
from metarl.policies.normaliser import Normaliser
from metarl.sampling.trajectories import Trajectories
from metarl.threads import thread_pool

CONTEXT_LR = 10  # step size of the context, in those of other parameters, until they are learned
SHARD = 4000  # steps of a stage that a CPU thread learns from at a time, whole tasks, and at least one
MIN_FISHER_SAMPLES = 150  # of each task, below which the thinned Jacobian is mostly noise


@dataclass(frozen=True)
class _Shard:
    """Some tasks of a TRPO step: their batches, and what there is at its start.

    Attributes:
        batches: one a stage.
        old: distributions after the last inner step.
        gain: (), the objective.
        gradient: (P,) of the objective.
        fisher: products with the Fisher matrix.
    """

    batches: Sequence[Batch]
    old: Dist
    gain: Tensor
    gradient: Tensor
    fisher: Callable[[Tensor], Tensor]


class MAMLLearner(Imitator):
    """The learner: takes trajectories, returns parameters and numbers. It never sees a simulator.

    Attributes, besides those of `Imitator`:
        policy: sizes of the policy.
        normaliser: of observations; moves at the end of `update` only.
        rewards: of rewards, likewise, for the learned loss.
        loss: the learned part of the inner loss, or None.
        meta: the meta-parameters: the policy's initial parameters and, as "lr/...", step sizes, as "loss/..."
            those of the learned loss.
        counted: the stages that the objective counts.

    Args:
        obs_dim, action_dim: of the robot.
        config: settings.
        seed: of everything random here.
        device: where to compute.
        n_told: numbers in which a task is told, to whoever may know it in training.
        expert: trajectories say what an expert would have done, which is imitated instead of a teacher.
    """

    config: MAMLConfig

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        config: MAMLConfig,
        seed: int,
        device: str = "cpu",
        n_told: int = 0,
        expert: bool = False,
    ):
        super().__init__(obs_dim, action_dim, config, teaching(config), seed, n_told, expert)
        self.device = torch.device(device)
        self.policy = GaussianMLP(
            obs_dim, action_dim, config.hidden, config.init_std, config.min_std, config.n_context
        )
        self.normaliser = Normaliser(obs_dim)
        self.generator = torch.Generator().manual_seed(seed)
        initial = self.policy.init(self.generator)
        if config.learn_inner_lr:
            rates = {f"lr/{k}": torch.full_like(p, self._first_rate(k)) for k, p in initial.items()}
            initial = {**initial, **rates}
        self.loss, self.rewards = None, Normaliser(1)
        if config.learned_loss and not config.first_order:
            self.loss = LearnedLoss(obs_dim, action_dim, config.n_context)
            own = self.loss.init(self.generator)
            initial = {**initial, **{f"loss/{k}": p for k, p in own.items()}}
        self.meta = {k: p.to(self.device).requires_grad_() for k, p in initial.items()}
        self.adam = torch.optim.Adam(self.meta.values(), lr=config.outer_lr)  # used by the PPO outer step
        self.counted = slice(1 if config.every_step else config.inner_steps, None)

    def take_over(self) -> None:
        """Begin to imitate the teacher, and see and dare as it does."""
        assert self.teacher is not None
        self.taught = True
        self.normaliser.load_state_dict(deepcopy(self.teacher.normaliser.state_dict()))
        with torch.no_grad():
            self.meta["log_std"].copy_(self.teacher.log_std)

    def initial(self, n_tasks: int) -> Params:
        """The policy's parameters before adaptation, for K tasks."""
        return expand({k: p.detach() for k, p in _policy(self.meta).items()}, n_tasks)

    def adapt(self, params: Params, trajectories: Trajectories, step: int = 1) -> Params:
        """One gradient step of every task on its own trajectories (Finn et al. 2017, eq. 1).

        Steps get shorter, as one over their number, so that the noise of one is evened out by the next
        (Robbins and Monro 1951). Those beyond training go without the learned loss, and are shorter still.

        Args:
            params: (K, ...) the parameters that collected them.
            trajectories: K * E rows, task by task.
            step: the step's number, from 1 on.

        Returns:
            Adapted parameters, (K, ...), detached.
        """
        params = {k: p.detach().requires_grad_() for k, p in params.items()}
        batch = self.batch(trajectories, len(params["log_std"]))
        return {k: p.detach() for k, p in self._step(self.meta, params, batch, step, graph=False).items()}

    def update(self, stages: Sequence[Trajectories], progress: float = 0.0) -> dict[str, float]:
        """Move the meta-parameters.

        Args:
            stages: trajectories before the first inner step, after it, ... after the last.
            progress: fraction of the training that is over, without the teacher's, for the learning rate
                and for how much the teacher is imitated.

        Returns:
            Numbers to log.
        """
        n_tasks = len(ranks.share(self.config.n_tasks))
        first = self.counted.start
        self.imitation = self.imitates(progress)
        batches = [self.batch(stage, n_tasks, counted=i >= first) for i, stage in enumerate(stages)]
        for group in self.adam.param_groups:
            group["lr"] = self.config.outer_lr * remaining(self.config.lr_schedule, progress)
        with thread_pool() as pool:
            stats = (self._trpo if self.config.outer == "trpo" else self._ppo)(batches, pool)
        for stage in stages:
            self.normaliser.update(torch.from_numpy(stage.obs[stage.valid]))
            self.rewards.update(torch.from_numpy(stage.reward[stage.valid])[:, None])
        std = self.policy.log_std(self.meta).detach().exp()
        return {**stats, "action_std": float(std.mean())}

    def batch(self, trajectories: Trajectories, n_tasks: int, counted: bool = False) -> Batch:
        """Normalise observations, fit each task's baseline and estimate its advantages.

        Args:
            trajectories: K * E rows, task by task.
            n_tasks: K.
            counted: the objective counts it, and has to know how the tasks' spreads compare, with those of
                all processes, and what is to be imitated; else spreads are taken to be alike, as adaptation
                must, which knows one task only.
        """
        c = self.config
        tensors = {k: torch.from_numpy(x).to(self.device) for k, x in vars(trajectories).items()}
        obs, valid, reward = self.normaliser(tensors["obs"]), tensors["valid"], tensors["reward"]
        length = len(reward)

        def by_task(x: Tensor) -> Tensor:  # (T, K * E, ...) -> (K, T * E, ...)
            x = x.unflatten(1, (n_tasks, -1)).transpose(0, 1)
            return x.flatten(1, 2)

        def by_time(x: Tensor) -> Tensor:  # (K, T * E) -> (T, K * E)
            return x.unflatten(1, (length, -1)).transpose(0, 1).flatten(1)

        time = (torch.arange(length, device=self.device) / 100.0)[:, None].expand_as(reward)
        target = discounted_returns(reward, valid, c.gamma)
        value = by_time(fit_predict(features(by_task(obs), by_task(time)), by_task(target), by_task(valid)))
        # The baseline knows the time and predicts the return up to the horizon, so that nothing
        # lies beyond it: the end of the row is worth zero, by failure or by time.
        next_value = torch.cat([value[1:], torch.zeros_like(value[:1])])
        end = tensors["terminated"] | tensors["truncated"]
        advantage = gae(reward, value, next_value, end, end, c.gamma, c.gae_lambda)

        keep = by_task(valid)
        after = torch.where(end[..., None], obs, torch.cat([obs[1:], obs[-1:]]))
        paid = self.rewards(reward[..., None])[..., 0]
        shown = obs[..., :0]
        if counted and self.imitation:
            shown = self.shown(trajectories).to(self.device)
        acted = tensors["action"], tensors["log_prob"]
        parts = [by_task(x) for x in (obs, *acted, advantage, paid, after, shown)]
        if not keep.all():
            order = (~keep).byte().argsort(dim=1, stable=True)[:, : int(keep.sum(1).max())]
            parts = [x[torch.arange(n_tasks, device=order.device)[:, None], order] for x in parts]
            keep = keep.gather(1, order)
        weight = keep / keep.sum(1, keepdim=True)
        obs, action, old, advantage, paid, after, shown = parts
        mean = (weight * advantage).sum(1, keepdim=True)
        var = (weight * (advantage - mean) ** 2).sum(1, keepdim=True)
        spread = torch.ones_like(mean[:, 0])
        if counted:
            spread = var[:, 0].sqrt() / (ranks.mean(var.mean(), n_tasks).sqrt() + 1e-8)
        advantage = (advantage - mean) / (var.sqrt() + 1e-8)
        return Batch(obs, action, old, advantage, paid, after, weight, shown, spread)

    # The objective.

    def _step(self, meta: Params, params: Params, batch: Batch, step: int, graph: bool) -> Params:
        """The inner step of a number; `graph` keeps what the second-order meta-gradient needs."""
        # theta'_k = theta_k - alpha grad L_k(theta_k); the sum over tasks gives each its own gradient.
        new = self.policy.mean_std(params, batch.obs)
        loss = -self._gain(new, batch).sum()
        beyond = min(1.0, self.config.inner_steps / step)  # 1 up to the steps that training looks through
        length = 1 / step if self.config.shorter_steps else beyond
        if self.loss is not None and step <= self.config.inner_steps:
            own = {k.removeprefix("loss/"): p for k, p in meta.items() if k.startswith("loss/")}
            log_std, context = self.policy.log_std(meta), params.get("context")
            loss = loss + self.loss(own, batch, new, log_std, step, context).sum()
        elif self.loss is not None:
            length *= beyond  # of the policy gradient alone, for which the step sizes were not learned
        names = list(params)
        second_order = graph and not self.config.first_order
        grads = torch.autograd.grad(loss, [params[k] for k in names], create_graph=second_order)
        rate = {k: meta.get(f"lr/{k}", self._first_rate(k)) for k in names}
        return {k: params[k] - length * rate[k] * g for k, g in zip(names, grads, strict=True)}

    def _first_rate(self, name: str) -> float:
        """Step size of a parameter before any is learned."""
        return self.config.inner_lr * (CONTEXT_LR if name == "context" else 1)

    def stages(self, meta: Params, batches: Sequence[Batch], graph: bool = True) -> list[Params]:
        """Parameters at each stage: before adaptation, and after each inner step, (K, ...).

        Args:
            meta: meta-parameters.
            batches: one a stage; the last is not adapted to.
            graph: return functions of `meta`, to differentiate; else plain numbers.
        """
        out = [expand(_policy(meta), len(batches[0].obs))]
        for step, batch in enumerate(batches[:-1], 1):
            params = out[-1]
            if not graph:
                params = {k: p.detach().requires_grad_() for k, p in params.items()}
            params = self._step(meta, params, batch, step, graph)
            out.append(params if graph else {k: p.detach() for k, p in params.items()})
        return out

    def _surrogate(self, params: Params, batch: Batch) -> Tensor:
        """Importance-weighted advantage of each task, (K,), in units of its own spread."""
        return self._gain(self.policy.mean_std(params, batch.obs), batch)

    def _gain(self, new: Dist, batch: Batch, clip: float | None = None) -> Tensor:
        """The surrogate of a policy whose distributions on the batch are at hand, (K,), maybe clipped."""
        ratio = torch.exp(log_prob(*new, batch.action) - batch.log_prob)
        gain = ratio * batch.advantage
        if clip is not None:
            gain = torch.minimum(gain, ratio.clamp(1 - clip, 1 + clip) * batch.advantage)
        return (gain * batch.weight).sum(1)

    def objective(self, meta: Params, batches: Sequence[Batch]) -> Tensor:
        """The meta-objective, to be made large: the mean surrogate after the steps that count.

        As far as the learner imitates it is how near it comes there to what is shown.
        """
        stages = self.stages(meta, batches)[self.counted]
        return self._objective(*self._outcome(self._distributions(stages, batches[self.counted]), batches))

    def _objective(self, gain: Tensor, distance: Tensor) -> Tensor:
        return (1 - self.imitation) * gain - IMITATION * self.imitation * distance

    def _outcome(
        self, new: Sequence[Dist], batches: Sequence[Batch], clip: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """The surrogate, maybe clipped, and the squared distance to what is shown, both () and means.

        A task weighs as much as its advantages are spread, so that the mean over tasks is that of returns.

        Args:
            new: distributions of the stages that count, on their own observations.
            batches: one a stage, of all.
            clip: range of the probability ratio.
        """
        pairs = list(zip(new, batches[self.counted], strict=True))
        gain = torch.stack([self._gain(dist, b, clip) * b.spread for dist, b in pairs]).mean()
        if not self.imitation:
            return gain, torch.zeros_like(gain)
        away = [((mean - b.shown).square().sum(-1) * b.weight).sum(1) for (mean, _), b in pairs]
        return gain, torch.stack(away).mean()

    def _distributions(self, stages: Sequence[Params], batches: Sequence[Batch]) -> list[Dist]:
        """Action distributions of each stage on its own observations."""
        return [self.policy.mean_std(p, b.obs) for p, b in zip(stages, batches, strict=True)]

    def _drift(self, old: Dist, new: Dist, batch: Batch) -> Tensor:
        """KL(old || new), mean over tasks and their samples."""
        return (kl(*old, *new) * batch.weight).sum(1).mean()

    # The outer steps.

    def _shards(self, index: Tensor, batches: Sequence[Batch]) -> Shards:
        """The tasks of an index in parts, one of which a CPU thread works on at a time."""
        return Shards(index, max(b.obs.shape[1] for b in batches), SHARD)

    def _trpo(self, batches: Sequence[Batch], pool: Executor) -> dict[str, float]:
        c, meta, n_tasks = self.config, list(self.meta.values()), len(batches[0].obs)
        groups = self._shards(torch.arange(n_tasks, device=self.device), batches)
        n_samples = max(ranks.each(batches[-1].obs.shape[1]))
        stride = max(1, min(c.fisher_stride, n_samples // MIN_FISHER_SAMPLES))

        def begin(shard: Tensor) -> "_Shard":
            some = [b.tasks(shard) for b in batches]
            stages = self.stages(self.meta, some)
            dists = self._distributions(stages[self.counted], some[self.counted])
            gain = self._objective(*self._outcome(dists, some))
            gradient = _flatten(torch.autograd.grad(gain, meta))
            adapted = {k: p.detach() for k, p in stages[-1].items()}
            old = dists[-1][0].detach(), dists[-1][1].detach()
            return _Shard(some, old, gain.detach(), gradient, self.fisher(some, adapted, stride))

        parts = list(pool.map(begin, groups.parts))

        def evaluate(flat: Tensor) -> tuple[float, float]:
            meta = self._unflatten(flat)

            def judge(part: _Shard) -> Tensor:
                stages, some = self.stages(meta, part.batches, graph=False), part.batches
                with torch.no_grad():
                    new = self._distributions(stages[self.counted], some[self.counted])
                    drift = self._drift(part.old, new[-1], some[-1])
                    return torch.stack([self._objective(*self._outcome(new, some)), drift])

            gain, drift = groups.average(pool.map(judge, parts))
            return float(gain), float(drift)

        def product(v: Tensor) -> Tensor:
            return groups.average(pool.map(lambda part: part.fisher(v), parts)) + c.cg_damping * v

        gain, gradient = groups.average((part.gain, part.gradient) for part in parts)
        found, gained, moved = trust_region_step(
            _flatten(meta).detach(),
            float(gain),
            gradient,
            product,
            evaluate,
            c.max_kl,
            c.cg_iterations,
        )
        with torch.no_grad():
            for p, new in zip(meta, self._unflatten(found).values(), strict=True):
                p.copy_(new)
        return {"gain": gained, "outer_kl": moved, "grad_norm": float(gradient.norm())}

    def fisher(self, batches: Sequence[Batch], adapted: Params, stride: int) -> Callable[[Tensor], Tensor]:
        """Products v -> F v with the Fisher matrix of the adapted policies in the meta-parameters.

        On every stride-th sample of each stage. The adapted parameters keep their exact values; what
        the samples thin out is the Jacobian through adaptation and the mean over states.

        Args:
            batches: all samples of each stage.
            adapted: (K, ...) detached parameters after the last inner step.
            stride: 1 for all samples.
        """
        some = [b.every(stride) for b in batches]
        last = some[-1]
        through = Jacobian(list(self.stages(self.meta, some)[-1].values()), list(self.meta.values()))
        params = {k: p.detach().requires_grad_() for k, p in adapted.items()}
        mean, log_std = self.policy.mean_std(params, last.obs)
        acts = Jacobian([mean, log_std], list(params.values()))
        # Where two Gaussians are one, their KL divergence has this curvature in mean and log std.
        share = last.weight[..., None] / len(last.weight)
        curvature = share * torch.exp(-2 * log_std.detach()), 2 * share.sum(1, keepdim=True)

        def product(v: Tensor) -> Tensor:
            moved = acts.forward(through.forward(list(self._unflatten(v).values())))
            bent = [c * x for c, x in zip(curvature, moved, strict=True)]
            return _flatten(through.backward(acts.backward(bent)))

        return product

    def _ppo(self, batches: Sequence[Batch], pool: Executor) -> dict[str, float]:
        c, meta, n_tasks = self.config, list(self.meta.values()), len(batches[0].obs)
        stages = self.stages(self.meta, batches, graph=False)
        with torch.no_grad():
            old = self._distributions(stages, batches)

        def learn(index: Tensor) -> tuple[Sequence[Tensor], Tensor]:
            some = [b.tasks(index) for b in batches]
            stages = self.stages(self.meta, some)
            new = self._distributions(stages, some)
            drift = [
                self._drift((mean[index], log_std[index]), dist, b)
                for (mean, log_std), dist, b in zip(old, new, some, strict=True)
            ]
            gain, distance = self._outcome(new[self.counted], some, c.clip)
            inner = torch.stack(drift[:-1]).sum()
            held = (1 - self.imitation) * c.inner_kl * inner
            slopes = torch.autograd.grad(held - self._objective(gain, distance), meta)
            return slopes, torch.stack([gain, inner, drift[-1], distance]).detach()

        for order in minibatches(n_tasks, c.epochs, c.minibatches, self.generator):
            groups = self._shards(order.to(self.device), batches)
            slopes, means = groups.average(pool.map(learn, groups.parts))
            norm = set_gradients(meta, slopes, c.max_grad_norm)
            self.adam.step()
        gain, inner, outer, distance = means.tolist()
        stats = {"gain": gain, "inner_kl": inner, "outer_kl": outer, "grad_norm": float(norm)}
        return {**stats, "distance": distance} if self.imitation else stats

    def state_dict(self) -> dict[str, Any]:
        """Meta-parameters, optimiser, normaliser and generator."""
        return {
            "meta": {k: p.detach() for k, p in self.meta.items()},
            "adam": self.adam.state_dict(),
            "normaliser": self.normaliser.state_dict(),
            "rewards": self.rewards.state_dict(),
            "generator": self.generator.get_state(),
            **self.imitator_state(),
        }

    def acting_state(self) -> dict[str, Any]:
        """The part of it that acting and adapting need."""
        state = self.state_dict()
        return {k: state[k] for k in ("meta", "normaliser", "rewards")}

    def load_acting_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `acting_state` gave."""
        copy_parameters(self.meta, state["meta"])
        self.normaliser.load_state_dict(state["normaliser"])
        if "rewards" in state:  # else it is of a time when no loss was learned
            self.rewards.load_state_dict(state["rewards"])

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; ValueError if the parameters have other shapes."""
        self.load_acting_state(state)
        self.adam.load_state_dict(state["adam"])
        self.generator.set_state(state["generator"])
        self.load_imitator_state(state)

    def _unflatten(self, flat: Tensor) -> Params:
        parts = flat.split([p.numel() for p in self.meta.values()])
        return {k: x.view_as(p) for (k, p), x in zip(self.meta.items(), parts, strict=True)}


def teaching(config: MAMLConfig) -> TeacherConfig:
    """How the teacher of a policy that adapts by gradient steps is trained."""
    return TeacherConfig.of_pupil(config, min_std=config.init_std / 2)


def _policy(meta: Params) -> Params:
    """The policy's initial parameters among the meta-parameters."""
    return {k: p for k, p in meta.items() if "/" not in k}


def _flatten(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([x.flatten() for x in tensors])
