"""The CPU's own ways through the graph and the temporal convolution, next to a plain computation of both."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from skelbench.backbones import temporal
from skelbench.backbones.graph_convolution import as_written, graph_convolution
from skelbench.backbones.temporal import TemporalConvolution

CLIPS, FRAMES, JOINTS, PARTITIONS = 5, 3, 6, 3


def plain(x, edges, weight, bias):
    """Mix channels, then sum over the neighbours, as the released code."""
    mixed = nn.functional.conv2d(x, weight, bias)
    b, _, t, v = mixed.shape
    return torch.einsum("bkctv,kvw->bctw", mixed.view(b, PARTITIONS, -1, t, v), edges)


def inputs(channels, outputs):
    draw = torch.Generator().manual_seed(0)

    def randn(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=draw)

    x = randn(CLIPS, channels, FRAMES, JOINTS).contiguous(memory_format=torch.channels_last)
    edges = randn(PARTITIONS, JOINTS, JOINTS)
    weight, bias = randn(PARTITIONS * outputs, channels, 1, 1), randn(PARTITIONS * outputs)
    return [each.requires_grad_() for each in (x, edges, weight, bias)]


@pytest.mark.parametrize("sizes", [(3, 8), (8, 16), (16, 16)], ids=str)
def test_the_graph_convolution_and_its_gradients_are_the_plain_ones(sizes):
    given = inputs(*sizes)
    expected, found = plain(*given), graph_convolution(*given)
    assert_close(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)
    with as_written():
        assert_close(graph_convolution(*given), expected)
    towards = torch.randn_like(expected)
    assert_close(torch.autograd.grad(found, given, towards), torch.autograd.grad(expected, given, towards))


@pytest.mark.parametrize("tall", [0, temporal.TALL], ids=["oneDNN", "products"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 8, 13])
def test_the_temporal_convolution_in_training_and_its_gradients_are_torchs(frames, stride, tall, monkeypatch):
    monkeypatch.setattr(temporal, "TALL", tall)
    torch.manual_seed(0)
    channels = 6
    layer = TemporalConvolution(channels, channels, stride).double()
    x = torch.randn(3, channels, frames, 5, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    given = [x.requires_grad_(), *layer.parameters()]
    found, expected = layer(x), nn.functional.conv2d(x, layer.weight, layer.bias, (stride, 1), (4, 0))
    assert torch.equal(found, expected)
    towards = torch.randn_like(expected)
    assert_close(torch.autograd.grad(found, given, towards), torch.autograd.grad(expected, given, towards))


def test_a_lower_precision_takes_the_way_that_autocast_knows():
    given = [each.detach().float() for each in inputs(3, 8)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert graph_convolution(*given).dtype == torch.bfloat16
        layer = TemporalConvolution(3, 3, 1)
        assert layer(given[0]).dtype == torch.bfloat16


@pytest.mark.parametrize("sizes", [(3, 8), (16, 16)], ids=str)
def test_no_clips_pass_as_none(sizes):
    x, *others = inputs(*sizes)
    assert graph_convolution(x[:0], *others).shape == (0, sizes[1], FRAMES, JOINTS)


def test_a_frozen_part_gets_no_gradient():
    layer = TemporalConvolution(3, 3, 1)
    layer.weight.requires_grad = False
    layer(torch.randn(2, 3, 4, 5)).sum().backward()
    assert layer.weight.grad is None and layer.bias is not None and layer.bias.grad is not None
