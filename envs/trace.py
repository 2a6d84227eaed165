"""What a family's NumPy code computes, as a graph of ONNX operators that other programs can run.

The functions run once on arrays that write down what is done to them, by NumPy's own protocols for arrays
that are not NumPy's (NEP 13 and 18); everything else in them is plain Python and happens while tracing.
Shapes are known, so whatever moves numbers about (indexing, stacking, reshaping) is one gathering of numbers
by their place.
"""

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from metarl.envs.operators import FUNCTIONS, UFUNCS
from metarl.errors import InputError

dispatched: Any = np  # NumPy's functions where they are given traced arrays, and give such
KEPT = (np.dtype(bool), np.dtype(np.int64), np.dtype(np.float32), np.dtype(np.float64))


class TraceError(InputError):
    """Code that cannot be turned into a graph, and what to write instead."""


@dataclass(frozen=True)
class Node:
    """One operator of ONNX.

    Attributes:
        op: its name.
        inputs: names of what goes in.
        output: name of what comes out.
        attributes: of the operator.
        place: of this output among all that the operator has.
    """

    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any]
    place: int = 0

    @property
    def outputs(self) -> list[str]:
        """All of the operator's that come before this one, and this one."""
        return [*(f"{self.output}.{k}" for k in range(self.place)), self.output]


