"""Training that looks where it is going: validation tasks, the best policy so far, a target, and recipes."""

import csv
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import SMALL_MAML, SMALL_MODEL, SMALL_RECURRENT, TINY, TINY_STEPS

import metarl.runs.train as training
from metarl import MAML, MAMLConfig
from metarl import train as train_in_python
from metarl.cli import main
from metarl.envs import FAMILIES, InputError, Recipe, load_family
from metarl.envs.families.point import PointGoal
from metarl.learners import LEARNERS
from metarl.learners.checkpoint import read_checkpoint
from metarl.progress import progress
from metarl.runs.run_folder import RunFolder
from metarl.runs.validation import Judgement, judge

COMMANDS = {"maml": SMALL_MAML, "meta-lstm": SMALL_RECURRENT, "meta-model": SMALL_MODEL}
commands = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


OWN = """
from metarl.envs.families.point import PointGoal


class Own(PointGoal):
    horizon = 20
"""


def train(*words: str, steps: int = 4 * TINY_STEPS, status: int = 0) -> None:
    assert main(["train", "PointGoal", *words, "--steps", str(steps)]) == status


def column(name: str, run: str = "run") -> list[float]:
    with open(f"{run}/progress.csv", newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def judged(monkeypatch):
    """Judgements one after another, instead of measured ones."""

    def of(*returns: float) -> None:
        left = iter(returns)
        monkeypatch.setattr(training, "judge", lambda agent: Judgement(next(left), None))

    return of


@pytest.mark.parametrize("name", FAMILIES)
def test_validation_tasks_are_neither_for_training_nor_for_the_test(name):
    family = load_family(name)
    try:
        validation = set(family.tasks("validation"))
    except Exception as error:
        pytest.skip(str(error))
    assert len(family.tasks("validation")) == family.n_validation
    if family.disjoint:
        others = family.tasks("test") + (family.tasks("train") if family.n_train else [])
        assert not validation & set(others)


@commands
def test_judging_changes_nothing_in_training(command):
    train(*command, "--out", "often", "--eval-every", "1")
    train(*command, "--out", "never", "--eval-every", "1e9")
    often, never = (read_checkpoint(RunFolder(run).checkpoint)["state"] for run in ("often", "never"))
    assert often["rng"] == never["rng"]
    params = "params" if "params" in often["learner"] else "meta"
    for name, p in often["learner"][params].items():
        assert torch.equal(p, never["learner"][params][name])
    assert len(column("eval/return", "often")) == 4 and len(column("eval/return", "never")) == 1  # the last


@commands
def test_a_judgement_is_of_the_adaptation_that_training_works_for(command):
    train(*command, "--out", "run")
    agent = RunFolder("run").load()[1]
    found = judge(agent)
    assert found == judge(agent)
    assert column("eval/return")[-1] == pytest.approx(found.mean, rel=1e-5)
    assert column("eval/score")[-1] == pytest.approx(found.score, rel=1e-4)


def test_a_namesake_of_a_family_of_the_catalogue_has_no_score():
    kind = type("PointGoal", (PointGoal,), {})
    assert judge(MAML(PointGoal(), TINY, n_threads=1)).score is not None
    assert judge(MAML(kind(), TINY, n_threads=1)).score is None


def test_a_training_is_judged_a_few_times_unless_asked_otherwise(judged):
    judged(*range(100))
    train(*SMALL_MAML, "--out", "run", steps=10 * TINY_STEPS)
    assert len(column("eval/return")) == training.N_JUDGEMENTS


def test_the_best_is_kept_beside_the_last_and_can_be_judged(judged, capsys):
    judged(1.0, 3.0, 2.0, 2.5)
    train(*SMALL_MAML, "--out", "run", "--eval-every", "1")
    assert read_checkpoint(RunFolder("run").best)["state"]["iterations"] == 2
    assert main(["evaluate", "run/best.pt", "--columns", "1", "--episodes", "1"]) == 0


def test_a_resumed_run_keeps_a_best_that_is_better(judged):
    judged(3.0, 1.0, 2.0, 2.5)
    train(*SMALL_MAML, "--out", "run", "--eval-every", "1", steps=TINY_STEPS)
    for steps in (2, 4):
        words = ["train", "--resume", "run", "--steps", str(steps * TINY_STEPS), "--eval-every", "1"]
        assert main(words) == 0
    assert column("eval/return") == [3.0, 1.0, 2.0, 2.5]
    assert read_checkpoint(RunFolder("run").best)["state"]["iterations"] == 1


@pytest.mark.parametrize(
    "damage", [Path.unlink, lambda path: path.write_text(path.read_text().replace(",", ";"))]
)
def test_where_the_log_is_lost_the_best_is_judged_once_more(judged, damage):
    judged(3.0, 3.0, 1.0)
    train(*SMALL_MAML, "--out", "run", "--eval-every", "1", steps=TINY_STEPS)
    damage(Path("run/progress.csv"))
    assert main(["train", "--resume", "run", "--steps", str(2 * TINY_STEPS), "--eval-every", "1"]) == 0
    assert column("eval/return") == [1.0]
    assert read_checkpoint(RunFolder("run").best)["state"]["iterations"] == 1


def test_what_blew_up_is_neither_the_best_nor_at_its_target(monkeypatch):
    left = iter(
        [
            Judgement(-9.0, None),
            Judgement(0.0, None, failures=1),
            Judgement(-10.0, None),
        ]
    )
    monkeypatch.setattr(training, "judge", lambda agent: next(left))
    words = ["--eval-every", "1", "--target", "-5"]
    train(*SMALL_MAML, "--out", "run", *words, steps=2 * TINY_STEPS)
    assert read_checkpoint(RunFolder("run").best)["state"]["iterations"] == 1
    assert column("eval/failures") == [1] and column("eval/return") == [-9.0]
    assert main(["train", "--resume", "run", "--steps", str(3 * TINY_STEPS), *words]) == 0
    assert read_checkpoint(RunFolder("run").best)["state"]["iterations"] == 1


def test_a_best_that_is_lost_or_damaged_begins_anew(judged):
    judged(3.0, 1.0)
    train(*SMALL_MAML, "--out", "run", "--eval-every", "1", steps=TINY_STEPS)
    Path("run/progress.csv").unlink()
    RunFolder("run").best.write_bytes(b"nothing")
    assert main(["train", "--resume", "run", "--steps", str(2 * TINY_STEPS), "--eval-every", "1"]) == 0
    assert read_checkpoint(RunFolder("run").best)["state"]["iterations"] == 2


def test_a_training_ends_when_its_target_is_reached(judged, capsys):
    judged(-9.0, -4.5, 0.0)
    train(*SMALL_MAML, "--out", "run", "--eval-every", "1", "--target", "-5")
    assert column("eval/return") == [-9.0, -4.5]
    assert "validation -4.5 has reached the target" in capsys.readouterr().out


def test_in_a_changed_world_the_best_begins_anew(judged, tmp_path):
    judged(3.0, 2.0, -100.0, -90.0)
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    command = [*SMALL_MAML, "--eval-every", "1", "--steps"]
    assert main(["train", f"{file}:Own", *command, str(2 * TINY_STEPS), "--out", "run"]) == 0
    file.write_text(OWN.replace("horizon = 20", "horizon = 20\n    n_test = 7"))
    resumed = ["train", "--resume", "run", "--family", f"{file}:Own", *command, str(4 * TINY_STEPS)]
    assert main(resumed) == 0
    assert read_checkpoint(RunFolder("run").best)["state"]["iterations"] == 4


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"total_timesteps": 1.5}, "total_timesteps is a whole number"),
        ({"eval_every": -1}, "nobody is judged every -1 steps"),
        ({"target": float("nan")}, "a target of nan is no return"),
    ],
)
def test_what_no_folder_can_hold_is_refused_before_anything_is_written(asked, says, tmp_path):
    with pytest.raises(InputError, match=says):
        train_in_python(MAML("PointGoal", TINY), "run", **{"total_timesteps": TINY_STEPS, **asked})
    assert list(tmp_path.iterdir()) == []


