"""Trainings as jobs of a cluster's scheduler, through submitit."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import submitit

from metarl.errors import InputError
from metarl.runs.sweep import Training

USUAL = {"timeout_min": 24 * 60, "cpus_per_task": 1}  # unless somebody says otherwise


class Job:
    """A training that a scheduler may interrupt and begin again: it goes on from its checkpoint."""

    def __init__(self, training: Training):
        self.training = training

    def __call__(self) -> int:
        """Train; the exit status."""
        return subprocess.run([sys.executable, "-m", "metarl", *self.training.words()]).returncode

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """What is submitted again when the time is up."""
        return submitit.helpers.DelayedSubmission(Job(self.training))


def submit(trainings: Sequence[Training], cluster: str, n: int | None, options: str) -> list[Any]:
    """Hand trainings to a scheduler, as one array of jobs.

    Args:
        trainings: all of them.
        cluster: as submitit calls it.
        n: jobs at a time, where the scheduler takes such a wish; None for as many as it likes.
        options: NAME=VALUE of submitit's `update_parameters`, with commas between.

    Raises:
        InputError: submitit knows no such option, or there is no such scheduler here.
    """
    told: dict[str, Any] = {**USUAL, **({"slurm_array_parallelism": n} if n and cluster == "slurm" else {})}
    for word in filter(None, options.split(",")):
        name, equals, value = word.partition("=")
        if not equals:
            raise InputError(f"--submit-with {word}: write NAME=VALUE, e.g. timeout_min=600")
        told[name] = int(value) if value.lstrip("-").isdigit() else value
    folder = trainings[0].path.parent / "jobs"
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        executor.update_parameters(**told)
        with executor.batch():
            return [executor.submit(Job(one)) for one in trainings]
    except (NameError, RuntimeError, TypeError, submitit.core.utils.FailedJobError) as error:
        raise InputError(f"--submit {cluster}: {str(error).splitlines()[0]}") from None
