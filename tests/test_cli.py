"""The command line: what it writes, what its help says, and one line for whatever cannot be done."""

import csv
import json
import os
import pickle
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from pkgutil import resolve_name

import pytest
import torch
from helpers import SMALL_MAML, SMALL_MODEL, SMALL_RECURRENT, TINY_STEPS

from metarl import MAML, MAMLConfig, MetaLSTM, MetaLSTMConfig, MetaModelConfig
from metarl.cli.command_line import COMMANDS, main
from metarl.envs import FAMILIES, InputError
from metarl.evaluation.evaluate import evaluate
from metarl.files import check_writable
from metarl.learners import LEARNERS
from metarl.runs.run_folder import PREVIOUS, RunFolder

STEPS = ["--steps", str(TINY_STEPS)]
PNG = b"\x89PNG\r\n"


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A folder with run folders: not to be written to, see `runs`."""
    folder = tmp_path_factory.mktemp("made")
    for name, flags in {
        "run": ["PointGoal", *SMALL_MAML],
        "seed1": ["PointGoal", *SMALL_MAML, "--seed", "1"],
        "other_config": ["PointGoal", *SMALL_MAML, "--hidden", "5"],
        "other_family": ["SparsePointGoal", *SMALL_MAML],
        "recurrent": ["SparsePointGoal", *SMALL_RECURRENT],
        "gru": ["PointGoal", *SMALL_RECURRENT, "--core", "gru"],
    }.items():
        assert main(["train", *flags, *STEPS, "--out", str(folder / name)]) == 0
        (folder / name / PREVIOUS).unlink()  # so that there is nothing to fall back to
    return folder


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def refused(runs, capsys) -> Callable[..., str]:
    """Run a command that must be refused, with one line and without touching the disk; gives the line."""

    def run(*argv: str) -> str:
        before = files_in(runs)
        capsys.readouterr()
        assert main(argv) == 2
        out, err = capsys.readouterr()
        assert files_in(runs) == before
        assert out == ""
        assert err.startswith("metarl: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1
        return err

    return run


# What the commands do.


def test_families_are_listed_for_people_and_for_programs(capsys):
    assert main(["families"]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in FAMILIES)
    assert main(["families", "--json"]) == 0
    rows = {row["family"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == list(FAMILIES)
    assert rows["PointGoal"] | {"about": "", "relative_speed": 0} == {
        "family": "PointGoal",
        "about": "",
        "relative_speed": 0,
        "varies": ["goal_x =U(-1, 1) m", "goal_y =U(-1, 1) m"],
        "kinds": ["goal"],
        "obs_dim": 2,
        "action_dim": 2,
        "horizon": 20,
        "dt": 0.1,
        "success": False,
        "tasks": {"train": "fresh", "test": 20, "ood": 0},
    }
    assert all(row["about"] and row["relative_speed"] > 0 for row in rows.values())
    assert rows["HalfCheetahVel"]["relative_speed"] == rows["HalfCheetahDir"]["relative_speed"] == 1
    assert rows["ArmReach"]["success"] is True


def test_success_and_score_are_shown_where_they_are_known(runs, capsys, monkeypatch):
    plain = ["evaluate", str(runs / "run"), "--columns", "2", "--episodes", "1"]
    plain += ["--task", "goal_x=0.5", "goal_y=0.5"]  # of which no reference is known
    assert main(plain) == 0
    said = capsys.readouterr().out
    assert "success" not in said and "score" not in said

    def known(*args, **kwargs):
        result = evaluate(*args, **kwargs)
        return replace(result, success=[[0.25, 1.0]] * len(result.tasks), score=[0.125, 0.875])

    monkeypatch.setattr("metarl.cli.evaluate.evaluate", known)
    assert main(plain) == 0
    lines = capsys.readouterr().out.splitlines()
    head, *rows = (line.split() for line in lines if "%" in line or "score" in line)
    assert head[-2:] == ["success", "score"]
    assert [row[-3:] for row in rows] == [["25", "%", "0.12"], ["100", "%", "0.88"]]


def test_a_run_folder_holds_everything_about_the_run(runs):
    run = runs / "run"
    names = sorted(p.name for p in run.iterdir())
    events = [name for name in names if name.startswith("events.out.tfevents")]
    assert len(events) == 1
    assert sorted({*names} - {*events}) == [
        "best.pt",
        "checkpoint.pt",
        "config.json",
        "progress.csv",
        "sources.json",
        "tasks.json",
        "versions.json",
    ]
    asked = json.loads((run / "config.json").read_text())
    assert {k: asked[k] for k in ("family", "learner", "steps", "seed", "device", "n_threads")} == {
        "family": "PointGoal",
        "learner": "maml",
        "steps": TINY_STEPS,
        "seed": 0,
        "device": "cpu",
        "n_threads": 1,
    }
    assert list(asked["config"]) == [f.name for f in fields(MAMLConfig)]
    tasks = json.loads((run / "tasks.json").read_text())
    assert tasks["train"] is None  # drawn fresh
    assert tasks["ood"] is None
    assert tasks["test"] == [dict(t) for t in FAMILIES["PointGoal"]().tasks("test")]
    versions = json.loads((run / "versions.json").read_text())
    assert {"python", "platform", "metarl", "torch", "numpy", "mujoco", "gymnasium"} <= {*versions}
    with open(run / "progress.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["time/timesteps"]) == TINY_STEPS
    assert {"return/after_0", "return/after_1", "time/fps", "learn/gain"} <= {*row}


def test_the_checkpoint_of_a_run_is_an_agent(runs):
    agent = MAML.load(runs / "run")
    assert (agent.num_timesteps, agent.config.hidden) == (TINY_STEPS, (4,))


def test_a_recurrent_run_is_complete_too(runs):
    agent = MetaLSTM.load(runs / "recurrent")
    assert (agent.num_timesteps, agent.config.width) == (TINY_STEPS, 8)
    asked = json.loads((runs / "recurrent" / "config.json").read_text())
    assert asked["learner"] == "meta-lstm"
    assert list(asked["config"]) == [f.name for f in fields(MetaLSTMConfig)]
    with open(runs / "recurrent" / "progress.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert {"return/episode_1", "return/episode_3", "learn/kl", "learn/lr"} <= {*row}


def test_tensorboard_reads_what_was_logged(runs):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(runs / "run"))
    events.Reload()
    assert "return/after_1" in events.Tags()["scalars"]
    assert [e.step for e in events.Scalars("return/after_1")] == [TINY_STEPS]


def test_a_run_has_a_folder_by_default(runs):
    assert main(["train", "PointGoal", *SMALL_MAML, *STEPS, "--seed", "5"]) == 0
    assert (runs / "runs" / "PointGoal-maml-5" / "checkpoint.pt").is_file()


def test_steps_are_written_as_people_write_them(runs):
    assert main(["train", "PointGoal", *SMALL_MAML, "--steps", "3e2", "--out", "new"]) == 0
    assert json.loads((runs / "new" / "config.json").read_text())["steps"] == 300


def test_tables_show_every_iteration(runs, capsys):
    assert main(["train", "PointGoal", *SMALL_MAML, *STEPS, "--out", "new", "--tables"]) == 0
    assert "after_1" in capsys.readouterr().out


def test_evaluate_writes_one_object(runs, capsys):
    argv = ["evaluate", "run", "--columns", "3", "--episodes", "2", "--json", "out.json", "--n-threads", "1"]
    assert main(argv) == 0
    assert "gain" in capsys.readouterr().out
    result = json.loads((runs / "out.json").read_text())
    named = "family learner split tasks env_steps_used episodes_used returns mean iqm ci95 score"
    assert {*named.split()} <= {*result}
    assert (result["family"], result["learner"], result["split"]) == ("PointGoal", "maml", "test")
    assert len(result["tasks"]) == len(result["returns"]) == 20
    assert {*result["tasks"][0]} == {"goal_x", "goal_y"}
    assert result["episodes_used"] == [0, 2, 4]
    assert result["env_steps_used"] == [0, 40, 80]
    for name in ("mean", "iqm", "ci95", "score", "gain", "gain_ci95"):
        assert len(result[name]) == 3
    assert all(len(row) == 3 for row in result["returns"])
    assert main([*argv[:-4], "--json", "again.json"]) == 0
    assert (runs / "again.json").read_text() == (runs / "out.json").read_text()


def test_the_columns_of_a_recurrent_policy_are_the_episodes_of_a_trial(runs, capsys):
    assert main(["evaluate", "recurrent", "--json", "out.json"]) == 0
    assert "episodes used" in capsys.readouterr().out
    result = json.loads((runs / "out.json").read_text())
    assert (result["learner"], result["episodes_per_column"]) == ("meta-lstm", 10)
    assert result["episodes_used"] == [0, 1, 2]
    assert result["env_steps_used"] == [0, 20, 40]
    argv = ["evaluate", "recurrent", "--columns", "5", "--episodes", "2", "--json", "out.json"]
    assert main(argv) == 0
    assert json.loads((runs / "out.json").read_text())["episodes_used"] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("run", ["recurrent", "gru"])
def test_a_probe_draws_what_the_memory_holds(runs, run):
    flags = ["--columns", "1", "--episodes", "1", "--plot", "p.png", "--probe", "probe.png"]
    assert main(["evaluate", run, *flags]) == 0
    for name in ("p.png", "probe.png"):
        assert (runs / name).read_bytes().startswith(PNG)


def test_a_report_is_one_page_about_all_runs(runs, capsys):
    assert main(["report", "run", "seed1", "recurrent", "--out", "all.html", "--n-threads", "1"]) == 0
    assert "wrote all.html" in capsys.readouterr().out
    page = (runs / "all.html").read_text()
    assert "PointGoal" in page
    assert "SparsePointGoal" in page
    (runs / "gru" / "checkpoint.pt").unlink()
    assert main(["report", "gru"]) == 0
    assert "missing: gru: no checkpoint.pt" in capsys.readouterr().out
    assert (runs / "report.html").is_file()


def test_evaluate_takes_tasks_of_ones_own(runs):
    task = ["goal_x=0.5", "goal_y=-0.5"]
    argv = ["evaluate", "run", "--columns", "1", "--episodes", "1", "--json", "out.json"]
    for words, count in (
        (["--task", *task], 1),
        (["--task", *task, "goal_x=1", "goal_y=1"], 2),
        (["--task", *task, "--task", *task], 2),
    ):
        assert main([*argv, *words]) == 0
        result = json.loads((runs / "out.json").read_text())
        assert result["split"] == "given"
        assert result["tasks"][0] == {"goal_x": 0.5, "goal_y": -0.5}
        assert len(result["tasks"]) == count


def test_tasks_of_ones_own_are_listed_one_by_one_and_one_alone_has_no_interval(runs, capsys):
    argv = ["evaluate", "run", "--columns", "2", "--episodes", "2", "--task", "goal_x=0.5", "goal_y=-0.5"]
    assert main(argv) == 0
    alone = capsys.readouterr().out
    assert "1 task (given)" in alone and "[" not in alone and "IQM" not in alone
    assert main([*argv, "goal_x=1", "goal_y=1", "--json", "out.json"]) == 0
    said, result = capsys.readouterr().out, json.loads((runs / "out.json").read_text())
    for words, returns in zip(
        ("goal_x 0.5 m, goal_y -0.5 m", "goal_x 1 m, goal_y 1 m"), result["returns"], strict=True
    ):
        (row,) = (line for line in said.splitlines() if words in line)
        assert row.split()[-2:] == [f"{value:.1f}" for value in returns]
    assert "2 tasks (given)" in said and "[95 % CI]" in said


@pytest.mark.parametrize(
    ("run", "titles"),
    [
        ("run", ["before adaptation", "after 1 gradient step", "after 2 gradient steps"]),
        ("recurrent", ["episode 1", "episode 2", "episode 3"]),
    ],
)
def test_columns_are_called_what_they_are(runs, capsys, run, titles):
    assert main(["evaluate", run, "--columns", "3", "--episodes", "1"]) == 0
    rows = [line.strip() for line in capsys.readouterr().out.splitlines() if "[" in line]
    assert "over average" in rows[0] and [row.split("  ")[0] for row in rows[1:]] == titles


def test_fresh_training_tasks_can_be_evaluated_too(runs):
    argv = ["evaluate", "run", "--split", "train", "--columns", "1", "--episodes", "1", "--json", "out.json"]
    assert main(argv) == 0
    drawn = json.loads((runs / "out.json").read_text())["tasks"]
    assert len(drawn) == 20
    assert drawn != json.loads((runs / "run" / "tasks.json").read_text())["test"]


def test_a_policy_with_a_memory_can_draw_its_actions_and_the_record_says_so(runs):
    for run, sampled in (("gru", True), ("run", False)):
        for flags in ([], ["--sample"]):
            assert main(["evaluate", run, *flags, "--json", f"{run}{len(flags)}.json"]) == 0
        one, two = (json.loads(Path(f"{run}{k}.json").read_text()) for k in (0, 1))
        assert (one["returns"] != two["returns"]) == sampled == two["learner"].endswith(", sampled")


@pytest.mark.parametrize("run", ["run", "other_family"])  # of two parameters, and of one
def test_evaluate_draws_a_picture(runs, run):
    assert main(["evaluate", run, "--columns", "2", "--episodes", "1", "--plot", "p.png"]) == 0
    assert (runs / "p.png").read_bytes().startswith(PNG)


def test_evaluate_leaves_the_run_as_it_was(runs):
    before = files_in(runs)
    assert main(["evaluate", "run", "--columns", "2", "--episodes", "1"]) == 0
    assert files_in(runs) == before


@pytest.mark.parametrize("command", [*COMMANDS, "train --learner meta-lstm", "train --learner meta-model"])
def test_help_documents_every_flag(command, capsys):
    command, *learner = command.split()
    with pytest.raises(SystemExit) as stop:
        main([command, *learner, "--help"])
    assert stop.value.code == 0
    text = " ".join(re.sub("[│|─╭╮╰╯+]|-{3,}", " ", capsys.readouterr().out).split())
    text = text.replace("show this help message and exit", "")
    helps = dict(
        re.findall(r" --([a-z-]+)(?:, --no-[a-z-]+)?(?: [^a-z ]\S*| \{.*?\})* ([a-zA-Z0-9].*?) \(", text)
    )
    described = resolve_name(COMMANDS[command][0])
    wanted = {f.name.replace("_", "-") for f in fields(described)} - {"named", "run-folder", "runs", "folder"}
    if command in ("check", "demo", "sweep"):
        wanted.remove("family")
    if command in ("train", "sweep"):
        kind = LEARNERS[learner[-1] if learner else "maml"].config_class
        wanted |= {f.name.replace("_", "-") for f in fields(kind)}
    assert wanted <= {*helps}
    assert all(len(words.split()) > 1 for words in helps.values())


def test_python_m_metarl_is_metarl_and_warns_of_nothing():
    command = [sys.executable, "-W", "error", "-m", "metarl", "families", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)) == len(FAMILIES)
    assert done.stderr == ""


def test_bad_input_ends_the_process_with_status_2():
    command = [sys.executable, "-m", "metarl", "train", "PointGaol"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("metarl: unknown family 'PointGaol'; did you mean 'PointGoal'? Known: ")
    assert done.stderr.count("\n") == 1


def test_a_command_that_draws_nothing_does_not_wait_for_what_draws():
    modules = ", ".join(f"metarl.cli.{name}" for name in ("families", "check", "train", "evaluate"))
    code = f"import sys, {modules}; print(sys.modules.keys() & {{'matplotlib', 'viser', 'trimesh'}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# What they refuse.


def test_an_unknown_family_or_learner_is_answered_with_the_known_ones(refused):
    assert "did you mean 'HalfCheetahVel'? Known: PointGoal, " in refused("train", "HalfCheetahVle")
    assert "Known: maml, meta-lstm" in refused("train", "PointGoal", "--learner", "mamml")
    assert "Known: maml, meta-lstm" in refused("train", "PointGoal", "--learner=mamml")
    assert "nowhere.py; give your family as path/to/file.py:ClassName" in refused("train", "nowhere.py:Mine")
    assert "which family?" in refused("train")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["goal_x=0.5"], "needs goal_y"),
        (["goal_x=0.5", "goal_y=2"], "goal_y=2 is out of range: use U(-1, 1)"),
        (["goal_x=0.5", "goal_z=0"], "Known: goal_x, goal_y"),
        (["goal_x=0.5", "goal_y=high"], "goal_y='high' is not a number"),
        (["goal_x=0.5", "goal_y=nan"], "goal_y=nan is not finite"),
        (["goal_x=0.5", "goal_y=inf"], "not finite"),
        (["goal_x=0.5", "goal_y="], "is not a number"),
        (["goal_x=0.5", "goal_y=0.1,0.2"], "takes 1 number(s), not 2"),
        (["goal_x"], "write name=value"),
        (["goal_x=0.5,goal_y=0.1"], "write values apart, --task goal_x=0.5 goal_y=0.1"),
        (["goal_x=0.5", "goal_y=0", "goal_x=1"], "needs goal_y"),
    ],
)
def test_a_task_that_cannot_be_is_refused(refused, words, says):
    assert says in refused("evaluate", "run", "--task", *words)


CONFIG_FLAGS = {
    "--n-tasks": ["0", "-1", "1.5", "many"],
    "--n-episodes": ["0", "-1"],
    "--inner-lr": ["-0.1", "nan", "inf", "x"],
    "--inner-steps": ["0", "-1"],
    "--gamma": ["2", "-0.1", "nan"],
    "--gae-lambda": ["1.1", "-1", "nan"],
    "--hidden": ["0", "-4", "1000000000"],
    "--n-context": ["-1", "1.5"],
    "--told-in": ["words"],
    "--teacher": ["-0.1", "0.99"],
    "--teacher-kl": ["0", "nan"],
    "--imitate": ["1", "nan"],
    "--init-std": ["0", "-1", "nan"],
    "--min-std": ["0", "-1"],
    "--max-kl": ["0", "-1", "inf"],
    "--cg-iterations": ["0"],
    "--cg-damping": ["-1"],
    "--fisher-stride": ["0"],
    "--outer": ["sgd"],
    "--outer-lr": ["0", "-1e-3", "nan"],
    "--lr-schedule": ["never"],
    "--epochs": ["0"],
    "--minibatches": ["0"],
    "--clip": ["0", "-0.2"],
    "--inner-kl": ["-1", "nan"],
    "--max-grad-norm": ["0", "inf"],
    "--nominal": ["-0.1", "2"],
    "--widen": ["1.1", "nan"],
    "--seed": ["-1", "100000000000000000000", "1.5"],
    "--steps": ["0", "-5", "nan", "inf", "many"],
    "--n-threads": ["-1", "100000"],
    "--processes": ["0", "-1", "2000", "1.5"],
    "--device": ["foo", "tpu", "mps"],
}


@pytest.mark.parametrize("flag", CONFIG_FLAGS)
def test_a_setting_out_of_range_is_refused_by_its_flag(refused, flag):
    for value in CONFIG_FLAGS[flag]:
        said = refused("train", "PointGoal", *SMALL_MAML, *STEPS, "--out", "new", flag, value)
        assert flag.lstrip("-") in said
        assert value in said or f"{float(value):g}" in said


RECURRENT_FLAGS = {
    "--n-trials": ["0", "-1", "1.5"],
    "--n-episodes": ["0", "1001"],
    "--core": ["rnn"],
    "--told-in": ["words"],
    "--teacher-kl": ["0", "nan"],
    "--width": ["0", "5000"],
    "--hidden": ["0", "-4"],
    "--memory-span": ["life"],
    "--change-input": ["some"],
    "--init-std": ["0", "nan"],
    "--min-std": ["0", "-1"],
    "--final-std": ["-0.1", "nan", "11"],
    "--gamma": ["2", "nan"],
    "--gae-lambda": ["1.1", "-1"],
    "--lr": ["0", "nan", "-1e-3"],
    "--lr-schedule": ["step"],
    "--epochs": ["0"],
    "--minibatches": ["0"],
    "--piece": ["0"],
    "--critic": ["wise"],
    "--teacher": ["-0.1", "0.96"],
    "--imitate": ["-0.1", "1"],
    "--clip": ["0", "-0.2"],
    "--target-kl": ["0", "nan"],
    "--nominal": ["-0.1", "2"],
    "--widen": ["1.1", "nan"],
    "--entropy": ["-1", "inf"],
    "--value-weight": ["-1", "nan"],
    "--max-grad-norm": ["0", "inf"],
}


@pytest.mark.parametrize("flag", RECURRENT_FLAGS)
def test_a_recurrent_setting_out_of_range_is_refused_by_its_flag(refused, flag):
    for value in RECURRENT_FLAGS[flag]:
        said = refused("train", "PointGoal", *SMALL_RECURRENT, *STEPS, "--out", "new", flag, value)
        assert flag.lstrip("-") in said
        assert value in said or f"{float(value):g}" in said


MODEL_FLAGS = {
    "--adapt": ["magic"],
    "--act": ["nobody"],
    "--n-trials": ["0"],
    "--n-episodes": ["0"],
    "--window": ["0"],
    "--context": ["0"],
    "--hidden": ["0", "5000"],
    "--members": ["0", "65"],
    "--open-loop": ["0"],
    "--inner-lr": ["-0.1", "nan"],
    "--lr": ["0", "nan"],
    "--batch": ["0"],
    "--updates": ["0"],
    "--max-grad-norm": ["0", "inf"],
    "--nominal": ["-0.1", "2"],
    "--widen": ["1.1", "nan"],
    "--capacity": ["0"],
    "--warm-up": ["0"],
    "--candidates": ["1"],
    "--rounds": ["0"],
    "--plan": ["0"],
    "--elites": ["0", "37"],
    "--colour": ["-1", "nan"],
    "--refine": ["0"],
    "--refine-std": ["0", "nan"],
    "--plan-std": ["0"],
    "--gamma": ["1", "nan"],
    "--noise": ["-1"],
    "--replay": ["-1"],
    "--policy-batch": ["0"],
    "--n-step": ["0"],
    "--policy-lr": ["0"],
    "--critic-lr": ["0"],
    "--tau": ["0", "1.1", "nan"],
    "--policy-width": ["0", "5000"],
}


@pytest.mark.parametrize("flag", MODEL_FLAGS)
def test_a_setting_of_a_model_out_of_range_is_refused_by_its_flag(refused, flag):
    for value in MODEL_FLAGS[flag]:
        said = refused("train", "PointGoal", *SMALL_MODEL, *STEPS, "--out", "new", flag, value)
        assert flag.lstrip("-") in said
        assert value in said or f"{float(value):g}" in said


@pytest.mark.parametrize(
    ("config", "flags"),
    [(MAMLConfig, CONFIG_FLAGS), (MetaLSTMConfig, RECURRENT_FLAGS), (MetaModelConfig, MODEL_FLAGS)],
)
def test_every_setting_is_checked(config, flags):
    assert {f"--{f.name.replace('_', '-')}" for f in fields(config) if f.type is not bool} <= {*flags}


def test_settings_that_do_not_fit_each_other_are_refused(refused):
    argv = ["train", "PointGoal", *SMALL_RECURRENT, *STEPS, "--out", "new"]
    assert "--width 12 must be a multiple of 8" in refused(*argv, "--core", "transformer", "--width", "12")
    assert "use at least 240" in refused(*argv[:-2], "--out", "new", "--steps", "239")


def test_a_flag_of_another_learner_is_refused(refused):
    assert "--inner-lr" in refused("train", "PointGoal", *SMALL_RECURRENT, "--inner-lr", "1")
    assert "--n-trials" in refused("train", "PointGoal", *SMALL_MAML, "--n-trials", "4")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_cuda_is_refused(refused):
    said = refused("train", "PointGoal", *SMALL_MAML, *STEPS, "--device", "cuda")
    assert "there is no CUDA device here; use --device cpu" in said


WRITTEN = """
from metarl.envs import Param, TaskFamily, Uniform
from metarl.envs.families.point import PointGoal

