"""What bites in practice: stale fields, log files, blown-up simulations, families from a user's file."""

import multiprocessing
import pickle
import subprocess
import sys
from copy import copy, deepcopy

import gymnasium
import mujoco
import numpy as np
import pytest

from metarl.cli import main
from metarl.envs import FAMILIES, BatchSim, FamilyEnv, InputError, TaskFamily, load_family

OWN = '''
"""A pendulum of the user's own."""
from pathlib import Path

import numpy as np

from metarl.envs import Param, TaskFamily, Uniform


class Pendulum(TaskFamily):
    """Swing the bob to a hidden height, with a bob of unknown mass."""

    mjcf = Path(__file__).parent / "pendulum.xml"
    frame_skip = 3
    horizon = 10
    params = (
        Param("height", "m", Uniform(-1, 1), ood=Uniform(1.5, 2)),
        Param("mass", "", Uniform(0.5, 2), field="body_mass", objects=("rod",)),
    )
    derived = ("site_xpos",)

    def observe(self, r):
        return np.concatenate([r.qpos, r.qvel, r.site_position("bob")], axis=1)

    def reward(self, r, action, task):
        return {"height": -np.abs(r.site_position("bob")[:, 2] - task["height"])}


class NotAFamily:
    pass
'''
PENDULUM = """
<mujoco>
  <worldbody>
    <body name="rod">
      <joint name="hinge" axis="0 1 0" damping=".1"/>
      <geom type="capsule" fromto="0 0 0 0 0 -1" size=".02" mass="1"/>
      <site name="bob" pos="0 0 -1"/>
    </body>
  </worldbody>
  <actuator><motor joint="hinge" ctrllimited="true" ctrlrange="-5 15"/></actuator>
</mujoco>
"""


@pytest.fixture
def own_file(tmp_path):
    (tmp_path / "pendulum.py").write_text(OWN)
    (tmp_path / "pendulum.xml").write_text(PENDULUM)
    return tmp_path / "pendulum.py"


@pytest.fixture
def pendulum(own_file) -> TaskFamily:
    return load_family(f"{own_file}:Pendulum")


def started(family: TaskFamily, n: int) -> BatchSim:
    sim = BatchSim(family, n, 1)
    rng = np.random.default_rng(0)
    sim.set_tasks(family.sample(rng, n))
    sim.reset(rng)
    return sim


# Derived fields.


def bob(qpos: np.ndarray) -> np.ndarray:
    """Forward kinematics of the pendulum by hand, (N, 3)."""
    return np.stack([-np.sin(qpos[:, 0]), np.zeros(len(qpos)), -np.cos(qpos[:, 0])], axis=1)


def test_derived_fields_are_those_of_the_new_state_after_a_reset_and_after_a_step(pendulum):
    sim = started(pendulum, 3)
    obs = sim.set_state(np.array([[0.3], [1.0], [-2.0]]), np.array([[5.0], [0.0], [-9.0]]))
    np.testing.assert_allclose(obs[:, 2:], bob(sim.readings.qpos), atol=1e-6)
    for _ in range(5):
        obs = sim.step(np.ones((3, 1))).obs
        np.testing.assert_allclose(sim.readings.site_position("bob"), bob(sim.readings.qpos), atol=1e-12)
        np.testing.assert_allclose(obs[:, 2:], bob(sim.readings.qpos), atol=1e-6)


def test_a_masked_reset_does_not_make_the_others_derived_fields_stale(pendulum):
    sim = started(pendulum, 3)
    sim.step(np.ones((3, 1)))
    sim.reset(np.random.default_rng(0), np.array([False, True, False]))
    np.testing.assert_allclose(sim.readings.site_position("bob"), bob(sim.readings.qpos), atol=1e-12)


def test_a_field_that_the_family_does_not_ask_for_is_refused_with_the_cure(own_file, capsys):
    own_file.write_text(OWN.replace('    derived = ("site_xpos",)\n', ""))
    with pytest.raises(InputError, match=r"site_xpos lags .* list it, derived = \('site_xpos', ...\)"):
        load_family(f"{own_file}:Pendulum").obs_dim  # noqa: B018 - found out when first asked for
    assert main(["check", f"{own_file}:Pendulum"]) == 2
    assert "derived = ('site_xpos', ...)" in capsys.readouterr().out


