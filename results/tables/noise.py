"""How certain a difference between two rows is: the noise of trainings, of persons and of clips together.

The accuracy of a training on the clips of a person varies with the training (its seed), with the person and with both;
each is a random effect. Rows are different methods, each with trainings of its own, tested on the same persons. If all
persons have the same number of clips, the variance of the difference between two means has a closed form by mean
squares (Searle, Casella and McCulloch, Variance Components, 1992, chapter 4):

    V = T + P - TP,    T = s_a² / k_a + s_b² / k_b,    P = s_d² / n,    TP = e_a² / (k_a n) + e_b² / (k_b n)

with k trainings and n persons. s² is the variance over the trainings of a row, s_d² that over persons of the difference
between the rows, and e² what is left in a row's table of trainings and persons; the noise of clips is in all of them.
TP is in T and in P, so it is taken off once. Degrees of freedom are Satterthwaite's (1946).

Persons with more clips count more in the mean. With the shares w of the persons, their variance is estimated by the
weighted squares, sum w (d - mean)² / (1 - sum w²), and 1 / n becomes sum w²; the degrees of freedom are those of
that form for normal persons of one variance, (1 - q)² / (q - 2 sum w³ + q²) with q = sum w². For equal shares both are
the usual ones; a person who has most of the clips leaves few degrees of freedom. Where only clips vary and not persons,
the estimate is too large rather than too small.

With three trainings, s² of one row is hardly known. T and P are therefore each the larger of two: the pair's own, and
the mean over all rows of the table, with the degrees of freedom of the one taken. The pair's own alone separate equal
rows too often where 5 % are shared among many pairs, and the common ones alone where rows differ in their noise; the
simulation in docs/tables.md has the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from .hits import Hits


class Measured(NamedTuple):
    """The trainings of a row on the same persons as the other rows.

    Attributes:
        mean: accuracy, 0 to 1.
        shares: (n,) of the persons in the mean; their sum is 1.
        by_person: (n,) how far the accuracy on each person's clips is from the mean.
        trainings: k.
        training_variance: s², over trainings; nan for one.
        rest_variance: e², of a person; nan for one.
    """

    mean: float
    shares: NDArray[np.float64]
    by_person: NDArray[np.float64]
    trainings: int
    training_variance: float
    rest_variance: float


class Component(NamedTuple):
    """A variance and its degrees of freedom."""

    variance: float
    freedom: float


class Difference(NamedTuple):
    """A difference between two accuracies with its standard error, in percentage points, and degrees of freedom."""

    points: float
    error: float
    freedom: float

    @property
    def p(self) -> float:
        """The two-sided p-value of no difference; 1 where nothing varies, so that the noise is not known."""
        return float(2 * stdtr(self.freedom, -abs(self.points) / self.error)) if self.error else 1.0

    def interval(self, level: float) -> tuple[float, float]:
        """The interval of the difference that is wrong with a probability of ``level``; whole where nothing varies."""
        reach = self.error * float(stdtrit(self.freedom, 1 - level / 2)) if self.error else 200.0
        return max(-100.0, self.points - reach), min(100.0, self.points + reach)


def persons(hits: Hits) -> NDArray[np.int64]:
    """(N,) the person of each clip, counted from 0; each clip by itself where they are not known or all of one."""
    if hits.person is not None:
        found, place = np.unique(hits.person, return_inverse=True)
        if len(found) > 1:
            return place
    return np.arange(len(hits.names))


def measured(hits: Hits, *, balanced: bool = False) -> Measured:
    """Measure a row.

    Args:
        balanced: its mean is that over the classes that have clips, instead of over clips.
    """
    person, strata = (
        persons(hits),
        np.unique(hits.labels, return_inverse=True)[1] if balanced else np.zeros_like(hits.labels),
    )
    k, counts = len(hits.right), np.bincount(strata)
    weight = 1 / counts[strata] / len(counts)  # (N,), of the clips
    means = np.bincount(strata, hits.right.mean(axis=0)) / counts
    shares = np.bincount(person, weight).astype(np.float64)  # (n,)
    away = weight * (hits.right - means[strata])  # (K, N)
    table = np.stack([np.bincount(person, one) for one in away]) / shares  # (K, n), its weighted mean is 0
    mean, by_person = float(means.mean()), table.mean(axis=0)
    if k < 2:
        return Measured(mean, shares, by_person, k, math.nan, math.nan)
    by_training = table @ shares
    rest = table - by_person - by_training[:, None]
    variance = float((rest**2 @ shares).sum()) / (k - 1) / _unshared(shares)
    return Measured(mean, shares, by_person, k, float(by_training.var(ddof=1)), variance)


class Noise:
    """The variances that the rows of a table have in common, and differences between rows.

    Args:
        rows: of the table, at least two, all on the same persons.
    """

    def __init__(self, rows: Sequence[Measured]):
        repeated = [row for row in rows if row.trainings > 1]
        self._training = _pooled([Component(row.training_variance, row.trainings - 1) for row in repeated])
        shares = rows[0].shares
        self._squares = float(shares @ shares)  # 1 / n for persons of equal shares
        self._freedom = _freedom(shares)
        away = np.stack([row.by_person for row in rows])
        away = away - away.mean(axis=0)
        variance = float((away**2 @ shares).sum()) / (len(rows) - 1) / _unshared(shares)
        self._person = Component(variance, (len(rows) - 1) * self._freedom)

    def difference(self, ours: Measured, theirs: Measured) -> Difference:
        """The difference ``ours - theirs``; rows of one training have no noise of trainings in it."""
        repeated = [row for row in (ours, theirs) if row.trainings > 1]
        training = _sum([Component(row.training_variance / row.trainings, row.trainings - 1) for row in repeated])
        common = Component(self._training.variance * sum(1 / row.trainings for row in repeated), self._training.freedom)
        apart = ours.by_person - theirs.by_person
        variance = float(apart**2 @ ours.shares) / _unshared(ours.shares)
        person = Component(variance * self._squares, self._freedom)
        everyone = Component(2 * self._person.variance * self._squares, self._person.freedom)
        rest = _sum(
            [
                Component(row.rest_variance / row.trainings * self._squares, (row.trainings - 1) * self._freedom)
                for row in repeated
            ]
        )
        total = _combined(max(training, common), max(person, everyone), rest)
        return Difference(100 * (ours.mean - theirs.mean), 100 * math.sqrt(total.variance), total.freedom)


def _unshared(shares: NDArray[np.float64]) -> float:
    """1 - sum w²: what is left of a variance around the weighted mean; 1 for a single person, who has none."""
    return float(1 - shares @ shares) if len(shares) > 1 else 1.0


def _freedom(shares: NDArray[np.float64]) -> float:
    """The degrees of freedom of a weighted variance, n - 1 for equal shares."""
    squares, cubes = float(shares @ shares), float(shares @ shares**2)
    return (1 - squares) ** 2 / (squares - 2 * cubes + squares**2) if len(shares) > 1 else 1.0


def _pooled(found: Sequence[Component]) -> Component:
    """The mean of variances, by degrees of freedom."""
    freedom = sum(one.freedom for one in found)
    return Component(sum(one.variance * one.freedom for one in found) / freedom if freedom else 0.0, freedom)


def _sum(found: Sequence[Component]) -> Component:
    """The sum of variances, with Satterthwaite's degrees of freedom."""
    variance = sum(one.variance for one in found)
    squares = sum(one.variance**2 / one.freedom for one in found if one.freedom)
    return Component(variance, variance**2 / squares if squares else math.inf)


def _combined(training: Component, person: Component, rest: Component) -> Component:
    """V; what is left once the rest is taken off is at least each of the two."""
    variance = training.variance + person.variance - rest.variance
    least = max(training, person)
    if variance <= least.variance:
        return least
    squares = sum(one.variance**2 / one.freedom for one in (training, person, rest) if one.freedom)
    return Component(variance, variance**2 / squares)
