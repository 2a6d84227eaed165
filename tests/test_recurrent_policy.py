"""Policies that remember, with every core: unrolling is acting, and trials are worlds of their own."""

from dataclasses import replace
from typing import get_args, get_type_hints

import pytest
import torch

from metarl import MetaLSTMConfig
from metarl.envs import InputError
from metarl.policies.cores import CORES
from metarl.policies.inputs import Inputs
from metarl.policies.recurrent import RecurrentPolicy, choose

LENGTH, N = 70, 4
cores = pytest.mark.parametrize("core", CORES)
remembering = pytest.mark.parametrize("core", sorted({*CORES} - {"feedforward"}))
spans = pytest.mark.parametrize("forgetful", [False, True], ids=["trial", "episode"])


def policy_of(core: str, forgetful: bool = False) -> RecurrentPolicy:
    return RecurrentPolicy(3, 2, core, width=16, hidden=8, forgetful=forgetful)


def params_of(policy: RecurrentPolicy) -> dict[str, torch.Tensor]:
    """Random enough that everything matters."""
    generator = torch.Generator().manual_seed(0)
    params = policy.init(generator)
    return {k: (p + 0.1 * torch.randn(p.shape, generator=generator)).double() for k, p in params.items()}


def inputs_of(seed: int = 0, length: int = LENGTH) -> Inputs:
    """Trials with episodes of random length."""
    generator = torch.Generator().manual_seed(seed)

    def normal(size: int) -> torch.Tensor:
        return torch.randn(length, N, size, generator=generator, dtype=torch.float64)

    start = (torch.rand(length, N, 1, generator=generator) < 0.05).double()
    start[0] = 1
    return Inputs(normal(3), normal(2), normal(1), start, normal(4))


def at(inputs: Inputs, index) -> Inputs:
    return Inputs(*(x[index] for x in vars(inputs).values()))


def acted(policy: RecurrentPolicy, params, inputs: Inputs, memory=None):
    """Means and values step by step, and the memory at the end."""
    memory = policy.start(params, inputs.obs.shape[1]) if memory is None else memory
    means, values = [], []
    for t in range(len(inputs.obs)):
        decision, memory = policy.act(params, memory, at(inputs, t))
        means.append(decision.mean)
        values.append(decision.value)
    return torch.stack(means), torch.stack(values), memory


