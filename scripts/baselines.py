#!/usr/bin/env -S bash -c '"${0%/*}"/environment && exec "${0%/*}"/../.venv/bin/python "$0" "$@"'
"""Measure what others get on a family's held-out tasks: random, average, oracle, and from scratch.

Policies without a memory are trained by the PPO that trains teachers: over the family, without being told the
task (average) and being told it (oracle), and on a few of the held-out tasks alone (from scratch). Teachers
that trainings have kept may be the oracle instead, and where a family brings an expert, that is it. On a few
of the tasks a planner (iCEM) is told the task, too, and tries its plans on the simulator itself, which says
how good the oracle is. Returns go to `envs/references/<family>.json`, where every evaluation finds them.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from metarl import MetaLSTM
from metarl.envs import BatchSim, InputError, Task, TaskFamily, load_family
from metarl.envs.told import known_of
from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.references import (
    ExpertPolicy,
    ModelPolicy,
    PlannedPolicy,
    RandomPolicy,
    References,
    references_of,
)
from metarl.learners.agent import curriculum_width
from metarl.learners.meta_lstm.learner import teaching
from metarl.learners.meta_model.planner.icem import ICEM
from metarl.learners.pupil import LESSON
from metarl.learners.teacher.learner import Teacher
from metarl.progress import progress
from metarl.sampling.lessons import collect_lessons
from metarl.versions import versions

N_EPISODES = 10  # of each task in an evaluation
# 64 plans of 20 steps, in three rounds.
PLANNER = {"horizon": 20, "candidates": 64, "rounds": 3, "elites": 6, "colour": 1.0, "std": 0.5}


@dataclass
class Options:
    """What to measure."""

    family: tyro.conf.Positional[str]
    """a name from `metarl families`"""
    steps: float = 8e6
    """environment steps of the oracle's training"""
    teachers: tuple[Path, ...] = ()
    """runs of the family whose teachers are the oracle, instead of one that is trained for it"""
    average_steps: float = 2e6
    """environment steps of the average's"""
    scratch_steps: float = 1.5e6
    """environment steps of each training from scratch"""
    scratch_tasks: int = 3
    """held-out tasks to train on from scratch, spread over their list"""
    planned_tasks: int = 4
    """held-out tasks to plan in, spread over their list"""
    only_planned: bool = False
    """plan, and leave what was measured else as it is"""
    seeds: int = 1
    """trainings of the average and of the oracle"""
    widen: float = 0.0
    """share of the steps of average and oracle in which dynamics go from the model file's to the tasks'"""
    n_threads: int = 0
    """physics threads, 0 for one per CPU"""


@dataclass(frozen=True)
class Curve:
    """The mean return of an iteration's episodes, by environment steps so far."""

    env_steps: list[int]
    returns: list[float]


