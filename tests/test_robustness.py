"""Nothing lost: kills, damaged files, two trainings in one folder, numbers that are not finite."""

import csv
import hashlib
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import SMALL_COMMANDS, SMALL_MAML, saving_often

from metarl.cli import main
from metarl.envs import BatchSim, InputError, load_family
from metarl.envs.failures import load_failures, replay
from metarl.envs.families.point import PointGoal
from metarl.evaluation.evaluate import evaluate
from metarl.files import UNFINISHED, keep, sweep, unfinished, write_atomically
from metarl.learners import LEARNERS
from metarl.learners.agent import MAX_SKIPPED
from metarl.runs.logs import STEP, make_logger
from metarl.runs.run_folder import FAILURES, PREVIOUS, RunFolder

STEPS = "4800"


def train(*words: str) -> int:
    return main(["train", *words])


@pytest.fixture(params=SMALL_COMMANDS)
def learner(request) -> list[str]:
    """The flags of a small training of each learner."""
    return SMALL_COMMANDS[request.param]


# Kills.


def weights(run: Path) -> str:
    """A hash of everything in a checkpoint that goes on."""
    _, agent = RunFolder(run).load()
    digest = hashlib.sha256()
    for tensor in torch.utils._pytree.tree_leaves(agent.state_dict()):
        digest.update(tensor.numpy().tobytes() if torch.is_tensor(tensor) else repr(tensor).encode())
    return digest.hexdigest()


def killed_and_resumed(run: Path, flags: list[str], n_kills: int, seed: int) -> int:
    """Train with SIGKILLs at random moments; returns how many hit a training at work."""
    rng, hit = random.Random(seed), 0
    command = saving_often("train")
    begin = [*command, "PointGoal", *flags, "--steps", STEPS, "--out", str(run)]
    for k in range(n_kills + 1):
        started = (run / "config.json").exists()
        words = [*command, "--resume", str(run)] if started else begin
        child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if k < n_kills:
            before = (run / "progress.csv").stat().st_mtime if (run / "progress.csv").exists() else 0
            while child.poll() is None and not (
                (run / "progress.csv").exists() and (run / "progress.csv").stat().st_mtime > before
            ):
                time.sleep(0.005)  # until it has begun to train
            time.sleep(rng.uniform(0, 0.25))
            hit += child.poll() is None
            child.send_signal(signal.SIGKILL)
        error = child.communicate(timeout=120)[1]
        assert child.returncode in (0, -signal.SIGKILL), error
    return hit


def rows(run: Path) -> list[dict[str, str]]:
    with open(run / "progress.csv") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_training_killed_at_any_moment_ends_as_one_that_never_was(tmp_path, learner):
    assert train("PointGoal", *learner, "--steps", STEPS, "--out", str(tmp_path / "whole")) == 0
    hit = killed_and_resumed(tmp_path / "killed", learner, n_kills=10, seed=0)
    assert hit >= 4
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    whole, killed = rows(tmp_path / "whole"), rows(tmp_path / "killed")
    clock = ("time/seconds", "time/fps")
    assert [{k: v for k, v in row.items() if k not in clock} for row in killed] == [
        {k: v for k, v in row.items() if k not in clock} for row in whole
    ]
    seconds = [float(row["time/seconds"]) for row in killed]
    assert seconds == sorted(seconds)
    assert not list((tmp_path / "killed").glob(f".*{UNFINISHED}"))


BEGIN = ["PointGoal", *SMALL_MAML, "--steps", "480"]


