"""Whatever is in a file: success or one clear line, no traceback, no changed file."""

import json
import os
import pickle
import random
import resource
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import SMALL_COMMANDS
from torch.utils._pytree import tree_leaves

from metarl.cli import main
from metarl.envs import InputError
from metarl.learners import LEARNERS
from metarl.report.runs import evaluate_run, find_family, read_run
from metarl.runs.logs import SECONDS, logged, make_logger
from metarl.runs.run_folder import PREVIOUS, RunFolder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=SMALL_COMMANDS)
def run(request, tmp_path_factory) -> Path:
    """A run of each learner."""
    folder = tmp_path_factory.mktemp("fuzz") / "run"
    flags = SMALL_COMMANDS[request.param]
    assert main(["train", "PointGoal", *flags, "--steps", "240", "--out", str(folder)]) == 0
    (folder / PREVIOUS).unlink()
    return folder


SMALL = 10_000_000  # bytes: larger files are not compared
MOST_MEMORY = 400_000  # kB that no file of strangers may cost


def tried(run: Path, what: Callable[[Path], object] = lambda run: RunFolder(run).load("cpu", 1)) -> bool:
    """Whether a run folder loads; anything but success and an InputError of one line goes through."""
    before, memory = _files(run), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        what(run)
        loaded = True
    except InputError as error:
        assert str(error) and str(error).isprintable()
        loaded = False
    assert _files(run) == before
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < MOST_MEMORY
    return loaded


def _files(run: Path) -> dict[str, bytes]:
    files = [path for path in run.iterdir() if path.is_file() and path.stat().st_size < SMALL]
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture
def damaged(run, tmp_path):
    """A copy of the run to damage."""
    return Path(shutil.copytree(run, tmp_path / "run"))


