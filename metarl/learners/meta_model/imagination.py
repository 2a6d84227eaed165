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


def foresee(
    model: DynamicsModel, scales: Scales, adapted: Adapted, obs: Tensor, action: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What each member expects of a step: observations, rewards, and log odds of failing.

    Args:
        model: sizes of the networks.
        scales: of what they see.
        adapted: the model, adapted to N tasks.
        obs: (E, N, R, obs_dim), before the step.
        action: (E, N, R, action_dim).

    Returns:
        (E, N, R, obs_dim), and (E, N, R) twice.
    """
    features, done = adapted.rows(scales.features(obs)), adapted.rows(action)
    said = model.predict(adapted.params, features, done, adapted.told_rows())
    shape = obs.shape[:-1]
    after, reward = scales.after(obs, said.mean.reshape(*shape, -1))
    return after, reward, said.failure.reshape(shape)


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
    total, alive = torch.zeros(shape), torch.ones(shape)
    for k in range(len(action)):
        now, reward, log_odds = foresee(model, scales, adapted, now, action[k])
        total += gamma**k * alive * reward
        alive = alive * ~failures(scales.robot, now, log_odds)
    return total, now, alive
