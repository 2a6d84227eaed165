"""The page of a report: for every family its results, its learning, and what it is."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from itertools import combinations
from math import floor, log10
from pathlib import Path
from urllib.parse import quote

import numpy as np

from metarl.envs import Param, Task, TaskFamily
from metarl.evaluation.references import References, references_on, steps_to
from metarl.evaluation.statistics import bootstrap, iqm, probability_of_improvement
from metarl.evaluation.words import conclusion
from metarl.report import figures as draw
from metarl.report import html
from metarl.report.clips import VIDEOS
from metarl.report.groups import Group, differing, words_of, words_of_column
from metarl.report.runs import Run, splits
from metarl.runs.run_folder import in_words

EMBEDDED = 8_000_000  # bytes of clips that a page may hold
SPLITS = {"test": "held-out test tasks", "ood": "tasks out of distribution"}
POLICIES = {"oracle": "told the task", "average": "the same on all tasks", "random": "any actions"}
MODES = {"set": "is", "scale": "scales", "add": "is added to"}  # what a number does to a model's field


@dataclass(eq=False)
class Part:
    """What a page says of one family.

    Attributes:
        name: as the runs call it.
        family: None if it is no longer there.
        groups: of runs on it.
    """

    name: str
    family: TaskFamily | None
    groups: list[Group]

    @property
    def title(self) -> str:
        """The family's name, without the file that it may be in."""
        return self.name.rpartition(":")[2]

    @property
    def runs(self) -> list[Run]:
        """Of all groups."""
        return [run for group in self.groups for run in group.runs]


def report_page(parts: Sequence[Part], missing: Sequence[str], folder: Path) -> str:
    """The whole page.

    Args:
        parts: one a family.
        missing: what is missing in the run folders, in words.
        folder: where the page will be, from which links to large clips lead.
    """
    title = ", ".join(part.title for part in parts)
    runs = [run for part in parts for run in part.runs]
    folders = ", ".join(str(run.folder) for run in runs)
    body = [
        html.heading(1, "metarl report"),
        html.paragraph(f"{_count(len(runs), 'run')}: {folders}", "faint"),
    ]
    if missing:
        body.append(html.notes("What is missing", missing))
    if changed := [f"{run.folder}: {in_words(run.changed)}" for run in runs if run.changed]:
        body.append(html.notes("What has changed", changed))
    for k, part in enumerate(parts):
        body += [html.heading(2, part.title), *_family(part, f"family-{k}")]
    body += _clips(runs, folder)
    return html.page(f"metarl report: {title}", body)


# Of one family.


def _family(part: Part, name: str) -> Iterator[str]:
    """Everything about one family; the names of its figures begin with the name."""
    if part.family is not None:
        yield from map(html.paragraph, _doc(part.family)[:1])
    yield html.heading(3, "Runs")
    yield _runs(part.groups)
    if part.family is not None:
        judged = [group for group in part.groups if group.trainings]
        if judged:
            yield from _results(judged, part.family, name)
    logged = [group for group in part.groups if any(run.progress for run in group.runs)]
    if logged:
        yield html.heading(3, "Learning")
        caption = (
            "Return on training tasks as learning goes on. Thin lines: each run. Thick: the moving mean "
            f"over 1/{draw.WINDOWS} of the run; of several runs, the mean of those that go so far."
        )
        yield html.figure(f"{name}-learning", draw.learning(logged), caption)
    if part.family is not None:
        yield html.details(f"What {part.title} is", *_definition(part.family))
    yield html.details("Settings", *(html.details(str(r.folder), html.code(r.text)) for r in part.runs))
    yield html.details("Versions", _versions([run for run in part.runs if not run.judged]))


