"""A task as numbers that a network can take in: what an oracle is told."""

from collections.abc import Mapping

import numpy as np

from metarl.envs.distributions import Index, LogUniform
from metarl.envs.family import TaskFamily


def task_features(family: TaskFamily, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """What an oracle is told: all numbers of N tasks, scaled so that training draws lie in [-1, 1].

    Args:
        family: whose tasks.
        values: by parameter, (N,) or (N, size), as `TaskFamily.stack` and `BatchSim.task_values` give them.

    Returns:
        (N, n) float32, the parameters in the family's order; of a `LogUniform` one, the logarithms. An
        `Index` tells nothing, so that n may be 0.
    """
    if (own := family.features(values)) is not None:
        return own.astype(np.float32)
    columns = [np.zeros((len(next(iter(values.values()))), 0), np.float32)]
    for param in family.params:
        if isinstance(param.train, Index):
            continue
        scale = np.log if isinstance(param.train, LogUniform) else np.asarray
        low, high = scale(param.train.low), scale(param.train.high)
        half = (high - low) / 2 or 1.0  # a range of one value
        x = (scale(values[param.name]) - (low + high) / 2) / half
        columns.append(x.reshape(len(x), -1).astype(np.float32))
    return np.concatenate(columns, axis=1)