class Crane(PointGoal):
    pass

class Forgot:
    pass

class Empty(TaskFamily):
    params = (Param("goal_x", "m", Uniform(-1, 1)),)
"""


@pytest.mark.parametrize(
    ("family", "says"),
    [
        ("crane.py", "write crane.py:Crane or crane.py:Empty"),
        ("crane:Crane", "'crane:Crane' names no class in a file; write crane.py:Crane"),
        ("./crane.py::Crane", "write crane.py:Crane"),
        ("Crane", "did you mean crane.py:Crane?"),
        ("crane.py:crane", "did you mean 'Crane'?"),
        ("crane.py:Forgot", "is no family: write class Forgot(TaskFamily)"),
        ("crane.py:Empty", "lacks mjcf, reward; a family states params, mjcf, reward"),
        ("upside.py:Crane", "Uniform(1, -1): the lower end comes first, Uniform(-1, 1) (line 5)"),
        ("nowhere.py", "no file nowhere.py"),
        ("x" * 10_000, "unknown family 'xxx"),
        ("x" * 10_000 + ".py:Crane", "give your family as path/to/file.py:ClassName"),
        ("pointgoal", "did you mean 'PointGoal'?"),
    ],
)
def test_a_family_that_is_not_there_as_it_was_said_is_answered_with_what_was_meant(
    refused, runs, family, says
):
    (runs / "crane.py").write_text(WRITTEN)
    (runs / "upside.py").write_text(WRITTEN.replace("    pass", "    x = Uniform(1, -1)", 1).lstrip("\n"))
    for command in ("train", "check"):
        assert says in refused(command, family)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("train PointGoal --steps 1M", "--steps 1M cannot be read: give a number, e.g. 0.5 or 2e6"),
        ("train PointGoal --steps=1e6.5", "--steps 1e6.5 cannot be read: give a number"),
        ("train PointGoal --seed 1.5", "--seed 1.5 cannot be read: give a whole number, e.g. 4"),
        ("train PointGoal --n_threads two", "--n-threads two cannot be read: give a whole number"),
        ("train PointGoal --hidden 64,64", "--hidden 64,64 cannot be read: give whole numbers with spaces"),
        ("train PointGoal --hidden 4 x --seed 1", "--hidden 4 x cannot be read: give whole numbers"),
        ("render run --size 480 x", "--size 480 x cannot be read: give whole numbers"),
        ("evaluate run --columns all", "--columns all cannot be read: give a whole number"),
        ("train PointGoal --outer sgd", "Expected one of ('trpo', 'ppo'); see metarl train --help"),
        ("trian PointGoal", "did you mean 'train'?"),
        ("train PointGoal --stpes 3", "Perhaps you meant: --steps"),
    ],
)
def test_a_word_that_cannot_be_read_is_answered_with_one_that_can(refused, words, says):
    assert says in refused(*words.split())


def test_every_file_that_is_written_is_announced(runs, capsys):
    flags = ["--columns", "1", "--episodes", "1", "--json", "a.json", "--plot", "a.png", "--probe", "b.png"]
    assert main(["evaluate", "gru", *flags]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-3:] == ["wrote a.json", "wrote a.png", "wrote b.png"]


def test_a_budget_below_one_iteration_is_refused(refused):
    said = refused("train", "PointGoal", *SMALL_MAML, "--steps", str(TINY_STEPS - 1), "--out", "new")
    assert f"use at least {TINY_STEPS}" in said


def test_words_that_no_command_knows_are_refused(refused):
    assert "--foo" in refused("train", "PointGoal", "--foo", "3")
    assert "--n-tasks" in refused("train", "PointGoal", "--n-taks", "3")
    assert "evaluate" in refused("evaluat", "run")
    assert "run folder" in refused("evaluate")
    assert "families" in refused()
    assert "'test', 'train', 'ood'" in refused("evaluate", "run", "--split", "tset")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--columns", "0"], "--columns 0"),
        (["--episodes", "0"], "--episodes 0"),
        (["--episodes", "-1"], "--episodes -1"),
        (["--seed", "-1"], "--seed -1"),
        (["--n-threads", "-1"], "--n-threads -1"),
        (["--split", "ood"], "defines no out-of-distribution tasks"),
        (["--json", "nowhere/out.json"], "there is no folder nowhere; make it"),
        (["--json", "run"], "run is a folder; give the path of a file"),
        (["--json", "pipe.json"], "pipe.json is a device or a pipe"),
        (["--plot", "nowhere/p.png"], "there is no folder nowhere; make it"),
        (["--plot", "picture.docx"], "use a name that ends in .png"),
        (["--plot", "picture"], "use a name that ends in .png"),
        (["--act", "both"], "--act says who acts by a meta-model, and this is a maml policy"),
        (["--probe", "picture.docx"], "--probe picture.docx: use a name that ends in .png"),
        (["--probe", "probe.png"], "--probe looks into a memory or a model, and a maml policy has none"),
    ],
)
def test_an_evaluation_that_cannot_be_is_refused_before_it_begins(refused, runs, flags, says):
    os.mkfifo(runs / "pipe.json")
    assert says in refused("evaluate", "run", *flags)


@pytest.mark.parametrize("path", ["/dev/null", "/dev/stdout"])
def test_a_device_is_not_replaced_by_a_file(path):  # asked only: root would do it
    with pytest.raises(InputError, match="is a device"):
        check_writable(Path(path))


@pytest.mark.parametrize("command", [["evaluate"], ["report"], ["train", "--resume"]])
def test_what_is_no_run_is_refused(refused, runs, command):
    (runs / "empty").mkdir()
    (runs / "notes").mkdir()
    (runs / "notes" / "a.txt").write_text("mine")
    assert "no folder nowhere" in refused(*command, "nowhere")
    assert "is not a run folder: it has no config.json" in refused(*command, "empty")
    assert "is not a run folder" in refused(*command, "notes")
    says = {"evaluate": "is not a readable checkpoint", "report": "holds no evaluations"}
    assert says.get(command[0], "run/config.json is a file; give a run folder") in refused(
        *command, "run/config.json"
    )
    if command != ["report"]:  # which shows the rest
        (runs / "run" / "checkpoint.pt").unlink()
        assert "no checkpoint run/checkpoint.pt" in refused(*command, "run")


class Bomb:
    """Unpickling it writes a file."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


