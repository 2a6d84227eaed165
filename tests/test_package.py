"""The package: what is installed is whole."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = "from setuptools.build_meta import build_wheel; print(build_wheel('.'))"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> set[str]:
    """The files in a wheel of this checkout, to which a reference has been added."""
    pytest.importorskip("setuptools", "77")
    folder = tmp_path_factory.mktemp("wheel") / "checkout"
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("envs", "metarl"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "envs" / "references").mkdir(exist_ok=True)
    (folder / "envs" / "references" / "Made.json").write_text("{}")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILD], cwd=folder, capture_output=True, text=True, check=True
    )
    with zipfile.ZipFile(folder / done.stdout.split()[-1]) as file:
        return {*file.namelist()}


def test_a_wheel_holds_the_references(wheel):
    kept = {path.relative_to(ROOT).as_posix() for path in (ROOT / "envs" / "references").glob("*.json")}
    assert {"envs/references/Made.json"} | kept <= wheel


def test_a_wheel_holds_every_module(wheel):
    modules = [path for name in ("envs", "metarl") for path in (ROOT / name).rglob("*.py")]
    assert {path.relative_to(ROOT).as_posix() for path in modules} <= wheel
