"""Stable-Baselines3's logger on a run folder, so that a resumed run neither loses nor doubles rows."""

import csv
import io
import sys
from pathlib import Path

from stable_baselines3.common.logger import (
    CSVOutputFormat,
    HumanOutputFormat,
    KVWriter,
    Logger,
    TensorBoardOutputFormat,
)
from torch.utils.tensorboard import SummaryWriter

from metarl.files import write_atomically

PROGRESS = "progress.csv"
STEP, SECONDS = "time/timesteps", "time/seconds"


class _ResumedCSV(CSVOutputFormat):
    """Stable-Baselines3's CSV writer, going on with the rows of a file up to a step."""

    def __init__(self, path: Path, until: int):
        self.separator, self.quotechar = ",", '"'
        rows = _rows_until(path, until)
        self.keys = list(rows[0]) if rows else []
        text = io.StringIO()
        if rows:
            writer = csv.DictWriter(text, self.keys, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        write_atomically(path, lambda file: file.write(text.getvalue().encode()))
        self.file = open(path, "r+")  # noqa: SIM115 - closed by the logger
        self.file.seek(0, io.SEEK_END)


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


def seconds_until(folder: Path, until: int) -> float:
    """Seconds of training that a run folder has logged up to a step."""
    rows = _rows_until(folder / PROGRESS, until)
    try:
        return float(rows[-1][SECONDS])
    except (IndexError, KeyError, TypeError, ValueError):
        return 0.0


def _rows_until(path: Path, until: int) -> list[dict[str, str]]:
    if not until or not path.is_file():
        return []
    lines = path.read_text(errors="replace").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]  # not the last words of a killed run
    return [row for row in csv.DictReader(whole) if _step(row) <= until]


def _step(row: dict[str, str]) -> float:
    try:
        return float(row[STEP])
    except (KeyError, TypeError, ValueError):
        return float("inf")