def damages(good: bytes) -> dict[str, bytes]:
    content = torch.load(Path("run/checkpoint.pt"), weights_only=True)
    torch.save({**content, "state": Bomb()}, "bomb.pt")
    bomb = Path("bomb.pt").read_bytes()
    Path("bomb.pt").unlink()
    return {
        "truncated": good[: len(good) // 2],
        "truncated by little": good[:-20],
        "random": bytes(range(256)) * 20,
        "empty": b"",
        "text": b"hello\n",
        "a pickle that runs code": pickle.dumps(Bomb()),
        "a checkpoint that runs code": bomb,
    }


@pytest.mark.parametrize("command", [["evaluate"], ["train", "--resume"]])
def test_a_damaged_checkpoint_is_refused_and_runs_no_code(refused, runs, command):
    path = runs / "run" / "checkpoint.pt"
    for damaged in damages(path.read_bytes()).values():
        path.write_bytes(damaged)
        assert "run/checkpoint.pt is not a readable checkpoint" in refused(*command, "run")
        assert not (runs / "exploded").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "metarl-checkpoint-0"}, "in the format metarl-checkpoint-1"),
        ({"state": {}}, "damaged"),
        ({"state": 3}, "is not a checkpoint of metarl"),
        ({"state": {"learner": {}, "rng": "{}", "num_timesteps": 0, "iterations": 0}}, "damaged"),
        ({"config": 3}, "is not a checkpoint of metarl"),
        ({"learner": "other"}, "belongs to another run"),
        ({"learner": "meta-lstm", "config": asdict(MetaLSTMConfig())}, "belongs to another run"),
        ({"seed": 3}, "belongs to another run"),
        ({"family": "SparsePointGoal"}, "was trained on SparsePointGoal, not on PointGoal"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(refused, runs, change, says):
    path = runs / "run" / "checkpoint.pt"
    content = torch.load(path, weights_only=True)
    torch.save({**content, **change}, path)
    assert says in refused("evaluate", "run")


def test_a_checkpoint_of_anything_else_is_refused(refused, runs):
    torch.save({"weights": torch.zeros(3)}, runs / "run" / "checkpoint.pt")
    assert "is not a checkpoint of metarl" in refused("evaluate", "run")


@pytest.mark.parametrize("other", ["seed1", "other_config", "other_family"])
@pytest.mark.parametrize("command", [["evaluate"], ["train", "--resume"]])
def test_the_checkpoint_of_another_run_is_refused(refused, runs, other, command):
    shutil.copy(runs / other / "checkpoint.pt", runs / "run" / "checkpoint.pt")
    said = refused(*command, "run")
    assert "belongs to another run" in said or "was trained on SparsePointGoal, not on PointGoal" in said


def test_a_run_of_a_version_with_other_settings_is_refused_by_what_it_lacks(refused, runs):
    path = runs / "run" / "config.json"
    content = json.loads(path.read_text())
    del content["config"]["gamma"]
    path.write_text(json.dumps(content))
    said = refused("evaluate", "run")
    assert "run/config.json: the settings are of another version of metarl, without gamma; use that" in said
    content["config"] |= {"gamma": 0.99, "knob": 1}
    path.write_text(json.dumps(content))
    assert "of another version of metarl, with knob; use that one" in refused("evaluate", "run")
    del content["config"]["knob"]
    path.write_text(json.dumps({**content, "surprise": 1}))
    assert "of another version of metarl, with surprise; use that one" in refused("evaluate", "run")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:40],
        lambda text: "[1, 2]",
        lambda text: "null",
        lambda text: "{}",
        lambda text: "\x00\x01",
        lambda text: text.replace('"seed": 0', '"seed": "zero"'),
        lambda text: text.replace('"steps": 240', '"steps": null'),
        lambda text: text.replace('"steps": 240', '"steps": 1' + 400 * "0"),
        lambda text: text.replace('"steps": 240', '"steps": -1'),
        lambda text: text.replace('"learner": "maml"', '"learner": 3'),
        lambda text: text.replace('"learner": "maml"', '"learner": "mamml"'),
        lambda text: text.replace('"family": "PointGoal"', '"family": "PointGaol"'),
        lambda text: text.replace('"config": {', '"config": 3, "rest": {'),
        lambda text: text.replace('"gamma": 0.99', '"gamma": 99'),
        lambda text: text.replace('"gamma": 0.99', '"gamma": "high"'),
        lambda text: text.replace('"gamma": 0.99', '"gamme": 0.99'),
        lambda text: text.replace('"gamma": 0.99', '"gamma": 0.98'),
    ],
)
@pytest.mark.parametrize("command", [["evaluate"], ["train", "--resume"]])
def test_a_damaged_config_is_refused(refused, runs, damage, command):
    path = runs / "run" / "config.json"
    text = path.read_text()
    assert damage(text) != text
    path.write_text(damage(text))
    refused(*command, "run")


