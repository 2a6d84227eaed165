"""Laws of `metarl check`: what is wrong with a family is found and said in plain words."""

import re

import numpy as np
import pytest

from metarl.cli import main
from metarl.envs import FAMILIES, load_family
from metarl.envs.check import CHECKS, check
from metarl.envs.families.half_cheetah import HalfCheetahVel
from metarl.envs.families.quadrotor import X2Hover
from metarl.envs.remarks import remarks

GOOD = """
import numpy as np
from metarl.envs import Param, TaskFamily, Uniform
import mujoco

XML = '''
<mujoco>
  <option timestep=".01"/>
  <worldbody>
    <body name="cart"><joint name="x" type="slide" axis="1 0 0" damping="1"/><geom size=".1" mass="1"/></body>
  </worldbody>
  <actuator><motor joint="x" gear="20" ctrllimited="true" ctrlrange="-1 1"/></actuator>
</mujoco>
'''


class Cart(TaskFamily):
    "Go to a hidden place."

    params = (Param("goal", "m", Uniform(-1, 1)), Param("load", "", Uniform(0.5, 2), field="body_mass"))
    horizon = 50

    def build_model(self):
        return mujoco.MjModel.from_xml_string(XML)

    def initial_state(self, rng, n):
        return rng.uniform(-0.1, 0.1, (n, 1)), np.zeros((n, 1))

    def observe(self, r):
        return np.concatenate([r.qpos, r.qvel], axis=1)

    def reward(self, r, action, task):
        return {"distance": -np.abs(r.qpos[:, 0] - task["goal"])}
"""
OBSERVE, REWARD = (
    "np.concatenate([r.qpos, r.qvel], axis=1)",
    '{"distance": -np.abs(r.qpos[:, 0] - task["goal"])}',
)
SERVO = """<position joint="x" kp="20" kv="2" ctrllimited="true" ctrlrange="-1 1"/>"""
MOTOR = """<motor joint="x" gear="20" ctrllimited="true" ctrlrange="-1 1"/>"""
LOAD = """Param("load", "", Uniform(0.5, 2), field="body_mass")"""


def swapped(actuator: str, param: str) -> str:
    """The good family with another actuator and another thing that varies beside the goal."""
    return GOOD.replace(MOTOR, actuator).replace(LOAD, param)


def servo(field: str, more: str = "") -> tuple[str, str]:
    """The good family, and the same with a servo of which a field varies."""
    return GOOD, swapped(SERVO, f'Param("strength", "", Uniform(0.5, 2), field="{field}"{more})')


def floor(words: str, more: str = "") -> tuple[str, str]:
    """The good family, and the same on a floor, with a foot of which the friction varies."""
    grip = f'Param("grip", "", Uniform(0.5, 2), field="geom_friction", objects=("foot",){more})'
    ground = f'<worldbody><geom type="plane" size="9 9 1" {words}/>'
    feet = swapped(MOTOR, grip).replace('size=".1" mass="1"', 'name="foot" size=".1" mass="1"')
    return GOOD, feet.replace("<worldbody>", ground)


