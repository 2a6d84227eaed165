"""Laws of rollouts people can watch."""

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import imageio_ffmpeg
import mujoco
import numpy as np
import pytest
from helpers import SMALL_MAML, SMALL_RECURRENT
from PIL import Image, ImageDraw

from metarl import MetaLSTM, MetaLSTMConfig
from metarl.cli import main
from metarl.envs import FAMILIES, BatchSim, Marker, load_family
from metarl.envs.families.point import PointGoal
from metarl.render import Rollout, record_rollouts, telling_tasks, write_page
from metarl.render.clip import MAX_FPS, Film, write_over
from metarl.render.extent import Frame, extent
from metarl.render.lane import Lane
from metarl.render.session import Session
from metarl.render.shapes import marker_shape, robot_shapes
from metarl.runs.run_folder import RunFolder

STEPS = ["--steps", "400"]
FROM_CHROME = (
    "google.com",
    "googleapis.com",
    "gvt1.com",
)  # where the browser itself calls, whatever it shows


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A folder with run folders: not to be written to, see `runs`."""
    folder = tmp_path_factory.mktemp("made")
    for name, flags in {
        "gradient": ["PointGoal", *SMALL_MAML],
        "memory": ["SparsePointGoal", *SMALL_RECURRENT],
    }.items():
        assert main(["train", *flags, *STEPS, "--out", str(folder / name)]) == 0
    return folder


@pytest.fixture(scope="session")
def agents(made):
    return {name: RunFolder(made / name).load("cpu", 1)[1] for name in ("gradient", "memory")}


@pytest.fixture(params=sorted(FAMILIES))
def family(request):
    return load_family(request.param)


# Rollouts.


def test_before_and_after_start_from_the_same_state_and_differ_by_what_was_learned(agents):
    agent = agents["gradient"]
    tasks = agent.family.tasks("test")[:2]
    (before, after), _ = record_rollouts(agent, tasks, (0, 2))
    assert (before.title, after.title) == ("before adaptation", "after 2 gradient steps")
    np.testing.assert_array_equal(before.states[0], after.states[0])
    assert not np.array_equal(before.states, after.states)
    assert before.states.shape[0] == before.n_steps + 1 == agent.family.horizon + 1


def test_a_rollout_is_the_policys_own_doing(agents):
    agent, task = agents["gradient"], agents["gradient"].family.tasks("test")[3]
    ((before,),) = record_rollouts(agent, [task], (0,))
    sim = BatchSim(agent.family, 1, 1)
    sim.set_tasks([task])
    obs = sim.set_state(np.zeros((1, 2)), np.zeros((1, 2)))
    for state, reward in zip(before.states[1:], before.reward, strict=True):
        step = sim.step(agent.predict(obs)[0])
        obs = step.obs
        np.testing.assert_allclose(sim.state[0, 1:3], state[1:3], atol=1e-4)  # time, then qpos
        assert step.reward[0] == pytest.approx(reward, abs=1e-4)
    np.testing.assert_allclose(before.error, -before.reward, atol=1e-6)  # PointGoal: the distance to the goal


def test_the_episodes_of_a_trial_follow_each_other_and_show_what_was_read(agents):
    agent = agents["memory"]
    tasks = agent.family.tasks("test")[:2]
    rows = record_rollouts(agent, tasks, agent.shown_columns)
    assert [r.title for r in rows[0]] == ["episode 1", "episode 2", "episode 3"]
    assert [r.success for r in rows[0]] != [None] * 3
    for rollout in rows[1]:
        assert rollout.attention.shape == (rollout.n_steps, 8)
        np.testing.assert_allclose(rollout.attention.sum(axis=1), 1, atol=1e-5)
    later = record_rollouts(agent, tasks, (2,))
    np.testing.assert_array_equal(rows[0][2].states, later[0][0].states)


@pytest.mark.parametrize(
    ("run", "shown", "titles"),
    [
        ("gradient", "0 2", ["before adaptation", "after 2 gradient steps"]),
        ("memory", "1 3", ["episode 1", "episode 3"]),
    ],
)
def test_what_is_asked_for_is_what_is_shown(runs, monkeypatch, run, shown, titles):
    seen: list[list[str]] = []
    monkeypatch.setattr(
        "metarl.render.write_page", lambda rollouts, *_: seen.append([r.title for r in rollouts[0]])
    )
    assert main(["render", run, "--show", *shown.split(), "--out", "page.html"]) == 0
    assert seen == [titles]


def test_the_same_seed_gives_the_same_rollouts_and_another_seed_others(agents):
    agent, tasks = agents["gradient"], agents["gradient"].family.tasks("test")[:1]
    first, again, other = (record_rollouts(agent, tasks, (0, 1), seed)[0][1].states for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_tasks_shown_unless_asked_otherwise_differ():
    for name in ("PointGoal", "HalfCheetahDir", "HopperRandParams"):
        family = load_family(name)
        low, high = telling_tasks(family, family.tasks("test"))
        assert low != high


# Markers.


class Marked(PointGoal):
    """A family with every kind of marker."""

    def markers(self, task, data):
        at = (float(data.qpos[0]), 0.0, 0.5)
        return (
            Marker("sphere", at, (0.2,)),
            Marker("cylinder", at, (0.1, 0.3)),
            Marker("box", at, (0.1, 0.2, 0.3)),
            Marker("arrow", at, (0.03,), to=(1.0, 0.0, 0.5)),
        )


def test_every_family_marks_a_task_that_has_a_goal(family):
    task = family.tasks("test")[0]
    data = mujoco.MjData(family.model)
    mujoco.mj_forward(family.model, data)
    markers = family.markers(task, data)
    assert all(np.isfinite(m.position).all() for m in markers)
    assert markers or all(p.kind == "dynamics" for p in family.params)


def test_markers_change_no_physics_and_are_seen(gl):
    states, frames = [], []
    for family in (PointGoal(), Marked()):
        rollouts = [[_rollout(family)]]
        film = Film(rollouts, family, 96, 64)
        frames.append(list(film.frames()))
        film.close()
        states.append(rollouts[0][0].states)
    np.testing.assert_array_equal(*states)
    assert any(not np.array_equal(a, b) for a, b in zip(*frames, strict=True))


def test_shapes_are_as_large_as_what_they_stand_for():
    data = mujoco.MjData(Marked().model)
    sphere, cylinder, box, arrow = (marker_shape(m) for m in Marked().markers(None, data))
    assert np.ptp(sphere.vertices, axis=0) == pytest.approx([0.4] * 3, abs=0.01)
    assert np.ptp(cylinder.vertices, axis=0) == pytest.approx([0.2, 0.2, 0.6], abs=0.01)
    assert np.ptp(box.vertices, axis=0) == pytest.approx([0.2, 0.4, 0.6])
    assert arrow.vertices[:, 0].max() == pytest.approx(1.0)
    (point,) = robot_shapes(Marked().model)[1]
    assert np.ptp(point.vertices, axis=0) == pytest.approx([0.1] * 3, abs=0.01)


# Clips.


def _rollout(family, n_steps: int = 20, **kwargs) -> Rollout:
    """A walk to the right, recorded by hand."""
    sim = BatchSim(family, 1, 1)
    sim.set_tasks(family.tasks("test")[:1])
    sim.reset(np.random.default_rng(0))
    states = [sim.state[0].copy()]
    for _ in range(n_steps):
        sim.step(np.array([[0.5, 0.0]]))
        states.append(sim.state[0].copy())
    known = {"terminated": False, "success": None, **kwargs}
    return Rollout(sim.tasks[0], "episode 1", np.array(states), np.ones(n_steps), **known)


def _frames(path, width: int, height: int) -> np.ndarray:
    """All of a clip's, (T, height, width, 3), if it has that size."""
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(ffmpeg, capture_output=True, check=True)
    assert f" {width}x{height}" in done.stderr.decode()
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_clip_shows_every_task_and_episode_in_real_time(runs, gl, suffix):
    out = runs / f"clip{suffix}"
    assert main(["render", "memory", "--out", str(out), "--size", "128", "96"]) == 0
    rows, columns = 2, 3
    frames = _frames(out, columns * (128 + 4) - 4, rows * (96 + 2 * 30 + 44 + 4) - 4)
    held = 1 / load_family("SparsePointGoal").dt
    assert len(frames) == pytest.approx(20 + 1 + held, abs=2)
    assert (np.abs(frames[0].astype(int) - frames[15]) > 40).any(axis=2).sum() > 50


