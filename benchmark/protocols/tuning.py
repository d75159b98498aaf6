"""End-to-end training of an encoder with a linear classifier: settings, learning rate, epochs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Generator, Tensor, nn
from torch.nn import functional

from ...config import Settings
from ...datasets.augment import basic, draw_basic
from ...datasets.clips import Clips
from ...methods.base import Method
from ...seeds import seed_of
from ..train.devices import sum_dtype

_BATCH = 256  # clips per batch when scoring


def nothing() -> None:
    """Never stop: the default of `check`."""


class TuningSettings(Settings):
    """How an encoder and its classifier are trained, by SGD on cross-entropy.

    Attributes:
        mode: "train" trains as usual; "eval" trains with the encoder in evaluation mode, so that batch norm uses
            the statistics of the pre-training without updating them, and dropout is off.
        schedule: "steps" divides the rate by ten after each epoch of `lr_steps`; "plateau" multiplies it by
            `factor` when the training loss has not fallen by a ten-thousandth for more than `patience` epochs.
        warmup: number of epochs over which the rate rises linearly.
        dropout: of the encoder during training; None: as in its pre-training.
        crop, shear: of the basic augmentation, as in a method's settings; 0 disables either.
        head: initialisation of the classifier: "released" (N(0, 0.02), biases 0), "torch" (its default) or "xavier".
        least_steps: minimum number of steps per epoch; the clips are repeated if there are too few.
        every: epochs between two evaluations; the last epoch is always evaluated.
    """

    mode: Literal["eval", "train"] = "train"
    epochs: PositiveInt = 60
    batch: PositiveInt = 64
    lr: float = Field(default=0.05, gt=0)
    schedule: Literal["steps", "plateau"] = "steps"
    lr_steps: tuple[PositiveInt, ...] = (40, 52)
    patience: int = Field(default=10, ge=0)
    factor: float = Field(default=0.1, gt=0, lt=1)
    warmup: int = Field(default=5, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0)
    nesterov: bool = True
    dropout: float | None = Field(default=None, ge=0, lt=1)
    crop: int = Field(default=0, ge=0)
    shear: float = Field(default=0.0, ge=0)
    head: Literal["released", "torch", "xavier"] = "released"
    drop_last: bool = True
    least_steps: int = Field(default=0, ge=0)
    every: PositiveInt = 5


def batch_and_clips(settings: TuningSettings, rows: int, size: int | None = None) -> tuple[int, int]:
    """Clips of a step, and of an epoch of `size` clips (None: `rows`), in a training on `rows` clips."""
    batch = min(settings.batch, rows)
    return batch, max(size or rows, settings.least_steps * batch)


def steps_of(settings: TuningSettings, batch: int, clips: int) -> int:
    """Steps of an epoch of so many clips."""
    return clips // batch if settings.drop_last else -(-clips // batch)


def smallest_batch(settings: TuningSettings, rows: int, size: int | None = None) -> int:
    """Clips of the smallest step of such a training: of the last one, unless it is left out."""
    batch, clips = batch_and_clips(settings, rows, size)
    rest = 0 if settings.drop_last else clips % batch
    return rest or batch


class Rate:
    """The learning rate of each epoch; "plateau" needs the loss of every epoch through `after`."""

    def __init__(self, settings: TuningSettings):
        self.settings = settings
        self.drops = self.waited = 0
        self.lowest = math.inf

    def at(self, epoch: int) -> float:
        """Learning rate of a 1-based epoch."""
        settings = self.settings
        risen = epoch / settings.warmup if epoch < settings.warmup else 1.0
        if settings.schedule == "plateau":
            return settings.lr * risen * settings.factor**self.drops
        return settings.lr * risen * 0.1 ** sum(epoch > step for step in settings.lr_steps)

    def after(self, loss: float) -> None:
        """Record the mean training loss of a finished epoch."""
        if loss < self.lowest * (1 - 1e-4):
            self.lowest, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > self.settings.patience:
            self.drops, self.waited = self.drops + 1, 0


class Tuner:
    """Training of an encoder and a classifier on some of the training clips.

    Args:
        method: its encoder is trained in place.
        stream: the stream to use; None: the method's stream.
        rows: (n,) the clips of `train` to train on.
        size: number of clips per epoch, repeated from `rows` if there are fewer; None: n.
        seed: of the classifier, the order, the augmentation and dropout.
        augment: draws the augmentation, on the clips' device; None: a new one, from `seed`.
    """

    def __init__(
        self,
        method: Method,
        stream: str | None,
        train: Clips,
        rows: Tensor,
        settings: TuningSettings,
        *,
        seed: int,
        size: int | None = None,
        augment: Generator | None = None,
    ):
        self.method, self.train, self.settings = method, train, settings
        self.stream = () if stream is None else (stream,)
        self.rows = rows.to(train.x.device)
        self.batch, self.size = batch_and_clips(settings, len(rows), size)
        self.order = Generator().manual_seed(seed)  # of the classifier too, as in `linear`
        new = augment or Generator(device=train.x.device)
        self.augment = new.manual_seed(seed_of(seed, "augmentation"))
        torch.manual_seed(seed_of(seed, "dropout"))
        for layer in method.modules():
            if isinstance(layer, nn.Dropout) and settings.dropout is not None:
                layer.p = settings.dropout
        with torch.no_grad():
            dim = method.eval().features(train.x[:1], *self.stream).shape[1]
        self.head = new_head(dim, train.num_classes, settings.head, self.order).to(train.x.device)
        # Parameters that the features do not depend on get no gradient, and so no update and no weight decay.
        parameters = [p for p in [*self.head.parameters(), *method.parameters()] if p.requires_grad]
        self.optimiser = torch.optim.SGD(
            parameters,
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=settings.nesterov and settings.momentum > 0,
        )

    @property
    def steps(self) -> int:
        """Number of steps per epoch."""
        return steps_of(self.settings, self.batch, self.size)

    def epoch(self, rate: float, check: Callable[[], None] = nothing) -> tuple[float, float]:
        """Train for one epoch; return the mean loss and the top-1 in percent over its training batches."""
        self.method.train(self.settings.mode == "train")
        for layer in self.method.modules():
            if isinstance(layer, nn.RNNBase) and not layer.dropout:
                layer.train()  # same output in either mode, but cuDNN computes gradients only in training mode
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        order = self.rows[(torch.randperm(self.size, generator=self.order) % len(self.rows)).to(self.rows.device)]
        losses = torch.zeros((), dtype=sum_dtype(order.device), device=order.device)
        hits = torch.zeros((), dtype=torch.int64, device=order.device)
        used = order[: self.steps * self.batch]
        for index in used.split(self.batch):
            check()
            loss, right = self.step(self.train.x[index], self.train.label[index])
            losses, hits = losses + loss * len(index), hits + right
        return (losses / len(used)).item(), 100 * hits.item() / len(used)

    def step(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Train on clips (N, C, T, V, M) and their labels (N,); return the mean loss and the number of right ones."""
        crop, shear = self.settings.crop, self.settings.shear
        if crop or shear:
            x = basic(x, draw_basic(x, crop, shear, self.augment), crop)
        logits = self.head(self.method.features(x, *self.stream))
        loss = functional.cross_entropy(logits, label)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return loss.detach(), (logits.detach().argmax(dim=1) == label).sum()

    @torch.no_grad()
    def scores(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """Class scores (N, classes) of clips (N, C, T, V, M), or of those at `rows`; eval mode, un-augmented."""
        self.method.eval()
        every = torch.arange(len(x)) if rows is None else rows
        batches = (x[index.to(x.device)] for index in every.split(_BATCH))
        return torch.cat([self.head(self.method.features(batch, *self.stream)) for batch in batches])


def new_head(dim: int, classes: int, start: str, generator: Generator) -> nn.Linear:
    """Make a linear classifier, initialised from `generator` alone."""
    head = nn.Linear(dim, classes)
    with torch.no_grad():
        head.bias.zero_()
        if start == "released":
            head.weight.copy_(torch.randn(classes, dim, generator=generator) * 0.02)
        elif start == "xavier":
            nn.init.xavier_normal_(head.weight, generator=generator)
        else:  # nn.Linear's default: uniform within 1 / sqrt(dim)
            for parameter in (head.weight, head.bias):
                parameter.uniform_(-(dim**-0.5), dim**-0.5, generator=generator)
    return head
