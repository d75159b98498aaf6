"""Batch norm over channels-last memory: torch's own results, with statistics exact to rounding."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from skelbench.backbones.norm import BatchNorm2d

SHAPE = (6, 5, 7, 25)


def pair(dtype=torch.float64):
    """Ours and torch's with the same weights."""
    torch.manual_seed(0)
    ours, theirs = BatchNorm2d(SHAPE[1]).to(dtype), nn.BatchNorm2d(SHAPE[1]).to(dtype)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.copy_(torch.rand_like(parameter) + 0.5)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def clips(shape=SHAPE, dtype=torch.float64):
    x = 5 + torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(1))
    return x.contiguous(memory_format=torch.channels_last)


def test_training_gives_torchs_output_gradients_and_running_statistics():
    ours, theirs = pair()
    x, y = clips().requires_grad_(), clips().requires_grad_()
    weight = torch.randn(SHAPE, dtype=torch.float64)
    for norm, input in ((ours, x), (theirs, y)):
        for _ in range(3):
            input.grad = None
            norm.zero_grad()
            (norm(input) * weight).sum().backward()
    assert_close(ours(x), theirs(y))
    assert_close(x.grad, y.grad)
    assert_close([p.grad for p in ours.parameters()], [p.grad for p in theirs.parameters()])
    assert_close(dict(ours.named_buffers()), dict(theirs.named_buffers()))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_evaluation_is_torchs_own(layout):
    ours, theirs = pair()
    x = clips().contiguous(memory_format=layout)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


def test_statistics_of_many_values_far_from_zero_keep_float32s_precision():
    x = clips((128, 4, 50, 25), torch.float32)  # 160,000 values a channel
    exact = x.double().mean(dim=(0, 2, 3))
    norm = BatchNorm2d(4, momentum=1.0).train()
    norm(x)
    assert norm.running_mean is not None and norm.running_var is not None
    assert (norm.running_mean - exact).abs().max() < 5e-6
    assert_close(norm.running_var.double(), x.double().var(dim=(0, 2, 3)), rtol=1e-5, atol=0)