def train(
    options: Options,
    family: TaskFamily,
    steps: float,
    seed: int,
    told: bool = False,
    task: Task | None = None,
) -> tuple[ModelPolicy, Curve]:
    """Train a policy without a memory on a family, or on one of its tasks.

    Args:
        options: sizes.
        family: to train on.
        steps: environment steps.
        seed: of everything.
        told: the policy is told the task.
        task: the only one to train on; None for all.
    """
    sim = BatchSim(family, max(1, round(LESSON / family.horizon)), options.n_threads)
    rng, one = np.random.default_rng(seed), sim.n_sims * family.horizon
    n_told = known_of(family) if told else 0
    config = teaching(MetaLSTM.usual(family)[1])
    teacher, curve = Teacher(family.obs_dim, n_told, family.action_dim, config, seed), Curve([], [])

    with progress("training", int(steps), shown=True) as bar:
        for done in range(0, max(1, int(steps) // one) * one, one):
            tasks = [task] * sim.n_sims if task else practised(family, rng, sim.n_sims, told)
            width = 1.0 if task else curriculum_width(done / steps, 0.0, options.widen)
            sim.set_tasks(family.milder(tasks, width) if width < 1 else tasks)
            lessons = collect_lessons(sim, teacher.act, rng)
            teacher.update(lessons, done / steps)
            curve.env_steps.append(done + one)
            curve.returns.append(lessons.mean_return())
            bar.update(done + one, f"return {curve.returns[-1]:.1f}")

    return taught(teacher, family, told), curve


def practised(family: TaskFamily, rng: np.random.Generator, n: int, told: bool) -> list[Task]:
    """Training tasks; for who is told them fresh ones, of which half are drawn as the held-out ones are.

    Else it would be no oracle: it could learn a list by heart, or never have met what it is told of.
    """
    fixed, apart = family.n_train is not None, any(param.test for param in family.params)
    if not (told and (fixed or apart)):
        return family.sample(rng, n)
    like_training = family.sample(rng, n - n // 2, "validation")  # drawn as those of training, never a list
    return like_training + family.sample(rng, n // 2, "test")


def taught(teacher: Teacher, family: TaskFamily, told: bool) -> ModelPolicy:
    """What a teacher would do, by the mean of its actions."""

    def mean(obs: np.ndarray) -> np.ndarray:
        seen, values = np.split(np.asarray(obs, np.float32), [family.obs_dim], axis=1)
        return teacher.show(seen, torch.from_numpy(values)).numpy()

    return ModelPolicy(mean, told)


def kept(run: Path, family: TaskFamily) -> ModelPolicy:
    """The teacher that a run of the family has kept."""
    agent = MetaLSTM.load(run)
    if agent.family_name != family.name:
        raise InputError(f"{run} was trained on {agent.family_name}, not on {family.name}")
    if agent.learner.teacher is None or agent.acts_only:
        raise InputError(f"{run} has no teacher, or has not kept it; leave it out of --teachers")
    return taught(agent.learner.teacher, family, told=True)


def oracles(options: Options, family: TaskFamily) -> list[ModelPolicy | ExpertPolicy]:
    """Who is told the task: teachers that were kept, the family's expert, or whom this trains."""
    if options.teachers:
        return [kept(run, family) for run in options.teachers]
    if family.has_expert:
        return [ExpertPolicy()]
    return [train(options, family, options.steps, seed, told=True)[0] for seed in range(options.seeds)]


def judged(
    policy: ModelPolicy | ExpertPolicy | RandomPolicy, family: TaskFamily, n_threads: int
) -> dict[str, np.ndarray]:
    """Returns and errors on the held-out tasks, then on those out of distribution, (tasks,) each."""
    found: dict[str, list[float]] = {"returns": [], "errors": []}
    for split in ("test", "ood") if family.has_ood else ("test",):
        result = evaluate(policy, family, family.tasks(split), 1, N_EPISODES, n_threads=n_threads)
        found["returns"] += [row[0] for row in result.returns]
        found["errors"] += [row[0] for row in result.error or []]
    return {name: np.array(values) for name, values in found.items()}


def measure(options: Options) -> References:
    """Train and evaluate everything."""
    family = load_family(options.family)
    tasks = [*family.tasks("test"), *(family.tasks("ood") if family.has_ood else [])]
    told = oracles(options, family)
    average = [train(options, family, options.average_steps, seed)[0] for seed in range(options.seeds)]
    found = {}
    for name, policies in (("random", [RandomPolicy()]), ("average", average), ("oracle", told)):
        found[name] = [judged(policy, family, options.n_threads) for policy in policies]
        means = [results["returns"][: family.n_test].mean() for results in found[name]]
        print(f"{family.name}, {name}: {', '.join(f'{mean:.1f}' for mean in means)}", flush=True)

    def mean(what: str) -> dict[str, list[float]]:
        return {name: np.mean([each[what] for each in all_], axis=0).tolist() for name, all_ in found.items()}

    scratch = []
    for k in spread(family, options.scratch_tasks):
        _, curve = train(options, family, options.scratch_steps, 0, task=tasks[k])
        scratch.append({"task": dict(tasks[k]), **vars(curve)})
        print(f"{family.name}, from scratch on {dict(tasks[k])}: {curve.returns[-1]:.1f}", flush=True)
    return References(
        family=family.name,
        tasks=[dict(task) for task in tasks],
        **mean("returns"),
        scratch=scratch,
        made_by={
            "options": vars(options) | {"teachers": [run.name for run in options.teachers]},
            "oracle": "teachers" if options.teachers else "expert" if family.has_expert else "trained",
            "versions": versions(),
        },
        errors=mean("errors") if family.error_unit else {},
        planned=planned(options, family),
    )


def spread(family: TaskFamily, n: int) -> list[int]:
    """Which of the held-out tasks, where a few have to do."""
    return [int(k) for k in np.linspace(0, family.n_test - 1, min(n, family.n_test))]


def planned(options: Options, family: TaskFamily) -> list[dict[str, Any]]:
    """What the planner gets; nothing where nobody can plan."""
    tasks = [family.tasks("test")[k] for k in spread(family, options.planned_tasks)]
    if not tasks or not BatchSim(family, 1).can_be_followed:
        return []
    policy = PlannedPolicy(ICEM(family.action_dim, **PLANNER))
    returns = evaluate(policy, family, tasks, 1, 1, n_threads=options.n_threads).returns
    print(f"{family.name}, planned: {', '.join(f'{one[0]:.1f}' for one in returns)}", flush=True)
    return [{"task": dict(task), "return": one[0]} for task, one in zip(tasks, returns, strict=True)]


def measured(options: Options) -> References:
    """Everything, or what was measured earlier with what is planned now."""
    if not options.only_planned:
        return measure(options)
    family = load_family(options.family)
    if (known := references_of(family)) is None:
        raise InputError(f"nothing was measured on {family.name} yet; leave --only-planned out")
    return replace(known, planned=planned(options, family))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and save; returns the exit status."""
    options = tyro.cli(Options, args=argv, description=__doc__)
    try:
        print(f"saved {measured(options).save()}")
    except InputError as error:
        print(f"baselines: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
