"""Policies that leave the process act as they did in it, or do not leave it."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch
from helpers import TINY, TINY_STEPS
from runner import Runner  # to copy, from docs
from test_meta_model import SMALL as SMALL_MODEL

from metarl import MAML, MetaLSTM, MetaLSTMConfig, MetaModel
from metarl.cli import main
from metarl.envs import BatchSim, InputError, Param, TaskFamily, Uniform, load_family
from metarl.export import graph as graphs
from metarl.export import write
from metarl.export.graph import RememberingGraph
from metarl.export.robot import describe_robot
from metarl.export.write import TOLERANCE, open_session
from metarl.learners.meta_model.agent import collect_planned
from metarl.learners.meta_model.player import ModelPlayer
from metarl.policies.step import feel
from metarl.sampling.episodes import collect
from metarl.sampling.recorded import read_recording
from metarl.sampling.trials import collect_episode

ort = pytest.importorskip("onnxruntime", reason="no onnxruntime here: pip install '.[export]'")
pytest.importorskip("onnxscript", reason="no onnxscript here: pip install '.[export]'")

DOCS = Path(__file__).parents[1] / "docs"

SIZES = {"n_trials": 4, "n_episodes": 2, "width": 8, "hidden": 4, "critic": "blind", "minibatches": 2}
KINDS = {  # what differs in what a step sees and keeps
    "lstm-memory": {},
    "lstm-memory, no reward": {"reward_input": False, "change_input": "all"},
    "lstm, one episode": {"memory_span": "episode", "change_input": "all"},
    "gru": {"change_input": "none"},
    "feedforward, told critic": {"critic": "told"},
}


def remembering(kind: str = "lstm-memory") -> MetaLSTM:
    """A policy whose normalisers have moved, and which acts strongly enough to tell it from another."""
    config = MetaLSTMConfig(**{**SIZES, "core": kind.partition(",")[0], **KINDS[kind]})
    agent = MetaLSTM("PointGoal", config, n_threads=1)
    agent.learn(agent.steps_per_iteration)
    agent.learner.params["mean"].data.mul_(50)
    return agent


@pytest.fixture(scope="module")
def gradient() -> MAML:
    """A policy that adapts by gradient steps."""
    return MAML("PointGoal", TINY, n_threads=1).learn(TINY_STEPS)


def steps(rng: np.random.Generator, n: int, agent: MetaLSTM | MetaModel):
    """What a robot may see, some of it beyond all bounds; an episode begins at every seventh step."""
    for t in range(n):
        obs = rng.standard_normal(agent.family.obs_dim, dtype=np.float32) * (100 if t % 5 == 4 else 1)
        yield t, obs, float(rng.standard_normal()), t % 7 == 0


def side_by_side(agent: MetaLSTM | MetaModel, path: Path, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Controls and actions of a file's runner and actions of predict, (80, m) each, of two trials."""
    runner, found = Runner(path), []
    for _ in range(2):
        runner.begin()
        state = None
        for _, obs, reward, first in steps(rng, 40, agent):
            start = None if state is None else np.array([first])
            action, state = agent.predict(obs, state, start, reward=reward)
            found.append((runner.act(obs, reward, first), runner.action, action))
    return tuple(map(np.array, zip(*found, strict=True)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_acts_as_predict_does_over_episodes_and_trials(kind, tmp_path):
    agent, rng = remembering(kind), np.random.default_rng(0)
    done = agent.export(tmp_path / "policy.onnx")
    assert done.difference <= TOLERANCE and done.size == done.path.stat().st_size
    controls, _, moved = side_by_side(agent, done.path, rng)
    np.testing.assert_allclose(controls, moved, atol=TOLERANCE)
    assert np.std(moved, axis=0).min() > 0.1  # there was something to get wrong


def test_a_graph_that_computes_in_64_bits_takes_and_gives_32():
    agent = remembering()
    graph = agent.policy().graph().computing_in(torch.float64)
    session, state, flat = open_session(write.onnx_bytes(graph, {})), None, np.zeros((1, graph.state_size))
    for _, obs, reward, first in steps(np.random.default_rng(0), 20, agent):
        start = None if state is None else np.array([first])
        action, state = agent.predict(obs, state, start, reward=reward)
        given = {"obs": [obs], "reward": [reward], "episode_start": [first], "state_in": flat}
        actions, flat = session.run(None, {k: np.asarray(x, np.float32) for k, x in given.items()})
        np.testing.assert_allclose(actions[0], action, atol=TOLERANCE)
    assert actions.dtype == flat.dtype == np.float32


def test_a_policy_that_adapts_by_gradients_acts_as_predict_does(gradient, tmp_path):
    for task in (None, {"goal_x": 0.5, "goal_y": -0.5}):
        policy = gradient.policy() if task is None else gradient.adapt(task)
        done = gradient.export(tmp_path / "policy.onnx", task)
        runner = Runner(done.path)
        for obs in np.random.default_rng(0).standard_normal((20, gradient.family.obs_dim), dtype=np.float32):
            np.testing.assert_allclose(runner.act(obs), policy.predict(obs)[0], atol=TOLERANCE)
        assert (done.inputs, done.metadata["state_size"], done.metadata["task"]) == (("obs",), 0, task)


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[MetaLSTM, Path]:
    """A trained policy that remembers, and its file."""
    agent = MetaLSTM.load("box:PointGoal", n_threads=1)
    return agent, agent.export(tmp_path_factory.mktemp("exported") / "policy.onnx").path


def test_zeros_are_the_start_of_a_trial_whatever_else_is_said(exported):
    agent, path = exported
    obs = np.array([[0.3, -0.2]], np.float32)
    wanted, _ = agent.predict(obs[0])
    session = open_session(path.read_bytes())
    state = np.zeros((1, Runner(path).about["state_size"]), np.float32)
    for reward, start in ((0, 1), (1e6, 0), (np.nan, 0)):
        given = {"reward": np.float32([reward]), "episode_start": np.float32([start])}
        actions, _ = session.run(None, {"obs": obs, "state_in": state, **given})
        np.testing.assert_allclose(actions[0], wanted, atol=TOLERANCE)


def test_a_trial_may_begin_with_what_was_learned_before(exported, tmp_path):
    agent, _ = exported
    task = {"goal_x": 0.7, "goal_y": 0.2}
    policy = agent.adapt(task)
    runner = Runner(policy.export(tmp_path / "policy.onnx").path)
    assert runner.about["task"] == task and runner.about["adapted"] == {
        "episodes": agent.config.n_episodes - 1
    }
    obs = np.zeros(2, np.float32)
    (first, state), unadapted = policy.predict(obs), agent.predict(obs)[0]
    np.testing.assert_allclose(runner.act(obs, 9.0), first, atol=TOLERANCE)
    assert np.abs(first - unadapted).max() > 0.1
    np.testing.assert_allclose(
        runner.act(obs, -1.0), policy.predict(obs, state, reward=-1.0)[0], atol=TOLERANCE
    )
    runner.begin()
    np.testing.assert_allclose(runner.act(obs), first, atol=TOLERANCE)


def test_a_graph_tells_how_the_memory_was_read(exported):
    agent, _ = exported
    graph = agent.policy().graph(attention=True)
    session = open_session(write.onnx_bytes(graph, {}))
    player, flat = agent.player(1), np.zeros((1, graph.state_size), np.float32)
    for t, obs, _, _ in steps(np.random.default_rng(0), 5, agent):
        given = {
            "obs": obs[None],
            "reward": np.zeros(1),
            "episode_start": np.array([t == 0]),
            "state_in": flat,
        }
        actions, flat, attention = session.run(None, {k: x.astype(np.float32) for k, x in given.items()})
        player.decide(obs[None], np.array([t == 0]))
        player.feel(actions, np.zeros(1, np.float32))
        core = agent.learner.policy.core
        np.testing.assert_allclose(attention, core.look(player.params, player.state.memory), atol=1e-5)
    assert attention.shape == (1, core.n_heads, core.n_slots)
    with pytest.raises(InputError, match="a gru core has no slots to look at"):
        remembering("gru").policy().graph(attention=True)


def test_a_wrong_graph_is_not_written(exported, monkeypatch, tmp_path):
    agent, path = exported
    (tmp_path / "policy.onnx").write_bytes(path.read_bytes())
    monkeypatch.setattr(graphs, "feel", lambda state, action, reward: feel(state, 0 * action, reward))
    with pytest.raises(InputError, match="was not written: its actions differ from those of predict"):
        agent.export(tmp_path / "policy.onnx")
    monkeypatch.setattr(write, "onnx_bytes", lambda *_: path.read_bytes())
    monkeypatch.setattr(write, "largest_difference", lambda *_, **__: np.nan)
    with pytest.raises(InputError, match="by up to nan"):
        agent.export(tmp_path / "other.onnx")
    assert os.listdir(tmp_path) == ["policy.onnx"]
    assert (tmp_path / "policy.onnx").read_bytes() == path.read_bytes()


def test_step_by_step_a_graph_is_held_to_what_is_remembered_as_well(exported, monkeypatch):
    agent, path = exported
    policy = agent.policy()
    right = policy.graph()
    content = path.read_bytes()
    assert write.largest_difference(content, policy, right, by_steps=True) <= write.TOLERANCE
    packed = right.packed
    monkeypatch.setattr(right, "packed", lambda state: packed(state) + 1e-3)
    assert write.largest_difference(content, policy, right, by_steps=True) > 10 * write.TOLERANCE


@pytest.mark.parametrize(
    ("drift", "step", "written"),
    [(4e-5, 1e-6, True), (4e-5, 1e-4, False), (0.1, 1e-6, True), (0.1, 0.1, False)],
)
def test_a_memory_may_amplify_rounding_but_not_a_mistake(
    exported, monkeypatch, tmp_path, drift, step, written
):
    agent, path = exported
    monkeypatch.setattr(write, "onnx_bytes", lambda *_: path.read_bytes())
    monkeypatch.setattr(write, "largest_difference", lambda *_, by_steps=False: step if by_steps else drift)
    if written:
        done = agent.export(tmp_path / "policy.onnx")
        assert (done.difference, done.drift) == (step, drift)
    else:
        with pytest.raises(InputError, match=f"differ from those of predict by up to {step:.1g}"):
            agent.export(tmp_path / "policy.onnx")


def test_a_memory_that_grows_is_refused(tmp_path):
    agent = MetaLSTM("PointGoal", MetaLSTMConfig(**SIZES, core="transformer"), n_threads=1)
    with pytest.raises(InputError, match=r"a transformer core remembers ever more in a trial"):
        agent.export(tmp_path / "policy.onnx")
    assert not os.listdir(tmp_path)


def told(name: str = "PointGoal", **changed) -> MetaModel:
    """A policy that a model's memory tells, which acts strongly enough to tell it from another."""
    agent = MetaModel(name, replace(SMALL_MODEL, **changed), n_threads=1)
    agent.learn(2 * agent.steps_per_iteration)
    agent.learner.policy.params["actor/w2"].data.mul_(3)
    return agent


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("PointGoal", {}),
        ("PointGoal", {"adapt": "none"}),
        ("PointGoal", {"adapt": "both"}),
        ("X2Goal", {"adapt": "memory"}),  # which turns
        ("ReacherGoal", {"adapt": "memory"}),  # whose joints do
    ],
)
def test_a_policy_that_a_model_tells_acts_as_predict_does(name, changed, tmp_path):
    agent, rng = told(name, **changed), np.random.default_rng(0)
    done = agent.export(tmp_path / "policy.onnx")
    assert done.difference <= TOLERANCE
    assert done.metadata["reward_input"] == (changed.get("adapt") != "none")
    _, actions, moved = side_by_side(agent, done.path, rng)
    np.testing.assert_allclose(actions, moved, atol=10 * TOLERANCE)
    assert np.std(moved, axis=0).min() > 0.02


