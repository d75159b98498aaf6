"""Linear evaluation: a softmax regression on frozen features.

The encoder is in evaluation mode and nothing is augmented, so its features are constant: they are computed once, and
a regression trained on them takes the same steps as one trained through the encoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from pydantic import Field, PositiveInt
from torch import Generator, Tensor
from torch.nn import functional

from ...config import Settings
from ...deviation import Deviation
from ...errors import SkelbenchError
from ..train.devices import as_double
from .base import PROTOCOLS, Features, Fit
from .head import Head

RELATIVE_EPSILON = 1e-3


class LinearSettings(Settings):
    """A softmax regression on frozen features, by SGD; the learning rate drops tenfold after each of `lr_steps`."""

    epochs: PositiveInt = 100
    batch: PositiveInt = 128
    lr: float = Field(default=3.0, gt=0)
    lr_steps: tuple[PositiveInt, ...] = (80,)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    standardise: bool = False
    drop_last: bool = True
    every: PositiveInt = 5


def standardiser(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and scale (D,) of features (N, D): the standard deviation plus a thousandth of the average one.

    The epsilon is relative because the scale of an untrained encoder's features is arbitrary; an absolute one
    would determine its accuracy.
    """
    x = as_double(x)
    std = x.std(dim=0, unbiased=False)
    scale = std + RELATIVE_EPSILON * std.mean()
    return x.mean(dim=0), torch.where(scale > 0, scale, 1.0)


def standardised(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Features (N, D) float32 on their device, standardised in float64."""
    return ((x.to(mean.device) - mean) / scale).float().to(x.device)


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """Use one thread on the CPU: a step of the regression is too small for several, which would only wait."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Linear:
    """The protocol: SGD on cross-entropy, weights starting at N(0, 0.02), biases at 0."""

    name = "linear"
    Settings = LinearSettings
    version = 2  # 1: equal scores were ranked in no defined order
    logits = True
    deviations = (
        Deviation(
            "number shown",
            "accuracy",
            "the best of the evaluations every five epochs, on the test set",
            "after the last epoch; `best` is shown next to it, by the test set only in published and labelled so",
        ),
        Deviation(
            "scale of the features",
            "not mentioned",
            "as they are",
            "standardised by the training clips in equal (`linear.standardise`), as they are in published",
            effect="an untrained encoder gets 0 to 15 % or 23 to 55 % on NW-UCLA by seed and initialisation without it",
        ),
        Deviation(
            "fusion of streams",
            "scores are added",
            "weights are chosen on the test set in HiCLR and SkeAttnCLR",
            "weights fixed in advance (the stream 3s); a choice on the test set only as `best` in published",
        ),
    )

    def fit(
        self, train: Features, sets: Mapping[str, Tensor], *, classes: int, settings: LinearSettings, seed: int
    ) -> list[Fit]:
        """Train and score every set after each `every` epochs and at the end."""
        with _one_thread(train.x.device):
            return self._fit(train, sets, classes, settings, seed)

    def _fit(
        self, train: Features, sets: Mapping[str, Tensor], classes: int, settings: LinearSettings, seed: int
    ) -> list[Fit]:
        n, dim = train.x.shape
        batch = min(settings.batch, n)
        device = train.x.device
        generator = Generator().manual_seed(seed)
        weight = (torch.randn(classes, dim, generator=generator) * 0.02).to(device).requires_grad_()
        bias = torch.zeros(classes, device=device, requires_grad=True)
        x, sets = train.x, dict(sets)
        mean = scale = None
        if settings.standardise:
            mean, scale = standardiser(x)
            x = standardised(x, mean, scale)
            sets = {name: standardised(rows, mean, scale) for name, rows in sets.items()}
        optimiser = torch.optim.SGD(
            [weight, bias], lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
        )
        fits = []
        for epoch in range(1, settings.epochs + 1):
            rate = settings.lr * 0.1 ** sum(epoch > step for step in settings.lr_steps)
            for group in optimiser.param_groups:
                group["lr"] = rate
            order = torch.randperm(n, generator=generator).to(device)
            end = n // batch * batch if settings.drop_last else n
            shuffled, label = x[order], train.label[order]  # a gather per step would take an eighth of the time
            for start in range(0, end, batch):
                rows = slice(start, start + batch)
                loss = functional.cross_entropy(shuffled[rows] @ weight.T + bias, label[rows])
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
            if epoch % settings.every == 0 or epoch == settings.epochs:
                with torch.no_grad():
                    scores = {name: rows @ weight.T + bias for name, rows in sets.items()}
                    head = Head(weight.detach().clone(), bias.detach().clone(), mean, scale)
                    fits.append(Fit(epoch, scores, head=head))
        if not bool(torch.isfinite(weight).all()):
            raise SkelbenchError(
                f"The linear evaluation diverged at a learning rate of {settings.lr}; set a smaller linear.lr."
            )
        return fits

    def extra(self, fit: Fit, label: Tensor) -> dict[str, float]:
        """No additional values."""
        return {}


PROTOCOLS.add("linear", Linear())
