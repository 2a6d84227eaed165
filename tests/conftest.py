"""Settings of every test."""

from collections.abc import Iterator

import pytest

from metarl.collect import torch_threads


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    """The tensors here are tiny: more threads would only wait for each other."""
    with torch_threads(1):
        yield
