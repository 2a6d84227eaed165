"""The Meta-LSTM before Meta-World's own evaluation, without Meta-World."""

from types import SimpleNamespace

import numpy as np

from metarl import MetaLSTM, MetaLSTMConfig
from metarl.metaworld import AROUND, _MetaLSTMClient

N, STEPS = 3, 4


def test_every_episode_that_is_judged_begins_with_what_adapting_has_left():
    agent = MetaLSTM("PointGoal", MetaLSTMConfig(hidden=8))
    size, rng = agent.family.obs_dim + AROUND, np.random.default_rng(0)
    episode = rng.normal(size=(STEPS, N, size)).astype(np.float32)
    client = _MetaLSTMClient(agent)
    client.init()
    client.reset(np.ones(N, bool))  # before there is anything to go back to
    for k, seen in enumerate(rng.normal(size=(STEPS, N, size))):
        client.adapt_action(seen)
        ended = np.full(N, k == STEPS - 1)
        client.step(SimpleNamespace(terminated=ended & False, truncated=ended, reward=np.ones(N)))
    client.adapt()
    judged = []
    for _ in range(2):
        client.reset(np.ones(N, bool))
        judged.append([client.eval_action(seen) for seen in episode])
    np.testing.assert_array_equal(*judged)
    client.reset(np.arange(N) == 1)  # the others go on
    after = client.eval_action(episode[0])
    np.testing.assert_array_equal(after[1], judged[0][0][1])
    assert (after[[0, 2]] != judged[0][0][[0, 2]]).any(axis=1).all()
