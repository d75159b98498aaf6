"""What an evaluation protocol is: fitted on frozen features, read at `last` and at `best`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from ...errors import SkelbenchError
from ...registry import Registry
from ..devices import precision


@dataclass(frozen=True)
class Features:
    """Frozen features of one side of a split: x (N, D) float32, label (N,), subject (N,) on the CPU."""

    x: Tensor
    label: Tensor
    subject: Tensor

    def __getitem__(self, keep: Tensor) -> Features:
        on_device = keep.to(self.x.device)
        return Features(self.x[on_device], self.label[on_device], self.subject[keep])


@dataclass(frozen=True)
class Fit:
    """A state the classifier could be read at: its training step (None: it has none), scores by evaluation set."""

    step: int | None
    scores: Mapping[str, Tensor]


class FeatureProtocol(Protocol):
    """A protocol on frozen features."""

    name: str
    version: int
    Settings: type[Any]  # a subclass of `methods.recipe.Settings`

    def fit(
        self, train: Features, sets: Mapping[str, Tensor], *, classes: int, settings: Any, seed: int
    ) -> Sequence[Fit]:
        """Fit on `train` and score each of `sets` (N', D) -> (N', classes); the last fit is the finished one."""
        ...

    def extra(self, fit: Fit, label: Tensor) -> dict[str, float]:
        """Further numbers of the finished fit, for the record."""
        ...


PROTOCOLS: Registry[FeatureProtocol] = Registry("protocol", "skelbench.protocols", home=__package__)

Selection = Literal["held_out", "published"]
RULES = {
    "held_out": "highest top-1 on the training subjects held out of a second fit ({held} of {total})",
    "published": "highest top-1 on the test set, as the released code reports",
}


@dataclass(frozen=True)
class Outcome:
    """What a protocol found for one pre-training.

    Attributes:
        scores: (N_test, classes) of the finished fit at the last epoch.
        last, best: top-1 and top-5 in percent; best also has "epoch", "step" and "rule".
        curve: a row an epoch kept: test and held-out top-1.
        extra: the protocol's further numbers.
    """

    scores: Tensor
    last: dict[str, Any]
    best: dict[str, Any]
    curve: list[dict[str, Any]]
    extra: dict[str, float]


@precision("fp32")
def run_protocol(
    protocol: FeatureProtocol,
    epochs: Mapping[int, tuple[Features, Features]],
    *,
    classes: int,
    settings: Any,
    selection: Selection,
    seed: int,
) -> Outcome:
    """Fit a protocol at every kept epoch of a pre-training and choose `best` without looking at the test set.

    Args:
        epochs: pre-training epoch -> (training features, test features), in order.
        selection: "held_out" fits a second time without some training subjects, whose accuracy chooses the
            epoch and the step; "published" lets the test set choose.

    Raises:
        SkelbenchError: if there are too few training clips to hold some out.
    """
    curve, candidates, finished = [], [], None
    total = held = 0
    for epoch, (train, test) in epochs.items():
        fits = protocol.fit(train, {"test": test.x}, classes=classes, settings=settings, seed=seed)
        row: dict[str, Any] = {"epoch": epoch, "test_top1": top(fits[-1].scores["test"], test.label, 1)}
        chooser = [top(fit.scores["test"], test.label, 1) for fit in fits]
        if selection == "held_out":
            keep = ~held_out(train.subject)
            total, held = len(torch.unique(train.subject)), len(torch.unique(train.subject[~keep]))
            rest, unseen = train[keep], train[~keep]
            if not len(rest.label):
                raise SkelbenchError(
                    f"A training side of {len(train.label)} clips is too small to hold some out, which is how "
                    "`best` is chosen; evaluate with more training clips, or with selection=published."
                )
            second = protocol.fit(rest, {"held_out": unseen.x}, classes=classes, settings=settings, seed=seed)
            chooser = [top(fit.scores["held_out"], unseen.label, 1) for fit in second]
            row["held_out_top1"] = chooser[-1]
        candidates += [(value, epoch, fit) for value, fit in zip(chooser, fits, strict=True)]
        curve.append(row)
        finished = fits[-1]
    assert finished is not None, "a pre-training keeps its last epoch"
    label = epochs[curve[-1]["epoch"]][1].label
    _, epoch, chosen = max(candidates, key=lambda candidate: candidate[0])
    best = _score(chosen.scores["test"], label) | {
        "epoch": epoch,
        "step": chosen.step,
        "rule": RULES[selection].format(held=held, total=total),
    }
    scores = finished.scores["test"]
    return Outcome(scores, _score(scores, label), best, curve, protocol.extra(finished, label))


def held_out(subject: Tensor) -> Tensor:
    """Mark the clips (N,) of every fifth training subject, or every fifth clip where there is one subject."""
    subjects = torch.unique(subject)
    if len(subjects) < 2:
        return torch.arange(len(subject)) % 5 == 0
    return torch.isin(subject, subjects[::5])


def top(scores: Tensor, label: Tensor, k: int) -> float:
    """Share of clips in percent whose label is among the k highest scores (N, classes)."""
    return (scores.topk(k, dim=1).indices == label[:, None]).any(dim=1).cpu().double().mean().item() * 100


def _score(scores: Tensor, label: Tensor) -> dict[str, Any]:
    return {"top1": top(scores, label, 1), "top5": top(scores, label, 5) if scores.shape[1] > 5 else None}
