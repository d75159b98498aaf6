"""Every argument of every backbone changes its features as it did when they were recorded.

`expected_settings.json` has, for each backbone, sums of its features and of the gradient of one, with its arguments as
they are here by default, and with each argument at every other value it can have, or at one other number. A backbone
has no version of its own: who changes its numbers raises the version of the pre-training. For how to record, see
tests/methods/test_settings.py.
"""

import inspect
from typing import Any

import pytest
import torch

from skelbench.backbones import BACKBONES, create_backbone
from skelbench.benchmark.plan.identity import PRETRAIN_VERSION

from ..conftest import AS_IT_IS, alike

FILE = "expected_settings.json"
BLOCKS = ((8, 8, 4, 1), (8, 12, 4, 2))
BEGIN: dict[str, dict[str, Any]] = {
    "stgcn": {"width": 4, "dim": 12, "dropout": 0.0},
    "bigru": {"hidden": 8, "num_layers": 2},
    "dsta": {"blocks": BLOCKS},
    "images": {"model": "test_resnet", "size": 32},
}
# All other values, or one other number, of each argument.
OTHER: dict[str, dict[str, list[Any]]] = {
    "stgcn": {
        "width": [8],
        "dim": [16],
        "dropout": [0.5],
        "graph": ["inout"],
        "frest": ["stages", "all"],
        "frest_axis": ["joint", "both"],
        "frest_transform": ["rfft"],
        "frest_sparsity": ["topk"],
    },
    "bigru": {"hidden": [4], "num_layers": [1], "dropout": [0.5], "direction": ["both"]},
    "dsta": {
        "blocks": [((8, 12, 4, 2),), "skeattnclr", "hiclr"],
        "temporal": ["convolution"],
        "dropout": [0.5],
        "subsets": [2],
    },
    "images": {"model": ["test_vit"], "size": [(48, 32)], "options": [{"drop_rate": 0.5, "drop_path_rate": 0.5}]},
}
# What an argument needs to be used at all.
WITH = {("stgcn", name): {"frest": "all"} for name in ("frest_axis", "frest_transform", "frest_sparsity")}
# Arguments without a case, and why.
UNREACHED = {("images", "pretrained"): "its weights come from the network"}


def cases(name):
    """Arguments of each case, and the case that it has to differ from; None for the first."""
    found: dict[str, tuple[dict[str, Any], str | None]] = {AS_IT_IS: ({}, None)}
    for argument in inspect.signature(BACKBONES[name]).parameters:
        if argument in ("layout", "num_frames", "num_persons") or (name, argument) in UNREACHED:
            continue
        needs = WITH.get((name, argument), {})
        for value in OTHER[name][argument]:
            given = needs | {argument: value}
            found[shown(given)] = (given, shown(needs) if needs else AS_IT_IS)
    return found


def shown(arguments):
    return ", ".join(f"{name}={value}" for name, value in arguments.items())


def waves(count):
    """Numbers in ±1 from a formula: sin(i² mod 10007), from i = 2."""
    index = torch.arange(2, 2 + count)
    return torch.sin((index * index % 10007).double())


def numbers(name, arguments):
    """Weighted sums of the features, of the pooled features and of the gradient, in float64 and training mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        backbone = create_backbone(name, num_frames=16, **{**BEGIN[name], **arguments}).double().train()
        with torch.no_grad():
            for parameter in backbone.parameters():  # some parts begin at 0, and others then count for nothing
                parameter += 0.1 * waves(parameter.numel()).view_as(parameter)
        features = backbone(waves(2 * 3 * 16 * 25 * 2).view(2, 3, 16, 25, 2))
    total = (features * waves(features.numel()).view_as(features)).sum()
    total.backward()
    gradient = torch.cat([p.grad.flatten() for p in backbone.parameters() if p.grad is not None])
    pooled = backbone.pool(features)
    found = total, (pooled * waves(pooled.numel()).view_as(pooled)).sum(), gradient @ waves(len(gradient))
    return [value.item() for value in found]


@pytest.mark.parametrize("name", BACKBONES)
def test_every_argument_gives_the_recorded_numbers(name, recorded):
    planned = cases(name)
    found = {case: numbers(name, arguments) for case, (arguments, _) in planned.items()}
    unchanged = {case for case, (_, base) in planned.items() if base is not None and alike(found[base], found[case])}
    assert not unchanged, "arguments that change no number"
    recorded(FILE, name, PRETRAIN_VERSION, found)
