"""The MAML learner on plain arrays: its gradient is exact, and tasks do not touch each other."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import ACTION_DIM, OBS_DIM, SMALL, double, pad, rows, stages, trajectories, with_expert

from metarl.learners.maml import loss
from metarl.learners.maml.learner import Batch, MAMLConfig, MAMLLearner
from metarl.learners.maml.trpo import conjugate_gradient, trust_region_step
from metarl.policies.gaussian import kl, log_prob
from metarl.sampling.trajectories import Trajectories
from metarl.threads import torch_threads

ONE_STEP, TWO_STEPS = SMALL, replace(SMALL, inner_steps=2)
LEARNED = replace(SMALL, learn_inner_lr=True)
WITH_LOSS = replace(LEARNED, learned_loss=True)
VARIANTS = {
    "one step": ONE_STEP,
    "two steps": TWO_STEPS,
    "learned rates": LEARNED,
    "two steps, learned rates": replace(TWO_STEPS, learn_inner_lr=True),
    "two steps, a learned loss": replace(TWO_STEPS, learned_loss=True),
    "two steps, a context": replace(TWO_STEPS, n_context=2),
    "two steps, a learned loss of a context": replace(TWO_STEPS, learned_loss=True, n_context=2),
    "the last of two full steps alone": replace(TWO_STEPS, every_step=False, shorter_steps=False),
}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def small_loss(monkeypatch):
    """A learned loss of few parameters, each of which is differentiated in."""
    monkeypatch.setattr(loss, "HIDDEN", (3,))


def learner_of(config: MAMLConfig, seed: int = 0) -> MAMLLearner:
    return MAMLLearner(OBS_DIM, ACTION_DIM, config, seed)


def batches_of(learner: MAMLLearner, data: list) -> list[Batch]:
    """As `update` makes them."""
    n_tasks = learner.config.n_tasks
    return [learner.batch(t, n_tasks, counted=True) for t in data]


def in_double(config: MAMLConfig, rng: np.random.Generator) -> tuple[MAMLLearner, list[Batch]]:
    learner = learner_of(config)
    return learner, double(learner, batches_of(learner, stages(rng, config)))


def gradient(learner: MAMLLearner, batches: list[Batch]) -> torch.Tensor:
    grads = torch.autograd.grad(learner.objective(learner.meta, batches), list(learner.meta.values()))
    return torch.cat([g.flatten() for g in grads])


def differences(learner: MAMLLearner, function, width: float = 1e-5) -> torch.Tensor:
    """Central differences of a function of the meta-parameters, one row a parameter."""
    out = []
    for p in learner.meta.values():
        flat = p.data.view(-1)
        for i in range(len(flat)):
            here = flat[i].item()
            flat[i] = here + width
            above = function()
            flat[i] = here - width
            below = function()
            flat[i] = here
            out.append((above - below) / (2 * width))
    return torch.stack(out)


def inner_step(learner: MAMLLearner, data: Trajectories, step: int = 1) -> torch.Tensor:
    """What an inner step of three tasks adds to their parameters."""
    start = learner.initial(3)
    adapted = learner.adapt(start, data, step)
    return torch.cat([(adapted[k] - p).flatten() for k, p in start.items()])


def parameters_after(learner: MAMLLearner, data: list) -> dict[str, torch.Tensor]:
    learner.update(data)
    return {k: p.detach().clone() for k, p in learner.meta.items()}


# The meta-gradient.


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_the_meta_gradient_equals_finite_differences(config, rng):
    learner, batches = in_double(config, rng)
    exact = gradient(learner, batches)
    approximate = differences(learner, lambda: learner.objective(learner.meta, batches).detach())
    torch.testing.assert_close(exact, approximate, rtol=1e-6, atol=1e-8)
    assert exact.abs().max() > 1e-2


def imitating(amount: float, config: MAMLConfig, rng: np.random.Generator) -> tuple[MAMLLearner, list]:
    """A learner that imitates an expert so much, and what it learns from."""
    learner = MAMLLearner(OBS_DIM, ACTION_DIM, config, 0, expert=True)
    learner.imitates = lambda progress: amount
    learner.imitation = amount
    return learner, with_expert(rng, stages(rng, config))


@pytest.mark.parametrize("amount", [1.0, 0.3])
def test_who_imitates_climbs_towards_what_is_shown_as_far_as_that_is_wanted(amount, rng):
    learner, data = imitating(amount, replace(TWO_STEPS, learned_loss=True, n_context=2), rng)
    batches = double(learner, batches_of(learner, data))
    exact = gradient(learner, batches)
    approximate = differences(learner, lambda: learner.objective(learner.meta, batches).detach())
    torch.testing.assert_close(exact, approximate, rtol=1e-6, atol=1e-8)
    after = learner.stages(learner.meta, batches)[1:]
    means = [learner.policy.mean(p, b.obs) for p, b in zip(after, batches[1:], strict=True)]
    gaps = [(m - b.shown).square().sum(-1).mean() for m, b in zip(means, batches[1:], strict=True)]
    worth = -3 * amount * sum(gaps) / 2
    if amount < 1:
        pairs = zip(after, batches[1:], strict=True)
        worth += (1 - amount) * sum((learner._surrogate(p, b) * b.spread).mean() for p, b in pairs) / 2
    torch.testing.assert_close(learner.objective(learner.meta, batches), worth)


@pytest.mark.parametrize("outer", ["trpo", "ppo"])
def test_adapted_policies_come_nearer_to_what_is_shown_by_either_outer_step(outer, rng):
    config = replace(WITH_LOSS, outer=outer, outer_lr=0.02, max_kl=0.1)
    learner, data = imitating(1.0, config, rng)
    worth = []
    for _ in range(6):
        worth.append(float(learner.objective(learner.meta, batches_of(learner, data)).detach()))
        learner.update(data)
    assert worth == sorted(worth) and worth[-1] > 0.8 * worth[0]  # both are negative


def test_padding_is_not_imitated(rng):
    learner, data = imitating(1.0, replace(TWO_STEPS, outer="ppo"), rng)
    for t in data:
        t.terminated[2, 1], t.truncated[-1, 1], t.valid[3:, 1] = True, False, False
    whole = learner.objective(learner.meta, batches_of(learner, data))
    for t in data:
        t.shown[3:, 1] = 77
    torch.testing.assert_close(learner.objective(learner.meta, batches_of(learner, data)), whole)


# The context.


@pytest.mark.parametrize("learned_loss", [True, False])
def test_a_context_is_zero_before_adaptation_and_each_tasks_own_after_a_step(learned_loss, rng):
    learner = learner_of(replace(TWO_STEPS, n_context=2, learned_loss=learned_loss))
    start = learner.initial(3)
    assert not start["context"].any()
    moved = learner.adapt(start, trajectories(rng, 6, 6))["context"][:, 0]
    assert (moved.abs() > 1e-5).all() and len(moved.unique(dim=0)) == 3


def test_a_context_is_adapted_in_longer_steps(rng):
    long, t = learner_of(replace(ONE_STEP, n_context=2)), trajectories(rng, 6, 6)
    other = learner_of(replace(ONE_STEP, n_context=2, inner_lr=3.0))
    torch.testing.assert_close(
        10 * long.adapt(long.initial(3), t)["context"], other.adapt(other.initial(3), t)["context"]
    )
    learned = learner_of(replace(LEARNED, n_context=2))
    assert learned.meta["lr/context"].unique().tolist() == pytest.approx([3.0])
    assert learned.meta["lr/w0"].unique().tolist() == pytest.approx([0.3])


def test_first_order_differs_from_second_order_by_the_hessian_term(rng):
    first, batches = in_double(replace(ONE_STEP, first_order=True), rng)
    second = learner_of(ONE_STEP)
    second.meta = first.meta
    # The first-order gradient: that of the last surrogate in the adapted parameters, nothing more.
    adapted = {k: p.detach().requires_grad_() for k, p in first.stages(first.meta, batches)[-1].items()}
    gain = (first._surrogate(adapted, batches[-1]) * batches[-1].spread).mean()
    dropped = torch.cat([g.sum(0).flatten() for g in torch.autograd.grad(gain, list(adapted.values()))])
    torch.testing.assert_close(gradient(first, batches), dropped)
    assert (gradient(second, batches) - dropped).norm() > 1e-2 * dropped.norm()


def test_first_order_still_learns_the_rates(rng):
    learner, batches = in_double(replace(LEARNED, first_order=True), rng)
    learner.objective(learner.meta, batches).backward()
    assert all(p.grad.abs().max() > 0 for k, p in learner.meta.items() if k.startswith("lr/"))


@pytest.mark.parametrize("every", [True, False])
def test_the_objective_counts_every_step_or_the_last_alone(every, rng):
    learner = learner_of(replace(TWO_STEPS, every_step=every))
    batches = batches_of(learner, stages(rng, TWO_STEPS))
    after = learner.stages(learner.meta, batches)
    worth = [(learner._surrogate(p, b) * b.spread).mean() for p, b in zip(after, batches, strict=True)]
    expected = (worth[1] + worth[2]) / 2 if every else worth[2]
    torch.testing.assert_close(learner.objective(learner.meta, batches), expected)


def test_an_inner_step_is_the_policy_gradient(rng):
    # When the data is the policy's own, grad of the surrogate is mean(A * grad log pi) (REINFORCE).
    learner = learner_of(ONE_STEP)
    t = trajectories(rng, 6, 6)
    params = learner.initial(3)
    own = learner.batch(t, 3)
    with torch.no_grad():
        own_log_prob = log_prob(*learner.policy.mean_std(params, own.obs), own.action)
    for k in range(3):
        t.log_prob[:, 2 * k : 2 * k + 2] = own_log_prob[k].view(6, 2).numpy()
    batch = learner.batch(t, 3)
    leaves = {k: p.clone().requires_grad_() for k, p in params.items()}
    score = log_prob(*learner.policy.mean_std(leaves, batch.obs), batch.action)
    (score * batch.advantage / 12).sum().backward()
    for k, p in learner.adapt(params, t).items():
        torch.testing.assert_close(p, params[k] + 0.3 * leaves[k].grad, rtol=1e-4, atol=1e-6)


# Advantages.


def test_every_sample_keeps_its_place(rng):
    # action = 1000 * row + step, so that a misaligned batch is visible
    learner, t = learner_of(ONE_STEP), trajectories(rng, 5, 6)
    t.action[:] = (1000 * np.arange(6) + np.arange(5)[:, None])[..., None]
    t.log_prob[:], t.obs[:] = 10 * t.action[..., 0], t.action[..., :1] + [[[0, 1, 2]]]
    t.reward[:] = -t.log_prob
    batch = learner.batch(t, 3)
    for k in range(3):
        rows_of_task = sorted(batch.action[k, :, 0].tolist())
        assert rows_of_task == sorted(1000 * i + s for i in (2 * k, 2 * k + 1) for s in range(5))
    assert torch.equal(batch.log_prob, 10 * batch.action[..., 0])
    assert torch.equal(batch.obs, batch.action[..., :1] + torch.tensor([0.0, 1.0, 2.0]))
    assert torch.equal(batch.reward, -batch.log_prob)
    change = (batch.action[..., :1] % 1000 < 4).float()  # by 1 from step to step, and unknown after the last
    assert torch.equal(batch.next_obs, batch.obs + change)


def test_a_good_action_has_a_large_advantage(rng):
    learner, t = learner_of(replace(ONE_STEP, n_episodes=20)), trajectories(rng, 5, 60)
    t.reward[:] = t.action[..., 0]
    batch = learner.batch(t, 3)
    for k in range(3):
        assert torch.corrcoef(torch.stack([batch.advantage[k], batch.action[k, :, 0]]))[0, 1] > 0.4


def test_advantages_have_mean_0_and_deviation_1_and_by_their_spread_over_all_tasks(rng):
    learner, t = learner_of(ONE_STEP), trajectories(rng, 6, 6)
    t.reward[:, :2] *= 100
    batch = learner.batch(t, 3, counted=True)
    own, pooled = batch.advantage, batch.advantage * batch.spread[:, None]
    assert torch.equal(learner.batch(t, 3).spread, torch.ones(3))
    torch.testing.assert_close(own.mean(1), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(own.std(1, correction=0), torch.ones(3), rtol=1e-4, atol=0)
    torch.testing.assert_close(pooled.mean(1), torch.zeros(3), rtol=0, atol=1e-5)
    assert pooled.square().mean() == pytest.approx(1, rel=1e-4)
    assert pooled[0].std() > 10 * pooled[1].std()


# The learned loss.


def trained(config: MAMLConfig, rng: np.random.Generator) -> MAMLLearner:
    """After a few large steps, so that the loss is no longer close to zero."""
    learner = learner_of(replace(config, outer="ppo", outer_lr=0.1))
    for _ in range(5):
        learner.update(stages(rng, config))
    return learner


def test_at_first_the_learned_loss_hardly_matters(rng):
    without, with_loss, t = learner_of(LEARNED), learner_of(WITH_LOSS), trajectories(rng, 6, 6)
    assert all(torch.equal(p, with_loss.meta[k]) for k, p in without.meta.items())
    plain = inner_step(without, t)
    assert 0 < (inner_step(with_loss, t) - plain).norm() < 0.1 * plain.norm()


@pytest.mark.parametrize(("config", "sees"), [(LEARNED, False), (WITH_LOSS, True)])
def test_only_a_learned_loss_sees_how_large_the_rewards_are(config, sees, rng):
    learner, t = trained(replace(config, gamma=0.0), rng), trajectories(rng, 6, 6)
    change = inner_step(learner, replace(t, reward=t.reward + 3)) - inner_step(learner, t)
    assert (change.norm() > 1e-2 * inner_step(learner, t).norm()) == sees


# Tasks do not touch each other.


@pytest.mark.parametrize("config", [LEARNED, WITH_LOSS])
def test_adapting_one_task_does_not_touch_another(config, rng):
    learner, t = learner_of(config), trajectories(rng, 6, 6)
    before = learner.adapt(learner.initial(3), t)
    for name in ("obs", "action", "reward"):
        getattr(t, name)[:, :2] += 1 + rng.standard_normal(getattr(t, name)[:, :2].shape)
    after = learner.adapt(learner.initial(3), t)
    assert all(torch.equal(before[k][1:], after[k][1:]) for k in before)
    assert not torch.equal(before["w0"][0], after["w0"][0])


def test_adapting_many_tasks_at_once_is_adapting_each_alone(rng):
    learner, t = learner_of(ONE_STEP), trajectories(rng, 6, 6)
    params = learner.adapt(learner.initial(3), t)  # so that the tasks differ before
    together = learner.adapt(params, t)
    for k in range(3):
        alone = learner.adapt({n: p[k : k + 1] for n, p in params.items()}, rows(t, slice(2 * k, 2 * k + 2)))
        for name, p in alone.items():
            torch.testing.assert_close(p[0], together[name][k], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("outer", ["trpo", "ppo"])
def test_padding_does_not_matter(outer, rng):
    config = replace(ONE_STEP, outer=outer, learned_loss=True)
    data = stages(rng, config)
    for t in data:  # row 1 fails early; what it holds after that is noise
        t.terminated[2, 1], t.truncated[-1, 1], t.valid[3:, 1] = True, False, False
    noisy = [pad(t, 10, 1e3) for t in data]
    for t in noisy:
        t.reward[3:, 1], t.obs[3:, 1], t.action[3:, 1] = -1e3, 50, 7
    one, other = learner_of(config), learner_of(config)
    adapted, again = (x.adapt(x.initial(3), d[0]) for x, d in ((one, data), (other, noisy)))
    for k in adapted:
        torch.testing.assert_close(adapted[k], again[k], rtol=1e-4, atol=1e-6)
    moved, moved_again = parameters_after(one, data), parameters_after(other, noisy)
    for k in moved:
        torch.testing.assert_close(moved[k], moved_again[k], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(one.normaliser.mean, other.normaliser.mean)
    torch.testing.assert_close(one.rewards.mean, other.rewards.mean)


@pytest.mark.parametrize("shorter", [True, False])
def test_steps_get_shorter_from_the_second_on_or_beyond_those_of_training(shorter, rng):
    learner, t = learner_of(replace(TWO_STEPS, shorter_steps=shorter)), trajectories(rng, 6, 6)
    first = inner_step(learner, t)
    assert first.abs().max() > 0
    full = 1 if shorter else 2
    for step in 2, 3, 4, 10:
        torch.testing.assert_close(inner_step(learner, t, step), full / step * first, rtol=1e-3, atol=1e-7)


def test_beyond_training_steps_are_of_the_policy_gradient_alone_and_shorter_still(rng):
    learner, t = trained(replace(TWO_STEPS, learned_loss=True), rng), trajectories(rng, 6, 6)
    without = learner_of(TWO_STEPS)
    without.meta, without.normaliser = {k: learner.meta[k] for k in without.meta}, learner.normaliser
    plain = inner_step(without, t)
    assert (inner_step(learner, t, 2) - plain / 2).norm() > 1e-2 * plain.norm()
    for step in 3, 10:
        torch.testing.assert_close(inner_step(learner, t, step), 2 / step**2 * plain, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_training_looks_through_the_steps_that_adaptation_takes(config, rng):
    learner, data = learner_of(config), stages(rng, config)
    params, seen = learner.initial(3), learner.stages(learner.meta, batches_of(learner, data))
    for k, t in enumerate(data[:-1], 1):
        params = learner.adapt(params, t, k)
        for name, p in params.items():
            torch.testing.assert_close(p, seen[k][name].detach())


def test_adapt_leaves_the_learner_as_it_was(rng):
    learner = learner_of(LEARNED)
    learner.update(stages(rng, LEARNED))
    state = learner.state_dict()
    kept = {"meta": {k: p.clone() for k, p in state["meta"].items()}, "normaliser": dict(state["normaliser"])}
    start = learner.initial(3)
    values = {k: p.clone() for k, p in start.items()}
    adapted = learner.adapt(start, trajectories(rng, 6, 6))
    assert all(torch.equal(p, learner.meta[k]) for k, p in kept["meta"].items())
    assert all(torch.equal(x, learner.normaliser.state_dict()[k]) for k, x in kept["normaliser"].items())
    assert all(torch.equal(p, start[k]) for k, p in values.items())
    assert not any(p.requires_grad for p in adapted.values())


def test_the_normaliser_moves_at_the_end_of_an_update_by_what_was_lived_through(rng):
    learner, data = learner_of(TWO_STEPS), stages(rng, TWO_STEPS)
    data[1].valid[3:, 0] = False
    learner.update(data)
    seen = np.concatenate([t.obs[t.valid] for t in data])
    np.testing.assert_allclose(learner.normaliser.mean.numpy(), seen.mean(0), rtol=1e-5, atol=1e-6)
    assert learner.normaliser.count == len(seen)


# The Fisher matrix and the TRPO step.


def drift(learner: MAMLLearner, batches: list[Batch], old: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """KL(old || now) of the adapted policies, mean over tasks and states."""
    now = learner.policy.mean_std(learner.stages(learner.meta, batches)[-1], batches[-1].obs)
    return kl(*old, *now).mean()


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_fisher_products_are_those_of_the_dense_hessian_of_the_kl(config, rng):
    learner, batches = in_double(config, rng)
    adapted = {k: p.detach() for k, p in learner.stages(learner.meta, batches)[-1].items()}
    old = tuple(x.detach() for x in learner.policy.mean_std(adapted, batches[-1].obs))

    def slope() -> torch.Tensor:
        grads = torch.autograd.grad(drift(learner, batches, old), list(learner.meta.values()))
        return torch.cat([g.flatten() for g in grads])

    dense = differences(learner, slope)
    product = learner.fisher(batches, adapted, stride=1)
    for seed in range(3):
        g = torch.Generator().manual_seed(seed)
        v = torch.randn(len(dense), generator=g, dtype=torch.float64)
        torch.testing.assert_close(product(v), dense @ v, rtol=1e-4, atol=1e-6)


def test_a_subsampled_fisher_matrix_gives_nearly_the_direction_of_the_full_one(rng):
    config = replace(ONE_STEP, n_episodes=20, inner_lr=0.1)
    learner = learner_of(config)
    data = stages(rng, config, length=200)
    for t in data:  # drawn from the policy before adaptation, as in training
        t.action[:] = 0.4 * rng.standard_normal(t.action.shape)
        t.log_prob[:] = (-0.5 * (t.action / 0.4) ** 2).sum(-1) - 2 * np.log(0.4) - np.log(2 * np.pi)
        t.reward[:] = t.action[..., 0] * t.obs[..., 0] + rng.standard_normal(t.reward.shape)
    batches = double(learner, batches_of(learner, data))
    adapted = {k: p.detach() for k, p in learner.stages(learner.meta, batches)[-1].items()}
    target = gradient(learner, batches)

    def direction(stride: int) -> torch.Tensor:
        product = learner.fisher(batches, adapted, stride)
        return conjugate_gradient(lambda v: product(v) + 1e-2 * v, target, 10)[0]

    full = direction(1)
    for stride, alike in ((2, 0.95), (5, 0.85), (9, 0.5)):
        assert torch.cosine_similarity(full, direction(stride), dim=0) > alike
    assert torch.cosine_similarity(full, target, dim=0) < 0.8  # the curvature matters here


@pytest.mark.parametrize("outer", ["trpo", "ppo"])
def test_shards_add_up_to_the_step_of_the_whole_on_any_number_of_threads(outer, rng, monkeypatch):
    config = replace(LEARNED, outer=outer, fisher_stride=1)
    data, found = stages(rng, config), []
    for shard, n_threads in (1, 1), (1, 2), (10_000, 1):
        monkeypatch.setattr("metarl.learners.maml.learner.SHARD", shard)
        with torch_threads(n_threads):
            moved = parameters_after(learner_of(config), data)
        found.append(torch.cat([p.flatten() for p in moved.values()]))
    one_by_one, on_two_threads, whole = found
    assert torch.equal(one_by_one, on_two_threads)
    torch.testing.assert_close(one_by_one, whole, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("max_kl", [1e-4, 1e-2, 1.0])
def test_a_trpo_step_improves_the_objective_within_the_trust_region(max_kl, rng):
    config = replace(LEARNED, max_kl=max_kl, fisher_stride=2)
    learner = learner_of(config)
    for _ in range(5):
        data = stages(rng, config)
        batches = batches_of(learner, data)
        old = learner.policy.mean_std(learner.stages(learner.meta, batches)[-1], batches[-1].obs)
        before = learner.objective(learner.meta, batches)
        stats = learner.update(data)
        gained = learner.objective(learner.meta, batches) - before
        moved = drift(learner, batches, old)
        assert 0 < moved <= max_kl * (1 + 1e-4)
        assert gained > 0
        assert stats["gain"] == pytest.approx(gained.item(), rel=0.05, abs=1e-6)
        assert stats["outer_kl"] == pytest.approx(moved.item(), rel=0.05, abs=1e-7)


def test_where_no_step_improves_the_parameters_stay():
    start, downhill = torch.ones(3), torch.ones(3)
    tried = []

    def evaluate(x: torch.Tensor) -> tuple[float, float]:
        tried.append(x)
        return -float((x - start).norm()), 0.0

    found, gain, moved = trust_region_step(start, 0.0, downhill, lambda v: v, evaluate, 0.01, 10)
    assert torch.equal(found, start)
    assert (gain, moved) == (0.0, 0.0)
    assert len(tried) > 5


def test_of_steps_beyond_the_trust_region_a_shorter_one_is_taken():
    # The model's curvature is 4 times too small: the full step is twice too long.
    def evaluate(x: torch.Tensor) -> tuple[float, float]:
        return float(x.sum()), float(2 * x @ x)

    found, gain, moved = trust_region_step(
        torch.zeros(2), 0.0, torch.ones(2), lambda v: v, evaluate, 0.01, 10
    )
    assert 0.005 < moved <= 0.01
    assert gain == pytest.approx(float(found.sum()))


def test_a_gradient_that_is_not_finite_moves_nothing():
    bad = torch.tensor([1.0, float("nan")])
    found, *numbers = trust_region_step(torch.zeros(2), 0.0, bad, lambda v: v, lambda x: (1.0, 0.0), 0.01, 10)
    assert torch.equal(found, torch.zeros(2))
    assert numbers == [0.0, 0.0]


def test_conjugate_gradients_solve_a_positive_definite_system():
    g = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, generator=g, dtype=torch.float64)
    matrix, b = root @ root.T + torch.eye(6), torch.randn(6, generator=g, dtype=torch.float64)
    for iterations in (3, 20):
        x, image = conjugate_gradient(lambda v: matrix @ v, b, iterations)
        torch.testing.assert_close(image, matrix @ x)
    torch.testing.assert_close(x, torch.linalg.solve(matrix, b))
    assert torch.equal(conjugate_gradient(lambda v: matrix @ v, 0 * b, 20)[0], 0 * b)


# The PPO step.


@pytest.mark.parametrize("config", [ONE_STEP, replace(TWO_STEPS, learn_inner_lr=True)], ids=["1", "2"])
def test_a_ppo_step_improves_the_objective(config, rng):
    learner = learner_of(replace(config, outer="ppo", epochs=3, outer_lr=1e-3))
    data = stages(rng, config)
    batches = batches_of(learner, data)
    before = learner.objective(learner.meta, batches)
    along = gradient(learner, batches)
    start = torch.cat([p.detach().flatten() for p in learner.meta.values()])
    stats = learner.update(data)
    moved = torch.cat([p.detach().flatten() for p in learner.meta.values()]) - start
    assert learner.objective(learner.meta, batches) > before
    assert along @ moved > 0
    assert all(np.isfinite(x) for x in stats.values())


def test_one_ppo_minibatch_a_task_takes_an_adam_step_for_each(rng):
    config = replace(ONE_STEP, outer="ppo", epochs=4, minibatches=3)
    learner = learner_of(config)
    learner.update(stages(rng, config))
    assert {int(s["step"]) for s in learner.adam.state_dict()["state"].values()} == {4 * 3}


def test_ppo_with_minibatches_shuffles_the_tasks_by_its_own_generator(rng):
    config = replace(ONE_STEP, outer="ppo", epochs=2, minibatches=3)
    data = stages(rng, config)
    one, again, other = (learner_of(config) for _ in range(3))
    other.generator.manual_seed(123)
    torch.manual_seed(5)
    moved = [parameters_after(learner, data) for learner in (one, again, other)]
    assert all(torch.equal(moved[0][k], moved[1][k]) for k in moved[0])
    assert not torch.equal(moved[0]["w0"], moved[2]["w0"])


def test_the_clip_holds_the_ratio_back(rng):
    learner, batches = in_double(ONE_STEP, rng)
    params = learner.stages(learner.meta, batches)[-1]
    batch = batches[-1]
    ratio = torch.exp(log_prob(*learner.policy.mean_std(params, batch.obs), batch.action) - batch.log_prob)
    gain = torch.minimum(ratio * batch.advantage, ratio.clip(0.8, 1.2) * batch.advantage)
    clipped = learner._gain(learner.policy.mean_std(params, batch.obs), batch, 0.2)
    torch.testing.assert_close(clipped, gain.mean(1))
    assert (learner._surrogate(params, batch) > clipped).all()


def test_a_narrow_clip_holds_the_adapted_policy_near(rng):
    config = replace(ONE_STEP, outer="ppo", epochs=30, outer_lr=3e-3)
    data, moved = stages(rng, config), []
    for clip in (1000, 0.01):
        moved.append(learner_of(replace(config, clip=clip)).update(data)["outer_kl"])
    assert moved[1] < 0.5 * moved[0]


def test_before_the_first_ppo_step_no_policy_has_drifted_in_any_minibatch(rng):
    config = replace(TWO_STEPS, outer="ppo", epochs=1, minibatches=3, outer_lr=1e-8)
    data = stages(rng, config)
    for seed in range(4):  # whichever task comes last
        stats = learner_of(config, seed).update(data)
        assert stats["inner_kl"] == pytest.approx(0, abs=1e-6)
        assert stats["outer_kl"] == pytest.approx(0, abs=1e-6)


def test_the_kl_penalty_holds_the_first_policy_near(rng):
    config = replace(ONE_STEP, outer="ppo", epochs=30, outer_lr=3e-3)
    data, moved = stages(rng, config), []
    for weight in (0.0, 10.0):
        learner = learner_of(replace(config, inner_kl=weight))
        moved.append(learner.update(data)["inner_kl"])
    assert moved[1] < 0.3 * moved[0]


# State.


@pytest.mark.parametrize("outer", ["trpo", "ppo"])
@pytest.mark.parametrize("config", [LEARNED, WITH_LOSS])
def test_a_learner_goes_on_from_its_state_bit_for_bit(config, outer, rng):
    config = replace(config, outer=outer, minibatches=2)
    first, second = stages(rng, config), stages(rng, config)
    one, other = learner_of(config), learner_of(config, seed=7)
    one.update(first)
    other.load_state_dict(deepcopy(one.state_dict()))
    moved, moved_again = parameters_after(one, second), parameters_after(other, second)
    assert all(torch.equal(moved[k], moved_again[k]) for k in moved)


def test_parameters_of_other_shapes_are_refused():
    state = learner_of(ONE_STEP).state_dict()
    for other in (replace(ONE_STEP, hidden=(6,)), LEARNED):
        with pytest.raises(ValueError, match="names or shapes"):
            learner_of(other).load_state_dict(state)
