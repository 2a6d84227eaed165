"""A stranger's run folder runs no code, and a run knows what it was trained on."""

import json
import marshal
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import cache_from_source, source_hash
from pathlib import Path

import mujoco
import pytest
import torch
from helpers import SMALL_MAML, SMALL_RECURRENT, TINY_STEPS

from metarl import MAML
from metarl.cli import main
from metarl.envs import Increment, InputError, Param, Uniform, load_family
from metarl.envs.families.point import PointGoal
from metarl.envs.trust import code_files
from metarl.runs import sources
from metarl.runs.run_folder import PREVIOUS, RunFolder

ROBOT = """<mujoco><include file="cart.xml"/><option timestep="0.05"/>
<actuator><motor joint="x" ctrllimited="true" ctrlrange="-1 1"/></actuator></mujoco>"""
CART = """<mujoco><compiler meshdir="parts"/><asset><mesh name="load" file="load.obj"/></asset>
<worldbody><body name="cart"><joint name="x" type="slide" axis="1 0 0"/><geom size="0.1"/>
<geom type="mesh" mesh="load"/></body></worldbody></mujoco>"""
LOAD = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n"
MINE = """
from pathlib import Path

import numpy as np

from metarl.envs import Param, TaskFamily, Uniform

Path("ran").touch()


class Mine(TaskFamily):
    "A cart that is to go to a place."

    mjcf = Path(__file__).with_name("robot") / "robot.xml"
    horizon = 20
    params = (Param("place", "m", Uniform(-1, 1)),)

    def reward(self, r, action, task):
        return {"distance": -np.abs(r.qpos[:, 0] - task["place"])}
"""
HELPED = "def __getattr__(name):\n    import helper\n\n\n" + MINE  # which is not imported until it is needed
EVALUATE = ["evaluate", "--columns", "2", "--episodes", "1", "--n-threads", "1"]
RENDER = ["render", "--out", "page.html", "--n-threads", "1"]
REPORT = ["report", "--n-threads", "1"]
RESUME = ["train", "--steps", str(2 * TINY_STEPS), "--resume"]
COMMANDS = [EVALUATE, RENDER, REPORT, RESUME]
commands = pytest.mark.parametrize("command", COMMANDS, ids=["evaluate", "render", "report", "resume"])


