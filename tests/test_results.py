"""The tables of results: measured by one script, written from what it has kept."""

import json

import numpy as np
import pytest
import results
from helpers import are_held_out

from metarl.cli import main as metarl
from metarl.envs import FAMILIES, Recipe
from metarl.envs.families.point import PointGoal


def test_the_tables_of_the_pages_are_those_of_what_was_measured():
    assert len(list(results.MEASURED.glob("*.json"))) >= 10
    for page in results.PAGES:
        text = page.read_text()
        assert len(results.MARK.findall(text)) == {"README.md": 1, "results.md": 3}[page.name]
        assert results.written(text) == text, f"scripts/results.py --write-only writes {page}"


def test_every_record_is_of_held_out_tasks_and_has_its_curve():
    for path in results.MEASURED.glob("*.json"):
        found, family = json.loads(path.read_text()), FAMILIES[path.stem.split("-")[0]]()
        assert are_held_out(found["evaluation"]["tasks"], family)
        assert np.isfinite(found["evaluation"]["returns"]).all()
        assert found["command"].split()[:3] == ["metarl", "train", family.name]
        assert path.with_suffix(".csv").read_text().count("\n") > 10


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The script, with a recipe of a moment, in a folder of its own; and the commands that it gives."""
    given: list[list[str]] = []

    def run(command, cores):
        given.append(list(command))
        assert metarl(command[1:]) == 0
        return float("inf")  # seconds for which it was busy: all that the clock says

    def recipe(n_trials: int) -> None:
        monkeypatch.setattr(PointGoal, "recipes", (Recipe("meta-lstm", 320, {"n_trials": n_trials}),))

    monkeypatch.setattr(results, "run", run)
    monkeypatch.setattr(results, "MEASURED", tmp_path / "measured")
    monkeypatch.setattr(results, "PAGES", [tmp_path / "page.md"])
    (tmp_path / "page.md").write_text("a\n<!-- memory of scripts/results.py -->\n<!-- end -->\nb\n")
    recipe(4)
    return tmp_path, given, recipe


def test_a_training_is_measured_once_and_again_when_its_recipe_changes(tiny, capsys):
    folder, given, recipe = tiny
    words = ["PointGoal", "--learner", "meta-lstm", "--seeds", "3", "--runs", str(folder / "runs")]
    assert results.main(words) == 0
    assert [command[1] for command in given] == ["train", "evaluate"]
    assert given[0][2:] == ["PointGoal", "--learner", "meta-lstm", "--seed", "3", "--out", given[0][-1]]
    page = (folder / "page.md").read_text()
    (row,) = (line for line in page.splitlines() if line.startswith("| PointGoal |"))
    found = json.loads((folder / "measured" / "PointGoal-meta-lstm-3.json").read_text())
    first, last = np.mean(found["evaluation"]["returns"], axis=0)
    assert f"| {first:.1f} [" in row and f"| {last:.1f} [" in row and "| 0.0 M |" in row
    assert (page.startswith("a\n"), page.endswith("<!-- end -->\nb\n")) == (True, True)
    assert results.main(words) == 0 and len(given) == 2
    recipe(5)
    assert "by an earlier recipe" in results.memory_table()
    assert results.main(words) == 0
    assert given[2][-1] == "--force" and found["config"]["n_trials"] == 4
    assert "by an earlier recipe" not in (folder / "page.md").read_text()


def test_minutes_are_said_by_the_cores_that_they_were_on(tiny):
    folder, _, _ = tiny
    words = ["PointGoal", "--learner", "meta-lstm", "--seeds", "0", "1", "2", "--runs", str(folder / "runs")]
    assert results.main(words) == 0
    for seed, (minutes, cores) in enumerate([(90, 2), (25, 1), (20, 1)]):
        path = folder / "measured" / f"PointGoal-meta-lstm-{seed}.json"
        path.write_text(
            json.dumps(json.loads(path.read_text()) | {"seconds": 60.0 * minutes, "cores": cores})
        )
    assert "| 20 to 25 on 1, 90 on 2 |" in results.memory_table()


def test_a_training_that_was_stopped_goes_on(tiny):
    folder, given, _ = tiny
    run = str(folder / "runs" / "PointGoal-meta-lstm-0")
    short = ["train", "PointGoal", "--learner", "meta-lstm", "--out", run, "--target", "-1e9"]
    assert metarl([*short, "--eval-every", "1"]) == 0  # ends at its first judgement
    words = ["PointGoal", "--learner", "meta-lstm", "--seeds", "0", "--runs", str(folder / "runs")]
    assert results.main(words) == 0
    assert given[0] == ["metarl", "train", "--resume", run]
    assert json.loads((folder / "measured" / "PointGoal-meta-lstm-0.json").read_text())["frames"] == 320


def test_a_training_that_fails_is_said_and_the_others_are_made(tiny, monkeypatch, capsys):
    folder, _, _ = tiny
    measure = results.Training.measure

    def some(training, runs, cores):
        if training.seed == 0:
            raise results.InputError("no luck")
        measure(training, runs, cores)

    monkeypatch.setattr(results.Training, "measure", some)
    words = ["PointGoal", "--learner", "meta-lstm", "--seeds", "0", "1", "--runs", str(folder / "runs")]
    assert results.main(words) == 1
    assert capsys.readouterr().err.count("no luck") == 1
    assert [path.name for path in (folder / "measured").glob("*.json")] == ["PointGoal-meta-lstm-1.json"]
    assert results.main(["PointGaol"]) == results.main([*words, "--jobs", "1000"]) == 2
