"""Settings of every test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from metarl.envs import InputError
from metarl.envs.gl import use_opengl
from metarl.threads import torch_threads


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    """The tensors here are tiny: more threads would only wait for each other."""
    with torch_threads(1):
        yield


@pytest.fixture(autouse=True, scope="session")
def trusted(tmp_path_factory) -> Iterator[Path]:
    """What tests name is remembered in a file of theirs, and not in the home of who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("trust") / "trusted"
        patch.setenv("METARL_TRUSTED", str(path))
        yield path


@pytest.fixture(scope="session")
def gl() -> None:
    """Skip where nothing can be drawn."""
    try:
        use_opengl()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def chromium() -> str:
    """A browser; skip where there is none."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium here: install chromium to run this test")
    return found


@pytest.fixture
def runs(made, tmp_path, monkeypatch) -> Path:
    """Copies of the run folders that a file of tests has `made`, in the current directory."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
