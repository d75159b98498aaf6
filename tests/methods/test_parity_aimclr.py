"""AimCLR against tensors recorded from the released code."""

from typing import Any

import pytest
import torch

from replay import expect
from skelbench.methods import Progress, create_method
from skelbench.methods.aimclr import eadm

pytestmark = pytest.mark.full_depth

RUNS = [("stage1", 0, "train"), ("stage1", 0, "eval"), ("nnm", 1, "train"), ("nnm", 1, "eval")]


def make(golden, mode="train", **config) -> Any:
    method = create_method("aimclr", queue_size=512, backbone_args={"dropout": 0.0}, **config)
    method.load_official(golden("moco-family/moco_state.pt"))
    return method.train(mode == "train")


def views(recorded):
    names = {"query": "im_q", "key": "im_k", "query_extreme": "im_q_extreme"}
    return {ours: torch.from_numpy(recorded[theirs]) for ours, theirs in names.items()}


@pytest.mark.parametrize(("file", "stage", "mode"), RUNS)
def test_a_step_gives_the_released_logits_and_positives(golden, file, stage, mode):
    recorded = golden(f"moco-family/aimclr_{file}_{mode}.npz")
    outputs = make(golden, mode).outputs(views(recorded), stage=stage)
    expect(outputs["logits"], recorded["logits"])
    for ours, theirs in (("logits", "target_p"), ("logits_extreme", "p_extreme")):
        expect(outputs[ours].log_softmax(dim=1), torch.from_numpy(recorded[theirs]).log())
    dropped, released = outputs["logits_drop"].log_softmax(dim=1), torch.from_numpy(recorded["p_extreme_drop"]).log()
    # In training one element of the last clip lies so near EADM's threshold that rounding decides whether it is
    # dropped; the recording in float32 and ours in float64 decide differently.
    expect(dropped[:3], released[:3])
    exact = make(golden, mode).double().outputs({k: v.double() for k, v in views(recorded).items()}, stage=stage)
    nearer = min((dropped[3] - side).abs().max() for side in (released[3], exact["logits_drop"][3].log_softmax(dim=0)))
    assert nearer < 1e-5 * released[3].abs().max()
    expect(dropped[3], released[3], 1e-5 if mode == "eval" else 5e-4)
    if stage:
        assert torch.equal(outputs["positive"], torch.from_numpy(recorded["pos_mask"]))
        assert (outputs["positive"].sum(dim=1) >= 2).all()
    else:
        assert recorded["labels"].tolist() == outputs["positive"].argmax(dim=1).tolist()
        assert (outputs["positive"].sum(dim=1) == 1).all()


@pytest.mark.parametrize(("file", "stage", "mode"), RUNS)
def test_a_step_leaves_the_released_state(golden, file, stage, mode):
    recorded = golden(f"moco-family/aimclr_{file}_{mode}.npz")
    method = make(golden, mode)
    before = method.queue.clone()
    assert method.queue_ptr.tolist() == recorded["queue_ptr_before_update"].tolist()
    losses = method.loss(views(recorded), stage=stage)
    for name in ("loss_1", "loss_2", "loss_3", "loss"):
        expect(losses[name], recorded[name.replace("_", "")])
    method.after_step(Progress(1, 0, 10, 10))
    assert method.queue_ptr.tolist() == recorded["queue_ptr_after_update"].tolist()
    expect(method.queue[:, 508:], recorded["queue_cols_508_512_after"])
    assert torch.equal(method.queue[:, :508], before[:, :508])
    query, key = method.encoder_q, method.encoder_k
    expect(key.head[2].weight[:4].detach(), recorded["encoder_k.fc.2.weight_after_rows0_4"])
    expect(key.backbone.input_norm.weight.detach(), recorded["encoder_k.data_bn.weight_after"])
    expect(query.backbone.input_norm.running_mean, recorded["encoder_q.data_bn.running_mean_after"])
    expect(key.backbone.input_norm.running_mean, recorded["encoder_k.data_bn.running_mean_after"])