def test_a_model_of_recorded_episodes_has_adapted_as_by_playing_them(tmp_path):
    agent = told("X2Goal")
    task = agent.family.tasks("test")[0]
    sim, rng = BatchSim(agent.family, 1, 1), np.random.default_rng(0)
    player = ModelPlayer(agent.learner, 1, rng)
    sim.set_tasks([task])
    path = record(tmp_path / "flight.npz", agent, collect_planned(sim, player, rng))
    policy = agent.adapt_to_recorded([read_recording(path, agent.family)])
    played = agent.adapt(task, 1, seed=0)
    assert policy.describe()["adapted"] == {"recorded_episodes": 1}
    assert played.describe()["adapted"] == {"episodes": 1} and played.describe()["task"] == dict(task)
    for k, x in player.state.items():
        if k.startswith(("seen/", "last/")):
            np.testing.assert_allclose(policy.state.state[k], x, atol=1e-5)
    done = policy.export(tmp_path / "policy.onnx")
    assert Runner(done.path).about["adapted"] == {"recorded_episodes": 1}


@pytest.mark.parametrize("who", ["planner", "both"])
def test_what_a_planner_does_is_not_exported(who, tmp_path):
    agent = told(act="both")
    agent.act_by(who)
    with pytest.raises(InputError, match="a planner tries thousands of steps before each of its own"):
        agent.export(tmp_path / "policy.onnx")
    assert not os.listdir(tmp_path)
    agent.act_by("both").save(tmp_path / "agent.pt")
    words = ["export", str(tmp_path / "agent.pt"), "--out", str(tmp_path / "policy.onnx")]
    assert main(words) == 2 and os.listdir(tmp_path) == ["agent.pt"]
    assert main([*words, "--act", "policy"]) == 0 and (tmp_path / "policy.onnx").stat().st_size


