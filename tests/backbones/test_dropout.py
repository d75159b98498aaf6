"""The bitwise dropout: the same distribution as torch's, whatever the size."""

import pytest
import torch
from torch.nn import functional

from skelbench.backbones.dropout import Dropout


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", [(1,), (63,), (64,), (65,), (3, 5, 7), (2, 16, 13, 25), (0, 4), ()])
def test_elements_are_dropped_or_doubled_for_any_size(shape):
    x = torch.rand(shape) + 1
    out = Dropout(0.5).train()(x)
    assert out.shape == x.shape
    assert ((out == 0) | (out == 2 * x)).all()


def test_half_is_kept_on_average():
    out = Dropout(0.5)(torch.ones(400_000))
    assert abs(out.mean().item() - 1) < 5 / 400_000**0.5  # the deviation of one element is 1


def test_every_bit_of_a_random_word_is_fair_and_independent_of_the_next():
    kept = (Dropout(0.5)(torch.ones(64 * 8000)) > 0).float().view(8000, 64)
    assert (kept.mean(0) - 0.5).abs().max() < 5 * 0.5 / 8000**0.5
    correlation = torch.corrcoef(kept.T) - torch.eye(64)
    assert correlation.abs().max() < 5.5 / 8000**0.5


def test_the_tail_beyond_the_last_complete_word_is_random_too():
    draws = torch.stack([Dropout(0.5)(torch.ones(70)) for _ in range(2000)]) / 2
    assert (draws.mean(0) - 0.5).abs().max() < 5 * 0.5 / 2000**0.5


def test_draws_follow_the_seed_and_move_on():
    dropout, x = Dropout(0.5), torch.ones(1000)
    first, second = dropout(x), dropout(x)
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(dropout(x), first)


def test_the_gradient_is_the_mask():
    x = torch.randn(257, dtype=torch.float64, requires_grad=True)
    out = Dropout(0.5)(x)
    weight = torch.randn_like(x)
    (out * weight).sum().backward()
    mask = (out != 0).double() * 2
    assert x.grad is not None
    torch.testing.assert_close(x.grad, weight * mask)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_precision_is_kept(dtype):
    assert Dropout(0.5)(torch.ones(100, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("p", [0.0, 0.1, 0.6, 1.0])
def test_any_other_rate_is_torchs_own(p):
    x = torch.randn(1000)
    torch.manual_seed(1)
    out = Dropout(p)(x)
    torch.manual_seed(1)
    assert torch.equal(out, functional.dropout(x, p, training=True))


@pytest.mark.parametrize("p", [0.0, 0.5, 0.6])
def test_evaluation_passes_everything_through_and_draws_nothing(p):
    x, state = torch.randn(100), torch.get_rng_state()
    assert torch.equal(Dropout(p).eval()(x), x)
    assert torch.equal(torch.get_rng_state(), state)


def test_compiled_code_draws_its_own():
    compiled = torch.compile(Dropout(0.5), backend="aot_eager", fullgraph=True)
    out = compiled(torch.ones(4000))
    assert set(out.tolist()) == {0.0, 2.0}
    assert abs(out.mean().item() - 1) < 5 / 4000**0.5
