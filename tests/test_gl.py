"""Laws of finding OpenGL: what the user said, the display, EGL, OSMesa, and never a crash."""

import os
import subprocess
import sys

import mujoco
import pytest

from metarl.envs import FamilyEnv, InputError, gl

BROKEN = """
import sys

class Absent:  # as PyOpenGL where its library is not installed
    @staticmethod
    def find_spec(name, *_):
        if name == "mujoco.osmesa":
            raise AttributeError("'NoneType' object has no attribute 'glGetError'")

sys.meta_path.insert(0, Absent)
"""


@pytest.fixture
def machine(monkeypatch):
    """A Linux machine on which only some ways of drawing work; returns those that were tried."""

    def make(*works, **environ):
        for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        tried = []
        monkeypatch.setattr(gl, "_works", lambda backend: tried.append(backend) or backend in works)
        monkeypatch.setattr(gl, "import_module", lambda name: type("Backend", (), {"GLContext": name}))
        monkeypatch.setattr(gl.sys, "platform", "linux")
        module = sys.modules[mujoco.Renderer.__module__].gl_context
        monkeypatch.setattr(module, "GLContext", None)
        return tried, module

    return make


@pytest.mark.parametrize(
    ("works", "environ", "tried"),
    [
        (["egl", "osmesa"], {}, ["egl"]),
        (["osmesa"], {}, ["egl", "osmesa"]),
        (["glfw", "egl"], {"DISPLAY": ":0"}, ["glfw"]),
        (["egl"], {"WAYLAND_DISPLAY": "w"}, ["glfw", "egl"]),
        (["glfw", "egl", "osmesa"], {"DISPLAY": ":0", "MUJOCO_GL": "OSMesa"}, ["osmesa"]),
        (["egl"], {"MUJOCO_GL": "glfw"}, ["egl"]),
    ],
)
def test_the_first_way_to_draw_that_works_is_taken(machine, works, environ, tried):
    seen, module = machine(*works, **environ)
    assert gl.use_opengl() == tried[-1]
    assert seen == tried
    assert module.GLContext == gl.BACKENDS[tried[-1]]


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "no OpenGL by egl or osmesa on this machine; install"),
        ({"DISPLAY": ":0"}, "no OpenGL by glfw or egl or osmesa"),
        ({"MUJOCO_GL": "egl"}, "no OpenGL by MUJOCO_GL=egl"),
        ({"MUJOCO_GL": "off"}, "switched off by MUJOCO_GL=off"),
    ],
)
def test_where_nothing_can_be_drawn_one_line_names_the_cure(machine, environ, words):
    machine(**environ)
    with pytest.raises(InputError, match=words) as error:
        FamilyEnv("PointGoal", render_mode="rgb_array").render()
    assert "\n" not in str(error.value) and ".html page" in str(error.value)


def test_a_way_that_crashes_or_is_absent_is_tried_in_a_process_of_its_own(monkeypatch):
    monkeypatch.setattr(gl, "TRIAL", "import os; os.abort()")
    assert not gl._works.__wrapped__("egl")
    monkeypatch.setattr(gl, "TRIAL", "import time; time.sleep(60)")
    monkeypatch.setattr(gl, "TRIAL_SECONDS", 0.5)
    assert not gl._works.__wrapped__("egl")


def test_importing_chooses_no_opengl_and_survives_a_choice_that_is_not_installed():
    code = (
        "import metarl.envs, os; print(os.environ['MUJOCO_GL'], metarl.envs.load_family('PointGoal').obs_dim)"
    )
    code = BROKEN + code
    environ = {**os.environ, "MUJOCO_GL": "osmesa"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ)
    assert done.stdout.split() == ["osmesa", "2"], done.stderr
    environ.pop("MUJOCO_GL")
    environ.pop("PYOPENGL_PLATFORM", None)  # who draws in this process has chosen one
    code = (
        "import os, metarl.envs, metarl.cli; "
        "print(os.environ.get('MUJOCO_GL'), os.environ.get('PYOPENGL_PLATFORM'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=True
    )
    assert done.stdout.split() == ["None", "None"]
