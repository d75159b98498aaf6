"""DSTA against tensors recorded from the released code."""

import math
from fnmatch import fnmatch

import pytest
import torch
from torch import nn

from replay import recorded_weights
from skelbench.backbones import create_backbone
from skelbench.backbones.dsta import CONFIGURATIONS
from skelbench.backbones.dsta_block import Attention, position_table
from skelbench.errors import SkelbenchError


def released(state, **args):
    """A backbone and the linear layer on it, with every released name accounted for."""
    backbone = create_backbone("dsta", **args)
    own = {official: name for name, official in backbone.official_names().items()}
    state = {k: v for k, v in state.items() if not any(fnmatch(k, p) for p in backbone.official_ignored)}
    weight, bias = state.pop("fc.weight"), state.pop("fc.bias")
    head = nn.Linear(weight.shape[1], weight.shape[0])
    head.load_state_dict({"weight": weight, "bias": bias})
    backbone.load_state_dict({own[name]: value for name, value in state.items()})
    return backbone, head


@pytest.fixture(scope="module")
def recorded(golden):
    return golden("mixing/dsta.npz")


@pytest.fixture
def skeattn(recorded):
    state = recorded_weights(recorded)
    return released(state, blocks=recorded["config"].tolist())


@pytest.fixture(scope="module")
def tiny(golden):
    return golden("moco-family/dsta_tiny.npz")


@pytest.fixture
def hiclr(tiny, golden):
    state = golden("moco-family/dsta_tiny_state.pt")
    return released(state, blocks=tiny["config"].tolist(), temporal="convolution", num_frames=50)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(("precision", "rtol"), [("f32", 1e-5), ("f64", 1e-8)])
def test_attention_over_time_gives_the_released_features(recorded, skeattn, mode, precision, rtol):
    # the recording machine's sines differ from others in the last bit of float32; of the tables with such a
    # difference this one is recorded
    table = torch.from_numpy(recorded["pe_layer3_temporal"])[0, :, :, 0].T
    skeattn[0].blocks[3].temporal.positions.copy_(table)
    dtype = torch.float64 if precision == "f64" else torch.float32
    first = torch.from_numpy(recorded["pe_layer0_spatial"])[0, :, 0].T
    if precision == "f64" and not torch.equal(position_table(25, 16), first):
        pytest.skip("this machine's float32 sines are not the recording machine's in any table")
    backbone, head = (part.to(dtype).train(mode == "train") for part in skeattn)
    features = backbone(torch.from_numpy(recorded["x"]).to(dtype))
    atol = {"f32": 1e-6, "f64": 1e-12}[precision]
    pooled = torch.from_numpy(recorded[f"{precision}/{mode}/feature_pooled"])
    torch.testing.assert_close(features.mean(dim=(2, 3)).flatten(0, 1), pooled, rtol=rtol, atol=atol)
    logits = torch.from_numpy(recorded[f"{precision}/{mode}/logits"])
    torch.testing.assert_close(head(backbone.pool(features)), logits, rtol=rtol, atol=atol)
    if precision == "f32":  # the released view has the right numbers in the wrong order of axes
        official = torch.from_numpy(recorded[f"f32/{mode}/feature_official_view"]).reshape(8, 64, 16, 25)
        maps = features.flatten(0, 1).permute(0, 3, 1, 2)
        torch.testing.assert_close(maps, official, rtol=rtol, atol=rtol * official.abs().max().item())


def test_convolution_over_time_gives_the_released_features(tiny, hiclr):
    backbone, head = hiclr
    x = torch.from_numpy(tiny["x"])

    def expect(actual, key):
        expected = torch.from_numpy(tiny[key])
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())

    backbone.eval()
    expect(backbone.pool(backbone(x)), "feat_eval")
    expect(head(backbone.pool(backbone(x))), "y_eval")
    expect(head(backbone.train().pool(backbone(x))), "y_train")


def test_positions_are_the_released_float32_numbers(recorded, tiny):
    cases = {
        "pe_layer0_spatial": (recorded["pe_layer0_spatial"][0, :, 0], 25, 16),
        "pe_layer3_temporal": (recorded["pe_layer3_temporal"][0, :, :, 0], 32, 64),
        "pe_block0": (tiny["pe_block0"], 25, 8),
    }
    for table, positions, channels in cases.values():
        ours = position_table(positions, channels)
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours.T, torch.from_numpy(table), rtol=0, atol=2e-6)
    in_float64 = dict(create_backbone("dsta", blocks=[[16, 16, 4, 1]]).double().named_buffers())[
        "blocks.0.spatial.positions"
    ]
    assert torch.equal(in_float64.float(), position_table(25, 16))


def test_the_named_configurations_have_the_released_sizes():
    def size(**args):
        with torch.device("meta"):
            return sum(p.numel() for p in create_backbone("dsta", **args).parameters())

    assert size(blocks="hiclr", temporal="convolution") == 1_546_480
    assert size() == size(blocks="skeattnclr", temporal="attention") == pytest.approx(3_450_000, rel=0.005)
    assert all(math.prod(stride for *_, stride in blocks) == 4 for blocks in CONFIGURATIONS.values())


def test_attention_sums_over_positions_as_written():
    torch.manual_seed(0)
    attention = Attention(3, 2, 2, 5, learnt=True).double()
    assert attention.learnt is not None
    with torch.no_grad():
        attention.scale.copy_(torch.tensor([0.5, 1.5])[None, :, None, None])
        attention.learnt.copy_(torch.randn(1, 2, 5, 5))
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    seen = x + position_table(5, 3).double().T[:, None]
    qk = attention.qk(seen).view(2, 4, 2, 4, 5)
    for b in range(2):
        for s in range(2):
            q, k = qk[b, s], qk[b, 2 + s]
            weights = torch.tanh(torch.einsum("clu,clv->uv", q, k) / 8) * attention.scale[0, s] + attention.learnt[0, s]
            expected = torch.einsum("clu,uv->clv", x[b], weights)
            torch.testing.assert_close(attention(x)[b, 3 * s : 3 * s + 3], expected)


@pytest.mark.parametrize("temporal", ["attention", "convolution"])
@pytest.mark.parametrize(("frames", "steps"), [(64, 16), (50, 13), (7, 2)])
def test_any_number_of_frames_passes_whatever_it_was_made_for(temporal, frames, steps):
    blocks = [[6, 6, 2, 2], [6, 10, 2, 1], [10, 8, 2, 2]]
    args = {"layout": "kinect20", "blocks": blocks, "temporal": temporal}
    exact, other = (create_backbone("dsta", num_frames=made, **args).eval() for made in (frames, 16))
    other.load_state_dict(exact.state_dict())
    x = torch.randn(2, 3, frames, 20, 1)
    assert exact(x).shape == (2, 1, steps, 20, 8)
    assert exact.time_stride == 4
    torch.testing.assert_close(exact(x), other(x))


def test_blocks_that_do_not_follow_are_refused():
    for blocks in ("huge", [], [[8, 8, 4]], [[8, 8, 4, 1], [16, 16, 4, 1]], [[8, 8, 4, 0]], [8]):
        with pytest.raises(SkelbenchError, match=r"backbone\.blocks cannot be .*'skeattnclr' or 'hiclr'"):
            create_backbone("dsta", blocks=blocks)
    with pytest.raises(SkelbenchError, match="'attention' or 'convolution'"):
        create_backbone("dsta", temporal="none")
