"""Where MuJoCo's own warnings go: never into a file in the working directory."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import mujoco


def no_log_file() -> None:
    """Stop MuJoCo from writing MUJOCO_LOG.TXT; warnings still reach the console."""
    if not hasattr(mujoco, "MjLogConfig"):  # before MuJoCo 3.17, which none of our own families runs on
        return
    config = mujoco.MjLogConfig.get()
    config.logto_file = False
    config.set()


def no_warnings() -> None:
    """Stop MuJoCo from writing about simulations anywhere."""
    config = mujoco.MjLogConfig.get()
    config.logto_console = config.logto_file = False
    config.set()


@contextmanager
def no_console() -> Iterator[None]:
    """Hide MuJoCo's warnings for a while, e.g. about robots that are not ours to mend."""
    before = mujoco.MjLogConfig.get()
    config = mujoco.MjLogConfig.get()
    config.logto_console = config.logto_file = False
    config.set()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        before.set()
