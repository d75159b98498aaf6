"""Speed of a pre-training step, compared with the plain reference and the machine's limits in the same run."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ...datasets.clips import Clips
from ...datasets.layout import get_layout
from ...methods import METHODS
from ...methods.recipe import Recipe
from ...results.record import PRETRAIN, Cell, Configuration, Key
from ..forecast.ceilings import measure_ceilings, timed
from ..forecast.counting import Traffic
from ..forecast.devices import measured_device
from ..forecast.memory import peak_mb
from ..forecast.trace import Shape, training_step
from ..plan.build import build_method
from ..plan.tracks import equal
from ..train.devices import keep_freed_memory, peak_memory, precision, reset_peak_memory
from ..train.options import Options
from ..train.trainer import Trainer
from .prepare import Figure
from .reference.loop import PlainProcess
from .reference.step import PLAIN

WARM, ROUNDS = 3, 5  # warm-up steps; turns that ours and the plain reference take
LAYOUT = "ntu25"
SMALL_CLIPS = 674  # training clips of NW-UCLA cross-subject
CLASSES = tuple(map(str, range(10)))


def bench_step(
    name: str,
    *,
    backbone: str = "stgcn",
    backbone_args: dict[str, Any] | None = None,
    batch: int = 64,
    frames: int = 50,
    persons: int = 2,
    clips: int | None = None,
    layout: str = LAYOUT,
    config: Mapping[str, Any] | None = None,
    threads: int | None = None,
    steps: int = 50,
    plain_steps: int = 10,
    stage: int = 0,
    device: str = "cpu",
    mode: dict[str, Any] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Time steps of a method on random clips, with its published sizes by default.

    Args:
        name: a method.
        backbone, backbone_args: the encoder.
        batch, frames, persons: N, T, M.
        clips: size of the data set that batches are drawn from (default: four batches).
        layout: the skeleton.
        config: settings of the method (default: as published).
        threads: of ours and of the plain reference (default: as many as PyTorch takes).
        steps: timed steps of ours, at least 50 for a number to be reported.
        plain_steps: timed steps of the plain reference, which exists for some methods with an ST-GCN.
        stage: of the method (1: with mining).
        device: the device to run on.
        mode: precision, compiled, recorded, as in `Trainer`.
        say: called with progress messages.

    Returns:
        the measurement that `skelbench check --against` compares: kind, what, device, settings, rows, ceilings.
    """
    mode = {"precision": "fp32", "compiled": False, "recorded": False} | (mode or {})
    if threads:
        torch.set_num_threads(threads)
    sizes = {"backbone": backbone, "backbone_args": dict(backbone_args or {}), "layout": layout, **(config or {})}
    sizes |= {"num_frames": frames, "num_persons": persons}
    held = clips or 4 * batch
    place = {"dataset": "bench", "split": "none", "stream": "all" if METHODS[name].streams_together else "joint"}
    configuration = Configuration(name, backbone, **place)
    recipe = Recipe(
        source="a benchmark",
        frames=frames,
        epochs=300,
        batch=batch,
        lr=0.01,
        backbone=dict(backbone_args or {}),
        method=dict(config or {}),
    )
    shape = Shape(configuration, recipe, get_layout(layout), persons, CLASSES, device if device == "cpu" else "cuda")
    expected = training_step(shape, stage)
    expected_mb = peak_mb(expected.memory + shape.resident(held), device)
    x = torch.randn(held, 3, frames, get_layout(layout).num_joints, persons, generator=_generator())
    plain = None
    if plain_steps and name in PLAIN and backbone == "stgcn" and stage == 0:
        plain = PlainProcess(name, sizes, x.numpy(), batch, device, threads)
        say("warming up the plain reference")
        plain.take(1)
    say("warming up")
    with tempfile.TemporaryDirectory() as folder, precision(mode["precision"]):
        trainer = _trainer(shape, x, device, Path(folder), mode)
        trainer.run.epoch = _epoch_of(trainer, stage)
        run = _Timer(trainer, device)
        run.take(WARM)
        graphs = _compiled_graphs()
        reset_peak_memory(device)
        ours: list[float] = []
        theirs: list[float] = []
        for turn in range(ROUNDS):
            say(f"turn {turn + 1} of {ROUNDS}")
            ours += run.take(_share(steps, turn))
            theirs += plain.take(_share(plain_steps, turn)) if plain and _share(plain_steps, turn) else []
        memory, recompiled = peak_memory(device), _compiled_graphs() - graphs
        if plain:
            plain.close()
        flops, traffic = _work(trainer)
    ceilings = measure_ceilings(device, mode["precision"])
    rows = [_row(name, ours, batch) | _rates(median(ours), flops, traffic, ceilings)]
    rows[0] |= {"peak_memory_mb": memory, "recompilations": recompiled}
    forecast_ms = 1e3 * (measured_device(device, ceilings).seconds(expected.work) or 0.0)
    rows[0] |= {"forecast_ms": round(forecast_ms, 3), "forecast_memory_mb": round(expected_mb, 1)}
    if theirs:
        rows.append(_row("plain reference", theirs, batch))
        rows[0]["times_faster"] = round(median(theirs) / median(ours), 3)
    encoder: Any = trainer.method.encoder_q
    return {
        "kind": "skelbench bench",
        "what": "step",
        "device": device_name(device),
        "torch": torch.__version__,
        "settings": {
            "method": name,
            "backbone": backbone,
            "backbone_args": trainer.method.build.backbone_args,
            "parameters": sum(p.numel() for p in encoder.backbone.parameters()),
            "batch": batch,
            "frames": frames,
            "persons": persons,
            **({} if layout == LAYOUT else {"layout": layout}),
            "clips": held,
            "stage": stage,
            "threads": torch.get_num_threads(),
            **mode,
        },
        "rows": rows,
        "ceilings": ceilings,
    }