SPOILED = {
    "a body named wrongly": (
        'field="body_mass"',
        'field="body_mass", objects=("crat",)',
        "did you mean 'cart'?",
    ),
    "a field named wrongly": ('"body_mass"', '"body_mas"', "did you mean 'body_mass'?"),
    "no actuators": (
        '<motor joint="x" gear="20" ctrllimited="true" ctrlrange="-1 1"/>',
        "",
        "has no actuators",
    ),
    "MJCF that is none": ("<mujoco>", "<mujoko>", "rror"),
    "a reward that is one array": (REWARD, "-np.abs(r.qpos[:, 0])", "not a dict of named terms"),
    "a reward of the wrong shape": (REWARD, '{"d": -np.abs(r.qpos)}', "reward term 'd' gives shape (64, 1)"),
    "an error of one's own": (REWARD, '{"d": task["gaol"]}', "KeyError: 'gaol' ("),
    "a flat observation": (OBSERVE, "r.qpos[:, 0]", "observe gives shape (64,)"),
    "a logarithm of nothing": (OBSERVE, "np.log(np.concatenate([r.qpos, r.qvel], axis=1))", "not finite"),
    "the direction of a speed at rest": (
        OBSERVE,
        "np.concatenate([r.qpos, r.qvel / np.abs(r.qvel)], axis=1)",
        "what is observed as an episode begins is not finite, on task {'goal'",
    ),
    "a beginning in a hundred that shows no number": (
        OBSERVE,
        "np.where(r.qpos > 0.0995, np.nan, r.qpos)",
        "what is observed as an episode begins is not finite",
    ),
    "observe that writes": (OBSERVE, "np.add(r.qpos, 1, out=r.qpos)", "read-only"),
    "observe that mixes": (OBSERVE, "r.qpos - r.qpos.mean()", "observe mixes simulations"),
    "an expert that writes": (
        "    def reward(",
        "    def expert(self, r, task):\n        return np.add(r.qpos, 1, out=r.qpos)\n\n    def reward(",
        "read-only",
    ),
    "a keyframe of too few numbers": (
        GOOD,
        GOOD.replace("build_model", "build_spec")
        .replace("mujoco.MjModel.from_xml_string", "mujoco.MjSpec.from_string")
        .replace("</mujoco>", '<keyframe><key name="home" qpos="0"/></keyframe></mujoco>')
        .replace("</body>", '<body><joint name="y"/><geom size=".1" mass="1"/></body></body>', 1),
        "keyframe 'home' gives 1 coordinates, and the robot has 2",
    ),
    "more contacts than there is room for": (
        GOOD,
        GOOD.replace("<mujoco>", '<mujoco><size memory="20K"/>')
        .replace("<worldbody>", "<worldbody>" + 5 * '<geom type="plane" size="9 9 1"/>')
        .replace("</body>", 20 * '<geom size=".1"/>' + "</body>"),
        "no room for all contacts",
    ),
    "an error that writes": (
        "    def reward(",
        "    def error(self, r, task):\n        return np.abs(r.qpos, out=r.qpos)[:, 0]\n\n    def reward(",
        "read-only",
    ),
    "an error that is no number": (
        "    def reward(",
        "    def error(self, r, task):\n        return r.qpos[:, 0] * np.nan\n\n    def reward(",
        "error is not finite as an episode begins",
    ),
    "a failure a coordinate": (
        "    def reward(",
        "    def terminated(self, r):\n        return np.abs(np.tile(r.qpos, 3)) > 9\n\n    def reward(",
        "terminated gives shape (64, 3): it must be (64,)",
    ),
    "a marker alone": (
        "    def reward(",
        "    def markers(self, task, data):\n        return None\n\n    def reward(",
        "markers gives a tuple of Marker(...)",
    ),
    "a goal that nobody reads": (REWARD, '{"distance": -np.abs(r.qpos[:, 0])}', "goal changes nothing"),
    "one task only": ("Uniform(-1, 1)), Param", "Uniform(1, 1)), Param", "the task"),
    "the bias of a servo without its gain": (*servo("actuator_biasprm"), "servo #0 is told to go to"),
    "the gear of a servo": (*servo("actuator_gear"), "servo #0 is told to go to"),
    "friction that another geom decides, by priority": (
        *floor('friction="2" priority="1"'),
        "grip never decides about a contact of foot",
    ),
    "friction that is never the larger one": (
        *floor('friction="9"'),
        "grip never decides about a contact of foot",
    ),
    "friction of what touches nothing": (*floor('contype="0" conaffinity="0"'), "grip never decides"),
    "friction that rolls where nothing rolls": (*floor('friction=".1"', ", axis=2"), "grip never decides"),
    "one number for a vector": (
        LOAD,
        'Param("g", "m/s^2", Uniform(2, 20), field="opt.gravity", mode="set")',
        "opt.gravity is a vector, and one number cannot say which way: axis=0, 1 or 2",
    ),
    "a load that takes away more than there is": (
        LOAD,
        'Param("m", "kg", Uniform(-0.9, -0.8), field="payload", mode="add"), '
        'Param("at", "m", Uniform(0.5, 1), field="payload_pos", axis=0, mode="add")',
        "takes more inertia from body 1 of the model than it has",
    ),
    "a beginning that is no number": (
        "rng.uniform(-0.1, 0.1, (n, 1)), np",
        "np.full((n, 1), np.nan), np",
        "initial_state gives qpos with numbers that are not finite",
    ),
    "a beginning drawn from somewhere else": (
        "rng.uniform(-0.1, 0.1, (n, 1)), np",
        "np.random.default_rng().uniform(-0.1, 0.1, (n, 1)), np",
        "the same task does not begin alike from the same seed: draw from rng",
    ),
    "as many numbers as there are simulations": (
        OBSERVE,
        "r.qpos @ r.qpos.T",
        "gives 64 numbers for each of 64",
    ),
    "nothing to see": (OBSERVE, "r.qpos[:, :0]", "observe gives no numbers"),
    "actions that do nothing": (
        "    horizon = 50",
        "    horizon = 50\n    action = __import__('metarl.envs').envs.Around((0.0,), 0)",
        "the actions' scale is 0",
    ),
    "a range of one value": ("Uniform(0.5, 2)", "Uniform(2, 2)", "load is always 2: give it a range"),
    "a recipe for nobody": (
        "    horizon = 50",
        "    horizon = 50\n    recipes = (__import__('metarl.envs').envs.Recipe('meta-lsmt'),)",
        "did you mean 'meta-lstm'?",
    ),
    "a recipe with a setting of no kind": (
        "    horizon = 50",
        "    horizon = 50\n    recipes = (__import__('metarl.envs').envs.Recipe('maml', 9, {'gamma': 'x'}),)",
        "Cart's recipe for maml: --gamma x is not a number",
    ),
    "two recipes for one": (
        "    horizon = 50",
        "    horizon = 50\n    recipes = 2 * (__import__('metarl.envs').envs.Recipe('maml'),)",
        "two of its recipes are called 'maml'",
    ),
    "a recipe of no steps": (
        "    horizon = 50",
        "    horizon = 50\n    recipes = (__import__('metarl.envs').envs.Recipe('maml', -9),)",
        "a recipe of -9 steps trains nothing",
    ),
    "a file that is no Python": ("import mujoco", "import mujoco as", "does not load: SyntaxError"),
}


