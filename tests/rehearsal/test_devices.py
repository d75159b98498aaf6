"""Whole steps on devices that are not there: nothing is made elsewhere, mixed, read, or shaped by values.

On the meta device a step is complete, backward pass included, and has no values. Fake tensors say that they are on
`cuda:0`; torch starts no backward pass of theirs without a driver and has no rule for the fused optimiser, so every
parameter is given a gradient like itself. Cards, in `card.py`, have values.
"""

import contextlib
import dataclasses
import itertools
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from skelbench.backbones import BACKBONES, create_backbone
from skelbench.benchmark.plan.compatibility import refusal
from skelbench.benchmark.train.step import Step
from skelbench.datasets import on_device
from skelbench.datasets.streams import STREAMS
from skelbench.methods import Progress

from ..conftest import slow_but
from ..methods.test_settings import CLASSES, cases
from .card import CUDA, Card, Machine, MixedError
from .placed import ElsewhereError, OnlyOn, PlacedGenerator
from .planted import (
    ListOfIndices,
    ReadsProgress,
    ReadsValue,
    ScalarOfHost,
    ShapedByValues,
    WithoutDevice,
    WithoutDeviceInBackward,
    WritesThroughMask,
    faulty,
)
from .small import BACKBONE_ARGS, BATCH, FRAMES, TRAINABLE, small, small_clips, small_recipe
from .tape import HostError, Tape

META = torch.device("meta")
PLACES = (1, 1), (2, 0)  # epoch and iteration; a method that mines begins in epoch 2


def quick(name, backbone, stream):
    """Whether a combination is not only a repetition of others."""
    return stream == "joint" if backbone == "stgcn" else (name, stream) == ("skeletonclr", "motion")


COMBINATIONS = [
    pytest.param(*three, marks=() if quick(*three) else pytest.mark.slow)
    for three in itertools.product(TRAINABLE, BACKBONES, STREAMS)
]


@pytest.fixture(autouse=True)
def own_constants():
    """Constants that are kept for each device are those of one stand-in."""
    on_device._cached.cache_clear()
    yield
    on_device._cached.cache_clear()


def take_steps(step: Any, device: torch.device) -> None:
    """Take two steps of each stage; the first copies constants to the device, and the second is looked at."""
    index = torch.zeros(BATCH, dtype=torch.long, device=device)
    rate = torch.zeros((), device=device) if device.type == "cuda" else 0.01  # only the fused optimiser takes tensors
    for epoch, iteration in PLACES:
        numbers = (torch.full((), float(n), dtype=torch.float64, device=device) for n in (epoch, iteration, 2, 2))
        place, stage = Progress(*numbers), step.method.stage(epoch)
        step(index, rate, place, stage)
        with OnlyOn(device):
            losses = step(index, rate, place, stage)
        assert {value.device.type for value in losses.values()} == {device.type}
    assert {value.device.type for value in step.method.state_dict().values()} == {device.type}


def on_meta(method: Any) -> Step:
    """The steps of a method on the meta device."""
    return Step(method.to(META), small_clips("meta"), small_recipe(), PlacedGenerator(META))


@pytest.mark.parametrize(("name", "backbone", "stream"), COMBINATIONS)
def test_a_step_needs_no_values_and_nothing_from_another_device(name, backbone, stream):
    if reason := refusal(name, backbone):
        pytest.skip(reason)
    take_steps(on_meta(small(name, backbone=backbone, stream=stream)), META)


def settings():
    """Every method with every value of its choices and another number for each of its numbers."""
    for name in TRAINABLE:
        for case, (changed, _) in cases(name).items():
            if changed == {"text_encoder": "clip"}:  # computes the same with the vectors of a file
                continue
            yield pytest.param(name, changed, id=f"{name}-{case}", marks=pytest.mark.slow)


@pytest.mark.parametrize(("name", "changed"), [*settings()])
def test_a_step_needs_no_values_with_any_setting(name, changed):
    take_steps(on_meta(small(name, class_names=CLASSES, **changed)), META)


# --- fake tensors of a card -------------------------------------------------------------------------------------


