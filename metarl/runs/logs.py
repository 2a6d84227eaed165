"""Stable-Baselines3's logger on a run folder, so that a resumed run neither loses nor doubles rows."""

import csv
import io
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import HumanOutputFormat, KVWriter, Logger, TensorBoardOutputFormat
from torch.utils.tensorboard import SummaryWriter

from metarl.errors import plain
from metarl.files import keep, read_text, write_atomically

PROGRESS, DAMAGED = "progress.csv", "progress.damaged.csv"
MOST_COLUMNS = 1000  # of a progress.csv
STEP, SECONDS = "time/timesteps", "time/seconds"
LONGEST = "time/steps_per_iteration"  # environment steps of an iteration at most


class _ResumedCSV(KVWriter):
    """Rows of a file, going on after those up to a step; a column that is new stands last in all of them."""

    def __init__(self, path: Path, until: int):
        self.path = path
        rows = _rows_until(path, until)
        if until and path.is_file():
            _keep_aside_if_damaged(path)
        self._rewrite(list(rows[0]) if rows else [], rows)

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0):
        """Add a row."""
        new = [key for key in key_values if key not in self.columns]
        if new:
            self.close()
            self._rewrite([*self.columns, *new], _rows_until(self.path, sys.maxsize))
        self._writer.writerow(key_values)
        self._file.flush()

    def close(self):
        """Close the file."""
        self._file.close()

    def _rewrite(self, columns: list[str], rows: list[dict[str, str]]):
        """Replace the file by one with these columns and rows, and open it for more."""
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        if columns:
            writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.path, lambda file: file.write(text.getvalue().encode()))
        self.columns = columns
        self._file = open(self.path, "a", newline="")  # noqa: SIM115 - closed by the logger
        self._writer = csv.DictWriter(self._file, columns, lineterminator="\n")


class _ResumedTensorBoard(TensorBoardOutputFormat):
    """Stable-Baselines3's TensorBoard writer, hiding what an interrupted run wrote beyond a step."""

    def __init__(self, folder: Path, until: int):
        goes_on = any(folder.glob("events.*"))
        self.writer = SummaryWriter(str(folder), purge_step=until + 1 if goes_on else None)
        self._is_closed = False


def make_logger(folder: Path, until: int, stdout: bool) -> Logger:
    """A logger into progress.csv, TensorBoard events and, if asked, tables on stdout.

    Args:
        folder: the run folder.
        until: environment steps of the checkpoint that training goes on from; later rows go.
        stdout: print a table every iteration.
    """
    formats: list[KVWriter] = [_ResumedCSV(folder / PROGRESS, until), _ResumedTensorBoard(folder, until)]
    if stdout:
        formats.append(HumanOutputFormat(sys.stdout))
    return Logger(str(folder), formats)


def logged(folder: Path, until: int, *columns: str, since: int = 0) -> list[list[float]]:
    """The numbers of each column that a run folder has logged up to a step, where there are any.

    Args:
        folder: of the run.
        until: the last step that counts.
        columns: by their names.
        since: a step after which those that count begin.
    """
    found: list[list[float]] = [[] for _ in columns]
    for row in _rows_until(folder / PROGRESS, until):
        if _step(row) <= since:
            continue
        for column, numbers in zip(columns, found, strict=True):
            with suppress(KeyError, TypeError, ValueError):
                numbers.append(float(row[column]))
    return found


def read_rows(path: Path) -> tuple[list[dict[str, str]], int]:
    """The rows of a progress.csv that can be read, and how many there should be.

    Raises:
        InputError: there is no such file, it may not be read, or is larger than any that is written here.
    """
    lines = read_text(path, errors="replace").replace("\0", "").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]  # not the last words of a killed run
    rows = csv.DictReader(whole)
    try:
        readable = len(rows.fieldnames or ()) <= MOST_COLUMNS
    except csv.Error:
        readable = False
    return list(_readable(rows)) if readable else [], max(0, len(lines) - 1)


def _readable(rows: Iterator[dict[str, str]]) -> Iterator[dict[str, str]]:
    """Rows without those that are none, such as one with a field longer than csv takes."""
    while True:
        try:
            yield next(rows)
        except StopIteration:
            return
        except csv.Error:
            continue


def _keep_aside_if_damaged(path: Path) -> None:
    """Copy a file in which rows cannot be read, and say so on stderr."""
    rows, n_rows = read_rows(path)
    readable = sum(_is_readable(row, sys.maxsize) for row in rows)
    n_whole = n_rows - (not path.read_bytes().endswith(b"\n"))
    if readable < n_whole:
        keep(path, path.with_name(DAMAGED))
        words = f"{path}: {n_whole - readable} of {n_whole} rows cannot be read; kept as it was in {DAMAGED}"
        print(plain(words), file=sys.stderr)


def _rows_until(path: Path, until: int) -> list[dict[str, str]]:
    if not until or not path.is_file():
        return []
    return [row for row in read_rows(path)[0] if _is_readable(row, until)]


def _is_readable(row: dict[str, str], until: int) -> bool:
    """Whether a row is of a step, at most this one, and has no more numbers than there are columns."""
    return _step(row) <= until and None not in row


def _step(row: dict[str, str]) -> float:
    try:
        return float(row[STEP])
    except (KeyError, TypeError, ValueError):
        return float("inf")