@cores
@spans
def test_unrolling_is_acting_step_by_step(core, forgetful):
    policy = policy_of(core, forgetful)
    params, inputs = params_of(policy), inputs_of()
    unrolled = policy.unroll(params, inputs)
    mean, value, _ = acted(policy, params, inputs)
    assert mean.shape == (LENGTH, N, 2)
    torch.testing.assert_close(unrolled.mean, mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(unrolled.value, value, rtol=0, atol=1e-12)


@remembering
def test_acting_changes_neither_the_memory_that_was_given_nor_the_parameters(core):
    policy = policy_of(core)
    params, inputs = params_of(policy), inputs_of()
    _, _, memory = acted(policy, params, at(inputs, slice(0, 40)))
    kept = {k: x.clone() for k, x in memory.items()}
    weights = {k: p.clone() for k, p in params.items()}
    later = at(inputs, slice(40, None))
    one = acted(policy, params, later, memory)[0]
    elsewhere = acted(policy, params, at(inputs_of(1), slice(40, None)), memory)[0]
    assert all(torch.equal(memory[k], x) for k, x in kept.items())
    assert all(torch.equal(params[k], x) for k, x in weights.items())
    assert not torch.equal(one, elsewhere)
    assert torch.equal(acted(policy, params, later, memory)[0], one)


@cores
@spans
def test_trials_do_not_leak_into_each_other(core, forgetful):
    policy = policy_of(core, forgetful)
    params, inputs = params_of(policy), inputs_of()
    other = inputs_of(1)
    mixed = Inputs(
        *(torch.cat([a[:, :1], b[:, 1:]], 1) for a, b in zip(*map(_parts, (inputs, other)), strict=True))
    )
    one, two = policy.unroll(params, inputs), policy.unroll(params, mixed)
    torch.testing.assert_close(one.mean[:, 0], two.mean[:, 0], rtol=0, atol=1e-12)
    assert (one.mean[:, 1:] - two.mean[:, 1:]).abs().max() > 1e-3


@cores
@spans
def test_nothing_of_the_future_is_seen(core, forgetful):
    policy = policy_of(core, forgetful)
    params, inputs = params_of(policy), inputs_of()
    changed = Inputs(*(x.clone() for x in _parts(inputs)))
    changed.obs[30:] += 1
    one, two = policy.unroll(params, inputs).mean, policy.unroll(params, changed).mean
    torch.testing.assert_close(one[:30], two[:30], rtol=0, atol=1e-12)
    assert (one[30] - two[30]).abs().max() > 1e-6


@remembering
def test_what_was_seen_survives_the_end_of_an_episode_and_dies_at_the_end_of_a_trial(core):
    inputs, changed = inputs_of(), inputs_of()
    for x in (inputs, changed):
        x.episode_start[:] = 0
        x.episode_start[[0, 20]] = 1
    changed.prev_reward[10] += 3  # in the first episode

    def difference(policy: RecurrentPolicy) -> torch.Tensor:
        params = params_of(policy)
        means = [policy.unroll(params, x).mean for x in (inputs, changed)]
        return (means[0] - means[1]).abs().amax((1, 2))

    kept = difference(policy_of(core))
    assert kept[:10].max() == 0
    assert kept[20:25].min() > 1e-6  # what the core remembers changes what is done
    forgotten = difference(policy_of(core, forgetful=True))
    assert forgotten[10:20].min() > 1e-6
    assert forgotten[20:].max() == 0
    policy = policy_of(core)
    params = params_of(policy)
    _, _, memory = acted(policy, params, changed)
    fresh = policy.start(params, N)
    assert any(memory[k].shape != x.shape or not torch.equal(memory[k], x) for k, x in fresh.items())
    again = policy.start(params, N)
    assert all(torch.equal(again[k], x) for k, x in fresh.items())


@cores
def test_an_episode_without_memory_begins_as_if_nothing_had_been(core):
    policy = policy_of(core, forgetful=True)
    params, inputs = params_of(policy), inputs_of()
    inputs.episode_start[25] = 1
    alone = acted(policy, params, at(inputs, slice(25, 30)))[0]
    torch.testing.assert_close(policy.unroll(params, inputs).mean[25:30], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("change_input", "seen"), [("none", ()), ("reward", (3,)), ("all", (0, 1, 2, 3))])
def test_of_what_has_changed_only_that_is_seen_which_is_an_input(change_input, seen):
    policy = RecurrentPolicy(3, 2, "lstm", width=16, hidden=8, change_input=change_input)
    params, inputs = params_of(policy), inputs_of()
    before = policy.unroll(params, inputs).mean
    for k in range(4):  # three of obs, then the reward's
        other = inputs.change.clone()
        other[..., k] += 1
        after = policy.unroll(params, replace(inputs, change=other)).mean
        assert (before != after).any() == (k in seen)


@remembering
def test_the_gradient_of_a_late_action_reaches_an_early_reward_and_every_parameter(core):
    policy, inputs = policy_of(core), inputs_of()
    params = {k: p.requires_grad_() for k, p in params_of(policy).items()}
    reward = inputs.prev_reward.requires_grad_()
    decision = policy.unroll(params, replace(inputs, prev_reward=reward))
    (decision.mean[-1, 0].sum() + decision.value[-1, 0] + decision.log_std.sum()).backward()
    assert reward.grad[0, 0].abs().max() > 0
    assert (reward.grad[:, 1:] == 0).all()
    assert {k for k, p in params.items() if p.grad is None or p.grad.abs().max() == 0} == set()


@cores
def test_trials_that_wait_keep_their_memory_and_go_on_from_it(core):
    policy = policy_of(core)
    params, inputs = params_of(policy), inputs_of()
    waiting = torch.tensor([False, True, False, True])
    straight = acted(policy, params, inputs)[0]
    memory = policy.start(params, N)
    for t in range(40):  # trials 1 and 3 stop after 33 steps, in a later block of any cache
        _, new = policy.act(params, memory, at(inputs, t))
        memory = choose(torch.ones(N, dtype=torch.bool) if t < 33 else ~waiting, new, memory)
    late = acted(policy, params, at(inputs, slice(33, None)), memory)[0]
    torch.testing.assert_close(late[:, waiting], straight[33:, waiting], rtol=0, atol=1e-12)
    on = acted(policy, params, at(inputs, slice(40, None)), memory)[0]
    torch.testing.assert_close(on[:, ~waiting], straight[40:, ~waiting], rtol=0, atol=1e-12)


@cores
def test_inspecting_shows_every_step_of_every_trial(core):
    policy = policy_of(core)
    traces = policy.inspect(params_of(policy), inputs_of())
    assert all(x.shape[:2] == (LENGTH, N) for x in traces.values())
    assert "memory" in traces or core != "lstm-memory"


def test_without_memory_only_the_step_before_matters():
    policy = policy_of("feedforward")
    params, inputs = params_of(policy), inputs_of()
    changed = Inputs(*(x.clone() for x in _parts(inputs)))
    for x in _parts(changed):
        x[10] += 1
    one, two = policy.unroll(params, inputs).mean, policy.unroll(params, changed).mean
    differs = (one - two).abs().amax((1, 2)) > 1e-9
    assert differs.nonzero().flatten().tolist() == [10]


def test_a_transformer_of_an_odd_width_is_refused():
    with pytest.raises(InputError, match="--width 20 must be a multiple of 8"):
        RecurrentPolicy(3, 2, "transformer", width=20)


def _parts(inputs: Inputs) -> list[torch.Tensor]:
    return list(vars(inputs).values())


def test_every_core_can_be_asked_for():
    assert get_args(get_type_hints(MetaLSTMConfig)["core"]) == tuple(CORES)


@spans
def test_a_slots_effect_is_what_its_never_being_written_does_to_the_action(forgetful):
    policy = policy_of("lstm-memory", forgetful)
    params, inputs = params_of(policy), inputs_of()
    effect = policy.slot_effects(params, inputs)
    assert effect.shape == (LENGTH, N, policy.core.n_slots)
    mean = policy.unroll(params, inputs).mean
    for slot in range(policy.core.n_slots):
        shut = {**params, "memory/write_bias": params["memory/write_bias"].clone()}
        shut["memory/write_bias"][slot] = -1e6  # its gate never opens
        off = (policy.unroll(shut, inputs).mean - mean).square().mean(-1).sqrt()
        torch.testing.assert_close(effect[..., slot], off, rtol=0, atol=1e-10)
        assert off.max() > 1e-4


def test_a_core_without_slots_has_no_slots_effects():
    policy = policy_of("gru")
    assert policy.slot_effects(params_of(policy), inputs_of()) is None