def _results(groups: Sequence[Group], family: TaskFamily, name: str) -> Iterator[str]:
    references = {split: references_on(family, family.tasks(split)) for split in splits(family)}
    for group in groups:
        found = conclusion(group.results["test"], family, group.trained_column)
        yield html.paragraph(f"{group.title}. {found}")
    yield html.heading(3, "Adaptation")
    caption = (
        f"Mean return on {_count(family.n_test, 'held-out test task')} against experience on the task. "
        "Shaded: 95 % bootstrap interval over tasks and, where there are several, trainings. "
        "Large marks: the adaptation that training has worked for."
    )
    if references["test"]:
        caption += f" Horizontal: policies that do not adapt ({', '.join(POLICIES)})."
        if references["test"].scratch:
            caption += " From scratch: PPO's own return as it learns on a single one of the tasks."
    yield html.figure(f"{name}-adaptation", draw.adaptation(groups, references["test"], family), caption)
    for split, known in references.items():
        if there := [group for group in groups if split in group.results]:
            yield html.heading(3, f"Returns on {SPLITS[split]}")
            yield _returns(there, split, known, family.horizon)
    first = dict.fromkeys(words_of_column(group.results["test"], 0) for group in groups)
    words = [
        "In brackets: 95 % bootstrap intervals.",
        "IQM: inter-quartile mean.",
        f"Gain: over the return on the same tasks {' or '.join(first)}.",
        "As trained: the adaptation that training has worked for.",
    ]
    if references["test"]:
        words.append("Over average: over the policy that is the same on all tasks.")
        words.append("Score: 0 for random actions, 1 for a policy that is told the task.")
        if beside := references["test"].beside_planned():
            words.append(
                f"On {len(references['test'].planned)} of these tasks, a planner that is told the task and "
                f"tries its plans on the simulator itself gets {beside[0]:.4g}, the policy that is told the "
                f"task {beside[1]:.4g}."
            )
    if any(group.results["test"].success for group in groups):
        words.append("Success: share of episodes that end at the goal.")
    if not family.disjoint:
        words.append("The test tasks are the training tasks: the family has no others.")
    yield html.paragraph(" ".join(words), "faint")
    if references["test"] and references["test"].scratch:
        yield html.heading(3, "Learning from scratch")
        yield from _scratch(groups, references["test"], family)
    if len(groups) > 1:
        yield html.heading(3, "Who is better")
        yield from _improvement(groups)
    yield html.heading(3, "Return and task")
    yield _against_task(groups, family, name)


def _returns(groups: Sequence[Group], split: str, references: References | None, horizon: int) -> str:
    """A row for each column of each result, and one for each reference."""
    results = [group.results[split] for group in groups]
    digits = _digits([x for result in results for x in result.mean])
    scores = any(None not in result.score for result in results)
    successes = any(result.success for result in results)
    averages = any(result.average is not None for result in results)
    head = ["adaptation", "episodes used", "steps used", "mean return", "IQM", "gain"]
    head += ["over average"] * averages
    blocks: dict[str, list[list[str]]] = {}
    for group, result in zip(groups, results, strict=True):
        rows = blocks[group.title] = []
        several = len(result.tasks) > 1 or len(group.trainings) > 1
        for k, mean in enumerate(result.mean):
            words = words_of_column(result, k) + ", as trained" * (k == group.trained_column)
            row = [words, f"{result.episodes_used[k]:,}", f"{result.env_steps_used[k]:,.0f}"]
            row += [_interval(mean, result.ci95[k], digits, "", several), _real(result.iqm[k], digits)]
            row += [_interval(result.gain[k], result.gain_ci95[k], digits, "+", several) if k else ""]
            if result.gain_over_average is not None and result.gain_over_average_ci95 is not None:
                over, ends = result.gain_over_average[k], result.gain_over_average_ci95[k]
                row += [_interval(over, ends, digits, "+", several)]
            row += ["" if (score := result.score[k]) is None else _real(score, 2)] * scores
            row += [f"{100 * np.mean(result.success, axis=0)[k]:.0f} %" if result.success else ""] * successes
            rows.append(row)
    if references:
        blocks["policies that do not adapt"] = [
            [
                f"{name}: {words}, {np.mean(getattr(references, name)) / horizon:.2g} a step",
                "",
                "",
                *_reference(references, getattr(references, name), digits),
            ]
            for name, words in POLICIES.items()
        ]
    return html.table(head + ["score"] * scores + ["success"] * successes, blocks)