OBEYED = "a\x1b[2J\u202e[red]\n[/nothing]:smile:"  # by terminals, by rich


def test_what_stands_in_files_and_names_is_shown_and_not_obeyed(runs, capsys, monkeypatch):
    path = runs / "seed1" / "config.json"
    path.write_text(path.read_text().replace('"PointGoal"', json.dumps(OBEYED)))
    Path(OBEYED).parent.mkdir()  # a slash in a path ends what rich takes for a tag
    (runs / "run").rename(OBEYED)
    (runs / OBEYED / "versions.json").unlink()
    capsys.readouterr()
    assert main(["evaluate", "seed1"]) == 2
    assert main(["report", OBEYED, "seed1"]) == 0
    out, err = capsys.readouterr()
    assert all(line.isprintable() for line in (out + err).splitlines())
    shown = r"a\x1b[2J\u202e[red]\n[/nothing]:smile:"
    assert f"missing: {shown}: no versions.json\n" in out
    assert err.startswith("metarl: ") and shown in err
    page = (runs / "report.html").read_text()
    assert shown in page and not {"\x1b", "\u202e"} & {*page}
    monkeypatch.setenv("FORCE_COLOR", "1")  # a bar instead of lines
    assert main(["report", OBEYED]) == 0
    assert shown in capsys.readouterr().err


