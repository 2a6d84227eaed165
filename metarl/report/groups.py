"""Runs that differ by nothing but their seed are trainings of one learner, and are judged together."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from metarl.errors import plain
from metarl.evaluation.evaluate import Evaluation
from metarl.evaluation.statistics import iqm, stratified_bootstrap
from metarl.learners.adapter import is_episode
from metarl.report.runs import Run

LONGEST = 32  # characters of settings in a label


@dataclass(eq=False)
class Group:
    """Trainings of one learner with one set of settings.

    Attributes:
        learner: its name.
        label: the same, and what tells it from the other groups of its family.
        settings: what the runs were asked for, but for their seed and where they compute.
        runs: all of them.
    """

    learner: str
    label: str
    settings: dict[str, Any]
    runs: list[Run]

    @cached_property
    def trainings(self) -> list[Run]:
        """The runs that could be evaluated, each seed once: a copy is not another training."""
        first = {run.config.seed: run for run in reversed(self.runs) if run.evaluations}
        return [run for run in self.runs if run is first.get(run.config.seed)]

    @property
    def title(self) -> str:
        """The label, and how many trainings there are of it."""
        n = len(self.trainings)
        return self.label if n == 1 else f"{self.label} ({n or 'no'} trainings)"

    @property
    def trained_column(self) -> int:
        """The column of the evaluations that training has worked for, the same for all."""
        return self.trainings[0].trained_column

    @property
    def adapted(self) -> str:
        """When that column's episodes are played, in words."""
        return words_of_column(self.results["test"], self.trained_column)

    def returns(self, split: str) -> np.ndarray:
        """Returns on a split, (trainings, tasks, columns)."""
        return np.array([run.evaluations[split].returns for run in self.trainings])

    @cached_property
    def results(self) -> dict[str, Evaluation]:
        """By split that all were judged on: the evaluations of the trainings, of which there must be one."""
        found = [run.evaluations for run in self.trainings]
        shared = [split for split in found[0] if all(split in evaluations for evaluations in found)]
        return {split: pool([evaluations[split] for evaluations in found]) for split in shared}


def pool(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Evaluations of several trainings on the same tasks as one; of a single training, its own.

    Numbers are means over trainings; intervals resample tasks and trainings.
    """
    if len(evaluations) == 1:
        return evaluations[0]
    one = evaluations[0]
    returns = np.array([e.returns for e in evaluations])  # (trainings, tasks, columns)
    gains = returns - returns[:, :, :1]
    over = None if one.average is None else returns - np.array(one.average)[:, None]

    def mean(name: str) -> list[Any]:
        return np.mean([getattr(e, name) for e in evaluations], axis=0).tolist()

    def ci95(values: np.ndarray) -> list[list[float]]:
        return stratified_bootstrap(values, lambda drawn: drawn.mean(axis=(0, 1))).T.tolist()

    return replace(
        one,
        env_steps_used=mean("env_steps_used"),
        returns=mean("returns"),
        episode_returns=np.concatenate([e.episode_returns for e in evaluations], axis=2).tolist(),
        success=None if one.success is None else mean("success"),
        error=None if any(e.error is None for e in evaluations) else mean("error"),
        mean=mean("mean"),
        iqm=iqm(np.concatenate(returns)).tolist(),
        ci95=ci95(returns),
        gain=mean("gain"),
        gain_ci95=ci95(gains),
        score=one.score if None in one.score else mean("score"),
        gain_over_average=None if over is None else mean("gain_over_average"),
        gain_over_average_ci95=None if over is None else ci95(over),
    )


def group(runs: Iterable[Run]) -> list[Group]:
    """The runs of one family by learner and settings, in the order in which they come."""
    groups: list[Group] = []
    for run in runs:
        learner, settings = run.config.learner, {**run.config.config, "steps": run.config.steps}
        same = [g for g in groups if (g.learner, g.settings) == (learner, settings)]
        if not same:
            same = [Group(learner, learner, settings, [])]
            groups += same
        same[0].runs.append(run)
    for learner in {g.learner for g in groups}:
        _tell_apart([g for g in groups if g.learner == learner])
    return groups


def differing(groups: Sequence[Group]) -> list[str]:
    """Names of the settings in which groups of one learner differ."""
    names = dict.fromkeys(name for g in groups for name in g.settings)
    return [n for n in names if any(g.settings.get(n) != groups[0].settings.get(n) for g in groups)]


def words_of_column(result: Evaluation, k: int) -> str:
    """When an evaluation's episodes of column k are played, in words."""
    return f"in {result.title(k)}" if is_episode(result.column, k) else result.title(k)


def words_of(name: str, value: Any) -> str:
    """A setting in words."""
    if name == "steps":
        return f"{value:,} steps"
    return plain(f"{name} {value if isinstance(value, str) else json.dumps(value)}")


def _tell_apart(groups: Sequence[Group]) -> None:
    """Put into the labels of one learner's groups the settings that differ, or a number if those are many."""
    names = differing(groups)
    told = [", ".join(words_of(name, g.settings.get(name)) for name in names) for g in groups]
    if len(groups) > 1:
        for k, (g, words) in enumerate(zip(groups, told, strict=True), start=1):
            g.label = f"{g.label}, {words}" if max(map(len, told)) <= LONGEST else f"{g.label} {k}"
