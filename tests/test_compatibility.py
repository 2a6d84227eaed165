"""What version 0.1.0 has written still works, to the last digit that a processor keeps."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from metarl import MAML, MetaLSTM
from metarl.cli import main

RUNS = Path(__file__).with_name("data") / "runs-0.1"


@pytest.fixture(params=["maml", "meta-lstm"])
def run(request, tmp_path) -> Path:
    """A copy of a run folder of version 0.1.0: seed 3, 480 steps, and an evaluation of `--episodes 2`."""
    return Path(shutil.copytree(RUNS / request.param, tmp_path / request.param))


def test_an_evaluation_of_it_gives_the_same_returns(run):
    before = json.loads((run / "evaluation.json").read_text())
    assert main(["evaluate", str(run), "--episodes", "2", "--json", str(run / "now.json")]) == 0
    now = json.loads((run / "now.json").read_text())
    assert {k: v for k, v in now.items() if not isinstance(v, list)} == {
        k: v for k, v in before.items() if not isinstance(v, list)
    }
    assert now["tasks"] == before["tasks"]
    # Gradient steps beyond those of training are shorter since: the column after the first of them differs.
    kept = {"maml": 2, "meta-lstm": None}[now["learner"]]
    found, known = (np.array(x["episode_returns"])[:, :kept] for x in (now, before))
    np.testing.assert_allclose(found, known, atol=1e-3)


def test_training_goes_on_from_it(run):
    assert main(["train", "--resume", str(run), "--steps", "960"]) == 0
    now, before = (
        list(csv.DictReader((folder / "progress.csv").read_text().splitlines()))
        for folder in (run, RUNS / run.name)
    )
    assert len(now) == 960 // 240
    assert {k: v for k, v in now[0].items() if v} == {k: v for k, v in before[0].items() if v}


def test_an_agent_is_loaded_from_its_checkpoint(run):
    agent = {"maml": MAML, "meta-lstm": MetaLSTM}[run.name].load(run / "checkpoint.pt")
    action, _ = agent.predict(np.zeros(agent.family.obs_dim))
    assert action.shape == (2,) and np.isfinite(action).all()


def test_a_report_is_written_of_it(run):
    assert main(["report", str(run), "--out", str(run / "page.html")]) == 0
    assert "0.1.0" in (run / "page.html").read_text()


def test_a_family_of_somebodys_own_is_told_where_the_world_is_now(tmp_path):
    (tmp_path / "mine.py").write_text("from envs import TaskFamily\n")
    command = [sys.executable, "-m", "metarl", "check", "mine.py:Mine"]  # elsewhere than in the checkout
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "(line 1); the world is imported as metarl.envs" in done.stderr
