"""Laws of traced families: what a page or a robot runs is what the simulator runs."""

from itertools import pairwise

import mujoco
import numpy as np
import pytest

from metarl.cli import main
from metarl.envs import FAMILIES, BatchSim, Marker, Param, Uniform, load_family
from metarl.envs.check import check
from metarl.envs.families.point import PointGoal
from metarl.envs.sensing import TASK, marker_graph, sensing_graph
from metarl.envs.trace import Graph, TraceError
from metarl.export.traced import sensing_inputs, to_onnx
from metarl.export.write import open_session

for module in ("onnx", "onnxruntime"):
    pytest.importorskip(module)

SAME = 1e-12


def session(graph: Graph):
    return open_session(to_onnx(graph, "test"))


def run(session, read) -> dict[str, np.ndarray]:
    feeds = {i.name: np.array(read(i.name), float) for i in session.get_inputs()}
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))


@pytest.fixture(params=sorted(FAMILIES))
def family(request):
    return load_family(request.param)


def test_the_sensing_graph_equals_the_simulator(family):
    family = family.quiet()
    sensing, sim, rng = session(sensing_graph(family)), BatchSim(family, 1, 1), np.random.default_rng(1)
    for _ in range(3):  # tasks
        first = sim.start(rng)
        read = sensing_inputs(sim, np.zeros((1, family.action_dim)))
        np.testing.assert_array_equal(run(sensing, read)["obs"], first)
        for _ in range(15):
            action = rng.uniform(-1, 1, (1, family.action_dim))
            step = sim.step(action)
            out = run(sensing, sensing_inputs(sim, action))
            np.testing.assert_array_equal(out["obs"], step.obs)
            np.testing.assert_array_equal(out["terminated"], step.terminated)
            np.testing.assert_allclose(out["reward"], step.reward, rtol=1e-6)
            np.testing.assert_allclose(out["terms"], np.stack([*step.terms.values()], 1), atol=SAME)
            assert ("success" in out) == (sim.succeeded is not None)
            assert ("error" in out) == family.says_error
            if family.says_error:
                np.testing.assert_allclose(out["error"], sim.error(), atol=SAME)
            if "success" in out:
                np.testing.assert_array_equal(out["success"], sim.success())


def test_the_marker_graph_equals_the_markers(family):
    graph, found = marker_graph(family)
    marking, sim, rng = session(graph), BatchSim(family, 1, 1), np.random.default_rng(1)
    data = mujoco.MjData(family.model)
    for _ in range(3):
        sim.start(rng)
        for _ in range(3):
            sim.step(rng.uniform(-1, 1, (1, family.action_dim)))
        mujoco.mj_setState(family.model, data, sim.state[0], mujoco.mjtState.mjSTATE_INTEGRATION)
        mujoco.mj_kinematics(family.model, data)
        task = sim.tasks[0]
        read = lambda name: task[name.removeprefix(TASK)] if TASK in name else getattr(data, name)  # noqa: E731, B023
        rows, markers = run(marking, read)["markers"], family.markers(task, data)
        for row, marker, kind in zip(rows, markers, found, strict=True):
            whole = [*marker.position, *[*marker.size, 0, 0, 0][:3], *(marker.to or marker.position)]
            np.testing.assert_allclose(row, whole, atol=SAME)
            assert (kind.kind, kind.colour) == (marker.kind, marker.colour)


def test_what_is_asked_and_what_is_are_found_in_an_error_that_compares_the_two():
    graph = sensing_graph(load_family("HalfCheetahVel"))
    assert graph.needs("asked") == ["task.velocity"] and "task.velocity" not in graph.needs("real")
    assert "asked" not in sensing_graph(load_family("AntGoal")).outputs


# NumPy's functions.

