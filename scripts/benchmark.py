#!/usr/bin/env -S bash -c '"${0%/*}"/environment && exec "${0%/*}"/../.venv/bin/python "$0" "$@"'
"""Speed, as ratios measured side by side.

Both sides of a ratio run in this one process run, in turn, and the median of several rounds counts.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import tyro
from benchmarks import maml, partners, recurrent, sb3, time_to_score
from benchmarks.closed_loop import over_ceiling
from benchmarks.measure import QUICK, Line, Plan, Skipped, Target
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import get_num_threads

BENCHMARKS: dict[str, tuple[Callable[[str, Plan], Line], Target | None]] = {
    "collect": (over_ceiling("HalfCheetahVel"), Target(0.90)),
    "collect-hopper": (over_ceiling("HopperRandParams"), Target(0.85)),
    "collect-walker": (over_ceiling("Walker2dRandParams"), Target(0.85)),
    "collect-ant": (over_ceiling("AntGoal"), Target(0.85)),
    "collect-humanoid": (over_ceiling("HumanoidDir"), Target(0.85)),
    "collect-reach": (over_ceiling("ArmReach"), Target(0.85)),
    "collect-push": (over_ceiling("ArmPushRandParams"), Target(0.85)),
    "collect-quadrotor": (over_ceiling("X2Hover"), Target(0.85)),
    "collect-ur5e": (over_ceiling("UR5eReach"), Target(0.85)),
    "collect-go1": (over_ceiling("Go1Adapt"), Target(0.85)),
    "collect-reacher": (over_ceiling("ReacherGoal"), None),
    "collect-point": (over_ceiling("PointGoal"), None),
    "collect-vs-async": (partners.collect_vs_async, Target(10)),
    "collect-vs-subproc": (partners.collect_vs_subproc, Target(10)),
    "collect-vs-envpool": (partners.collect_vs_envpool, Target(1)),
    "sb3-ppo": (sb3.sb3_ppo, Target(3)),
    "sb3-ppo-same-envs": (sb3.sb3_ppo_same_envs, None),
    "maml-overhead": (maml.maml_overhead, Target(0.25, at_most=True)),
    "maml-memory": (maml.maml_memory, Target(1, at_most=True)),
    "recurrent": (recurrent.recurrent, Target(10)),
    "recurrent-learning": (recurrent.recurrent_learning, Target(1, at_most=True)),
    "memory-unroll": (recurrent.memory_unroll, Target(2, at_most=True)),
    "time-to-score-memory": (time_to_score.memory_to_score, Target(0.5, at_most=True)),
    "time-to-score-told": (time_to_score.memory_to_told_score, Target(1, at_most=True)),
    "time-to-score-maml": (time_to_score.maml_to_score, Target(0.5, at_most=True)),
}
TRAININGS = "time-to-score"  # lines that are whole trainings, an hour or two, and run only when asked for


@dataclass
class Options:
    """What to measure."""

    only: tuple[str, ...] = ()
    """names of lines, or what they begin with; none is all but the time-to-score lines, which take an hour"""
    json: Path | None = None
    """write the lines here"""
    rounds: int = 5
    """how often both sides of a ratio take their turn"""
    quick: bool = False
    """one round of a few simulations: shows that everything runs, its numbers mean nothing"""


def lines_of(asked: str) -> list[str]:
    """The line of that name, or the lines whose names begin with it."""
    return [asked] if asked in BENCHMARKS else [name for name in BENCHMARKS if name.startswith(f"{asked}-")]


def heading(options: Options, plan: Plan) -> str:
    """The machine and the versions that the numbers are from."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("mujoco", "torch"))
    threads = f"torch threads: {get_num_threads()} learning, 1 collecting"
    text = f"{os.cpu_count()} cores and physics threads; {threads}; {versions}; rounds: {plan.rounds}"
    return f"{text}\nquick: these numbers mean nothing" if options.quick else text


def cells(line: Line, target: Target | None) -> list[str]:
    """A line of the table."""
    verdict = "" if target is None else "met" if target.met(line.ratio) else "missed"
    value = f"{line.value:,.4g} {line.unit}"
    bound = "" if target is None else str(target)
    return [line.name, value, line.versus, f"{line.versus_value:,.4g}", f"{line.ratio:.3f}", bound, verdict]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    options = tyro.cli(Options, args=argv, description=__doc__)
    chosen = {asked: lines_of(asked) for asked in options.only}
    unknown = [asked for asked, names in chosen.items() if not names]
    if unknown:
        print(f"benchmark: unknown {', '.join(unknown)}; known: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    if options.rounds < 1:
        print(f"benchmark: --rounds {options.rounds} is too few; use at least 1", file=sys.stderr)
        return 2
    if options.json is not None and not options.json.parent.is_dir():  # before minutes of measuring
        print(f"benchmark: no folder {options.json.parent} for --json", file=sys.stderr)
        return 2
    plan = QUICK if options.quick else Plan(options.rounds)
    console = Console(width=120)
    console.print(heading(options, plan), highlight=False)
    table = Table("line", "value", "versus", "", "ratio", "target", "", box=SIMPLE_HEAD)
    lines = []
    usual = [name for name in BENCHMARKS if not name.startswith(TRAININGS)]
    for name in chain(*chosen.values()) if options.only else usual:
        measure, target = BENCHMARKS[name]
        try:
            lines.append(measure(name, plan))
        except Skipped as reason:
            table.add_row(name, "skipped", escape(str(reason)))
            continue
        table.add_row(*cells(lines[-1], None if options.quick else target))
    console.print(table)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(line) for line in lines], indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
