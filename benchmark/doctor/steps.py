"""Steps of the published settings, or of tiny ones, on made-up clips: for what is measured rather than compared."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator

from ...datasets.clips import Clips
from ...datasets.layout import get_layout
from ...datasets.readers.ntu_names import CLASS_NAMES, OFFICIAL
from ...methods import METHODS, Progress
from ...methods.recipe import Recipe
from ...results.record import Configuration
from ..forecast.trace import Shape, stages
from ..plan.build import build_method
from ..train.devices import keep_freed_memory
from ..train.step import RecordedStep, Step, cuda_graph
from .golden import EPOCHS, TINY, settings_of
from .rows import Request

PERSONS = 2
CLASSES = 60  # of NTU-60
SLOW_BATCH = 16  # of a step on the CPU, where one of the published size takes ten seconds

Take = Callable[[], object]


def shape_of(name: str, request: Request, *, batch: int | None = None) -> Shape:
    """A method with ST-GCN and its published settings for NTU-60; in tiny ones if those are asked for.

    Args:
        batch: N instead of the published one; not for tiny ones.
    """
    configuration = Configuration(name, "stgcn", "ntu60", "xsub", "joint")
    if request.tiny:
        backbone = {"width": TINY.width, "dim": TINY.dim, "dropout": 0.5, "graph": "hop"}
        sizes = {"frames": TINY.frames, "epochs": EPOCHS, "batch": TINY.batch, "lr": 0.01}
        recipe = Recipe(source="a check", **sizes, backbone=backbone, method=settings_of(name))
    else:
        recipe, _ = METHODS[name].published_for(*configuration[1:])
        recipe = recipe.model_copy(update={"batch": batch or recipe.batch})
    kind = "cpu" if request.device == "cpu" else "cuda"
    return Shape(configuration, recipe, get_layout("ntu25"), PERSONS, CLASS_NAMES[:CLASSES], kind)


def last_stage(shape: Shape) -> int:
    """The stage that does most: methods begin without mining."""
    return max(stages(shape))


def clips_on(device: str, shape: Shape, n: int | None = None) -> Clips:
    """Clips (N, 3, T, V, M) of noise on a device; as many as the training clips of NTU-60, or `n`."""
    n = n or OFFICIAL["ntu60"]["xsub"][0]
    generator = Generator(device).manual_seed(0)
    size = (n, 3, shape.recipe.frames, shape.layout.num_joints, shape.persons)
    label = torch.arange(n) % CLASSES
    x = torch.randn(*size, generator=generator, device=device)
    return Clips(x, label.to(device), ("",) * n, label, shape.layout, shape.class_names, "made up", "")


def step_on(
    device: str, shape: Shape, clips: Clips, stage: int, *, precision: str = "fp32", recorded: bool = False
) -> tuple[Step, Take]:
    """A step in a stage, and a function that takes it, each time on other clips, without waiting for the device."""
    keep_freed_memory()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        recipe = shape.recipe
        method = build_method(shape.configuration, recipe, shape.layout, shape.persons, shape.class_names)
    method = method.to(device).train()
    epoch = next(epoch for epoch in range(1, recipe.epochs + 1) if method.stage(epoch) == stage)
    step = Step(method, clips, recipe, Generator(device).manual_seed(0), precision=precision)
    take = RecordedStep(step, recipe.batch, cuda_graph) if recorded else step
    order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(0)).to(device)
    batches = len(clips) // recipe.batch
    taken = 0

    def once() -> object:
        nonlocal taken
        i = taken % batches
        taken += 1
        index = order[i * recipe.batch : (i + 1) * recipe.batch]
        return take(index, recipe.lr, Progress(epoch, i, batches, recipe.epochs), stage)

    return step, once
