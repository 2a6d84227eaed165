#!/usr/bin/env -S bash -c '"${0%/*}"/environment && exec "${0%/*}"/../.venv/bin/python "$0" "$@"'
"""Pass the tests with the oldest, or the newest, dependencies that pyproject.toml allows.

They go into a fresh environment outside the project. What they need themselves is as new as pip makes it, so
warnings, which are errors in the tests as a rule, are only shown. Needs Python 3.11.
"""

import re
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tomllib
import tyro

ROOT = Path(__file__).parents[1]
EXTRAS = ("dev", "plots", "render", "robots")


@dataclass
class Options:
    """What to try."""

    which: tyro.conf.Positional[Literal["oldest", "newest"]]
    """of the allowed versions"""
    keep: tuple[str, ...] = ()
    """packages that stay at the version in constraints.txt"""
    tests: tuple[str, ...] = ()
    """files of tests (default: all)"""


def requirements(options: Options) -> list[str]:
    """What pip is asked for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(r for e in EXTRAS for r in project["optional-dependencies"][e])]
    kept = [line for name in options.keep for line in pins(name)]
    asked = [r for r in asked if re.split("[>=]", r)[0] not in options.keep]
    return kept + ([r.replace(">=", "==") for r in asked] if options.which == "oldest" else asked)


def pins(name: str) -> list[str]:
    """The lines of constraints.txt on a package: one, or several, of which pip takes that for this Python."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line.partition("==")[0] == name]


def main() -> int:
    """Set up, and test; returns pytest's exit status."""
    options = tyro.cli(Options, description=__doc__)
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *requirements(options)], check=True)
        subprocess.run([*pip, "--no-deps", "--editable", ROOT], check=True)
        subprocess.run([python, "-m", "pip", "list", "--disable-pip-version-check"], check=True)
        return subprocess.run(
            [python, "-m", "pytest", "-o", "filterwarnings=default", *options.tests], cwd=ROOT
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
