"""Expected calibration error: how far a classifier's confidence is from its accuracy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from .files import read_scores
from .record import FUSED, Record
from .store import RunStore

BINS = 15
ECE = "ece"  # in a record's `extra`, in percent
_OLDER = ("linear", "finetune", "semi1", "semi10", "classifier")  # protocols with logits whose older records lack it


def calibration_error(logits: NDArray[np.floating], labels: NDArray[np.int64], bins: int = BINS) -> float:
    """Expected calibration error in percent, in bins of equal width (Guo et al., ICML 2017, equation 3).

    Confidence is the probability of the class that is named, by softmax; a bin holds its upper edge. Each bin counts
    by its share of the clips.

    Args:
        logits: (N, classes).
        labels: (N,).
    """
    probabilities = softmax(np.asarray(logits, dtype=np.float64), axis=1)
    confidence = probabilities.max(axis=1)
    right = logits.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    apart = np.bincount(place, confidence, minlength=bins) - np.bincount(place, right, minlength=bins)
    return 100 * float(np.abs(apart).sum()) / len(labels)


def error_of(record: Record, runs: RunStore | None = None) -> float | None:
    """The calibration error of an evaluation in percent; None where it has no probabilities or no scores at hand.

    Args:
        runs: where the scores of older records are, which do not hold the number itself.
    """
    if ECE in record.extra:
        return record.extra[ECE]
    older = record.cell.protocol in _OLDER and record.cell.stream != FUSED
    if runs is None or not older or "scores" not in record.files:
        return None
    _, labels, logits = read_scores(runs.folder(record.key) / record.files["scores"])
    return calibration_error(logits, labels) if logits.ndim == 2 else None