@dataclass
class Graph:
    """Operators in the order in which they run.

    Attributes:
        inputs: arrays by name, whose values are an example.
        constants: arrays by name.
        nodes: the operators.
        outputs: what the graph is for, by name.
        labels: names of what stands side by side in an output.
    """

    inputs: dict[str, "Traced"] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    outputs: dict[str, "Traced"] = field(default_factory=dict)
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def input(self, name: str, example: Any) -> Any:
        """An array that is known only when the graph runs, into which it goes as float64."""
        array = np.asarray(example)
        if name not in self.inputs:
            self.inputs[name] = Traced(self, name, array.astype(np.float64))
        return self.cast(self.inputs[name], array.dtype if array.dtype in KEPT else np.int64)

    def constant(self, value: Any) -> "Traced":
        """An array that is known now."""
        array = np.asarray(value)
        array = array if array.dtype in KEPT else array.astype(np.float64 if array.dtype.kind == "f" else int)
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return Traced(self, name, array)

    def output(self, name: str, value: Any) -> None:
        """Let the graph give this, a traced array or a plain one."""
        traced = value if isinstance(value, Traced) else self.constant(value)
        self.outputs[name] = self.emit("Identity", [traced], traced.value)

    def needs(self, output: str) -> list[str]:
        """Names of the inputs that an output depends on."""
        wanted = {self.outputs[output].name}
        for node in reversed(self.nodes):
            if node.output in wanted:
                wanted |= set(node.inputs)
        return [name for name in self.inputs if name in wanted]

    def emit(
        self, op: str, inputs: Sequence["Traced"], value: Any, place: int = 0, **attributes: Any
    ) -> "Traced":
        """What an operator makes of its inputs, which is `value` for the example."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(Node(op, tuple(x.name for x in inputs), name, attributes, place))
        return Traced(self, name, np.asarray(value))

    def lift(self, value: Any) -> "Traced":
        """A traced array of whatever stands for numbers."""
        if isinstance(value, list | tuple) and _holds_traced(tuple(value)):
            return dispatched.stack([self.lift(x) for x in value])
        return value if isinstance(value, Traced) else self.constant(value)

    def cast(self, x: "Traced", dtype: Any) -> "Traced":
        """The same numbers as another type."""
        dtype = np.dtype(dtype)
        if x.dtype == dtype:
            return x
        return self.emit("Cast", [x], x.value.astype(dtype), to=dtype)

    def move(self, x: "Traced", function: Callable[[np.ndarray], np.ndarray]) -> "Traced":
        """What a function makes that only moves numbers about; a view of x if NumPy gives one."""
        places = np.arange(x.size).reshape(x.shape)
        moved = np.asarray(function(places))
        out = self.gather(x, moved)
        return x.seen_by(out, moved) if np.may_share_memory(moved, places) else out

    def gather(self, x: "Traced", index: np.ndarray) -> "Traced":
        """An array of the numbers of x at places in it, counted as if it were flat."""
        if index.shape == x.shape and (index.ravel() == np.arange(x.value.size)).all():
            return Traced(self, x.name, x.value)
        flat = x
        if len(x.shape) != 1:
            flat = self.emit("Reshape", [x, self.constant(np.array([-1]))], x.value.reshape(-1))
        return self.emit("Gather", [flat, self.constant(index)], x.value.reshape(-1)[index])

    def join(self, parts: Sequence[Any]) -> "Traced":
        """All the numbers of several arrays in a row."""
        lifted = [self.lift(part) for part in parts]
        dtype = np.result_type(*(part.dtype for part in lifted))
        flat = [
            self.emit("Reshape", [self.cast(x, dtype), self.constant(np.array([-1]))], x.value.reshape(-1))
            for x in lifted
        ]
        return self.emit("Concat", flat, np.concatenate([x.value for x in flat]).astype(dtype), axis=0)


class Traced(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of known shape whose numbers are known when the graph runs.

    Attributes:
        graph: that it is part of.
        name: its name there.
        value: what it is for the example.
        base: the array that it is a view of, and the places of its numbers there.
        views: those that are views of it.
    """

    __array_priority__ = 1000

    def __init__(self, graph: Graph, name: str, value: np.ndarray):
        self.graph, self.name, self.value = graph, name, value
        self.base: tuple[Traced, np.ndarray] | None = None
        self.views: list[weakref.ref[Traced]] = []

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.value.ndim

    @property
    def size(self) -> int:
        """Number of numbers."""
        return self.value.size

    @property
    def dtype(self) -> np.dtype:
        """Type of the numbers."""
        return self.value.dtype

    @property
    def T(self) -> "Traced":  # noqa: N802 (NumPy's name)
        """With its axes in reverse."""
        return dispatched.transpose(self)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *args: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", None)
        if method == "reduce" and ufunc in REDUCTIONS and out is None:
            return REDUCTIONS[ufunc](*args, **{"axis": 0, **kwargs})
        if method != "__call__" or ufunc not in UFUNCS or kwargs:
            raise TraceError(f"np.{ufunc.__name__}{'' if method == '__call__' else f'.{method}'} {UNKNOWN}")
        result = UFUNCS[ufunc](self.graph, *map(self.graph.lift, args))
        if out is None:
            return result
        (target,) = out
        if not isinstance(target, Traced):
            raise TraceError(f"np.{ufunc.__name__} {INTO_PLAIN}")
        target._become(dispatched.broadcast_to(result, target.shape), target.dtype)
        return target

    def __array_function__(
        self, func: Callable, types: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        if func not in FUNCTIONS:
            raise TraceError(f"{func.__module__.replace('numpy', 'np')}.{func.__name__} {UNKNOWN}")
        if kwargs.get("out") is not None:
            raise TraceError(f"np.{func.__name__} with out {UNKNOWN}")
        try:
            return FUNCTIONS[func](self.graph, *args, **kwargs)
        except TypeError as error:
            if "argument" not in str(error):
                raise
            given = ", ".join(kwargs) or f"{len(args)} arguments"
            raise TraceError(f"np.{func.__name__} with {given} {UNKNOWN}") from None

    def __getattr__(self, name: str) -> Any:
        """NumPy's function of a method's name."""
        if name not in METHODS:
            raise AttributeError(f"the method {name} of an array {UNKNOWN}")
        function = getattr(np, METHODS[name])
        return lambda *args, **kwargs: function(self, *args, **kwargs)

    def reshape(self, *shape: Any) -> "Traced":
        """The same numbers in another shape."""
        return dispatched.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> "Traced":
        """With its axes in another order."""
        return dispatched.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    def flatten(self) -> "Traced":
        """The numbers in a row."""
        return dispatched.ravel(self)

    def astype(self, dtype: Any, **_: Any) -> "Traced":
        """The same numbers as another type."""
        return self.graph.cast(Traced(self.graph, self.name, self.value), dtype)

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator["Traced"]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> "Traced":
        return self._at(key) if _holds_traced(key) else self.graph.move(self, lambda places: places[key])

    def _at(self, key: Any) -> "Traced":
        """Numbers at places that are only known at run time: whole numbers, for the first axes."""
        keys = key if isinstance(key, tuple) else (key,)
        if any(isinstance(k, slice) or k is None or k is Ellipsis for k in keys):
            raise TraceError(
                "slices beside places known at run time only cannot be traced: use np.take_along_axis"
            )
        parts = [self.graph.lift(k) for k in keys]
        if any(part.dtype.kind not in "iu" for part in parts):
            raise TraceError(
                "of a size that is only known at run time nothing can be traced: use np.where, or sums of "
                "products with a mask"
            )
        index: Any = 0
        for part, n in zip(parts, self.shape, strict=False):
            index = index * n + dispatched.where(part < 0, part + n, part)
        rows = self.reshape(-1, *self.shape[len(parts) :])
        return self.graph.emit("Gather", [rows, index], rows.value[index.value], axis=0)

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, Traced) and key.dtype == bool:
            mask = key.reshape(*key.shape, *[1] * (self.ndim - key.ndim))
            self._become(dispatched.where(mask, value, self), self.dtype)
            return
        if _holds_traced(key):
            raise TraceError(
                "writing to a place that is only known at run time cannot be traced: use np.where"
            )
        places = np.arange(self.size).reshape(self.shape)
        written = places[key]
        new = dispatched.broadcast_to(self.graph.lift(value), written.shape)
        places.reshape(-1)[written.reshape(-1)] = self.size + np.arange(written.size)
        self._become(self.graph.gather(self.graph.join([self, new]), places), self.dtype)

    def seen_by(self, view: "Traced", places: np.ndarray) -> "Traced":
        """Let a view change with this, and this with it."""
        root, inside = self.base or (self, np.arange(self.size))
        view.base = root, inside.reshape(-1)[places]
        root.views.append(weakref.ref(view))
        return view

    def _become(self, other: "Traced", dtype: np.dtype) -> None:
        other = self.graph.cast(other, dtype)
        if self.base is None:
            self.name, self.value = other.name, other.value
            for reference in self.views:
                if (view := reference()) is not None and view.base is not None:
                    seen = self.graph.gather(self, view.base[1])
                    view.name, view.value = seen.name, seen.value
            return
        root, inside = self.base
        places = np.arange(root.size)
        places[inside.reshape(-1)] = root.size + np.arange(inside.size)
        whole = self.graph.gather(self.graph.join([root, other]), places.reshape(root.shape))
        root._become(whole, dtype)

    def _unknown(self, *_: Any, **__: Any) -> NoReturn:
        raise TraceError(UNTRACEABLE)

    __bool__ = __float__ = __int__ = __index__ = __complex__ = _unknown

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise TraceError(f"np.asarray, np.array, or writing {INTO_PLAIN}")

    __hash__ = None  # type: ignore[assignment]


UNKNOWN = "cannot be traced: write it with other functions of NumPy"
INTO_PLAIN = (
    "into an array of np.zeros or the like cannot be traced: use np.stack, np.concatenate or np.where"
)
UNTRACEABLE = (
    "`if`, float() or a function of `math` on a number that is only known at run time cannot be traced: "
    "use np.where, and NumPy's functions"
)
METHODS = {
    **{n: n for n in ("sum", "mean", "prod", "max", "min", "any", "all", "std", "var", "copy", "ravel")},
    **{n: n for n in ("squeeze", "clip", "round", "dot", "cumsum", "take", "repeat", "swapaxes")},
    **{n: n for n in ("argmax", "argmin", "argsort")},
}
REDUCTIONS: dict[np.ufunc, Callable] = {
    np.add: np.sum,
    np.multiply: np.prod,
    np.maximum: np.max,
    np.minimum: np.min,
    np.logical_and: np.all,
    np.logical_or: np.any,
}


def _holds_traced(key: Any) -> bool:
    return any(isinstance(k, Traced) for k in (key if isinstance(key, tuple) else (key,)))
