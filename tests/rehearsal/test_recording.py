"""Steps recorded on a tape and replayed are the steps that were not recorded, bit for bit."""

import copy
import gc
import threading
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.autograd.graph import get_gradient_edge
from torch.utils._python_dispatch import TorchDispatchMode

from skelbench.backbones import BACKBONES
from skelbench.benchmark.plan.compatibility import refusal
from skelbench.benchmark.train import trainer as training
from skelbench.benchmark.train.options import Options, StoppedError
from skelbench.benchmark.train.step import RecordedStep, Step
from skelbench.benchmark.train.trainer import Trainer
from skelbench.methods import Progress
from skelbench.results.record import Cell, Key

from ..conftest import slow_but
from .planted import (
    Counts,
    KeepsGraph,
    KeepsLoss,
    ReadsProgress,
    ReadsValue,
    Rebinds,
    ShapedByValues,
    WritesThroughMask,
    faulty,
)
from .small import BATCH, CLIPS, TRAINABLE, small, small_clips, small_recipe
from .tape import HostError, Tape, tape, tensors

STEPS, PER_EPOCH = 10, 5
PAIRS = [
    pytest.param(name, backbone, marks=() if backbone == "stgcn" or name == "skeletonclr" else pytest.mark.slow)
    for name in TRAINABLE
    for backbone in BACKBONES
]

pytestmark = pytest.mark.usefixtures("fused")


def walk(method: Any, *, record: Any = None, steps: int = STEPS, **how: Any) -> tuple[list[dict[str, Tensor]], Any]:
    """Train for some steps of two epochs, each with another rate, place and batch.

    Returns:
        For every step its losses and the state after it (weights, queue, momentum), and the step itself.
    """
    step = Step(method, small_clips(), small_recipe(), Generator().manual_seed(1), **how)
    take = step if record is None else RecordedStep(step, BATCH, record)
    torch.manual_seed(2)
    seen = []
    for i in range(steps):
        epoch, iteration = 1 + i // PER_EPOCH, i % PER_EPOCH
        index = (torch.arange(BATCH) * 5 + i) % CLIPS
        losses = take(index, 0.01 / (1 + i), Progress(epoch, iteration, PER_EPOCH, 2), method.stage(epoch))
        momentum = {f"{i} {k}": v for i, s in enumerate(step.optimiser.state.values()) for k, v in s.items()}
        kept = {**losses, **method.state_dict(), **momentum}
        seen.append({name: value.clone() for name, value in kept.items() if value is not None})
    return seen, take


def differences(make: Any, **how: Any) -> list[str]:
    """What differs between the steps of a method and the replayed ones: the first step that does, and which values."""
    plain, _ = walk(make(), **how)
    replayed, _ = walk(make(), record=tape, **how)
    for i, (one, other) in enumerate(zip(plain, replayed, strict=True), start=1):
        assert one.keys() == other.keys()
        if found := [f"step {i}: {name}" for name in one if not torch.equal(one[name], other[name])]:
            return found
    return []


# --- every method -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "backbone"), PAIRS)
def test_ten_replayed_steps_are_ten_plain_ones(name, backbone):
    if reason := refusal(name, backbone):
        pytest.skip(reason)
    assert differences(lambda: small(name, backbone=backbone)) == []


@pytest.mark.parametrize("name", slow_but(TRAINABLE, "skeletonclr"))
def test_ten_replayed_steps_in_bfloat16_are_ten_plain_ones(name):
    assert differences(lambda: small(name), precision="bf16") == []


def test_a_stage_is_recorded_once_and_another_anew():
    recorded = []

    def counted(work, generator):
        recorded.append(work)
        return tape(work, generator)

    _, take = walk(small("hiclr"), record=counted)
    assert len(recorded) == 2
    assert set(take.recorded) == {0, 1}


