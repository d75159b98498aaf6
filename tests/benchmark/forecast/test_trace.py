"""Steps traced without values, against steps that are computed."""

import json
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from skelbench.backbones import BACKBONES
from skelbench.benchmark.forecast import trace
from skelbench.benchmark.forecast.counting import Living, Traffic
from skelbench.benchmark.forecast.trace import ENCODED, Shape, encoding, training_step, tuning_step
from skelbench.benchmark.plan.build import build_method
from skelbench.benchmark.plan.tracks import equal
from skelbench.benchmark.protocols.tuning import TuningSettings
from skelbench.benchmark.train.step import Step
from skelbench.datasets.clips import Clips
from skelbench.datasets.layout import get_layout
from skelbench.methods import METHODS, Progress
from skelbench.results.record import Configuration

from ...conftest import slow_but
from ..conftest import TINY

TRAINABLE = [name for name in METHODS if METHODS[name].trainable]
LAYOUT, CLASSES = get_layout("ntu25"), tuple("abc")
NARROW = {"width": TINY["backbone.width"], "dim": TINY["backbone.dim"]}


@pytest.fixture(autouse=True)
def traced_anew(monkeypatch):
    """Tests change encoders, of which a remembered trace would know nothing."""
    monkeypatch.setattr(trace, "_remembered", trace._Remembered())


def shape_of(name: str, device: str = "cpu", backbone: str = "stgcn", batch: int = 8, persons: int = 2) -> Shape:
    stream = "all" if METHODS[name].streams_together else "joint"
    recipe = equal(name, backbone, 64, {})
    narrow = NARROW if backbone == "stgcn" else {}
    own = {key: value for key, value in {"window": (1, 2)}.items() if key in recipe.method}
    changes = {"frames": 16, "batch": batch, "backbone": recipe.backbone | narrow, "method": recipe.method | own}
    recipe = recipe.model_copy(update=changes)
    return Shape(Configuration(name, backbone, "made-up", "xsub", stream), recipe, LAYOUT, persons, CLASSES, device)


def real_step(shape: Shape, stage: int):
    """The same step on the CPU with values: FLOP, bytes, operations, and the memory that lives at most."""
    torch.manual_seed(0)
    recipe, n = shape.recipe, shape.recipe.batch
    method = build_method(shape.configuration, recipe, shape.layout, shape.persons, shape.class_names).train()
    clips = Clips(
        x=torch.randn(n, 3, recipe.frames, LAYOUT.num_joints, shape.persons),
        label=torch.arange(n) % 3,
        name=tuple(map(str, range(n))),
        subject=torch.zeros(n, dtype=torch.long),
        layout=LAYOUT,
        class_names=CLASSES,
        dataset="made-up",
        fingerprint="",
    )
    step = Step(method, clips, recipe, torch.Generator().manual_seed(0))
    progress = Progress(*(torch.tensor(value, dtype=torch.float64) for value in (1, 0, 8, 10)))

    def take():
        step(torch.arange(n), recipe.lr, progress, stage)

    with Living((*method.parameters(), *method.buffers())) as living:
        take()
    with FlopCounterMode(display=False) as flop, Traffic() as traffic, living:
        take()
    return flop.get_total_flops(), traffic.bytes, traffic.operations, living.peak


@pytest.mark.parametrize("name", slow_but(TRAINABLE, "skeletonclr"))
def test_a_traced_step_does_what_the_step_with_values_does(name):
    shape = shape_of(name)
    for stage in sorted(trace.stages(shape)):
        flop, moved, operations, peak = real_step(shape, stage)
        traced = training_step(shape, stage)
        assert traced.work.flop == flop
        assert traced.work.bytes == pytest.approx(moved, rel=0.03)
        assert traced.work.operations == pytest.approx(operations, rel=0.1)
        assert traced.memory == pytest.approx(peak, rel=0.05)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("backbone", slow_but(sorted(BACKBONES), "stgcn"))
def test_every_encoder_is_traced_for_both_kinds_of_device(backbone, device):
    shape = shape_of("skeletonclr", device, backbone)
    step, encoded = training_step(shape, 0), encoding(shape)
    assert step.work.flop > 0 < encoded.work.flop
    assert step.parameters == encoded.parameters > 0
    encoder: Any = build_method(shape.configuration, shape.recipe, LAYOUT, 2, CLASSES).encoder_q
    assert step.parameters == sum(p.numel() for p in encoder.backbone.parameters())
    assert encoded.dim == encoder.backbone.dim


def test_twice_the_batch_is_twice_the_work_of_products():
    one, two = (training_step(shape_of("skeletonclr", batch=batch), 0) for batch in (8, 16))
    assert two.work.flop == pytest.approx(2 * one.work.flop, rel=0.01)
    assert one.work.bytes < two.work.bytes < 2 * one.work.bytes


def test_tracing_leaves_the_draws_of_the_process_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    shape = shape_of("aimclr")
    training_step(shape, 0)
    encoding(shape)
    tuning_step(shape, TuningSettings(), 8)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_step_of_finetuning_costs_one_forward_and_backward_pass_of_the_encoder():
    shape = shape_of("skeletonclr")
    step, encoded = tuning_step(shape, TuningSettings(), 8), encoding(shape)
    forward = encoded.work.flop * 8 / ENCODED
    assert 2 * forward < step.work.flop <= 3.1 * forward  # the first layer needs no gradient of its input


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINABLE)
def test_the_process_peaks_where_it_is_forecast(name):
    words = ["bench", "step", "--small", "--plain-steps", "0", "--steps", "3", "--method", name, "--json"]
    done = subprocess.run([sys.executable, "-m", "skelbench", *words], capture_output=True, text=True, check=True)
    (row,) = json.loads(done.stdout)["rows"]
    assert row["forecast_memory_mb"] == pytest.approx(row["peak_memory_mb"], rel=0.15)
