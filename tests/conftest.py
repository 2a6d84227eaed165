"""Settings of every test."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metarl.collect import torch_threads

DRAW = """
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco/>")
mujoco.Renderer(model, 8, 8).close()
"""


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    """The tensors here are tiny: more threads would only wait for each other."""
    with torch_threads(1):
        yield


@pytest.fixture(scope="session")
def gl() -> None:
    """Skip where nothing can be drawn: a failed OpenGL context may end the process, so ask another."""
    if subprocess.run([sys.executable, "-c", DRAW], capture_output=True, check=False).returncode:
        pytest.skip("no OpenGL here: install libegl1 and libgl1 and set MUJOCO_GL=egl to run this test")


@pytest.fixture
def runs(made, tmp_path, monkeypatch) -> Path:
    """Copies of the run folders that a file of tests has `made`, in the current directory."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
