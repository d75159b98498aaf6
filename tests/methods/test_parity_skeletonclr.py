"""SkeletonCLR against tensors recorded from the released code."""

import pytest
import torch

from skelbench.methods import Progress, create_method

pytestmark = pytest.mark.full_depth

RTOL = 1e-5


@pytest.fixture
def method(golden):
    state = golden("moco-family/moco_state.pt")
    method = create_method("skeletonclr", queue_size=512, backbone_args={"dropout": 0.0})
    method.load_official(state)
    return method


def views(recorded):
    return {"query": torch.from_numpy(recorded["im_q"]), "key": torch.from_numpy(recorded["im_k"])}


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_step_gives_the_released_logits_loss_and_queue(golden, method, mode):
    recorded = golden("moco-family/skeletonclr.npz")
    method.train(mode == "train")
    before = method.queue.clone()
    outputs = method.outputs(views(recorded))
    torch.testing.assert_close(outputs["logits"], torch.from_numpy(recorded[f"{mode}_logits"]), rtol=RTOL, atol=RTOL)
    assert torch.equal(method.queue, before), "the queue is left alone until after_step"
    method.after_step(Progress(1, 0, 10, 10))
    torch.testing.assert_close(
        method.queue[:, 508:512],
        torch.from_numpy(recorded[f"{mode}_queue_cols_508_512_after"]),
        rtol=RTOL,
        atol=1e-6,
    )
    assert torch.equal(method.queue[:, :508], before[:, :508])
    assert method.queue_ptr.tolist() == [0]


def test_loss_gradient_and_key_update_are_the_released(golden, method):
    recorded = golden("moco-family/skeletonclr.npz")
    method.train()
    loss = method.loss(views(recorded))["loss"]
    loss.backward()
    assert loss.item() == pytest.approx(float(recorded["train_loss"]), rel=RTOL)
    last = method.encoder_q.head[2].weight
    torch.testing.assert_close(
        last.grad[:4],
        torch.from_numpy(recorded["train_grad__encoder_q.fc.2.weight_rows0_4"]),
        rtol=1e-4,
        atol=1e-6,
    )
    torch.testing.assert_close(
        method.encoder_k.head[2].weight[:4],
        torch.from_numpy(recorded["train_encoder_k.fc.2.weight_after_rows0_4"]),
        rtol=RTOL,
        atol=1e-7,
    )
    assert all(p.grad is None for p in method.encoder_k.parameters())
