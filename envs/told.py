"""A task as numbers that a network can take in: what an oracle is told, and what a policy is told."""

from collections.abc import Iterable, Mapping

import numpy as np

from metarl.envs.answers import real
from metarl.envs.distributions import Index, LogUniform
from metarl.envs.family import TaskFamily
from metarl.envs.param import Param


def task_features(family: TaskFamily, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """What an oracle is told: the hidden numbers of N tasks, scaled so that training draws lie in [-1, 1].

    Args:
        family: whose tasks.
        values: by parameter, (N,) or (N, size), as `TaskFamily.stack` and `BatchSim.task_values` give them.

    Returns:
        (N, n) float32, the parameters in the family's order; of a `LogUniform` one, the logarithms. An
        `Index` tells nothing, so that n may be 0.
    """
    if (own := family.features(values)) is not None:
        return real("features", own, len(next(iter(values.values()))), None).astype(np.float32)
    return _scaled(family.hidden_params, values)


def known_of(family: TaskFamily) -> int:
    """How many numbers may be known of a task in training, those of `World.told`."""
    tasks = family.stack(family.sample(np.random.default_rng(0), 1))
    n = task_features(family, tasks).shape[1]
    if not family.says_privileged:
        return n
    more = family.seen_in_training(family.readings_of(), tasks)
    return n + (0 if more is None else real("privileged", more, 1, None).shape[1])


def commands(family: TaskFamily, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """What a policy is told, the numbers that are not hidden, likewise: (N, n) float32."""
    return _scaled(family.told_params, values)


def _scaled(params: Iterable[Param], values: Mapping[str, np.ndarray]) -> np.ndarray:
    columns = [np.zeros((len(next(iter(values.values()))), 0), np.float32)]
    for param in params:
        if isinstance(param.train, Index):
            continue
        ends, numbers = np.array([param.train.low, param.train.high]), values[param.name]
        if isinstance(param.train, LogUniform):  # 0 has no logarithm: it is a range's length below
            ends = np.log(ends)
            least = np.exp(2 * ends[0] - ends[1])
            numbers = np.log(np.where(numbers > 0, numbers, least))
        half = np.ptp(ends) / 2 or 1.0  # a range of one value
        x = (numbers - ends.mean()) / half
        columns.append(x.reshape(len(x), -1).astype(np.float32))
    return np.concatenate(columns, axis=1)