@pytest.fixture
def checked(tmp_path, capsys):
    """What `metarl check` says about a family in a file, and its exit status."""

    def run(source: str) -> tuple[int, str]:
        (tmp_path / "mine.py").write_text(source)
        status = main(["check", f"{tmp_path / 'mine.py'}:Cart"])
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


def test_a_good_family_passes_and_shows_what_agents_get_that_learn_nothing(checked):
    status, said = checked(GOOD)
    assert status == 0 and said.count("ok    ") == len(CHECKS) + 1 and "WRONG" not in said
    assert re.search(r"zero +-\d", said) and re.search(r"random +-\d", said) and "distance -" in said


def test_an_expert_shows_what_it_gets(checked):
    expert = (
        "    def expert(self, r, task):\n        return task['goal'][:, None] - r.qpos\n\n    def reward("
    )
    status, said = checked(GOOD.replace("    def reward(", expert))
    assert status == 0 and re.search(r"expert +-\d", said)


@pytest.mark.parametrize("name", SPOILED)
def test_what_is_wrong_is_said_in_plain_words(checked, name):
    good, bad, words = SPOILED[name]
    assert GOOD.count(good) >= 1
    status, said = checked(GOOD.replace(good, bad, 1))
    assert status == 2 and words in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("good", "fine"),
    [
        servo("actuator_gainprm"),
        servo("actuator_gainprm", ", alone=True"),
        floor('friction=".7"'),
        floor('friction=".7" condim="6"', ", axis=2"),
    ],
)
def test_what_varies_as_it_should_is_left_in_peace(checked, good, fine):
    said = checked(GOOD.replace(good, fine, 1))[1]
    assert "ok    a servo of another strength" in said and "ok    a friction that varies counts" in said


def test_where_it_went_wrong_is_told_in_a_folder_that_is_called_envs_too(tmp_path, capsys):
    good, bad, _ = SPOILED["an error of one's own"]
    (tmp_path / "envs").mkdir()
    path = tmp_path / "envs" / "mine.py"
    path.write_text(GOOD.replace(good, bad, 1))
    assert main(["check", f"{path}:Cart"]) == 2
    assert f"({path}, line " in capsys.readouterr().out


class Seen(HalfCheetahVel):
    """A cheetah that is told its velocity by where it begins to look."""

    def observe(self, r):
        told = self.tasks_seen if hasattr(self, "tasks_seen") else 0.0
        return np.concatenate([super().observe(r), np.full((len(r.qpos), 1), told)], axis=1)

    def stack(self, tasks):
        self.tasks_seen = tasks[0]["velocity"]
        return super().stack(tasks)


def test_a_task_that_can_be_seen_is_found():
    found = {finding.law: finding.problem for finding in check(Seen())}
    assert (
        "can be seen in the observation, number 17"
        in found["the task cannot be seen in the first observation"]
    )


class Lopsided(X2Hover):
    """A quadrotor whose mass is as far above it as it is above the ground."""

    def edit(self, spec):
        spec.body("x2").ipos = [np.nan] * 3


def test_mass_beside_what_one_sees_is_found():
    assert not any("mass" in remark for remark in remarks(X2Hover()))
    assert "the mass of x2 lies outside of it, at 0 0 1 m: give its inertia an `ipos`" in list(
        remarks(Lopsided())
    )


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_of_the_catalogue_passes(name):
    assert [finding for finding in check(load_family(name)) if finding.problem] == []
