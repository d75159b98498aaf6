"""Test which differences between rows exceed the noise of the test clips.

Two rows are compared clip by clip: by how much more often the seeds of one get a clip right than those of
the other. If neither were better, each of these differences could as well have the other sign; the p-value
is the share of all sign patterns whose sum is at least as far from zero as the one found. That is Fisher's
randomisation test, for one seed each McNemar's exact test, and it is computed exactly, without sampling. All
pairs of a table are corrected by Holm's rule. The test covers the noise of clips only; the noise of trainings
is in the deviation over seeds, and with one seed it is unknown.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SkelbenchError
from ..files import read_scores
from ..record import Record
from ..store import RunStore

LEVEL = 0.05


class Hits(NamedTuple):
    """How many of ``seeds`` runs get each test clip right: ``right`` (N,) by ``names`` (N,), which are sorted."""

    names: NDArray[np.str_]
    right: NDArray[np.int64]
    seeds: int


class Ranking(NamedTuple):
    """By row the best and the worst rank that the test allows, and the reasons why other rows have none."""

    ranges: dict[int, tuple[int, int]]
    untested: dict[int, str]


def hits_of(records: Sequence[Record], runs: RunStore) -> Hits | str:
    """Count how often a row's seeds get each clip right, from the scores beside its records; or return why not.

    Raises ``SkelbenchError`` if a file that a record names is damaged or missing.
    """
    found = []
    for record in records:
        if "scores" not in record.files:
            return "no class scores were saved"
        path = runs.folder(record.key) / record.files["scores"]
        names, labels, scores = read_scores(path)
        if scores.ndim != 2 or not len(labels) == len(names) == len(scores) > 0:
            raise SkelbenchError(f"{path} is damaged or holds no scores: evaluate that cell again.")
        order = np.argsort(names, kind="stable")
        found.append((names[order], (scores.argmax(axis=1) == labels)[order]))
    if any(not np.array_equal(names, found[0][0]) for names, _ in found):
        return "its seeds were tested on different clips"
    return Hits(found[0][0], np.sum([right for _, right in found], axis=0), len(found))


def p_value(ours: Hits, theirs: Hits) -> float:
    """Return the two-sided p-value of the randomisation test on two rows' hits on the same clips.

    The sum of n independent signs of size v has the characteristic function cos(v t)^n; their product over
    the sizes, transformed back, is the distribution of the sum over all sign patterns.
    """
    unit = math.lcm(ours.seeds, theirs.seeds)  # differences in multiples of 1 / unit are integers
    difference = ours.right * (unit // ours.seeds) - theirs.right * (unit // theirs.seeds)  # (N,)
    sizes, counts = np.unique(np.abs(difference), return_counts=True)
    reach = int(sizes @ counts)
    length = 1 << (2 * reach).bit_length()  # all sums are within ± reach
    angles = 2 * np.pi * np.arange(length // 2 + 1) / length
    transform = np.ones_like(angles)
    for size, count in zip(sizes, counts, strict=True):
        transform *= np.cos(size * angles) ** count
    chance = np.fft.irfft(transform, length)
    seen = abs(int(difference.sum()))
    return 1.0 if seen == 0 else min(1.0, 2 * float(chance[seen : reach + 1].clip(0).sum()))


def holm(values: Mapping[tuple[int, int], float], level: float = LEVEL) -> set[tuple[int, int]]:
    """Return the comparisons that are significant after Holm's correction for multiple testing."""
    significant = set()
    for place, pair in enumerate(sorted(values, key=lambda pair: (values[pair], pair))):
        if values[pair] > level / (len(values) - place):
            break
        significant.add(pair)
    return significant


def ranking(scores: Mapping[int, float], read: Callable[[int], Hits | str]) -> Ranking:
    """Rank rows by ``scores``: a row is above another only if the test says so, else they share a range of ranks.

    ``read`` returns a row's hits. Rows that have none, or were tested on other clips than most, get no rank.
    """
    found = {row: read(row) for row in sorted(scores, key=lambda row: (-scores[row], row))}
    untested = {row: reason for row, reason in found.items() if isinstance(reason, str)}
    hits = {row: one for row, one in found.items() if isinstance(one, Hits)}
    clips = {row: tuple(one.names.tolist()) for row, one in hits.items()}
    usual = Counter(clips.values()).most_common(1)[0][0] if clips else ()
    untested |= {row: "it was tested on other clips" for row in hits if clips[row] != usual}
    tested = [row for row in hits if row not in untested]
    sure = holm({(a, b): p_value(hits[a], hits[b]) for a, b in combinations(tested, 2)})
    above = Counter(below for _, below in sure)
    below = Counter(above for above, _ in sure)
    return Ranking({row: (1 + above[row], len(tested) - below[row]) for row in tested}, untested)
