"""The policy of the meta-model, that learns off-policy."""

from concurrent.futures import Executor, ThreadPoolExecutor
from copy import deepcopy
from math import log
from statistics import fmean

import pytest
import torch

from metarl.learners.meta_model.actor_critic import CRITICS, ActorCritic, Experience, _draw
from metarl.learners.meta_model.config import MetaModelConfig
from metarl.learners.meta_model.robot import Robot
from metarl.learners.meta_model.scales import Scales

N = 32


def actor_critic(n_act: int = 1, **settings) -> ActorCritic:
    scales, generator = Scales(Robot(2, n_act)), torch.Generator().manual_seed(0)
    obs = torch.randn(100, 2, generator=generator)
    scales.update(obs, obs + 1, 3 * torch.randn(100, generator=generator))
    return ActorCritic(scales, MetaModelConfig(**settings), 3, generator)


def experience(n_act: int = 1, seed: int = 0) -> Experience:
    generator = torch.Generator().manual_seed(seed)
    action = 2 * torch.rand(N, n_act, generator=generator) - 1
    seen, after = torch.randn(2, N, 5, generator=generator)
    return Experience(seen, action, -(action[:, 0] - 0.5).square(), torch.zeros(N), after)


def learned(policy: ActorCritic, n: int, pool: Executor | None = None) -> list[dict[str, float]]:
    return [policy.update(experience(policy.scales.robot.action_dim, k), pool) for k in range(n)]


def test_it_learns_which_action_pays_and_what_it_pays():
    policy = actor_critic(policy_lr=3e-3, critic_lr=3e-3)
    stats = learned(policy, 1500)
    some = experience(seed=5000)
    assert float((policy.act(policy.params, some.seen) - 0.5).detach().abs().mean()) < 0.1
    assert float(policy.worth(policy.params, some.seen).detach().abs().max()) < 0.1
    first, last = (fmean(s["entropy"] for s in some) for some in (stats[:100:2], stats[-100::2]))
    assert last < first - 0.1 and stats[-2]["temperature"] < 0.05  # on the way to -1 nat


def test_after_a_failure_nothing_is_expected():
    policy, some = actor_critic(), experience()
    torch.testing.assert_close(policy._target(some), some.earned / policy.unit)
    going_on = Experience(some.seen, some.action, some.earned, torch.ones(N), some.after)
    assert ((policy._target(going_on) - some.earned / policy.unit).abs() > 1e-3).any()


def test_the_density_is_that_of_the_squashed_action():
    policy = actor_critic()
    seen = torch.zeros(20_001, 5)
    with torch.no_grad():
        noise = torch.linspace(-6, 6, 20_001)[:, None]
        action, density = _draw(policy.params, seen, noise)
    assert float(torch.trapezoid(density.exp(), action[:, 0])) == pytest.approx(1, abs=1e-3)


def test_how_many_threads_there_are_changes_nothing():
    one, three = actor_critic(2), actor_critic(2)
    learned(one, 5)
    with ThreadPoolExecutor(3) as pool:
        learned(three, 5, pool)
    for name, p in one.params.items():
        assert torch.equal(p, three.params[name]), name


@pytest.mark.parametrize("tau", [0.005, 0.3])
def test_the_slow_critics_follow(tau):
    policy = actor_critic(tau=tau)
    before = {k: p.clone() for k, p in policy.slow.items()}
    learned(policy, 1)
    for name, p in policy.slow.items():
        expected = before[name] + tau * (policy.params[name] - before[name])
        torch.testing.assert_close(p, expected.detach())
    assert {k.split("/")[0] for k in policy.slow} == set(CRITICS)


def test_what_was_saved_goes_on_as_it_would_have():
    one, other = actor_critic(), actor_critic()
    learned(one, 3)
    other.load_state_dict(deepcopy(one.state_dict()))
    other.generator.set_state(one.generator.get_state())
    learned(one, 3), learned(other, 3)
    for name, p in one.params.items():
        assert torch.equal(p, other.params[name]), name


def test_a_temperature_begins_at_a_tenth():
    assert float(actor_critic().params["temperature/log"].detach()) == pytest.approx(log(0.1))
