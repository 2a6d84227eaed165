"""The tutorial does what it says: a robot that is not in the catalogue, from its MJCF to a clip."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from metarl import MetaLSTM, evaluate
from metarl.cli import main
from metarl.render.live_page import FRONT

ort = pytest.importorskip("onnxruntime", reason="no onnxruntime here: pip install '.[export]'")
pytest.importorskip("onnxscript", reason="no onnxscript here: pip install '.[export]'")

TUTORIAL = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text()
FILES = re.findall(r"```\w+\n(?:<!-- |# )(crane\.\w+)(?: -->)?\n(.*?)```", TUTORIAL, re.DOTALL)
COMMANDS = re.findall(r"^metarl .*$", TUTORIAL, re.MULTILINE)
(USE,) = re.findall(r"```python\n(import .*?)```", TUTORIAL, re.DOTALL)

pytestmark = pytest.mark.xdist_group("tutorial")  # the clip is of the run that the commands make


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's folder, with the two files."""
    folder = tmp_path_factory.mktemp("reader")
    for name, text in FILES:
        (folder / name).write_text(text)
    return folder


def test_the_reader_writes_sixty_lines_at_most(folder):
    assert len((folder / "crane.py").read_text().splitlines()) <= 60
    assert (folder / "crane.xml").is_file() and len(FILES) == 2


@pytest.mark.slow
def test_every_command_works_and_the_policy_adapts_to_what_it_has_never_seen(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    for command in COMMANDS:
        _, *words = shlex.split(command)
        if words[0] != "render":
            assert main(words) == 0, command
    said = capsys.readouterr().out
    assert "Crane: nothing wrong" in said and "wrote report.html" in said
    about = ort.InferenceSession("crane.onnx").get_modelmeta().custom_metadata_map
    shown = {"actuator_names": ["drive"], "action_scale": [1.0], "control_dt": 0.05}
    assert {name: json.loads(about[name]) for name in shown} == shown
    agent = MetaLSTM.load("runs/crane")
    result = evaluate(agent.adapter(), agent.family, agent.family.tasks("test"), 2, 10)
    assert result.gain_ci95[1][0] > 5 and result.mean[1] > 25  # 15.0 and 36.4; untrained: -28
    subprocess.run([sys.executable, "-W", "error", "-c", USE], check=True, timeout=120)


@pytest.mark.slow
def test_the_clip_can_be_drawn(folder, monkeypatch, gl):
    monkeypatch.chdir(folder)
    if not Path("runs/crane").exists():
        pytest.skip("needs the run that the other commands make")
    (command,) = (c for c in COMMANDS if " render " in c and "live.html" not in c)
    assert main(shlex.split(command)[1:]) == 0
    assert Path("clip.mp4").stat().st_size > 10_000 and Path("replay.html").stat().st_size > 100_000


@pytest.mark.slow
def test_the_crane_gets_a_page_of_its_own(folder, monkeypatch):
    if not FRONT.is_file():
        pytest.skip("scripts/build_page builds what this looks at")
    monkeypatch.chdir(folder)
    if not Path("runs/crane").exists():
        pytest.skip("needs the run that the other commands make")
    (command,) = (c for c in COMMANDS if "live.html" in c)
    assert main(shlex.split(command)[1:]) == 0
    assert Path("live.html").stat().st_size > 5_000_000


def test_a_name_that_is_wrong_is_said_as_the_tutorial_says(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    Path("wrong.py").write_text(Path("crane.py").read_text().replace('("load",)', '("laod",)'))
    assert main(["check", "wrong.py:Crane"]) == 2
    (shown,) = re.findall(r"^      weight: unknown body .*$", TUTORIAL, re.MULTILINE)
    assert shown in capsys.readouterr().out