def test_a_runner_acts_in_the_simulator_as_the_policy_does(exported):
    agent, path = exported
    runner, sims = Runner(path), [BatchSim(agent.family, 1, 1) for _ in range(2)]
    middle, half = agent.family.controls.middle, agent.family.controls.scale
    obs, rewards, firsts = [], [np.zeros(1)] * 2, [True, True]
    for sim in sims:
        sim.set_tasks(agent.family.tasks("test")[:1])
        obs.append(sim.reset(np.random.default_rng(0))[0])
    state, runner_return = None, [0.0, 0.0]
    assert runner.dt == agent.family.dt
    for _ in range(2 * agent.family.horizon):
        action, state = agent.predict(obs[0], state, np.array([firsts[0]]), reward=rewards[0])
        actions = action, (runner.act(obs[1], rewards[1][0], firsts[1]) - middle) / half
        for k, sim in enumerate(sims):
            step = sim.step(actions[k][None])
            obs[k], rewards[k], firsts[k] = step.obs[0], step.reward, bool(step.truncated[0])
            runner_return[k] += float(step.reward[0])
            if firsts[k]:
                obs[k] = sim.reset(np.random.default_rng(1))[0]
    np.testing.assert_allclose(obs[1], obs[0], atol=1e-4)
    assert runner_return[1] == pytest.approx(runner_return[0], abs=1e-3)


