"""Try a family."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated

import tyro
from rich.box import SIMPLE_HEAD
from rich.table import Table

from metarl.cli.train import check_recipes
from metarl.cli.words import Command, say, show
from metarl.envs import TaskFamily, load_family
from metarl.envs.check import Finding, Trial, check, try_agent
from metarl.envs.remarks import remarks
from metarl.errors import InputError, plain

RECIPES = "recipes are of learners and settings that there are"


@dataclass
class Check(Command):
    """`metarl check`."""

    family: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FAMILY")]
    """a name from `metarl families`, or my_robot.py:MyFamily"""

    def run(self) -> int:
        """Check; the status is 2 if something is wrong."""
        family = load_family(self.family)
        findings = []
        for finding in chain(check(family), [_recipes(family)]):
            findings.append(finding)
            state = "WRONG" if finding.problem else "no" if finding.remark else "ok"
            say(f"{state:6}{finding.law}")
            if said := finding.problem or finding.remark:
                say(f"      {said}")
        wrong = sum(finding.problem is not None for finding in findings)
        if not wrong:
            for remark in remarks(family):
                say(f"note  {remark}")
            agents = ("zero", "random", *(["expert"] if family.has_expert else []))
            show(_trials([try_agent(family, agent) for agent in agents]))
        say(f"{family.name}: {wrong or 'nothing'} wrong")
        return 2 if wrong else 0


def _recipes(family: TaskFamily) -> Finding:
    try:
        check_recipes(family)
    except InputError as error:
        return Finding(RECIPES, str(error))
    return Finding(RECIPES)


def _trials(trials: Sequence[Trial]) -> Table:
    title = f"an episode each on {len(trials[0].returns)} training tasks, of what needs no training"
    table = Table(title=title, box=SIMPLE_HEAD)
    for name in ("actions", "return", "steps", "reward terms a step", "blew up", "steps/s"):
        table.add_column(name, justify="left" if name == "reward terms a step" else "right", no_wrap=True)
    for t in trials:
        spread = f"{t.returns.mean():.1f} ± {t.returns.std():.1f}"
        terms = "\n".join(f"{plain(name)} {mean:+.3g}" for name, mean in t.terms.items())
        numbers = [f"{t.lengths.mean():.0f}", terms, str(t.failures), f"{t.steps_per_second:,.0f}"]
        table.add_row(t.agent, spread, *numbers)
    return table