def _reference(references: References, returns: Sequence[float], digits: int) -> list[str]:
    """A reference's mean return and score in a table of returns."""
    columns = np.array(returns)[:, None]
    low, high = bootstrap(columns)[0]
    mean = _interval(columns.mean(), (low, high), digits)
    return [mean, _real(iqm(columns)[0], digits), "", "", _real(references.score(columns)[0], 2)]


def _scratch(groups: Sequence[Group], references: References, family: TaskFamily) -> Iterator[str]:
    """How long plain reinforcement learning takes to do as well on a single task."""
    results = [(group, group.results["test"], group.trained_column) for group in groups]
    digits = _digits([x for _, result, k in results for x in np.array(result.returns)[:, k]])
    blocks: dict[str, list[list[str]]] = {}
    for curve in references.scratch:
        rows = blocks[family.words(Task(curve["task"]))] = []
        place = references.tasks.index(curve["task"])
        for group, result, k in results:
            value = result.returns[place][k]
            steps = steps_to(curve, value)
            most = f"more than {curve['env_steps'][-1]:,}"
            took = f"{result.env_steps_used[k]:,.0f}"
            rows.append([group.label, took, _real(value, digits), most if steps is None else f"{steps:,}"])
    yield html.table(["", "steps used", "mean return", "steps of PPO to that return"], blocks)
    yield html.paragraph(
        "On single tasks: the steps that adaptation as trained has used there, the return after it, and how "
        "many steps PPO that starts from nothing takes until the episodes of its training return as much.",
        "faint",
    )


def _improvement(groups: Sequence[Group]) -> Iterator[str]:
    rows = []
    for one, other in combinations(groups, 2):
        chance, interval = probability_of_improvement(
            *(g.returns("test")[..., g.trained_column] for g in (one, other))
        )
        rows.append([one.label, other.label, _interval(chance, interval, 2)])
    yield html.table(["first", "second", "P(first > second)"], rows, 2)
    yield html.paragraph(
        "How likely a training of the first has a higher return than one of the second on a held-out test "
        "task, each after the gradient steps, or in the episode, that its training has worked for; the "
        "experience that this takes may differ.",
        "faint",
    )


def _against_task(groups: Sequence[Group], family: TaskFamily, name: str) -> str:
    sizes = [family.size(param) for param in family.params]
    if sizes == [1]:
        caption = "Return on each task against the number that varies, each learner in its colour."
        if any(len(group.trainings) > 1 for group in groups):
            caption += " Lines: mean of the trainings. Bands: from the worst of them to the best."
        return html.figure(f"{name}-task", draw.against_one(groups, splits(family), family), caption)
    if sizes == [1, 1]:
        caption = "Return on each task, as a colour, over the two numbers that vary."
        if len(splits(family)) > 1:
            caption += " Dashed: where tasks out of distribution are drawn."
        return html.figure(f"{name}-task", draw.against_two(groups, splits(family), family), caption)
    return html.paragraph(f"Not drawn: {sum(sizes)} numbers vary between tasks, more than a plane can show.")


# Of the runs.


def _runs(groups: Sequence[Group]) -> str:
    blocks = {}
    for group in groups:
        rivals = [g for g in groups if g.learner == group.learner]
        apart = ", ".join(words_of(name, group.settings.get(name)) for name in differing(rivals))
        title = group.label if apart in group.label else f"{group.label}: {apart}"
        blocks[title] = [
            [
                str(run.folder),
                "" if run.judged else str(run.config.seed),
                "" if run.judged else "?" if run.steps is None else f"{run.steps:,}",
                "" if run.judged else f"{run.config.steps:,}",
            ]
            for run in group.runs
        ]
    return html.table(["folder", "seed", "steps trained", "asked for"], blocks)


