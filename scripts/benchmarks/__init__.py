"""The lines of `scripts/benchmark.py`: one function each, registered by name."""

import metarl  # noqa: F401  isort: skip - before torch, so that its idle threads sleep
