"""Every command and every piece of Python in the README runs."""

import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from metarl.cli.command_line import main
from metarl.envs import FAMILIES

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", README.read_text(), re.DOTALL)
PYTHON = [code for kind, code in BLOCKS if kind == "python"]
COMMANDS = [
    shlex.split(line, comments=True)
    for kind, code in BLOCKS
    if kind == "bash"
    for line in code.splitlines()
    if line.startswith("metarl ")
]
CATALOGUE = README.read_text().partition("## The families")[2].partition("\n## ")[0]
POLE = """
<mujoco>
  <worldbody>
    <body name="cart">
      <joint name="x" type="slide" axis="1 0 0" damping="1"/>
      <geom type="box" size=".1 .1 .05" mass="1"/>
      <body name="pole">
        <joint name="hinge" axis="0 1 0" damping=".1"/>
        <geom type="capsule" fromto="0 0 0 0 0 .5" size=".02" mass=".2"/>
      </body>
    </body>
  </worldbody>
  <actuator><motor joint="x" gear="20" ctrllimited="true" ctrlrange="-1 1"/></actuator>
</mujoco>
"""
SHORT = {"8e6": "160000", "16e6": "320000", "2e6": "80000", "10e6": "25600"}  # one iteration each


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory that holds what the README tells the reader to write."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "pole.xml").write_text(POLE)
    (robot,) = (code for code in PYTHON if code.startswith("# my_robot.py"))
    (folder / "my_robot.py").write_text(robot)
    return folder


@pytest.mark.slow
def test_every_command_in_the_readme_runs(folder: Path, monkeypatch: pytest.MonkeyPatch, gl: None) -> None:
    monkeypatch.chdir(folder)
    assert len(COMMANDS) >= 8
    for _, *arguments in COMMANDS:
        if "--live" in arguments:  # it goes on until somebody closes it
            continue
        words = pairwise(["", *arguments])
        short = [SHORT[word] if before == "--steps" else word for before, word in words]
        assert main(short) == 0, arguments


@pytest.mark.slow
@pytest.mark.parametrize("code", [c for c in PYTHON if "my_robot" not in c], ids=lambda c: c.split("\n")[2])
def test_every_piece_of_python_in_the_readme_runs(code: str, folder: Path) -> None:
    if not (folder / "runs" / "vel").exists():
        pytest.skip("needs the run that the commands make")
    code = code.replace("2_000_000", "160_000").replace("progress_bar=True", "progress_bar=False")
    code = re.sub(r', render_mode="rgb_array"|^frame = .*$', "", code, flags=re.MULTILINE)  # needs no GL
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=folder, check=True, timeout=300)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_catalogue_in_the_readme_tells_every_family_and_how_many_tasks_are_held_out(name: str) -> None:
    (row,) = (line for line in CATALOGUE.splitlines() if line.startswith(f"| {name} |"))
    held_out = row.split("|")[-2].strip().replace("the same two", "2")
    numbers = [int(n) for n in re.findall(r"(?:^|, (?:and )?)(\d+)(?=$|,| \w)", held_out)]
    family = FAMILIES[name]()
    assert numbers[0] == family.n_test
    assert numbers[1:] == ([family.n_ood] if family.has_ood else [])
