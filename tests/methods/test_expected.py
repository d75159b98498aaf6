"""The most important figures of the parity tests, condensed so that they are checked everywhere.

`expected_steps.json` has two kinds:

* "steps": three SGD steps of small models in float64 whose weights, inputs, donors and masks come from closed
  formulas (no random numbers), as `three_steps` below gave them once. The implementation that gave them equalled
  tensors recorded from the released code: SkeletonCLR, AimCLR, CrosSCLR and HiCLR to 1e-5 in float32, SkeAttnCLR and
  SkeleMixCLR+ over three steps to 1e-8 in float64. They detect changes of what was equal then. MICA has no
  released code: its figures only detect changes.
* everything else is an excerpt of those recorded tensors themselves (CrosSCLR@792b70c for "hop", "crop" and
  "shear", SkeleMixCLR@4538d6c for "inout" and "mixes", SkeAttnCLR@e3f05c6 for "momentum" and "mixes") and the
  parameter counts of the released models.
"""

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from skelbench.backbones.graph import adjacency
from skelbench.datasets.augment import crop, shear
from skelbench.datasets.layout import LAYOUTS
from skelbench.datasets.streams import to_stream
from skelbench.methods import Progress, create_method

pytestmark = pytest.mark.full_depth
EXPECTED = json.loads((Path(__file__).parent / "expected_steps.json").read_text())
CLIPS, FRAMES, QUEUE = 6, 16, 16
SETTINGS = {
    "skeletonclr": {"momentum": 0.9},
    "skeattnclr": {"momentum": 0.9, "heads": 4, "window": (1, 4), "mu": 0.3},
    "aimclr": {"momentum": 0.9, "topk": 2},
    "crosclr": {"momentum": 0.9, "topk": 2},
    "hiclr": {"momentum": 0.9, "topk": 2},
    "skelemixclr": {"momentum": 0.9, "window": (1, 4)},
    "skelemixclr+": {"momentum": 0.9, "window": (1, 4)},
    "mica": {"momentum": 0.9, "text": "concepts"},
}
STREAMS = {"crosclr": ("joint", "motion", "bone")}  # of encoders and queues; others have one of each
MINING = ("aimclr", "crosclr", "hiclr")  # with a second stage
CASES = [(name, stage) for name in SETTINGS for stage in ((0, 1) if name in MINING else (0,))]


def waves(count, start=0):
    """Numbers in ±1 without a pattern that a mistake could hide in: sin(i² mod 10007), from i = start."""
    index = torch.arange(start, start + count)
    return torch.sin((index * index % 10007).double())


def formula_method(name) -> Any:
    """A small float64 method in training mode with every weight and statistic from `waves`."""
    method = create_method(
        name,
        backbone_args={"width": 4, "dim": 32, "dropout": 0.0},
        num_frames=FRAMES,
        feature_dim=16,
        queue_size=QUEUE,
        **SETTINGS[name],
    ).double()
    start = 0
    for key, value in method.state_dict().items():
        if not value.is_floating_point():
            continue
        wave = waves(value.numel(), start).view_as(value)
        start += value.numel()
        if key.startswith("queue"):
            value.copy_(wave / (wave * wave).sum(dim=0).sqrt())
        elif key.endswith("bias") or key.endswith("running_mean"):
            value.copy_(0.2 * wave)
        elif value.ndim == 1 or key.endswith("importance"):
            value.copy_(1 + 0.2 * wave)
        else:
            value.copy_(1.5 * wave / math.sqrt(value[0].numel()))
    return method.train()


