"""The report: the numbers of an evaluation, whatever is missing, in one page that needs nothing else."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import SMALL_MAML, SMALL_RECURRENT, TINY_STEPS

from metarl import Evaluation, evaluate
from metarl.cli import main
from metarl.envs import FAMILIES, InputError, Task
from metarl.evaluation.references import RandomPolicy, References, steps_to
from metarl.evaluation.statistics import iqm, probability_of_improvement, stratified_bootstrap
from metarl.files import write_json
from metarl.report import write_report
from metarl.report.groups import pool
from metarl.report.runs import Run, read_run
from metarl.runs.run_folder import PREVIOUS, RunFolder

GIF = b"GIF89a" + bytes(20)
MP4 = b"\0\0\0\x20ftypisom"
NASTY = 'go<b>al" & $x^2_$'
MINE = f'''
import numpy as np
from metarl.envs import AnnulusRadius, Param, Uniform
from metarl.envs.families.point import PointGoal

class One(PointGoal):
    """<script>alert("one & two")</script> of $one_ dollar."""
    params = (Param({NASTY!r}, "m<i>", Uniform(-1, 1), ood=Uniform(1, 2)),)

    def reward(self, r, action, task):
        return {{"near": -np.abs(r.qpos[:, 0] - sum(task.values()))}}

class Ring(One):
    params = (
        Param("radius", "m", AnnulusRadius(0.5, 1), ood=AnnulusRadius(1, 2)),
        Param("angle", "rad", Uniform(-3, 3)),
    )

class Three(One):
    params = tuple(Param(name, "m", Uniform(-1, 1)) for name in "abc")
'''


class Page(HTMLParser):
    """What is in a page: tags, attributes, text, and tables by the headings above them."""

    def __init__(self, path: Path):
        super().__init__()
        self.source = path.read_text()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.tables: dict[tuple[str, str], list[list[str]]] = {}
        self.above, self.words, self.level = ["", ""], [], ""
        self.feed(self.source)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.level = tag if tag in ("h2", "h3") else self.level
        if tag in ("h2", "h3", "th", "td"):
            self.cell = ""
        if tag == "table":
            self.tables.setdefault(tuple(self.above), [])
        if tag == "tr":
            self.row = []

    def handle_data(self, data):
        self.words.append(data)
        self.cell = getattr(self, "cell", "") + data

    def handle_endtag(self, tag):
        if tag in ("th", "td"):
            self.row.append(self.cell)
        elif tag == "tr":
            self.tables[tuple(self.above)].append(self.row)
        elif tag == "h2":
            self.above = [self.cell, ""]
        elif tag == "h3":
            self.above[1] = self.cell

    def returns(self, family: str, of: str = "held-out test tasks") -> dict[str, list[dict[str, str]]]:
        """The rows of a table of returns, by the line above them."""
        head, *rows = self.tables[family, f"Returns on {of}"]
        blocks: dict[str, list[dict[str, str]]] = {}
        for row in rows:
            if len(row) == 1:
                block = blocks[row[0]] = []
            else:
                block.append(dict(zip(head, row, strict=True)))
        return blocks


def numbers(cell: str) -> list[float]:
    """The numbers in a cell, such as 1,500 or 1.5 [1.0, 2.0]."""
    return [float(x) for x in re.findall(r"[-+]?[\d.]+", cell.replace("−", "-").replace(",", ""))]  # noqa: RUF001


AS_POINT_GOAL = [  # what its recipe for MAML sets
    word
    for recipe in FAMILIES["PointGoal"].recipes
    if recipe.learner == "maml"
    for name, value in recipe.settings.items()
    for word in (f"--{name.replace('_', '-')}", str(value))
]


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A folder with run folders: not to be written to, see `runs`."""
    folder = tmp_path_factory.mktemp("made")
    mine = folder / "mine.py"
    mine.write_text(MINE)
    for name, flags in {
        "run": ["PointGoal", *SMALL_MAML],
        "seed1": ["PointGoal", *SMALL_MAML, "--seed", "1"],
        "fast": ["PointGoal", *SMALL_MAML, "--inner-lr", "5"],
        "sparse": ["SparsePointGoal", *SMALL_MAML, *AS_POINT_GOAL],
        "recurrent": ["SparsePointGoal", *SMALL_RECURRENT],
        "one": [f"{mine}:One", *SMALL_MAML],
        "ring": [f"{mine}:Ring", *SMALL_MAML],
        "three": [f"{mine}:Three", *SMALL_MAML],
    }.items():
        assert main(["train", *flags, "--steps", str(TINY_STEPS), "--out", str(folder / name)]) == 0
        (folder / name / PREVIOUS).unlink()  # so that there is nothing to fall back to
    return folder


