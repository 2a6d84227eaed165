"""Whatever is in a file: success or one clear line, no traceback, no changed file."""

import json
import pickle
import random
import shutil
from pathlib import Path

import pytest
import torch
from helpers import SMALL_COMMANDS
from torch.utils._pytree import tree_leaves

from metarl.cli import main
from metarl.envs import InputError
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


def tried(run: Path) -> bool:
    """Whether a run folder loads; anything but success and an InputError of one line goes through."""
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    try:
        RunFolder(run).load("cpu", 1)
        loaded = True
    except InputError as error:
        assert str(error) and "\n" not in str(error)
        loaded = False
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    return loaded


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


JUNK = [None, True, -1, 0, 1e308, float("nan"), 10**30, "", "x" * 10_000, "../..", [], {}, [[]], {"a": {}}]


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
