"""The external memory: a scan that equals the plain recurrence, and what is written is read."""

import pytest
import torch

from metarl.policies.memory import LONGEST, SHORTEST, ExternalMemory, GatedScan

LENGTHS = [1, 2, 3, 7, 16, 23, 40, 101]


def naive(gate, value, start):
    """The recurrence as it is written down."""
    out = []
    for g, v in zip(gate, value, strict=True):
        start = (1 - g)[..., None] * start + g[..., None] * v[:, None]
        out.append(start)
    return torch.stack(out)


def numbers(length: int, n: int = 3, n_slots: int = 4, slot_dim: int = 5) -> tuple[torch.Tensor, ...]:
    """Gates, values and a start, float64, to be differentiated."""
    generator = torch.Generator().manual_seed(length)
    gate = torch.rand(length, n, n_slots, generator=generator, dtype=torch.float64)
    value = torch.randn(length, n, slot_dim, generator=generator, dtype=torch.float64)
    start = torch.randn(n, n_slots, slot_dim, generator=generator, dtype=torch.float64)
    return tuple(x.requires_grad_() for x in (gate, value, start))


def memory(n_slots: int = 4, slot_dim: int = 5, n_heads: int = 2) -> ExternalMemory:
    return ExternalMemory(n_slots, slot_dim, n_heads, n_query=3, n_write=6)


def params_of(m: ExternalMemory) -> dict[str, torch.Tensor]:
    return {k: p.double().requires_grad_() for k, p in m.init(torch.Generator().manual_seed(0)).items()}


def driven(m: ExternalMemory) -> dict[str, torch.Tensor]:
    """Parameters with which the numbers to write are gates and value themselves, but for their squashing."""
    p = params_of(m)
    with torch.no_grad():
        p["memory/write"].copy_(torch.eye(m.n_write, m.n_slots + m.slot_dim))
        p["memory/write_bias"].zero_()
    return p


# The scan.


@pytest.mark.parametrize("length", LENGTHS)
def test_the_chunked_scan_is_the_naive_recurrence_forward_and_gradient(length):
    inputs = numbers(length)
    one, other = GatedScan.apply(*inputs), naive(*inputs)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    weight = torch.randn(one.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slopes = (torch.autograd.grad((x * weight).sum(), inputs) for x in (one, other))
    for mine, plain in zip(*slopes, strict=True):
        torch.testing.assert_close(mine, plain, rtol=0, atol=1e-11)


def test_the_slopes_of_the_scan_are_finite_differences():
    assert torch.autograd.gradcheck(GatedScan.apply, numbers(7, n=2, n_slots=2, slot_dim=3))


def test_the_scan_takes_few_operations_however_long_the_trial():
    def operations(length: int) -> int:
        inputs = [x.detach() for x in numbers(length)]
        with torch.profiler.profile() as profile:
            GatedScan.apply(*inputs)
        return sum(e.count for e in profile.key_averages() if e.key == "aten::addcmul_")

    assert operations(400) <= 2 * 20
    assert operations(399) <= 3 * 20


@pytest.mark.parametrize("gate", [0.0, 1.0])
def test_shut_gates_keep_everything_and_open_ones_nothing(gate):
    _, value, start = (x.detach() for x in numbers(50))
    contents = GatedScan.apply(torch.full((50, 3, 4), gate, dtype=torch.float64), value, start)
    expected = value[:, :, None].expand_as(contents) if gate else start.expand_as(contents)
    torch.testing.assert_close(contents, expected, rtol=0, atol=0)


def test_a_slope_survives_a_trial_of_a_thousand_steps_through_nearly_shut_gates():
    gate, value, start = numbers(1000)
    GatedScan.apply(gate.detach() * 1e-3, value, start)[-1].sum().backward()
    assert value.grad[0].abs().max() > 1e-5
    assert start.grad.min() > 0.3


# Writing and reading.


def test_what_is_written_to_a_slot_is_read_from_it():
    m = memory()
    p = driven(m)
    write = torch.full((1, 6), -40.0, dtype=torch.float64)  # all gates shut
    write[0, 2] = 40.0  # but that of slot 2
    write[0, 4:] = torch.tensor([0.5, -1.0])
    reading, content = m.step(p, m.start(p, 1), torch.zeros(1, 3).double(), write)
    expected = torch.tanh(torch.tensor([0.5, -1.0, 0, 0, 0], dtype=torch.float64))
    torch.testing.assert_close(content[0, 2], expected)
    torch.testing.assert_close(content[0, [0, 1, 3]], m.start(p, 1)[0, [0, 1, 3]])
    # A query along the written value, strong against everything else, reads it.
    q = p["memory/query"]
    with torch.no_grad():
        p["memory/address"].zero_()
        q.zero_()
        q[0] = (100 * expected).repeat(m.n_heads)
    reading = m.read(p, content, torch.tensor([[1.0, 0, 0]], dtype=torch.float64))
    torch.testing.assert_close(reading.content[0], expected.repeat(m.n_heads))
    assert (reading.attention[0, :, 2] > 0.999).all()


def test_attention_is_a_distribution_over_slots():
    m = memory()
    p = params_of(m)
    reading, contents = m.unroll(
        p, m.start(p, 3), torch.randn(9, 3, 3).double(), torch.randn(9, 3, 6).double()
    )
    assert reading.attention.shape == (9, 3, 2, 4)
    assert contents.shape == (9, 3, 4, 5)
    torch.testing.assert_close(reading.attention.sum(-1), torch.ones(9, 3, 2).double())
    assert (reading.attention > 0).all()


def test_unrolling_is_stepping():
    m = memory()
    p = params_of(m)
    query, write = torch.randn(11, 3, 3).double(), torch.randn(11, 3, 6).double()
    reading, contents = m.unroll(p, m.start(p, 3), query, write)
    content = m.start(p, 3)
    for t in range(11):
        now, content = m.step(p, content, query[t], write[t])
        torch.testing.assert_close(now.content, reading.content[t])
        torch.testing.assert_close(content, contents[t])


def test_the_gradient_of_a_late_reading_reaches_an_early_write_and_the_first_content():
    m = memory()
    p = params_of(m)
    query, write = torch.randn(60, 2, 3).double(), torch.randn(60, 2, 6).double().requires_grad_()
    reading, _ = m.unroll(p, m.start(p, 2), query, write)
    reading.content[-1, 0].sum().backward()
    assert write.grad[0, 0].abs().max() > 0
    assert (write.grad[:, 1] == 0).all()  # another trial's
    for name in ("memory/content", "memory/address", "memory/write", "memory/query"):
        assert p[name].grad.abs().max() > 0, name


def test_new_slots_remember_from_a_step_to_a_whole_trial():
    m = ExternalMemory(8, 4, 1, 3, 6)
    p = m.init(torch.Generator().manual_seed(0))
    gate = torch.sigmoid(p["memory/write_bias"][:8])
    torch.testing.assert_close(1 / gate[[0, -1]], torch.tensor([SHORTEST, LONGEST]), rtol=1e-3, atol=0)
    assert (gate.diff() < 0).all()
