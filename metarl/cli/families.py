"""List the task families."""

import json
import sys
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from metarl.cli.words import Command, show
from metarl.envs import FAMILIES, TaskFamily
from metarl.envs.speed import steps_per_second
from metarl.errors import InputError

YARDSTICK = "HalfCheetahVel"  # whose speed of simulation is 1


@dataclass
class Families(Command):
    """`metarl families`."""

    json: bool = False
    """print JSON instead of a table"""

    def run(self) -> int:
        """Print the catalogue."""
        families = [kind() for kind in FAMILIES.values()]
        absent = {family.name: reason for family in families if (reason := _missing(family))}
        families = [family for family in families if family.name not in absent]
        names = [family.name for family in families]
        speeds = dict(zip(names, steps_per_second(families), strict=True))
        for reason, group in groupby(absent, absent.get):
            print(f"not listed: {', '.join(group)}: {reason}", file=sys.stderr)
        rows = [
            {**_describe(family), "relative_speed": round(speeds[family.name] / speeds[YARDSTICK], 3)}
            for family in families
        ]
        if self.json:
            print(json.dumps(rows, indent=2))
            return 0
        table = Table(box=SIMPLE_HEAD, caption=f"speed: of simulation, {YARDSTICK}'s robot is 1")
        for name in ("family", "obs", "act", "steps", "speed", "success", "train/test/ood", "what varies"):
            table.add_column(name, no_wrap=True)
        for row in rows:
            counts = [str(row[k]) for k in ("obs_dim", "action_dim", "horizon")]
            tasks = "/".join(str(n) for n in row["tasks"].values())
            marks = [f"{row['relative_speed']:.2g}", "yes" if row["success"] else ""]
            table.add_row(row["family"], *counts, *marks, tasks, "\n".join(row["varies"]))
        show(table)
        return 0


def _missing(family: TaskFamily) -> str | None:
    """Why a robot's files are not here; None if they are."""
    try:
        family.model  # noqa: B018 - compiled when first asked for
    except InputError as error:
        return str(error)
    return None


def _describe(family: TaskFamily) -> dict[str, Any]:
    return {
        "family": family.name,
        "about": (type(family).__doc__ or family.name).splitlines()[0],
        "varies": [f"{p}{f' x{family.size(p)}' if family.size(p) > 1 else ''}" for p in family.params],
        "kinds": sorted({p.kind for p in family.params}),
        "obs_dim": family.obs_dim,
        "action_dim": family.action_dim,
        "horizon": family.horizon,
        "dt": family.dt,
        "success": family.defines("success"),
        "tasks": {
            "train": family.n_train or "fresh",
            "test": family.n_test,
            "ood": family.n_ood if family.has_ood else 0,
        },
    }