@pytest.fixture(autouse=True)
def no_references(monkeypatch) -> None:
    """Whatever has been measured on the families, the tables here hold runs only."""
    monkeypatch.setattr("metarl.evaluation.references.load_references", lambda family: None)


@pytest.fixture
def report(runs) -> Callable[..., Page]:
    """Write a report on some of the runs, and read it."""

    def write(*names: str) -> Page:
        missing = write_report([Path(name) for name in names], Path("report.html"), n_threads=1)
        page = Page(Path("report.html"))
        page.missing = missing
        assert all(" ".join(words.split()) in page.text for words in missing)
        assert ("What is missing" in page.text) == bool(missing)
        return page

    return write


@pytest.fixture(scope="session")
def everything(made, tmp_path_factory) -> Path:
    """A report on all of the runs."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    names = ["run", "seed1", "fast", "sparse", "recurrent", "one", "ring", "three"]
    assert write_report([made / name for name in names], out, n_threads=1) == []
    return out


def judged(run: str, split: str = "test") -> Evaluation:
    """An evaluation of a run, as the report's should be."""
    _, agent = RunFolder(run).load("cpu", 1)
    return evaluate(agent.adapter(), agent.family, agent.family.tasks(split), *agent.evaluation_size)


def assert_shows(rows: list[dict[str, str]], result: Evaluation) -> None:
    """Rows of a page's table are those of an evaluation, rounded."""
    assert len(rows) == len(result.mean)
    for k, row in enumerate(rows):
        near = {"abs": 0.051, "rel": 0}
        assert numbers(row["episodes used"]) == [result.episodes_used[k]]
        assert numbers(row["steps used"]) == pytest.approx([result.env_steps_used[k]])
        assert numbers(row["mean return"]) == pytest.approx([result.mean[k], *result.ci95[k]], **near)
        assert numbers(row["IQM"]) == pytest.approx([result.iqm[k]], **near)
        gain = [result.gain[k], *result.gain_ci95[k]] if k else []
        assert numbers(row["gain"]) == pytest.approx(gain, **near)
        if result.gain_over_average is not None:
            over = [result.gain_over_average[k], *result.gain_over_average_ci95[k]]
            assert numbers(row["over average"]) == pytest.approx(over, **near)
        if result.success is not None:
            shown = 100 * np.mean(result.success, axis=0)[k]
            assert numbers(row["success"]) == pytest.approx([shown], abs=0.51)


# What has no run folder.


def test_evaluations_of_somebody_elses_policies_stand_beside_the_runs(runs, report):
    family = FAMILIES["SparsePointGoal"]()
    mine = [evaluate(RandomPolicy(), family, family.tasks("test"), 1, 4, "chance", seed=s) for s in (0, 1)]
    for k, result in enumerate(mine):
        write_json(Path(f"{k}.json"), result.to_json())
    page = report("recurrent", "0.json", "1.json")
    rows = page.returns("SparsePointGoal")
    assert list(rows) == ["meta-lstm", "chance (2 trainings)"] and page.missing == []
    assert_shows(rows["meta-lstm"], judged("recurrent"))
    assert_shows(rows["chance (2 trainings)"], pool(mine))
    assert ["0.json", "", "", ""] in page.tables["SparsePointGoal", "Runs"]
    assert report("0.json").returns("SparsePointGoal").keys() == {"chance"}


