"""k-nearest-neighbour evaluation: no training, cosine similarity, weighted votes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional

from ...deviation import Deviation
from ...methods.recipe import Settings
from .base import PROTOCOLS, Features, Fit, top

_CHUNK = 4096
_LARGEST = 80  # exp(88.7) is float32's largest number


class KnnSettings(Settings):
    """k-nearest-neighbour voting: `k` is the one tables show, `also` the ones kept beside it."""

    k: PositiveInt = 10
    also: tuple[PositiveInt, ...] = (1, 5, 20, 40)
    temperature: float = Field(default=0.1, gt=0)


def vote(bank: Tensor, label: Tensor, queries: Tensor, *, k: int, temperature: float, classes: int) -> Tensor:
    """Class scores (N', classes) of queries (N', D) from the k nearest of bank (N, D).

    score[c] = Σ over the k nearest of exp(cos/t)·1[label = c]; features are L2-normalised here. A bank smaller
    than k votes whole. Source: SkeleMixCLR@4538d6c and SkeAttnCLR@e3f05c6, which agree. Where t is so low that
    the votes would overflow, each query's are divided by its largest, which leaves their order as it is.
    """
    overflows = 1 / temperature + math.log(k) > _LARGEST
    bank, queries = functional.normalize(bank, dim=1), functional.normalize(queries, dim=1)
    votes = functional.one_hot(label, classes).to(bank.dtype)
    scores = []
    for chunk in queries.split(_CHUNK):
        similarity, nearest = (chunk @ bank.T).topk(min(k, len(bank)), dim=1)
        if overflows:
            similarity = similarity - similarity[:, :1]  # topk sorts: the largest comes first
        scores.append(((similarity / temperature).exp()[:, :, None] * votes[nearest]).sum(dim=1))
    return torch.cat(scores)


class Knn:
    """The protocol: un-augmented, eval-mode, pooled backbone features."""

    name = "knn"
    Settings = KnnSettings
    version = 1
    deviations = (
        Deviation(
            "features",
            "of the encoder",
            "output of the head in SkeleMixCLR, of a predictor that still is in training mode in SkeAttnCLR, where a "
            "clip's feature depends on its batch",
            "pooled features of the backbone in evaluation mode, as in linear",
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
            "at the end; `best` stands beside it, chosen on held-out training subjects",
        ),
    )

    def fit(
        self, train: Features, sets: Mapping[str, Tensor], *, classes: int, settings: KnnSettings, seed: int
    ) -> list[Fit]:
        """Score every set with the main k, and as `set@k` with the other ones."""
        scores = {}
        for name, queries in sets.items():
            for k in (settings.k, *settings.also):
                scores[name if k == settings.k else f"{name}@{k}"] = vote(
                    train.x, train.label, queries, k=k, temperature=settings.temperature, classes=classes
                )
        return [Fit(None, scores)]

    def extra(self, fit: Fit, label: Tensor) -> dict[str, float]:
        """top-1 for the other k, as top1_k<k>."""
        return {
            f"top1_k{name.split('@')[1]}": top(scores, label, 1) for name, scores in fit.scores.items() if "@" in name
        }


PROTOCOLS.add("knn", Knn())