def test_the_smallest_clip_shows_what_is_read_of_the_memory_too(runs, gl):
    assert main(["render", "memory", "--out", "small.mp4", "--size", "64", "64"]) == 0


def test_a_default_that_cannot_be_written_is_said_before_anything_is_played(runs, capsys, monkeypatch):
    monkeypatch.setattr("metarl.render.record_rollouts", None)
    (runs / "gradient" / "replay.html").mkdir()
    assert main(["render", "gradient"]) == 2
    assert "gradient/replay.html is a folder" in capsys.readouterr().err


def test_a_fast_robots_clip_leaves_frames_out_instead_of_slowing_it_down(gl):
    family = load_family("HopperRandParams")
    states = np.zeros((201, BatchSim(family, 1, 1).state.shape[1]))
    rollout = Rollout(family.tasks("test")[0], "episode 1", states, np.zeros(200), False, None)
    film = Film([[rollout]], family, 64, 64)
    assert film.fps <= MAX_FPS
    assert len(film.moving) / film.fps == pytest.approx(200 * family.dt, rel=0.05)
    film.close()


def test_an_ended_rollout_waits_for_the_others(gl):
    family = PointGoal()
    film = Film([[_rollout(family, 5, terminated=True), _rollout(family, 20)]], family, 96, 64)
    frames = list(film.frames())
    film.close()
    left = [frame[:, :96] for frame in frames]
    assert np.array_equal(left[6], left[-1]) and not np.array_equal(left[4], left[5])
    assert not np.array_equal(frames[10], frames[12])