def test_a_field_that_only_the_reward_reads_is_refused_too(own_file):
    sim = started(load_family(f"{own_file}:Pendulum"), 3)
    with pytest.raises(InputError, match="xpos lags"):
        sim.readings.body_position("rod")


def test_the_control_that_is_remembered_is_that_of_the_step_before(own_file):
    own_file.write_text(OWN.replace("    derived", '    remembered = ("ctrl",)\n    derived'))
    sim = started(load_family(f"{own_file}:Pendulum"), 3)
    sim.step(np.full((3, 1), 0.5))
    np.testing.assert_array_equal(sim.readings.before["ctrl"], 0.0)
    sim.step(np.full((3, 1), -0.5))
    np.testing.assert_array_equal(sim.readings.before["ctrl"], 10.0)
    sim.step(np.full((3, 1), 1.0), np.array([True, False, True]))
    np.testing.assert_array_equal(sim.readings.before["ctrl"][:, 0], [0.0, 10.0, 0.0])


# Actions.


COPIES = {"deep": deepcopy, "shallow": copy, "pickled": lambda x: pickle.loads(pickle.dumps(x))}


def walked(sim: BatchSim, rng: np.random.Generator, n: int) -> np.ndarray:
    """Observations and rewards of random steps, new episodes where one ends, (n, N, obs_dim + 1)."""
    rows = []
    for _ in range(n):
        step = sim.step(rng.uniform(-1, 1, (sim.n_sims, sim.family.action_dim)))
        rows.append(np.concatenate([step.obs, step.reward[:, None]], axis=1))
        sim.reset(rng, step.terminated | step.truncated)
    return np.array(rows)


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", ["HopperRandParams", "HumanoidDir", "AntDamage", "SparsePointGoal"])
def test_a_copy_of_simulations_goes_on_as_they_do_and_shares_nothing(how, name):
    rng, sim = np.random.default_rng(0), BatchSim(name, 3, 2)
    sim.start(rng)
    walked(sim, rng, 12)
    state = sim.state.copy()
    other, rng_too = COPIES[how](sim), deepcopy(rng)
    theirs = walked(other, rng_too, 12)
    np.testing.assert_array_equal(sim.state, state)
    np.testing.assert_array_equal(theirs, walked(sim, rng, 12))
    assert other.tasks == sim.tasks and other.tasks is not sim.tasks
    np.testing.assert_array_equal(other.elapsed, sim.elapsed)


def test_simulations_that_have_no_task_of_their_own_yet_have_the_first_one_with_its_dynamics():
    family = load_family("HalfCheetahPayload")
    sim, heavy = BatchSim(family, 3), family.task({"load": 2.0})
    sim.set_tasks([heavy], np.array([1]))
    assert sim.tasks == [heavy] * 3
    assert len({sim.model_of(i).body("torso").mass[0] for i in range(3)}) == 1