def test_names_in_a_table_are_names(runs, capsys):
    (runs / "mine.py").write_text(
        "from metarl.envs.families.point import PointGoal\n\n\n"
        "class Named(PointGoal):\n"
        "    def reward(self, r, action, task):\n"
        f"        return {{{OBEYED!r}: super().reward(r, action, task)['distance']}}\n"
    )
    capsys.readouterr()
    main(["check", "mine.py:Named"])
    out = capsys.readouterr().out
    assert r"a\x1b[2J\u202e[red]\n[/nothing]:smile:" in out and "\x1b" not in out


def test_a_folder_that_holds_a_run_is_replaced_only_by_force(refused, runs):
    argv = ["train", "PointGoal", *SMALL_MAML, *STEPS, "--seed", "9", "--out", "run"]
    assert "already holds a run: go on with --resume run, replace it with --force" in refused(*argv)
    (runs / "run" / "old").mkdir()
    assert main([*argv, "--force"]) == 0
    assert json.loads((runs / "run" / "config.json").read_text())["seed"] == 9
    assert not (runs / "run" / "old").exists()
    with open(runs / "run" / "progress.csv") as file:
        assert len(file.readlines()) == 2


def test_a_forced_run_that_cannot_be_leaves_the_old_one(refused):
    refused("train", "PointGoal", *SMALL_MAML, "--steps", "3", "--out", "run", "--force")
    refused("train", "PointGaol", *SMALL_MAML, *STEPS, "--out", "run", "--force")
    refused("train", "PointGoal", *SMALL_MAML, *STEPS, "--out", "run", "--force", "--gamma", "3")