def content(folder: Path) -> dict[str, bytes]:
    """All that is in a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("n_files", range(5))
def test_a_run_that_was_stopped_before_its_first_checkpoint_begins_anew(
    tmp_path, capsys, n_files, monkeypatch
):
    run, straight = tmp_path / "run", tmp_path / "straight"
    assert train(*BEGIN, "--out", str(straight)) == 0
    with monkeypatch.context() as patch:
        stop_at(patch, n_files)
        with pytest.raises(Stopped):
            train(*BEGIN, "--out", str(run))
    assert not (run / "checkpoint.pt").exists()
    capsys.readouterr()
    assert main(["evaluate", str(run)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    if n_files:
        assert f"has not been trained yet; begin with metarl train --resume {run}" in said
        again = Path(shutil.copytree(run, tmp_path / "again"))
        assert train("--resume", str(again)) == 0
        assert weights(again) == weights(straight)
    assert train(*BEGIN, "--out", str(run)) == 0  # which needs no --force
    assert weights(run) == weights(straight)
    assert not unfinished_in(tmp_path)


class Stopped(BaseException):
    """As if the process were killed."""


def stop_at(patch: pytest.MonkeyPatch, n_files: int) -> None:
    """Stop when so many files have been written."""
    replace, left = os.replace, [None] * n_files

    def counted(*args):
        if not left:
            raise Stopped
        left.pop()
        replace(*args)

    patch.setattr("metarl.files.os.replace", counted)


def unfinished_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if UNFINISHED in path.name]


@pytest.mark.parametrize("n_files", range(5))
def test_a_replacement_that_is_stopped_leaves_the_old_run_whole(tmp_path, n_files, monkeypatch):
    run = tmp_path / "run"
    assert train(*BEGIN, "--out", str(run)) == 0
    before = content(run)
    stop_at(monkeypatch, n_files)
    with pytest.raises(Stopped):
        train(*BEGIN, "--seed", "1", "--out", str(run), "--force")
    assert content(run) == before and list(tmp_path.iterdir()) == [run]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_replacement_that_is_killed_leaves_the_old_or_the_new_run_whole(tmp_path, moment):
    run = tmp_path / "run"
    assert train(*BEGIN, "--out", str(run)) == 0
    before = content(run)
    kill = "import os, metarl.runs.run_folder as r; swap = r.swap; die = lambda: os.kill(os.getpid(), 9); "
    swap = {"before": "die()", "after": "(swap(*a), die())"}[moment]
    command = saving_often("train", before=f"{kill} r.swap = lambda *a: {swap}; ")
    words = [*BEGIN, "--seed", "1", "--out", str(run), "--force"]
    done = subprocess.run([*command, *words], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert unfinished_in(tmp_path)
    if moment == "before":
        assert content(run) == before
    else:
        config, agent = RunFolder(run).load()
        assert (config.seed, agent.num_timesteps) == (1, 0)
    assert train(*words) == 0 and not unfinished_in(tmp_path)  # what was left is swept


def test_force_follows_no_links(tmp_path, capsys, monkeypatch):
    run, kept = tmp_path / "run", tmp_path / "kept"
    assert train(*BEGIN, "--out", str(run)) == 0
    kept.mkdir()
    (kept / "precious").write_text("mine")
    (run / "link").symlink_to(kept)
    (run / "file").symlink_to(kept / "precious")
    (tmp_path / "alias").symlink_to(run)
    capsys.readouterr()
    for out, words in ((tmp_path / "alias", "is a link"), (Path(), "is where you are")):
        monkeypatch.chdir(run)
        assert train(*BEGIN, "--out", str(out), "--force") == 2
        assert f"{words}, which --force does not replace" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert train(*BEGIN, "--out", "run", "--force") == 0
    assert content(kept) == {"precious": b"mine"} and not (run / "link").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["alias", "kept", "run"]


def test_where_folders_cannot_be_swapped_the_old_run_stays_and_the_cure_is_said(
    tmp_path, capsys, monkeypatch
):
    run = tmp_path / "run"
    assert train(*BEGIN, "--out", str(run)) == 0
    before = content(run)

    def fail(*paths):
        raise OSError(22, "folders cannot be swapped here")

    monkeypatch.setattr("metarl.runs.run_folder.swap", fail)
    capsys.readouterr()
    assert train(*BEGIN, "--out", str(run), "--force") == 2
    assert "cannot be swapped here; remove it yourself, or give another --out" in capsys.readouterr().err
    assert content(run) == before and list(tmp_path.iterdir()) == [run]


def test_a_folder_that_only_killed_writes_were_begun_in_has_room(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    unfinished(run / "config.json").touch()
    unfinished(run / "sources").mkdir()
    assert train(*BEGIN, "--out", str(run)) == 0 and not unfinished_in(run)


def test_where_the_checkpoint_is_gone_the_one_before_is_taken(tmp_path, capsys):
    run = tmp_path / "run"
    assert train(*BEGIN, "--out", str(run)) == 0
    shutil.copy(run / "checkpoint.pt", run / PREVIOUS)
    (run / "checkpoint.pt").unlink()
    assert main(["evaluate", str(run), "--columns", "1", "--episodes", "1"]) == 0
    assert f"taking {run / PREVIOUS}" in capsys.readouterr().err


def test_links_in_a_run_that_has_not_begun_are_not_written_through(tmp_path, capsys):
    run, kept = tmp_path / "run", tmp_path / "kept"
    assert train(*BEGIN, "--out", str(run)) == 0
    for path in run.iterdir():
        if path.name != "config.json":
            path.unlink()
    kept.mkdir()
    (run / "sources").symlink_to(kept)
    assert train("--resume", str(run)) == 2 and "no checkpoint" in capsys.readouterr().err
    assert not list(kept.iterdir())


def test_a_shutdown_ends_training_after_the_iteration(tmp_path):
    command = [sys.executable, "-m", "metarl", "train", "PointGoal", *SMALL_MAML, "--steps", "9e6"]
    child = subprocess.Popen([*command, "--out", str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "run" / "progress.csv").exists() or len(rows(tmp_path / "run")) < 2:
        time.sleep(0.02)
    child.send_signal(signal.SIGTERM)
    said = child.communicate(timeout=60)[0]
    assert child.returncode == 130 and "go on with: metarl train --resume" in said
    _, agent = RunFolder(tmp_path / "run").load()
    assert agent.num_timesteps == float(rows(tmp_path / "run")[-1]["time/timesteps"])


# Files.


def test_a_file_has_the_mode_that_the_user_wants_and_a_failed_write_changes_nothing(tmp_path):
    path = tmp_path / "file"
    before = os.umask(0o027)
    try:
        write_atomically(path, lambda file: file.write(b"old"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640

    def fail(file):
        file.write(b"new")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space") as found:
        write_atomically(path, fail)
    assert found.value.filename == str(path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_what_killed_processes_left_half_written_is_swept_and_nothing_else(tmp_path):
    mine = tmp_path / ".mine"
    for path in (unfinished(tmp_path / "checkpoint.pt"), unfinished(tmp_path / "a.mp4", ".mp4"), mine):
        path.touch()
    folder, kept = unfinished(tmp_path / "sources"), tmp_path / "kept"
    folder.mkdir()
    kept.write_text("kept")
    (folder / "link").symlink_to(kept)
    unfinished(tmp_path / "link").symlink_to(tmp_path)
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == [mine, kept]


def test_what_is_swept_of_one_name_is_not_anothers(tmp_path):
    other = unfinished(tmp_path / "run.1")
    for path in (unfinished(tmp_path / "run"), other):
        path.mkdir()
    sweep(tmp_path, "run")
    assert list(tmp_path.iterdir()) == [other]


def test_keeping_a_file_that_is_kept_already_leaves_nothing_behind(tmp_path):
    path, previous = tmp_path / "file", tmp_path / "previous"
    path.write_text("whole")
    for _ in range(2):  # as when a training is killed between keeping a checkpoint and writing the next one
        keep(path, previous)
    assert previous.read_text() == "whole" and sorted(tmp_path.iterdir()) == [path, previous]


def test_the_checkpoint_before_is_kept_and_taken_where_the_last_is_damaged(tmp_path, learner, capsys):
    run = tmp_path / "run"
    if "meta-lstm" in learner:  # whose learning rate depends on the budget, which is raised here
        learner = [*learner, "--lr-schedule", "constant"]
    assert train("PointGoal", *learner, "--steps", "2400", "--out", str(run)) == 0
    assert train("--resume", str(run), "--steps", "4800") == 0
    damaged = (run / "checkpoint.pt").read_bytes()[:-1000]
    (run / "checkpoint.pt").write_bytes(damaged)
    capsys.readouterr()
    assert train("--resume", str(run)) == 0
    said = capsys.readouterr().err
    assert f"taking {run / PREVIOUS}, of " in said and said.count("\n") == 1
    straight = tmp_path / "straight"
    assert train("PointGoal", *learner, "--steps", "4800", "--out", str(straight)) == 0
    assert weights(run) == weights(straight)


def test_a_damaged_checkpoint_does_not_take_the_place_of_the_good_one_before(tmp_path):
    run = tmp_path / "run"
    assert train("PointGoal", *SMALL_MAML, "--steps", "480", "--out", str(run)) == 0
    good = (run / PREVIOUS).read_bytes()
    content = bytearray((run / "checkpoint.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (run / "checkpoint.pt").write_bytes(content)
    folder = RunFolder(run)
    _, agent = folder.load()
    agent.save = lambda path: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space"):
        folder.save(agent)
    assert (run / PREVIOUS).read_bytes() == good


def test_two_trainings_do_not_share_a_folder(tmp_path, capsys):
    run = tmp_path / "run"
    assert train("PointGoal", *SMALL_MAML, "--steps", "240", "--out", str(run)) == 0
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    with RunFolder(run).locked():
        for words in (["--resume", str(run)], ["PointGoal", *SMALL_MAML, "--out", str(run), "--force"]):
            capsys.readouterr()
            assert train(*words, "--steps", "480") == 2
            assert "another training is at work in" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert train("--resume", str(run), "--steps", "480") == 0


def test_a_column_that_is_new_stands_last_in_every_row_of_the_progress(tmp_path):
    path = tmp_path / "progress.csv"
    logger = make_logger(tmp_path, 0, stdout=False)
    for step, stats in ((1, {"b": 0.5}), (2, {"b": 1.5, "a": 2}), (3, {"b": 2.5})):
        for key, value in {STEP: step, **stats}.items():
            logger.record(key, value)
        logger.dump(step)
    logger.close()
    assert path.read_text() == f"{STEP},b,a\n1,0.5,\n2,1.5,2\n3,2.5,\n"
    with path.open("a") as file:
        file.write("1,2,3,4\n")  # a row that somebody else has written is none
    logger = make_logger(tmp_path, 2, stdout=False)
    logger.record(STEP, 3)
    logger.dump(3)
    logger.close()
    assert path.read_text() == f"{STEP},b,a\n1,0.5,\n2,1.5,2\n3,,\n"


# Numbers that are not finite.


DIVERGING = """
import numpy as np
from metarl.envs.families.point import PointGoal


