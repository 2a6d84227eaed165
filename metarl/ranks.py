"""Many processes as one: each simulates a share, and what is learned is the mean over all of them.

A process is alone unless it has joined others (`joined`, `invited`). Alone, every function here returns what
it is given. Whatever decides whether one of them is called has to be decided on averaged numbers: a process
that calls while the others do not waits for ever.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from metarl.errors import LostError, NotFiniteError

T = TypeVar("T")

LANES = 2  # threads of a process that may average at the same time
PATIENCE = timedelta(
    minutes=30
)  # after which a silent process is given up; process 0 may be judging meanwhile
STORE = "METARL_STORE"  # in the environment of a process that `helped` has started: where to meet
DEVICE = "GLOO_SOCKET_IFNAME"
_lanes: list[Any] = []  # a process group each
_waited = 0.0


def rank() -> int:
    """This process's number; 0 is the one that writes, and the only one there is alone."""
    return dist.get_rank(_lanes[0]) if _lanes else 0


def count() -> int:
    """How many processes there are."""
    return dist.get_world_size(_lanes[0]) if _lanes else 1


def share(n: int) -> range:
    """Which of n things are this process's: as many as the others have, or one more."""
    return range(n * rank() // count(), n * (rank() + 1) // count())


def threads(n: int) -> int:
    """Physics threads: n, or for 0 this process's share of the machine's CPUs; alone, 0 stays 0."""
    return n or (_cpus() if _lanes else 0)


def waited() -> float:
    """Seconds that this process has spent in averages so far, those of waiting for others included."""
    return _waited


def mean(values: T, weight: float = 1.0, lane: int = 0) -> T:
    """The mean over all processes of a nest of tensors and numbers, in one message.

    Args:
        values: of the same shapes in all processes.
        weight: of this process's; with weight 0 they may be anything.
        lane: threads that average at the same time take one each.
    """
    if not _lanes:
        return values
    leaves, nest = tree_flatten(values)
    tensors = [x for x in leaves if torch.is_tensor(x)]
    single = tensors and all(x.dtype == torch.float32 for x in tensors)
    kind = torch.float32 if single else torch.float64
    parts = [torch.as_tensor(x).detach().to("cpu", kind).flatten() for x in leaves]
    message = torch.cat([*parts, torch.ones(1, dtype=kind)])
    message = message * weight if weight else torch.zeros_like(message)
    _add_up(message, lane)
    found = (message[:-1] / message[-1].clamp(min=1e-30)).split([len(part) for part in parts])
    out = [
        part.view_as(x).to(x.device, x.dtype) if torch.is_tensor(x) else float(part)
        for x, part in zip(leaves, found, strict=True)
    ]
    return tree_unflatten(out, nest)


def pool(n: int, average: Tensor, var: Tensor) -> tuple[int, Tensor, Tensor]:
    """Number, means and variances (dim,) of all processes' samples together (Chan et al. 1979)."""
    if not _lanes:
        return n, average, var
    whole = mean(average, n)
    return total(n), whole, mean(var + (average - whole) ** 2, n)


def mean_std(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of all processes' numbers together, () each."""
    if not _lanes:
        return x.mean(), x.std()
    n, average, var = pool(x.numel(), x.double().mean(), x.double().var(unbiased=False))
    return average.to(x.dtype), (var * n / (n - 1)).sqrt().to(x.dtype)


def total(n: int) -> int:
    """The sum of all processes' whole numbers."""
    return sum(each(n))


def each(n: int) -> list[int]:
    """All processes' whole numbers, in their order."""
    if not _lanes:
        return [n]
    numbers = torch.zeros(count(), dtype=torch.int64)
    numbers[rank()] = n
    _add_up(numbers)
    return numbers.tolist()


def any_of(flag: bool) -> bool:
    """Whether it is so in any process."""
    return any(each(int(flag)))


def from_first(value: T) -> T:
    """What process 0 has given."""
    if not _lanes:
        return value
    box = [value if rank() == 0 else None]
    with _talking():
        dist.broadcast_object_list(box, src=0, group=_lanes[0])
    return box[0]  # type: ignore[return-value] # it is what process 0 put there


@contextmanager
def together() -> Iterator[None]:
    """What one process raises within is raised in all of them, so that nobody waits for it."""
    if not _lanes:
        yield
        return
    error: Exception | None = None
    try:
        yield
    except LostError:
        raise
    except Exception as raised:
        error = raised
    worst = max(each(0 if error is None else 1 if isinstance(error, NotFiniteError) else 2))
    if error is not None:
        raise error
    if worst == 1:
        raise NotFiniteError("numbers of another process are not finite")
    if worst:
        raise LostError("another process of this training has failed, and says why")


def launched() -> int:
    """How many processes a launcher has started, torchrun or `helped`; 1 for none."""
    at = STORE in os.environ or "MASTER_ADDR" in os.environ
    return int(os.environ.get("WORLD_SIZE", "1")) if at else 1


def follows() -> bool:
    """Whether this process is to be another than the first one."""
    return launched() > 1 and os.environ.get("RANK") != "0"


@contextmanager
def invited() -> Iterator[None]:
    """Join the other processes that a launcher has started, if there are any."""
    n, store = launched(), os.environ.get(STORE)
    if _lanes or n == 1:
        yield
    elif store is None:
        with joined():
            yield
    else:
        number = int(os.environ["RANK"])
        with meeting(store, number, n) as how, joined(**how):
            yield


@contextmanager
def meeting(path: str, number: int, n: int) -> Iterator[dict[str, Any]]:
    """Where the processes of one machine meet, for `joined`: a file, so that nobody else can come."""
    store = dist.FileStore(path, n)
    store.set(f"here {number}", "")
    device = os.environ.get(DEVICE)
    if sys.platform == "linux":
        os.environ.setdefault(DEVICE, "lo")
    try:
        yield {"store": store, "rank": number, "world_size": n}
    finally:
        if device is None:
            os.environ.pop(DEVICE, None)


@contextmanager
def joined(**how: Any) -> Iterator[None]:
    """Be one of many processes within; at the end of it, wait for the others.

    Args:
        **how: to find each other: `rank`, `world_size` and `store` as `torch.distributed` takes them; nothing
            for what a launcher has left in the environment. A program that has joined already stays so.
    """
    global _waited
    before, ours = torch.get_num_threads(), not dist.is_initialized()
    with _talking():
        if ours:
            dist.init_process_group("gloo", timeout=PATIENCE, **how)
        _lanes.extend(dist.new_group(backend="gloo", timeout=PATIENCE) for _ in range(LANES))
    _waited = 0.0
    try:
        # As many everywhere, because in how many parts a sum is taken shows in its last bits.
        own = before if "OMP_NUM_THREADS" in os.environ else _cpus()
        torch.set_num_threads(min(each(own)))
        yield
        each(0)  # nobody leaves while another one needs it
    finally:
        torch.set_num_threads(before)
        lanes = list(_lanes)
        _lanes.clear()
        if ours:
            dist.destroy_process_group()
        else:
            for lane in lanes:
                dist.destroy_process_group(lane)


def _cpus() -> int:
    """CPUs of this process: its share of those that the processes of this machine may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _add_up(message: Tensor, lane: int = 0) -> None:
    """Let a message be the sum of all processes'."""
    with _talking():
        dist.all_reduce(message, group=_lanes[lane])


@contextmanager
def _talking() -> Iterator[None]:
    """Count the time, and say in one line that somebody does not answer."""
    global _waited
    begun = time.perf_counter()
    try:
        yield
    except RuntimeError as error:  # gloo's, which has no type of its own
        raise LostError(
            "another process of this training has ended, or cannot be reached any more"
        ) from error
    finally:
        _waited += time.perf_counter() - begun