@pytest.mark.parametrize("name", ["a.txt", "config.json"])
def test_a_folder_that_holds_other_files_is_refused_even_with_force(refused, runs, name):
    (runs / "mine").mkdir()
    (runs / "mine" / name).write_text('{"my": "file"}')
    argv = ["train", "PointGoal", *SMALL_MAML, *STEPS, "--out"]
    for force in ([], ["--force"]):
        assert "holds files that are not a run" in refused(*argv, "mine", *force)
        assert "is a file" in refused(*argv, f"mine/{name}", *force)
        refused(*argv, f"mine/{name}/run", *force)
    (runs / "empty").mkdir()
    assert main([*argv, "empty"]) == 0


@pytest.mark.parametrize(
    "flags", ["PointGoal", "--out new", "--force", "--seed 3", "--inner-lr 0.2", "--n-tasks 3"]
)
def test_a_run_is_resumed_with_its_own_settings(refused, flags):
    assert "--resume" in refused("train", "--resume", "run", *flags.split())


@pytest.mark.parametrize(
    ("run", "flags", "own"),
    [
        ("run", "--n-tasks 40", "--n-tasks is 2"),
        ("run", "--n-episodes=10", "--n-episodes is 3"),
        ("run", "--hidden 64 64", "--hidden is [4]"),
        ("run", "--learner meta-lstm", "--learner is maml"),
        ("seed1", "--seed 0", "--seed is 1"),
        ("recurrent", "--n-trials 64", "--n-trials is 4"),
        ("recurrent", "--learner maml", "--learner is meta-lstm"),
        ("run", "--no-learn-inner-lr", "--learn-inner-lr is True"),
    ],
)
def test_settings_that_are_not_the_runs_own_are_refused_also_where_they_are_the_defaults(
    refused, run, flags, own
):
    assert f"the run's own settings: {own}" in refused("train", "--resume", run, *flags.split())