def test_what_the_command_has_written_is_an_evaluation_and_several_splits_are_one_policys(runs, report):
    words = ["evaluate", "one", "--n-threads", "1"]
    assert (
        main([*words, "--json", "test.json"]) == main([*words, "--split", "ood", "--json", "ood.json"]) == 0
    )
    both = [json.loads(Path(name).read_text()) for name in ("test.json", "ood.json")]
    write_json(Path("both.json"), both)
    for names, splits in ((("one", "both.json"), 2), (("one", "test.json"), 1)):
        page = report(*names)
        for split in ("held-out test tasks", "tasks out of distribution")[:splits]:
            table = page.returns("One", split)
            one, other = ([{**row, "adaptation": ""} for row in table[f"maml {k}"]] for k in (1, 2))
            assert one == other
    assert table["maml 2"][-1]["adaptation"] == "after 3 gradient steps, as trained"  # as far as one knows
    assert list(page.returns("One", "tasks out of distribution")) == ["maml 1"]


def test_what_is_no_evaluation_or_of_other_tasks_is_said(runs, report):
    family = FAMILIES["PointGoal"]()
    result = evaluate(RandomPolicy(), family, family.tasks("test")[:3], 1, 1, "chance").to_json()
    write_json(Path("few.json"), result)
    assert report("run", "few.json").missing == [
        "few.json: left out, it is not judged on the test tasks that PointGoal has now"
    ]
    wrong = [
        {},
        [],
        3,
        {**result, "returns": []},
        {**result, "more": 1},
        {**result, "family": 3},
        [result, {**result, "learner": "x"}],
    ]
    for k, content in enumerate(wrong):
        write_json(Path(f"wrong{k}.json"), content)
        with pytest.raises(
            InputError, match=f"^wrong{k}.json holds no evaluations of one learner; give a run"
        ):
            report(f"wrong{k}.json")
    (said,) = report("run", "wrong0.json").missing
    assert said.startswith("wrong0.json is left out: wrong0.json holds no evaluations of one learner")


# The numbers.


def test_the_table_holds_the_numbers_of_an_evaluation(report):
    page = report("sparse", "recurrent", "one")
    sparse = page.returns("SparsePointGoal")
    assert list(sparse) == ["maml", "meta-lstm"]
    assert_shows(sparse["maml"], judged("sparse"))
    assert_shows(sparse["meta-lstm"], judged("recurrent"))
    assert [row["adaptation"] for row in sparse["maml"]] == [
        "before adaptation",
        "after 1 gradient step, as trained",
        "after 2 gradient steps",
        "after 3 gradient steps",
    ]
    assert [row["adaptation"] for row in sparse["meta-lstm"]] == [
        "in episode 1",
        "in episode 2",
        "in episode 3, as trained",
    ]
    assert_shows(page.returns("One")["maml"], judged("one"))
    assert_shows(page.returns("One", "tasks out of distribution")["maml"], judged("one", "ood"))
    assert ("SparsePointGoal", "Returns on tasks out of distribution") not in page.tables


def test_the_seed_is_that_of_the_evaluation(runs):
    write_report([Path("run")], Path("report.html"), seed=3)
    _, agent = RunFolder("run").load("cpu", 1)
    tasks = agent.family.tasks("test")
    result = evaluate(agent.adapter(), agent.family, tasks, *agent.evaluation_size, seed=3)
    assert result.mean != judged("run").mean
    assert_shows(Page(Path("report.html")).returns("PointGoal")["maml"], result)


def test_runs_that_differ_by_their_seed_are_judged_together(report):
    page = report("run", "seed1")
    (title,) = blocks = page.returns("PointGoal")
    assert title == "maml (2 trainings)"
    assert_shows(blocks[title], pool([judged("run"), judged("seed1")]))
    assert [row[0] for row in page.tables["PointGoal", "Runs"]] == ["folder", "maml", "run", "seed1"]