def put(module: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """Replace the tensors of a module by fake ones of the card; shared ones stay shared."""
    memo: dict[int, Any] = {}

    def fake(tensor: Tensor) -> Any:
        if id(tensor) not in memo:
            moved = mode.from_tensor(tensor.detach()).to(CUDA)
            parameter = isinstance(tensor, nn.Parameter)
            memo[id(tensor)] = nn.Parameter(moved, tensor.requires_grad) if parameter else moved
        return memo[id(tensor)]

    for part in module.modules():
        for kept in (part._parameters, part._buffers):
            kept |= {name: fake(tensor) for name, tensor in kept.items() if tensor is not None}
    return module


class NoKernel(OnlyOn):
    """For the fused optimiser, which has no rule for fake tensors, look at the devices only."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ == "_fused_sgd_":
            return self._check(
                func, "got", [t for group in args for t in (group if isinstance(group, list) else [group])]
            )
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("name", "changed"), [*((name, {}) for name in TRAINABLE), *settings()])
def test_a_step_runs_on_fake_tensors_of_a_card(name, changed):
    on_fake(small(name, class_names=CLASSES, **changed))


def on_fake(method: Any) -> None:
    """Take the steps of a method on fake tensors."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        put(method, mode)
        clips = small_clips()
        x, label = (mode.from_tensor(value).to(CUDA) for value in (clips.x, clips.label))
        clips = dataclasses.replace(clips, x=x, label=label)

        def gradients(loss: Tensor) -> None:
            for parameter in method.parameters():
                parameter.grad = torch.empty_like(parameter) if parameter.requires_grad else None

        with NoKernel(CUDA), mock.patch.object(Tensor, "backward", gradients):
            take_steps(Step(method, clips, small_recipe(), PlacedGenerator(CUDA)), CUDA)


# --- cards ------------------------------------------------------------------------------------------------------


def walk(method: Any, clips: Any, generator: Any, machine: Machine | None = None) -> list[dict[str, Tensor]]:
    """Losses and state of three steps of each stage, on the CPU, in float64: what has no gradient is rounding else.

    The first step of a stage copies constants to a card, and only what the others do stays on the machine's lists.
    """
    method = method.double()
    clips = dataclasses.replace(clips, x=clips.x.double())
    step = Step(method, clips, small_recipe(), generator)
    torch.manual_seed(2)
    seen = []
    for epoch in (1, 2):
        for iteration in range(3):
            index = (torch.arange(BATCH) + iteration).to(clips.x.device)
            losses = step(index, 0.01, Progress(epoch, iteration, 3, 2), method.stage(epoch))
            if machine is not None and iteration == 0:
                machine.waits.clear()
                machine.copies.clear()
            seen.append({name: value.detach().cpu().clone() for name, value in (losses | method.state_dict()).items()})
    return seen


WAITS = {"stgcn": {"backbones/stgcn distinct"}}  # it leaves absent persons out, and so asks how many are there


@pytest.mark.parametrize("backbone", BACKBONES)
def test_features_on_a_card_are_those_on_the_cpu(backbone):
    made: Any = create_backbone(backbone, layout="ntu25", num_frames=FRAMES, **BACKBONE_ARGS[backbone]).eval()
    x = small_clips().x
    with torch.no_grad():
        expected = made.pool(made(x))
        with Machine() as machine:
            found = made.to("cuda")(x.to("cuda"))
            machine.waits.clear()
            found = made.pool(made(x.to("cuda")))
            assert set(machine.waits) == WAITS.get(backbone, set())
    assert isinstance(found, Card)
    torch.testing.assert_close(found.value, expected, rtol=1e-5, atol=1e-6)


# Dropout of 0.5 draws other numbers on the CPU than on other devices.
@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("name", slow_but(TRAINABLE, "skeletonclr", "hiclr", "mica"))
def test_steps_on_a_card_are_those_on_the_cpu_and_wait_for_nothing(name):
    expected = walk(small(name, dropout=0.4), small_clips(), torch.Generator().manual_seed(1))
    method, clips = small(name, dropout=0.4), small_clips()
    with Machine() as machine:
        method, generator = method.to("cuda"), PlacedGenerator("cuda")
        clips = dataclasses.replace(clips, x=clips.x.to("cuda"), label=clips.label.to("cuda"))
        generator.manual_seed(1)
        found = walk(method, clips, generator, machine)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert {*machine.waits, *machine.copies} == {"outside"}, "the test itself copies the batches and reads the results"


# --- planted faults ---------------------------------------------------------------------------------------------


ASKS_FOR_A_VALUE = {
    "bool": lambda t: bool(t[0] > 0),
    "item": lambda t: t[0].item(),
    "float": lambda t: float(t[0]),
    "alpha": lambda t: torch.add(t, t, alpha=t[0]),
    "equal": lambda t: torch.equal(t, t + 1),
    "tolist": lambda t: t[1:].tolist(),
    "selection": lambda t: t[t > 0],
    "writing": lambda t: t.clone().index_put_((t > 0,), t + 1),
    "places": lambda t: t.nonzero(),
    "kinds": lambda t: t.unique(),
}


@pytest.mark.parametrize("case", ASKS_FOR_A_VALUE)
def test_the_stand_ins_notice_what_waits_for_the_device(case):
    if case != "writing":  # which the meta device alone does not mind
        with pytest.raises((RuntimeError, NotImplementedError)):
            ASKS_FOR_A_VALUE[case](torch.ones(2, device="meta"))
    x = torch.ones(2, device="meta")
    with pytest.raises((HostError, RuntimeError)), OnlyOn(META):
        ASKS_FOR_A_VALUE[case](x)
    with Machine() as machine:
        ASKS_FOR_A_VALUE[case](torch.ones(2, device="cuda"))
    assert machine.waits
    if case != "tolist":  # reads the memory of a tensor without an operation
        with pytest.raises(HostError), Tape():
            ASKS_FOR_A_VALUE[case](torch.ones(2))


ELSEWHERE = [WithoutDevice, WithoutDeviceInBackward, ScalarOfHost]
WAITING = [ReadsValue, ReadsProgress, ShapedByValues, WritesThroughMask]


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_a_tensor_made_on_the_host_is_found_on_the_meta_device(kind):
    with pytest.raises((ElsewhereError, RuntimeError)):
        take_steps(on_meta(faulty(kind)), META)


@pytest.mark.parametrize("kind", WAITING)
def test_a_value_that_is_needed_is_found_on_the_meta_device(kind):
    with pytest.raises((HostError, RuntimeError, NotImplementedError)):
        take_steps(on_meta(faulty(kind)), META)


@pytest.mark.parametrize("kind", [*ELSEWHERE, ListOfIndices, *WAITING])
def test_a_planted_fault_is_found_with_fake_tensors(kind):
    if kind is WithoutDeviceInBackward:
        pytest.skip("fake tensors have no backward pass")
    with pytest.raises((ElsewhereError, HostError, RuntimeError)):
        on_fake(faulty(kind))


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("kind", [*ELSEWHERE, *WAITING])
def test_a_planted_fault_is_found_on_a_card(kind):
    method, clips = faulty(kind), small_clips()
    with Machine() as machine:
        clips = dataclasses.replace(clips, x=clips.x.to("cuda"))
        step = Step(method.to("cuda"), clips, small_recipe(), PlacedGenerator("cuda"))
        index, epoch = torch.arange(BATCH, device="cuda"), torch.ones((), device="cuda")
        machine.waits.clear()
        with contextlib.nullcontext() if kind in WAITING else pytest.raises(MixedError):
            step(index, 0.01, Progress(epoch, 0, 2, 2), 0)
        assert bool(machine.waits) == (kind in WAITING)


def test_a_card_is_no_place_for_numpy_and_mixes_with_indices_only():
    with Machine() as machine:
        x = torch.ones(3, device="cuda")
        assert isinstance(x, Card)
        assert x.device == CUDA
        with pytest.raises(TypeError, match="convert cuda:0"):
            x.numpy()
        with pytest.raises(MixedError):
            _ = x + torch.ones(3)
        assert x[torch.tensor([0, 2])].shape == (2,)
        assert not machine.waits
        assert x.sum().item() == 3
        assert x.cpu().numpy().sum() == 3
        assert machine.waits.total() == 2