def write_family(folder: Path, text: str = MINE) -> Path:
    """A family of somebody's own, and its robot."""
    (folder / "robot" / "parts").mkdir(parents=True)
    (folder / "robot" / "parts" / "load.obj").write_text(LOAD)
    (folder / "robot" / "robot.xml").write_text(ROBOT)
    (folder / "robot" / "cart.xml").write_text(CART)
    (folder / "mine.py").write_text(text)
    return folder / "mine.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a run of a catalogue's family: not to be written to."""
    folder = tmp_path_factory.mktemp("made")
    flags = [*SMALL_MAML, "--steps", str(TINY_STEPS)]
    assert main(["train", "PointGoal", *flags, "--out", str(folder / "run")]) == 0
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """A folder of this user's own, who has never named a family."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METARL_TRUSTED", str(tmp_path / "home" / "trusted"))
    return tmp_path


@pytest.fixture
def mine(here) -> Path:
    """The file of a family that this user has trained in the run folder `run`."""
    file = write_family(here / "own")
    train(f"{file}:Mine")
    (here / "ran").unlink()
    return file


def train(family: str, *words: str) -> None:
    assert main(["train", family, *SMALL_MAML, "--steps", str(TINY_STEPS), "--out", "run", *words]) == 0


def call(run: Path | str, name: str) -> None:
    """Let a run folder say that its family is called so."""
    config = Path(run) / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "family": name}))
    for path in (Path(run) / "checkpoint.pt", Path(run) / PREVIOUS):
        if path.exists():
            torch.save({**torch.load(path, weights_only=True), "family": name}, path)


def said_by(capsys, *argv: str) -> tuple[int, str]:
    """The status of a command, and what it said in case of trouble."""
    capsys.readouterr()
    status = main(argv)
    out, err = capsys.readouterr()
    return status, err + "".join(line for line in out.splitlines(True) if line.startswith("missing: "))


# Whose code runs.


@commands
@pytest.mark.parametrize("where", ["relative", "in the run folder", "elsewhere"])
def test_the_code_that_a_strangers_run_folder_names_is_refused_before_it_runs(mine, capsys, command, where):
    shutil.move("run", "got")
    folder, name = {
        "relative": (".", "evil.py:Mine"),
        "in the run folder": ("got", f"{Path('got').resolve()}/evil.py:Mine"),
        "elsewhere": ("other", f"{Path('other').resolve()}/evil.py:Mine"),
    }[where]
    Path(folder).mkdir(exist_ok=True)
    (Path(folder) / "evil.py").write_text(MINE + "\n")
    shutil.copytree("own/robot", f"{folder}/robot")
    call("got", name)
    status, said = said_by(capsys, *command, "got")
    assert status == (0 if command is REPORT else 2)
    assert f"--family {name}" in said and said.count("\n") == 1
    with pytest.raises(InputError, match="if you trust it, name it: --family") as error:
        MAML.load("got")
    assert "\n" not in str(error.value)
    assert not Path("ran").exists()


def test_a_file_in_the_run_folder_is_refused_although_the_same_was_named_elsewhere(mine, capsys):
    shutil.copytree("own", "run", dirs_exist_ok=True)
    call("run", f"{Path('run').resolve()}/mine.py:Mine")
    shutil.copy("run/checkpoint.pt", "run/best.pt")
    for path in ("run", "run/best.pt"):
        status, said = said_by(capsys, *EVALUATE, path)
        assert status == 2 and "is code in the run folder itself; if you trust it" in said
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    "name", ["a\n.py:Mine", "mine.py:a b", "\0.py:Mine", "x" * 5000 + ".py:Mine", "m:Mine"]
)
def test_what_is_no_name_of_a_family_is_one_line(mine, capsys, name):
    call("run", name)
    status, said = said_by(capsys, *EVALUATE, "run")
    assert status == 2 and said.count("\n") == 1 and not Path("ran").exists()


@commands
def test_a_config_of_another_family_than_the_checkpoint_is_refused_before_either_runs(mine, capsys, command):
    other = Path(shutil.copy(mine, mine.with_name("other.py")))  # which is trusted: it is the same
    config = Path("run/config.json")
    config.write_text(config.read_text().replace("mine.py:Mine", "other.py:Mine"))
    status, said = said_by(capsys, *command, "run")
    assert status == (0 if command is REPORT else 2)
    assert f"was trained on {mine}:Mine, not on {other}:Mine" in said and "--family" in said
    assert command is REPORT or not Path("ran").exists()


@commands
def test_what_this_user_has_trained_runs_without_being_named(mine, capsys, command):
    assert said_by(capsys, *command, "run") == (0, "")
    assert MAML.load("run").family_name == f"{mine}:Mine"


def test_what_is_trusted_is_kept_outside_of_the_run_as_sha256sum_writes_it(mine, here):
    (line,) = (here / "home" / "trusted").read_text().splitlines()
    assert line == f"{sources.sha256(mine)}  {mine}"
    load_family(f"{mine}:Mine")
    assert (here / "home" / "trusted").read_text() == line + "\n"


@commands
def test_naming_a_file_is_trusting_it_until_it_changes(mine, here, capsys, command):
    (here / "home" / "trusted").unlink()
    _, said = said_by(capsys, *command, "run")
    assert f"you have not run as it is now; if you trust it, name it: --family {mine}:Mine" in said
    assert not Path("ran").exists()
    assert said_by(capsys, *command, "run", "--family", f"{mine}:Mine") == (0, "")
    assert said_by(capsys, *command, "run") == (0, "")
    mine.write_text(MINE + "\n")
    _, said = said_by(capsys, *command, "run")
    assert "you have not run as it is now" in said


@pytest.mark.parametrize(
    "neighbour", ["helper.py", "helper/__init__.py", "helper/deep/inside.py", "helper.so"]
)
def test_what_a_trusted_file_imports_from_beside_it_is_looked_at_too(here, capsys, neighbour):
    mine = write_family(here / "own", HELPED)
    train(f"{mine}:Mine")
    assert main([*EVALUATE, "run"]) == 0
    (mine.parent / neighbour).parent.mkdir(parents=True, exist_ok=True)
    (mine.parent / neighbour).write_text("import other")
    assert "not run as it is now" in said_by(capsys, *EVALUATE, "run")[1]
    assert main([*EVALUATE, "run", "--family", f"{mine}:Mine"]) == 0
    (mine.parent / "other.py").write_text("")
    if neighbour != "helper.so":
        assert "not run as it is now" in said_by(capsys, *EVALUATE, "run")[1]


@pytest.mark.parametrize(
    "words",
    [
        "import helper",
        "import helper.x as x",
        "from helper import x",
        "from . import helper",
        "from .helper import x",
    ],
)
def test_a_neighbour_is_found_however_it_is_imported(here, words):
    mine, helper = write_family(here / "own", f"def later():\n    {words}\n"), here / "own" / "helper.py"
    helper.write_text("import mine, numpy, json")
    assert code_files(mine) == [mine, helper]


def test_a_family_in_a_checkout_of_metarl_does_not_bring_metarl_itself(mine):
    (mine.parent / "metarl").mkdir()
    (mine.parent / "metarl" / "__init__.py").write_text("")
    assert code_files(mine) == [mine]
    assert main([*EVALUATE, "run"]) == 0


def test_a_run_that_has_not_begun_brings_no_code_either(mine, capsys):
    Path("evil.py").write_text(MINE + "\n")
    shutil.copytree("own/robot", "robot")
    call("run", "evil.py:Mine")
    for path in Path("run").iterdir():
        if path.is_file() and path.name != "config.json":
            path.unlink()
    status, said = said_by(capsys, *RESUME, "run")
    assert status == 2 and "if you trust it, name it: --family evil.py:Mine" in said
    assert not Path("ran").exists()
    assert main([*RESUME, "run", "--family", "evil.py:Mine"]) == 0
    assert main([*EVALUATE, "run"]) == 0


@pytest.mark.parametrize("name", ["mine.py", "helper.py"])
def test_bytecode_that_lies_beside_a_file_is_not_run(mine, name):
    mine.write_text("import helper\n" + MINE)
    mine.with_name("helper.py").write_text("")
    file = mine.with_name(name)
    cached = Path(cache_from_source(str(file)))
    cached.parent.mkdir(exist_ok=True)
    code = marshal.dumps(compile("raise SystemExit('bytecode')", str(file), "exec"))
    magic = b"".join([__import__("importlib.util").util.MAGIC_NUMBER, (1).to_bytes(4, "little")])
    cached.write_bytes(magic + source_hash(file.read_bytes()) + code)  # which Python takes unchecked
    assert load_family(f"{mine}:Mine").horizon == 20


@pytest.mark.parametrize("place", ["/dev/null/trusted", "/proc/trusted", "."])
def test_where_nothing_can_be_remembered_a_family_is_named_each_time(mine, monkeypatch, capsys, place):
    monkeypatch.setenv("METARL_TRUSTED", place)
    train(f"{mine}:Mine", "--force")
    assert "if you trust it, name it" in said_by(capsys, *EVALUATE, "run")[1]
    assert main([*EVALUATE, "run", "--family", f"{mine}:Mine"]) == 0


@pytest.mark.parametrize(
    ("data", "home", "place"),
    [("/data", "/home/me", "/data/metarl/trusted"), ("data", "/home/me", "/home/me/{}/metarl/trusted")],
)
def test_trust_is_kept_where_a_platform_keeps_data(monkeypatch, data, home, place):
    from metarl.envs.trust import _place

    monkeypatch.delenv("METARL_TRUSTED")
    monkeypatch.setenv("XDG_DATA_HOME", data)
    monkeypatch.setenv("HOME", home)
    share = "Library/Application Support" if sys.platform == "darwin" else ".local/share"
    assert _place() == Path(place.format(share))


def test_a_relative_name_of_an_older_version_works_if_the_file_is_trusted_or_named(mine, here, capsys):
    call("run", "own/mine.py:Mine")
    assert main([*EVALUATE, "run"]) == 0
    (here / "home" / "trusted").unlink()
    assert "--family own/mine.py:Mine" in said_by(capsys, *EVALUATE, "run")[1]
    assert main([*EVALUATE, "run", "--family", "own/mine.py:Mine"]) == 0


def test_an_agent_is_loaded_with_a_family_that_is_named_or_given(mine, here):
    kind = type(MAML.load("run").family)
    (here / "home" / "trusted").unlink()
    with pytest.raises(InputError, match="if you trust it"):
        MAML.load("run")
    for family in (kind, kind(), "own/mine.py:Mine"):
        agent = MAML.load("run", family=family)
        assert type(agent.family).__name__ == "Mine" and agent.family_name == f"{mine}:Mine"
    MAML(kind, agent.config, n_threads=1).save("agent.pt")
    with pytest.raises(InputError, match="'Mine' is neither in the catalogue nor a file; name where it is"):
        MAML.load("agent.pt")
    assert MAML.load("agent.pt", family=kind).family_name == "Mine"
    with pytest.raises(InputError, match="does not fit PointGoal and its own settings"):
        MAML.load("run", family="PointGoal")


@pytest.mark.parametrize("command", [EVALUATE, RENDER], ids=["evaluate", "render"])
def test_an_agents_file_is_taken_as_its_run_folder_is(mine, here, capsys, command):
    files = [shutil.copy("run/checkpoint.pt", name) for name in ("run/best.pt", "agent.pt")]
    (here / "home" / "trusted").unlink()
    for file in files:
        status, said = said_by(capsys, *command, file)
        assert status == 2 and f"if you trust it, name it: --family {mine}:Mine" in said
    assert not Path("ran").exists()
    named = "--family", f"{mine}:Mine"
    for file in files:
        assert said_by(capsys, *command, file, *named) == said_by(capsys, *command, file) == (0, "")
    edit(mine, "= 20", "= 10")
    assert "run: changed since training: mine.py, hor" in said_by(capsys, *command, files[0], *named)[1]
    assert said_by(capsys, *command, files[1], *named) == (0, "")  # nobody knows what it was trained on
    content = torch.load("agent.pt", weights_only=True)
    torch.save({**content, "learner": "nobody's"}, "agent.pt")
    status, said = said_by(capsys, *command, "agent.pt")
    assert status == 2 and "unknown learner" in said


# A family that has moved.


@commands
def test_a_family_that_has_moved_is_named_where_it_is(mine, capsys, command):
    shutil.move("own", "moved")
    _, said = said_by(capsys, *command, "run")
    assert f"no file {mine}" in said and "--family path/to/file.py:Mine" in said
    assert said_by(capsys, *command, "run", "--family", "moved/mine.py:Mine") == (0, "")
    if command is RESUME:  # it is remembered where it was trained on now
        assert said_by(capsys, *EVALUATE, "run") == (0, "")


@commands
def test_a_colleague_who_trusts_a_run_needs_nothing_but_its_folder(mine, here, capsys, command):
    shutil.rmtree("own")
    shutil.move("run", "got")
    (here / "home" / "trusted").unlink()
    assert said_by(capsys, *command, "got", "--family", "got/sources/mine.py:Mine") == (0, "")


def test_a_report_takes_a_family_for_each_class_and_refuses_one_that_no_run_has(mine, made, capsys):
    shutil.move("own", "moved")
    argv = [*REPORT, "run", str(made / "run"), "--family", "moved/mine.py:Mine"]
    assert said_by(capsys, *argv) == (0, "")
    status, said = said_by(capsys, *argv, "--family", "moved/mine.py:Other")
    assert status == 2 and "none of the runs is of a family Other; leave it out" in said


def test_a_new_run_takes_its_family_without_a_flag(mine, capsys):
    status, said = said_by(capsys, "train", "PointGoal", "--family", f"{mine}:Mine")
    assert status == 2 and "--family goes with --resume RUN" in said


# What has changed.

EDITS: dict[str, tuple[Callable[[Path], None], str]] = {
    "reward": (lambda own: edit(own / "mine.py", "-np.abs", "-2 * np.abs"), "mine.py"),
    "horizon": (lambda own: edit(own / "mine.py", "= 20", "= 10"), "mine.py, horizon 10 (was 20)"),
    "range": (
        lambda own: edit(own / "mine.py", "Uniform(-1, 1)", "Uniform(-2, 1)"),
        "mine.py, place =U(-2, 1) m (was =U(-1, 1) m)",
    ),
    "robot": (lambda own: edit(own / "robot" / "cart.xml", "0.1", "0.2"), "cart.xml, the robot"),
    "mesh": (
        lambda own: edit(own / "robot" / "parts" / "load.obj", "v 1 0 0", "v 2 0 0"),
        "load.obj, the robot",
    ),
}


def edit(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    os.utime(path, (0, 0))  # MuJoCo takes a mesh of the same second for the one that it has read


@pytest.mark.parametrize(
    ("what", "command"), [*((what, EVALUATE) for what in EDITS), *(("robot", c) for c in COMMANDS[1:])]
)
def test_what_has_changed_since_training_is_said_in_one_line(mine, capsys, command, what):
    change, words = EDITS[what]
    change(mine.parent)
    load_family(f"{mine}:Mine")  # so that it is trusted as it is now
    status, said = said_by(capsys, *command, "run")
    assert status == 0
    assert said == f"run: changed since training: {words}; numbers may be of another world than was learned\n"


def test_the_page_and_the_json_say_what_has_changed(mine):
    argv = [*EVALUATE, "run", "--family", f"{mine}:Mine", "--json", "result.json"]
    assert main(argv) == 0
    assert json.loads(Path("result.json").read_text())["changed"] == []
    assert main([*REPORT, "run"]) == 0 and "What has changed" not in Path("report.html").read_text()
    edit(mine, "= 20", "= 10")
    assert main(argv) == 0
    assert json.loads(Path("result.json").read_text())["changed"] == ["mine.py", "horizon 10 (was 20)"]
    assert main([*REPORT, "run"]) == 0
    assert "run: changed since training: mine.py, horizon 10 (was 20); " in Path("report.html").read_text()
    assert main([*REPORT, "result.json", "--family", f"{mine}:Mine"]) == 0
    page = Path("report.html").read_text()
    assert "result.json: changed since training: mine.py, horizon 10 (was 20); " in page
    assert "What is missing" not in page


def test_a_family_of_the_catalogue_that_has_changed_is_noticed(made, monkeypatch, capsys):
    shutil.copytree(made / "run", "run")
    assert said_by(capsys, *EVALUATE, "run") == (0, "")
    assert json.loads(Path("run/sources.json").read_text())["files"] == {}
    monkeypatch.setattr(PointGoal, "horizon", 30)
    assert "changed since training: horizon 30 (was 20); " in said_by(capsys, *EVALUATE, "run")[1]


@pytest.mark.parametrize(
    "change",
    [
        {"alone": True},
        {"each": True},
        {"mode": "set"},
        {"objects": ("pole",)},
        {"unit": "kg"},
        {"ood": Uniform(2, 3)},
    ],
)
def test_whatever_of_a_parameter_changes_is_noticed(change):
    param = Param("mass", "1", Uniform(0.5, 2), field="body_mass", mode="scale")
    assert sources._range(replace(param, **change)) != sources._range(param)


def test_a_run_that_goes_on_in_another_world_keeps_what_it_was_trained_on_before(mine, capsys):
    edit(mine, "= 20", "= 10")
    assert "horizon 10" in said_by(capsys, *RESUME, "run", "--family", f"{mine}:Mine")[1]
    before, now = Path(f"run/sources.until-{TINY_STEPS}"), Path("run/sources")
    assert "horizon = 20" in (before / "mine.py").read_text()
    assert "horizon = 10" in (now / "mine.py").read_text()
    assert json.loads(before.with_suffix(f".until-{TINY_STEPS}.json").read_text())["numbers"]["horizon"] == 20
    assert said_by(capsys, *EVALUATE, "run") == (0, "")


def test_a_run_that_goes_on_in_its_own_copy_of_the_family_keeps_it(mine, capsys):
    copy = Path("run/sources/mine.py")
    edit(copy, "= 20", "= 10")
    assert "horizon 10" in said_by(capsys, *RESUME, "run", "--family", f"{copy}:Mine")[1]
    assert "horizon = 10" in copy.read_text()
    assert len(json.loads(Path("run/sources.json").read_text())["files"]) == 4
    assert said_by(capsys, *EVALUATE, "run", "--family", f"{copy}:Mine") == (0, "")


def test_a_run_holds_its_familys_files_as_they_lie_and_their_hashes(mine):
    known = json.loads(Path("run/sources.json").read_text())["files"]
    names = ["mine.py", "robot/cart.xml", "robot/parts/load.obj", "robot/robot.xml"]
    assert [*known] == names
    copies = Path("run/sources")
    assert sorted(p.relative_to(copies).as_posix() for p in copies.rglob("*") if p.is_file()) == names
    for name in names:
        assert (copies / name).read_bytes() == (mine.parent / name).read_bytes()
        assert sources.sha256(copies / name) == known[name]


def test_files_that_are_large_are_hashed_and_not_copied(mine, monkeypatch, capsys):
    monkeypatch.setattr(sources, "LARGEST", 100)
    capsys.readouterr()
    train(f"{mine}:Mine", "--force")
    assert "hashed, not copied into " in capsys.readouterr().err
    assert not Path("run/sources").exists()
    assert len(json.loads(Path("run/sources.json").read_text())["files"]) == 4


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"files": 3}', '{"files": {}, "numbers": 3, "params": []}']
)
def test_sources_that_are_damaged_are_said_and_nothing_stops(made, capsys, text):
    shutil.copytree(made / "run", "run")
    Path("run/sources.json").write_text(text)
    for command in (EVALUATE, RESUME):
        status, said = said_by(capsys, *command, "run")
        assert status == 0 and said.count("\n") == 1
        assert "run/sources.json is damaged: whether the family has changed since is not known" in said


def test_a_memorys_run_keeps_its_sources_too(here, capsys):
    mine = write_family(here / "own")
    argv = ["train", f"{mine}:Mine", *SMALL_RECURRENT, "--steps", "240", "--out", "run"]
    assert main(argv) == 0
    edit(mine.parent / "robot" / "cart.xml", "0.1", "0.2")
    assert "cart.xml, the robot" in said_by(capsys, "evaluate", "run", "--columns", "1", "--episodes", "1")[1]


def test_a_run_folder_that_is_compared_says_what_it_knows(made):
    folder = RunFolder(made / "run")
    assert folder.changed is None
    folder.load("cpu", 1)
    assert folder.changed == []


def test_how_tasks_and_actions_are_met_is_part_of_what_a_run_was_trained_on(tmp_path):
    def family(action=None, **goal):
        params = (replace(PointGoal.params[0], **goal), *PointGoal.params[1:])
        return type("PointGoal", (PointGoal,), {"params": params, "action": action or PointGoal.action})()

    sources.write_sources(tmp_path, family())
    assert sources.changes(tmp_path, family()) == []
    assert sources.changes(tmp_path, family(told=True)) == ["goal_x is told (was hidden throughout)"]
    assert sources.changes(tmp_path, family(Increment(0.1))) == [
        "action Increment(scale=0.1, pose='home') (was Direct())"
    ]
    known = json.loads((tmp_path / "sources.json").read_text())
    del known["manner"]  # as of an earlier version, which did not look
    (tmp_path / "sources.json").write_text(json.dumps(known))
    assert sources.changes(tmp_path, family(told=True)) == []


def test_a_robot_is_the_same_wherever_its_files_lie(tmp_path):
    """Their paths take room in the compiled model, which is not counted."""
    triangle = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\nf 1 3 4\nf 2 3 4\n"
    xml = (
        '<mujoco><asset><mesh name="m" file="m.obj"/></asset><worldbody><body><freejoint/>'
        '<geom type="mesh" mesh="m"/></body></worldbody></mujoco>'
    )
    models = []
    for folder in (tmp_path, tmp_path / ("deeper" * 30)):
        folder.mkdir(exist_ok=True)
        (folder / "m.obj").write_text(triangle)
        (folder / "robot.xml").write_text(xml)
        models.append(mujoco.MjModel.from_xml_path(str(folder / "robot.xml")))
    families = [type("There", (PointGoal,), {"build_model": lambda _, m=m: m})() for m in models]
    sources.write_sources(tmp_path, families[0])
    assert models[0].nbuffer != models[1].nbuffer
    assert sources.changes(tmp_path, families[1]) == []
    models[1].geom_size[0, 0] += 1
    assert sources.changes(tmp_path, families[1]) == ["the robot"]
