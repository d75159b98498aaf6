"""k-nearest-neighbour evaluation: no training, cosine similarity, weighted votes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional

from ...config import Settings
from ...datasets.clips import ClipList
from ...deviation import Deviation
from .base import PROTOCOLS, Features, Fit, Selection, count_trained_on, top
from .collapse import effective_rank, mean_cosine
from .neighbours import neighbours
from .retrieval import mean_average_precision, nearest_csv

_LARGEST = 80  # exp(88.7) is float32's largest number, in which scores are stored
_SHOWN = 5  # nearest clips stored for inspection


class KnnSettings(Settings):
    """k-nearest-neighbour voting: tables show `k`; the values of `also` are recorded with it.

    Of a bank smaller than k, all clips vote; a plan and the record say so. `map` adds the mean average precision of
    retrieval, which sorts the entire bank for every query and so takes twice as long as the votes. `feature` is what
    is compared: the pooled features of the backbone, or the embedding of head and predictor as in the released code's
    monitors.
    """

    feature: Literal["pooled", "embedding"] = "pooled"
    k: PositiveInt = 10
    also: tuple[PositiveInt, ...] = (1, 5, 20, 40)
    temperature: float = Field(default=0.1, gt=0)
    map: bool = False


@dataclass(frozen=True)
class KnnFit(Fit):
    """Votes and other results of the neighbour search.

    Attributes:
        nearest: by set, (N', 5) indices into the bank, nearest first.
        retrieval: computes the mean average precision in percent of the test set with labels (N',); None: disabled.
        collapse: mean cosine between different clips of the bank and its effective rank.
        bank: number of clips of the bank, if a k is larger.
    """

    nearest: Mapping[str, Tensor]
    collapse: Mapping[str, float]
    retrieval: Callable[[Tensor], float | None] | None = None
    bank: int | None = None


def vote(bank: Tensor, label: Tensor, queries: Tensor, *, k: int, temperature: float, classes: int) -> Tensor:
    """Class scores (N', classes) of queries (N', D) from the k nearest of bank (N, D).

    score[c] = Σ over the k nearest of exp(cos/t)·1[label = c], in float64; features are L2-normalised here. All of a
    bank smaller than k votes. Source: SkeleMixCLR@4538d6c and SkeAttnCLR@e3f05c6, which agree. If t is so low that
    the votes would overflow, each query's votes are divided by the largest, which does not change their order.
    """
    return votes(bank, label, queries, ks=(k,), temperature=temperature, classes=classes)[0][k]


def votes(
    bank: Tensor, label: Tensor, queries: Tensor, *, ks: tuple[int, ...], temperature: float, classes: int
) -> tuple[dict[int, Tensor], Tensor]:
    """`vote` for several k with one search for the largest, and the indices (N', 5) of the nearest bank clips."""
    one_hot = functional.one_hot(label, classes)
    scores: dict[int, list[Tensor]] = {k: [] for k in ks}
    shown = []
    for similarity, nearest in neighbours(bank, queries, max(*ks, _SHOWN)):
        shown.append(nearest[:, :_SHOWN])
        for k, rows in scores.items():
            weight = _weight(similarity[:, :k], temperature)
            rows.append((weight[:, :, None] * one_hot[nearest[:, :k]]).sum(dim=1))
    return {k: torch.cat(rows) for k, rows in scores.items()}, torch.cat(shown)


def _weight(similarity: Tensor, temperature: float) -> Tensor:
    """exp(cos/t) of the nearest (n, k), divided by each row's first, the largest, if the sum could overflow."""
    if 1 / temperature + math.log(similarity.shape[1]) > _LARGEST:
        similarity = similarity - similarity[:, :1]
    return (similarity / temperature).exp()


class Knn:
    """The protocol: un-augmented, eval-mode, pooled backbone features."""

    name = "knn"
    Settings = KnnSettings
    version = 2  # 1: cosines in float32
    deviations = (
        Deviation(
            "features",
            "of the encoder",
            "output of the head in SkeleMixCLR, of a predictor that still is in training mode in SkeAttnCLR, where a "
            "clip's feature depends on its batch",
            "pooled features of the backbone in evaluation mode, as in linear (`knn.feature=embedding`: output of the "
            "head, of the predictor where there is one, in evaluation mode)",
        ),
        Deviation(
            "clips",
            "not mentioned",
            "cropped and sheared, bank and test",
            "un-augmented",
        ),
        Deviation(
            "number shown",
            "accuracy",
            "the best over all evaluations during pre-training, on the test set",
            "at the end; `best` is shown next to it, chosen on held-out training subjects",
        ),
    )

    def fit(
        self, train: Features, sets: Mapping[str, Tensor], *, classes: int, settings: KnnSettings, seed: int
    ) -> list[Fit]:
        """Score every set with the main k, and as `set@k` with the other values of k."""
        ks = tuple(dict.fromkeys((settings.k, *settings.also)))
        scores, nearest = {}, {}
        for name, queries in sets.items():
            of_k, nearest[name] = votes(
                train.x, train.label, queries, ks=ks, temperature=settings.temperature, classes=classes
            )
            scores |= {name if k == settings.k else f"{name}@{k}": score for k, score in of_k.items()}
        retrieval = None
        if settings.map and "test" in sets:
            retrieval = partial(mean_average_precision, train.x, train.label, sets["test"])
        collapse = {"mean_cosine": mean_cosine(train.x), "effective_rank": effective_rank(train.x)}
        bank = len(train.x) if max(ks) > len(train.x) else None
        return [KnnFit(None, scores, nearest, collapse, retrieval, bank)]

    def check_clips(self, train: ClipList, test: ClipList, *, settings: KnnSettings, selection: Selection) -> list[str]:
        """Say which k are larger than the bank, and which test clips retrieval leaves out."""
        notes = []
        bank, *rest = count_trained_on(train.subject, selection)
        larger = sorted(k for k in {settings.k, *settings.also} if k > bank)
        if larger:
            notes.append(f"k = {', '.join(map(str, larger))}: there are {bank} training clips, and all of them vote")
        if rest and rest[0] < settings.k <= bank:
            notes.append(f"k = {settings.k}: `best` is chosen with {rest[0]} training clips, and all of them vote")
        missing = ~torch.isin(test.label, train.label)
        if settings.map and missing.any():
            notes.append(f"{int(missing.sum())} test clips are not in map: no training clip is of their class")
        return notes

    def extra(self, fit: Fit, label: Tensor) -> dict[str, float]:
        """top-1 for the other k, as top1_k<k>; the collapse of the bank; "map" of retrieval, if enabled.

        "bank" is the number of training clips, if a k is larger: that many voted.
        """
        numbers = {
            f"top1_k{name.split('@')[1]}": top(scores, label, 1) for name, scores in fit.scores.items() if "@" in name
        }
        if isinstance(fit, KnnFit):
            numbers |= fit.collapse
            value = fit.retrieval(label) if fit.retrieval is not None else None
            numbers |= {} if value is None else {"map": value}
            numbers |= {} if fit.bank is None else {"bank": float(fit.bank)}
        return numbers

    def files(self, fit: Fit, bank: Sequence[str], names: Sequence[str]) -> dict[str, str]:
        """Files to write next to the record, by name: the nearest training clips (names `bank`) of `names`."""
        if not isinstance(fit, KnnFit) or "test" not in fit.nearest:
            return {}
        return {"nearest.csv": nearest_csv(names, bank, fit.nearest["test"])}


PROTOCOLS.add("knn", Knn())
