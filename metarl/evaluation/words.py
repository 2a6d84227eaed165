"""What an evaluation found, in a few sentences."""

import numpy as np

from metarl.envs import Task, TaskFamily
from metarl.evaluation.evaluate import Evaluation
from metarl.evaluation.references import References, references_on, steps_to
from metarl.learners.adapter import is_episode, n_forgotten

SPLITS = {
    "test": "held-out task",
    "ood": "task out of distribution",
    "train": "training task",
    "given": "given task",
}


def conclusion(result: Evaluation, family: TaskFamily, column: int | None = None) -> str:
    """What a person may take home from an evaluation.

    Args:
        result: the evaluation.
        family: whose tasks it is on.
        column: which counts; None for the last one.

    Returns:
        One to four sentences.
    """
    last = len(result.mean) - 1
    column = last if column is None else min(column, last)
    known = references_on(family, [Task(values) for values in result.tasks])
    sentences = [_what(result, family, column, known), *([_worth(result, known, column)] if known else [])]
    if known and known.scratch:
        sentences.append(_scratch(result, known, column))
    if result.failures and any(result.failures):
        sentences.append(_failures(result))
    return " ".join(sentences)


def _what(result: Evaluation, family: TaskFamily, column: int, known: References | None) -> str:
    n, kind = len(result.tasks), SPLITS.get(result.split if family.disjoint else "train", "task")
    of_memory = is_episode(result.column, column)
    used, kept = result.env_steps_used, n_forgotten(result.column)
    steps = used[column] - used[min(kept, column)] + of_memory * family.horizon
    when = result.title(column)
    shorter = family.defines("terminated") or steps < result.episodes_used[column] * family.horizon
    paid = f"{'up to ' * (of_memory and shorter)}{steps * family.dt:.3g} s of robot time"
    if of_memory:
        start = f"In {when} ({paid} in all)"
    elif column:
        start = f"{when.capitalize()} ({result.episodes_used[column]} episodes, {paid})"
    else:
        start = when.capitalize()
    start += f" on {n} {kind.replace('task', 'tasks') if n > 1 else kind}"
    told = ""
    if result.error is None or not np.isfinite(result.error).all():
        of, end = "its mean return is", ""
        words = [f"{value:.4g}" for value in result.mean]
    else:
        of, end, unit = "it is", " off on average", family.error_unit
        words = [f"{off:.2g} {unit}".rstrip() for off in np.mean(result.error, axis=0)]
        if known and known.errors:
            told = f"; a policy that is told the task: {np.mean(known.errors['oracle']):.2g} {unit}".rstrip()
    before = f" ({result.title(0)}: {words[0]})" if column else ""
    return f"{start} {of} {words[column]}{end}{before}{told}."


def _worth(result: Evaluation, known: References, column: int) -> str:
    oracle, score = np.mean(known.oracle), result.score[column]
    return (
        f"A return of {result.mean[column]:.4g}, where a policy that is told the task gets {oracle:.4g} and "
        f"random actions {np.mean(known.random):.4g}: score {score:.2f}."
    )


def _failures(result: Evaluation) -> str:
    n_episodes = len(result.tasks) * result.episodes_per_column
    each = ", ".join(f"{n} in {result.title(k)}" for k, n in enumerate(result.failures or ()) if n)
    return (
        f"Simulations blew up or gave numbers that are not finite ({each}, of {n_episodes} episodes each): "
        "such an episode counts as it was until then, so do not trust these returns; metarl check says what "
        "may help."
    )


def _scratch(result: Evaluation, known: References, column: int) -> str:
    needed = [
        steps_to(curve, result.returns[known.tasks.index(curve["task"])][column]) for curve in known.scratch
    ]
    there = [steps for steps in needed if steps is not None]
    most = max(curve["env_steps"][-1] for curve in known.scratch)
    if len(there) <= len(needed) / 2:
        return f"PPO from scratch on one such task does not get as much in {most / 1e6:.2g} million steps."
    return f"PPO from scratch needs {np.median(there) / 1e6:.2g} million steps on one such task for as much."
