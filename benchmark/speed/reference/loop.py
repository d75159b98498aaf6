"""The plain reference in a separate process, with the loader, model and memory that the released code has."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ....datasets.augment import draw_mix
from ....datasets.augment.extreme import mirror_index
from ....methods import Method, Progress, create_method
from .augment import draw_clip, view_clip
from .step import plain_copy

WORKERS = 4  # of the loader, if the model is on a GPU
LONG = 10_000  # nominal number of clips per epoch


class Views(Dataset):
    """The views of each clip, drawn and computed on access."""

    def __init__(self, clips: np.ndarray, method: Any):
        self.clips, self.config, self.names = clips, method.config, method.view_names
        self.mirrored = mirror_index(method.build.layout)

    def __len__(self) -> int:
        return LONG

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        clip, rng = self.clips[i % len(self.clips)], np.random.default_rng(i)
        ratio, amplitude = self.config.crop, self.config.shear
        drawn = {name: draw_clip(clip, ratio, amplitude, name == "query_extreme", rng) for name in self.names}
        return {name: view_clip(clip, drawn[name], ratio, self.mirrored).astype(np.float32) for name in self.names}


def plain_steps(
    name: str, sizes: dict[str, Any], clips: np.ndarray, batch: int, device: str, threads: int | None = None
) -> Iterator[float]:
    """Train step by step on clips (n, C, T, V, M); yield the seconds of each."""
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    method = create_method(name, **sizes).to(device)
    model = plain_copy(name, method).train()
    optimiser = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad], 0.01, momentum=0.9, weight_decay=1e-4, foreach=False
    )
    workers = WORKERS if device.startswith("cuda") else 0
    loader = DataLoader(Views(clips, method), batch, shuffle=True, drop_last=True, num_workers=workers)
    generator = torch.Generator().manual_seed(0)
    started = time.perf_counter()
    for i, views in enumerate(loader):
        draws = _mixing(method, batch, generator, device)
        loss = model({name: view.to(device) for name, view in views.items()}, draws)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        model.after_step(Progress(1, i, len(loader), 300))  # type: ignore[operator]
        loss.item()
        yield time.perf_counter() - started
        started = time.perf_counter()


def _mixing(method: Method, batch: int, generator: torch.Generator, device: str) -> dict[str, Tensor]:
    config: Any = method.config
    if not hasattr(config, "window"):
        return {}
    build = method.build
    drawn = draw_mix(batch, build.num_frames, build.layout, config.parts, config.window, 1, generator)
    return {name: value.to(device) for name, value in drawn.items()}


class PlainProcess:
    """Runs steps of the plain reference on request, in a separate process."""

    def __init__(
        self,
        name: str,
        sizes: dict[str, Any],
        clips: np.ndarray,
        batch: int,
        device: str,
        threads: int | None = None,
    ):
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(other, name, sizes, clips, batch, device, threads), daemon=False
        )
        self.process.start()
        other.close()

    def take(self, steps: int) -> list[float]:
        """Run further steps; return the seconds of each."""
        self.connection.send(steps)
        return self.connection.recv()

    def close(self) -> None:
        """End the process."""
        self.connection.send(0)
        self.process.join()


def _serve(connection: Connection, *settings: Any) -> None:
    steps = plain_steps(*settings)
    while wanted := connection.recv():
        connection.send([next(steps) for _ in range(wanted)])