def formula_step(mixes=1):
    """Views and draws of a step; the second person of clip 1 is absent."""
    shape = (CLIPS, 3, FRAMES, 25, 2)
    starts = {"query": 5, "key": 77_777, "query_extreme": 155_555, "query_1": 233_333, "query_2": 311_111}
    views = {name: waves(math.prod(shape), start).view(shape).clone() for name, start in starts.items()}
    for view in views.values():
        view[1, ..., 1] = 0
    mask = torch.zeros(3, FRAMES // 4, 25, dtype=torch.bool)
    mask[0, 1:3, [0, 1, 2, 3, 20, 16, 17, 18, 19]] = True  # trunk and right leg, frames 4 to 11
    mask[1, 0:1, [8, 9, 10, 11, 23, 24, 12, 13, 14, 15]] = True
    mask[2, 0:4, [4, 5, 6, 7, 21, 22]] = True
    donor = torch.stack([(torch.arange(CLIPS) + shift) % CLIPS for shift in (2, 1, 4)])
    joints = torch.arange(FRAMES)
    joint_mask = torch.zeros(FRAMES, 25, dtype=torch.bool)
    joint_mask[joints, joints * 7 % 25] = joint_mask[joints, (joints * 11 + 3) % 25] = True
    said = waves(7 * 512, 99).view(7, 512)
    said = said / said.norm(dim=1, keepdim=True)
    number = torch.tensor([0, 1, 0, 2, 1, 3])
    sentences = {"caption": number, "text": said[number], "bank": said}
    return views, {"donor": donor[:mixes], "mask": mask[:mixes], "joint_mask": joint_mask} | sentences


def three_steps(name, stage=0):
    """Losses, queue sums and norms of three SGD steps from the formulas."""
    method = formula_method(name)
    views, draws = formula_step(getattr(method.config, "mixes", 1))
    trained = [p for p in method.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.05, momentum=0.9, weight_decay=1e-4)
    steps = []
    for iteration in range(3):
        optimiser.zero_grad()
        losses = method.loss(views, stage=stage, draws=draws)
        losses["loss"].backward()
        optimiser.step()
        method.after_step(Progress(epoch=1, iteration=iteration, iterations_per_epoch=10, epochs=3))
        buffers = dict(method.named_buffers())
        statistics = torch.cat([value for key, value in buffers.items() if "running" in key])
        figures = {
            "statistics": (statistics * waves(len(statistics), 3)).sum(),
            "batches": sum(value for key, value in buffers.items() if key.endswith("num_batches_tracked")),
            "trained": norm(trained),
        }
        for stream in STREAMS.get(name, ("joint",)):
            suffix = "" if stream == "joint" else f"_{stream}"
            queue, key_encoder = getattr(method, "queue" + suffix), getattr(method, "encoder_k" + suffix)
            figures |= {
                # weighted, so that a column in the wrong place shows
                f"queue{suffix}": (queue * waves(queue.numel(), 9).view_as(queue)).sum(),
                f"queue_ptr{suffix}": getattr(method, "queue_ptr" + suffix).sum(),
                f"key_parameters{suffix}": norm(key_encoder.parameters()),
                f"key_state{suffix}": norm([v for v in key_encoder.state_dict().values() if v.is_floating_point()]),
            }
        steps.append({key: value.item() for key, value in (losses | figures).items()})
    return steps


def norm(tensors):
    return torch.cat([t.detach().flatten() for t in tensors]).norm()


def kept_under(name, stage):
    return f"{name} stage {stage}" if name in MINING else name


@pytest.mark.parametrize(("name", "stage"), CASES)
def test_three_steps_from_closed_formulas_give_the_stored_figures(name, stage):
    for ours, kept in zip(three_steps(name, stage), EXPECTED["steps"][kept_under(name, stage)], strict=True):
        assert ours == pytest.approx(kept, rel=1e-8)


def test_skeletonclr_is_momentum_contrast_computed_by_hand():
    method = formula_method("skeletonclr")
    views, _ = formula_step()
    temperature, momentum = 0.07, 0.9
    queue, pointer = method.queue.numpy().copy(), 0
    optimiser = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.05, momentum=0.9)
    for step in range(3):
        query, key = copy.deepcopy(method.encoder_q), copy.deepcopy(method.encoder_k)
        with torch.no_grad():
            for k, q in zip(key.parameters(), query.parameters(), strict=True):
                k.copy_(momentum * k + (1 - momentum) * q)
        q, k = by_hand(query, views["query"]), by_hand(key, views["key"])
        total = 0.0
        for n in range(CLIPS):
            positive = math.exp(sum(q[n] * k[n]) / temperature)
            negatives = [math.exp(sum(q[n] * queue[:, j]) / temperature) for j in range(QUEUE)]
            total -= math.log(positive / (positive + math.fsum(negatives))) / CLIPS
        for keys in k:
            queue[:, pointer % QUEUE] = keys
            pointer += 1
        optimiser.zero_grad()
        loss = method.loss(views)["loss"]
        loss.backward()
        optimiser.step()
        method.after_step(Progress(1, step, 10, 3))
        assert loss.item() == pytest.approx(total, rel=1e-10)
        np.testing.assert_allclose(method.queue.numpy(), queue, rtol=1e-10, atol=1e-12)
    assert pointer > QUEUE, "the queue wrapped"