def test_the_runner_needs_numpy_and_onnxruntime_only(exported):
    code = "import sys, runner; r = runner.Runner(sys.argv[1]); r.act([0.0, 0.0]); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, exported[1]], cwd=DOCS, capture_output=True, text=True, check=True
    )
    assert not {"torch", "metarl", "mujoco", "onnx"} & set(done.stdout.split())


def test_a_runner_does_not_go_on_without_the_reward_that_its_policy_learns_from(exported):
    runner = Runner(exported[1])
    runner.act([0.0, 0.0])
    with pytest.raises(ValueError, match="learns its task from the reward"):
        runner.act([0.0, 0.0])


def test_a_runner_remembers_nothing_of_readings_that_are_no_numbers(exported):
    runner, steady = Runner(exported[1]), Runner(exported[1])
    for one in (runner, steady):
        one.act([0.1, 0.2])
    for obs, reward in (([np.nan, 0.0], 0.5), ([0.0, np.inf], 0.5), ([0.1], 0.5), ([0.1, 0.2], np.nan)):
        with pytest.raises(ValueError, match=r"has to be [12] finite numbers"):
            runner.act(obs, reward)
    np.testing.assert_array_equal(runner.act([[0.1, 0.2]], np.ones(1)), steady.act([0.1, 0.2], 1.0))


