"""Meta-World's benchmarks; `scripts/environment --metaworld` makes the environment in which these run."""

import numpy as np
import pytest

pytest.importorskip("metaworld", reason="no Meta-World here: scripts/environment --metaworld")
# isort: split
from metarl import MAML, MAMLConfig, MetaLSTM, MetaLSTMConfig, evaluate
from metarl.cli import main
from metarl.envs import BatchSim, InputError, load_family, simulate
from metarl.envs.families.point import PointGoal
from metarl.envs.told import task_features
from metarl.metaworld import judged_by_metaworld

pytestmark = pytest.mark.slow
REACH = "metaworld:ML1:reach-v3"


def test_a_task_is_a_goal_of_the_benchmarks_own_list_and_is_hidden():
    family = load_family(REACH)
    assert (family.obs_dim, family.action_dim, family.horizon) == (39, 4, 500)
    test, benchmark = family.tasks("test"), family.benchmark
    assert len(set(test)) == len(test) == 20
    assert {t["number"] for t in family.sample(np.random.default_rng(0), 200)} <= set(range(50))
    world = simulate(family, 2)
    world.set_tasks(test[:2])
    obs = world.reset(np.random.default_rng(0))
    assert not obs[:, 36:].any()
    import pickle

    for env, number in zip(world._envs, (0, 1), strict=True):
        wanted = pickle.loads(benchmark.test_tasks[number].data)["rand_vec"]
        np.testing.assert_array_equal(env._last_rand_vec, wanted)
    action = np.random.default_rng(1).uniform(-1, 1, (2, 4))
    assert world.step(action).reward[0] != world.step(action).reward[1]
    assert world.succeeded is not None
    told = task_features(family, world.task_values)
    assert told.shape == (2, 6) and (told[0] != told[1]).any()


def test_ml10_holds_whole_environments_out_and_moves_simulations_between_them():
    family = load_family("metaworld:ML10")
    rng = np.random.default_rng(0)
    train, test = family.sample(rng, 20), family.tasks("test")
    worlds = [{t["world"] for t in split} for split in (train, test)]
    assert worlds == [set(range(10)), set(range(10, 15))]
    sim = simulate(family, 5)
    for tasks in (train[:5], test[:5], train[5:10]):
        sim.set_tasks(tasks)
        assert np.isfinite(sim.reset(rng)).all()
        assert np.isfinite(sim.step(rng.uniform(-1, 1, (5, 4))).reward).all()
        assert [type(e).__name__ for e in sim._envs] == [
            type(family.make(family.kind(t))).__name__ for t in tasks
        ]
    assert task_features(family, sim.task_values).shape[1] == sim.family._vectors["reach-v3"].shape[1] + 10


def test_both_learners_are_judged_by_both():
    lstm = MetaLSTM(REACH, MetaLSTMConfig(n_trials=2, n_episodes=2, width=8, hidden=4, minibatches=1))
    maml = MAML(REACH, MAMLConfig(n_tasks=2, n_episodes=1, hidden=(4,)))
    for agent in (lstm, maml):
        agent.learn(agent.steps_per_iteration)
        ours = evaluate(agent, agent.family, agent.family.tasks("test")[:2], 2, 1)
        assert np.isfinite(ours.returns).all() and ours.success is not None
        theirs = judged_by_metaworld(agent, n_evaluations=1, n_episodes=1)
        assert 0 <= theirs.success <= 1 and theirs.mean_return > 0 and theirs.n_tasks == 10


def test_metarls_own_families_say_which_mujoco_they_need():
    try:
        import mujoco.batch  # noqa: F401
    except ModuleNotFoundError:
        with pytest.raises(InputError, match=r"mujoco>=3\.17"):
            BatchSim(PointGoal(), 2)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("metaworld:ML1:reech-v3", "did you mean 'reach-v3'"),
        ("metaworld:ML1", "unknown environment of ML1"),
        ("metaworld:ML10:reach-v3", "names no benchmark"),
        ("metaworld:MT10", "names no benchmark"),
    ],
)
def test_what_is_no_benchmark_is_answered_in_a_line(name, words, capsys):
    assert main(["train", name]) == 2
    assert words in capsys.readouterr().err
