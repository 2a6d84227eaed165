"""What a report is about: run folders, as far as they can be read, and what was judged elsewhere."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from metarl.envs import InputError, Task, TaskFamily, load_family
from metarl.envs.catalogue import load_recorded
from metarl.envs.task import Split
from metarl.evaluation.evaluate import Evaluation, evaluate
from metarl.files import read_json, read_text
from metarl.learners import LEARNERS
from metarl.learners.checkpoint import read_checkpoint
from metarl.report.clips import find_clips
from metarl.runs.logs import PROGRESS, SECONDS, STEP, read_rows
from metarl.runs.run_folder import CONFIG, TASKS, VERSIONS, RunConfig, RunFolder

RETURN = "return/"  # columns of progress.csv
MOST_ROWS = 20_000  # of progress.csv, beyond which only every so many are drawn
BEYOND = 1e30  # what no training gives, and no axis shows


@dataclass(eq=False)
class Run:
    """A run folder, as far as it could be read.

    Attributes:
        folder: as it was given.
        config: what was asked for.
        text: the config's file as it stands, or what the checkpoint says if there is none.
        progress: columns of progress.csv by name, (rows,) each; empty if there is nothing to read.
        versions: of everything that the run was made with; empty if unknown.
        clips: videos and replays in the folder.
        steps: environment steps that the checkpoint has been trained for; None without one.
        evaluations: by split; empty without a checkpoint that fits.
        trained_column: of the evaluations, the one that training has worked for.
        has_config: False if the config is what the checkpoint says.
        named: the family that its user has named instead of its own.
        changed: how the family differs from the one that it was trained on, in words.
        judged: the folder is a file of evaluations, of a learner that has no run folder.
        missing: what is missing, in words.
    """

    folder: Path
    config: RunConfig
    text: str
    progress: dict[str, np.ndarray] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    clips: list[Path] = field(default_factory=list)
    steps: int | None = None
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    trained_column: int = 0
    has_config: bool = True
    named: str | None = None
    changed: list[str] = field(default_factory=list)
    judged: bool = False
    missing: list[str] = field(default_factory=list)

    def miss(self, what: str) -> None:
        """Remember that something is missing."""
        self.missing.append(f"{self.folder}: {what}")

    @property
    def family(self) -> str:
        """The name of the family that it is judged on."""
        return self.named or self.config.family

    @property
    def return_columns(self) -> tuple[str, str]:
        """The first and the last of the columns return/... in progress.csv."""
        names = [name for name in self.progress if name.startswith(RETURN)]
        names.sort(key=lambda name: int("".join(filter(str.isdecimal, name)) or 0))  # 10 comes after 9
        return names[0], names[-1]

    @cached_property
    def seconds(self) -> np.ndarray:
        """Wall time of the rows of progress.csv, (rows,) s; the clock of a resumed run begins anew."""
        clock = self.progress[SECONDS]
        passed = np.diff(clock, prepend=0.0)
        return np.cumsum(np.where(passed < 0, clock, passed))


def read_run(folder: Path) -> Run:
    """What a run folder holds, its checkpoint apart.

    Raises:
        InputError: it is not a run folder.
    """
    try:
        run = Run(folder, RunFolder(folder).read_config(), read_text(folder / CONFIG))
    except InputError as error:
        run = Run(folder, *_from_checkpoint(folder, error), has_config=False)
        run.miss(f"{CONFIG} is missing or damaged; what was asked for is read from the checkpoint")
    run.progress = _read_progress(run)
    run.versions = {str(k): str(v) for k, v in _read_json(run, VERSIONS).items()}
    run.clips, damaged = find_clips(folder)
    for path in damaged:
        run.miss(f"{path.relative_to(folder)} is damaged")
    return run


def read_evaluations(path: Path, number: int) -> Run:
    """What `metarl evaluate --json` has written, or a list of such evaluations of one learner, as a run.

    Args:
        path: the file.
        number: stands for the seed, which the file does not tell: each is another training.
            Nor does it tell which column training has worked for: the last is taken for it.

    Raises:
        InputError: there are no evaluations of one learner in it.
    """
    try:
        content = read_json(path)
        results = content if isinstance(content, list) else [content]
        changed = list(dict.fromkeys(words for result in results for words in result.pop("changed", [])))
        found = [Evaluation(**result) for result in results]
        one = found[0]
        same = {(e.family, e.learner, e.column, len(e.mean), e.episodes_per_column) for e in found}
        whole = all(
            np.shape(numbers) == (len(e.tasks), len(e.mean))
            for e in found
            for numbers in (e.returns, *([] if e.error is None else [e.error]))
        )
        words = all(isinstance(word, str) for word in (one.family, one.learner, one.column, *changed))
        if (
            len(same) > 1
            or not whole
            or not words
            or not np.isfinite([x for e in found for x in e.mean]).all()
        ):
            raise ValueError
    except (TypeError, ValueError, LookupError, AttributeError):
        raise InputError(
            f"{path} holds no evaluations of one learner; give a run folder, or a file of "
            "`metarl evaluate --json`"
        ) from None
    asked = {"columns": len(one.mean), "episodes": one.episodes_per_column}
    config = RunConfig(one.family, one.learner or path.stem, 0, number, "cpu", 0, asked)
    text = json.dumps({"family": one.family, "learner": config.learner, **asked, "seed": one.seed}, indent=2)
    by_split = {e.split: e for e in found}
    return Run(
        path,
        config,
        text,
        evaluations=by_split,
        trained_column=len(one.mean) - 1,
        changed=changed,
        judged=True,
    )


def find_family(run: Run) -> TaskFamily:
    """The family of a run.

    Raises:
        InputError: it is no longer there, does not work, or is code that its user has not named.
    """
    name = run.family
    try:
        family = load_family(name) if run.named else load_recorded(name, run.folder)
        family.tasks("test")
        _ = family.obs_dim  # compiles the robot
    except InputError:
        raise
    except Exception as error:  # a file of the user's own can fail in any way
        raise InputError(f"{name} does not load ({type(error).__name__}: {error})") from None
    return family


def splits(family: TaskFamily) -> list[Split]:
    """The splits that a report judges on."""
    return ["test", "ood"] if family.has_ood else ["test"]


def evaluate_run(run: Run, family: TaskFamily, n_threads: int, seed: int) -> None:
    """Let the run's checkpoint meet the family's held-out tasks, of every split that it has."""
    if run.judged:
        of_now = [
            s
            for s in splits(family)
            if s in run.evaluations and _are_tasks(run.evaluations[s].tasks, family, s)
        ]
        if "test" not in of_now:
            run.miss(f"left out, it is not judged on the test tasks that {family.name} has now")
        run.evaluations = {split: run.evaluations[split] for split in of_now} if "test" in of_now else {}
        return
    listed = _read_json(run, TASKS)
    if listed and not _are_tasks(listed.get("test"), family, "test"):
        run.miss(f"{TASKS} lists other test tasks than {family.name} has now, on which it is judged")
    folder = RunFolder(run.folder)
    if not folder.checkpoint.is_file():
        run.miss(f"no {folder.checkpoint.name}, so it is not evaluated")
        return
    try:
        if run.has_config:
            _, agent = folder.load("cpu", n_threads, run.named)
        else:
            agent = LEARNERS[run.config.learner].load(run.folder, "cpu", n_threads, run.named)
            folder.compare(agent.family)
        run.changed = folder.changed or []
        run.evaluations = {
            split: evaluate(
                agent.adapter(),
                family,
                family.tasks(split),
                *agent.evaluation_size,
                run.config.learner,
                split,
                seed,
                n_threads,
            )
            for split in splits(family)
        }
    except ValueError as error:  # a checkpoint that does not fit, or a policy whose actions are no numbers
        run.miss(f"not evaluated: {error}")
        return
    run.steps, run.trained_column = agent.num_timesteps, agent.trained_column
    if agent.fits(run.config.steps):
        run.miss(f"training is not finished: {run.steps:,} of {run.config.steps:,} environment steps")


# Files that may be missing, cut or foreign.


def _from_checkpoint(folder: Path, error: InputError) -> tuple[RunConfig, str]:
    """What the checkpoint of a run without a config was asked for, and as text; else the error."""
    try:
        found = read_checkpoint(RunFolder(folder).checkpoint)
        steps = int(found["state"]["num_timesteps"])
        asked = {**{k: found[k] for k in ("family", "learner", "seed", "config")}, "steps": steps}
        text = json.dumps(asked, indent=2)
        if asked["learner"] in LEARNERS:
            return RunConfig(**json.loads(text), device="cpu", n_threads=0), text
    except (InputError, KeyError, TypeError, ValueError):
        pass
    raise error


def _read_progress(run: Run) -> dict[str, np.ndarray]:
    path = run.folder / PROGRESS
    if not path.is_file():
        run.miss(f"no {PROGRESS}, so it has no learning curve")
        return {}
    try:
        found, n_lines = read_rows(path)
    except InputError as error:
        run.miss(f"no learning curve: {error}")
        return {}
    rows = [row for row in found if np.isfinite(_number(row.get(STEP)))]
    names = [name for name in (rows[0] if rows else []) if name and name.isprintable()]
    if not {STEP, SECONDS} <= {*names} or not any(name.startswith(RETURN) for name in names):
        run.miss(f"{PROGRESS} is {'damaged' if found else 'empty'}, so it has no learning curve")
        return {}
    if len(rows) < n_lines:
        run.miss(f"{PROGRESS} is cut or damaged: {len(rows)} of its {n_lines} rows can be read")
    rows = rows[:: -max(1, len(rows) // MOST_ROWS)][::-1]  # the last one is among them
    return {name: np.array([_number(row[name]) for row in rows]) for name in names}


def _number(text: Any) -> float:
    """A number that can be drawn; none if it is not."""
    try:
        number = float(text)
    except (TypeError, ValueError):
        return float("nan")
    return number if abs(number) < BEYOND else float("nan")


def _read_json(run: Run, name: str) -> dict[str, Any]:
    """The object in a file of the run; nothing, and a note of it, if there is none."""
    if not (run.folder / name).is_file():
        run.miss(f"no {name}")
        return {}
    try:
        content = read_json(run.folder / name)
    except InputError:
        content = None
    if not isinstance(content, dict):
        run.miss(f"{name} is damaged")
        return {}
    return content


def _are_tasks(listed: Any, family: TaskFamily, split: Split) -> bool:
    """Whether a file lists the family's tasks of a split, up to what another computer may round otherwise."""
    try:
        then, now = family.stack([Task(values) for values in listed]), family.stack(family.tasks(split))
        return all(np.allclose(then[name], now[name]) for name in now)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        return False