A, B = np.array([[0.3, -0.7, 0.2], [1.5, 0.4, -0.1]]), np.array([[0.5, 0.5, -2.0], [0.1, 3.0, 0.2]])
USES = {
    "arithmetic": lambda a, b: (a + 2 * b - a / (b * b + 1)) ** 2 // 0.3 % 0.7,
    "functions": lambda a, b: np.sin(a) + np.exp(b) * np.tanh(a) - np.sqrt(np.abs(b)) + np.log1p(a * a),
    "angles": lambda a, b: np.arctan2(a, b) + np.arctan2(b, a) + np.arctan2(-np.abs(a), -np.abs(b)),
    "inverse angles": lambda a, b: np.arccos(np.clip(a, -1, 1)) + np.tan(a) + np.arcsinh(b),
    "comparisons": lambda a, b: ((a > b) & (a != 0.4) | ~(b >= 0)).astype(float) + (a == a),
    "picking": lambda a, b: a[:, [2, 0]] * b[-1, 1:] + a[..., None, 0],
    "stacking": lambda a, b: np.concatenate([np.stack([a, b]), np.zeros((1, 2, 3))])[::-1].T,
    "reshaping": lambda a, b: np.tile(a.reshape(3, 2), 2) @ np.repeat(b.ravel()[:4], 2).reshape(4, 2),
    "sums": lambda a, b: a.sum(1) + b.mean(axis=-1) + np.prod(a, 1) + a.max(1) - np.min(b, axis=1),
    "spread": lambda a, b: a.std(axis=0) + np.var(b, 0) + np.ptp(a, axis=0),
    "any and all": lambda a, b: (a > 0).any(1) & ~(b > 0).all(axis=1),
    "norms": lambda a, b: np.linalg.norm(a - b, axis=1) + np.linalg.norm(a, 1, axis=1) + np.hypot(a, b)[:, 0],
    "where": lambda a, b: np.where(a > 0, b, 0.0) + np.select([a < 0, b < 0], [a, b], 1.0),
    "writing": lambda a, b: _written(a.copy(), b),
    "products": lambda a, b: np.einsum("ij,ij->i", a, b) + np.dot(a, b[0]) + np.cross(a, b)[:, 2],
    "running": lambda a, b: np.cumsum(a, axis=1) + np.diff(b, axis=1, n=1)[:, :1] + np.roll(a, 1, axis=1),
    "in place": lambda a, b: _in_place(a + 0, b),
    "rounding": lambda a, b: np.round(a, 1) + np.floor(b) + np.ceil(a) + np.trunc(b) + np.sign(a),
    "largest": lambda a, b: np.argmax(a, axis=1) + np.argmin(b, 1) * 1.0,
    "like": lambda a, b: np.full_like(a, 2.0) + np.ones_like(b) - np.zeros_like(a) + np.maximum(a, b),
    "walking": lambda a, b: np.stack([x * k for k, x in enumerate(a.T)]) + len(b),
    "signs": lambda a, b: np.copysign(a, b) + np.heaviside(b, 0.5) + np.cbrt(a) + np.logaddexp(a, b),
    "beyond all bounds": lambda a, b: np.arctan(a / (b - b)) + np.arctan(1e300 * b),
    "copies": lambda a, b: _written(a.copy(), b) + _in_place(a.astype(float), b) + a,
    "views": lambda a, b: _seen(np.concatenate([a, b])),
    "ordering": lambda a, b: (
        np.sort(a, axis=0) + np.sort(b)[:, ::-1] + np.argsort(a) + np.median(b, axis=1)[:, None]
    ),
    "places": lambda a, b: (
        a[np.arange(2), np.argmax(b, axis=1)] + np.take_along_axis(a, np.argsort(b), 1)[:, 0]
    ),
    "weighing": lambda a, b: (
        np.average(a, axis=1, weights=[1, 2, 3])
        + np.amax(b, axis=1)
        + np.interp(a, [-1, 0, 2], [3, 1, 2])[:, 0]
    ),
    "holes": lambda a, b: (
        np.nan_to_num(a / (b - b), posinf=1.0) + np.count_nonzero(a > 0, axis=1, keepdims=True)
    ),
    "not finite": lambda a, b: np.isfinite(a / (b - b)) | np.isnan(np.log(-np.abs(a))),
}


def _written(a, b):
    a[:, 1] = b[:, 0]
    a[a > 1] = -1.0
    return a


def _seen(x):
    inner, row, (first, _) = x[:, 1:], x.reshape(-1), np.split(x, 2)
    inner *= 3
    row[2:5] -= 1
    x.T[0] = 5
    first[inner[:2].sum(1) > 0] = 0.5
    return x + row.sum() + np.append(inner, x[:, :1], axis=1)


def _in_place(a, b):
    a += b
    a *= 2
    np.clip(a, -1, None)
    return a


@pytest.mark.parametrize("use", USES)
def test_numpy_means_in_a_graph_what_it_means_in_numpy(use):
    graph, function = Graph(), USES[use]
    with np.errstate(all="ignore"):
        graph.output("out", function(graph.input("a", B), graph.input("b", A)))  # traced on other numbers
        wanted = function(A.copy(), B.copy())
    out = run(session(graph), {"a": A, "b": B}.__getitem__)["out"]
    assert out.shape == wanted.shape and out.dtype == wanted.dtype
    np.testing.assert_allclose(out.astype(float), wanted.astype(float), rtol=1e-6, atol=1e-6)


def test_angles_are_as_exact_as_numpys_where_float32_is_not():
    graph, near = Graph(), np.concatenate([10.0 ** -np.arange(1, 16), [0.0]])
    x = graph.input("x", near)
    graph.output(
        "out",
        np.stack(
            [np.arccos(1 - x), np.arcsin(x - 1), np.arctan2(-x, x - 2), np.tan(x), np.arctan(1 / (x + 1e-9))]
        ),
    )
    wanted = [
        np.arccos(1 - near),
        np.arcsin(near - 1),
        np.arctan2(-near, near - 2),
        np.tan(near),
        np.arctan(1 / (near + 1e-9)),
    ]
    wanted[2][-1] = np.pi  # a zero has no sign in a graph
    np.testing.assert_allclose(run(session(graph), lambda _: near)["out"], wanted, atol=1e-12)