def test_pooling_takes_means_over_trainings_and_intervals_over_both(runs):
    one, other = judged("run"), judged("seed1")
    both = pool([one, other])
    returns = np.array([one.returns, other.returns])
    assert both.mean == pytest.approx(returns.mean(axis=(0, 1)))
    assert np.array(both.returns) == pytest.approx(returns.mean(axis=0))
    assert both.iqm == pytest.approx(iqm(returns.reshape(-1, returns.shape[-1])))
    interval = stratified_bootstrap(returns, lambda drawn: drawn.mean(axis=(0, 1)))
    assert np.array(both.ci95) == pytest.approx(interval.T)
    assert np.array(both.gain) == pytest.approx(np.array(both.mean) - both.mean[0])
    assert both.average is both.gain_over_average is both.gain_over_average_ci95 is None
    assert np.shape(both.episode_returns) == (20, 4, 6)
    assert pool([one]) is one


def test_a_copy_of_a_training_is_not_another_training(report, runs):
    shutil.copytree("run", "copy")
    page = report("run", "copy", "seed1", "run")
    assert page.missing == ["copy: left out of the statistics, seed 0 is among them already"]
    assert page.text.count("run copy") == 0
    assert_shows(page.returns("PointGoal")["maml (2 trainings)"], pool([judged("run"), judged("seed1")]))


def test_other_settings_are_another_learner_and_who_is_better_is_told(report):
    page = report("run", "fast", "seed1")
    names = ["maml, inner_lr 0.1 (2 trainings)", "maml, inner_lr 5.0"]
    assert list(page.returns("PointGoal")) == names
    one = np.array([judged("run").returns, judged("seed1").returns])[..., 1]  # one step, as trained
    chance, interval = probability_of_improvement(one, np.array([judged("fast").returns])[..., 1])
    _, row = page.tables["PointGoal", "Who is better"]
    assert row[:2] == ["maml, inner_lr 0.1", "maml, inner_lr 5.0"]
    assert numbers(row[2]) == pytest.approx([chance, *interval], abs=0.0051)


def test_references_are_lines_and_rows_and_give_a_score(report, monkeypatch):
    def known(family: str) -> References | None:
        tasks = [dict(task) for task in FAMILIES[family]().tasks("test")]
        levels = ([level] * len(tasks) for level in (-40.0, -15.0, -5.0))
        curves = [{"task": task, "env_steps": [500, 10**6], "returns": [-40, -5]} for task in tasks[:2]]
        return References(family, tasks, *levels, curves, {})

    monkeypatch.setattr("metarl.evaluation.references.load_references", known)
    page = report("run", "one")
    *_, rows = blocks = page.returns("PointGoal").values()
    assert [numbers(row["mean return"])[0] for row in rows] == [-5, -15, -40]
    assert [numbers(row["score"]) for row in rows] == [[1], [0.71], [0]]
    for row in next(iter(blocks)):
        score = (numbers(row["mean return"])[0] + 40) / 35
        assert numbers(row["score"]) == pytest.approx([score], abs=0.01)
        over = [number + 15 for number in numbers(row["mean return"])]
        assert numbers(row["over average"]) == pytest.approx(over, abs=0.2)
    both = pool([judged("run"), judged("seed1")])
    assert both.gain_over_average == pytest.approx(np.array(both.mean) + 15)
    assert np.array(both.gain_over_average_ci95) == pytest.approx(np.array(both.ci95) + 15)
    words = {word.strip() for word in page.words}
    assert {"oracle", "average", "random", "from scratch on one task (2 of them)", "100,000"} <= words
    assert "score" not in page.returns("One")["maml"][0]  # a family of the user's own has none
    rows = page.tables["PointGoal", "Learning from scratch"]
    assert [row[0] for row in rows[1::2]] == [
        FAMILIES["PointGoal"]().words(Task(c["task"])) for c in known("PointGoal").scratch
    ]
    assert [row[3] for row in rows[2::2]] == ["1,000,000", "1,000,000"]
    assert "Learning from scratch" not in {of for family, of in page.tables if family == "One"}