def test_what_breaks_in_mid_episode_is_whole_before_and_marked_after(gl):
    small = MetaLSTMConfig(n_trials=2, n_episodes=1, core="lstm", width=8, hidden=8)
    agent = MetaLSTM("HalfCheetahBreaks", small, n_threads=1)
    family, task = agent.family, agent.family.tasks("test")[0]
    ((rollout,),) = record_rollouts(agent, [task], (0,))
    words = [family.words(rollout.task_at(t), changing=True) for t in range(rollout.n_steps + 1)]
    breaks = words.index(words[-1])
    assert set(words) == {words[0], words[-1]} and 50 <= breaks <= 100
    assert rollout.task_at(rollout.n_steps) == task != rollout.task_at(0)
    film = Film([[rollout]], family, 96, 64)
    marked = [
        not np.array_equal(film.renderer.frame(rollout.states[t]), film._picture(rollout, t)) for t in (0, -1)
    ]
    film.close()
    assert marked == [False, True]


@pytest.mark.parametrize("ground", [0, 128, 255])
def test_words_over_a_picture_are_read_on_any_ground(ground):
    picture = Image.new("RGB", (80, 30), (ground,) * 3)
    write_over(ImageDraw.Draw(picture), (8, 8), "now")
    seen = np.asarray(picture)
    assert seen.min() < 60 and seen.max() > 220