class NewMemory(TorchDispatchMode):
    """Notes the operations that return memory they were not given."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {tensor.untyped_storage()._cdata for tensor in tensors(args, kwargs)}
        if any(tensor.untyped_storage()._cdata not in given for tensor in tensors(out)):
            self.found.append(str(func))
        return out


def alive() -> tuple[int, int]:
    """Number of the tensors that exist, and of their bytes."""
    gc.collect()
    found = [x for x in gc.get_objects() if issubclass(type(x), Tensor)]
    return len(found), sum({x.untyped_storage()._cdata: x.untyped_storage().nbytes() for x in found}.values())


@pytest.mark.parametrize("name", slow_but(TRAINABLE, "skeletonclr", "skeattnclr"))
def test_a_replay_allocates_nothing_outside_of_the_list(name):
    method = small(name)
    step = Step(method, small_clips(), small_recipe(), Generator().manual_seed(1))
    outside = NewMemory()

    def apart(work, generator):
        replay = tape(work, generator)

        def alone():  # what the list itself does is not counted
            outside.__exit__(None, None, None)
            replay()
            outside.__enter__()

        return alone

    take = RecordedStep(step, BATCH, apart)
    index = torch.arange(BATCH)
    sizes = []
    for i in range(5):
        outside.found.clear()
        with outside:
            take(index, 0.01, Progress(1, i, PER_EPOCH, 2), 0)
        assert i == 0 or outside.found == []
        if i in (1, 4):
            sizes.append(alive())
    assert sizes[0] == sizes[1]


def outlives(method: Any) -> bool:
    """Whether what adds up the gradient of a parameter in one step is still there in the next."""
    step = Step(method, small_clips(), small_recipe(), Generator().manual_seed(1))
    called: list[str] = []
    for i in range(2):
        step(torch.arange(BATCH), 0.01, Progress(2, i, PER_EPOCH, 2), method.stage(2))
        for name, parameter in method.named_parameters():
            if parameter.requires_grad:
                get_gradient_edge(parameter).node.register_hook(lambda *_, name=name: called.append(name))
    return bool(called)


@pytest.mark.parametrize("name", TRAINABLE)
def test_no_graph_of_gradients_outlives_its_step(name):
    """Else gradients are added up on the stream of the steps before a recording, which a CUDA graph does not allow."""
    assert not outlives(small(name))


# --- the trainer ------------------------------------------------------------------------------------------------


def make_trainer(folder, *, name="skelemixclr", recorded=True, stop=None):
    place = {"dataset": "made up", "split": "xsub", "stream": "joint", "protocol": "pretrain"}
    cell = Cell(track="custom", label="a test", method=name, backbone="stgcn", **place, seed=0)
    recipe = small_recipe(epochs=3, batch=4, warmup=5)
    return Trainer(small(name), small_clips(), recipe, folder, Key(cell, "a"), Options(recorded=recorded, stop=stop))


def ended(trainer):
    curve = [{k: v for k, v in row.items() if k not in ("seconds", "clips_per_second")} for row in trainer.run.curve]
    return curve, trainer.method.state_dict()


@pytest.fixture
def taped(monkeypatch):
    """Record on a tape where a card would record a graph."""
    monkeypatch.setattr(training, "cuda_graph", tape)


@pytest.mark.usefixtures("taped")
@pytest.mark.parametrize("name", slow_but(TRAINABLE, "skelemixclr"))
def test_a_training_resumed_into_a_recording_ends_as_a_plain_one(name, tmp_path, monkeypatch):
    (plain, straight, broken) = (tmp_path / part for part in ("plain", "straight", "broken"))
    for folder in (plain, straight, broken):
        folder.mkdir()
    expected = make_trainer(plain, name=name, recorded=False)
    expected.train()
    through = make_trainer(straight, name=name)
    through.train()
    stop = threading.Event()
    first = make_trainer(broken, name=name, stop=stop)
    taken = first.take_step

    def take_step():
        taken()
        if (first.run.epoch, first.run.iteration) == (2, 0):
            stop.set()

    monkeypatch.setattr(first, "take_step", take_step)
    with pytest.raises(StoppedError):
        first.train()
    second = make_trainer(broken, name=name)
    second.train()
    torch.testing.assert_close(ended(through), ended(expected), rtol=0, atol=0)
    torch.testing.assert_close(ended(second), ended(expected), rtol=0, atol=0)


@pytest.mark.usefixtures("taped")
def test_a_state_that_is_loaded_over_a_recording_is_the_one_that_is_trained(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.method.train()
    trainer.run.order = trainer.order(1)
    trainer.take_step()
    saved = copy.deepcopy(trainer.state_dict())

    def three():
        for trainer.run.iteration in range(3):
            trainer.take_step()
        return {name: value.clone() for name, value in trainer.method.state_dict().items()}

    first = three()
    trainer.load_state_dict(saved)
    again = three()
    for name, value in first.items():
        assert torch.equal(value, again[name]), name


# --- planted faults ---------------------------------------------------------------------------------------------


DIFFERENT = [Counts, Rebinds, KeepsLoss]
REFUSED = [ReadsValue, ReadsProgress, ShapedByValues, WritesThroughMask]


@pytest.mark.parametrize("kind", DIFFERENT)
def test_a_state_that_only_python_has_shows_as_a_difference(kind):
    assert differences(lambda: faulty(kind))


@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_graph_cannot_record_is_refused(kind):
    with pytest.raises(HostError):
        differences(lambda: faulty(kind))


def test_a_graph_of_gradients_that_is_kept_is_found():
    assert outlives(faulty(KeepsGraph))


def test_a_tape_gives_back_what_was_there_before():
    x = torch.ones(3)
    generator = Generator().manual_seed(0)

    def work():
        x.add_(1)
        y = torch.rand(3, generator=generator)
        x[1:].mul_(y[1:] * torch.rand(2))

    torch.manual_seed(0)
    replay = tape(work, generator)
    assert x.tolist() == [1, 1, 1]
    replay()
    first = x.clone()
    x.fill_(1)
    generator.manual_seed(0)
    torch.manual_seed(0)
    work()
    assert torch.equal(x, first)


def test_a_tape_lists_no_views_and_no_python():
    x = torch.ones(2, 3)
    with Tape() as recording:
        x.T.contiguous()[0].detach()
        x.add_(1)
    assert [str(operation.func) for operation in recording.operations] == ["aten.clone.default", "aten.add_.Tensor"]