def by_hand(encoder, x):
    """Embed clips x with numpy from the backbone's feature map on: (N, d) of unit length."""
    return project_by_hand(encoder, features_of(encoder, x))


def features_of(encoder, x):
    with torch.no_grad():
        return encoder.backbone(x).numpy()  # (N, M, T', V', D)


def project_by_hand(encoder, features):
    """Pool and project features with numpy, through two layers or CrosSCLR's three: (N, d) of unit length."""
    out = features.reshape(CLIPS, 2, -1, features.shape[-1]).mean(axis=2).mean(axis=1)
    weights = [value.detach().numpy() for value in encoder.head.parameters()]
    for layer in range(0, len(weights), 2):
        out = (np.maximum(out, 0) if layer else out) @ weights[layer].T + weights[layer + 1]
    return out / np.sqrt((out**2).sum(axis=1, keepdims=True))


def moved_by_hand(key, query, momentum=0.9):
    """A copy of a key encoder after its moving average."""
    key = copy.deepcopy(key)
    with torch.no_grad():
        for k, q in zip(key.parameters(), query.parameters(), strict=True):
            k.copy_(momentum * k + (1 - momentum) * q)
    return key


def log_softmax(row):
    return row - math.log(math.fsum(math.exp(value) for value in row))


def nearest_by_hand(row, topk=2):
    return set(np.argsort(-row)[:topk].tolist())


def drop_by_hand(features, keep=0.7):
    """AimCLR's drop of features (N, M, T', V', D), one channel of one person at a time."""
    attention = np.empty_like(features)
    size = features.shape[2] * features.shape[3]
    for n, m, d in np.ndindex(features.shape[0], features.shape[1], features.shape[4]):
        channel = features[n, m, :, :, d]
        distance = (channel - channel.mean()) ** 2
        attention[n, m, :, :, d] = 1 / (1 + np.exp(-distance / (4 * (distance.sum() / (size - 1) + 1e-4)) - 0.5))
    joints = attention.mean(axis=(2, 4)) < keep  # (N, M, V')
    elements = attention < keep
    kept = np.where(elements & joints[:, :, None, :, None], features, 0)
    return kept * (joints.size / joints.sum()) * (elements.size / elements.sum())


@pytest.mark.parametrize("stage", [0, 1])
def test_aimclr_is_what_the_paper_says_computed_by_hand(stage):
    method = formula_method("aimclr")
    views, _ = formula_step()
    query, queue = copy.deepcopy(method.encoder_q), method.queue.numpy().copy()
    q = by_hand(query, views["query"])
    extreme = features_of(query, views["query_extreme"])
    dropped = drop_by_hand(extreme)
    assert (dropped == 0).sum() > (extreme == 0).sum()
    e, ed = project_by_hand(query, extreme), project_by_hand(query, dropped)
    k = by_hand(moved_by_hand(method.encoder_k, query), views["key"])
    totals = np.zeros(3)
    for n in range(CLIPS):
        logits = [np.array([sum(z[n] * k[n]), *(z[n] @ queue)]) / 0.07 for z in (q, e, ed)]
        p, p_e, p_ed = (log_softmax(row) for row in logits)
        positives = {0}.union(*({1 + j for j in nearest_by_hand(row[1:])} for row in logits)) if stage else {0}
        totals[0] -= sum(p[j] for j in positives) / len(positives) / CLIPS
        totals[1] -= math.fsum(np.exp(p) * p_e) / CLIPS
        totals[2] -= math.fsum(np.exp(p) * p_ed) / CLIPS
    losses = method.loss(views, stage=stage)
    ours = [losses[f"loss_{i}"].item() for i in (1, 2, 3)]
    assert ours == pytest.approx(totals.tolist(), rel=1e-10)
    assert losses["loss"].item() == pytest.approx(totals[0] + (totals[1] + totals[2]) / 2, rel=1e-10)