class Diverging(PointGoal):
    'A point whose reward is no number when it goes far to the right.'

    def reward(self, r, action, task):
        trap = np.where(r.qpos[:, 0] > 0.3, np.nan, 0.0)
        return {**super().reward(r, action, task), "trap": trap}
"""


@pytest.mark.parametrize("name", SMALL_COMMANDS)
def test_a_simulation_that_blows_up_is_counted_and_kept_and_poisons_nothing(name, tmp_path):
    source = tmp_path / "mine.py"
    source.write_text(DIVERGING)
    run = tmp_path / "run"
    assert train(f"{source}:Diverging", *SMALL_COMMANDS[name], "--steps", "4800", "--out", str(run)) == 0
    assert float(rows(run)[-1]["simulation/failures"]) > 0
    _, agent = RunFolder(run).load()  # which checks that all its numbers are finite
    failures = load_failures(run / FAILURES, agent.family)
    assert 0 < len(failures) <= 10
    for failure in failures:
        step = replay(agent.family, failure)
        assert step.failed[0] and step.terminated[0]
    with pytest.raises(InputError, match="holds no failures"):
        load_failures(run / "config.json", agent.family)


@pytest.mark.parametrize("name", SMALL_COMMANDS)
def test_what_blew_up_before_a_stop_is_still_known_after_it(name, tmp_path):
    source = tmp_path / "mine.py"
    source.write_text(DIVERGING)
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    steady = ["--lr-schedule", "constant"] if name == "meta-lstm" else []  # whatever the budget
    begin = f"{source}:Diverging", *SMALL_COMMANDS[name], *steady
    assert train(*begin, "--steps", "2400", "--out", str(whole)) == 0
    assert train(*begin, "--steps", "480", "--out", str(parted)) == 0
    for steps in ("960", "2400"):
        assert train("--resume", str(parted), "--steps", steps) == 0
    counts = [[row["simulation/failures"] for row in rows(run)] for run in (whole, parted)]
    assert counts[0] == counts[1] and float(counts[0][1]) > 0
    assert (whole / FAILURES).read_text() == (parted / FAILURES).read_text()


def test_the_others_are_as_if_nothing_had_happened(tmp_path):
    (tmp_path / "mine.py").write_text(DIVERGING)
    sims = [BatchSim(f, 2, 1) for f in (PointGoal(), load_family(f"{tmp_path / 'mine.py'}:Diverging"))]
    for sim in sims:
        sim.set_tasks(sim.family.tasks("test")[:2])
        sim.reset(np.random.default_rng(0))
    for _ in range(5):
        well, ill = (sim.step(np.array([[-0.5, 0.0], [1.0, 0.0]])) for sim in sims)
    np.testing.assert_array_equal(well.obs[0], ill.obs[0])
    assert ill.failed.tolist() == [False, True] and sims[1].n_failures == 2
    assert ill.reward[1] == 0 and sims[0].n_failures == 0


def poison(agent, after: int, for_how_long: int) -> None:
    """Let some updates of an agent end in parameters that are not numbers."""
    update, calls = agent.learner.update, []

    def poisoned(*args):
        stats = update(*args)
        calls.append(None)
        if after < len(calls) <= after + for_how_long:
            tensors = getattr(agent.learner, "meta", None) or agent.learner.params
            with torch.no_grad():
                next(iter(tensors.values())).fill_(float("nan"))
        return stats

    agent.learner.update = poisoned


@pytest.mark.parametrize("name", SMALL_COMMANDS)
def test_an_update_that_is_not_finite_is_taken_back_and_counted(name, tmp_path):
    run = tmp_path / "run"
    assert train("PointGoal", *SMALL_COMMANDS[name], "--steps", "240", "--out", str(run)) == 0
    _, agent = RunFolder(run).load()
    poison(agent, after=1, for_how_long=2)
    seen = []
    agent.learn(agent.num_timesteps + 6 * agent.steps_per_iteration, lambda a, stats: seen.append(stats))
    assert [stats.get("learn/skipped") for stats in seen] == [None, 1.0, 2.0, None, None, None]
    assert agent.skipped == 2 and agent.skipped_in_a_row == 0
    again = LEARNERS[name]("PointGoal", agent.config)
    again.load_state_dict(agent.state_dict())
    assert again.skipped == 2


@pytest.mark.parametrize("name", SMALL_COMMANDS)
def test_training_that_only_diverges_stops_with_a_clear_line_and_a_good_checkpoint(
    name, tmp_path, capsys, monkeypatch
):
    kind, run = LEARNERS[name], tmp_path / "run"
    build = kind.build_learner

    def built(self):
        self.learner = build(self)
        poison(self, after=3, for_how_long=10**6)
        return self.learner

    monkeypatch.setattr(kind, "build_learner", built)
    capsys.readouterr()
    assert train("PointGoal", *SMALL_COMMANDS[name], "--steps", "90000", "--out", str(run)) == 2
    assert f"{MAX_SKIPPED} updates in a row" in capsys.readouterr().err
    monkeypatch.setattr(kind, "build_learner", build)
    assert len(rows(run)) == 3 + MAX_SKIPPED - 1
    RunFolder(run).load()


@pytest.mark.parametrize("name", SMALL_COMMANDS)
def test_learning_and_evaluating_touch_no_global_generator(name):
    agent = LEARNERS[name]("PointGoal", n_threads=1)
    state = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    agent.learn(agent.steps_per_iteration)
    evaluate(agent.adapter(), agent.family, agent.family.tasks("test")[:2], 2, 2, n_threads=1)
    assert random.getstate() == state[0]
    np.testing.assert_array_equal(np.random.get_state()[1], state[1])
    assert torch.equal(torch.get_rng_state(), state[2])
