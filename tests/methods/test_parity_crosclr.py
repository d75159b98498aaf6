"""CrosSCLR against tensors recorded from the released code, of three and of two streams."""

import itertools
from typing import Any

import pytest
import torch

from replay import expect
from skelbench.methods import Progress, create_method

pytestmark = pytest.mark.full_depth

SUFFIX = {"joint": "", "motion": "_motion", "bone": "_bone"}
PAIRS = ["jm", "jb", "mj", "mb", "bj", "bm"]
OPTIONS = list(itertools.product((False, True), (1, 3)))


def make(golden, number=3, **config) -> Any:
    method = create_method(
        "crosclr",
        stream="all",
        streams=tuple(SUFFIX)[:number],
        queue_size=64,
        feature_dim=16,
        backbone_args={"width": 4, "dim": 32, "dropout": 0.0},
        **config,
    )
    method.load_official(golden(f"moco-family/crossclr{number}_tiny_state.pt"))
    return method.train()


def views(recorded):
    return {"query": torch.from_numpy(recorded["im_q"]), "key": torch.from_numpy(recorded["im_k"])}


def test_the_checkpoint_is_loaded_completely_and_heads_stay_shared(golden):
    state, method = golden("moco-family/crossclr3_tiny_state.pt"), make(golden)
    own = method.state_dict()
    for name, official in method.official_names().items():
        assert torch.equal(own[name].view(-1), state[official].view(-1)), name
    for side in ("encoder_q", "encoder_k"):
        for stream in ("_motion", "_bone"):
            assert getattr(method, side + stream).head[2] is getattr(method, side).head
            assert torch.equal(state[f"{side}{stream}.fc.2.0.weight"], state[f"{side}.fc.0.weight"])


def test_stage_one_is_the_released(golden):
    recorded = golden("moco-family/crossclr3_tiny.npz")
    outputs = make(golden).outputs(views(recorded))
    method = make(golden)
    before = {stream: getattr(method, "queue" + suffix).clone() for stream, suffix in SUFFIX.items()}
    losses = method.loss(views(recorded))
    losses["loss"].backward()
    method.after_step(Progress(1, 0, 10, 10))
    expect(losses["loss"], recorded["s1_loss"])
    for stream, suffix in SUFFIX.items():
        expect(outputs["logits" + suffix], recorded[f"s1_logits_{stream}"])
        expect(losses[f"loss_{stream}"], recorded[f"s1_loss_{stream}"])
        expect(getattr(method, "queue" + suffix), recorded[f"s1_queue{suffix}_after"])
        assert getattr(method, "queue_ptr" + suffix).tolist() == [12]
        changed = (getattr(method, "queue" + suffix) != before[stream]).any(dim=0)
        assert changed.nonzero().flatten().tolist() == [8, 9, 10, 11]
    expect(method.encoder_q.head[2].weight.grad, recorded["s1_grad__encoder_q.fc.2.weight"])
    # the head that the three share has moved three times
    expect(method.encoder_k.head[2].weight, recorded["s1_encoder_k.fc.2.weight_after"])


@pytest.mark.parametrize(("context", "topk"), OPTIONS)
def test_stage_two_gives_the_released_logits_positives_and_losses(golden, context, topk):
    recorded = golden("moco-family/crossclr3_tiny.npz")
    prefix = f"s2_ctx{int(context)}_k{topk}_"
    outputs = make(golden, context=context, topk=topk).outputs(views(recorded), stage=1)
    for pair in PAIRS:
        assert torch.equal(outputs[f"positive_{pair}"], torch.from_numpy(recorded[f"{prefix}mask_{pair}"]))
        expect(outputs[f"logits_{pair}"], recorded[f"s2_ctx{int(context)}_k1_logits_{pair}"])  # topk changes none
    losses = make(golden, context=context, topk=topk).loss(views(recorded), stage=1)
    for name in ("loss", "loss_joint", "loss_motion", "loss_bone"):
        expect(losses[name], recorded[prefix + name])


def test_stage_two_leaves_the_released_gradient_key_head_and_queue(golden):
    recorded = golden("moco-family/crossclr3_tiny.npz")
    method = make(golden, context=True, topk=1)
    method.loss(views(recorded), stage=1)["loss"].backward()
    method.after_step(Progress(151, 0, 10, 300))
    expect(method.encoder_q.head[2].weight.grad, recorded["s2_ctx1_k1_grad__encoder_q.fc.2.weight"])
    expect(method.encoder_k.head[2].weight, recorded["s2_ctx1_k1_encoder_k.fc.2.weight_after"])
    expect(method.queue_motion, recorded["s2_ctx1_k1_queue_motion_after"])
    assert [getattr(method, "queue_ptr" + suffix).item() for suffix in SUFFIX.values()] == [12, 12, 12]


def test_two_streams_are_the_released(golden):
    recorded = golden("moco-family/crossclr2_tiny.npz")
    first = make(golden, 2).outputs(views(recorded))
    expect(first["logits"], recorded["s1_logits_joint"])
    expect(first["logits_motion"], recorded["s1_logits_motion"])
    expect(make(golden, 2).loss(views(recorded))["loss"], recorded["s1_loss"])
    second = make(golden, 2).outputs(views(recorded), stage=1)
    for pair, suffix in (("jm", ""), ("mj", "_motion")):
        expect(second[f"logits_{pair}"], recorded["s2_logits" + suffix])
        assert torch.equal(second[f"positive_{pair}"], torch.from_numpy(recorded["s2_mask" + suffix]))
    expect(make(golden, 2).loss(views(recorded), stage=1)["loss"], recorded["s2_loss"])