@pytest.mark.parametrize(
    ("value", "steps"), [(-50.0, 500), (-40.0, 500), (-39.9, 700), (-5.0, 900), (-4.9, None)]
)
def test_a_training_from_scratch_gets_somewhere_when_it_does_so_first(value, steps):
    curve = {"task": {}, "env_steps": [500, 700, 900, 1100], "returns": [-40.0, -30.0, -5.0, -20.0]}
    assert steps_to(curve, value) == steps


# What is shown.


def test_the_page_says_what_the_family_is_and_how_it_was_asked_for(everything, made):
    page = Page(everything)
    for words in (
        "Move to a hidden goal in the square",
        "goal_x",
        "U(-1, 1)",
        "Episodes of 20 steps of 0.1 s",
    ):
        assert words in page.text
    versions = json.loads((made / "run" / "versions.json").read_text())
    assert all(version in page.text for version in versions.values())
    assert " ".join((made / "fast" / "config.json").read_text().split()) in page.text


def test_there_is_a_picture_of_everything_that_can_be_drawn(everything):
    page = Page(everything)
    for words in (
        "environment steps used on the new task",
        "return over 20 steps",
        "environment steps",
        "wall time (s)",
        "angle (rad)",  # of SparsePointGoal
        "goal_x (m)",
        "radius cos angle (m)",  # of Ring
        "range of training",
        "Not drawn: 3 numbers vary between tasks",
    ):
        assert words in page.text
    assert page.source.count("<svg") == 4 * 3 + 2


def test_clips_are_in_the_page_as_long_as_they_are_small_and_else_linked(report, runs):
    (runs / "run" / "a.gif").write_bytes(GIF)
    (runs / "run" / "b.mp4").write_bytes(MP4 + bytes(8_000_000))
    (runs / "run" / "c.mp4").write_bytes(MP4)
    (runs / "run" / "clips").mkdir()
    for name in ("replay.html", "render-2.html", "report.html", "clips/a #1.html"):
        (runs / "run" / name).write_text("<p>")
    (runs / "run" / "clips" / "e.gif").write_bytes(GIF)
    (runs / "seed1" / "d.gif").write_bytes(b"no")
    page = report("run", "seed1")
    kinds = [value.partition(",")[0] for name, value in page.attributes if name == "src"]
    assert kinds == ["data:image/gif;base64", "data:video/mp4;base64", "data:image/gif;base64"]
    links = [value for name, value in page.attributes if name == "href" and value.startswith("run")]
    assert links == ["run/b.mp4", "run/clips/a%20%231.html", "run/render-2.html", "run/replay.html"]
    assert "run/b.mp4 (8.0 MB, too large to be in this page)" in page.text
    assert "run/replay.html (a page of its own)" in page.text
    assert page.missing == ["seed1: d.gif is damaged"]


def test_what_comes_from_files_is_text_and_nothing_else(report, runs):
    (runs / "one").rename(runs / "<b>&amp;")
    (runs / "<b>&amp;" / "a.gif").write_bytes(GIF)
    for run, word, other in (("run", "PointGoal", "<s>.py:<u>"), ("fast", '"trpo"', '"<q>"')):
        config = runs / run / "config.json"
        assert word in config.read_text()
        config.write_text(config.read_text().replace(word, other))
    page = report("<b>&amp;", "run", "fast", "seed1")
    assert not {"b", "i", "q", "s", "u", "script"} & page.tags
    assert NASTY in page.text
    assert "m<i>" in page.text
    assert '<script>alert("one & two")</script> of $one_ dollar.' in page.text
    assert "4 runs: <b>&amp;, run, fast, seed1" in page.text
    assert "maml, inner_lr 5.0, outer <q>" in page.text
    assert ("<u>", "Runs") in page.tables


