"""The recurrent learner: what flows where in a trial, and that remembering is learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from metarl import MetaLSTM, MetaLSTMConfig, evaluate
from metarl.envs import Param, Uniform
from metarl.envs.families.point import PointGoal
from metarl.learners.meta_lstm.learner import MetaLSTMLearner
from metarl.learners.ppo import braked
from metarl.policies.gaussian import log_prob
from metarl.sampling.trajectories import Trials
from metarl.threads import torch_threads

T, N = 12, 6
PLAIN = {"teacher": 0.0, "critic": "blind", "piece": 1000}
SMALL = MetaLSTMConfig(n_trials=N, minibatches=3, width=8, hidden=4, epochs=2, target_kl=1000, **PLAIN)


def trials_of(seed: int = 0, horizon: int = 6) -> Trials:
    """Random trials of two episodes."""
    rng = np.random.default_rng(seed)
    out = Trials.empty(T, N, 3, 2)
    for x in (out.obs, out.action, out.reward, out.value):
        x[:] = rng.standard_normal(x.shape)
    out.log_prob[:] = -2.0
    out.valid[:] = out.trial_start[0] = out.episode_start[::horizon] = out.truncated[
        horizon - 1 :: horizon
    ] = True
    return out


def learner_of(config: MetaLSTMConfig = SMALL, seed: int = 0) -> MetaLSTMLearner:
    return MetaLSTMLearner(3, 2, config, seed)


def targets(config: MetaLSTMConfig, trials: Trials) -> np.ndarray:
    """Of the values, for rewards that are not rescaled."""
    learner = learner_of(config)
    return learner._batch(trials)["target"].numpy()


# What the policy sees.


def test_the_last_action_and_reward_are_inputs_and_a_trial_begins_with_none():
    trials = trials_of()
    trials.action[:] = np.arange(T)[:, None, None] / 100
    trials.reward[:] = np.arange(T)[:, None] / 10
    inputs = learner_of().inputs(trials)
    assert (inputs.prev_action[0] == 0).all()
    assert (inputs.prev_reward[0] == 0).all()
    np.testing.assert_allclose(inputs.prev_action[1:], trials.action[:-1])
    np.testing.assert_allclose(inputs.prev_reward[1:, :, 0], trials.reward[:-1])
    np.testing.assert_array_equal(inputs.episode_start[..., 0], trials.episode_start)


def test_an_action_is_seen_as_it_was_carried_out():
    trials = trials_of()
    trials.action[:] = 5.0
    assert (learner_of().inputs(trials).prev_action[1:] == 1).all()


def test_what_the_last_step_has_changed_is_an_input_within_an_episode():
    trials = trials_of()
    trials.obs[:] = np.square(np.arange(T))[:, None, None] / 10
    trials.reward[:] = np.square(np.arange(T))[:, None]
    change = learner_of().inputs(trials).change[:, 0]
    expected = np.zeros((T, 4))  # episodes begin at steps 0 and 6
    for t in (1, 2, 3, 4, 5, *range(7, T)):
        expected[t, :3] = (2 * t - 1) / 10
    for t in (2, 3, 4, 5, *range(8, T)):  # both rewards are of the same episode
        expected[t, 3] = 2 * t - 3
    np.testing.assert_allclose(change, np.clip(expected, -10, 10), rtol=1e-5)


def test_changes_are_seen_in_units_of_their_spread_within_episodes():
    learner, trials = learner_of(), trials_of()
    trials.obs[:] /= 1000
    trials.obs[6:] += 50  # a jump between episodes
    learner.update(trials, 0.0)
    change = learner.inputs(trials).change[trials.episode_start == 0]
    torch.testing.assert_close(change[:, :3].std(0), torch.ones(3), rtol=0.05, atol=0)


def test_without_reward_input_neither_the_reward_nor_its_change_is_seen():
    learner = learner_of(replace(SMALL, reward_input=False))
    inputs = learner.inputs(trials_of())
    assert (inputs.prev_reward == 0).all()
    assert (inputs.change[..., -1] == 0).all() and (inputs.change != 0).any()


def test_inputs_are_normalised_by_what_was_seen_before_this_iteration():
    learner, trials = learner_of(), trials_of()
    trials.obs[:] = 5 + trials.obs
    trials.reward[:] *= 7
    assert torch.equal(learner.inputs(trials).obs, torch.from_numpy(trials.obs))
    learner.update(trials, 0.0)
    inputs = learner.inputs(trials)
    torch.testing.assert_close(inputs.obs.mean((0, 1)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(inputs.obs.std((0, 1)), torch.ones(3), rtol=0.02, atol=0)
    assert 0.9 < inputs.prev_reward[1:].std() < 1.1


# Advantages.


def test_the_advantage_runs_over_the_end_of_an_episode_and_stops_at_that_of_a_trial():
    config = replace(SMALL, gamma=0.5, gae_lambda=1.0)
    trials = trials_of()
    trials.reward[:], trials.value[:] = 0, 0
    trials.reward[6] = 8.0  # first step of the second episode
    trials.value[-1] = 32.0
    expected = np.zeros(T)
    expected[:7] = 8 * 0.5 ** np.arange(6, -1, -1)
    expected += 32 * 0.5 ** np.arange(T, 0, -1)  # the time limit of the trial is no failure
    np.testing.assert_allclose(targets(config, trials), np.tile(expected[:, None], (1, N)), rtol=1e-5)


@pytest.mark.parametrize("cut", [True, False])
def test_after_a_failure_nothing_counts_unless_asked_to(cut):
    config = replace(SMALL, gamma=0.5, gae_lambda=1.0, cut_at_failure=cut)
    trials = trials_of()
    trials.reward[:], trials.value[:] = 0, 0
    trials.truncated[5], trials.terminated[5] = False, True
    trials.reward[6] = 8.0
    target = targets(config, trials)
    np.testing.assert_allclose(target[5], 0 if cut else 4)
    np.testing.assert_allclose(target[6], 8)


def test_rewards_are_scaled_so_that_returns_have_unit_deviation():
    config = replace(SMALL, gamma=0.0, reward_input=False)
    learner, trials = learner_of(config), trials_of()
    trials.reward[:] = 100 * trials.reward + 5
    stats = learner.update(trials, 0.0)
    assert stats["reward_scale"] == pytest.approx(trials.reward.std(), rel=1e-4)
    twin, scaled = learner_of(config), trials_of()
    scaled.reward[:] = trials.reward / 10
    twin.update(scaled, 0.0)
    for k, p in learner.params.items():
        torch.testing.assert_close(p, twin.params[k], rtol=1e-3, atol=1e-5)


# Updates.


def test_a_minibatch_is_made_of_whole_trials_and_every_trial_is_used_once_an_epoch():
    learner, seen = learner_of(), []
    step = learner._step
    learner._step = lambda batch, index, pool: seen.append(index) or step(batch, index, pool)
    learner.update(trials_of(), 0.0)
    assert [len(i) for i in seen] == [2] * 6
    for epoch in (seen[:3], seen[3:]):
        assert sorted(torch.cat(epoch).tolist()) == list(range(N))
    assert not torch.equal(torch.cat(seen[:3]), torch.cat(seen[3:]))


def test_shards_add_up_to_the_slope_of_the_whole(monkeypatch):
    one, other = learner_of(replace(SMALL, minibatches=1)), learner_of(replace(SMALL, minibatches=1))
    stats = one.update(trials_of(), 0.0)
    monkeypatch.setattr(
        "metarl.learners.meta_lstm.learner.SHARD", 4 * T
    )  # of 6 trials: not the same number in each
    sharded = other.update(trials_of(), 0.0)
    assert sharded == pytest.approx(stats, rel=1e-3, abs=1e-6)
    for k, p in one.params.items():
        torch.testing.assert_close(p, other.params[k], rtol=1e-3, atol=1e-5)


def test_the_number_of_torch_threads_changes_nothing(monkeypatch):
    monkeypatch.setattr("metarl.learners.meta_lstm.learner.SHARD", 1)
    learners = []
    for n in (1, 2, 3):
        with torch_threads(n):
            learners.append(learner_of())
            learners[-1].update(trials_of(), 0.0)
            assert torch.get_num_threads() == n
    for k, p in learners[0].params.items():
        assert torch.equal(p, learners[1].params[k])
        assert torch.equal(p, learners[2].params[k])


def test_the_first_step_starts_from_the_policy_that_acted():
    agent = MetaLSTM("PointGoal", replace(SMALL, epochs=1, minibatches=1), n_threads=1)
    stats = []
    agent.learn(2 * agent.steps_per_iteration, lambda agent, now: stats.append(now))
    assert all(now["learn/kl"] < 1e-6 and now["learn/clipped"] == 0 for now in stats)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", [1, 1, 1]), ("linear", [1, 0.5, 0.25]), ("cosine", [1, 0.5, 0.1464466])],
)
def test_the_learning_rate_follows_its_schedule(schedule, expected):
    learner = learner_of(replace(SMALL, lr=0.01, lr_schedule=schedule))
    rates = [learner.update(trials_of(), progress)["lr"] for progress in (0.0, 0.5, 0.75)]
    np.testing.assert_allclose(rates, 0.01 * np.array(expected), rtol=1e-5)


def test_learning_stops_early_when_the_policy_has_moved_far():
    far = replace(SMALL, lr=0.1, target_kl=0.01, epochs=5)
    learner = learner_of(far)
    rates = [learner.update(trials_of(), 0.0)["lr"] for _ in range(3)]
    np.testing.assert_allclose(rates, [0.1, 0.1 / 1.5, 0.1 / 1.5**2])
    free = learner_of(replace(far, target_kl=1000.0))
    assert free.update(trials_of(), 0.0)["adam_steps"] == 15
    assert free.brake == 1


def test_a_step_from_where_it_went_too_far_is_not_taken():
    learner = learner_of(replace(SMALL, target_kl=1e-8))
    before = {k: p.detach().clone() for k, p in learner.params.items()}
    assert learner.update(trials_of(), 0.0)["adam_steps"] == 1  # these trials are another policy's
    assert all(torch.equal(p, before[k]) for k, p in learner.params.items())


@pytest.mark.parametrize("imitation, far", [(0.0, 1.0), (0.5, 2.0), (0.9, 10.0), (1.0, np.inf)])
def test_as_far_as_it_imitates_a_policy_may_move_farther(imitation, far):
    learner = learner_of(replace(SMALL, target_kl=0.1))
    learner.imitation = imitation
    assert not learner._too_far({"kl": 0.15 * far * 0.99 if far < np.inf else 1e6})
    assert far == np.inf or learner._too_far({"kl": 0.15 * far * 1.01})


def test_one_step_in_a_strange_state_neither_pushes_nor_brakes():
    learner, trials = learner_of(), trials_of()
    decision = learner.policy.unroll(learner.params, learner.inputs(trials))
    own = log_prob(decision.mean, decision.log_std, torch.from_numpy(trials.action)).detach().numpy()
    trials.log_prob[:] = own
    trials.log_prob[3, 2] -= 200  # a ratio that no float holds
    batch = learner._batch(trials)
    batch["advantage"][3, 2] = -5.0
    slopes, stats = learner._gradient(batch, torch.arange(N))
    assert all(torch.isfinite(slope).all() for slope in slopes)
    assert stats["kl"] < 1 / (T * N)
    batch["advantage"][3, 2] = -50.0
    again, _ = learner._gradient(batch, torch.arange(N))
    assert all(torch.equal(a, b) for a, b in zip(slopes, again, strict=True))


def test_the_brake_is_released_the_sooner_the_less_the_policy_moves_and_saved():
    assert [braked(0.1, kl, 0.05, stopped=False) for kl in (0.04, 0.02)] == pytest.approx([0.105, 0.15])
    assert braked(0.9, 0.02, 0.05, stopped=False) == 1
    assert braked(0.3, 0.08, 0.05, stopped=True) == pytest.approx(0.2)
    learner = learner_of(replace(SMALL, target_kl=1e3))
    learner.brake = 0.5
    learner.update(trials_of(), 0.0)
    assert learner.brake == pytest.approx(0.75)
    other = learner_of()
    other.load_state_dict(learner.state_dict())
    assert other.brake == learner.brake


def test_the_floor_keeps_exploration_alive():
    learner = learner_of(replace(SMALL, init_std=0.5, min_std=0.3))
    with torch.no_grad():
        learner.params["log_std"].fill_(-10.0)
    decision = learner.policy.unroll(learner.params, learner.inputs(trials_of()))
    torch.testing.assert_close(decision.log_std.exp(), torch.full((2,), 0.3))


def test_noise_is_led_to_its_final_size_amid_the_training_and_then_stays_there():
    learner = learner_of(replace(SMALL, init_std=0.8, min_std=0.2, final_std=0.05, lr=1e-8))
    seen = []
    for progress in (0.0, 0.3, 0.55, 0.8, 0.99):
        learner.update(trials_of(), progress)
        seen.append(learner.params["log_std"].detach().exp().max())
    torch.testing.assert_close(torch.stack(seen), torch.tensor([0.8, 0.8, 0.2, 0.05, 0.05]))
    with torch.no_grad():
        learner.params["log_std"].fill_(-10.0)
    learner.update(trials_of(), 0.0)
    assert learner.params["log_std"].detach().exp().tolist() == pytest.approx([0.2, 0.2])


def test_more_minibatches_than_pieces_are_as_many_as_there_are():
    learner = learner_of(replace(SMALL, minibatches=50, epochs=1))
    assert learner.update(trials_of(), 0.0)["adam_steps"] == N


# It learns to remember.


class Left(PointGoal):
    """A hidden goal at 0.5 m to the left or to the right, which the observation never shows."""

    params = (Param("goal_x", "m", Uniform(-1, 1)),)
    horizon = 10

    def reward(self, r, action, task):
        return {"towards": np.sign(task["goal_x"]) * np.clip(action[:, 0], -1, 1)}


LEARNING = MetaLSTMConfig(
    n_trials=32, minibatches=2, width=16, hidden=16, lr=5e-3, target_kl=0.02, gamma=0.9, **PLAIN
)
STEPS = 60 * 32 * 2 * 10


def result_of(config: MetaLSTMConfig):
    agent = MetaLSTM(Left(), config, seed=0, n_threads=1).learn(STEPS)
    return evaluate(agent.adapter(), agent.family, agent.family.tasks("test"), 2, 2, n_threads=1)


@pytest.mark.parametrize("core", ["lstm-memory", "lstm", "gru", "transformer"])
def test_a_hidden_direction_is_found_in_one_step_and_remembered(core):
    # The first step is a guess and pays nothing on average; all others could pay 1.
    result = result_of(replace(LEARNING, core=core))
    assert result.mean[0] > 6
    assert result.mean[1] > 8
    assert result.gain_ci95[1][0] > 0


def test_without_memory_over_episodes_the_second_is_no_better():
    result = result_of(replace(LEARNING, memory_span="episode"))
    assert result.mean[0] > 6
    assert result.gain[1] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("core", ["lstm-memory", "feedforward"])
def test_a_memoryless_twin_shows_no_gain_where_the_task_cannot_be_seen(core):
    result = result_of(replace(LEARNING, core=core, reward_input=False))
    assert abs(result.mean[0]) < 4
    assert result.gain_ci95[1][0] <= 0 <= result.gain_ci95[1][1]