def test_a_clip_that_is_interrupted_leaves_nothing_behind(runs, gl, monkeypatch):
    monkeypatch.setattr(Film, "frames", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    before = sorted(runs.iterdir())
    assert main(["render", "gradient", "--out", "clip.mp4", "--size", "64", "64"]) == 130
    assert sorted(runs.iterdir()) == before


# Pages.


def test_a_page_plays_offline_in_a_browser_and_complains_of_nothing(runs, chromium):
    page, log = runs / "page.html", runs / "net.json"
    assert main(["render", "memory", "--out", str(page)]) == 0
    flags = ["--headless", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader"]
    flags += ["--enable-unsafe-swiftshader", "--disable-background-networking", "--disable-component-update"]
    flags += [f"--user-data-dir={runs / 'browser'}", f"--log-net-log={log}", "--enable-logging=stderr"]
    done = subprocess.run(
        [chromium, *flags, "--virtual-time-budget=4000", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not [line for line in said if re.search(r"(?i)\berror|refused|not allowed", line)]
    assert any("data loaded" in line for line in said)
    assert "<title>metarl: SparsePointGoal</title>" in done.stdout and "<canvas" in done.stdout
    hosts = set(re.findall(r'"url":"\w+://([^/"]+)', log.read_text()))
    assert not [host for host in hosts if not host.endswith(FROM_CHROME)]


class Nowhere:
    """A scene that counts what is put into it."""

    def __init__(self):
        self.made: list[str] = []

    def __getattr__(self, name):
        return lambda at, *_, **__: self.made.append(at) or SimpleNamespace()


def test_a_page_makes_a_marker_anew_where_it_looks_otherwise_and_only_there():
    class Turning(Marked):
        def markers(self, task, data):
            ahead = 1.0 if data.qpos[0] < 0.1 else -1.0
            still = Marker("sphere", (float(data.qpos[0]), 0.0, 0.5), (0.2,))
            return still, Marker("arrow", still.position, (0.03,), to=(data.qpos[0] + ahead, 0.0, 0.5))

    family, scene = Turning(), Nowhere()
    rollout = _rollout(family)
    seen = extent(rollout, family)
    lane = Lane(scene, "lane", rollout, family, seen, Frame.around([seen]))
    for t in range(21):
        lane.show(t)
    assert [name for name in scene.made if "marker" in name] == [
        "lane/marker0",
        "lane/marker1",
        "lane/marker1",
    ]


def test_a_page_needs_no_opengl(runs, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "off")
    assert main(["render", "gradient"]) == 0
    assert (runs / "gradient" / "replay.html").stat().st_size > 500_000
    assert not (runs / "gradient" / "render.mp4").exists()


def test_a_page_can_hold_every_familys_robot(family, tmp_path):
    tasks = family.tasks("test")[:1]
    sim = BatchSim(family, 1, 1)
    sim.set_tasks(tasks)
    sim.reset(np.random.default_rng(0))
    states = [sim.state[0].copy()]
    for _ in range(3):
        sim.step(np.ones((1, family.action_dim)))
        states.append(sim.state[0].copy())
    rollout = Rollout(tasks[0], "episode 1", np.array(states), np.ones(3), False, None)
    write_page([[rollout]], family, tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size > 500_000
    assert robot_shapes(family.portrait)


# Live.


@pytest.mark.parametrize("name", ["gradient", "memory"])
def test_a_live_policy_goes_on_over_episodes_and_changes_of_its_task(agents, name):
    agent = agents[name]
    first, second = agent.family.tasks("test")[:2]
    session = Session(agent, first)
    for _ in range(agent.family.horizon + 5):
        session.step()
    assert session.episode == 2 and session.sim.elapsed[0] == 5
    session.change(second)
    session.step()
    assert session.sim.tasks == [second] and session.sim.elapsed[0] == 6
    session.forget()
    assert session.episode == 1 and session.sim.elapsed[0] == 0


def test_a_live_policy_learns_when_asked(agents):
    session = Session(agents["gradient"], agents["gradient"].family.tasks("test")[0])
    before = session.policy.predict(session.obs)[0]
    session.learn()
    assert not np.array_equal(session.policy.predict(session.obs)[0], before)
    session.forget()
    assert np.array_equal(session.policy.predict(session.obs)[0], before)


LIVE = """
import sys, time
from pathlib import Path

from metarl.render import run_live
from metarl.runs.run_folder import RunFolder

LISTENS = "0A"  # a state of a socket


def addresses():
    "Where this process listens, as /proc has it."
    own = {path.readlink().name for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}
    rows = [line.split() for name in ("tcp", "tcp6") for line in open(f"/proc/net/{name}").readlines()[1:]]
    return [row[1].partition(":")[0] for row in rows if row[3] == LISTENS and f"socket:[{row[9]}]" in own]


def keep_on():
    global end
    if len(heard) < 2:  # the page's, and that of the viewer's own parts
        heard[:] = addresses()
        if len(heard) == 2:
            end = time.monotonic() + 2  # closed while it still starts, MuJoCo's viewer may crash
    return time.monotonic() < end


agent = RunFolder(sys.argv[1]).load("cpu", 1)[1]
heard, end = [], time.monotonic() + 20
print(run_live(agent, agent.family.tasks("test")[0], 0, keep_on, *sys.argv[2:]))
print(*sorted(heard))
"""
LOCAL, EVERYWHERE = "0100007F", "00000000"


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc who listens")
@pytest.mark.parametrize(
    ("host", "heard"),
    [
        ([], [LOCAL, LOCAL]),
        pytest.param(["0.0.0.0"], [EVERYWHERE, LOCAL], marks=pytest.mark.slow),
    ],
)
def test_a_live_viewer_is_for_this_machine_unless_asked_otherwise(made, host, heard):
    pytest.importorskip("mujoco.studio")
    bare = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    command = [sys.executable, "-c", LIVE, str(made / "memory"), *host]
    done = subprocess.run(command, capture_output=True, text=True, env=bare, timeout=60, check=True)
    assert "http://localhost" in done.stdout and ("Remote:" in done.stdout) == bool(host)
    *_, status, addresses = done.stdout.splitlines()
    assert (status, addresses.split()) == ("0", heard)


def test_a_live_viewer_is_refused_where_this_machine_has_no_such_address(runs, capsys, monkeypatch):
    pytest.importorskip("mujoco.studio")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for host in ("192.0.2.1", "not an address"):
        assert main(["render", "memory", "--live", "--live-host", host]) == 2
        said = capsys.readouterr().err
        assert f"--live-host {host}: this machine cannot listen there" in said and said.count("\n") == 1


# Bad input.


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["gradient", "--out", "clip.avi"], "use a name that ends in .mp4 .gif .html"),
        (
            ["gradient", "--out", "nowhere/clip.mp4"],
            "cannot write nowhere/clip.mp4: there is no folder nowhere",
        ),
        (["gradient", "--size", "63", "64"], "--size 63 64: use even numbers from 64 to 4096"),
        (["gradient", "--show", "-1"], "--show -1: use numbers from 0 to 100"),
        (["memory", "--show", "0"], "--show 0: use numbers from 1 to 100"),
        (["gradient", "--task", "speed=1"], "unknown task parameter of PointGoal 'speed'"),
        (["gradient", "--split", "ood"], "PointGoal defines no out-of-distribution tasks"),
        (["memory", "--act", "both"], "--act says who acts by a meta-model, and this is a meta-lstm policy"),
        (["nowhere"], "no folder nowhere"),
    ],
)
def test_bad_input_to_render_gets_one_line_and_writes_nothing(runs, capsys, flags, words):
    before = sorted(runs.rglob("*"))
    assert main(["render", *flags]) == 2
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1 and not said.out
    assert sorted(runs.rglob("*")) == before


def test_without_the_extra_packages_render_says_what_to_install(runs, capsys, monkeypatch, gl):
    monkeypatch.setattr("metarl.render.clip.imageio_ffmpeg", None)
    monkeypatch.setattr("metarl.render.page.viser", None)
    for name in ("clip.mp4", "page.html"):
        assert main(["render", "gradient", "--out", name]) == 2
        assert "pip install 'metarl-robots[render]'" in capsys.readouterr().err