@pytest.mark.parametrize("n_threads", [1, 2])
def test_simulations_go_on_in_a_forked_process_which_ends(n_threads):
    code = (
        "import os, sys, warnings, numpy as np; from metarl.envs import BatchSim\n"
        f"sim = BatchSim('HalfCheetahVel', 4, {n_threads}); sim.start(np.random.default_rng(0))\n"
        "warnings.simplefilter('ignore')\n"  # Python warns of forking threads
        "sim.step(np.ones((4, 6))); child = os.fork()\n"
        "if child: assert os.waitpid(child, 0)[1] == 0\n"
        "print(repr(sim.step(np.ones((4, 6))).obs.sum()), flush=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    parent, child = done.stdout.splitlines()
    assert parent == child


def test_an_action_spans_the_actuators_range(pendulum):
    sim = started(pendulum, 3)
    sim.step(np.array([[-1.0], [0.0], [1.0]]))
    control = np.zeros((3, 1))
    for i in range(3):
        data = mujoco.MjData(pendulum.model)
        mujoco.mj_setState(pendulum.model, data, sim.state[i], mujoco.mjtState.mjSTATE_INTEGRATION)
        control[i] = data.ctrl
    np.testing.assert_array_equal(control, [[-5.0], [5.0], [15.0]])


# Log files.


def test_no_log_file_is_written_wherever_one_works_even_when_simulations_blow_up(tmp_path, own_file):
    code = f"""
import numpy as np
from metarl.cli import main
from metarl.envs import FAMILIES, BatchSim, load_family
for name in [*FAMILIES, "{own_file}:Pendulum"]:
    family = load_family(name)
    sim = BatchSim(family, 2, 1)
    sim.set_tasks(family.sample(np.random.default_rng(0), 2))
    sim.reset(np.random.default_rng(0))
    sim.readings.qvel[0] = np.nan
    assert sim.step(np.zeros((2, family.action_dim))).failed.tolist() == [True, False]
"""
    place = tmp_path / "work"
    place.mkdir()
    subprocess.run([sys.executable, "-c", code], cwd=place, check=True, capture_output=True)
    assert list(place.iterdir()) == []


# Simulations that blow up.


@pytest.mark.parametrize("name", sorted(FAMILIES))
@pytest.mark.parametrize("value", [np.nan, np.inf, -1e30, 1e300])
@pytest.mark.parametrize("field", ["qpos", "qvel"])
def test_a_simulation_that_blows_up_is_flagged_and_the_others_never_notice(name, value, field):
    family = load_family(name)
    hurt, whole = started(family, 3), started(family, 3)
    others = np.array([True, False, True])
    action = np.random.default_rng(1).uniform(-1, 1, (6, 3, family.action_dim))
    for t, a in enumerate(action):
        if t in (1, 4):  # the second time, MuJoCo's counter shows no rise
            getattr(hurt.readings, field)[1] = value
        bad, good = hurt.step(a), whole.step(a)
        assert bad.failed.tolist() == [False, t >= 1, False]
        if t >= 1:
            assert bad.terminated[1] and not bad.truncated[1]
            assert not bad.obs[1].any() and bad.reward[1] == 0
            assert all(term[1] == 0 for term in bad.terms.values())
        for x, y in zip((bad.obs, bad.reward), (good.obs, good.reward), strict=True):
            np.testing.assert_array_equal(x[others], y[others])
        np.testing.assert_array_equal(hurt.state[others], whole.state[others])
    obs = hurt.reset(np.random.default_rng(2), ~others)
    assert np.isfinite(obs).all()
    assert not hurt.step(action[0]).failed.any()


def test_a_reward_or_observation_that_is_not_finite_counts_as_a_failure_too(pendulum):
    class Divides(type(pendulum)):
        def observe(self, r):
            with np.errstate(divide="ignore"):
                return r.qpos / (r.qpos < 1)

        def reward(self, r, action, task):
            return {"root": np.sqrt(r.qpos[:, 0])}

    sim = started(Divides(), 3)
    sim.set_state(np.array([[0.5], [-0.5], [0.99]]), np.array([[0.0], [0.0], [10.0]]))  # the last gets past 1
    step = sim.step(np.zeros((3, 1)))
    assert step.failed.tolist() == step.terminated.tolist() == [False, True, True]
    assert step.obs[2] == step.reward[1] == step.reward[2] == 0 != step.reward[0]


def test_reward_terms_that_a_family_returns_as_views_are_handed_out_as_copies(pendulum):
    class Views(type(pendulum)):
        def reward(self, r, action, task):
            return {"angle": r.qpos[:, 0]}

    sim = started(Views(), 2)
    sim.set_state(np.ones((2, 1)), np.zeros((2, 1)))
    first = sim.step(np.zeros((2, 1)))
    kept = first.terms["angle"].copy()
    sim.readings.qvel[0] = np.nan
    sim.step(np.zeros((2, 1)))
    np.testing.assert_array_equal(first.terms["angle"], kept)
    assert sim.readings.qpos[1] != 0  # nor does zeroing the terms of a failure reach the state


# A family of one's own.


def test_a_users_own_family_from_a_file_works_like_ours(pendulum, own_file):
    assert (pendulum.name, pendulum.obs_dim, pendulum.action_dim) == ("Pendulum", 5, 1)
    assert pendulum.dt == pytest.approx(0.006)
    assert len(set(pendulum.tasks("test"))) == 20
    task = pendulum.task({"height": 0.5})
    assert dict(task) == {"height": 0.5, "mass": 1.0}
    sim = BatchSim(pendulum, 2, 1)
    sim.set_tasks([task, pendulum.task({"height": 0.5, "mass": 2.0})])
    sim.set_state(np.full((2, 1), np.pi / 2), np.zeros((2, 1)))
    assert sim.model_of(0).body("rod").mass == 1.0 and sim.model_of(1).body("rod").mass == 2.0
    for t in range(pendulum.horizon):
        step = sim.step(np.zeros((2, 1)))
        assert step.truncated.all() == (t == pendulum.horizon - 1)
    np.testing.assert_allclose(step.reward, -np.abs(-np.cos(sim.readings.qpos[:, 0]) - 0.5), rtol=1e-5)
    assert sim.readings.qpos[0] != sim.readings.qpos[1]  # damping holds the lighter one back more
    assert sim.success() is None
    assert "pendulum" not in sys.modules  # a user's file hides no module of that name


NEIGHBOUR = """
from metarl.envs.families.point import PointGoal
import my_rewards
from numbers_of.mine import number, Number

class Mine(PointGoal):
    def reward(self, r, action, task):
        from my_rewards import pay  # not before it is called
        assert pay is my_rewards.pay
        return {"pay": pay(r) + number}
"""


@pytest.fixture
def folders(tmp_path):
    """Two folders of families whose files have the same names, and other contents."""
    for name, pay in (("one", 1.0), ("two", 2.0)):
        (tmp_path / name / "numbers_of").mkdir(parents=True)
        (tmp_path / name / "mine.py").write_text(NEIGHBOUR)
        rewards = f"import numpy as np\ndef pay(r): return np.full(len(r.qpos), {pay})"
        (tmp_path / name / "my_rewards.py").write_text(rewards)
        deep = f"import my_rewards\nnumber = {10 * pay}\nclass Number: value = number"
        (tmp_path / name / "numbers_of" / "mine.py").write_text(deep)
        (tmp_path / name / "numpy.py").write_text("raise SystemExit('this is not numpy')")
    return [tmp_path / "one", tmp_path / "two"]


def paid(family: TaskFamily) -> float:
    """The reward of a step."""
    sim = BatchSim(family, 1)
    sim.start(np.random.default_rng(0))
    return float(sim.step(np.zeros((1, 2))).reward[0])


def send_paid(family: TaskFamily, sender) -> None:
    sender.send(paid(family))


def test_a_file_imports_those_beside_it_and_no_others_of_the_same_name(folders, monkeypatch):
    one, two = (load_family(f"{folder}/mine.py:Mine") for folder in folders)
    monkeypatch.chdir(folders[1])
    monkeypatch.syspath_prepend(folders[1])
    again = load_family(f"{folders[0]}/mine.py:Mine")
    assert [paid(family) for family in (one, two, again)] == [11.0, 22.0, 11.0]
    assert {"my_rewards", "numbers_of", "mine"} & sys.modules.keys() == set()


def test_what_is_of_a_users_files_is_pickled_and_found_by_a_process_that_begins_anew(folders):
    one, two = (load_family(f"{folder}/mine.py:Mine") for folder in folders)
    load_family(f"{folders[0]}/mine.py:Mine")  # leaves the first of its class
    numbers = [vars(sys.modules[type(family).__module__])["Number"]() for family in (one, two)]
    assert [x.value for x in pickle.loads(pickle.dumps(numbers))] == [10.0, 20.0]
    code = "import pickle, sys; print([x.value for x in pickle.load(sys.stdin.buffer)])"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(numbers), capture_output=True)
    assert done.stdout == b"[10.0, 20.0]\n", done.stderr
    ours, theirs = multiprocessing.Pipe()
    for family in (one, two):
        worker = multiprocessing.get_context("spawn").Process(target=send_paid, args=(family, theirs))
        worker.start()
        worker.join()
    assert [ours.recv(), ours.recv()] == [11.0, 22.0]