def _versions(runs: Sequence[Run]) -> str:
    """Versions in columns of runs that have the same ones."""
    kinds: list[dict[str, str]] = []
    for run in runs:
        if run.versions not in kinds:
            kinds.append(run.versions)
    names = list(dict.fromkeys(name for kind in kinds for name in kind))
    heads = [", ".join(str(run.folder) for run in runs if run.versions == kind) for kind in kinds]
    rows = [[name, *(kind.get(name, "?") for kind in kinds)] for name in names]
    return html.table(["", *heads], rows, len(heads) + 1)


def _clips(runs: Sequence[Run], folder: Path) -> Iterator[str]:
    """Videos in the page, as long as they are small enough, and links to the rest."""
    room = EMBEDDED
    if any(run.clips for run in runs):
        yield html.heading(2, "Clips")
    for path in [path for run in runs for path in run.clips]:
        size = path.stat().st_size
        address = quote(os.path.relpath(path.resolve(), folder.resolve()))
        if path.suffix.lower() not in VIDEOS:
            yield html.link(address, str(path), " (a page of its own)")
        elif size > room:
            yield html.link(address, str(path), f" ({size / 1e6:.1f} MB, too large to be in this page)")
        else:
            room -= size
            yield html.clip(path, path.read_bytes())


# Of the family.


def _definition(family: TaskFamily) -> Iterator[str]:
    yield from map(html.paragraph, _doc(family))
    head = ["parameter", "kind", "training", "held out", "out of distribution", "unit", "effect", "numbers"]
    yield html.table(head, [_param(family, param) for param in family.params], 7)
    seconds = family.horizon * family.dt
    yield html.paragraph(
        f"Episodes of {family.horizon} steps of {family.dt:g} s ({seconds:g} s). "
        f"Observation: {_count(family.obs_dim, 'number')}; action: {_count(family.action_dim, 'number')} "
        f"in [-1, 1]. Tasks: {family.n_train or 'fresh draws'} for training, {family.n_test} test, "
        f"{family.n_ood if family.has_ood else 'none'} out of distribution."
    )


def _param(family: TaskFamily, param: Param) -> list[str]:
    effect = "reward"
    if param.field is not None:
        objects = ", ".join(param.objects) if param.objects else "all"
        effect = f"{MODES[param.mode]} {param.field} of {objects}"
    ood = str(param.ood) if param.ood is not None else ""
    ranges = [str(param.train), str(param.distribution("test")), ood]
    return [param.name, param.kind, *ranges, param.unit, effect, str(family.size(param))]


def _doc(family: TaskFamily) -> list[str]:
    """Paragraphs of the family's docstring."""
    return [" ".join(text.split()) for text in cleandoc(type(family).__doc__ or "").split("\n\n") if text]


# Words and numbers.


def _count(n: int, thing: str) -> str:
    return f"{n} {thing}{'s' * (n != 1)}"


def _digits(values: Sequence[float]) -> int:
    """Digits after the point that show three significant ones of the largest value, and one at least."""
    largest = max((abs(x) for x in values if np.isfinite(x)), default=0.0)
    return max(1, 2 - floor(log10(largest))) if largest else 1


def _real(x: float, digits: int, sign: str = "") -> str:
    return f"{round(x, digits) + 0.0:{sign}.{digits}f}".replace("-", "−")  # noqa: RUF001 - a minus sign is meant


def _interval(x: float, ends: Iterable[float], digits: int, sign: str = "", several: bool = True) -> str:
    if not several:  # a single number has no interval
        return _real(x, digits, sign)
    return f"{_real(x, digits, sign)} [{', '.join(_real(end, digits, sign) for end in ends)}]"
