"""Returns and advantages against numbers worked by hand and against naive loops."""

import numpy as np
import pytest
import torch

from metarl.learners.returns import discounted_returns, gae

GAMMA, LAM = 0.5, 0.5
NO = [[False]] * 3


def column(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers)[:, None]


def test_returns_are_the_discounted_reward_to_go():
    # 1 + 2/2 + 4/4 = 3; 2 + 4/2 = 4; 4
    out = discounted_returns(column(1.0, 2.0, 4.0), column(True, True, True), GAMMA)
    assert out.flatten().tolist() == [3.0, 4.0, 4.0]


def test_rewards_beyond_the_end_do_not_count():
    # 1 + 2/2 = 2; 2; nothing
    out = discounted_returns(column(1.0, 2.0, 99.0), column(True, True, False), GAMMA)
    assert out.flatten().tolist() == [2.0, 2.0, 0.0]


def test_gae_by_hand():
    # delta = r + V'/2 - V = 1 + 4/2 - 2, 2 + 6/2 - 4, 4 + 8/2 - 6 = 1, 1, 2
    # A = 1 + (1 + 2/4)/4, 1 + 2/4, 2 with gamma * lambda = 1/4
    reward, value, after = column(1.0, 2.0, 4.0), column(2.0, 4.0, 6.0), column(4.0, 6.0, 8.0)
    no = torch.tensor(NO)
    assert gae(reward, value, after, no, no, GAMMA, LAM).flatten().tolist() == [1.375, 1.5, 2.0]


def test_after_a_failure_nothing_is_worth_anything_but_after_a_truncation_it_is():
    # The middle step ends an episode. Failed: delta = 2 - 4 = -2. Truncated: 2 + 6/2 - 4 = 1.
    reward, value, after = column(1.0, 2.0, 4.0), column(2.0, 4.0, 6.0), column(4.0, 6.0, 8.0)
    no, end = torch.tensor(NO), column(False, True, False)
    failed = gae(reward, value, after, end, end, GAMMA, LAM)
    assert failed.flatten().tolist() == [1 - 2 / 4, -2.0, 2.0]
    truncated = gae(reward, value, after, no, end, GAMMA, LAM)
    assert truncated.flatten().tolist() == [1 + 1 / 4, 1.0, 2.0]


def random_rows(seed: int, length: int = 12, n: int = 40) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    terminated = rng.random((length, n)) < 0.1
    truncated = (rng.random((length, n)) < 0.1) & ~terminated
    numbers = {k: rng.standard_normal((length, n)) for k in ("reward", "value", "next_value")}
    return {**numbers, "terminated": terminated, "end": terminated | truncated}


def naive_gae(d: dict[str, np.ndarray], gamma: float, lam: float) -> np.ndarray:
    """Sum over l of (gamma lambda)^l delta_{t+l}, up to the first end (Schulman et al. 2016, eq. 16)."""
    length, n = d["reward"].shape
    out = np.zeros((length, n))
    for i in range(n):
        for t in range(length):
            for step in range(t, length):
                worth = 0.0 if d["terminated"][step, i] else gamma * d["next_value"][step, i]
                delta = d["reward"][step, i] + worth - d["value"][step, i]
                out[t, i] += (gamma * lam) ** (step - t) * delta
                if d["end"][step, i]:
                    break
    return out


@pytest.mark.parametrize(("gamma", "lam"), [(0.9, 0.7), (1.0, 1.0), (0.99, 0.0)])
def test_gae_is_a_naive_double_loop(gamma, lam):
    data = random_rows(0)
    out = gae(**{k: torch.from_numpy(x) for k, x in data.items()}, gamma=gamma, lam=lam)
    np.testing.assert_allclose(out.numpy(), naive_gae(data, gamma, lam), rtol=1e-12, atol=1e-12)


def test_padding_changes_no_advantage_before_it():
    data = random_rows(1)
    data["end"][5] = True
    first = {k: torch.from_numpy(x) for k, x in data.items()}
    other = {k: x.clone() for k, x in first.items()}
    for k in ("reward", "value", "next_value"):
        other[k][6:] = 1e6
    assert torch.equal(gae(**first, gamma=0.9, lam=0.9)[:6], gae(**other, gamma=0.9, lam=0.9)[:6])


def test_with_lambda_1_the_advantage_is_the_return_minus_the_value():
    data = {k: torch.from_numpy(x) for k, x in random_rows(2).items()}
    never = torch.zeros_like(data["end"])
    after = torch.cat([data["value"][1:], torch.zeros_like(data["value"][:1])])
    out = gae(data["reward"], data["value"], after, never, never, 0.9, 1.0)
    expected = discounted_returns(data["reward"], ~never, 0.9) - data["value"]
    torch.testing.assert_close(out, expected)