SERVOS = """
<mujoco><compiler angle="radian"/><worldbody><body><joint name="hip" axis="0 1 0" ref="0.5"/><geom size=".1"/>
<body><joint name="knee" axis="0 1 0"/><geom size=".1"/></body></body></worldbody>
<actuator><position name="k" joint="knee" kp="20" kv="2" gear="3" ctrlrange="-1 3"/>
<motor name="h" joint="hip" ctrlrange="-5 5"/></actuator></mujoco>
"""


class Servos(TaskFamily):
    """Two joints whose actuators stand in another order."""

    params = (Param("goal", "rad", Uniform(-1, 1)),)

    def build_model(self):
        return mujoco.MjModel.from_xml_string(SERVOS)

    def reward(self, r, action, task):
        return {"near": -np.abs(r.qpos[:, 0] - task["goal"]), "effort": -np.square(action).sum(axis=1)}


def test_a_file_says_what_a_robot_has_to_know():
    about = describe_robot(Servos())
    assert about["joint_names"] == ["knee", "hip"] and about["actuator_names"] == ["k", "h"]
    assert about["default_joint_pos"] == [0, 0.5]
    assert (about["action_offset"], about["action_scale"]) == ([1, 0], [2, 5])
    assert about["joint_stiffness"] == [180, None] and about["joint_damping"] == [18, None]
    assert about["control_dt"] == 0.002 and about["reward_terms"] == ["near", "effort"]
    assert "joint_stiffness" not in describe_robot(load_family("HalfCheetahVel"))


def record(path: Path, agent: MAML | MetaLSTM, episodes, **changes: np.ndarray | None) -> Path:
    """Episodes as a file of steps, with some arrays replaced or left out."""
    arrays = {name: [] for name in ("obs", "action", "reward", "episode_start", "terminated")}
    for e in range(episodes.reward.shape[1]):
        n = int(episodes.valid[:, e].sum())
        for name, parts in arrays.items():
            parts.append(getattr(episodes, name)[:n, e])
    whole = {name: np.concatenate(parts) for name, parts in arrays.items()} | changes
    np.savez(path, **{name: array for name, array in whole.items() if array is not None})
    return path


def test_a_gradient_step_on_recorded_episodes_is_that_on_the_episodes_themselves(gradient, tmp_path):
    learner, family = gradient.learner, gradient.family
    sim = BatchSim(family, 3, 1)
    sim.set_tasks(family.tasks("test")[:1] * 3)
    params = learner.initial(1)
    recordings = []
    for k in range(2):
        rows = collect(sim, learner.policy, params, learner.normaliser, np.random.default_rng(k))
        params = learner.adapt(params, rows, k + 1)
        recordings.append(read_recording(record(tmp_path / f"{k}.npz", gradient, rows), family))
    policy = gradient.adapt_to_recorded(recordings)
    for name, p in params.items():
        np.testing.assert_allclose(policy.params[name], p, rtol=1e-3, atol=1e-5)
    assert policy.describe()["adapted"] == {"recorded_episodes": 6, "gradient_steps": 2}
    quiet = collect(
        sim, learner.policy, learner.initial(1), learner.normaliser, np.random.default_rng(0), True
    )
    with pytest.raises(InputError, match="without the noise that one learns from"):
        gradient.adapt_to_recorded([quiet])