def test_a_budget_may_be_any_whole_number():
    assert train_in_python(MAML("PointGoal", TINY), "run", np.float64(TINY_STEPS))
    assert RunFolder("run").load()[0].steps == TINY_STEPS


def test_runs_that_have_ended_are_done_though_episodes_end_early(capsys):
    flags = [*SMALL_MAML, "--n-tasks", "2", "--out", "x2"]
    assert main(["train", "X2Hover", *flags, "--steps", "3000"]) == 0
    assert RunFolder("x2").load()[1].num_timesteps < 2500
    assert main(["runs", "."]) == 0
    said = capsys.readouterr().out
    assert "done" in said and "stopped" not in said


def test_a_resumed_run_goes_on_judging_as_often_and_towards_its_target_until_that_is_reached(judged, capsys):
    judged(-9.0, -8.0, -4.5, -3.0, -2.0, *[0.0] * 5)
    often = ["--eval-every", str(TINY_STEPS), "--target", "-5"]
    train(*SMALL_MAML, "--out", "run", *often, steps=TINY_STEPS)
    longer = ["train", "--resume", "run", "--steps", str(10 * TINY_STEPS)]
    assert main(longer) == 0
    assert column("eval/return") == [-9.0, -8.0, -4.5] and RunFolder("run").read_config().target == -5
    assert main([*longer, "--target", "-5"]) == 2
    assert "has reached --target -5 already" in capsys.readouterr().err
    assert main(longer) == 0
    assert column("eval/return")[3:] == [-3.0, -2.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert RunFolder("run").read_config().target is None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--eval-every", "0"], "nobody is judged every 0 steps"),
        (["--target", "nan"], "a target of nan is no return"),
    ],
)
def test_what_is_no_interval_or_target_is_refused(words, says, capsys):
    assert main(["train", "PointGoal", *words]) == 2
    assert says in capsys.readouterr().err