def small_sizes(name: str) -> dict[str, Any]:
    """Arguments of `bench_step` for `equal` on small open data: one person of 20 joints, one thread."""
    recipe = equal(name, "stgcn", SMALL_CLIPS, {})
    return {
        "backbone_args": recipe.backbone,
        "config": recipe.method,
        "batch": recipe.batch,
        "frames": recipe.frames,
        "persons": 1,
        "layout": "kinect20",
        "clips": SMALL_CLIPS,
        "threads": 1,
    }


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _share(steps: int, turn: int) -> int:
    return steps * (turn + 1) // ROUNDS - steps * turn // ROUNDS


def _trainer(shape: Shape, x: Tensor, device: str, folder: Path, mode: dict[str, Any]) -> Trainer:
    keep_freed_memory()
    torch.manual_seed(0)
    configuration, recipe, layout = shape.configuration, shape.recipe, shape.layout
    method = build_method(configuration, recipe, layout, shape.persons, CLASSES).to(device).train()
    label = torch.arange(len(x)) % len(CLASSES)
    names = tuple(map(str, range(len(x))))
    clips = Clips(x.to(device), label.to(device), names, label, layout, CLASSES, configuration.dataset, "")
    options = Options(device=device, compiled=mode["compiled"], recorded=mode["recorded"])
    cell = Cell(track="custom", label="bench", **configuration._asdict(), protocol=PRETRAIN, seed=0)
    return Trainer(method, clips, recipe, folder, Key(cell, "bench"), options, precision=mode["precision"])


def _epoch_of(trainer: Trainer, stage: int) -> int:
    return next(epoch for epoch in range(1, 301) if trainer.method.stage(epoch) == stage)


class _Timer:
    """Runs and times steps of a trainer, over as many epochs as needed."""

    def __init__(self, trainer: Trainer, device: str):
        self.trainer, self.device = trainer, device

    def take(self, steps: int) -> list[float]:
        """Seconds of each step: by the clock, or by CUDA events on a CUDA device."""
        run = self.trainer.run

        def step() -> None:
            if run.order is None or run.iteration >= self.trainer.iterations:
                run.order, run.iteration = self.trainer.order(run.epoch), 0
            self.trainer.take_step()
            run.iteration += 1

        return timed(step, steps, self.device)


def _work(trainer: Trainer) -> tuple[float, float]:
    """Floating-point operations, and bytes read and written, of one uncompiled step."""
    step: Any = getattr(trainer.step, "step", trainer.step)
    index = torch.arange(trainer.recipe.batch, device=trainer.clips.x.device)
    compiled, step.compiled = step.compiled, None
    with FlopCounterMode(display=False) as flops, Traffic() as traffic:
        step(index, trainer.recipe.lr, trainer.progress(), trainer.method.stage(trainer.run.epoch))
    step.compiled = compiled
    return float(flops.get_total_flops()), float(traffic.bytes)


def _row(name: str, seconds: list[float], batch: int) -> dict[str, Any]:
    typical = median(seconds)
    late = quantiles(seconds, n=10)[-1] if len(seconds) > 1 else typical
    return {
        "name": name,
        "steps": len(seconds),
        "median_ms": round(1e3 * typical, 3),
        "p90_ms": round(1e3 * late, 3),
        "clips_per_second": round(batch / typical, 2),
    }


def _rates(seconds: float, flops: float, traffic: float, ceilings: dict[str, float]) -> dict[str, float]:
    return {
        "gflop": round(flops / 1e9, 2),
        "gflops": round(flops / seconds / 1e9, 2),
        "share_of_product": round(flops / seconds / 1e9 / ceilings["product_gflops"], 3),
        "gb": round(traffic / 1e9, 3),
        "gb_per_second": round(traffic / seconds / 1e9, 2),
        "share_of_copy": round(traffic / seconds / 1e9 / ceilings["copy_gb_per_second"], 3),
    }


def _compiled_graphs() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def measurement(what: str, figures: list[Figure], settings: dict[str, Any]) -> dict[str, Any]:
    """Figures in the format that `skelbench check` compares: times and rates get a row in milliseconds."""
    each = {"s": lambda v: 1e3 * v, "ms": lambda v: v, "clips/s": lambda v: 1e3 / v, "1/s": lambda v: 1e3 / v}
    rows = [{"name": f.name, "median_ms": each[f.unit](f.value)} for f in figures if f.unit in each]
    return {
        "kind": "skelbench bench",
        "what": what,
        "device": device_name("cpu"),
        "torch": torch.__version__,
        "settings": settings,
        "rows": rows,
        "figures": [asdict(figure) for figure in figures],
    }


def device_name(device: str) -> str:
    """The name of a device; only measurements with the same name are compared."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    if device != "cpu":
        return device
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return f"{model or platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
