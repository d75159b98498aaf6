"""BiGRU against tensors recorded from the released code."""

import pytest
import torch
from torch import nn

from replay import recorded_weights
from skelbench.backbones import create_backbone
from skelbench.errors import SkelbenchError


@pytest.fixture(scope="module")
def recorded(golden):
    return golden("mixing/bigru.npz")


def released(recorded, direction="causal"):
    backbone = create_backbone("bigru", hidden=16, direction=direction)
    own = {official: name for name, official in backbone.official_names().items()}
    state = recorded_weights(recorded)
    head = nn.Linear(32, 60)
    head.load_state_dict({name: state.pop(f"fc.{name}") for name in ("weight", "bias")})
    backbone.load_state_dict({own[name]: value for name, value in state.items()})
    return backbone, head


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_outputs_are_the_released(recorded, mode):
    backbone, head = released(recorded)
    features = backbone.train(mode == "train")(torch.from_numpy(recorded["x"]))
    expected = torch.from_numpy(recorded[f"{mode}/seq"])
    torch.testing.assert_close(features[:, 0, :, 0], expected, rtol=1e-5, atol=1e-6)
    logits = head(backbone.pool(features))
    torch.testing.assert_close(logits, torch.from_numpy(recorded[f"{mode}/logits"]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("direction", "key"), [("causal", "seq_f64_reference"), ("both", "seq_true_bidirectional_f64")]
)
def test_both_directions_in_float64(recorded, direction, key):
    backbone, _ = released(recorded, direction)
    features = backbone.double().eval()(torch.from_numpy(recorded["x"]).double())
    expected = torch.from_numpy(recorded[f"eval/{key}"])
    torch.testing.assert_close(features[:, 0, :, 0], expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("direction", ["causal", "both"])
def test_both_directions_are_those_of_pytorch(direction, layers):
    args = {"layout": "kinect20", "num_persons": 1, "hidden": 5, "num_layers": layers, "direction": direction}
    backbone = create_backbone("bigru", **args).double().eval()
    ours = {official: value for name, value in backbone.state_dict().items() for official in [_gru(backbone, name)]}
    reference = nn.GRU(60, 5, layers, batch_first=True, bidirectional=True).double()
    reference.load_state_dict({k: v for k, v in ours.items() if k})
    x = torch.randn(2, 3, 7, 20, 1, dtype=torch.float64)
    frames = torch.stack([x[:, c, :, v, 0] for v in range(20) for c in range(3)], dim=2)
    frames = frames / (1 + 1e-5) ** 0.5  # an untrained batch norm
    features = backbone(x)
    if direction == "both":
        expected, last = reference(frames)
        torch.testing.assert_close(features[:, 0, :, 0], expected)
        torch.testing.assert_close(backbone.pool(features), torch.cat([last[-2], last[-1]], dim=1))
    else:
        shorter = backbone(x[:, :, :4])  # future frames do not matter
        torch.testing.assert_close(features[:, :, :4], shorter)
        assert torch.equal(backbone.pool(features), features[:, 0, -1, 0])
    assert features.shape == (2, 1, 7, 1, 10)


def _gru(backbone, name):
    official = backbone.official_names()[name]
    return official.removeprefix("encoder.gru.") if official.startswith("encoder.gru.") else ""


def test_persons_share_one_hidden_state():
    backbone = create_backbone("bigru", layout="kinect20", num_persons=3, hidden=4).eval()
    assert backbone(torch.randn(2, 3, 8, 20, 3)).shape == (2, 1, 8, 1, 8)


def test_dropout_falls_between_layers_only():
    def outputs(layers):
        backbone = create_backbone("bigru", layout="kinect20", hidden=4, num_layers=layers, dropout=0.9)
        x = torch.randn(4, 3, 8, 20, 2)
        return backbone(x), backbone(x)

    assert torch.equal(*outputs(1))
    assert not torch.equal(*outputs(2))


def test_an_unknown_direction_and_an_empty_network_are_refused():
    with pytest.raises(SkelbenchError, match=r"no direction 'bidirectional'.*'causal' or 'both'"):
        create_backbone("bigru", direction="bidirectional")
    with pytest.raises(SkelbenchError, match="3 layers of 0 units"):
        create_backbone("bigru", hidden=0)