@pytest.mark.parametrize("name", ["checkpoint.pt", "config.json"])
def test_a_file_cut_at_every_percent_of_its_length_is_refused(damaged, name):
    path = damaged / name
    whole = path.read_bytes()
    for percent in range(100):
        path.write_bytes(whole[: len(whole) * percent // 100])
        assert not tried(damaged), f"{name} cut at {percent} %"


def weights(path: Path) -> list:
    """Everything in a checkpoint, to be compared."""
    content = torch.load(path, weights_only=True)
    return [x.tolist() if torch.is_tensor(x) else x for x in tree_leaves(content)]


@pytest.mark.parametrize("seed", range(4))
def test_a_file_with_flipped_bits_is_refused_or_loads_as_it_was(damaged, seed):
    rng, intact = random.Random(seed), weights(damaged / "checkpoint.pt")
    for name, cases in (("checkpoint.pt", 150), ("config.json", 50)):
        path = damaged / name
        whole = path.read_bytes()
        for _ in range(cases):
            content = bytearray(whole)
            for _ in range(rng.choice([1, 1, 2, 8, 100])):
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            path.write_bytes(content)
            if tried(damaged) and name == "checkpoint.pt":  # then what was hit means nothing
                assert weights(path) == intact
        path.write_bytes(whole)


JUNK = [
    *(None, True, -1, 0, 1e308, float("nan"), float("inf"), 10**30, 10**400),
    *("", "x" * 10_000, "../..", "\x1b[2J\u202e[red]\n", [], {}, [[]], {"a": {}}, [4096] * 1000),
]


def test_a_config_with_anything_for_any_value_loads_or_is_refused(damaged):
    path = damaged / "config.json"
    whole = json.loads(path.read_text())
    for junk in JUNK:
        for name in whole:
            path.write_text(json.dumps({**whole, name: junk}))
            tried(damaged)
        for name in whole["config"]:
            path.write_text(json.dumps({**whole, "config": {**whole["config"], name: junk}}))
            tried(damaged)
        path.write_text(json.dumps(junk))
        assert not tried(damaged)


def test_a_checkpoint_with_anything_for_any_value_loads_or_is_refused(damaged):
    path = damaged / "checkpoint.pt"
    whole = torch.load(path, weights_only=True)
    junk = [None, -1, "x", [], {}, torch.zeros(0), torch.zeros(3, 3, 3), torch.full((2,), float("nan"))]
    for value in junk:
        for name in whole:
            torch.save({**whole, name: value}, path)
            tried(damaged)
        for name in whole["state"]:
            torch.save({**whole, "state": {**whole["state"], name: value}}, path)
            tried(damaged)
        for name in whole["state"]["learner"]:
            learner = {**whole["state"]["learner"], name: value}
            torch.save({**whole, "state": {**whole["state"], "learner": learner}}, path)
            tried(damaged)


class Bomb:
    """Code that a pickle would run."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_in_a_file_runs(damaged, tmp_path):
    touched = tmp_path / "touched"
    path = damaged / "checkpoint.pt"
    path.write_bytes(pickle.dumps(Bomb(touched)))
    assert not tried(damaged)
    torch.save({"format": Bomb(touched)}, path)
    assert not tried(damaged)
    assert not touched.exists()


def test_a_folder_with_links_folders_and_nothing_in_place_of_files_is_refused(damaged, tmp_path):
    path = damaged / "checkpoint.pt"
    path.unlink()
    for make in (lambda: path.mkdir(), lambda: path.symlink_to(tmp_path / "nowhere"), lambda: None):
        make()
        assert not tried(damaged)
        if path.is_symlink():
            path.unlink()
        elif path.is_dir():
            path.rmdir()


def nested(depth: int) -> str:
    return '{"family": ' + "[" * depth + "]" * depth + "}"


def sparse(path: Path) -> None:
    """A file of gigabytes that takes no room."""
    path.touch()
    os.truncate(path, 9_000_000_000)


STRANGE: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: path.write_bytes(b""),
    "a folder": Path.mkdir,
    "a pipe that nobody writes to": os.mkfifo,
    "gigabytes": sparse,
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to a device that never ends": lambda path: path.symlink_to("/dev/zero"),
    "lists in lists": lambda path: path.write_text(nested(1000)),
    "ten thousand lists in lists": lambda path: path.write_text(nested(100_000)),
    "lists in lists, as deep as Python reads": lambda path: path.write_text(nested(900)),
    "other bytes": lambda path: path.write_bytes(bytes(range(256)) * 100),
    "UTF-16": lambda path: path.write_bytes("{}".encode("utf-16")),
    "a number of five thousand digits": lambda path: path.write_text('{"seed": ' + "9" * 5000 + "}"),
    "no numbers": lambda path: path.write_text('{"seed": 1e999, "steps": NaN}'),
    "a list": lambda path: path.write_text("[1, 2]"),
}


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("name", ["config.json", "checkpoint.pt"])
def test_something_strange_in_place_of_a_file_is_refused(damaged, name, strange):
    (damaged / name).unlink()
    STRANGE[strange](damaged / name)
    assert not tried(damaged)


def shown(run: Path) -> None:
    """Let a report read a run, and judge it."""
    read = read_run(run)
    evaluate_run(read, find_family(read), 1, 0)
    assert all(words.isprintable() for words in read.missing)


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("name", ["progress.csv", "versions.json", "tasks.json"])
def test_a_report_does_without_a_file_that_is_something_strange(damaged, monkeypatch, name, strange):
    monkeypatch.setattr("metarl.report.runs.evaluate", lambda *args: None)
    (damaged / name).unlink()
    STRANGE[strange](damaged / name)
    assert tried(damaged, shown)


HEAD = "time/timesteps,time/seconds,return/after_0\n"
ROWS: dict[str, tuple[str, int]] = {  # and how many of them can be read
    "a field longer than any": (f"{HEAD}1,1,{'x' * 200_000}\n2,2,2\n", 1),
    "a column with such a name": (f"time/timesteps,{'x' * 200_000}\n1,1\n", 0),
    "two million columns": (HEAD[:-1] + ",a" * 2_000_000 + "\n" + "1,2,3\n" * 1000, 0),
    "a quote that never ends": (f'{HEAD}1,1,1\n"2,2,2\n' + "3,3,3\n" * 50_000, 1),
    "numbers beyond all": (f"{HEAD}1,1,1e300\n2,1e999,nan\n3,-1e308,-1e308\n", 3),
}


@pytest.mark.parametrize("case", ROWS)
def test_rows_that_are_none_are_left_out_and_cost_little(damaged, case):
    text, n_rows = ROWS[case]
    (damaged / "progress.csv").write_text(text)
    progress = []
    assert tried(damaged, lambda run: progress.append(read_run(run).progress))
    lengths = {len(column) for column in progress[0].values()} or {0}
    assert min(lengths) >= n_rows or not n_rows
    assert all(not (abs(column) > 1e30).any() for column in progress[0].values())
    logged(damaged, 2, SECONDS)
    make_logger(damaged, 2, stdout=False).close()


def deflated(path: Path) -> None:
    """A checkpoint of megabytes that unzips to gigabytes."""
    whole = path.read_bytes()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for k in range(8):
            with bomb.open(f"archive/data/{k}", "w", force_zip64=True) as part:
                part.write(bytes(64_000_000))
    assert path.stat().st_size < 100 * len(whole)


def claiming(path: Path) -> None:
    """A checkpoint of which one number says that it is a billion."""
    content = torch.load(path, weights_only=True)
    content["state"]["learner"]["claim"] = torch.zeros(1).expand(10**12)
    torch.save(content, path)


@pytest.mark.parametrize("bomb", [deflated, claiming])
def test_a_checkpoint_that_is_larger_than_it_looks_is_refused(damaged, bomb):
    bomb(damaged / "checkpoint.pt")
    assert not tried(damaged)


@pytest.mark.parametrize(
    "sizes", [{"hidden": [4096] * 64, "width": 4096}, {"hidden": 4096, "width": 4096}, {"hidden": [10**9]}]
)
def test_settings_that_ask_for_more_than_the_checkpoint_holds_are_refused_and_nothing_is_built(
    damaged, monkeypatch, sizes
):
    path, config = damaged / "checkpoint.pt", json.loads((damaged / "config.json").read_text())
    content = torch.load(path, weights_only=True)
    known = {name: value for name, value in sizes.items() if name in config["config"]}
    content["config"] = {k: tuple(v) if isinstance(v, list) else v for k, v in config["config"].items()} | {
        k: tuple(v) if isinstance(v, list) else v for k, v in known.items()
    }
    config["config"] |= known
    torch.save(content, path)
    (damaged / "config.json").write_text(json.dumps(config))
    for kind in LEARNERS.values():
        monkeypatch.setattr(kind, "build_learner", lambda agent: pytest.fail("something was built"))
    assert not tried(damaged)
    assert not tried(damaged, LEARNERS[config["learner"]].load)


@pytest.mark.parametrize("seed", range(3))
def test_everything_a_run_holds_may_be_damaged_at_once(damaged, monkeypatch, seed):
    monkeypatch.setattr("metarl.report.runs.evaluate", lambda *args: None)
    rng = random.Random(seed)
    paths = [path for path in sorted(damaged.iterdir()) if path.is_file()]
    whole = {path: path.read_bytes() for path in paths}
    for _ in range(40):
        for path in rng.sample(paths, rng.randint(1, len(paths))):
            content = bytearray(whole[path])
            at = rng.randrange(len(content))
            piece = rng.choice(
                [b"", b"\0", b"\xff\xfe", b'"', b"[" * 2000, b"9" * 400, b"\x1b[2J", b"NaN", b"\n"]
            )
            content[at : at + rng.choice([0, 1, 8, 1000])] = piece
            path.write_bytes(content)
        tried(damaged)
        tried(damaged, shown)
        for path in paths:
            path.write_bytes(whole[path])
