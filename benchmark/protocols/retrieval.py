"""Retrieval: mean average precision, and the nearest training clips of each test clip."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_CHUNK = 1024  # queries per batch: 164 MB of similarities to a bank of 40,091 clips


def mean_average_precision(bank: Tensor, bank_label: Tensor, queries: Tensor, label: Tensor) -> float | None:
    """Mean over the queries of the average precision, in percent, of ranking the bank by cosine similarity.

    AP = Σ over the bank clips of the query's class of precision at that clip's similarity, divided by their number:
    AP = Σ (Rₙ − Rₙ₋₁) Pₙ over the distinct similarities, so clips that are equally near count together and their
    order does not matter. It is exact, and its memory grows with the bank but not with the queries.

    Args:
        bank, bank_label: (N, D) and (N,).
        queries, label: (N', D) and (N',).

    Returns:
        0 to 100; queries whose class is not in the bank are left out; None if no query is left.
    """
    bank = functional.normalize(bank, dim=1)
    total, answered = 0.0, 0
    for value in label.unique().tolist():
        relevant = bank_label == value
        if relevant.any():
            for chunk in functional.normalize(queries[label == value], dim=1).split(_CHUNK):
                precision = _average_precision(chunk @ bank.T, relevant)
                total += precision.sum().item()
                answered += len(chunk)
    return 100 * total / answered if answered else None


def _average_precision(similarity: Tensor, relevant: Tensor) -> Tensor:
    """AP (n,) of each row of similarities (n, N); `relevant` (N,) bool marks the columns of the query's class."""
    found, everything = _ascending(similarity[:, relevant]), _ascending(similarity)
    # At the threshold of a relevant clip: how many clips are at least as near, of its class and of all.
    right = found.shape[1] - torch.searchsorted(found, found)
    shown = everything.shape[1] - torch.searchsorted(everything, found)
    return (right.double() / shown).mean(dim=1)


def _ascending(x: Tensor) -> Tensor:
    """Sort the rows; on the CPU numpy's sort of plain values takes a quarter of the time of torch's."""
    return torch.from_numpy(np.sort(x.numpy(), axis=1)) if x.device.type == "cpu" else x.sort(dim=1).values


def nearest_csv(names: Sequence[str], bank: Sequence[str], nearest: Tensor) -> str:
    """Table of the training clips nearest to each test clip: columns "name", "nearest_1", "nearest_2", ...

    Args:
        names, bank: names of the N' test and of the N training clips.
        nearest: (N', n) indices into the bank, nearest first.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", *(f"nearest_{place}" for place in range(1, nearest.shape[1] + 1))])
    for name, row in zip(names, nearest.tolist(), strict=True):
        writer.writerow([name, *(bank[index] for index in row)])
    return text.getvalue()
