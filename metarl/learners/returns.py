"""Returns and advantages: functions of (T, N) tensors, time first."""

import torch
from torch import Tensor

from metarl import ranks


def discounted_returns(reward: Tensor, valid: Tensor, gamma: float) -> Tensor:
    """Discounted reward to go within each row, (T, N); zero beyond its end.

    Args:
        reward: (T, N).
        valid: (T, N) bool; false after a row's episode has ended.
        gamma: discount per step.
    """
    out = torch.zeros_like(reward)
    running = torch.zeros_like(reward[0])
    live = reward * valid
    for t in reversed(range(len(reward))):
        running = live[t] + gamma * running
        out[t] = running
    return out


def discounted_past(reward: Tensor, gamma: float) -> Tensor:
    """Discounted reward so far in each row, the last step first, (T, N), whose spread is that of returns.

    Args:
        reward: (T, N).
        gamma: discount per step.
    """
    return discounted_returns(reward.flip(0), torch.ones_like(reward, dtype=torch.bool), gamma)


def gae(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    terminated: Tensor,
    end: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """Generalised advantage estimate (Schulman et al. 2016, eq. 16), (T, N).

    Args:
        reward: (T, N).
        value: (T, N), of the state before each step.
        next_value: (T, N), of the state after each step, before any reset.
        terminated: (T, N) bool; the state after such a step is worth nothing.
        end: (T, N) bool; the advantage of later steps does not flow back over such a step.
        gamma: discount per step.
        lam: decay of the bias-variance trade-off, 1 for Monte-Carlo returns.
    """
    # delta_t = r_t + gamma V(s_{t+1}) - V(s_t)
    delta = reward + gamma * next_value * ~terminated - value
    carry = gamma * lam * (~end).to(reward.dtype)
    out = torch.empty_like(reward)
    running = torch.zeros_like(reward[0])
    for t in reversed(range(len(reward))):
        running = delta[t] + carry[t] * running
        out[t] = running
    return out


def standardised(advantage: Tensor) -> Tensor:
    """Advantages of mean 0 and deviation 1, over those of all processes."""
    mean, std = ranks.mean_std(advantage)
    return (advantage - mean) / (std + 1e-8)