def test_a_memory_of_recorded_episodes_is_that_of_having_played_them(exported, tmp_path):
    agent, _ = exported
    task = agent.family.tasks("test")[0]
    sim, player, rng = BatchSim(agent.family, 1, 1), agent.player(1), np.random.default_rng(0)
    sim.set_tasks([task])
    files = [
        record(tmp_path / f"{k}.npz", agent, collect_episode(sim, player, rng, deterministic=True))
        for k in range(2)
    ]
    policy = agent.adapt_to_recorded([read_recording(path, agent.family) for path in files])
    for k, x in player.state.memory.items():
        np.testing.assert_allclose(policy.state.memory[k], x, atol=1e-5)
    for k, x in player.state.last.items():
        np.testing.assert_array_equal(policy.state.last[k], x)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reward": None}, "lacks reward; it needs the arrays obs, action, reward, episode_start"),
        ({"obs": np.zeros((40, 3))}, r"obs has shape \(40, 3\); PointGoal needs \(L, 2\), one L > 0 in all"),
        (
            {"action": np.zeros((39, 2))},
            r"arrays are of as many steps each, and not of obs 40, action 39, reward 40",
        ),
        ({"reward": np.zeros((40, 1))}, r"reward has shape \(40, 1\); PointGoal needs \(L,\)|obs has shape"),
        ({"reward": np.full(40, np.nan)}, "reward holds what is not a finite number"),
        ({"episode_start": np.zeros(40)}, r"episode_start\[0\] is false"),
        ({"obs": np.array([{}])}, "is no .npz file of numbers"),
        ({"obs": np.array(["x"])}, "obs holds no real numbers, but <U1"),
    ],
)
def test_a_recording_that_cannot_be_one_is_refused_in_one_line(changes, words, exported, tmp_path):
    agent, _ = exported
    sim = BatchSim(agent.family, 2, 1)
    sim.set_tasks(agent.family.tasks("test")[:2])
    rows = collect_episode(sim, agent.player(2), np.random.default_rng(0), deterministic=True)
    assert rows.valid.sum() == 40
    path = record(tmp_path / "episodes.npz", agent, rows, **changes)
    with pytest.raises(InputError, match=words):
        read_recording(path, agent.family)


def test_the_command_writes_what_the_agent_does_and_says_how_well(exported, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "box:PointGoal", "--task", "goal_x=0.7", "goal_y=0.2"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("wrote policy.onnx: ") and said[0].endswith("a step every 100 ms")
    assert said[1] == "obs, reward, episode_start, state_in -> actions, state_out"
    assert said[2].startswith("its actions differ from predict by ")
    assert said[3] == "it learns its task from the reward, which a robot has to measure: distance"
    about = ort.InferenceSession("policy.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(about["task"]) == {"goal_x": 0.7, "goal_y": 0.2}
    assert json.loads(about["learner"]) == "meta-lstm"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--out policy.pt", "policy.pt is to hold ONNX: give it a name that ends in .onnx"),
        ("--out no/policy.onnx", "cannot write no/policy.onnx: there is no folder no"),
        ("--task goal_x=1 goal_y=0 --episodes a.npz", "a policy adapts to one or the other"),
        ("--task goal_x=1 goal_y=0 goal_x=0 goal_y=0", "--task names a number twice"),
        ("--task goal_z=1", "unknown task parameter of PointGoal 'goal_z'"),
        ("--episodes a.npz", "no file a.npz"),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_line(words, said, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "box:PointGoal", *words.split()]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not os.listdir(tmp_path)


def test_a_files_name_may_end_in_large_letters(tmp_path):
    write.check_export(tmp_path / "POLICY.ONNX")


def test_two_parts_of_a_memory_that_begin_as_one_tensor_stay_two():
    agent = remembering("lstm-memory")
    start = agent.player(1).state
    assert start.memory["h"] is start.memory["c"]
    graph = agent.policy().graph()
    assert isinstance(graph, RememberingGraph) and graph.start["h"] is not graph.start["c"]
