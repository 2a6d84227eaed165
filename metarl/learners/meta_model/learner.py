"""Learning the model: windows of all tasks, adapted to and predicted from, several steps open loop.

The model predicts on from its own predictions, as in CaDM (Lee et al. 2020, eq. 3), after it has adapted to
the transitions before: a task is never named, and every window is one of its own (Nagabandi, Clavera et al.
2019).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from metarl.learners.checkpoint import copy_parameters
from metarl.learners.meta_model.actor_critic import ActorCritic, Experience
from metarl.learners.meta_model.adaptation import GRADIENT, MEMORY, Adapted, Seen, adapt, initial_rates
from metarl.learners.meta_model.config import MetaModelConfig
from metarl.learners.meta_model.model import DynamicsModel
from metarl.learners.meta_model.replay import Futures, Replay, Windows
from metarl.learners.meta_model.robot import Robot
from metarl.learners.meta_model.scales import Scales
from metarl.policies.gaussian import Params
from metarl.sampling.transitions import Transitions
from metarl.threads import thread_pool, torch_threads

TRIALS = 64  # whose steps are told from at a time
STRETCHES = 8  # that are predicted with one set of adapted parameters, which cost more than a prediction
BETA = 0.5  # of the loss's weights, which keep it from giving up on what it finds hard (Seitzer et al. 2022)


class MetaModelLearner:
    """The learner: takes transitions, returns numbers. It never sees a simulator.

    Attributes:
        model: sizes of the networks.
        params: their parameters, (members, ...), and as "rate/..." the step sizes of adaptation.
        scales: of what they see and say; move in `remember` only.
        replay: what was lived through.
        policy: learns from what was lived through, where anybody acts by it.

    Args:
        robot: what is known of it.
        config: settings.
        seed: of everything random here.
    """

    def __init__(self, robot: Robot, config: MetaModelConfig, seed: int):
        c = self.config = config
        self.robot = robot
        n_context = c.context if c.adapt in MEMORY else 0
        self.model = DynamicsModel(robot.n_features, robot.action_dim, robot.obs_dim + 1, c.hidden, n_context)
        self.scales, self.replay = Scales(robot), Replay(c.capacity)
        self.generator = torch.Generator().manual_seed(seed)
        initial = self.model.init(c.members, self.generator)
        if c.adapt in GRADIENT:
            initial |= initial_rates(c.hidden, c.members, c.inner_lr)
        self.params = {k: p.requires_grad_() for k, p in initial.items()}
        self.adam = torch.optim.Adam(self.params.values(), lr=c.lr)
        self.policy = self._new_policy() if c.act != "planner" else None

    def _new_policy(self) -> ActorCritic:
        return ActorCritic(self.scales, self.config, self.model.context, self.generator)

    def acting(self) -> Params:
        """The parameters to act with."""
        return {k: p.detach() for k, p in self.params.items()}

    def remember(self, new: Transitions) -> None:
        """Take in what was lived through."""
        self.replay.add(new)
        parts = {k: torch.from_numpy(x) for k, x in vars(new).items()}
        valid = parts["valid"]
        with torch_threads(1):
            self.scales.update(*(parts[name][valid] for name in ("obs", "obs_after", "reward")))

    def update(self, n_updates: int) -> dict[str, float]:
        """Learn from what was lived through, in so many steps of Adam.

        Returns:
            Numbers to log: means over the steps.
        """
        stats: list[dict[str, float]] = []
        with thread_pool(self.config.members) as pool:
            for _ in range(n_updates):
                # Drawn member by member, so that the number of threads changes nothing.
                batches = [self.draw(self.config.batch) for _ in range(self.config.members)]
                slopes, found = zip(
                    *pool.map(self._gradient, range(self.config.members), batches), strict=True
                )
                for name, p in self.params.items():
                    p.grad = torch.cat([slope[name] for slope in slopes])
                self.adam.step()
                stats.append({k: sum(f[k] for f in found) / len(found) for k in found[0]})
        return _means(stats)

    def practise(self, n_steps: int) -> dict[str, float]:
        """Let the policy learn from what was lived through, in so many steps of Adam; numbers to log."""
        if self.policy is None or not n_steps or self.replay.is_blank:
            return {}
        stats: list[dict[str, float]] = []
        alone = torch.get_num_threads() == 1
        with thread_pool(3) as pool:  # two critics and the actor
            hints, futures = self.hints(), self.replay.futures(self.config.n_step, self.config.gamma)
            for _ in range(n_steps):
                some = self._experience(self.policy, hints, futures)
                stats.append(self.policy.update(some, None if alone else pool))
        return _means(stats)

    @torch.no_grad()
    def hints(self) -> Tensor:
        """What the first member's memory tells before each step lived through, (R, L + 1, context)."""
        parts, first = self.replay.parts, {k: p[:1] for k, p in self.acting().items()}
        n, length = parts["reward"].shape
        if self.config.adapt not in MEMORY:
            return torch.zeros(n, length + 1, 0)
        found = []
        for rows in torch.arange(n).split(TRIALS):
            raw = {k: parts[k][rows] for k in ("obs", "obs_after", "action", "reward")}
            seen = self._seen(raw, parts["valid"][rows].float(), 1)
            found.append(self.model.tell_all(first, seen.joined(), seen.known, self.config.window)[0])
        return torch.cat(found)

    def _experience(self, policy: ActorCritic, hints: Tensor, futures: Futures) -> Experience:
        """Steps from anywhere in what was lived through."""
        parts = self.replay.parts
        trial, step = self.replay.draw_steps(self.config.policy_batch, self.generator)
        last = futures.last[trial, step]
        return Experience(
            policy.see(parts["obs"][trial, step], hints[trial, step]),
            parts["action"][trial, step],
            futures.earned[trial, step],
            futures.worth[trial, step],
            policy.see(parts["obs_after"][trial, last], hints[trial, last + 1]),
        )

    def draw(self, n: int) -> Windows:
        """Windows with n stretches in all."""
        c = self.config
        some = STRETCHES if c.adapt in GRADIENT else 1
        return self.replay.draw(max(1, n // some), c.window, some, c.open_loop, self.generator)

    def seen(self, windows: Windows, members: int = 1) -> Seen:
        """What tells of the tasks of windows, for some of the members."""
        return self._seen(windows.seen, windows.known, members)

    def _seen(self, raw: Mapping[str, Tensor], known: Tensor, members: int) -> Seen:
        """Transitions by name, normalised, and which of them are known."""
        scales = self.scales
        outcome = scales.outcomes(raw["obs"], raw["obs_after"], raw["reward"])
        parts = scales.features(raw["obs"]), raw["action"], outcome, known
        return Seen(*(x.expand(members, *x.shape) for x in parts))

    def loss(self, params: Params, windows: Windows) -> tuple[Tensor, dict[str, Tensor]]:
        """How badly one member, (1, ...), predicts after it has adapted; and numbers to log."""
        state = adapt(self.model, params, self.seen(windows), self.config.adapt, graph=True)
        return self.open_loop(state, windows)

    def open_loop(self, state: Adapted, windows: Windows) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of an adapted member from the start of every stretch on its own predictions."""
        told, losses, errors = state.told_rows(), [], []
        obs = windows.obs
        for k in range(self.config.open_loop):
            features, action = (
                state.rows(x[None]) for x in (self.scales.features(obs), windows.action[..., k, :])
            )
            said = self.model.predict(state.params, features, action, told)
            outcome = self.scales.outcomes(obs.detach(), windows.obs_after[..., k, :], windows.reward[..., k])
            target = state.rows(outcome[None])
            valid = state.rows(windows.valid[None, ..., k, None])[..., 0]
            # beta-NLL: the negative log likelihood, each number weighted by its own variance ** beta.
            gap = said.mean - target
            nll = said.log_std + 0.5 * gap.square() * torch.exp(-2 * said.log_std)
            weighted = (nll * torch.exp(2 * BETA * said.log_std.detach())).mean(-1)
            if self.robot.learns_failure:
                failed = state.rows(windows.terminated[None, ..., k, None])[..., 0]
                weighted = weighted + binary_cross_entropy_with_logits(said.failure, failed, reduction="none")
            n = valid.sum().clamp(min=1)
            losses.append((weighted * valid).sum() / n)
            errors.append(((gap.square().mean(-1) * valid).sum() / n).detach())
            obs, _ = self.scales.after(obs, said.mean.reshape(*obs.shape[:-1], -1))
        stats = {"loss": torch.stack(losses).mean(), "error_1": errors[0], f"error_{len(errors)}": errors[-1]}
        return stats["loss"], {k: v.detach() for k, v in stats.items()}

    def _gradient(self, member: int, windows: Windows) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Slopes of one member's loss, shortened, and numbers to log."""
        own = {k: p[member : member + 1].detach().requires_grad_() for k, p in self.params.items()}
        loss, stats = self.loss(own, windows)
        slopes = torch.autograd.grad(loss, list(own.values()), allow_unused=True, materialize_grads=True)
        norm = torch.stack([s.norm() for s in slopes]).norm()
        factor = (self.config.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
        numbers = {k: float(v) for k, v in stats.items()} | {"grad_norm": float(norm)}
        return {k: factor * s for k, s in zip(own, slopes, strict=True)}, numbers

    def state_dict(self) -> dict[str, Any]:
        """Parameters, optimiser, scales, generator, and all that was lived through."""
        return {
            **self.acting_state(),
            "adam": self.adam.state_dict(),
            "replay": self.replay.state_dict(),
            "generator": self.generator.get_state(),
            **({"actor_critic": self.policy.state_dict()} if self.policy else {}),
        }

    def acting_state(self) -> dict[str, Any]:
        """The part of it that acting and adapting need."""
        policy = {"policy": self.policy.acting()} if self.policy else {}
        return {"params": self.acting(), "scales": self.scales.state_dict(), **policy}

    def load_acting_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `acting_state` gave."""
        copy_parameters(self.params, state["params"])
        self.scales.load_state_dict(state["scales"])
        if "policy" in state:  # also where a planner was told to act later
            self.policy = self.policy or self._new_policy()
        if self.policy:
            copy_parameters(self.policy.params, state["policy"])

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; ValueError if the parameters have other shapes."""
        self.load_acting_state(state)
        self.adam.load_state_dict(state["adam"])
        self.replay.load_state_dict(state["replay"])
        if not self.replay.fits(self.robot.obs_dim, self.robot.action_dim):
            raise ValueError("the replay is of another robot")
        self.generator.set_state(state["generator"])
        if self.policy:
            self.policy.load_state_dict(state["actor_critic"])


def _means(stats: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each number, over the steps that have it."""
    by_name = {k: [s[k] for s in stats if k in s] for k in dict.fromkeys(k for s in stats for k in s)}
    return {k: sum(values) / len(values) for k, values in by_name.items()}
