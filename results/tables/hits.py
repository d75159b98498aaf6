"""Which test clips each training of a row gets right, from the class scores kept beside its records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SkelbenchError
from ..files import read_scores_and_facts
from ..record import Record
from ..store import RunStore

_ROUNDING = 0.01  # points


class Hits(NamedTuple):
    """What the trainings of a row get right.

    Attributes:
        names: (N,) of the test clips, sorted.
        labels: (N,) their classes.
        right: (K, N) bool, by training.
        person: (N,) who performs each clip; None if the scores do not say it.
    """

    names: NDArray[np.str_]
    labels: NDArray[np.int64]
    right: NDArray[np.bool_]
    person: NDArray[np.int64] | None


def hits_of(records: Sequence[Record], runs: RunStore) -> Hits | str:
    """Read what a row's trainings get right; or return why not.

    Raises ``SkelbenchError`` if a file that a record names is damaged or missing.
    """
    found, persons = [], []
    for record in records:
        if "scores" not in record.files:
            return "no class scores were saved"
        path = runs.folder(record.key) / record.files["scores"]
        names, labels, scores, facts = read_scores_and_facts(path)
        if scores.ndim != 2 or not len(labels) == len(names) == len(scores) > 0:
            raise SkelbenchError(f"{path} is damaged or holds no scores: evaluate that cell again.")
        right = scores.argmax(axis=1) == labels
        if not np.isfinite(scores).all():
            return "its class scores are not all finite numbers"
        if record.last is None or abs(100 * right.mean() - record.last.top1) > _ROUNDING:
            return "its class scores give another accuracy"
        order = np.argsort(names, kind="stable")
        found.append((names[order], labels[order], right[order]))
        persons.append(None if facts is None else facts.subject[order])
    names, labels, _ = found[0]
    if any(not np.array_equal(names, mine) for mine, *_ in found):
        return "its seeds were tested on different clips"
    person = next((one for one in persons if one is not None), None)
    return Hits(names, labels, np.stack([right for *_, right in found]), person)
