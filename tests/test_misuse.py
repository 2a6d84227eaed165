"""What newcomers give by mistake in Python: refused in words, before anything is done."""

import numpy as np
import pytest
from helpers import TINY

from metarl import MAML, MAMLConfig, MetaLSTM, MetaLSTMConfig
from metarl.envs import (
    AnnulusRadius,
    BatchSim,
    Choice,
    Either,
    InputError,
    LogUniform,
    OneWeak,
    Uniform,
    load_family,
)

RECURRENT = MetaLSTMConfig(n_trials=4, n_episodes=2, minibatches=2, width=8, hidden=4)


@pytest.fixture(scope="module", params=["maml", "meta-lstm"])
def agent(request) -> MAML | MetaLSTM:
    """One that has learned nothing; the point's observation has two numbers."""
    return MAML("PointGoal", TINY) if request.param == "maml" else MetaLSTM("PointGoal", RECURRENT)


WRONG = {
    "a scalar": (0.5, r"here are \(2,\) or \(N, 2\), not \(\)"),
    "nothing": (None, r"here are \(2,\) or \(N, 2\), not \(\)"),
    "too long": (np.zeros(3), r"not \(3,\)"),
    "several that are too long": (np.zeros((4, 3)), r"not \(4, 3\)"),
    "an axis too many": (np.zeros((1, 1, 2)), r"not \(1, 1, 2\)"),
    "words": ("here", "is 2 numbers, not str"),
    "no number": (np.array([0.0, np.nan]), "not a number"),
    "rows of all lengths": ([[0.0, 1.0], [0.0]], "is 2 numbers, not list"),
}


@pytest.mark.parametrize("what", WRONG)
def test_an_observation_that_is_none_is_refused(agent, what):
    obs, words = WRONG[what]
    with pytest.raises(InputError, match=words):
        agent.predict(obs)
    with pytest.raises(InputError, match=words):
        agent.adapt({"goal_x": 0.5, "goal_y": 0.5}).predict(obs)


@pytest.mark.parametrize("obs", [[0.0, 1.0], (0, 1), np.zeros(2, int), [[0.0, 1.0]] * 3])
def test_an_observation_may_come_as_plain_numbers(agent, obs):
    assert agent.predict(obs)[0].shape == np.shape(obs)


@pytest.mark.parametrize("reward", [None, np.nan, np.array([np.nan])])
def test_a_reward_that_is_none_is_refused(reward):
    agent = MetaLSTM("PointGoal", RECURRENT)
    _, state = agent.predict(np.zeros(2))
    with pytest.raises(InputError, match="the number that the last step gave"):
        agent.predict(np.zeros(2), state, reward=reward)


@pytest.mark.parametrize("budget", [np.nan, np.inf, -1])
def test_a_budget_that_is_none_is_refused(agent, budget):
    with pytest.raises(InputError, match="are no budget"):
        agent.learn(budget)
    assert agent.iterations == 0


def test_negative_counts_are_refused(agent):
    with pytest.raises(InputError, match="use 0 or more"):
        agent.adapt({"goal_x": 0.5, "goal_y": 0.5}, n_episodes=-1)
    with pytest.raises(InputError, match="on -1 threads"):
        BatchSim(load_family("PointGoal"), 2, -1)
    with pytest.raises(InputError, match="0 simulations"):
        BatchSim(load_family("PointGoal"), 0)


def test_a_gradient_step_needs_an_episode():
    with pytest.raises(InputError, match="on 0 episodes each"):
        MAML("PointGoal", TINY).adapt({"goal_x": 0.5, "goal_y": 0.5}, n_episodes=0)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Uniform(1, -1), r"the lower end comes first, Uniform\(-1, 1\)"),
        (lambda: LogUniform(2, 1), r"the lower end comes first, LogUniform\(1, 2\)"),
        (lambda: OneWeak(1, 0, ((0,),)), "the lower end comes first"),
        (lambda: Uniform("a", 1), "two numbers"),
        (lambda: Uniform(0, np.inf), "two numbers"),
        (lambda: Uniform(np.nan, 1), "two numbers"),
        (lambda: LogUniform(0, 1), "above 0"),
        (lambda: AnnulusRadius(-1, 1), "a radius is at least 0"),
        (lambda: Choice(()), "at least one value"),
        (lambda: Either(()), "at least one range"),
    ],
)
def test_a_distribution_that_is_none_is_refused_where_it_is_written(make, says):
    with pytest.raises(InputError, match=says):
        make()


@pytest.mark.parametrize("core", ["lstm-memory", "lstm", "gru", "transformer", "feedforward"])
def test_no_policy_has_fewer_parameters_than_its_settings_ask_for_at_least(core):
    recurrent = MetaLSTM("PointGoal", MetaLSTMConfig(core=core, width=64, hidden=32))
    gradient = MAML("PointGoal", MAMLConfig(hidden=(33, 21, 8), learn_inner_lr=False))
    for agent, params in ((recurrent, recurrent.learner.params), (gradient, gradient.learner.meta)):
        n = sum(p.numel() for p in params.values())
        assert n / 10 < agent.n_least(agent.config) <= n
