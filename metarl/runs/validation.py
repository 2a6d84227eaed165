"""Training that looks where it is going: a quick judgement now and then, and the best policy kept."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.references import references_on
from metarl.learners.agent import Agent
from metarl.runs.logs import logged

RETURN, SCORE = "eval/return", "eval/score"  # as they are logged, of all learners
FAILED = "eval/failures"  # logged instead where there were any
N_TRIALS = 2  # of each task, of a policy that needs no episodes to adapt
SEED = 0


@dataclass(frozen=True)
class Judgement:
    """What a policy gets on the family's validation tasks, after the adaptation that training works for.

    Attributes:
        mean: return, over tasks.
        score: (mean - random) / (oracle - random), both references means over the test tasks; None where
            they are not known.
        failures: episodes that ended in numbers that are not finite, so that the others mean little.
    """

    mean: float
    score: float | None
    failures: int = 0

    def to_log(self) -> dict[str, float]:
        """Numbers to log."""
        if self.failures:
            return {FAILED: self.failures}
        return {RETURN: self.mean, **({} if self.score is None else {SCORE: self.score})}


def has_reached(target: float | None, run: Path, until: int = sys.maxsize) -> bool:
    """Whether a run's last judgement up to a step got to a target; to none nobody gets."""
    return is_there(target, logged(run, until, RETURN)[0])


def is_there(target: float | None, judged: Sequence[float]) -> bool:
    """Whether the last of a run's judgements got to a target; to none nobody gets."""
    return target is not None and bool(judged) and judged[-1] >= target


def judge(agent: Agent) -> Judgement:
    """Judge an agent as it is now; nothing of its training changes, not even what it would draw next."""
    adapter, family = agent.adapter(), agent.family
    n_columns = agent.trained_column + 1
    n_episodes = agent.evaluation_size[1] if adapter.shares_episodes else N_TRIALS
    tasks = family.tasks("validation")
    found = evaluate(adapter, family, tasks, n_columns, n_episodes, seed=SEED, n_threads=agent.n_threads)
    known, column = references_on(family, family.tasks("test")), agent.trained_column
    score = float(known.score(np.array(found.returns))[column]) if known else None
    return Judgement(found.mean[column], score, sum(found.failures or ()))
