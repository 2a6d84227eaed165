"""Whole trials: full rows, episodes one after another, and everything in its place."""

import numpy as np
import pytest
import torch
from helpers import Fragile

from metarl import MetaLSTM, MetaLSTMConfig
from metarl.envs import BatchSim, load_family
from metarl.policies.gaussian import log_prob
from metarl.sampling.trials import collect_episode, collect_trials

N, HORIZON = 6, 20
CONFIG = MetaLSTMConfig(n_trials=N, minibatches=2, width=8, hidden=4, teacher=0.0, critic="blind")


def agent_of(family="PointGoal", **kwargs) -> MetaLSTM:
    return MetaLSTM(family, CONFIG, n_threads=1, **kwargs)


def sim_of(agent: MetaLSTM, n: int = N) -> BatchSim:
    sim = BatchSim(agent.family, n, 1)
    sim.set_tasks(agent.family.sample(np.random.default_rng(0), n))
    return sim


def trials_of(agent: MetaLSTM, n_episodes: int = 3, **kwargs):
    rng = np.random.default_rng(1)
    return collect_trials(sim_of(agent), agent.player(N), rng, n_episodes * HORIZON, **kwargs)


def test_a_trial_is_full_and_its_episodes_follow_each_other():
    trials = trials_of(agent_of())
    steps = np.arange(3 * HORIZON)[:, None]
    assert trials.valid.all()
    assert trials.n_steps == N * 3 * HORIZON
    np.testing.assert_array_equal(trials.episode_start, np.tile(steps % HORIZON == 0, (1, N)))
    np.testing.assert_array_equal(trials.trial_start, np.tile(steps == 0, (1, N)))
    np.testing.assert_array_equal(trials.truncated, np.tile(steps % HORIZON == HORIZON - 1, (1, N)))
    assert not trials.terminated.any()
    np.testing.assert_allclose(trials.obs[::HORIZON], 0, atol=1e-6)  # the point starts at the origin
    moved = np.clip(trials.action, -1, 1)[:-1] * 0.1
    inside = ~trials.episode_start[1:]
    np.testing.assert_allclose((trials.obs[:-1] + moved)[inside], trials.obs[1:][inside], atol=2e-3)


def test_a_new_episode_begins_at_once_where_one_has_failed():
    trials = trials_of(agent_of(Fragile()))
    assert trials.terminated.any()
    ended = trials.terminated | trials.truncated
    np.testing.assert_array_equal(trials.episode_start[1:], ended[:-1])
    assert ended[-1].all()
    np.testing.assert_allclose(trials.obs[trials.episode_start], 0, atol=1e-6)
    assert (np.abs(trials.obs[1:][~trials.episode_start[1:]][:, 0]) <= 0.4).all()


def test_returns_are_of_whole_episodes_and_unknown_where_one_was_cut():
    trials = trials_of(agent_of(Fragile()))
    returns = trials.episode_returns(40)
    for n in range(N):
        bounds = [*np.flatnonzero(trials.episode_start[:, n]), 3 * HORIZON]
        lengths = np.diff(bounds)
        np.testing.assert_array_equal(returns[n, : len(lengths)], lengths)  # every step pays 1
        assert np.isnan(returns[n, len(lengths) :]).all()


