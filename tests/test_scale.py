"""Sweeps; and the pages on clusters, GPUs and worlds of others, as far as they can be tried without those."""

import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tyro
from helpers import SMALL_MAML, TINY_STEPS

from metarl.cli import main
from metarl.cli.sweep import Sweep, parse_seeds
from metarl.cli.train import Train
from metarl.envs import InputError
from metarl.runs.logs import STEP, logged
from metarl.runs.run_folder import RunFolder

DOCS = Path(__file__).parents[1] / "docs"
PAGES = "".join((DOCS / name).read_text() for name in ("scale.md", "gpu.md", "worlds.md"))
SCRIPTS = re.findall(r"```sh\n(.*?)```", PAGES, re.DOTALL)
(YAML,) = re.findall(r"```yaml\n(.*?)```", PAGES, re.DOTALL)
SWEEP = ["sweep", "PointGoal", *SMALL_MAML, "--steps", str(2 * TINY_STEPS), "--processes", "2", "--out", "o"]


def wait_until(there: Callable[[], object]) -> None:
    until = time.monotonic() + 120
    while not there():
        assert time.monotonic() < until
        time.sleep(0.05)


def commands(script: str, kind: str) -> list[list[str]]:
    """What a script gives to `metarl`, with each of what its variables may hold."""
    text = script.replace("\\\n", " ")
    values = re.findall(r'what="(.*)"', text)
    found = re.findall(rf"metarl {kind} (.*)", text)
    lines = [line.replace("$what", value) for line in found for value in values or [""]]
    return [shlex.split(line.replace("$run", "/runs/x").partition("|")[0]) for line in lines]


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_on_the_page_are_shell(script, tmp_path):
    (tmp_path / "script").write_text(script)
    subprocess.run(["bash", "-n", str(tmp_path / "script")], check=True)


def test_the_manifest_on_the_page_is_one_of_a_job_whose_pods_find_each_other():
    yaml = pytest.importorskip("yaml")
    service, job = yaml.safe_load_all(YAML)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    name = job["metadata"]["name"]
    assert (service["kind"], job["kind"]) == ("Service", "Job")
    assert service["spec"]["selector"] == {"job-name": name}
    assert pod["subdomain"] == service["metadata"]["name"]
    assert f"--rdzv-endpoint {name}-0.{pod['subdomain']}:" in container["args"][0]
    assert f"--nnodes {job['spec']['completions']} " in container["args"][0]
    subprocess.run(["bash", "-n", "-c", container["args"][0]], check=True)


def test_the_page_s_commands_are_understood(tmp_path, monkeypatch):
    monkeypatch.setattr(RunFolder, "read_config", lambda self: type("Config", (), {"learner": "meta-lstm"}))
    given = [(Train, words) for script in [*SCRIPTS, YAML] for words in commands(script, "train")]
    given += [(Sweep, words) for script in SCRIPTS for words in commands(script, "sweep")]
    assert len(given) == 10
    for kind, words in given:
        assert tyro.cli(kind.taking(words), args=words)


def test_seeds_are_written_as_ranges_and_lists():
    assert parse_seeds("0:4") == [0, 1, 2, 3]
    assert parse_seeds(":2,7,5:7,7") == [0, 1, 7, 5, 6]
    for text in ("", "x", "3:1", "-1", "1.5", "0:1000000", "99999999999999999999", "1:"):
        with pytest.raises(InputError, match="--seeds"):
            parse_seeds(text)


