"""Laws of what is copied to a robot: controls and commands are those of the simulator, for every robot."""

import json
from pathlib import Path

import numpy as np
import pytest
from runner import Runner  # to copy, from docs

from metarl import MetaLSTM, MetaLSTMConfig
from metarl.envs import FAMILIES, BatchSim, Choice, Increment, LogUniform, Param, Uniform, load_family
from metarl.envs.families.point import PointGoal
from metarl.envs.families.ur5e import UR5eReach
from metarl.export.robot import describe_robot

onnx = pytest.importorskip("onnx", reason="no onnx here: pip install '.[export]'")
pytest.importorskip("onnxruntime", reason="no onnxruntime here: pip install '.[export]'")


class UR5eSteps(UR5eReach):
    """The arm, whose actions are steps from where its targets were."""

    action = Increment(0.3)


class Asked(PointGoal):
    """A point that is told where to go, by a logarithm, and from a few values."""

    params = (
        Param("goal_x", "m", LogUniform(0.1, 2), told=True, every=(0.2, 0.4)),
        Param("goal_y", "m", Choice((-1.0, 1.0)), told=True),
        Param("mass", "", Uniform(0.5, 2), field="body_mass"),
    )


def runner_of(family, folder: Path) -> Runner:
    """A runner whose policy does what it is given: its actions are what is seen first."""
    of = onnx.helper
    kind, (n, m) = onnx.TensorProto.FLOAT, (family.obs_dim, family.action_dim)
    nodes = [of.make_node("Slice", ["obs", "from", "to", "axis"], ["actions"])]
    ends = {"from": 0, "to": m, "axis": 1}
    constants = [of.make_tensor(k, onnx.TensorProto.INT64, [1], [x]) for k, x in ends.items()]
    shapes = {"obs": [1, max(n, m)], "actions": [1, m]}
    obs, actions = (of.make_tensor_value_info(name, kind, shape) for name, shape in shapes.items())
    graph = of.make_graph(nodes, "echo", [obs], [actions], constants)
    model = of.make_model(graph, opset_imports=[of.make_opsetid("", 18)], ir_version=10)
    for key, value in {**describe_robot(family), "state_size": 0}.items():
        model.metadata_props.add(key=key, value=json.dumps(value, allow_nan=False))
    onnx.save(model, folder / "policy.onnx")
    return Runner(folder / "policy.onnx")


@pytest.fixture(params=[*FAMILIES, UR5eSteps, Asked], ids=str)
def family(request):
    """Every family of the catalogue, one whose actions add up, and one that is told in two ways."""
    return load_family(request.param) if isinstance(request.param, str) else request.param()


def test_controls_are_those_of_the_simulator(family, tmp_path):
    runner, sim, rng = runner_of(family, tmp_path), BatchSim(family, 1, 1), np.random.default_rng(0)
    low, high = family.controls.low, family.controls.high
    for _ in range(2):  # episodes
        sim.start(rng)
        for t in range(6):
            action = rng.uniform(-1.5, 1.5, family.action_dim)  # some beyond what there is
            obs = np.zeros(max(family.obs_dim, family.action_dim), np.float32)
            obs[: family.action_dim] = action
            control = runner.act(obs, episode_start=t == 0)
            sim.step(action[None].astype(np.float32))
            np.testing.assert_allclose(control, np.clip(sim.batch.bind("ctrl")[0], low, high), atol=1e-6)


def test_what_a_policy_is_told_is_at_the_end_of_what_it_sees(family, tmp_path):
    runner, sim, rng = runner_of(family, tmp_path), BatchSim(family, 1, 1), np.random.default_rng(0)
    names = [param.name for param in family.told_params]
    assert runner.about.get("command_names", []) == names
    obs = sim.start(rng)
    for _ in range(30):
        values = {name: sim.task_values[name][0] for name in names}
        told = runner.told(**values)
        assert told.dtype == np.float32
        np.testing.assert_allclose(obs[0, family.obs_dim - len(told) :], told, atol=1e-6)
        obs = sim.step(rng.uniform(-1, 1, (1, family.action_dim))).obs
    with pytest.raises(ValueError, match="this policy is told"):
        runner.told(colour=1.0)


def test_every_number_of_an_observation_is_in_one_part(family):
    about = describe_robot(family)
    assert len(about["observation_names"]) == len(about["observation_slices"])
    places = [i for start, stop in about["observation_slices"] for i in range(start, stop)]
    assert places == list(range(family.obs_dim))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["X2Hover", "UR5eReach", "Go1Adapt", "HalfCheetahBreaks"])
def test_an_exported_policy_of_a_robot_that_people_own_acts_in_the_simulator_as_predict(name, tmp_path):
    config = MetaLSTMConfig(n_trials=4, n_episodes=2, width=8, hidden=4, critic="blind", minibatches=2)
    agent = MetaLSTM(name, config, n_threads=1)
    agent.learner.params["mean"].data.mul_(30)
    runner = Runner(agent.export(tmp_path / "policy.onnx").path)
    sim, state, reward, first = BatchSim(agent.family, 1, 1), None, None, True
    obs = sim.start(np.random.default_rng(0))
    for _ in range(50):
        action, state = agent.predict(
            obs[0],
            state,
            None if state is None else np.array([first]),
            **({} if reward is None else {"reward": reward}),
        )
        runner.act(obs[0], reward, first)
        np.testing.assert_allclose(runner.action, action, atol=1e-5)
        step = sim.step(runner.action[None])
        obs, reward, first = step.obs, step.reward[0], bool(step.terminated[0] or step.truncated[0])
        if first:
            obs = sim.reset(np.random.default_rng(1))
