"""How torch computes, whatever is around: on how many threads, with which numbers, with gradients."""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

import torch


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Run with n torch threads: idle ones spin and would steal the cores from the physics."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def thread_pool(most: int | None = None) -> Iterator[Executor]:
    """As many threads as torch had, but no more than so many, on each of which torch computes alone."""
    n = torch.get_num_threads() if most is None else min(most, torch.get_num_threads())
    with torch_threads(1), ThreadPoolExecutor(n, "", torch.set_num_threads, (1,)) as pool:
        yield pool


@contextmanager
def plain_torch() -> Iterator[None]:
    """Compute as torch does where nothing was changed: numbers of 32 bits, and with gradients.

    Somebody may have another default dtype, or learn and adapt inside `torch.no_grad()`.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(before)
