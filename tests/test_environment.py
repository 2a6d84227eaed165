"""What sets up the environment says what went wrong, and does not take half of it for the whole."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "environment"
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
PRINTED = sorted({name for page in PAGES for name in re.findall(r"\bscripts/\w[\w.]*\w", page.read_text())})
FAKE = """#!/usr/bin/env bash
# Python, as far as the script uses it.
case "$2" in
    venv) mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
    pip) {pip} ;;
    *) echo "Python 3.99" ;;
esac
"""
NONE = (
    """echo "Collecting things"; echo "ERROR: No matching distribution found for hypothesis==9.9.9"; exit 1"""
)


@pytest.fixture
def set_up(tmp_path, monkeypatch):
    """Run the script in a checkout of its own, with a pip that does what it is told."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "constraints.txt").touch()

    def run(pip: str) -> subprocess.CompletedProcess:
        (tmp_path / "python").write_text(FAKE.format(pip=pip))
        (tmp_path / "python").chmod(0o755)
        monkeypatch.setenv("PYTHON", str(tmp_path / "python"))
        return subprocess.run([tmp_path / "scripts" / "environment"], capture_output=True, text=True)

    return run


def test_a_package_that_cannot_be_had_is_named(set_up):
    done = set_up(NONE)
    assert done.returncode == 1
    assert "Python 3.99 cannot have what metarl needs" in done.stderr
    assert "ERROR: No matching distribution found for hypothesis==9.9.9\n" in done.stderr
    assert "Collecting" not in done.stderr + done.stdout


def test_whatever_else_pip_says_at_the_end_is_shown(set_up):
    assert "disk full" in set_up("echo disk full; exit 1").stderr


def test_what_failed_is_tried_again_and_what_is_there_is_not(set_up):
    assert set_up(NONE).returncode == 1
    assert set_up("true").returncode == 0
    again = set_up(NONE)
    assert again.returncode == 0 and again.stdout == again.stderr == ""


def test_scripts_are_printed():
    assert {"scripts/quickstart", "scripts/test", "scripts/baselines.py"} <= {*PRINTED}


@pytest.mark.parametrize("name", PRINTED)
def test_a_script_is_run_as_it_is_printed_and_by_the_projects_python(name, tmp_path):
    assert (ROOT / name).stat().st_mode & 0o111
    if not name.endswith(".py"):
        return
    (tmp_path / "scripts").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(ROOT / name, tmp_path / "scripts")
    for path, text in (("scripts/environment", 'echo "set up"'), (".venv/bin/python", 'echo "$@"')):
        (tmp_path / path).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tmp_path / path).chmod(0o755)
    done = subprocess.run([name, "a b", "--c"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == f"set up\n{name} a b --c\n", done.stderr
