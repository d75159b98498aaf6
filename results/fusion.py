"""Late fusion: class scores of several streams, added clip by clip and never by position."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import SkelbenchError


@dataclass(frozen=True)
class Scores:
    """Class scores of clips.

    Attributes:
        names: (N,) of the clips, each once.
        labels: (N,) the clips' classes.
        scores: (N, K) logits.
    """

    names: NDArray[np.str_]
    labels: NDArray[np.int64]
    scores: NDArray[np.floating]


def fuse(streams: Mapping[str, Scores], weights: Mapping[str, float]) -> Scores:
    """Weighted sum of the streams' logits, in the order of the clips' names.

    Args:
        streams: scores by stream ("joint", "bone", "motion").
        weights: one a stream, fixed in advance.

    Raises:
        SkelbenchError: if a clip is missing from a stream, or stands there twice or with another label; if the streams
            have different classes, or a weight is missing or left over.
    """
    if not streams or set(streams) != set(weights):
        raise SkelbenchError(
            f"The streams {', '.join(sorted(streams)) or 'none'} cannot be fused with weights for "
            f"{', '.join(sorted(weights)) or 'none'}; give one weight a stream."
        )
    first = next(iter(streams))
    reference = _sorted(first, streams[first])
    total = weights[first] * reference.scores.astype(np.float64)
    for stream in [name for name in streams if name != first]:
        other = _sorted(stream, streams[stream])
        _check(first, reference, stream, other)
        total = total + weights[stream] * other.scores.astype(np.float64)
    return Scores(reference.names, reference.labels, total)


def _sorted(stream: str, scores: Scores) -> Scores:
    order = np.argsort(scores.names, kind="stable")
    names = scores.names[order]
    twice = names[1:][names[1:] == names[:-1]]
    if len(twice):
        raise SkelbenchError(f"The stream '{stream}' has two scores of the clip '{twice[0]}'; evaluate it again.")
    return Scores(names, scores.labels[order], scores.scores[order])


def _check(first: str, reference: Scores, stream: str, other: Scores) -> None:
    odd = np.setxor1d(reference.names, other.names)
    if len(odd):
        lacking = stream if odd[0] in reference.names else first
        raise SkelbenchError(
            f"{len(odd)} clips are not in both streams '{first}' and '{stream}' (the first: '{odd[0]}', not in "
            f"'{lacking}'); evaluate both on the same data."
        )
    wrong = reference.names[reference.labels != other.labels]
    if len(wrong):
        raise SkelbenchError(
            f"The clip '{wrong[0]}' has another label in the stream '{stream}' than in '{first}'; evaluate both on the "
            "same data."
        )
    if reference.scores.shape != other.scores.shape:
        raise SkelbenchError(
            f"The stream '{stream}' has {other.scores.shape[1]} classes and '{first}' has {reference.scores.shape[1]}; "
            "evaluate both on the same data."
        )
