"""Every setting of every method changes its numbers as it did when they were recorded.

`expected_settings.json` has, for each method and version, the losses of three small steps with its settings as they
are here by default, and with each setting at every other value it can have, or at one other number. They are no
evidence that a method is right (test_expected.py and the parity tests are); they show that none of its settings
computes anything else than before without a new version. What is new and what has a new version is added by

    pytest -n 0 tests/methods/test_settings.py --record

and `--record again` also overwrites numbers of the same version.

The steps begin with the weights and the draws of a seed, unlike those of test_expected.py, because some settings change
nothing else.
"""

import math
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np
import pytest
import torch

from skelbench.methods import METHODS, Progress, create_method
from skelbench.methods.mica import text_bank
from skelbench.methods.mica.captions import sentences

from ..conftest import AS_IT_IS, alike

FILE = "expected_settings.json"
CLIPS, FRAMES, CLASSES = 4, 16, ("wave", "sit down", "jump")
# Where a method begins, small and with mining from the second epoch on.
BEGIN = {"feature_dim": 12, "queue_size": 12, "momentum": 0.8, "topk": 2, "mining_epoch": 1, "heads": 4}
BEGIN |= {"window": (1, 2), "parts": (2, 3)}
# Another value of each setting that is no choice between a few.
OTHER: dict[str, Any] = {
    "crop": 3,
    "shear": 0.2,
    "feature_dim": 8,
    "queue_size": 16,
    "temperature": 0.3,
    "momentum": 0.5,
    "topk": 3,
    "mining_epoch": 2,
    "keep": 0.65,
    "streams": ("joint", "motion"),
    "mask_ratio": 0.4,
    "drop_edges": 0.3,
    "add_edges": 0.3,
    "mu": 0.25,
    "lam": 1.0,
    "heads": 2,
    "parts": (1, 1),
    "window": (3, 4),
    "mixes": 2,
    "eig": 0.5,
    "cross": 0.25,
    "self_similarity": 0.5,
}
# What a setting needs to be used at all.
WITH: dict[str, dict[str, Any]] = {"edges_from": {"drop_edges": 0.3}}
# Cases in which nothing changes, and why.
IDLE = {
    ("untrained", "key_init=copy"): "it has no key encoder",
    ("other", "key_init=copy"): "it has no key encoder",
    ("mica", "frest=stages"): "like all in the two blocks of ST-GCN here; tests/backbones/test_settings.py has ten",
}


def other_values(kind, field):
    """All other values of a choice, or the one in `OTHER`."""
    default, options = BEGIN.get(field, kind.model_fields[field].default), choices(kind.model_fields[field].annotation)
    if options is not None:
        return [value for value in options if value != default]
    assert field in OTHER, (
        f"give {kind.__module__}'s new setting {field} another value in OTHER, and record its numbers"
    )
    return [OTHER[field]]


def choices(annotation):
    """The values of a literal type or a bool; None for others."""
    if annotation is bool:
        return (False, True)
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        parts = [choices(part) for part in get_args(annotation)]
        return None if None in parts else [value for part in parts for value in part or ()]
    return None


def cases(name):
    """Settings of each case, and the case that it has to differ from; None for the first."""
    kind = METHODS[name].Config
    found: dict[str, tuple[dict[str, Any], str | None]] = {AS_IT_IS: ({}, None)}
    for field in kind.model_fields:
        needs, base = WITH.get(field, {}), AS_IT_IS
        if needs:
            base = shown(needs)
            found[base] = (needs, AS_IT_IS)
        for value in other_values(kind, field):
            found[shown(needs | {field: value})] = (needs | {field: value}, base)
    return found


def shown(settings):
    return ", ".join(f"{field}={value}" for field, value in settings.items())


def waves(count, start=0):
    """Numbers in ±1 from a formula: sin(i² mod 10007), from i = start."""
    index = torch.arange(start, start + count)
    return torch.sin((index * index % 10007).double())


def bodies():
    """Moving clips (N, 3, T, V, M) of random joints; the second person of clip 1 is absent."""
    x = waves(CLIPS * 3 * 25 * 2, 5).view(CLIPS, 3, 1, 25, 2)
    time = torch.arange(FRAMES).view(1, 1, FRAMES, 1, 1) / FRAMES
    speed = waves(CLIPS * 3 * 25 * 2, 7_777).view(CLIPS, 3, 1, 25, 2)
    x = x + torch.sin(math.pi * time * (1 + speed)) * speed
    x[1, ..., 1] = 0
    return x


def numbers(name, settings):
    """Losses of three steps, one an epoch; of a method without training, its embedding and its views."""
    known = METHODS[name].Config.model_fields
    config = {field: value for field, value in BEGIN.items() if field in known} | settings
    stream = "all" if METHODS[name].streams_together else "joint"
    size = {"backbone_args": {"width": 4, "dim": 16, "dropout": 0.0}, "num_frames": FRAMES}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        method: Any = create_method(name, stream=stream, class_names=CLASSES, **size, **config).double().train()
        x, generator = bodies(), torch.Generator().manual_seed(4)
        if not method.trainable:
            found = method.embedding(x), *method.views(x, method.draw(x, generator)).values()
            return [(value * waves(value.numel()).view_as(value)).sum().item() for value in found]
        trained = [p for p in method.parameters() if p.requires_grad]
        optimiser, label, losses = torch.optim.SGD(trained, lr=0.1), torch.arange(CLIPS) % len(CLASSES), []
        for epoch in (1, 2, 3):
            optimiser.zero_grad()
            draws = method.draw(x, generator)
            how = {"draws": draws, "stage": method.stage(epoch), "label": label, "index": torch.arange(CLIPS)}
            loss = method.loss(method.views(x, draws), **how)["loss"]
            loss.backward()
            optimiser.step()
            method.after_step(Progress(epoch=epoch, iteration=0, iterations_per_epoch=1, epochs=4))
            losses.append(loss.item())
        return losses


@pytest.fixture
def bank(tmp_path, name):
    """A text bank, as one of CLIP would be, for the method that reads one."""
    if "text_encoder" not in METHODS[name].Config.model_fields:
        return
    said = [*sentences(), *text_bank.concepts()]
    vectors = waves(len(said) * 512).view(len(said), 512).numpy().astype(np.float32)
    text_bank.write_bank(tmp_path / "data" / "text_bank.npz", said, vectors, "a formula")


@pytest.mark.parametrize("name", METHODS)
def test_every_setting_gives_the_recorded_numbers(name, recorded, bank):
    planned = cases(name)
    found = {case: numbers(name, settings) for case, (settings, _) in planned.items()}
    unchanged = {case for case, (_, base) in planned.items() if base is not None and alike(found[base], found[case])}
    assert unchanged == {case for owner, case in IDLE if owner == name}, "settings that change no number"
    recorded(FILE, name, METHODS[name].version, found)