@pytest.mark.slow
def test_a_sweep_trains_all_goes_on_with_what_was_interrupted_and_shows_the_table(
    tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    (seed0, seed1) = (Path("o") / f"PointGoal-maml-{k}" for k in range(2))
    half = ["--seed", "0", "--out", str(seed0), "--steps", str(TINY_STEPS)]
    assert main(["train", "PointGoal", *SMALL_MAML, *half]) == 0
    assert main([*SWEEP, "--seeds", "0:2"]) == 0
    said = capfd.readouterr().out
    for run in (seed0, seed1):
        assert RunFolder(run).load()[1].num_timesteps == 2 * TINY_STEPS
        assert str(run) in said
    assert main([*SWEEP, "--seeds", "0", "--hidden", "5"]) == 1  # is another experiment
    assert "--hidden is [4]" in capfd.readouterr().out


@pytest.mark.slow
def test_a_sweep_leaves_alone_what_has_reached_its_target(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    easy = [*SWEEP, "--seeds", "0", "--eval-every", str(TINY_STEPS), "--target", "-1000"]
    for _ in range(2):
        assert main(easy) == 0
        assert RunFolder("o/PointGoal-maml-0").load()[1].num_timesteps == TINY_STEPS
    said = capfd.readouterr().out
    assert "1 of 1 have reached the target already" in said
    assert "done" in said and "stopped" not in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--eval-every", "0"], "nobody is judged every 0 steps"),
        (["--steps", "nan"], "--steps nan is out of range"),
        (["--steps", "inf"], "--steps inf is out of range"),
        (["--steps", "-5"], "--steps -5 is out of range"),
        (["--submit-with", "timeout_min=600"], "--submit-with goes with --submit slurm"),
    ],
)
def test_a_sweep_that_nobody_can_ask_for_trains_nothing(tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    assert main([*SWEEP, "--seeds", "0", *words]) == 2
    assert says in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_a_sweep_does_not_go_on_with_the_run_of_another_family(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    own = "from metarl.envs.families.point import PointGoal\n\n\nclass Own(PointGoal):\n    n_test = {}\n"
    Path("mine.py").write_text(own.format(5))
    run = ["--out", "o/Own-maml-0", "--steps", str(TINY_STEPS)]
    assert main(["train", "mine.py:Own", *SMALL_MAML, *run]) == 0
    before = Path("o/Own-maml-0/config.json").read_text()
    Path("mine.py").write_text(own.format(6))
    capsys.readouterr()
    assert main([SWEEP[0], "mine.py:Own", *SWEEP[2:], "--seeds", "0"]) == 2
    assert "was trained on another mine.py:Own (mine.py, n_test 6 (was 5)): give" in capsys.readouterr().err
    assert Path("o/Own-maml-0/config.json").read_text() == before


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_trainings_of_a_sweep_end_with_it_however_that_ends(tmp_path, number):
    command = [sys.executable, "-m", "metarl", *SWEEP, "--seeds", "0", "--steps", "9e6"]
    sweep = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run = tmp_path / "o" / "PointGoal-maml-0"
    wait_until(lambda: logged(run, sys.maxsize, STEP)[0])
    for _ in range(2):  # the second one leaves no time to tell the trainings
        sweep.send_signal(number)
    assert sweep.wait(60)
    wait_until(lambda: not RunFolder(run).in_training)
    assert RunFolder(run).load()[1].iterations


@pytest.mark.slow
def test_a_sweep_goes_through_submitit(tmp_path, monkeypatch, capfd):
    pytest.importorskip("submitit")
    monkeypatch.chdir(tmp_path)
    assert main([*SWEEP, "--seeds", "3", "--submit", "local"]) == 0
    assert "PointGoal-maml-3" in capfd.readouterr().out
    assert main([*SWEEP, "--seeds", "3", "--submit", "local", "--submit-with", "timeout"]) == 2
    assert "write NAME=VALUE" in capfd.readouterr().err


def test_without_submitit_one_line_says_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "submitit", None)
    monkeypatch.delitem(sys.modules, "metarl.runs.submit", raising=False)
    assert main([*SWEEP, "--seeds", "0", "--submit", "slurm"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "metarl: this needs submitit: pip install 'metarl-robots[cluster]'"
    ]
    assert list(tmp_path.iterdir()) == []
