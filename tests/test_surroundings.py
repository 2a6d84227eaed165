"""Whatever is around: a full disk, a folder that is gone, nobody's rights, a terminal that can do little."""

import os
import resource
import subprocess
import sys
import time

import pytest
from helpers import SMALL_COMMANDS, SMALL_MAML, TINY, TINY_STEPS, saving_often

from metarl import MAML
from metarl.cli import main
from metarl.envs import InputError
from metarl.runs.run_folder import RunFolder
from metarl.runs.train import go_on


@pytest.mark.slow
@pytest.mark.parametrize("learner", SMALL_COMMANDS)
@pytest.mark.parametrize("room", [False, True])  # for a few checkpoints more
def test_a_disk_that_is_full_ends_training_in_one_line_with_a_checkpoint_to_go_on_from(
    tmp_path, learner, room
):
    run = tmp_path / "run"
    assert main(["train", "PointGoal", *SMALL_COMMANDS[learner], "--steps", "480", "--out", str(run)]) == 0
    steps = RunFolder(run).load()[1].num_timesteps
    grows = 60_000 if learner == "meta-model" else 2_000  # the one that keeps what it has seen
    size = (run / "checkpoint.pt").stat().st_size + grows if room else 4_000
    full = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {resource.RLIM_INFINITY})); "
    command = saving_often("train", "--resume", str(run), "--steps", "9e6", before=full)
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    *progress, said = ended.stderr.splitlines()
    assert said.startswith("metarl: cannot ") and all(line.startswith("meta-training") for line in progress)
    assert not room or "go on from the last checkpoint" in ended.stderr
    again = RunFolder(run).load()[1].num_timesteps
    assert again > steps if room else again == steps
    assert main(["train", "--resume", str(run), "--steps", str(again + 480)]) == 0


def test_a_folder_that_vanishes_ends_training_in_one_line(tmp_path):
    run = tmp_path / "run"
    command = saving_often("train", "PointGoal", *SMALL_MAML, "--steps", "9e6", "--out", str(run))
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (run / "progress.csv").exists() or not (run / "progress.csv").stat().st_size:
        time.sleep(0.02)
    run.rename(tmp_path / "gone")  # at once, where a removal races with what is being written
    error = child.communicate(timeout=60)[1]
    assert child.returncode == 2
    assert error.startswith("metarl: cannot ") and error.count("\n") == 1


def test_a_folder_that_vanishes_before_the_first_row_is_told_too(tmp_path):
    agent = MAML("PointGoal", TINY)
    with pytest.raises(InputError, match="cannot write to"):
        go_on(agent, RunFolder(tmp_path / "gone"), TINY_STEPS)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may do nothing")
def test_who_may_not_write_or_read_is_told_so(tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", "PointGoal", *SMALL_MAML, "--steps", "240", "--out", str(run)]) == 0
    pytest.importorskip("matplotlib.pyplot")  # which looks for its settings at home, where nobody may not
    capsys.readouterr()
    os.seteuid(65534)
    try:
        for words in (
            ["train", "PointGoal", *SMALL_MAML, "--out", str(tmp_path / "other")],
            ["train", "--resume", str(run)],
            ["evaluate", str(run)],
            ["report", str(run), "--out", str(tmp_path / "page.html")],
        ):
            assert main(words) == 2, words
            said = capsys.readouterr().err
            assert said.count("\n") == 1 and "ermission" in said
    finally:
        os.seteuid(0)


POOR = {"COLUMNS": "20", "LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.slow
def test_a_narrow_terminal_that_knows_ascii_only_shows_every_number(tmp_path):
    run = tmp_path / "run"
    for words, shown in (
        (["train", "PointGoal", *SMALL_MAML, "--steps", "240", "--out", str(run)], "next: metarl evaluate"),
        (["evaluate", str(run)], "gradient steps"),
        (["check", "PointGoal"], "reward terms a step"),
    ):
        command = [sys.executable, "-m", "metarl", *words]
        ended = subprocess.run(command, capture_output=True, env={**os.environ, **POOR}, timeout=120)
        assert ended.returncode == 0, ended.stderr
        assert shown in ended.stdout.decode("ascii")
