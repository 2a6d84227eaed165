"""Train many times, side by side."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from metarl.cli.runs import table_of
from metarl.cli.train import DEFAULT_LEARNER, learner_of, settings_of, value_of
from metarl.cli.words import Command, check_amounts, check_common, say, show
from metarl.envs import TaskFamily
from metarl.envs.catalogue import load_family
from metarl.envs.simulate import MUJOCO, Physics
from metarl.errors import InputError
from metarl.files import typed
from metarl.learners import LEARNERS
from metarl.progress import progress
from metarl.runs.run_folder import CONFIG, check_judging
from metarl.runs.sources import changes
from metarl.runs.sweep import Outcome, Training, side_by_side
from metarl.runs.validation import has_reached

OWN = ("--seeds", "--processes", "--out", "--submit", "--submit-with")  # flags that `metarl train` has not so
MOST_SEEDS = 10_000


@dataclass
class Sweep(Command):
    """`metarl sweep`."""

    family: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FAMILY")]
    """a name from `metarl families`, or my_robot.py:MyFamily"""
    seeds: Annotated[str, tyro.conf.arg(metavar="A:B")]
    """of the trainings: 0:10 for 0 to 9, or 0,3,7"""
    learner: Annotated[str, tyro.conf.arg(help=f"which one: {', '.join(LEARNERS)}")] = DEFAULT_LEARNER
    steps: float | None = None
    """environment steps of each, e.g. 2e6 (default: as `metarl train` has it)"""
    out: Path = Path("runs")
    """folder of the run folders, which are called FAMILY-LEARNER-SEED; those that are there go on"""
    processes: int | None = None
    """trainings at a time (default: one per CPU)"""
    n_threads: int = 1
    """physics threads of each"""
    device: str | None = None
    """where the learner computes: cpu or cuda"""
    physics: Physics = MUJOCO
    """what simulates in training, as of `metarl train`"""
    eval_every: float | None = None
    """environment steps between two judgements on the family's validation tasks"""
    target: float | None = None
    """end a training when its return on the validation tasks gets there"""
    submit: Literal["slurm", "local"] | None = None
    """hand them to a cluster's scheduler through submitit instead (local: to try it on this machine)"""
    submit_with: Annotated[str | None, tyro.conf.arg(metavar="NAME=VALUE,...")] = None
    """what submitit is told, e.g. timeout_min=600,slurm_partition=cpu"""
    config: ClassVar[Any]  # of the learner: see `taking`
    words: ClassVar[Sequence[str]]  # all that was typed

    @classmethod
    def taking(cls, words: Sequence[str]) -> type[Command]:
        """With the settings of the learner that is asked for."""
        settings = settings_of(learner_of(words, None))
        return make_dataclass("Sweep", [settings], bases=(cls,), namespace={"words": words}, kw_only=True)

    def run(self) -> int:
        """Train."""
        check_amounts(self.steps, self.processes)
        check_common(0, self.n_threads)
        check_judging(self.eval_every, self.target)
        if self.submit_with is not None and self.submit is None:
            raise InputError("--submit-with goes with --submit slurm, or with --submit local")
        family = load_family(self.family)
        steps = int(self.steps or LEARNERS[self.learner].usual(family)[0])
        trainings = [self._training(seed, family) for seed in parse_seeds(self.seeds)]
        for one in trainings:
            self._check_family(one.path, family)
        missing = [one for one in trainings if not has_reached(self.target, one.path)]
        if len(missing) < len(trainings):
            say(f"{len(trainings) - len(missing)} of {len(trainings)} have reached the target already")
        if self.submit is not None:
            return self._submit(trainings, missing)
        n = self.processes or os.cpu_count() or 1
        say(f"{len(missing)} trainings of {steps:,} steps, {n} at a time, in {self.out}")
        with progress("training", steps * len(missing)) as bar:

            def shown(ended: Sequence[Outcome]) -> None:
                failed = sum(one.status not in (0, 130) for one in ended)
                words = f"{len(ended)} of {len(missing)} have ended" + f", {failed} failed" * bool(failed)
                bar.update(sum(one.done() for one in missing), words)

            ended, interrupted = side_by_side(missing, n, shown)
        return self._told(trainings, ended, interrupted)

    def _told(self, trainings: Sequence[Training], ended: Sequence[Outcome], interrupted: bool) -> int:
        """The table of what there is now, and what is missing; the exit status."""
        table, left_out = table_of([one.path for one in trainings if one.path.is_dir()])
        for line in left_out:
            say(line)
        show(table)
        if interrupted:
            say("interrupted; the same command goes on")
            return 130
        failed = [one for one in ended if one.status]
        for one in failed:
            say(f"{one.training.path}: {one.said or f'exit status {one.status}'}")
        return 1 if failed else 0

    def _check_family(self, path: Path, family: TaskFamily) -> None:
        """Raise InputError if a run that is there was trained on another family than is asked for."""
        changed = changes(path, family) if (path / CONFIG).is_file() else None
        if changed:
            raise InputError(
                f"{path} was trained on another {self.family} ({', '.join(changed)}): give another --out"
            )

    def _training(self, seed: int, family: TaskFamily) -> Training:
        path = self.out / f"{family.name}-{self.learner}-{seed}"
        rest = _without(self.words, OWN)
        if value_of(rest, "--n-threads") is None:
            rest += ["--n-threads", str(self.n_threads)]
        rest.remove(self.family)
        named = ["--family", self.family] if ":" in self.family else []
        new = [self.family, *rest, "--seed", str(seed), "--out", str(path)]
        return Training(path, tuple(new), ("--resume", str(path), *named, *rest))

    def _submit(self, trainings: Sequence[Training], missing: Sequence[Training]) -> int:
        from metarl.runs.submit import submit  # brings submitit

        jobs = submit(missing, self.submit or "local", self.processes, self.submit_with or "")
        say(f"submitted {len(jobs)} trainings: {', '.join(str(job.job_id) for job in jobs)}")
        if self.submit == "slurm":
            say(f"next: metarl runs {typed(self.out)}; the same command goes on with what was interrupted")
            return 0
        ended = [
            Outcome(one, job.result() if job.exception() is None else 1, str(job.exception() or ""))
            for one, job in zip(missing, jobs, strict=True)
        ]
        return self._told(trainings, ended, False)


def parse_seeds(text: str) -> list[int]:
    """Seeds from words such as 0:10 or 0,3,7.

    Raises:
        InputError: they are none.
    """
    found: list[int] = []
    try:
        for part in text.split(","):
            first, colon, last = part.partition(":")
            found += range(int(first or 0), int(last)) if colon else [int(first)]
            if len(found) > MOST_SEEDS:
                raise ValueError
        if not found or min(found) < 0 or max(found) >= 2**63:
            raise ValueError
    except (ValueError, OverflowError, MemoryError):
        raise InputError(f"--seeds {text} are none: write 0:10 for 0 to 9, or 0,3,7") from None
    return list(dict.fromkeys(found))


def _without(words: Sequence[str], flags: Sequence[str]) -> list[str]:
    """Words without some flags and their values."""
    kept: list[str] = []
    skipping = False
    for word in words:
        name = word.partition("=")[0].replace("_", "-")
        if skipping:
            skipping = False
        elif name in flags:
            skipping = "=" not in word
        else:
            kept.append(word)
    return kept
