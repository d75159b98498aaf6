"""The trainer: data resident on the device, one step function, and checkpoints of the complete state."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from ... import distributed
from ...datasets.clips import Clips
from ...errors import SkelbenchError
from ...methods import Method, Progress
from ...methods.recipe import Recipe
from ...results.record import ENCODER, Key
from ...seeds import seed_of
from .checkpoint import (
    load_checkpoint,
    previous,
    random_states,
    save_checkpoint,
    set_random_states,
    write_tensors,
)
from .devices import precision, sum_dtype
from .options import Options, StoppedError
from .step import RecordedStep, Step, cuda_graph

FORMAT = 3  # of a checkpoint: 1 held the random states of every CUDA device, 2 those of one process
CHECKPOINT = "checkpoint.pt"
AGREE = 16  # steps between two synchronisations of the ranks, which wait for the slowest


@dataclass
class Run:
    """State of a pre-training run; all of it is saved in the checkpoint.

    `order` is the epoch's permutation; `generator` draws it and the augmentations. Dropout uses the global
    generators, whose states are saved too.
    """

    generator: Generator
    epoch: int = 1
    iteration: int = 0
    order: Tensor | None = None
    sums: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    curve: list[dict[str, Any]] = field(default_factory=list)


class Trainer:
    """Pre-train a method on the clips of a device.

    Args:
        method: on the device of `clips`, initialised.
        clips: the training clips.
        recipe: epochs, batch, optimiser.
        folder: where `checkpoint.pt` and the snapshots are written.
        key: of the cell. Its seed is that of the order, the augmentations and dropout; a checkpoint with another
            identity is rejected.
        options: how to run; the device is that of `clips`.
        precision: "fp32", "tf32" or "bf16".
        lost: set when another process has taken over the cell, which stops the training like `options.stop`.
    """

    def __init__(
        self,
        method: Method,
        clips: Clips,
        recipe: Recipe,
        folder: Path,
        key: Key,
        options: Options,
        *,
        precision: str = "fp32",
        lost: threading.Event | None = None,
    ):
        self.method, self.clips, self.recipe, self.folder = method, clips, recipe, folder
        self.key, self.options = key, options
        self.precision = precision
        self.stops = [event for event in (options.stop, lost) if event is not None]
        self.iterations = len(clips) // recipe.batch
        self.run = Run(Generator(device=clips.x.device).manual_seed(self._seed("augmentation")))
        self._losses = torch.zeros(self.iterations, device=clips.x.device)  # of the epoch's steps in this process
        step = Step(method, clips, recipe, self.run.generator, precision=precision, compiled=options.compiled)
        self.optimiser = step.optimiser
        self.step = RecordedStep(step, recipe.batch, cuda_graph) if options.recorded else step

    @property
    def checkpoint(self) -> Path:
        """The file a run resumes from."""
        return self.folder / CHECKPOINT

    def train(self) -> list[dict[str, Any]]:
        """Train to the last epoch, from the checkpoint if there is one; return the learning curve.

        Raises:
            StoppedError: if asked to stop; the checkpoint is written.
            SkelbenchError: if the loss is NaN or infinite.
        """
        if not self.resume():
            torch.manual_seed(self._seed("dropout"))
        self.method.train()
        run, recipe = self.run, self.recipe
        saved = time.monotonic()
        watching = self.options.watcher.training(recipe.epochs, self.iterations, recipe.batch)
        with precision(self.precision), watching as watch:
            while run.epoch <= recipe.epochs:
                if run.order is None:
                    run.order = self.order(run.epoch)
                started = time.monotonic()
                while run.iteration < self.iterations:
                    self.take_step()
                    run.iteration += 1
                    watch(run.epoch, run.iteration)
                    stopped = self._agreed(any(event.is_set() for event in self.stops))
                    if stopped or self._agreed(time.monotonic() - saved >= self.options.checkpoint_seconds):
                        run.seconds, started = run.seconds + time.monotonic() - started, time.monotonic()
                        self._check_numbers()
                        self.save()
                        saved = time.monotonic()
                    if stopped:
                        raise StoppedError
                run.seconds += time.monotonic() - started
                self._end_epoch()
                if run.epoch > recipe.epochs:
                    self.save()
        return run.curve

    def _seed(self, purpose: str) -> int:
        """The seed of a stream of random numbers of its own for each rank."""
        return seed_of(self.key.cell.seed, purpose, distributed.rank())

    def order(self, epoch: int) -> Tensor:
        """The order of the clips in an epoch: equal for all methods with this seed, and on all ranks and devices."""
        generator = Generator().manual_seed(seed_of(self.key.cell.seed, f"order {epoch}"))
        return torch.randperm(len(self.clips), generator=generator).to(self.clips.x.device)

    def save(self) -> None:
        """Write the checkpoint; all ranks call it together and the first writes."""
        state = self.state_dict()
        if distributed.rank() == 0:
            save_checkpoint(self.checkpoint, state)

    def resume(self) -> bool:
        """Load the checkpoint; False if there is none. Raises as `load_checkpoint` and `load_state_dict`."""
        state = load_checkpoint(self.checkpoint, self.clips.x.device, self.options.watcher.say)
        if state is not None:
            self.load_state_dict(state)
        return state is not None

    def state_dict(self) -> dict[str, Any]:
        """The complete state needed to resume the run bit for bit.

        All ranks call it together: they differ only in their random states, which are gathered on every rank.
        """
        run, device = self.run, self.clips.x.device
        random = [distributed.from_all_ranks(state) for state in random_states(device)]
        return {
            "format": FORMAT,
            "identity": self.key.identity,
            "method": self.method.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epoch": run.epoch,
            "iteration": run.iteration,
            "order": run.order,
            "sums": {name: distributed.all_mean(total) for name, total in run.sums.items()},
            "seconds": run.seconds,
            "curve": run.curve,
            "generator": distributed.from_all_ranks(run.generator.get_state()),
            "device": device.type,
            "random": [list(states) for states in zip(*random, strict=True)],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state returned by `state_dict`.

        Raises:
            SkelbenchError: if the state belongs to another cell or format, or comes from another device type (which
                draws other random numbers) or another number of ranks.
        """
        if state.get("format") != FORMAT or state.get("identity") != self.key.identity:
            raise SkelbenchError(
                f"{self.checkpoint} belongs to another cell or version; run with --force to start over."
            )
        device = self.clips.x.device
        if state["device"] != device.type:
            raise SkelbenchError(
                f"{self.checkpoint} was written on the device type '{state['device']}' and cannot be resumed on "
                f"'{device.type}', which draws other random numbers; run with --device {state['device']}, or with "
                "--force to start over."
            )
        if len(state["generator"]) != distributed.world_size():
            raise SkelbenchError(
                f"{self.checkpoint} was written by {len(state['generator'])} processes and cannot be resumed by "
                f"{distributed.world_size()}; start as many, or run with --force to start over."
            )
        self.method.load_state_dict(state["method"])
        self.optimiser.load_state_dict(state["optimiser"])
        if isinstance(self.step, RecordedStep):
            self.step.forget()
        run = self.run
        run.epoch, run.iteration, run.order = state["epoch"], state["iteration"], state["order"]
        run.sums, run.seconds, run.curve = state["sums"], state["seconds"], state["curve"]
        run.generator.set_state(state["generator"][distributed.rank()].cpu())
        set_random_states(device, [saved.cpu() for saved in state["random"][distributed.rank()]])

    def learning_rate(self, epoch: int, iteration: int) -> float:
        """Learning rate of a step (1-based epoch, 0-based iteration): linear warm-up, tenfold drops at `lr_steps`."""
        recipe, step = self.recipe, (epoch - 1) * self.iterations + iteration + 1
        risen = min(1.0, step / recipe.warmup) if recipe.warmup else 1.0
        return recipe.lr * risen * 0.1 ** sum(epoch > end for end in recipe.lr_steps)

    def progress(self) -> Progress:
        """The current position in training, as passed to methods."""
        return Progress(self.run.epoch, self.run.iteration, self.iterations, self.recipe.epochs)

    def take_step(self) -> None:
        """Train on the next batch of the epoch."""
        run, batch = self.run, self.recipe.batch
        assert run.order is not None
        index = run.order[run.iteration * batch : (run.iteration + 1) * batch]
        rate = self.learning_rate(run.epoch, run.iteration)
        losses = self.step(distributed.share(index), rate, self.progress(), self.method.stage(run.epoch))
        for name, value in losses.items():  # on the device: read once an epoch
            total = run.sums.setdefault(name, torch.zeros((), dtype=sum_dtype(value.device), device=value.device))
            total += value
        self._losses[run.iteration] = losses["loss"]

    def _agreed(self, wanted: bool) -> bool:
        """Whether any rank wants it; ranks synchronise in every `AGREE`th step and in the last of an epoch."""
        if distributed.world_size() > 1 and self.run.iteration % AGREE and self.run.iteration < self.iterations:
            return False
        return distributed.any_rank(wanted)

    def _check_numbers(self) -> None:
        """Raise `SkelbenchError` if a loss or the state is NaN or infinite; the last good checkpoint is kept."""
        step = self.run.iteration
        broken = (~distributed.all_mean(self._losses)[:step].isfinite()).nonzero()
        if len(broken):
            step = int(broken[0]) + 1
        state = (value for value in self.method.state_dict().values() if value.is_floating_point())
        if not len(broken) and bool(torch.stack([value.isfinite().all() for value in state]).all()):
            return
        kept = "the last good checkpoint is kept" if self.checkpoint.exists() else "no checkpoint was written yet"
        raise SkelbenchError(
            f"The loss is NaN or infinite in epoch {self.run.epoch}, step {step} of {self.iterations}; {kept}: set a "
            "smaller lr or look for extreme coordinates in the data."
        )

    def _end_epoch(self) -> None:
        run, recipe = self.run, self.recipe
        self._check_numbers()
        losses = {name: (distributed.all_mean(total) / self.iterations).item() for name, total in run.sums.items()}
        clips_per_second = self.iterations * recipe.batch / max(run.seconds, 1e-9)
        row = {
            "epoch": run.epoch,
            **losses,
            "lr": self.learning_rate(run.epoch, self.iterations - 1),
            "seconds": run.seconds,
            "clips_per_second": clips_per_second,
        }
        run.curve.append({name: round(v, 6) if isinstance(v, float) else v for name, v in row.items()})
        self.options.watcher.epoch(run.curve[-1])
        if run.epoch in recipe.snapshots or run.epoch == recipe.epochs:
            save_snapshot(self.method, self.folder, run.epoch)
        run.epoch, run.iteration, run.order, run.sums, run.seconds = run.epoch + 1, 0, None, {}, 0.0


def forget_previous(folder: Path) -> None:
    """Remove the previous checkpoint of a run that is finished or begins anew."""
    previous(folder / CHECKPOINT).unlink(missing_ok=True)


def snapshot_path(folder: Path, epoch: int) -> Path:
    """Path of the encoder saved after an epoch."""
    return folder / ENCODER.format(epoch=epoch)


def save_snapshot(method: Method, folder: Path, epoch: int) -> None:
    """Save what evaluation needs of a method after an epoch; only the first rank writes."""
    if distributed.rank() == 0:
        write_tensors(snapshot_path(folder, epoch), method.evaluation_state())
