"""Write a page about runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from metarl.cli.words import FILE, Command, check_common, say
from metarl.report import write_report


@dataclass
class Report(Command):
    """`metarl report`."""

    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN [RUN ...]")]
    """run folders; those that differ by nothing but their seed are judged together. Files that `metarl
    evaluate --json` has written stand beside them, of a learner that has no run folder, too"""
    family: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar=FILE)] = ()
    """the runs' family, where its file is elsewhere now, or code that you have not run yet; where they are of
    several, another --family names another"""
    out: Path = Path("report.html")
    """the page to write; it opens offline"""
    seed: int = 0
    """of initial states and actions"""
    n_threads: int = 0
    """physics threads, 0 for one per CPU"""

    def run(self) -> int:
        """Write the page."""
        check_common(self.seed, self.n_threads)
        for words in write_report(self.runs, self.out, self.n_threads, self.seed, True, self.family):
            say(f"missing: {words}")
        say(f"wrote {self.out}")
        return 0