def test_gymnasiums_workers_have_the_family_of_their_file(folders):
    makers = [lambda folder=folder: FamilyEnv(f"{folder}/mine.py:Mine") for folder in folders]
    env = gymnasium.vector.AsyncVectorEnv(makers, context="spawn")
    env.reset(seed=0)
    assert env.step(np.zeros((2, 2)))[1].tolist() == [11.0, 22.0]
    env.close()


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(folders):
    name, beside = f"{folders[0]}/mine.py:Mine", folders[0] / "my_rewards.py"
    assert type(load_family(name)) is type(load_family(name))
    beside.write_text(beside.read_text().replace("1.0", "3.25"))
    assert paid(load_family(name)) == 13.25


def test_what_is_wrong_with_a_file_beside_it_is_said_with_its_name(folders):
    (folders[0] / "my_rewards.py").write_text("import numpy\nnumpy.nothing")
    (folders[1] / "my_rewards.py").write_text("\n\ndef f(:")
    for folder, line in zip(folders, (2, 3), strict=True):
        with pytest.raises(InputError, match=rf"mine.py does not load: .*\(my_rewards.py, line {line}\)$"):
            load_family(f"{folder}/mine.py:Mine")
    (folders[0] / "mine.py").write_text("\nimport nowhere_to_be_found")
    with pytest.raises(InputError, match=r"No module named 'nowhere_to_be_found' \(line 2\)$"):
        load_family(f"{folders[0]}/mine.py:Mine")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("HalfCheetahVell", "unknown family 'HalfCheetahVell'; did you mean 'HalfCheetahVel'?"),
        ("halfcheetahvel", "unknown family 'halfcheetahvel'; did you mean 'HalfCheetahVel'?"),
        ("xyz", "unknown family 'xyz'. Known: PointGoal, "),
        ("nowhere.py:Pendulum", "no file nowhere.py; give your family as path/to/file.py:ClassName"),
        ("{dir}/pendulum.py:Pendulun", "'Pendulun'; did you mean 'Pendulum'?"),
        ("{dir}/pendulum.py:NotAFamily", "NotAFamily in {dir}/pendulum.py is no family: write class NotAF"),
        ("{dir}/pendulum.py:TaskFamily", "unknown family in {dir}/pendulum.py 'TaskFamily'"),
        ("{dir}/pendulum.py", "names no class in a file; write {dir}/pendulum.py:Pendulum"),
    ],
)
def test_a_wrong_name_of_a_family_is_one_line_that_names_the_cure(name, said, own_file):
    with pytest.raises(InputError) as error:
        load_family(name.format(dir=own_file.parent))
    assert said.format(dir=own_file.parent) in str(error.value) and "\n" not in str(error.value)


