"""Whatever the numbers and words are: it works, or one line says what is wrong with them."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from metarl.cli import main
from metarl.cli.words import parse_tasks
from metarl.envs import FAMILIES, InputError, Task, load_family
from metarl.envs.check import check
from metarl.envs.families.point import PointGoal
from metarl.envs.recipe import Recipe
from metarl.learners import LEARNERS

pytestmark = pytest.mark.slow


def cases(n: int) -> settings:
    """So many cases, the same on every machine."""
    slow = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return settings(
        max_examples=n, derandomize=True, database=None, deadline=None, suppress_health_check=slow
    )


numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([0, -1, 1e308, 10**30, 0.1, 1, 2]))
speech = st.text(st.characters(exclude_characters="\0"), max_size=20)  # no word of a command holds a zero
words = st.one_of(speech, st.sampled_from(["", "nan", "inf", "1,2", "1,,2", " 1 ", "1_0", "--"]))
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=6,
)


def one_line(error: InputError) -> bool:
    """Whether an error is one line that says something."""
    return bool(str(error).strip()) and "\n" not in str(error)


# Settings.


def values(kind: object) -> st.SearchStrategy:
    """Mostly of the kind that a field wants."""
    if get_origin(kind) is Literal:
        right = st.sampled_from(get_args(kind))
    elif get_origin(kind) is tuple:
        right = st.lists(st.integers(-1, 5000), max_size=3).map(tuple)
    else:
        right = {bool: st.booleans(), int: st.integers(-1, 10**6), float: st.floats(-1, 10)}[kind]
    return st.one_of(right, right, right, anything)


def configs(name: str) -> st.SearchStrategy:
    """Values for some of the settings of a learner."""
    kind = LEARNERS[name].config_class
    return st.fixed_dictionaries({}, optional={f.name: values(f.type) for f in fields(kind)})


@pytest.mark.parametrize("name", LEARNERS)
def test_settings_are_refused_in_one_line_or_come_back_from_json_as_they_were(name):
    usual = asdict(LEARNERS[name].config_class())

    @cases(500)
    @given(configs(name))
    def holds(chosen):
        try:
            config = LEARNERS[name].make_config({**usual, **chosen})
        except InputError as error:
            assert one_line(error)
        else:
            assert LEARNERS[name].make_config(json.loads(json.dumps(asdict(config)))) == config

    holds()


# Tasks.


def assignments(family: str) -> st.SearchStrategy:
    """Words for tasks, many of them almost right."""
    known = load_family(family)
    name = st.one_of(st.sampled_from([p.name for p in known.params]), words)
    right = st.sampled_from(known.tasks("test")).flatmap(
        lambda task: st.sampled_from(
            [f"{k}={json.dumps(v).strip('[]').replace(' ', '')}" for k, v in task.items()]
        )
    )
    made = st.builds(lambda n, v: f"{n}={v}", name, st.one_of(words, numbers.map(str)))
    return st.lists(st.one_of(right, right, made, words), min_size=1, max_size=4)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_words_for_tasks_are_refused_in_one_line_or_mean_what_they_say(family):
    known = load_family(family)

    @cases(60)
    @given(assignments(family))
    def holds(said):
        try:
            tasks = parse_tasks(known, [said])
        except InputError as error:
            assert one_line(error)
        else:
            assert [known.task(dict(task)) for task in tasks] == tasks
            assert [Task(json.loads(json.dumps(dict(task)))) for task in tasks] == tasks

    holds()


# Families in a file of somebody's own.

FILE = """
from metarl.envs import Choice, LogUniform, Param, Uniform
from metarl.envs.families.point import PointGoal


class Mine(PointGoal):
    params = ({params},)
    horizon = {horizon}
    frame_skip = {frame_skip}
    n_test = {n_test}

    def reward(self, r, action, task):
        return {{"x": -abs(r.qpos[:, 0] - task[{read!r}])}}
"""
bounds = st.one_of(st.floats(-3, 3), st.floats(-3, 3), st.floats(), st.integers()).map(
    lambda x: f"float({str(x)!r})"
)
distributions = st.builds(
    lambda kind, a, b: f"{kind}(({a}, {b}))" if kind == "Choice" else f"{kind}({a}, {b})",
    st.sampled_from(["Uniform", "LogUniform", "Choice"]),
    bounds,
    bounds,
)
field = st.sampled_from([None, None, "body_mass", "dof_damping", "qpos", "nq", "names", "__class__", ""])
params = st.builds(
    lambda name, dist, field, objects: f"Param({name!r}, 'm', {dist}, field={field!r}, objects={objects!r})",
    st.sampled_from(["goal", "load", "", "goal x"]),
    distributions,
    field,
    st.sampled_from([None, ("point",), ("nobody",), (), "point"]),
)


def test_any_file_with_a_family_is_checked_in_plain_words(tmp_path):
    path = tmp_path / "mine.py"

    @cases(150)
    @given(
        st.lists(params, min_size=1, max_size=2),
        st.one_of(st.integers(1, 30), st.integers(-1, 30), st.floats()),
        st.integers(-1, 3),
        st.integers(-1, 20),
        st.sampled_from(["goal", "load", "nothing"]),
    )
    def holds(some, horizon, frame_skip, n_test, read):
        horizon = repr(horizon) if isinstance(horizon, int) else f"float({str(horizon)!r})"
        text = FILE.format(
            params=", ".join(some), horizon=horizon, frame_skip=frame_skip, n_test=n_test, read=read
        )
        path.write_text(text)
        try:
            family = load_family(f"{path}:Mine")
        except InputError as error:
            assert one_line(error)
        else:
            findings = list(check(family))
            assert findings and all(f.problem is None or f.problem.strip() for f in findings)

    holds()


@cases(150)
@given(st.text(max_size=60))
@example("raise SystemExit")
@example("class Mine:\n    pass")
@example("x" * 10**6)
def test_any_text_for_a_file_with_a_family_is_refused_in_one_line(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("text") / "mine.py"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError) as raised:
        load_family(f"{path}:Mine")
    assert one_line(raised.value)


# Command lines.

COMMANDS = ("train", "evaluate", "render", "report", "check", "families")
FLAGS = ["--steps", "--seed", "--learner", "--out", "--resume", "--task", "--json", "--plot", "--columns"]
FLAGS += [
    "--size",
    "--n-threads",
    "--help=",
    "--",
    "-",
    "PointGoal",
    "nowhere",
    "maml",
    "meta-lstm",
    "/",
    ".",
]
FLAGS += ["..", "1e3", "-1", "0", "nan", "x=1", "1e400"]
commands = st.builds(
    lambda command, rest: [command, *rest],
    st.sampled_from(COMMANDS),
    st.lists(st.one_of(st.sampled_from(FLAGS), st.sampled_from(FLAGS), words), max_size=5),
)


def test_any_command_line_ends_in_success_or_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    short = Recipe("maml", 360, {"n_tasks": 2, "n_episodes": 3}), Recipe("meta-lstm", 320, {"n_trials": 4})
    monkeypatch.setattr(PointGoal, "recipes", short)  # whoever gives no steps trains for a moment

    @cases(400)
    @given(commands)
    @example(["train", "a" * 300])
    def holds(said):
        if said[:2] == ["check", "PointGoal"] or said == ["families"]:
            return  # which take their time, and have tests of their own
        assert main(said) in (0, 2)
        seen = capsys.readouterr().err
        assert "Traceback" not in seen and len(seen) < 3000

    holds()
    assert {path.suffix for path in Path(tmp_path).iterdir()} <= {"", ".html"}
