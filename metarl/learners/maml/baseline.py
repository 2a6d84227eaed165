"""The linear feature baseline, fitted for all tasks at once."""

import torch
from torch import Tensor

MAX_FEATURE = 10.0  # normalised observations beyond this are outliers
RIDGE = 1e-5  # relative to the mean diagonal of the normal equations


def features(obs: Tensor, time: Tensor) -> Tensor:
    """Observation, its square, and powers of time (Duan et al. 2016, appendix), (..., F).

    Args:
        obs: (..., obs_dim), normalised.
        time: (...), steps since the episode's start divided by 100.
    """
    obs = obs.clamp(-MAX_FEATURE, MAX_FEATURE)
    t = time[..., None]
    return torch.cat([obs, obs**2, t, t**2, t**3, torch.ones_like(t)], dim=-1)


def fit_predict(feature: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Least-squares prediction of the target, fitted anew for each task, (K, B).

    Args:
        feature: (K, B, F).
        target: (K, B).
        valid: (K, B) bool; padding takes no part in the fit.
    """
    x = feature.double() * valid[..., None]
    gram = x.mT @ x
    scale = gram.diagonal(dim1=1, dim2=2).mean(dim=1)
    ridge = RIDGE * scale[:, None, None] * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    weight = torch.linalg.solve(gram + ridge, x.mT @ target.double()[..., None])
    return (x @ weight)[..., 0].to(target.dtype)
