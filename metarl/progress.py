"""A progress bar on a terminal; now and then a line where there is none."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from metarl.errors import plain

SECONDS_BETWEEN_LINES = 15.0
LONG = 100.0  # seconds, which are better told in minutes


class _Bar:
    def update(self, done: int, text: str = "") -> None:
        """Show how much is done, and a few words."""


class _RichBar(_Bar):
    def __init__(self, bar: Progress, title: str, total: int):
        self.bar, self.task = bar, bar.add_task(title, total=total, text="")

    def update(self, done: int, text: str = "") -> None:
        self.bar.update(self.task, completed=done, text=plain(text), refresh=True)


class _Lines(_Bar):
    def __init__(self, title: str, total: int):
        self.title, self.total = title, total
        self.begun: tuple[float, int] | None = None  # when it was first told something, and what
        self.next = time.monotonic() + SECONDS_BETWEEN_LINES

    def update(self, done: int, text: str = "") -> None:
        now = time.monotonic()
        self.begun = self.begun or (now, done)
        if now >= self.next:
            self.next = now + SECONDS_BETWEEN_LINES
            words = f"{self.title}: {100 * done / self.total:3.0f} %  {plain(text)}  {self._pace(now, done)}"
            print(words.rstrip(), file=sys.stderr, flush=True)

    def _pace(self, now: float, done: int) -> str:
        """How fast it goes, and how long it will take, where that can be told."""
        begun, before = self.begun or (now, done)
        if not before < done < self.total or now <= begun:
            return ""
        speed = (done - before) / (now - begun)
        left = (self.total - done) / speed
        words = f"{f'{left / 60:.0f} min' if left > LONG else f'{left:.0f} s'} left"
        return f"{speed:,.0f}/s, {words}" if speed >= 1 else words


@contextmanager
def progress(title: str, total: int, shown: bool = True) -> Iterator[_Bar]:
    """A bar from 0 to total with a method `update(done, text)`; silent if not shown."""
    console = Console(stderr=True)
    if not shown:
        yield _Bar()
    elif not console.is_terminal:
        yield _Lines(title, total)
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}", markup=False),
        )
        with Progress(*columns, console=console) as bar:
            yield _RichBar(bar, title, total)
