"""What becomes of a policy after something has broken: measured from the moment it broke."""

import json
from pathlib import Path

import numpy as np
import pytest
import recovery

from metarl.cli import main as metarl
from metarl.envs import BatchSim

DT = 0.05
SMALL = ["--learner", "meta-lstm", "--n-trials", "2", "--n-episodes", "1", "--core", "lstm", "--width", "8"]


def curve(falls_to: float, until: float, end: float, length: float = 5.0) -> np.ndarray:
    """Rewards since it broke: low for so many seconds, then as they stay."""
    return np.where(np.arange(round(length / DT)) * DT < until, falls_to, end)


@pytest.mark.parametrize("until", [0.5, 1.0, 2.0])
def test_a_policy_has_settled_when_half_a_second_of_it_stays_as_it_does_in_the_end(until):
    first = np.full((1, round(recovery.BEFORE_IT / DT)), 4.0)
    back = np.hstack([first, curve(-1.0, until, 4.0)[None]])
    (seconds,) = recovery.settled_after(back, DT)
    assert until < seconds <= until + recovery.LATELY  # most of the window has to be good
    lost = np.hstack([first, curve(4.0, until, 1.0)[None]])  # it takes so long to fall, and stays there
    (seconds,) = recovery.settled_after(lost, DT)
    assert until < seconds <= until + recovery.LATELY


def test_who_loses_next_to_nothing_has_settled_at_once():
    rng = np.random.default_rng(0)
    steady = 4 + 0.02 * rng.standard_normal((3, 120))
    np.testing.assert_array_equal(recovery.settled_after(steady, DT), 0)


def test_recoveries_are_told_with_intervals_over_tasks():
    first = np.full(round(recovery.BEFORE_IT / DT), 4.0)
    rewards = np.array([[*first, *curve(low, 1.0, 3.0)] for low in (-1.0, 0.0, 1.0)])
    found = recovery.recovery("run", rewards, DT)
    assert found.before == (4.0, 4.0, 4.0) and found.after == (3.0, 3.0, 3.0)
    assert found.lowest[0] == 0.0 and -1 <= found.lowest[1] < 0 < found.lowest[2] <= 1
    assert 1.0 < found.seconds[1] <= found.seconds[0] <= found.seconds[2] <= 1.6


def test_the_moment_is_the_one_from_which_on_the_number_is_another():
    sim = BatchSim("HalfCheetahBreaks", 4, 1)
    sim.start(np.random.default_rng(0))
    moment, whole = sim.moments("strength").copy(), sim.task_values["strength"].copy()
    for step in range(moment.max() + 1):
        sim.step(np.zeros((4, 6)))
        broken = (sim.task_values["strength"] != whole).any(axis=1)
        np.testing.assert_array_equal(broken, moment <= step)


def test_runs_are_compared_and_what_cannot_break_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for family in ("HalfCheetahBreaks", "PointGoal"):
        assert metarl(["train", family, *SMALL, "--teacher", "0", "--steps", "800", "--out", family]) == 0
    capsys.readouterr()
    files = ["--out", "rewards.png", "--json", "numbers.json"]
    assert recovery.main(["HalfCheetahBreaks", "--episodes", "1", *files]) == 0
    (found,) = json.loads(Path("numbers.json").read_text())
    assert found["run"] == "HalfCheetahBreaks" and found["seconds"][0] > 0
    assert capsys.readouterr().out.startswith("HalfCheetahBreaks: before ")
    assert Path("rewards.png").stat().st_size > 10_000
    assert recovery.main(["PointGoal", "--family", "HalfCheetahBreaks"]) == 2
    assert capsys.readouterr().err == (
        "recovery: a policy of PointGoal cannot act in HalfCheetahBreaks: it is another robot\n"
    )
    assert recovery.main(["PointGoal"]) == 2
    assert capsys.readouterr().err == (
        "recovery: nothing of PointGoal changes once in the midst of an episode\n"
    )
