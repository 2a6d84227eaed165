"""The box: trained policies that come with metarl, and what commands make of them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import results
from helpers import are_held_out

from metarl import MAML, MetaLSTM, MetaModel, evaluate
from metarl.box import FOLDER, contents, unboxed
from metarl.cli import main
from metarl.envs import FAMILIES, InputError
from metarl.runs.run_folder import RunFolder, load_agent
from metarl.versions import versions

MADE = {name: json.loads((FOLDER / name / "made.json").read_text()) for name in contents()}


def logs(name: str) -> list[dict[str, str]]:
    """The curve of a policy of the box."""
    return list(csv.DictReader((FOLDER / name / "progress.csv").read_text().splitlines()))


@pytest.mark.parametrize("name", contents())
def test_a_policy_of_the_box_gets_what_was_recorded(name: str) -> None:
    """To the last digit where nothing but metarl's code is other than when it was recorded.

    Another kind of processor adds up in another order, and legs that run are chaotic.
    """
    agent, changed = load_agent(FOLDER / name, 1)
    then, (columns, _) = np.array(MADE[name]["check"]), agent.evaluation_size
    tasks = agent.family.tasks("test")[: len(then)]
    now = np.array(evaluate(agent, agent.family, tasks, columns, 1).returns)
    assert not changed
    made = MADE[name]
    if made["versions"] == versions() and made["machine"].startswith(f"{results.processor()},"):
        np.testing.assert_allclose(now, then, rtol=1e-4)
    assert now.mean() == pytest.approx(then.mean(), rel=0.3, abs=20)


@pytest.mark.parametrize("name", contents())
def test_the_box_says_where_a_policy_comes_from(name: str) -> None:
    made, asked = MADE[name], RunFolder(FOLDER / name).read_config()
    assert made["command"].startswith(f"metarl train {asked.family}")
    assert (made["config"], made["steps"]) == (asked.config, asked.steps)
    assert asked.family in FAMILIES
    assert are_held_out(made["evaluation"]["tasks"], FAMILIES[asked.family]())
    assert 0 < made["frames"] <= asked.steps and made["seconds"] > 0


def test_the_box_is_small_enough_for_a_wheel() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 15e6


def test_a_policy_is_taken_from_the_box_by_the_name_of_its_family_or_its_own() -> None:
    assert MetaLSTM.load("box:PointGoal").family.name == "PointGoal"
    assert unboxed("box:PointGoal") == unboxed("box:PointGoal-meta-lstm") == FOLDER / "PointGoal-meta-lstm"
    assert unboxed("runs/box:x") == Path("runs/box:x")
    with pytest.raises(InputError, match="holds a maml agent"):
        MetaLSTM.load("box:HalfCheetahVel-maml")
    with pytest.raises(InputError, match=r"unknown policy of the box 'PointGoa'; did you mean 'PointGoal"):
        MAML.load("box:PointGoa")


def test_a_policy_of_the_box_is_not_trained_on_and_says_so(tmp_path, capsys) -> None:
    agent = MetaLSTM.load("box:PointGoal")
    with pytest.raises(InputError, match="acts and cannot be trained"):
        agent.learn(2_000_000)
    agent.save(tmp_path / "again.pt")
    assert MetaLSTM.load(tmp_path / "again.pt").acts_only
    assert main(["train", "--resume", "box:PointGoal"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("kind", [MAML, MetaLSTM, MetaModel])
def test_a_file_that_only_acts_is_small_and_acts_alike(kind, tmp_path) -> None:
    agent = kind("PointGoal", seed=3)
    agent.learn(agent.steps_per_iteration)  # so that there is an optimiser to leave out
    agent.save(tmp_path / "whole.pt")
    agent.save(tmp_path / "acts.pt", acts_only=True)
    whole, acts = (tmp_path / name for name in ("whole.pt", "acts.pt"))
    assert acts.stat().st_size < 0.9 * whole.stat().st_size
    tasks = agent.family.tasks("test")[:2]
    one, other = (evaluate(kind.load(path), agent.family, tasks, 2, 2) for path in (whole, acts))
    assert one == other
    assert not kind.load(whole).acts_only


def test_evaluating_a_policy_of_the_box_ends_in_words(capsys) -> None:
    assert main(["evaluate", "box:PointGoal", "--episodes", "2"]) == 0
    words = capsys.readouterr().out.splitlines()[-1]
    assert words.startswith("In episode 2 (4 s of robot time in all) on 20 held-out tasks it is 0.0")
    assert "m off on average (episode 1: 0.0" in words and "score 0.9" in words
    assert "PPO from scratch needs 0.0" in words


def test_several_runs_are_judged_on_the_same_tasks_and_compared(capsys) -> None:
    names = ["box:HalfCheetahVel-maml", "box:PointGoal", "box:PointGoal-meta-lstm"]
    assert main(["evaluate", *names, "--episodes", "2", "--columns", "2"]) == 0
    *_, last = lines = capsys.readouterr().out.splitlines()
    assert sum(any(name in line for name in names) for line in lines) == 4  # three rows, one comparison
    assert last.startswith("box:PointGoal may be no better than box:PointGoal-meta-lstm: +0.0 [+0.0, +0.0]")
    assert main(["evaluate", *names, "--json", "x.json"]) == 2
    assert "--json is of one run" in capsys.readouterr().err


def test_the_demo_leaves_a_page_a_picture_and_a_clip(tmp_path, capsys, monkeypatch, gl) -> None:
    pytest.importorskip("viser")
    monkeypatch.chdir(tmp_path)
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert main(["demo", "PointGoal"]) == 0
    said = capsys.readouterr().out
    assert sorted(path.suffix for path in Path("demo").iterdir()) == [".html", ".mp4", ".png"]
    assert "PointGoal, meta-lstm. In episode 2" in said and "in the box: " in said and not opened
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("metarl.envs.gl._works", lambda backend: False)
    assert main(["demo", "PointGoal"]) == 0
    assert opened == [(tmp_path / "demo" / "PointGoal.html").as_uri()]
    assert "no PointGoal.mp4: cannot draw" in capsys.readouterr().out
    assert main(["demo", "Nothing"]) == 2
    assert "unknown policy of the box 'Nothing'" in capsys.readouterr().err


def test_runs_lists_what_was_trained_and_what_is_at_it(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["runs"]) == 2
    assert "no folder runs" in capsys.readouterr().err
    short = ["train", "PointGoal", "--learner", "meta-lstm", "--n-trials", "4", "--steps"]
    assert main([*short, "160", "--teacher", "0", "--out", "runs/a/one"]) == 0
    (tmp_path / "runs" / "b").mkdir()
    (tmp_path / "runs" / "b" / "config.json").write_text("{")
    capsys.readouterr()
    with RunFolder("runs/a/one").locked():
        assert main(["runs"]) == 0
    said = capsys.readouterr().out
    (row,) = (line for line in said.splitlines() if "PointGoal" in line)
    assert row.split()[:4] == ["runs/a/one", "PointGoal", "meta-lstm", "0"]
    assert "100 %" in row and "training" in row and "n_trials 4, teacher 0.0" in row
    assert "runs/b is left out" in said
    assert main(["runs", "box:PointGoal"]) == 0
    row = capsys.readouterr().out.splitlines()[3]
    (last,) = [row for row in logs("PointGoal-meta-lstm") if row["eval/score"]][-1:]
    value, score, minutes = (float(last[k]) for k in ("eval/return", "eval/score", "time/seconds"))
    assert row.split()[-4:] == [f"{value:.1f}", f"{score:.2f}", f"{minutes / 60:.1f}", "done"]