class Summed(PointGoal):
    """Its error is said in steps, each of which uses the one before twice."""

    def error(self, r, task):
        far = r.qpos[:, 0]
        for _ in range(60):
            far = 0.5 * far + 0.5 * np.sin(far)
        return np.abs(far - task["goal_x"])


def test_a_long_error_is_read_as_fast_as_a_short_one():
    assert sensing_graph(Summed()).needs("asked") == ["task.goal_x"]


# What cannot be traced.


class Branching(PointGoal):
    """Pays more on one side, as Python has it."""

    def reward(self, r, action, task):
        return {"side": np.array([1.0 if x > 0 else 0.0 for x in r.qpos[:, 0]]) + task["goal_x"]}


class Filling(PointGoal):
    """Writes into an array of zeros."""

    def reward(self, r, action, task):
        out = np.zeros(len(r.qpos))
        out[:] = r.qpos[:, 0] - task["goal_x"]
        return {"distance": out - np.abs(task["goal_y"])}


class Multiplying(PointGoal):
    """Uses what no graph has."""

    def reward(self, r, action, task):
        return {"distance": np.cumprod(r.qpos, axis=1)[:, 0] - task["goal_x"] + task["goal_y"]}


class Masking(PointGoal):
    """Takes as many numbers as there are that are positive."""

    def reward(self, r, action, task):
        return {"distance": r.qpos[r.qpos > 0].sum() * task["goal_x"] + task["goal_y"]}


class Buffering(PointGoal):
    """Sums into an array of its own."""

    def reward(self, r, action, task):
        out = np.zeros(len(r.qpos))
        np.sum(r.qpos, axis=1, out=out)
        return {"distance": out * task["goal_x"] + task["goal_y"]}


class Reducing(Buffering):
    """Says it as a ufunc."""

    def reward(self, r, action, task):
        out = np.zeros(len(r.qpos))
        np.maximum.reduce(r.qpos, axis=1, out=out)
        return {"distance": out * task["goal_x"] + task["goal_y"]}


class Slicing(PointGoal):
    """Takes a column that nobody knows before."""

    def reward(self, r, action, task):
        return {"distance": r.qpos[:, np.argmax(r.qpos[0])] * task["goal_x"] + task["goal_y"]}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Masking, "products with a mask"),
        (Slicing, "use np.take_along_axis"),
        (Branching, "use np.where"),
        (Filling, "use np.stack"),
        (Buffering, "np.sum with out cannot be"),
        (Reducing, "np.maximum.reduce cannot be"),
        (Multiplying, "np.cumprod cannot be"),
    ],
)
def test_what_cannot_be_traced_is_said_in_one_line_with_the_place_and_a_cure(kind, words):
    with pytest.raises(TraceError) as caught:
        sensing_graph(kind())
    assert words in str(caught.value) and f"{kind.__name__}.reward, line" in str(caught.value)


def test_a_check_tells_what_cannot_be_traced_and_calls_it_no_mistake(monkeypatch, capsys):
    monkeypatch.setattr("metarl.cli.check.load_family", lambda name: Multiplying())
    assert main(["check", "Multiplying"]) == 0
    said = capsys.readouterr().out
    assert "no    a live page can run its functions" in said and "np.cumprod cannot be traced" in said
    assert "Multiplying: nothing wrong" in said
    assert not any(finding.remark for finding in check(PointGoal()))


def test_no_two_names_of_a_graph_are_the_same(family):
    graph = sensing_graph(family)
    names = [*graph.inputs, *graph.constants, *(node.output for node in graph.nodes)]
    assert all(a != b for a, b in pairwise(sorted(names)))


def test_markers_that_depend_on_where_a_body_is_follow_it():
    class Following(PointGoal):
        """Marks the point itself."""

        params = (Param("goal", "m", Uniform(-1, 1)),)

        def reward(self, r, action, task):
            return {"distance": -np.abs(r.qpos[:, 0] - task["goal"])}

        def markers(self, task, data):
            x, y, z = data.body("point").xpos
            return (Marker("box", (x + task["goal"], y, z), (0.1, 0.1, 0.1)),)

    graph, _ = marker_graph(Following())
    place = np.zeros((2, 3))
    place[1] = 1, 2, 3
    rows = run(session(graph), {"xpos": place, "task.goal": np.array(0.5)}.__getitem__)["markers"]
    np.testing.assert_allclose(rows[0, :3], [1.5, 2, 3])