def test_the_page_asks_nobody_for_anything(everything):
    page = Page(everything)
    asking = ("src", "srcset", "href", "xlink:href", "data", "action", "poster")
    asked = [value for name, value in page.attributes if name in asking]
    asked += re.findall(r"url\((.*?)\)", page.source)
    assert asked
    assert all(value.startswith(("#", "data:")) for value in asked)
    assert "@import" not in page.source
    assert "://" not in page.source
    assert not {"script", "iframe", "object", "embed"} & page.tags


def test_the_names_in_the_page_are_its_own(everything):
    page = Page(everything)
    names = [value for name, value in page.attributes if name == "id"]
    assert len({*names}) == len(names)
    used = [value[1:] for name, value in page.attributes if name == "xlink:href" and value[0] == "#"]
    assert {*used, *re.findall(r"url\(#(.*?)\)", page.source)} <= {*names}


def test_the_same_runs_give_the_same_bytes_at_any_number_of_threads(runs):
    folders = [Path(name) for name in ("run", "fast", "seed1")]
    write_report(folders, Path("one.html"), n_threads=1)
    write_report(folders, Path("two.html"), n_threads=2)
    assert Path("one.html").read_bytes() == Path("two.html").read_bytes()


def test_a_report_leaves_the_runs_as_they_are(report, runs):
    before = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    report("run", "recurrent")
    (runs / "report.html").unlink()
    assert {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()} == before


def test_a_browser_shows_the_page_and_complains_of_nothing(everything, chromium, tmp_path):
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    says = ["--enable-logging=stderr", "--v=0", "--dump-dom"]
    done = subprocess.run(
        [chromium, *flags, *says, everything.as_uri()], capture_output=True, text=True, check=True, timeout=60
    )
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    shown = tmp_path / "shown.html"
    shown.write_text(done.stdout)
    assert Page(shown).tables == Page(everything).tables
    assert done.stdout.count("<svg") == everything.read_text().count("<svg")


# What is missing.


def nan(path: Path) -> None:
    """Make every number that a checkpoint has learned no number."""
    content = torch.load(path, weights_only=True)
    for group in content["state"]["learner"].values():
        for value in group.values() if isinstance(group, dict) else []:
            if torch.is_tensor(value) and value.is_floating_point():
                value.fill_(float("nan"))
    torch.save(content, path)


def cut(path: Path, n_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:-n_bytes])


