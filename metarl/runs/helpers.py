"""Other processes of this machine that train with this one."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from metarl import ranks
from metarl.errors import LostError

SECONDS_TO_END = 10.0  # for those that have been told to, or have lost the first one
WATCHES = "METARL_WATCHES"  # is set where stdin is a pipe of the process to end with
OWN_GROUP: dict[str, Any] = (  # a terminal's signals are for the process that was started there
    {"process_group": 0} if sys.version_info >= (3, 11) else {"start_new_session": True}
)


@contextmanager
def helped(n: int, words: Sequence[str]) -> Iterator[None]:
    """Be the first of n processes within; the others run the command `metarl` of these words.

    Raises:
        LostError: one of them has ended.
    """
    if n == 1:
        yield
        return
    with TemporaryDirectory(prefix="metarl-") as folder, _local(n):
        store = str(Path(folder) / "store")
        helpers = [_start(store, number, n, words) for number in range(1, n)]
        try:
            with ranks.meeting(store, 0, n) as how:
                _wait_for(helpers, how["store"])
                with ranks.joined(**how):
                    yield
        except LostError as error:
            raise LostError(_who(helpers) or str(error)) from error
        else:
            _wait(helpers)
        finally:
            for helper in helpers:
                helper.kill()
                helper.wait()
                if helper.stdin is not None:
                    helper.stdin.close()


def end_with_parent() -> None:
    """In a process that others have started: end when the first one does, however that ends.

    At once in one that `helped` has started; in a training of a sweep as it does when it is asked to stop.
    """
    if ranks.STORE in os.environ:
        threading.Thread(target=_watch_parent, args=(partial(os._exit, 1),), daemon=True).start()
    elif os.environ.pop(WATCHES, None):
        stop = partial(os.kill, os.getpid(), signal.SIGTERM)
        threading.Thread(target=_watch_parent, args=(stop,), daemon=True).start()


def _watch_parent(end: Callable[[], object]) -> None:
    with suppress(OSError):
        while os.read(sys.__stdin__.fileno() if sys.__stdin__ else 0, 1):
            pass
    end()


@contextmanager
def _local(n: int) -> Iterator[None]:
    """This process has its share of the machine's CPUs, as the others have."""
    os.environ["LOCAL_WORLD_SIZE"] = str(n)
    try:
        yield
    finally:
        del os.environ["LOCAL_WORLD_SIZE"]


def _start(store: str, number: int, n: int, words: Sequence[str]) -> subprocess.Popen[bytes]:
    place = {ranks.STORE: store, "RANK": str(number), "WORLD_SIZE": str(n), "LOCAL_RANK": str(number)}
    command = [sys.executable, "-m", "metarl", *words]
    return subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, **place}, **OWN_GROUP)


def _wait_for(helpers: Sequence[subprocess.Popen[bytes]], store: Any) -> None:
    """Until all of them are there.

    Raises:
        LostError: one has ended before.
    """
    while not store.check([f"here {number}" for number, _ in enumerate(helpers, start=1)]):
        if any(helper.poll() is not None for helper in helpers):
            raise LostError("another process of this training could not begin")
        time.sleep(0.02)


def _wait(helpers: Sequence[subprocess.Popen[bytes]]) -> None:
    """Until they have ended, which they are about to."""
    until = time.monotonic() + SECONDS_TO_END
    for helper in helpers:
        with suppress(subprocess.TimeoutExpired):
            helper.wait(max(0.0, until - time.monotonic()))


def _who(helpers: Sequence[subprocess.Popen[bytes]]) -> str | None:
    """Which of them has ended first, as far as that can be told, and how."""
    _wait(helpers)
    ends = {number: helper.poll() for number, helper in enumerate(helpers, start=1)}
    for number, status in ends.items():
        if status is not None and status < 0:
            with suppress(ValueError):
                return f"process {number} was killed ({signal.Signals(-status).name})"
    for number, status in ends.items():
        if status not in (None, 0, 1):
            return f"process {number} has failed, and says why"
    return None