def test_settings_that_are_the_runs_own_may_be_said_again(runs):
    for run, flags in (
        ("run", SMALL_MAML),
        ("recurrent", SMALL_RECURRENT),
        ("recurrent", SMALL_RECURRENT[2:]),
    ):
        again = ["train", "--resume", run, *flags, "--seed", "0", "--steps", "960"]
        assert main(again) == 0


def test_a_run_may_be_called_as_a_setting_is(runs):
    (runs / "recurrent").rename("width")
    assert main(["train", "--resume", "width", "--steps", "960"]) == 0


def test_of_a_run_that_is_finished_nothing_is_left_to_do(runs, capsys):
    before = (runs / "run" / "checkpoint.pt").read_bytes()
    assert main(["train", "--resume", "run"]) == 0
    said = capsys.readouterr().out
    assert f"nothing is left to do of {TINY_STEPS} steps; give more with --steps" in said
    assert (runs / "run" / "checkpoint.pt").read_bytes() == before


def test_a_run_cannot_be_resumed_to_fewer_steps(refused):
    assert "give more with --steps" in refused("train", "--resume", "run", "--steps", "100")


def test_a_resumed_run_may_have_other_threads(runs):
    assert main(["train", "--resume", "run", "--steps", str(2 * TINY_STEPS), "--n-threads", "2"]) == 0
    assert MAML.load("run").num_timesteps == 2 * TINY_STEPS