def test_in_python_a_run_folder_and_a_callback_go_together(capsys):
    agent, seen = MAML("PointGoal", TINY, n_threads=1), []
    assert train_in_python(agent, "run", 3 * TINY_STEPS, callback=lambda agent, stats: seen.append(stats))
    assert len(seen) == 3 and "eval/return" in seen[-1]
    again = RunFolder("run").load()[1]
    assert (again.num_timesteps, again.config) == (agent.num_timesteps, TINY)
    with pytest.raises(InputError, match="already holds a run"):
        train_in_python(agent, "run", 3 * TINY_STEPS)


# Recipes.


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (
            Recipe("maml", 360, {"n_task": 2}),
            "unknown setting of maml, in a recipe of PointGoal, 'n_task'; did",
        ),
        (Recipe("mamal", 360), "unknown learner, in a recipe of PointGoal, 'mamal'; did you mean 'maml'"),
    ],
)
def test_a_recipe_that_names_what_there_is_not_is_refused(recipe, said, monkeypatch, capsys):
    monkeypatch.setattr(PointGoal, "recipes", (recipe,))
    assert main(["train", "PointGoal"]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", FAMILIES)
def test_a_recipe_is_of_a_learner_and_names_its_settings(name):
    recipes = FAMILIES[name].recipes
    assert len({recipe.learner for recipe in recipes}) == len(recipes)
    for recipe in recipes:
        config = LEARNERS[recipe.learner].config_class
        assert {*recipe.settings} <= {f.name for f in fields(config)}
        config(**recipe.settings)  # in range


def test_a_recipe_is_taken_where_nobody_asks_otherwise_and_says_what_to_expect(monkeypatch, capsys):
    settings = {"n_tasks": 2, "n_episodes": 3, "inner_steps": 1, "hidden": (4,)}
    recipe = Recipe("maml", 2 * TINY_STEPS, settings)
    before = {
        "steps": recipe.steps,
        "config": asdict(MAMLConfig(**settings)),
        "evaluation": {"returns": [[-9.0, -2.5], [-8.0, -3.5]]},
        "seconds": 90.0,
        "cores": 1,
    }
    monkeypatch.setattr("metarl.cli.train.made", lambda *name: {("PointGoal", "maml"): before}.get(name))
    monkeypatch.setattr(PointGoal, "recipes", (recipe,))
    assert main(["train", "PointGoal", "--out", "run"]) == 0
    run = RunFolder("run").read_config()
    assert run.steps == 2 * TINY_STEPS and run.config["hidden"] == [4]
    said = capsys.readouterr().out
    assert "480 steps, n_tasks 2, n_episodes 3, inner_steps 1, hidden (4,); so trained before: -3 on" in said
    assert "on held-out tasks, in 2 min on one core" in said
    assert main(["train", "PointGoal", "--out", "mine", "--hidden", "6", "--steps", "240"]) == 0
    mine = RunFolder("mine").read_config()
    assert (mine.steps, mine.config["hidden"], mine.config["n_tasks"]) == (240, [6], 2)
    assert "before" not in capsys.readouterr().out


def test_a_line_of_progress_tells_the_speed_and_the_time_left(monkeypatch, capsys):
    now = iter([0.0, 10.0, 20.0])
    monkeypatch.setattr("metarl.progress.time.monotonic", lambda: next(now))
    with progress("training", 1000) as bar:
        bar.update(0)
        bar.update(100, "return 5")
    assert capsys.readouterr().err == "training:  10 %  return 5  10/s, 90 s left\n"
