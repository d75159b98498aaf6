"""The work and the memory of trainings and evaluations, traced on tensors without values."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ...datasets.layout import Layout
from ...methods import Method, Progress
from ...methods.recipe import Recipe
from ...results.record import Configuration
from ..plan.build import build_method
from ..protocols.tuning import Tuner, TuningSettings
from ..train.step import Step
from .counting import Living, Traffic, Work
from .meta import META, MetaGenerator, meta_clips, tracing

NUMBER = 4  # bytes of a float32
ENCODED = 256  # clips of a batch of features, as `protocols.features` has them


@dataclass(frozen=True)
class Shape:
    """What is trained or evaluated, as far as its work depends on it.

    Attributes:
        configuration, recipe: of the pre-training.
        layout, persons, class_names: of its data.
        device: "cpu", or "cuda" for every other device.
    """

    configuration: Configuration
    recipe: Recipe
    layout: Layout
    persons: int
    class_names: tuple[str, ...]
    device: str

    def resident(self, clips: int) -> float:
        """Bytes of so many clips (3, T, V, M) in float32."""
        return float(clips * 3 * self.recipe.frames * self.layout.num_joints * self.persons * NUMBER)

    def key(self) -> str:
        """A text that is the same for shapes of the same work: schedules and numbers of clips do not matter."""
        place = self.configuration._replace(dataset="", split="")
        fixed = {"epochs": 1, "lr": 1.0, "lr_steps": (), "warmup": 0, "snapshots": (), "clips": None, "protocols": {}}
        recipe = self.recipe.model_copy(update={**fixed, "source": "", "selection": "held_out"})
        facts = [place, recipe.model_dump(mode="json"), self.layout.digest, self.persons, self.class_names, self.device]
        return json.dumps(facts, default=str)


@dataclass(frozen=True)
class Traced:
    """What one step, or the encoding of one batch, does.

    Attributes:
        work: of it.
        memory: bytes that live at most, without the clips of the data set.
        parameters: of the backbone of one encoder.
        dim: D of its features.
    """

    work: Work
    memory: float
    parameters: int = 0
    dim: int = 0


class _Remembered:
    """Results by the key of a shape and further facts, so that cells of the same work are traced once."""

    def __init__(self) -> None:
        self.found: dict[tuple[Any, ...], Any] = {}

    def get(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        if key not in self.found:
            self.found[key] = make()
        return self.found[key]


_remembered = _Remembered()


def training_step(shape: Shape, stage: int) -> Traced:
    """One step of the pre-training in a stage of its method; fp32."""
    return _remembered.get(("step", shape.key(), stage), lambda: _training_step(shape, stage))


def stages(shape: Shape) -> Mapping[int, int]:
    """Epochs of each stage of the pre-training."""
    method = _method(shape)
    return Counter(method.stage(epoch) for epoch in range(1, shape.recipe.epochs + 1))


def encoding(shape: Shape) -> Traced:
    """The features of a batch of `ENCODED` clips, in evaluation mode; persons that are absent cost as others do."""
    return _remembered.get(("encoding", shape.key()), lambda: _encoding(shape))


def tuning_step(shape: Shape, settings: TuningSettings, batch: int) -> Traced:
    """One step of a training of the encoder with a linear classifier."""
    own = (json.dumps(settings.model_dump(mode="json"), sort_keys=True), batch)
    return _remembered.get(("tuning", shape.key(), *own), lambda: _tuning_step(shape, settings, batch))


def _training_step(shape: Shape, stage: int) -> Traced:
    method, recipe = _method(shape).to(META).train(), shape.recipe
    clips = meta_clips(recipe.batch, recipe.frames, shape.persons, shape.layout, shape.class_names)
    step = Step(method, clips, recipe, MetaGenerator())
    index = torch.empty(recipe.batch, dtype=torch.long, device=META)
    numbers = (torch.empty((), dtype=torch.float64, device=META) for _ in range(4))
    progress = Progress(*numbers)
    work, memory = _count(lambda: step(index, recipe.lr, progress, stage), method, shape.device)
    return Traced(work, memory, _parameters(method))


def _encoding(shape: Shape) -> Traced:
    method = _method(shape).to(META).eval()
    clips = meta_clips(ENCODED, shape.recipe.frames, shape.persons, shape.layout, shape.class_names)
    stream = _stream(shape, method)
    features: list[Tensor] = []

    def encode() -> None:
        with torch.no_grad():
            features[:] = [method.features(clips.x, *stream)]

    work, memory = _count(encode, method, shape.device)
    return Traced(work, memory, _parameters(method), features[0].shape[1])


def _tuning_step(shape: Shape, settings: TuningSettings, batch: int) -> Traced:
    method = _method(shape).to(META)
    clips = meta_clips(batch, shape.recipe.frames, shape.persons, shape.layout, shape.class_names)
    with torch.random.fork_rng(devices=[]), tracing(shape.device):
        stream = next(iter(_stream(shape, method)), None)
        tuner = Tuner(method, stream, clips, torch.arange(batch), settings, seed=0, augment=MetaGenerator())
    method.train(settings.mode == "train")
    work, memory = _count(lambda: tuner.step(clips.x, clips.label), method, shape.device)
    return Traced(work, memory, _parameters(method))


def _method(shape: Shape) -> Method:
    with torch.random.fork_rng(devices=[]):
        return build_method(shape.configuration, shape.recipe, shape.layout, shape.persons, shape.class_names)


def _stream(shape: Shape, method: Method) -> tuple[str, ...]:
    """The stream to evaluate, where a method was trained on several."""
    return () if method.stream == shape.configuration.stream else (shape.configuration.stream,)


def _count(work: Callable[[], Any], method: Method, device: str) -> tuple[Work, float]:
    """What a computation does when it is done again, and the memory that lives at most, the method's included."""
    held: Iterable[Tensor] = (*method.parameters(), *method.buffers())
    with torch.random.fork_rng(devices=[]), tracing(device):
        with Living(held) as living:
            work()
        with FlopCounterMode(display=False) as flop, Traffic() as traffic, living:
            work()
    return Work(float(flop.get_total_flops()), float(traffic.bytes), float(traffic.operations)), float(living.peak)


def _parameters(method: Method) -> int:
    return sum(p.numel() for p in method.encoder_q.backbone.parameters())  # type: ignore[union-attr]