def test_what_the_learner_unrolls_is_what_the_policy_did():
    for family in ("PointGoal", Fragile()):
        agent = agent_of(family)
        agent.learn(agent.steps_per_iteration)  # so that normalisers have moved
        learner, trials = agent.learner, trials_of(agent)
        with torch.inference_mode():
            decision = learner.policy.unroll(learner.params, learner.inputs(trials))
            own = log_prob(decision.mean, decision.log_std, torch.from_numpy(trials.action))
        np.testing.assert_allclose(own, trials.log_prob, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(decision.value, trials.value[:-1], rtol=1e-4, atol=1e-5)


def test_the_last_value_is_of_the_state_after_the_last_step():
    agent = agent_of()
    longer, shorter = trials_of(agent, 2), trials_of(agent, 1)
    np.testing.assert_array_equal(longer.obs[:HORIZON], shorter.obs)
    assert (np.abs(shorter.value[-1] - longer.value[HORIZON]) > 1e-6).any()  # not of a new episode
    with torch.inference_mode():
        player, learner = agent.player(N), agent.learner
        for t in range(HORIZON):
            player.decide(shorter.obs[t], shorter.episode_start[t])
            player.feel(shorter.action[t], shorter.reward[t])
        final = shorter.obs[-1] + 0.1 * np.clip(shorter.action[-1], -1, 1)
        value = player.decide(final, np.zeros(N, bool)).value
    assert learner.policy.action_dim == 2
    np.testing.assert_allclose(shorter.value[-1], value, atol=1e-3)


def test_acting_by_the_mean_uses_no_noise():
    agent = agent_of()
    trials = trials_of(agent, deterministic=True)
    with torch.inference_mode():
        decision = agent.learner.policy.unroll(agent.learner.params, agent.learner.inputs(trials))
    np.testing.assert_allclose(trials.action, decision.mean, atol=1e-6)


def test_episodes_played_one_by_one_are_those_of_a_trial():
    agent = agent_of()
    trials = trials_of(agent, 2, deterministic=True)
    sim, player, rng = sim_of(agent), agent.player(N), np.random.default_rng(5)
    for e in range(2):
        episode = collect_episode(sim, player, rng, deterministic=True)
        rows = slice(e * HORIZON, (e + 1) * HORIZON)
        np.testing.assert_allclose(episode.action, trials.action[rows], atol=1e-6)
        np.testing.assert_allclose(episode.reward, trials.reward[rows], atol=1e-6)
        assert episode.valid.all()
        assert episode.truncated[-1].all()


def test_a_row_whose_episode_has_ended_waits_and_remembers_its_last_step():
    agent = agent_of(Fragile())
    sim, player = sim_of(agent), agent.player(N)
    episode = collect_episode(sim, player, np.random.default_rng(0), deterministic=False)
    lived = episode.valid.sum(axis=0)
    assert len(set(lived)) > 1
    assert episode.terminated.sum() + episode.truncated.sum() == N
    np.testing.assert_array_equal(episode.returns(), lived)
    for n in range(N):  # alone, each ends with the same memory
        alone = agent.player(1)
        with torch.inference_mode():
            for t in range(lived[n]):
                alone.decide(episode.obs[t, [n]], episode.episode_start[t, [n]])
                alone.feel(episode.action[t, [n]], episode.reward[t, [n]])
        for k, x in alone.state.memory.items():
            torch.testing.assert_close(x[0], player.state.memory[k][n], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone.state.last["action"][0], player.state.last["action"][n])
        assert player.state.last["reward"][n] == 1


def test_whoever_gives_observations_may_overwrite_them_afterwards():
    agent, rng = agent_of(), np.random.default_rng(0)
    one, two = agent.player(N), agent.player(N)
    buffer = np.zeros((N, agent.family.obs_dim), np.float32)
    with torch.inference_mode():
        for t in range(3):
            obs = rng.standard_normal(buffer.shape, dtype=np.float32)
            buffer[:] = obs
            first = np.full(N, t == 0)
            assert torch.equal(one.decide(obs, first).mean, two.decide(buffer, first).mean)
            for player in (one, two):
                player.feel(np.zeros((N, agent.family.action_dim), np.float32), obs[:, 0])


@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_seed_decides_everything_and_threads_nothing(n_threads):
    agent = agent_of("HalfCheetahVel")
    results = []
    for threads in (1, n_threads):
        sim = BatchSim(load_family("HalfCheetahVel"), N, threads)
        sim.set_tasks(agent.family.tasks("test")[:N])
        results.append(collect_trials(sim, agent.player(N), np.random.default_rng(0), 50))
    for a, b in zip(vars(results[0]).values(), vars(results[1]).values(), strict=True):
        np.testing.assert_array_equal(a, b)
