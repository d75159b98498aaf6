"""The most important figures of the parity tests, condensed so that they are checked everywhere.

Two kinds stand in `expected_steps.json`:

* "steps": three SGD steps of small models in float64 whose weights, inputs, donors and masks come from closed
  formulas (no random numbers), as `three_steps` below gave them once. The implementation that gave them equalled
  tensors recorded from the released code: SkeletonCLR to 1e-5 in float32, SkeAttnCLR over three steps to 1e-8 in
  float64. They keep what was equal then from changing.
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
from skelbench.methods import Progress, create_method

EXPECTED = json.loads((Path(__file__).parent / "expected_steps.json").read_text())
CLIPS, FRAMES, QUEUE = 6, 16, 16
SETTINGS = {
    "skeletonclr": {"momentum": 0.9},
    "skeattnclr": {"momentum": 0.9, "heads": 4, "window": (1, 4), "mu": 0.3},
}


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
        if key == "queue":
            value.copy_(wave / (wave * wave).sum(dim=0).sqrt())
        elif key.endswith("bias") or key.endswith("running_mean"):
            value.copy_(0.2 * wave)
        elif value.ndim == 1 or key.endswith("importance"):
            value.copy_(1 + 0.2 * wave)
        else:
            value.copy_(1.5 * wave / math.sqrt(value[0].numel()))
    return method.train()


def formula_step():
    """Views and draws of a step; the second person of clip 1 is absent."""
    shape = (CLIPS, 3, FRAMES, 25, 2)
    query, key = (waves(math.prod(shape), start).view(shape).clone() for start in (5, 77_777))
    query[1, ..., 1] = key[1, ..., 1] = 0
    mask = torch.zeros(1, FRAMES // 4, 25, dtype=torch.bool)
    mask[0, 1:3, [0, 1, 2, 3, 20, 16, 17, 18, 19]] = True  # trunk and right leg, frames 4 to 11
    donor = (torch.arange(CLIPS) + 2) % CLIPS
    return {"query": query, "key": key}, {"donor": donor[None], "mask": mask}


def three_steps(name):
    """Losses, queue sums and norms of three SGD steps from the formulas."""
    method = formula_method(name)
    views, draws = formula_step()
    trained = [p for p in method.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.05, momentum=0.9, weight_decay=1e-4)
    steps = []
    for iteration in range(3):
        optimiser.zero_grad()
        losses = method.loss(views, draws=draws)
        losses["loss"].backward()
        optimiser.step()
        method.after_step(Progress(epoch=1, iteration=iteration, iterations_per_epoch=10, epochs=3))
        key_state = [value for value in method.encoder_k.state_dict().values() if value.is_floating_point()]
        buffers = dict(method.named_buffers())
        statistics = torch.cat([value for key, value in buffers.items() if "running" in key])
        figures = {
            "statistics": (statistics * waves(len(statistics), 3)).sum(),
            "batches": sum(value for key, value in buffers.items() if key.endswith("num_batches_tracked")),
            # weighted, so that a column in the wrong place shows
            "queue": (method.queue * waves(method.queue.numel(), 9).view_as(method.queue)).sum(),
            "queue_ptr": method.queue_ptr.sum(),
            "key_parameters": norm(method.encoder_k.parameters()),
            "key_state": norm(key_state),
            "trained": norm(trained),
        }
        steps.append({key: value.item() for key, value in (losses | figures).items()})
    return steps


def norm(tensors):
    return torch.cat([t.detach().flatten() for t in tensors]).norm()


@pytest.mark.parametrize("name", SETTINGS)
def test_three_steps_from_closed_formulas_give_the_kept_figures(name):
    for ours, kept in zip(three_steps(name), EXPECTED["steps"][name], strict=True):
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
    with torch.no_grad():
        features = encoder.backbone(x).numpy()  # (N, M, T', V', D)
    pooled = features.reshape(CLIPS, 2, -1, features.shape[-1]).mean(axis=2).mean(axis=1)
    w0, b0, w2, b2 = (value.detach().numpy() for value in encoder.head.parameters())
    out = np.maximum(pooled @ w0.T + b0, 0) @ w2.T + b2
    return out / np.sqrt((out**2).sum(axis=1, keepdims=True))


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