def test_a_robot_that_is_missing_or_broken_is_one_line_that_names_the_file(own_file):
    robot = own_file.parent / "pendulum.xml"
    robot.write_text("<mujoco><worldbody><body></worldbody></mujoco>")
    with pytest.raises(InputError, match=r"cannot load the robot .*pendulum.xml: ") as error:
        _ = load_family(f"{own_file}:Pendulum").model
    assert "\n" not in str(error.value)
    robot.unlink()
    with pytest.raises(InputError, match=r"cannot load the robot .*pendulum.xml: "):
        _ = load_family(f"{own_file}:Pendulum").model


# A number that is known.


def test_a_scripted_policy_told_the_goal_reaches_the_point_familys_optimum():
    family = load_family("PointGoal")
    tasks = family.tasks("test")
    goal = np.array([[t["goal_x"], t["goal_y"]] for t in tasks])
    sim = BatchSim(family, len(tasks), 1)
    sim.set_tasks(tasks)
    obs, total = sim.reset(np.random.default_rng(0)), np.zeros(len(tasks))
    for _ in range(family.horizon):
        step = sim.step((goal - obs) / 0.1)  # clipped: full speed, then exactly there
        obs, total = step.obs, total + step.reward
    optimum = family.optimum(goal)
    np.testing.assert_allclose(total, optimum, rtol=0.01, atol=1e-3)
    assert (total <= optimum + 1e-3).all()
    assert optimum[0] < -1
