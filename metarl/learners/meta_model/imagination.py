"""What sequences of actions would bring, imagined by an adapted model."""

import torch
from torch import Tensor

from metarl.learners.meta_model.adaptation import Adapted
from metarl.learners.meta_model.model import DynamicsModel
from metarl.learners.meta_model.robot import Robot
from metarl.learners.meta_model.scales import Scales


def failures(robot: Robot, obs: Tensor, log_odds: Tensor) -> Tensor:
    """Which robots have failed, (...,) bool, at obs (..., obs_dim); log odds (...,) where that is learned."""
    if not robot.fails:
        return torch.zeros(obs.shape[:-1], dtype=torch.bool)
    if robot.failed is None:
        return log_odds > 0
    rows = obs.detach().flatten(0, -2).numpy().astype(float)
    return torch.from_numpy(robot.failed(rows)).view(obs.shape[:-1])


def imagine(
    model: DynamicsModel, scales: Scales, adapted: Adapted, obs: Tensor, action: Tensor, gamma: float
) -> tuple[Tensor, Tensor, Tensor]:
    """What each member of the ensemble expects of its own sequences of actions.

    Args:
        model: sizes of the networks.
        scales: of what they see.
        adapted: the model, adapted to N tasks.
        obs: (N, obs_dim), now.
        action: (H, E, N, R, action_dim).
        gamma: discount per step.

    Returns:
        The discounted reward (E, N, R), the observation at the end (E, N, R, obs_dim), and one where the
        robot has not failed by then, (E, N, R).
    """
    shape = action.shape[1:4]
    now = obs[None, :, None].expand(*shape, -1)
    told, total, alive = adapted.told_rows(), torch.zeros(shape), torch.ones(shape)
    for k in range(len(action)):
        features = adapted.rows(scales.features(now))
        said = model.predict(adapted.params, features, adapted.rows(action[k]), told)
        now, reward = scales.after(now, said.mean.reshape(*shape, -1))
        total += gamma**k * alive * reward
        alive = alive * ~failures(scales.robot, now, said.failure.reshape(shape))
    return total, now, alive
