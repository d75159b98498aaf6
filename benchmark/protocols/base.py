"""Interfaces of evaluation protocols (on frozen features, or training the encoder), and how `best` is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from ...errors import SkelbenchError
from ...registry import Registry
from ..train.devices import precision
from ..train.progress import Watcher
from .head import Head

if TYPE_CHECKING:
    from ...datasets.clips import ClipList, Clips
    from ...methods.base import Method


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
    """A state of the classifier.

    Attributes:
        step: of its training; None if it has none.
        scores: by evaluation set.
        head: the classifier itself, where it is one linear layer.
    """

    step: int | None
    scores: Mapping[str, Tensor]
    head: Head | None = field(default=None, kw_only=True)


class FeatureProtocol(Protocol):
    """A protocol on frozen features."""

    name: str
    version: int
    Settings: type[Any]  # a subclass of `methods.recipe.Settings`

    def fit(
        self, train: Features, sets: Mapping[str, Tensor], *, classes: int, settings: Any, seed: int
    ) -> Sequence[Fit]:
        """Fit on `train` and score each of `sets` (N', D) -> (N', classes); the last fit is the final one."""
        ...

    def extra(self, fit: Fit, label: Tensor) -> dict[str, float]:
        """Additional values of the final fit, for the record."""
        ...


@runtime_checkable
class TuningProtocol(Protocol):
    """A protocol that trains the encoder, starting from the last epoch of a pre-training."""

    name: str
    version: int
    Settings: type[Any]  # a subclass of `methods.recipe.Settings`

    def tune(
        self,
        method: Method,
        train: Clips,
        test: Clips,
        *,
        stream: str | None,
        settings: Any,
        selection: Selection,
        seed: int,
        watcher: Watcher,
        check: Callable[[], None],
    ) -> Outcome:
        """Train the encoder of `method` in place and score the test clips.

        Args:
            method: a new instance with the pre-trained weights, on the clips' device.
            stream: the stream to evaluate if the method was trained on several; None: the method's stream.
            seed: of the classifier's weights, the order, the augmentation and dropout.
            check: called before every step; it raises if the run is asked to stop.
        """
        ...


@runtime_checkable
class EpisodeProtocol(Protocol):
    """A protocol on frozen features that is not fitted with `fit`: one that draws episodes, or trains nothing."""

    name: str
    version: int
    Settings: type[Any]  # a subclass of `methods.recipe.Settings`

    def measure(
        self,
        epochs: Mapping[int, tuple[Features, Features]],
        *,
        classes: int,
        settings: Any,
        selection: Selection,
        seed: int,
    ) -> Outcome:
        """Do everything that `run_protocol` does; the outcome may have no scores."""
        ...


@runtime_checkable
class ChecksClips(Protocol):
    """A protocol that says what it can know from the list of clips alone; a plan asks it before anything runs."""

    def check_clips(self, train: ClipList, test: ClipList, *, settings: Any, selection: Selection) -> Sequence[str]:
        """Sentences that the user should know.

        Raises:
            SkelbenchError: if the protocol cannot be run on these clips with these settings.
        """
        ...


@runtime_checkable
class TrainsInBatches(Protocol):
    """A protocol that trains the encoder and knows its batches; a plan asks it before anything runs."""

    def smallest_batch(self, train: ClipList, *, settings: Any, selection: Selection) -> int | None:
        """Fewest clips of a step with the encoder in training mode; None if it trains in evaluation mode."""
        ...


@dataclass(frozen=True)
class Training:
    """What one training of a protocol takes: clips of a batch, steps in all, and clips that are scored in all."""

    batch: int
    steps: int
    scored: int


@runtime_checkable
class KnowsItsTrainings(Protocol):
    """A protocol that trains the encoder by `tuning.Tuner` and knows how long, which a forecast asks it."""

    def trainings(self, train: ClipList, test: int, *, settings: Any, selection: Selection) -> Sequence[Training]:
        """Each training on these clips; `test` is the number of test clips."""
        ...


AnyProtocol = FeatureProtocol | TuningProtocol | EpisodeProtocol
PROTOCOLS: Registry[AnyProtocol] = Registry("protocol", "skelbench.protocols", home=__package__)

Selection = Literal["held_out", "published"]
RULES = {
    "held_out": "highest top-1 on the training subjects held out of a second fit ({held} of {total})",
    "published": "highest top-1 on the test set, as the released code reports",
}
ONE_SUBJECT = (
    "highest top-1 on every fifth training clip, held out of a second fit; no subject could be held out, because all "
    "training clips are of one"
)


@dataclass(frozen=True)
class Outcome:
    """Result of a protocol for one pre-training.

    Attributes:
        scores: (N_test, classes) of the final fit at the last epoch; empty if clips have no scores.
        last, best: top-1 and top-5 in percent; best also has "epoch", "step" and "rule".
        curve: a row per saved epoch: test and held-out top-1.
        extra: additional values of the protocol.
        data: facts about the clips used, for the record's `data`.
        files: contents of files to write next to the record, by file name.
        notes: messages to show to the user.
        fit: the final fit at the last epoch, for the protocol's own files and its classifier.
        all_clips: whether the scores are those of the training clips, followed by those of the test clips.
    """

    scores: Tensor
    last: dict[str, Any]
    best: dict[str, Any]
    curve: list[dict[str, Any]]
    extra: dict[str, float]
    data: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    fit: Fit | None = None
    all_clips: bool = False


@precision("fp32")
def run_protocol(
    protocol: AnyProtocol,
    epochs: Mapping[int, tuple[Features, Features]],
    *,
    classes: int,
    settings: Any,
    selection: Selection,
    seed: int,
) -> Outcome:
    """Fit a protocol at every saved epoch of a pre-training and choose `best` without using the test set.

    Args:
        epochs: pre-training epoch -> (training features, test features), in order.
        selection: "held_out" fits a second time without some training subjects, whose accuracy chooses the
            epoch and the step; "published" chooses by the test set.

    Raises:
        SkelbenchError: if there are too few training clips to hold some out, or if the protocol trains the encoder.
    """
    if isinstance(protocol, TuningProtocol):
        raise SkelbenchError(
            f"'{protocol.name}' trains the encoder, so frozen features are not enough for it; use `skelbench run` with "
            f"--protocol {protocol.name}."
        )
    if isinstance(protocol, EpisodeProtocol):
        return protocol.measure(epochs, classes=classes, settings=settings, selection=selection, seed=seed)
    curve, candidates, finished = [], [], None
    total = held = 0
    for epoch, (train, test) in epochs.items():
        fits = protocol.fit(train, {"test": test.x}, classes=classes, settings=settings, seed=seed)
        row: dict[str, Any] = {"epoch": epoch, "test_top1": top(fits[-1].scores["test"], test.label, 1)}
        criterion = [top(fit.scores["test"], test.label, 1) for fit in fits]
        if selection == "held_out":
            keep = ~held_out(train.subject)
            total, held = len(torch.unique(train.subject)), len(torch.unique(train.subject[~keep]))
            rest, unseen = train[keep], train[~keep]
            check_held_out(len(rest.label), len(train.label))
            second = protocol.fit(rest, {"held_out": unseen.x}, classes=classes, settings=settings, seed=seed)
            criterion = [top(fit.scores["held_out"], unseen.label, 1) for fit in second]
            row["held_out_top1"] = criterion[-1]
        candidates += [(value, epoch, fit) for value, fit in zip(criterion, fits, strict=True)]
        curve.append(row)
        finished = fits[-1]
    assert finished is not None, "a pre-training saves its last epoch"
    label = epochs[curve[-1]["epoch"]][1].label
    _, epoch, chosen = max(candidates, key=lambda candidate: candidate[0])
    best = score(chosen.scores["test"], label) | {
        "epoch": epoch,
        "step": chosen.step,
        "rule": rule_text(selection, held, total),
    }
    scores = finished.scores["test"]
    return Outcome(scores, score(scores, label), best, curve, protocol.extra(finished, label), fit=finished)


def check_clips(
    protocol: AnyProtocol, train: ClipList, test: ClipList, *, settings: Any, selection: Selection
) -> Sequence[str]:
    """What is known of a protocol from the clips alone, before any feature: sentences that the user should know.

    Raises:
        SkelbenchError: if it cannot be run on these clips with these settings.
    """
    if selection == "held_out" and not isinstance(protocol, TuningProtocol | EpisodeProtocol):
        count_trained_on(train.subject, selection)
    if not isinstance(protocol, ChecksClips):
        return ()
    return protocol.check_clips(train, test, settings=settings, selection=selection)


def count_trained_on(subject: Tensor, selection: Selection) -> tuple[int, ...]:
    """Number of clips of each fit on clips of these subjects (n,): all of them, then those that are not held out.

    Raises:
        SkelbenchError: if there are too few to hold some out.
    """
    if selection == "published":
        return (len(subject),)
    rest = int((~held_out(subject)).sum())
    check_held_out(rest, len(subject))
    return len(subject), rest


def run_tuning(protocol: TuningProtocol, method: Method, train: Clips, test: Clips, **how: Any) -> Outcome:
    """Run a protocol that trains the encoder, in fp32, and restore the global random state afterwards.

    Dropout uses the global generators. `how` holds the other arguments of `TuningProtocol.tune`.
    """
    devices = [train.x.device] if train.x.device.type == "cuda" else []
    with precision("fp32"), torch.random.fork_rng(devices=devices):
        return protocol.tune(method, train, test, **how)


def rule_text(selection: Selection, held: int, total: int) -> str:
    """How `best` is chosen, with the numbers of training subjects that are held out and of all."""
    return ONE_SUBJECT if selection == "held_out" and total == 1 else RULES[selection].format(held=held, total=total)


def check_held_out(rest: int, total: int) -> None:
    """Raise a `SkelbenchError` if no clip of `total` is left to train on once some are held out."""
    if not rest:
        raise SkelbenchError(
            f"A training side of {total} clips is too small to hold some out, which is how `best` is chosen; evaluate "
            "with more training clips, or with selection=published."
        )


def held_out(subject: Tensor) -> Tensor:
    """Mask (N,) of the clips of every fifth training subject, or of every fifth clip if there is only one subject."""
    subjects = torch.unique(subject)
    if len(subjects) < 2:
        return torch.arange(len(subject)) % 5 == 0
    return torch.isin(subject, subjects[::5])


def top(scores: Tensor, label: Tensor, k: int) -> float:
    """Top-k accuracy in percent of scores (N, classes).

    Classes are ranked by score, equal scores by the order of the classes. The lowest score, if several classes share
    it, is no score of their own, such as that of classes without a vote: below the first rank they count as wrong.
    """
    own = scores.gather(1, label[:, None])
    equal = scores == own
    earlier = equal & (torch.arange(scores.shape[1], device=scores.device) < label[:, None])
    rank = ((scores > own) | earlier).sum(dim=1)
    shared = (own <= scores).all(dim=1) & (equal.sum(dim=1) > 1)
    right = (rank == 0) | ((rank < k) & ~shared)
    return (right & ~own[:, 0].isnan()).cpu().double().mean().item() * 100


def has_logits(protocol: AnyProtocol) -> bool:
    """Whether the softmax of a protocol's scores are probabilities: it says so with `logits = True`."""
    return bool(getattr(protocol, "logits", False))


def class_numbers(scores: Tensor, label: Tensor) -> dict[str, float]:
    """Mean top-1 over the classes that have clips, and the share of the largest class, both in percent.

    The first is what top-1 would be if all classes were equally frequent, the second that of always naming one class.
    """
    first = scores.double().cpu().numpy().argmax(axis=1)  # the first of equal ones, as `top` ranks them
    right, of = torch.from_numpy(first) == label.cpu(), label.cpu()
    shares = [right[of == value].double().mean().item() for value in of.unique()]
    return {
        "mean_class_top1": 100 * sum(shares) / len(shares),
        "largest_class": 100 * of.bincount().max().item() / len(of),
    }


def score(scores: Tensor, label: Tensor) -> dict[str, Any]:
    """Top-1 and top-5 in percent of scores (N, classes); top-5 is None at five classes or fewer."""
    return {"top1": top(scores, label, 1), "top5": top(scores, label, 5) if scores.shape[1] > 5 else None}