def test_a_run_cannot_be_resumed_where_its_device_is_not(refused, runs):
    path = runs / "run" / "config.json"
    path.write_text(path.read_text().replace('"cpu"', '"mps"'))
    assert "use cpu or cuda" in refused("train", "--resume", "run")
    assert main(["train", "--resume", "run", "--device", "cpu"]) == 0


def test_damaged_progress_is_no_reason_to_stop_and_is_kept(runs, capsys):
    path = runs / "run" / "progress.csv"
    path.write_bytes(damaged := b"\x00\xff,\n\x00,\n" * 3)
    assert main(["train", "--resume", "run", "--steps", str(2 * TINY_STEPS)]) == 0
    assert "5 of 5 rows cannot be read; kept as it was in progress.damaged.csv" in capsys.readouterr().err
    assert path.with_name("progress.damaged.csv").read_bytes() == damaged


def test_the_last_words_of_a_killed_training_are_no_damage(runs, capsys):
    path = runs / "run" / "progress.csv"
    path.write_text(path.read_text() + "1,2")
    assert main(["train", "--resume", "run", "--steps", str(2 * TINY_STEPS)]) == 0
    assert not capsys.readouterr().err and not path.with_name("progress.damaged.csv").exists()


def test_a_reader_who_has_seen_enough_is_no_mistake():
    command = f"{sys.executable} -m metarl check PointGoal | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 1 and not done.stderr


# Ctrl-C.


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen]]:
    """Begin a long training in another process, and wait until it has finished an iteration."""
    begun: list[subprocess.Popen] = []

    def begin(out: Path, *flags: str, family: str = "PointGoal", ignoring: bool = False) -> subprocess.Popen:
        command = [sys.executable, "-m", "metarl", "train", family, "--steps", "1e12", "--out", str(out)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignoring else signal.default_int_handler)
        try:
            begun.append(subprocess.Popen([*command, *flags], **pipes))
        finally:
            signal.signal(signal.SIGINT, before)
        wait_for(lambda: (out / "progress.csv").is_file() and (out / "progress.csv").stat().st_size > 0)
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def progress_of(run: Path) -> list[int]:
    with open(run / "progress.csv", newline="") as file:
        return [int(row["time/timesteps"]) for row in csv.DictReader(file)]


def test_ctrl_c_finishes_the_iteration_saves_and_can_be_gone_on_from(start, tmp_path):
    run = tmp_path / "run"
    process = start(run, *SMALL_MAML)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"interrupted; go on with: metarl train --resume {run}" in out
    assert "Traceback" not in err
    done = MAML.load(run).num_timesteps
    assert progress_of(run)[-1] == done
    assert f"{done} steps" in out
    assert main(["train", "--resume", str(run), "--steps", str(done + TINY_STEPS)]) == 0
    assert progress_of(run) == list(range(TINY_STEPS, done + TINY_STEPS + 1, TINY_STEPS))


SLOW = """
import time

from metarl.envs.families.point import PointGoal


class Slow(PointGoal):
    "A point that takes its time: an iteration of forty steps takes six seconds."

    def observe(self, r):
        time.sleep(0.15)
        return super().observe(r)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("output", ["closed", "full", "gone"])
def test_asked_to_stop_a_training_saves_although_nobody_hears_it(tmp_path, how, output):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "metarl", "train", "PointGoal", *SMALL_MAML, "--steps", "1e12"]
    command += ["--tables", "--out", str(run)]
    ends = {"closed": ">&- 2>&-", "full": "> /dev/full 2>&1", "gone": "2>&1 | true"}
    told = f"{shlex.join(command)} {ends[output]}"
    script = told if output == "gone" else f"exec {told}"
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # where the tests run under nohup, it is ignored
    try:
        process = subprocess.Popen(["bash", "-c", script], start_new_session=True)
    finally:
        signal.signal(signal.SIGHUP, before)
    try:
        wait_for(lambda: (run / "progress.csv").is_file() and len(progress_of(run)) > 2)
        os.killpg(process.pid, how)
        process.wait(timeout=60)
        wait_for(lambda: not alive(run))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert MAML.load(run).num_timesteps == progress_of(run)[-1] > 2 * TINY_STEPS
    assert output == "gone" or process.returncode == 130
    assert not [p for p in run.iterdir() if p.name.startswith(".")]


def test_a_training_that_nohup_protects_goes_on_when_the_terminal_is_gone(tmp_path):
    run = tmp_path / "run"
    words = ["nohup", sys.executable, "-m", "metarl", "train", "PointGoal", *SMALL_MAML, "--steps", "1e12"]
    process = subprocess.Popen(
        [*words, "--out", str(run)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: (run / "progress.csv").is_file() and len(progress_of(run)) > 2)
        process.send_signal(signal.SIGHUP)
        done = progress_of(run)[-1]
        wait_for(lambda: progress_of(run)[-1] > done + 10 * TINY_STEPS)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def alive(run: Path) -> bool:
    """Whether a training is at work in a run folder."""
    try:
        with RunFolder(run).locked():
            return False
    except InputError:
        return True


@pytest.mark.slow
@pytest.mark.parametrize("ignoring", [False, True])  # as the background jobs of a shell do
def test_a_second_ctrl_c_stops_at_once_and_leaves_the_last_checkpoint(start, tmp_path, ignoring):
    run, slow = tmp_path / "run", tmp_path / "slow.py"
    slow.write_text(SLOW)  # so that the second signal comes within the iteration that the first lets finish
    process = start(run, *SMALL_MAML, family=f"{slow}:Slow", ignoring=ignoring)
    time.sleep(0.1)
    kept = (run / "checkpoint.pt").read_bytes()
    process.send_signal(signal.SIGINT)
    while "stopping after this iteration" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out.count("\n") == 1 and "steps" in out  # what was going to be done
    assert "Traceback" not in err
    assert (run / "checkpoint.pt").read_bytes() == kept
    assert not [p for p in run.iterdir() if p.name.startswith(".")]
    MAML.load(run)
