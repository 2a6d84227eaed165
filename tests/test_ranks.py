"""Many processes learn what one does, and end together."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import one_of_two
import pytest
import torch
from helpers import SMALL_COMMANDS, TINY_STEPS, saving_often
from torch.utils._pytree import tree_leaves

from metarl import ranks
from metarl.cli import main
from metarl.learners import ppo
from metarl.runs.run_folder import RunFolder

LIMIT = 600  # seconds, after which something hangs, however busy the machine is
TRAIN = {name: ["train", "PointGoal", *flags] for name, flags in SMALL_COMMANDS.items()}
LONG = ["--steps", str(100_000 * TINY_STEPS)]
NEXT_TO_IT = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}


# What is learned.


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[dict[str, Any]]:
    """What each of two processes has come to (tests/one_of_two.py)."""
    folder = tmp_path_factory.mktemp("two")
    script, store = one_of_two.__file__, str(folder / "store")
    both = [
        subprocess.Popen([sys.executable, script, store, str(n), str(folder / f"{n}.pt")], env=NEXT_TO_IT)
        for n in range(2)
    ]
    try:
        assert [process.wait(LIMIT) for process in both] == [0, 0]
    finally:
        for process in both:  # where one hangs, nobody is left
            process.kill()
            process.wait()
    return [torch.load(folder / f"{n}.pt") for n in range(2)]


def as_one(monkeypatch, name: str) -> dict[str, Any]:
    """What one process comes to with all the data, and the minibatches that the two had."""

    def minibatches(n, epochs, count, generator):
        sizes, of_step = [n // 2, n - n // 2], None
        if name == "teacher":  # whose rows are steps, of all simulations one after the other
            first = one_of_two.N_LESSONS // 2
            steps = torch.arange(n).view(-1, one_of_two.N_LESSONS)
            of_step = torch.cat([steps[:, :first].flatten(), steps[:, first:].flatten()])
            sizes = [steps[:, :first].numel(), steps[:, first:].numel()]
        for group in ppo.groups(sizes, epochs, count, generator):
            yield group if of_step is None else of_step[group]

    for module in ("maml", "meta_lstm", "teacher"):
        monkeypatch.setattr(f"metarl.learners.{module}.learner.minibatches", minibatches)
    return one_of_two.learned(one_of_two.LEARNERS[name], range)


@pytest.mark.parametrize("name", one_of_two.LEARNERS)
def test_two_processes_learn_what_one_does_with_the_data_of_both(monkeypatch, two, name):
    whole, other = as_one(monkeypatch, name), two[0]["learned"][name]
    tolerance = 5e-4 if name == "maml trpo" else 1e-6
    for a, b in zip(tree_leaves(whole), tree_leaves(other), strict=True):
        a, b = (torch.as_tensor(0 if x is None else x).double() for x in (a, b))
        torch.testing.assert_close(b, a, rtol=tolerance, atol=tolerance)
    before = one_of_two.LEARNERS[name]()[0].state_dict()
    (kind,) = {"meta", "params"} & {*before}
    moved = max(float((whole[kind][k] - before[kind][k]).abs().max()) for k in before[kind])
    assert moved > 10 * tolerance  # or it would be no wonder


@pytest.mark.parametrize("name", one_of_two.LEARNERS)
def test_both_processes_have_equal_bits(two, name):
    one, other = (tree_leaves(each["learned"][name]) for each in two)
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a, b) if torch.is_tensor(a) else a == b


def test_what_processes_tell_each_other(two):
    for number, found in enumerate(each["functions"] for each in two):
        assert found["each"] == [5, 6]
        assert found["any"] == [False, True]
        assert found["first"] == {"a": 0}
        torch.testing.assert_close(found["mean"]["x"], torch.full((2,), 2 / 3))
        assert found["mean"]["y"] == 3.0
        assert found["nothing"] == 2.0
        assert found["share"] == ([0, 1], [2, 3, 4])[number]


def test_what_one_process_raises_is_raised_in_all(two):
    seen = [each["functions"]["raised"] for each in two]
    assert seen == [["nothing", "NotFiniteError", "LostError"], ["nothing", "NotFiniteError", "ValueError"]]


def test_alone_everything_is_given_back():
    x = torch.tensor([1.0, 2.0])
    assert (ranks.rank(), ranks.count(), ranks.share(5), ranks.threads(0)) == (0, 1, range(5), 0)
    assert ranks.mean(x, 3) is x and ranks.from_first(x) is x
    assert ranks.pool(4, x, x) == (4, x, x)
    assert (ranks.total(7), ranks.each(7), ranks.any_of(True), ranks.any_of(False)) == (7, [7], True, False)
    with pytest.raises(KeyError), ranks.together():
        raise KeyError


@pytest.mark.parametrize("sizes", [[5], [4, 4], [2, 3], [7, 6, 6, 6], [1, 1, 1]])
def test_every_process_has_its_part_of_every_minibatch_and_all_are_met_once(sizes):
    n, generator = sum(sizes), torch.Generator().manual_seed(0)
    epochs = list(ppo.groups(sizes, 2, 3, generator))
    for epoch in (epochs[:3], epochs[3:]):
        assert sorted(torch.cat(epoch).tolist()) == list(range(n))
        assert [len(group) for group in epoch] == [len(part) for part in torch.arange(n).tensor_split(3)]
        edges = [sum(sizes[:k]) for k in range(len(sizes) + 1)]
        for first, last in pairwise(edges):
            own = [int(((group >= first) & (group < last)).sum()) for group in epoch]
            assert max(own) - min(own) <= 1
    after = generator.get_state()
    list(ppo.groups([n], 2, 3, generator.manual_seed(0)))
    assert torch.equal(generator.get_state(), after)  # no matter how many there are


# Whole trainings.


def steps_of(run: Path) -> int:
    return RunFolder(run).load(n_threads=1)[1].num_timesteps


@pytest.mark.slow
def test_a_training_of_two_processes_is_resumed_by_one_and_by_three(tmp_path, capfd):
    run = tmp_path / "run"
    teaching = [*TRAIN["meta-lstm"], "--teacher", "0.5", "--steps", "300000"]
    small = "import metarl.learners.pupil as p; p.LEAST_LESSONS = 1; "
    first = saving_often(*teaching, "--processes", "2", "--out", str(run), before=small)
    process = subprocess.Popen(first)
    wait_for(
        lambda: (run / "progress.csv").is_file() and len((run / "progress.csv").read_text().splitlines()) > 3
    )
    process.send_signal(signal.SIGINT)
    assert process.wait(LIMIT) == 130
    reached = steps_of(run)
    assert 0 < reached < 300_000
    for n in (1, 3):
        more = steps_of(run) + 1500
        words = ["train", "--resume", str(run), "--steps", str(more), "--processes", str(n)]
        assert main(words) == 0
        assert reached < steps_of(run) <= more
    names = set(json.loads((run / "config.json").read_text()))
    assert "processes" not in names


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["first", "other"])
def test_a_killed_process_ends_the_others_with_one_line(tmp_path, victim):
    run = tmp_path / "run"
    process, helper = begun(run)
    os.kill(process.pid if victim == "first" else helper, signal.SIGKILL)
    assert process.wait(LIMIT) == (-signal.SIGKILL if victim == "first" else 1)
    wait_for(lambda: not alive(helper))
    said = Path(f"{run}.err").read_text().splitlines()
    if victim == "other":
        cure = f"go on from the last checkpoint: metarl train --resume {run}"
        assert [line for line in said if "meta-training" not in line] == [
            f"metarl: process 1 was killed (SIGKILL); {cure}"
        ]
    assert not any("Traceback" in line for line in said)
    assert steps_of(run) > 0


@pytest.mark.slow
def test_an_interrupted_training_is_saved_and_nobody_is_left(tmp_path):
    run = tmp_path / "run"
    process, helper = begun(run)
    os.kill(helper, signal.SIGTERM)  # whichever of them is asked, all stop
    assert process.wait(LIMIT) == 130
    assert not alive(helper)
    rows = (run / "progress.csv").read_text().splitlines()
    assert float(rows[-1].split(",")[rows[0].split(",").index("time/timesteps")]) == steps_of(run)


@pytest.mark.slow
def test_a_process_that_raises_leaves_nobody_waiting(tmp_path):
    run = tmp_path / "run"
    (tmp_path / "mine.py").write_text(FAILING)
    words = ["train", "mine.py:Mine", *SMALL_COMMANDS["maml"], *LONG, "--processes", "2", "--out", str(run)]
    done = subprocess.run(
        [sys.executable, "-m", "metarl", *words], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT
    )
    assert done.returncode == 1
    assert "ArithmeticError: of process 1" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("metarl: ")


FAILING = """
import os
from metarl.envs.families.point import PointGoal

class Mine(PointGoal):
    def reward(self, r, action, task):
        if os.environ.get("RANK") == "1":
            raise ArithmeticError("of process 1")
        return super().reward(r, action, task)
"""


def test_more_processes_than_tasks_are_refused(tmp_path, capsys):
    words = [*TRAIN["maml"], "--steps", "2000", "--processes", "3", "--out", str(tmp_path / "run")]
    assert main(words) == 2
    assert "3 processes are more than the 2 tasks" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def begun(run: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A long training of two processes that is under way, and the number of the other one."""
    words = saving_often(*TRAIN["maml"], *LONG, "--processes", "2", "--out", str(run))
    with open(f"{run}.err", "w") as said:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=said)
    log = run / "progress.csv"
    wait_for(lambda: log.is_file() and len(log.read_text().splitlines()) > 2)
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True
    ).stdout.split()
    (helper,) = map(int, children)
    return process, helper


def n_rows(run: Path) -> int:
    log = run / "progress.csv"
    return len(log.read_text().splitlines()) - 1 if log.is_file() else 0


def alive(number: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def wait_for(condition) -> None:
    until = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.05)
