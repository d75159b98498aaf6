"""HiCLR against tensors recorded from the released code."""

import pytest
import torch

from replay import expect
from skelbench.datasets.augment.adain import adain
from skelbench.methods import Progress, create_method

pytestmark = pytest.mark.full_depth

STAGES = [("s1_", 0), ("nnm_", 1)]


@pytest.fixture(scope="module")
def recorded(golden):
    return golden("moco-family/hiclr_tiny.npz")


@pytest.fixture
def method(golden):
    method = create_method(
        "hiclr", queue_size=64, feature_dim=16, backbone_args={"width": 4, "dim": 32, "dropout": 0.0}
    )
    method.load_official(golden("moco-family/hiclr_tiny_state.pt"))
    return method.train()


def views(recorded):
    names = {"query": "im_q", "key": "im_k", "query_1": "im_q_1", "query_2": "im_q_2"}
    return {ours: torch.from_numpy(recorded[theirs]) for ours, theirs in names.items()}


def draws(recorded):
    mask = torch.zeros(50, 25, dtype=torch.bool)
    return {"joint_mask": mask.scatter_(1, torch.from_numpy(recorded["mask_joint_indices_seed0"]), True)}


def test_the_mask_hides_the_drawn_joints_and_its_number_is_loaded(recorded, method):
    hidden = torch.from_numpy(recorded["mask_NTMVC_sample0_person0_chan0"]) == 0
    assert torch.equal(draws(recorded)["joint_mask"], hidden)
    assert hidden.sum(dim=1).tolist() == [2] * 50
    assert method.mask_param.item() == pytest.approx(0.2)
    drawn = method.draw(views(recorded)["query"], torch.Generator().manual_seed(0))["joint_mask"]
    assert drawn.shape == hidden.shape
    assert drawn.sum(dim=1).tolist() == [2] * 50


@pytest.mark.parametrize(("prefix", "stage"), STAGES)
def test_a_step_gives_the_released_distributions_and_positives(recorded, method, prefix, stage):
    outputs = method.outputs(views(recorded), stage=stage, draws=draws(recorded))
    expect(outputs["logits"], recorded[prefix + "logits"])
    for ours, theirs in (("logits", "t1"), ("logits_1", "p1"), ("logits_1", "t2"), ("logits_2", "p2")):
        expect(outputs[ours].log_softmax(dim=1), torch.from_numpy(recorded[prefix + theirs]).log())
    if stage:
        assert torch.equal(outputs["positive"], torch.from_numpy(recorded[prefix + "target"]))
    else:
        assert outputs["positive"].argmax(dim=1).tolist() == recorded[prefix + "target"].tolist()
        assert (outputs["positive"].sum(dim=1) == 1).all()


@pytest.mark.parametrize(("prefix", "stage"), STAGES)
def test_losses_gradients_and_queue_are_the_released(recorded, method, prefix, stage):
    losses = method.loss(views(recorded), stage=stage, draws=draws(recorded))
    for name in ("loss_1", "loss_2", "loss_3", "loss"):
        expect(losses[name], recorded[prefix + name.replace("_", "")])
    losses["loss"].backward()
    expect(method.mask_param.grad, recorded[prefix + "grad__mask_param"])
    expect(method.encoder_q.head[2].weight.grad, recorded[prefix + "grad__encoder_q.fc.2.weight"])
    start = method.queue_ptr.item()
    method.after_step(Progress(1, 0, 10, 10))
    expect(method.queue, recorded[prefix + "queue_after"])
    assert method.queue_ptr.item() == start + 4


@pytest.mark.parametrize("over", ["TV", "V"])
def test_skeleadain_alone(golden, over):
    recorded = golden("moco-family/hiclr_adain.npz")
    content, style = (torch.from_numpy(recorded[name]) for name in ("content", "style"))
    expect(adain(content, style, over), recorded[f"out_{over}"])


def test_the_transformer_loads_by_its_released_names_and_gives_the_released_features(golden):
    recorded, state = golden("moco-family/dsta_tiny.npz"), golden("moco-family/dsta_tiny_state.pt")
    method = create_method(
        "hiclr", backbone="dsta", backbone_args={"blocks": recorded["config"].tolist()}, feature_dim=16, queue_size=64
    )
    head = {"weight": state.pop("fc.weight"), "bias": state.pop("fc.bias")}  # of which HiCLR makes a second layer
    first = {"weight": torch.eye(16), "bias": torch.zeros(16)}
    encoder = state | {f"fc.{i}.{n}": v for i, layer in ((0, first), (2, head)) for n, v in layer.items()}
    own = {name: method.state_dict()[name] for name in ("queue", "queue_ptr", "mask_param")}
    constants = {"encoder_q.graph_layers.0.pes.pe": torch.from_numpy(recorded["pe_block0"])[None, :, None]}
    method.load_official(
        {f"{side}.{n}": v for side in ("encoder_q", "encoder_k") for n, v in encoder.items()} | own | constants
    )
    method.eval()
    x = torch.from_numpy(recorded["x"])
    expect(method.features(x), recorded["feat_eval"])
    expect(method.encoder_k.backbone.pool(method.encoder_k.backbone(x)), recorded["feat_eval"])  # type: ignore[union-attr, operator]
