"""NumPy's functions that order numbers, or pick them by places known at run time only, as a graph."""

from collections.abc import Callable
from typing import Any

import numpy as np


def _argsort(graph: Any, x: Any, axis: int | None = -1, kind: Any = None, stable: Any = None) -> Any:
    x = np.ravel(x) if axis is None else x
    axis = -1 if axis is None else axis
    value = np.argsort(x.value, axis=axis, kind="stable")
    inputs = [x * 1.0, graph.constant(np.array([x.shape[axis]]))]
    return graph.emit("TopK", inputs, value, place=1, axis=axis, largest=0, sorted=1)


def _sort(graph: Any, x: Any, axis: int | None = -1, kind: Any = None, stable: Any = None) -> Any:
    x = np.ravel(x) if axis is None else x
    axis = -1 if axis is None else axis
    return np.take_along_axis(x, np.argsort(x, axis=axis), axis)


def _median(graph: Any, x: Any, axis: int | None = None, out: Any = None, keepdims: bool = False) -> Any:
    x = np.ravel(x) if axis is None else x
    axis = 0 if axis is None else axis
    n = x.shape[axis]
    middle = np.take(np.sort(x, axis=axis), [(n - 1) // 2, n // 2], axis=axis)
    return np.mean(middle, axis=axis, keepdims=keepdims)


def _take_along_axis(graph: Any, x: Any, indices: Any, axis: int = -1) -> Any:
    x, indices = graph.lift(x), graph.lift(indices)
    shape = list(x.shape)
    shape[axis] = indices.shape[axis]
    indices = np.broadcast_to(indices, shape)
    value = np.take_along_axis(x.value, indices.value, axis)
    return graph.emit("GatherElements", [x, indices], value, axis=axis)


ORDERING: dict[Callable, Callable] = {
    np.argsort: _argsort,
    np.sort: _sort,
    np.median: _median,
    np.take_along_axis: _take_along_axis,
}
