"""The package: what is installed is whole, and lives beside whatever else a project holds."""

import json
import os
import pydoc
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import fields
from pathlib import Path

import pytest

from metarl.envs import FAMILIES
from metarl.extras import cure
from metarl.learners import LEARNERS

ROOT = Path(__file__).parents[1]
BUILD = "from setuptools.build_meta import {0}; print({0}('.'))"
USE = "from metarl import MAML; import metarl.envs, metarl, envs.mine; "
TELL = "print(metarl.__file__, metarl.envs.BatchSim.__module__, envs.mine.SECRET)"


def build(what: str, folder: Path) -> Path:
    """The archive that the build backend makes of a folder."""
    command = [sys.executable, "-W", "ignore", "-c", BUILD.format(what)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return folder / done.stdout.split()[-1]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """A wheel of the source archive of this checkout, with a reference, and a page built, in addition."""
    pytest.importorskip("setuptools", "77")
    folder = tmp_path_factory.mktemp("wheel")
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    for name in ("envs", "metarl"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, checkout / name, symlinks=True, ignore=ignored)
    (checkout / "envs" / "references").mkdir(exist_ok=True)
    (checkout / "envs" / "references" / "Made.json").write_text("{}")
    (checkout / "metarl" / "render" / "live.html").write_text("built")
    with tarfile.open(build("build_sdist", checkout / ".")) as file:
        file.extractall(folder, filter="data")
    (source,) = folder.glob("metarl_robots-*")
    return build("build_wheel", source)


@pytest.fixture(scope="session")
def inside(wheel) -> set[str]:
    """The files in the wheel."""
    with zipfile.ZipFile(wheel) as file:
        return {*file.namelist()}


def test_a_wheel_holds_the_references(inside):
    kept = {path.relative_to(ROOT).as_posix() for path in (ROOT / "envs" / "references").glob("*.json")}
    assert {f"metarl/{name}" for name in ("envs/references/Made.json", *kept)} <= inside


def test_a_wheel_holds_what_live_pages_have_in_common_where_that_was_built(inside):
    assert "metarl/render/live.html" in inside
    assert not [name for name in inside if "node_modules" in name]


def test_a_wheel_holds_every_module_and_nothing_beside_metarl(inside):
    ours = [path for name in ("envs", "metarl") for path in (ROOT / name).rglob("*.py*")]
    names = {path.relative_to(ROOT).as_posix() for path in ours if path.suffix in (".py", ".pyi")}
    names |= {"metarl/py.typed"}
    assert {name if name.startswith("metarl/") else f"metarl/{name}" for name in names} <= inside
    assert {name.split("/")[0] for name in inside if ".dist-info/" not in name} == {"metarl"}


@pytest.fixture(scope="session")
def clean(wheel, tmp_path_factory) -> Path:
    """The programs of an environment in which the wheel is installed, and of this one what it needs."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--no-deps"]
    subprocess.run([*pip, "--no-index", "--quiet", wheel], check=True, capture_output=True)
    (site / "needed.pth").write_text(sysconfig.get_path("purelib"))  # but not what is editable there
    return folder / "bin"


@pytest.fixture(params=["a package", "a folder"])
def project(request, tmp_path, monkeypatch) -> Path:
    """Somebody's project with a folder `envs` of its own, where they work."""
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "mine.py").write_text("SECRET = 42\n")
    if request.param == "a package":
        (tmp_path / "envs" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    return tmp_path


def said(*command: object) -> str:
    """What a command prints, if all is well."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_python_finds_metarl_and_the_projects_own_envs(clean, project):
    place, module, secret = said(clean / "python", "-c", USE + TELL).split()
    assert Path(place).is_relative_to(clean.parent)
    assert (module, secret) == ("metarl.envs.batch_sim", "42")


def test_the_command_line_works_beside_the_projects_own_envs(clean, project):
    for command in ([clean / "metarl"], [clean / "python", "-m", "metarl"]):
        assert "PointGoal: nothing wrong" in said(*command, "check", "PointGoal")


def test_pytest_finds_metarl_and_the_projects_own_envs(clean, project):
    law = (
        "from envs.mine import SECRET\nfrom metarl import MAML\n\ndef test_it():\n    assert SECRET and MAML"
    )
    (project / "test_mine.py").write_text(law)
    assert "1 passed" in said(clean / "python", "-m", "pytest", "-q")


def test_gymnasium_makes_our_families_beside_the_projects_own_envs(clean, project):
    code = "import gymnasium, envs.mine; env = gymnasium.make('metarl.envs:metarl/HalfCheetahVel-v0'); "
    code += "print(env.reset(seed=0)[0].shape, envs.mine.SECRET)"
    assert said(clean / "python", "-c", code) == "(17,) 42\n"


def test_the_version_is_that_of_the_package(clean, wheel):
    version = wheel.name.split("-")[1]
    assert said(clean / "metarl", "--version") == f"metarl {version}\n"


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["trian"]])
def test_what_needs_no_learner_waits_for_none(words):
    code = "import sys; from metarl.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n"
    code += "print(sys.modules.keys() & {'torch', 'mujoco', 'gymnasium', 'numpy'})"
    assert said(sys.executable, "-c", code, *words).endswith("set()\n")


def test_importing_metarl_imports_torch_when_it_is_first_needed():
    code = "import sys, metarl; print('torch' in sys.modules, metarl.MAML.name, 'torch' in sys.modules)"
    assert said(sys.executable, "-c", code) == "False maml True\n"


@pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)
def test_help_on_a_learners_settings_shows_every_field(learner):
    text = pydoc.render_doc(learner.config_class, renderer=pydoc.plaintext)
    for field in fields(learner.config_class):
        assert re.search(rf"^ \|      {field.name}: \w+", text, re.MULTILINE), field.name


def test_a_module_that_no_extra_brings_is_no_bad_input():
    with pytest.raises(ModuleNotFoundError, match="nothing_of_ours"):
        cure(ModuleNotFoundError("No module named 'nothing_of_ours'", name="nothing_of_ours"), "render")


ABSENT = """
import sys
for name in {names}: sys.modules[name] = None
from metarl.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("module", "words", "extra"),
    [
        ("matplotlib", ["report", "RUN", "--out", "page.html"], "plots"),
        ("matplotlib", ["evaluate", "RUN", "--plot", "picture.png", "--json", "out.json"], "plots"),
        ("matplotlib", ["render", "RUN"], "render"),
        ("PIL", ["render", "RUN"], "render"),
        ("onnxscript", ["export", "RUN"], "export"),
        ("onnxruntime", ["export", "RUN"], "export"),
        ("gymnasium_robotics", ["train", "ArmPush", "--out", "new"], "robots"),
    ],
)
def test_what_is_not_installed_is_said_in_one_line_before_anything_is_done(
    module, words, extra, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run = ROOT / "tests" / "data" / "runs-0.1" / "maml"
    code = ABSENT.format(names=[module])
    command = [sys.executable, "-c", code, *(str(run) if word == "RUN" else word for word in words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and f"pip install 'metarl-robots[{extra}]'" in done.stderr
    assert os.listdir(tmp_path) == []


def test_families_whose_robot_is_not_installed_are_left_out_in_words():
    code = ABSENT.format(names=["gymnasium_robotics"])
    done = subprocess.run(
        [sys.executable, "-c", code, "families", "--json"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0
    assert {row["family"] for row in json.loads(done.stdout)} == {n for n in FAMILIES if "Arm" not in n}
    assert done.stderr.startswith("not listed: ArmReach, ArmPush, ArmPushRandParams: the arm's files come ")
    assert done.stderr.count("\n") == 1
