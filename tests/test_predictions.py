"""Looking at a model's predictions, by what it was told."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_meta_model import SMALL, transitions

from metarl import MetaModel
from metarl.cli import main
from metarl.evaluation.plots import plot_predictions
from metarl.evaluation.predictions import AHEAD, NOTHING, OTHERS, OWN, Predictions, predictions
from metarl.learners.meta_model.replay import Replay
from metarl.sampling.transitions import Transitions


def agent_of(adapts: str, **changed) -> MetaModel:
    """Fresh, but for its scales."""
    agent = MetaModel("PointGoal", replace(SMALL, adapt=adapts, **changed), n_threads=1)
    agent.learner.remember(transitions(60))
    return agent


@pytest.fixture
def lived(monkeypatch) -> Transitions:
    """What was lived through by whoever is looked at: two episodes of 15 steps in six tasks."""
    new = transitions(seed=9)
    new.episode_start[:, 15] = True
    replay = Replay(10**6)
    replay.add(new)
    monkeypatch.setattr("metarl.evaluation.predictions._lived", lambda agent, tasks, seed: replay)
    return new


@pytest.mark.parametrize("adapts", ["memory", "none"])
def test_who_expects_the_mean_of_every_step_is_off_by_what_moves_beyond_it(lived, adapts):
    agent = agent_of(adapts)
    with torch.no_grad():
        for p in agent.learner.params.values():
            p.zero_()
    mean = agent.learner.scales.outcome.scale()[0].numpy()
    found = predictions(agent, [])
    for k, t in enumerate(found.time):
        for ahead in range(1, AHEAD + 1):
            last = t + ahead - 1
            errors = [found.obs[told][k, :, ahead - 1] for told in (OWN, NOTHING, OTHERS)]
            np.testing.assert_array_equal(errors[0], errors[1])
            np.testing.assert_array_equal(errors[0], errors[2])
            if last >= (15 if t < 15 else 30):
                assert np.isnan(errors[0]).all()
                continue
            gap = lived.obs_after[:, last] - lived.obs[:, t] - ahead * mean[:2]
            variance = lived.obs_after.reshape(-1, 2).var(axis=0, ddof=1)
            np.testing.assert_allclose(errors[0], (gap**2 / variance).mean(axis=-1), rtol=1e-3)
            off = lived.reward[:, last] - mean[2]
            expected = off**2 / lived.reward.var(ddof=1)
            np.testing.assert_allclose(found.reward[OWN][k, :, ahead - 1], expected, rtol=1e-3)
    assert list(found.episodes) == [0, 15]


@pytest.mark.slow
@pytest.mark.parametrize(("adapts", "updates"), [("memory", 750), ("gradient", 450)])
def test_a_model_that_adapts_is_nearer_than_one_that_knows_nothing_or_the_wrong_task(lived, adapts, updates):
    agent = agent_of(adapts, hidden=(32, 32), batch=64, window=8, context=8, members=1, lr=3e-3, inner_lr=0.1)
    agent.learner.remember(transitions(200))
    agent.learner.update(updates)
    found = predictions(agent, [])
    first, later = found.time == 0, (found.time >= 8) & (found.time < 15)
    own, nothing, others = (found.obs[told][..., 0] for told in (OWN, NOTHING, OTHERS))
    np.testing.assert_array_equal(own[first], nothing[first])
    assert own[later].mean() < 0.8 * nothing[later].mean()
    assert others[later].mean() > 1.1 * nothing[later].mean()


def test_a_probe_of_a_model_draws_how_far_off_its_predictions_are(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    agent = MetaModel("PointGoal", SMALL, n_threads=1)
    agent.learn(2 * agent.steps_per_iteration)
    agent.save("agent.pt")
    flags = ["--columns", "1", "--episodes", "1", "--n-threads", "1", "--probe", "probe.png"]
    assert main(["evaluate", "agent.pt", "--act", "both", *flags]) == 0
    said = capsys.readouterr().out
    assert "One step ahead its predictions are off by" in said and "wrote probe.png" in said
    assert (tmp_path / "probe.png").read_bytes().startswith(b"\x89PNG")


def test_a_rollout_shows_who_is_asked_to_act(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    agent = MetaModel("PointGoal", SMALL, n_threads=1)
    agent.learn(2 * agent.steps_per_iteration)
    agent.save("agent.pt")
    for who in ("policy", "planner"):
        assert main(["render", "agent.pt", "--act", who, "--out", f"{who}.html"]) == 0
    assert main(["render", "agent.pt", "--out", "default.html"]) == 0
    policy, planner, default = (
        (tmp_path / f"{name}.html").read_text() for name in ("policy", "planner", "default")
    )
    assert policy == default != planner


def test_what_could_not_be_predicted_is_left_out_of_the_picture(tmp_path):
    errors = np.full((5, 3, AHEAD), 0.5)
    errors[3:] = errors[0, 0] = np.nan
    parts = {told: errors for told in (OWN, NOTHING, OTHERS)}
    found = Predictions(np.arange(5), np.array([0]), parts, {told: errors * np.nan for told in parts})
    assert "are off by 0.5 of the variance" in found.words()
    plot_predictions(found, "all simulations blew up", tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000
