"""One HTML page about one or several run folders: what they learned, and what is missing."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from metarl.box import unboxed
from metarl.envs import InputError
from metarl.envs.catalogue import absolute
from metarl.files import check_writable, write_atomically
from metarl.progress import progress
from metarl.report.groups import Group, group
from metarl.report.page import Part, report_page
from metarl.report.runs import Run, evaluate_run, find_family, read_evaluations, read_run


def write_report(
    folders: Sequence[Path],
    out: Path,
    n_threads: int = 0,
    seed: int = 0,
    progress_bar: bool = False,
    families: Sequence[str] = (),
) -> list[str]:
    """Evaluate runs on held-out tasks, and write all there is to see about them into one HTML page.

    Args:
        folders: run folders; those that differ by nothing but their seed are judged together. And files of
            evaluations (`read_evaluations`), those of one learner being trainings of it.
        out: the page to write; it needs no other file, and no network.
        n_threads: physics threads, 0 for one per CPU.
        seed: of initial states and actions in evaluation.
        progress_bar: show one.
        families: `file.py:ClassName`, each instead of the family of this class that runs were trained on,
            whose code runs only if it is named, or has been before.

    Returns:
        What is missing in the folders, in words; the page says so too, and shows the rest.

    Raises:
        InputError: nothing that was given can be read, or there cannot be a page `out`.
    """
    if out.suffix.lower() != ".html":
        raise InputError(f"cannot write a page {out}: give the path of a file that ends in .html")
    check_writable(out)
    if not folders:
        raise InputError("which runs? give one or more run folders")
    once: dict[Path, Path] = {}
    for folder in map(unboxed, folders):
        once.setdefault(folder.resolve(), folder)
    runs: list[Run] = []
    parts, missing = [], []
    for k, path in enumerate(once.values()):
        judged = path.suffix == ".json" and path.is_file()
        try:
            runs.append(read_evaluations(path, k) if judged else read_run(path))
        except (InputError, OSError) as error:
            missing.append(f"{path} is left out: {error}")
            if len(missing) == len(once):
                raise
    full = {name.rpartition(":")[2]: name for name in (r.config.family for r in runs if not r.judged)}
    for run in runs:  # an evaluation tells a family's name without the file that it is in
        run.config = replace(run.config, family=full.get(run.config.family, run.config.family))
    for name in families:
        _name_family(runs, absolute(name))
    with progress("evaluating", len(runs), shown=progress_bar) as bar:
        for name in dict.fromkeys(run.family for run in runs):
            part = Part(name, None, group(run for run in runs if run.family == name))
            parts.append(part)
            try:
                (family, *_) = [find_family(run) for run in part.runs]
            except InputError as error:
                missing.append(f"{name} is not evaluated: {error}")
                continue
            part.family = family
            for run in part.runs:
                bar.update(runs.index(run), str(run.folder))
                evaluate_run(run, family, n_threads, seed)
            _name_copies(part.groups)
        bar.update(len(runs))
    missing += [words for run in runs for words in run.missing]
    page = report_page(parts, missing, out.parent)
    write_atomically(out, lambda file: file.write(page.encode(errors="replace")))
    return missing


def _name_family(runs: Sequence[Run], name: str) -> None:
    kind = name.rpartition(":")[2]
    named = [run for run in runs if run.config.family.rpartition(":")[2] == kind]
    if not named:
        raise InputError(f"--family {name}: none of the runs is of a family {kind}; leave it out")
    for run in named:
        run.named = name


def _name_copies(groups: Sequence[Group]) -> None:
    for one in groups:
        for run in one.runs:
            if run.evaluations and run not in one.trainings:
                run.miss(f"left out of the statistics, seed {run.config.seed} is among them already")