EVALUATED, LEARNED = "Returns on held-out test tasks", "Return on training tasks"
DAMAGES = {
    "no checkpoint": (lambda run: (run / "checkpoint.pt").unlink(), "no checkpoint.pt", LEARNED),
    "half a checkpoint": (
        lambda run: cut(run / "checkpoint.pt", 999),
        "not evaluated: run/checkpoint.pt is not a readable checkpoint",
        LEARNED,
    ),
    "checkpoint of another family": (
        lambda run: shutil.copy("sparse/checkpoint.pt", run),
        "was trained on SparsePointGoal, not on PointGoal",
        LEARNED,
    ),
    "checkpoint of another run": (
        lambda run: shutil.copy("fast/checkpoint.pt", run),
        "belongs to another run",
        LEARNED,
    ),
    "checkpoint without a number": (
        lambda run: nan(run / "checkpoint.pt"),
        "its numbers are not finite",
        LEARNED,
    ),
    "no progress": (lambda run: (run / "progress.csv").unlink(), "no progress.csv", EVALUATED),
    "empty progress": (
        lambda run: (run / "progress.csv").write_text(""),
        "progress.csv is empty",
        EVALUATED,
    ),
    "progress without rows": (
        lambda run: cut(run / "progress.csv", 1),
        "progress.csv is empty",
        EVALUATED,
    ),
    "progress of other bytes": (
        lambda run: (run / "progress.csv").write_bytes(b"\x00\xff,\n\x00,\n" * 3),
        "progress.csv is damaged",
        EVALUATED,
    ),
    "no versions": (lambda run: (run / "versions.json").unlink(), "no versions.json", EVALUATED),
    "half of the versions": (
        lambda run: cut(run / "versions.json", 9),
        "versions.json is damaged",
        EVALUATED,
    ),
    "no tasks": (lambda run: (run / "tasks.json").unlink(), "no tasks.json", EVALUATED),
    "tasks of other bytes": (
        lambda run: (run / "tasks.json").write_bytes(b"\xff"),
        "tasks.json is damaged",
        EVALUATED,
    ),
    "other tasks": (
        lambda run: shutil.copy("sparse/tasks.json", run),
        "tasks.json lists other test tasks than PointGoal has now",
        EVALUATED,
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_missing_is_named_and_the_rest_is_shown(report, runs, damage):
    change, words, rest = DAMAGES[damage]
    change(runs / "run")
    page = report("run")
    (said,) = page.missing
    assert said.startswith(f"run: {words}") or (said.startswith("run: not evaluated") and words in said)
    assert rest in page.text
    assert (EVALUATED in page.text) == ("evaluated" not in said)
    assert (LEARNED in page.text) == ("progress" not in said)


def test_of_a_run_that_has_only_just_begun_the_config_is_shown(report, runs):
    for path in (runs / "run").iterdir():
        if path.name != "config.json":
            path.unlink()
    page = report("run", "seed1")
    assert [words.split()[2] for words in page.missing] == [
        "progress.csv,",
        "versions.json",
        "tasks.json",
        "checkpoint.pt,",
    ]
    assert_shows(page.returns("PointGoal")["maml"], judged("seed1"))
    assert report("run").tables["PointGoal", "Runs"][2] == ["run", "0", "?", str(TINY_STEPS)]


def test_rows_that_are_cut_are_left_out(report, runs):
    assert main(["train", "--resume", "run", "--steps", str(3 * TINY_STEPS)]) == 0
    cut(runs / "run" / "progress.csv", 5)
    assert report("run").missing == ["run: progress.csv is cut or damaged: 2 of its 3 rows can be read"]
    assert read_run(Path("run")).progress["time/timesteps"].tolist() == [TINY_STEPS, 2 * TINY_STEPS]


def test_of_numbers_beyond_all_and_rows_without_end_a_picture_is_drawn(report, runs):
    path = runs / "run" / "progress.csv"
    head, row = path.read_text().splitlines()
    beyond = ",".join("1e300" if k % 2 else "-1e999" for k in range(row.count(",") + 1))
    beyond = beyond.replace("-1e999", "1", 1)
    path.write_text("\n".join([head, *[row, beyond] * 30_000]) + "\n")
    assert report("run").missing == []
    progress = read_run(Path("run")).progress
    assert 20_000 <= len(progress["time/timesteps"]) < 40_000
    assert not any((abs(column) > 1e30).any() for column in progress.values())


def test_a_training_that_is_not_finished_is_named(report, runs):
    path = runs / "run" / "config.json"
    path.write_text(path.read_text().replace(f'"steps": {TINY_STEPS}', f'"steps": {9 * TINY_STEPS}'))
    (said,) = report("run").missing
    assert said == f"run: training is not finished: {TINY_STEPS} of {9 * TINY_STEPS:,} environment steps"


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_text("{")])
def test_without_its_config_a_run_is_what_its_checkpoint_says(report, runs, change):
    change(runs / "run" / "config.json")
    page = report("run")
    assert [words.split(";")[0] for words in page.missing] == ["run: config.json is missing or damaged"]
    _, agent = RunFolder("seed1").load("cpu", 1)
    agent = type(agent).load("run", n_threads=1)
    tasks = agent.family.tasks("test")
    result = evaluate(agent.adapter(), agent.family, tasks, *agent.evaluation_size)
    assert_shows(page.returns("PointGoal")["maml"], result)
    assert page.tables["PointGoal", "Runs"][2] == ["run", "0", str(TINY_STEPS), str(TINY_STEPS)]
    assert list(report("run", "seed1").returns("PointGoal")) == ["maml (2 trainings)"]