# The recorded gradients are float32; ours are taken in float64 and show how far rounding carried those of a small loss.
@pytest.mark.parametrize(("file", "stage", "rtol"), [("stage1", 0, 5e-4), ("nnm", 1, 1e-5)])
def test_gradients_and_an_optimiser_step_are_the_released(golden, file, stage, rtol):
    recorded = golden(f"moco-family/aimclr_{file}_train.npz")
    method = make(golden).double()
    trained = [p for p in method.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.1, momentum=0.9, weight_decay=1e-4)
    method.loss({name: view.double() for name, view in views(recorded).items()}, stage=stage)["loss"].backward()
    query = method.encoder_q
    expect(query.head[2].weight.grad[:4].float(), recorded["grad__encoder_q.fc.2.weight_rows0_4"], rtol)
    expect(query.backbone.input_norm.weight.grad.float(), recorded["grad__encoder_q.data_bn.weight"], rtol)
    expect(query.backbone.blocks[9].importance.grad.float(), recorded["grad__encoder_q.edge_importance.9"], rtol)
    norm = torch.cat([p.grad.flatten() for p in trained]).norm()
    assert norm.item() == pytest.approx(recorded["grad_total_norm"].item(), rel=rtol)
    assert all(p.grad is None for p in method.encoder_k.parameters())
    optimiser.step()
    expect(query.head[0].bias.detach().float(), recorded["encoder_q.fc.0.bias_after_sgd"])


def test_five_nearest_neighbours_are_the_released(golden):
    inputs = golden("moco-family/aimclr_nnm_train.npz")
    recorded = golden("moco-family/aimclr_nnm_train_topk5.npz")
    outputs = make(golden, topk=5).outputs(views(inputs), stage=1)
    assert torch.equal(outputs["positive"], torch.from_numpy(recorded["pos_mask"]))
    losses = make(golden, topk=5).loss(views(inputs), stage=1)
    expect(losses["loss_1"], recorded["loss1"])
    expect(losses["loss"], recorded["loss"])


@pytest.mark.parametrize("stage", [0, 1])
def test_in_the_first_release_the_dropped_query_was_the_extreme_one(golden, stage):
    recorded = golden("moco-family/aimclr_nnm_train.npz")
    outputs = make(golden, eadm="identity").outputs(views(recorded), stage=stage)
    assert torch.equal(outputs["logits_drop"], outputs["logits_extreme"])
    expect(outputs["logits_extreme"].log_softmax(dim=1), torch.from_numpy(recorded["p_extreme"]).log())


CASES = [
    ("x", 0.7, "mask_s_kp07", "mask_t_kp07", "out_kp07"),
    ("x", 0.9, "mask_s_kp09", None, "out_kp09"),
    ("x2", 0.7, "mask_s2_kp07", "mask_t2_kp07", "out2_kp07"),  # drops joints
]


@pytest.mark.parametrize(("given", "keep", "joints", "elements", "out"), CASES)
def test_eadm_alone(golden, given, keep, joints, elements, out):
    recorded = {key: torch.from_numpy(value) for key, value in golden("moco-family/eadm.npz").items()}

    def ours(x):  # (N·M, C, T, V) -> (N, M, T, V, C)
        return x.unflatten(0, (4, 2)).permute(0, 1, 3, 4, 2)

    x = ours(recorded[given])
    actual = eadm(x, keep)
    expect(actual, ours(recorded[out]))
    assert torch.equal(actual == 0, ours(recorded[out]) == 0)
    if elements:
        batch, channels, frames, number = recorded[given].shape
        kept = recorded[elements].view(batch, channels, number, frames).permute(0, 1, 3, 2)
        kept = kept * recorded[joints][:, None, None, :]
        assert torch.equal(actual != 0, ours(kept) * (x != 0) == 1)
    assert recorded["mask_s2_kp07"].min() == 0, "the third case drops joints"