def test_crosclr_mines_for_each_other_as_computed_by_hand():
    method = formula_method("crosclr")
    views, _ = formula_step()
    streams = {"joint": "", "motion": "_motion", "bone": "_bone"}
    queries = {s: copy.deepcopy(getattr(method, "encoder_q" + suffix)) for s, suffix in streams.items()}
    # motion's key encoder moves alone, and with it the head that the others share
    head = moved_by_hand(method.encoder_k_motion, queries["motion"]).head[2]
    q, k, queue = {}, {}, {}
    for s, suffix in streams.items():
        key = copy.deepcopy(getattr(method, "encoder_k" + suffix))
        if s == "motion":
            key = moved_by_hand(key, queries[s])
        (key if s == "joint" else key.head).register_module("head" if s == "joint" else "2", head)
        data = {view: to_stream(views[view], s, LAYOUTS["ntu25"]) for view in ("query", "key")}
        q[s], k[s] = by_hand(queries[s], data["query"]), by_hand(key, data["key"])
        queue[s] = getattr(method, "queue" + suffix).numpy().copy()
    total = 0.0
    for u in streams:
        for v in streams:
            if u == v:
                continue
            for n in range(CLIPS):
                mine, theirs = q[u][n] @ queue[u], q[v][n] @ queue[v]
                found = nearest_by_hand(theirs)
                places = [0, *(1 + j for j in found), *(1 + QUEUE + j for j in found)]
                chances = log_softmax(np.array([sum(q[u][n] * k[u][n]), *mine, *(mine * theirs)]) / 0.07)
                total -= sum(chances[places]) / len(places) / CLIPS / 2
    assert method.loss(views, stage=1)["loss"].item() == pytest.approx(total, rel=1e-10)


def test_the_momentum_schedule_is_the_released():
    method = formula_method("skeattnclr")
    method.config = method.config.model_copy(update={"momentum": EXPECTED["momentum"]["start"]})
    for iterations_per_epoch, epochs, iteration, expected in EXPECTED["momentum"]["rows"]:
        epoch, inside = divmod(iteration, iterations_per_epoch)
        ours = method.momentum_at(Progress(epoch, inside, iterations_per_epoch, epochs))
        assert ours.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("graph", ["hop", "inout"])
def test_edges_of_the_graphs_are_the_released(graph):
    ours = adjacency(LAYOUTS["ntu25"], graph)
    assert (ours[0] != 0).equal(torch.eye(25, dtype=torch.bool))
    for partition, edges in enumerate(EXPECTED[graph], start=1):
        assert ours[partition].nonzero().tolist() == edges


@pytest.mark.parametrize("case", EXPECTED["mixes"])
def test_body_parts_hold_the_joints_of_recorded_mixes(case):
    released = ("trunk", "right_arm", "left_arm", "right_leg", "left_leg")  # in the order of the recorded codes
    parts, joints = EXPECTED["mixes"][case]["parts"], EXPECTED["mixes"][case]["joints"]
    assert sorted(j for code in parts for j in LAYOUTS["ntu25"].parts[released[code]]) == joints


@pytest.mark.parametrize("case", EXPECTED["crop"], ids=lambda case: f"start{case['start']}")
def test_a_crop_takes_the_frames_the_released_one_took(case):
    numbered = torch.arange(50.0).view(1, 1, 50, 1, 1)
    taken = crop(numbered, torch.tensor([case["start"]]), 6)
    assert taken.flatten().int().tolist() == case["frames"]


def test_a_recorded_shear_turns_recorded_points():
    recorded = EXPECTED["shear"]
    points = torch.tensor(recorded["in"], dtype=torch.float64).T[None, :, None, :, None]  # (1, 3, 1, points, 1)
    out = shear(points, torch.tensor([recorded["matrix"]], dtype=torch.float64))
    np.testing.assert_allclose(out[0, :, 0, :, 0].T, recorded["out"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", SETTINGS)
def test_released_models_have_the_released_number_of_parameters(name):
    method: Any = create_method(name, queue_size=8)
    counts = {part: sum(p.numel() for p in module.parameters()) for part, module in method.named_children()} | {
        "backbone": sum(p.numel() for p in method.encoder_q.backbone.parameters())
    }
    assert counts == EXPECTED["parameters"][name]
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad)  # what modules share counts once
    assert trained == EXPECTED["trained"][name]