@pytest.mark.parametrize("text", [None, "import nothing_of_this_name", "class Two: pass"])
def test_of_a_family_that_is_gone_the_learning_is_shown(report, runs, text):
    config = runs / "one" / "config.json"
    mine = runs / "gone.py"
    config.write_text(re.sub(r'"[^"]*mine.py:One"', json.dumps(f"{mine}:One"), config.read_text()))
    if text is not None:
        mine.write_text(text)
    page = report("one", "run")
    (said,) = page.missing
    assert said.startswith(f"{mine}:One is not evaluated: ")
    assert page.source.count("<svg") == 1 + 3  # its learning curve, and all of PointGoal's
    assert list(page.returns("PointGoal")) == ["maml"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (shutil.rmtree, "no folder broken"),
        (lambda run: (run / "config.json").write_text("["), "broken/config.json is damaged"),
        (lambda run: (run / "config.json").write_text("[" * 100_000), "broken/config.json is damaged"),
        (lambda run: os.truncate(run / "config.json", 9_000_000_000), "damaged: 9,000 MB, of 64 at most"),
    ],
)
def test_a_run_that_cannot_be_read_is_left_out_and_the_others_are_shown(report, runs, change, says):
    shutil.copytree("seed1", "broken")
    (runs / "broken" / "checkpoint.pt").unlink()
    change(runs / "broken")
    page = report("run", "broken")
    (said,) = page.missing
    assert said.startswith("broken is left out: ") and says in said
    assert list(page.returns("PointGoal")) == ["maml"]


# What is refused.


@pytest.mark.parametrize(
    ("folders", "says"),
    [
        (["nowhere"], "no folder nowhere"),
        (["empty"], "is not a run folder: it has no config.json"),
        (["run/config.json"], "run/config.json holds no evaluations of one learner; give a run folder, or"),
        (["run/nowhere.json"], "no folder run/nowhere.json"),
        (["empty", "damaged"], "damaged/config.json is damaged"),
        ([], "which runs?"),
    ],
)
def test_what_is_no_run_is_refused_and_nothing_is_written(runs, folders, says):
    (runs / "empty").mkdir()
    (runs / "damaged").mkdir()
    (runs / "damaged" / "config.json").write_text("{")
    before = sorted(runs.rglob("*"))
    with pytest.raises(InputError, match=re.escape(says)):
        write_report([Path(name) for name in folders], runs / "report.html")
    assert sorted(runs.rglob("*")) == before


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("run", r"ends in \.html"),
        ("nowhere/report.html", "no folder nowhere; make it"),
        ("run/config.json", r"ends in \.html"),
        ("run/report", r"ends in \.html"),
        ("folder.html", r"folder\.html is a folder"),
        ("pipe.html", r"pipe\.html is a device or a pipe"),
    ],
)
def test_a_page_that_cannot_be_is_refused_before_anything_is_read(runs, out, says):
    (runs / "folder.html").mkdir()
    os.mkfifo(runs / "pipe.html")
    before = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=says):
        write_report([Path("nowhere")], Path(out))
    assert {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()} == before


# Parts of it.


def logged(**columns: list[float]) -> Run:
    """A run with this progress."""
    return Run(Path(), None, "", {name.replace("__", "/"): np.array(x) for name, x in columns.items()})


def test_the_tenth_episode_comes_after_the_ninth():
    run = logged(**{f"return__episode_{k}": [0.0] for k in (10, 9, 1, 2)}, learn__kl=[0.0])
    assert run.return_columns == ("return/episode_1", "return/episode_10")


def test_the_clock_of_a_resumed_run_goes_on():
    assert logged(time__seconds=[1.0, 2.0, 0.5, 3.0]).seconds.tolist() == [1.0, 2.0, 2.5, 5.0]
