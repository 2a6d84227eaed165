"""The Meta-LSTM as its users hold it: predict, adapt, evaluate, save."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from metarl import MetaLSTM, MetaLSTMConfig, evaluate
from metarl.envs import BatchSim, InputError
from metarl.envs.families.point import PointGoal
from metarl.sampling.trials import collect_episode

CONFIG = MetaLSTMConfig(n_trials=8, minibatches=2, width=8, hidden=8, init_std=0.3, lr=0.01)
GOAL = {"goal_x": 0.5, "goal_y": -0.5}
HORIZON = 20


@pytest.fixture(scope="module")
def trained() -> MetaLSTM:
    agent = MetaLSTM("PointGoal", CONFIG, seed=0, n_threads=1)
    return agent.learn(10 * agent.steps_per_iteration)


def episodes(agent: MetaLSTM, n: int) -> list[np.ndarray]:
    """Actions (20, 2) of the first n episodes of a trial, by the mean."""
    sim, player = BatchSim(agent.family, 1, 1), agent.player(1)
    sim.set_tasks([agent.family.task(GOAL)])
    rng = np.random.default_rng(0)
    return [np.clip(collect_episode(sim, player, rng, True).action[:, 0], -1, 1) for _ in range(n)]


def play(env, policy, state=None, reward=None) -> tuple[np.ndarray, object, float]:
    """Actions of an episode in an environment, with the state and the reward at its end."""
    obs, _ = env.reset(seed=0)
    actions, first = [], np.array([True])
    for _ in range(HORIZON):
        action, state = policy.predict(obs, state, first if state is not None else None, reward=reward)
        obs, reward, _, _, _ = env.step(action)
        actions.append(action)
        first = np.array([False])
    return np.array(actions), state, reward


def test_predicting_step_by_step_is_what_the_evaluator_sees(trained):
    env = gymnasium.make("metarl/PointGoal-v0", task=GOAL)
    expected = episodes(trained, 2)
    first, state, reward = play(env, trained)
    np.testing.assert_allclose(first, expected[0], atol=1e-5)
    second, _, _ = play(env, trained, state, reward)
    np.testing.assert_allclose(second, expected[1], atol=1e-5)
    assert np.abs(expected[0] - expected[1]).max() > 1e-4  # what is remembered matters


@pytest.mark.parametrize("kind", ["task", "env"])
def test_an_adapted_policy_goes_on_with_the_next_episode(trained, kind):
    env = gymnasium.make("metarl/PointGoal-v0", task=GOAL)
    policy = trained.adapt(GOAL if kind == "task" else env)
    np.testing.assert_allclose(play(env, policy)[0], episodes(trained, 2)[1], atol=1e-4)
    policy = trained.adapt(GOAL if kind == "task" else env, n_episodes=3)
    np.testing.assert_allclose(play(env, policy)[0], episodes(trained, 4)[3], atol=1e-4)
    policy = trained.adapt(GOAL if kind == "task" else env, n_episodes=0)
    np.testing.assert_allclose(play(env, policy)[0], episodes(trained, 1)[0], atol=1e-4)


def test_predict_takes_one_observation_or_many_as_stable_baselines3_does(trained):
    for policy in (trained, trained.adapt(GOAL)):
        for shape in ((2,), (1, 2), (7, 2)):
            action, state = policy.predict(np.zeros(shape))
            assert (action.shape, action.dtype) == (shape, np.float32)
            action, state = policy.predict(np.ones(shape), state, reward=0.5)
            assert action.shape == shape
        rewards = np.linspace(-1, 1, 7)
        many, _ = policy.predict(np.ones((7, 2)), policy.predict(np.ones((7, 2)))[1], reward=rewards)
        assert len(np.unique(many[:, 0])) == 7  # each row has its own reward
        one, _ = policy.predict(np.ones(2), policy.predict(np.ones(2))[1], reward=rewards[3])
        np.testing.assert_allclose(one, many[3], atol=1e-6)


def test_a_state_is_not_changed_by_predicting_from_it(trained):
    _, state = trained.predict(np.zeros(2))
    kept = {k: x.clone() for k, x in state.memory.items()}
    one, _ = trained.predict(np.ones(2), state, reward=1.0)
    assert all(torch.equal(state.memory[k], x) for k, x in kept.items())
    np.testing.assert_array_equal(trained.predict(np.ones(2), state, reward=1.0)[0], one)


def test_a_state_without_a_reward_is_refused(trained):
    _, state = trained.predict(np.zeros(2))
    with pytest.raises(InputError, match="needs reward="):
        trained.predict(np.zeros(2), state)


def test_predict_repeats_itself_unless_asked_to_explore(trained):
    policy, obs = trained.adapt(GOAL), np.zeros((50, 2))
    assert (policy.predict(obs)[0] == policy.predict(obs)[0]).all()
    explored = policy.predict(obs, deterministic=False)[0]
    assert not np.array_equal(explored, policy.predict(obs, deterministic=False)[0])
    assert np.abs(explored).max() <= 1


@pytest.mark.parametrize("task", [{"goal_x": 0.5}, {**GOAL, "colour": 1}, {**GOAL, "goal_x": 9}])
def test_a_task_that_the_family_does_not_know_is_refused(trained, task):
    with pytest.raises(InputError):
        trained.adapt(task)


@pytest.mark.parametrize("core", ["lstm-memory", "transformer"])
def test_a_loaded_agent_acts_as_the_saved_one(core, tmp_path):
    agent = MetaLSTM("PointGoal", replace(CONFIG, core=core), n_threads=1)
    agent.learn(2 * agent.steps_per_iteration).save(tmp_path / "agent.pt")
    loaded = MetaLSTM.load(tmp_path / "agent.pt", n_threads=1)
    for one, other in zip(episodes(agent, 2), episodes(loaded, 2), strict=True):
        np.testing.assert_array_equal(one, other)
    assert loaded.config == agent.config


def test_where_a_family_tells_its_critic_other_things_than_it_did_an_agent_still_acts(trained):
    class Tells(PointGoal):
        def privileged(self, r, task):
            return r.qpos - np.stack([task["goal_x"], task["goal_y"]], axis=1)

    agent = MetaLSTM(Tells(), CONFIG, n_threads=1)
    agent.load_state_dict(trained.state_dict())
    for one, other in zip(episodes(agent, 2), episodes(trained, 2), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(InputError, match="its family tells a critic other things"):
        agent.learn(10**6)


def test_experience_is_counted_for_each_trial(trained):
    tasks = trained.family.tasks("test")
    result = evaluate(trained.adapter(), trained.family, tasks, 3, 4, n_threads=1)
    assert result.episodes_used == [0, 1, 2]
    assert result.env_steps_used == [0, HORIZON, 2 * HORIZON]
    again = evaluate(trained.adapter(), trained.family, tasks, 3, 4, n_threads=2)
    assert again.returns == result.returns


def test_a_family_whose_episodes_have_one_step_is_learned_from_too():
    class Bandit(PointGoal):
        horizon = 1

    agent = MetaLSTM(Bandit(), replace(CONFIG, n_episodes=5), n_threads=1).learn(200)
    assert agent.iterations == 5 and agent.skipped == 0


def test_an_adapter_forgets_when_it_meets_new_tasks(trained):
    adapter, tasks = trained.adapter(), trained.family.tasks("test")
    one = evaluate(adapter, trained.family, tasks, 2, 2, n_threads=1)
    assert evaluate(adapter, trained.family, tasks, 2, 2, n_threads=1).returns == one.returns
