"""What the README and the documentation say is so: commands and Python run, pages stand alone."""

import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from metarl import __version__
from metarl.cli import main
from metarl.envs import FAMILIES
from metarl.render.live_page import FRONT, LIVE

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES.remove(ROOT / "docs" / "tutorial.md")  # tests/test_tutorial.py does what it says
BLOCKS = [
    (page.relative_to(ROOT).as_posix(), kind, code)
    for page in PAGES
    for kind, code in re.findall(r"```(\w+)\n(.*?)```", page.read_text(), re.DOTALL)
]
NAMED = re.compile(r"(?:# |<!-- )(\w+\.(?:py|xml))(?: -->)?\n")  # files that the reader is told to write
FILES = {found[1]: code for _, _, code in BLOCKS if (found := NAMED.match(code))}
FILES |= {path.name: path.read_text() for path in (ROOT / "docs").glob("*.py")}  # and to copy
PYTHON = [(page, code) for page, kind, code in BLOCKS if kind == "python" and not NAMED.match(code)]
WORDS = [
    shlex.split(line, comments=True)[1:]
    for _, kind, code in BLOCKS
    if kind == "bash"
    for line in code.splitlines()
    if line.startswith("metarl ")
]
COMMANDS = [words for i, words in enumerate(WORDS) if words not in WORDS[:i]]
CATALOGUE = (ROOT / "docs" / "families.md").read_text().partition("\n## ")[0]
SHORT = {"2e5": "8000", "8e6": "96000", "16e6": "320000", "2e6": "80000"}  # an iteration or two
RECIPE, OF_A_MODEL = "48000", "4000"  # instead of a recipe's steps; a model makes much of each
SHORTER = {
    "2_000_000": "160_000",
    "200_000": "20_000",
    "20_000": "10_240",
    "progress_bar=True": "progress_bar=False",
}

together = pytest.mark.xdist_group("docs")  # what the commands make, the Python goes on with


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory that holds what the reader is told to write."""
    folder = tmp_path_factory.mktemp("reader")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


@together
@pytest.mark.slow
def test_every_command_runs(folder: Path, monkeypatch: pytest.MonkeyPatch, gl: None) -> None:
    monkeypatch.chdir(folder)
    assert len(COMMANDS) >= 18
    for arguments in COMMANDS:
        if "--live" in arguments:  # it goes on until somebody closes it
            continue
        if arguments[-1].endswith(LIVE) and not FRONT.is_file():  # which scripts/build_page builds
            continue
        words = pairwise(["", *arguments])
        short = [SHORT[word] if before == "--steps" else word for before, word in words]
        if arguments[0] == "train" and "--steps" not in arguments:
            short += ["--steps", OF_A_MODEL if "meta-model" in arguments else RECIPE]
        assert main(short) == 0, arguments


@together
@pytest.mark.slow
@pytest.mark.parametrize(("page", "code"), PYTHON, ids=[f"{i}-{page}" for i, (page, _) in enumerate(PYTHON)])
def test_every_piece_of_python_runs(page: str, code: str, folder: Path) -> None:
    if not (folder / "runs" / "vel").exists():
        pytest.skip("needs the run that the commands make")
    for tool in re.findall(r"^from (rsl_rl|torchrl)", code, re.MULTILINE):
        pytest.importorskip(tool, reason=f"no {tool} here: pip install '.[tools]'")
    code = re.sub("|".join(map(re.escape, SHORTER)), lambda found: SHORTER[found[0]], code)
    code = re.sub(r', render_mode="rgb_array"|^frame = .*$', "", code, flags=re.MULTILINE)  # needs no GL
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=folder, check=True, timeout=300)


@pytest.mark.slow
def test_every_piece_of_python_type_checks(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    for name, code in FILES.items():
        (tmp_path / name).write_text(code)
    for i, (_, code) in enumerate(PYTHON):
        (tmp_path / f"piece{i}.py").write_text(code)
    options = ["--config-file", ROOT / "pyproject.toml", "--cache-dir", ROOT / ".mypy_cache"]
    env = {**os.environ, "MYPYPATH": str(ROOT)}
    command = [sys.executable, "-m", "mypy", *options, "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_documentation_builds_and_downloads_nothing_when_it_is_read(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) >= len(PAGES)
    for page in pages:
        fetched = re.findall(r'<(?:script|img|iframe|source)[^>]*src="?([^" >]+)', page.read_text())
        fetched += re.findall(
            r'<link[^>]*rel="?(?:stylesheet|preload|icon)"?[^>]*href="?([^" >]+)', page.read_text()
        )
        assert not [name for name in fetched if "//" in name], page


@pytest.mark.parametrize("name", FAMILIES)
def test_the_catalogue_tells_every_family_and_how_many_tasks_are_held_out(name: str) -> None:
    (row,) = (line for line in CATALOGUE.splitlines() if line.startswith(f"| {name} |"))
    held_out = row.split("|")[-2].strip().replace("the same two", "2")
    numbers = [int(n) for n in re.findall(r"(?:^|, (?:and )?)(\d+)(?=$|,| \w)", held_out)]
    family = FAMILIES[name]()
    assert numbers[0] == family.n_test
    assert numbers[1:] == ([family.n_ood] if family.has_ood else [])


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), (page, target)


def test_the_version_is_the_same_everywhere() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {__version__}\n" in (ROOT / "CHANGELOG.md").read_text()
