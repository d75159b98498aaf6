"""Noise of differences: against formulas by hand, and against simulations whose truth is known."""

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy import stats

from skelbench.results.tables.hits import Hits
from skelbench.results.tables.noise import Measured, Noise, measured
from skelbench.results.tables.significance import ComparedRows

from .simulated import CASES, evaluations, told_apart

SLOW = pytest.mark.slow


def hits(right, person=None, labels=None):
    right = np.atleast_2d(np.asarray(right, dtype=bool))
    names = np.array([f"c{i:05d}" for i in range(right.shape[1])])
    labels = np.zeros(len(names), int) if labels is None else np.asarray(labels)
    return Hits(names, labels, right, None if person is None else np.asarray(person))


def draw(rng, trainings=3, persons=4, clips=6):
    return hits(rng.random((trainings, persons * clips)) < 0.6, np.repeat(np.arange(persons), clips))


def difference(ours, theirs, *others, **how):
    rows = [measured(one, **how) for one in (ours, theirs, *others)]
    return Noise(rows).difference(*rows[:2])


# --- Against other ways to compute it ---------------------------------------------------------------------------


def test_of_one_training_each_it_is_the_paired_test_over_persons():
    rng = np.random.default_rng(0)
    ours, theirs = draw(rng, trainings=1, persons=9), draw(rng, trainings=1, persons=9)
    found = difference(ours, theirs)
    by_person = [one.right[0].reshape(9, 6).mean(axis=1) for one in (ours, theirs)]
    expected = stats.ttest_rel(*by_person)
    assert found.freedom == expected.df
    assert found.p == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(0.95)
    assert found.interval(0.05) == pytest.approx((100 * low, 100 * high))


def test_where_persons_are_not_known_each_clip_is_drawn_by_itself():
    rng = np.random.default_rng(1)
    ours, theirs = (hits(rng.random(200) < share) for share in (0.6, 0.5))
    expected = stats.ttest_rel(ours.right[0] * 1.0, theirs.right[0] * 1.0)
    assert difference(ours, theirs).p == pytest.approx(expected.pvalue)
    same = hits(ours.right, np.full(200, 7)), hits(theirs.right, np.full(200, 7))  # all of one person
    assert difference(*same) == difference(ours, theirs)


def test_of_many_persons_alike_it_is_welchs_test_over_trainings():
    """Persons that all do the same leave the noise of trainings only."""
    rng = np.random.default_rng(2)
    shares = rng.integers(20, 60, (2, 5)), rng.integers(20, 60, (2, 5))
    rows = [
        hits([np.tile(np.arange(100) < share, 3) for share in mine[0]], np.repeat(np.arange(3), 100)) for mine in shares
    ]
    expected: Any = stats.ttest_ind(*(row.right.mean(axis=1) for row in rows), equal_var=False)
    found = difference(*rows)  # the mean variance of two rows of as many trainings is that of Welch's test
    assert found.points / found.error == pytest.approx(expected.statistic)
    assert found.freedom in (pytest.approx(expected.df), 8)  # its own, or that of the common variance


def test_the_variance_is_that_of_repeated_experiments():
    """Simulated again and again, the difference varies as much as is estimated from one experiment."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(150):
        rows = evaluations(rng, 10, 20, ability=(0.5, 0.5), method_person=0.3)
        found.append(difference(rows[0], rows[1]))
    seen = np.var([one.points for one in found], ddof=1)
    expected = np.mean([one.error**2 for one in found])
    assert 0.75 < expected / seen < 1.45  # 150 draws of a variance are within 23 %; the larger of two is above it


def test_the_mean_over_classes_is_computed_class_by_class():
    labels = [0] * 90 + [1] * 10
    ours, theirs = np.zeros((1, 100), bool), np.zeros((1, 100), bool)
    ours[0, :90] = True  # always names the first class
    theirs[0, :50], theirs[0, 90:99] = True, True
    rows = [hits(one, labels=labels) for one in (ours, theirs)]
    assert [100 * measured(row).mean for row in rows] == [pytest.approx(90), pytest.approx(59)]
    assert [100 * measured(row, balanced=True).mean for row in rows] == [
        pytest.approx(50),
        pytest.approx(100 * (50 / 90 + 0.9) / 2),
    ]
    error = difference(*rows, balanced=True).error
    gaps = [(ours[0] * 1.0 - theirs[0])[np.array(labels) == c] for c in (0, 1)]
    shares = np.repeat([1 / 180, 1 / 20], [90, 10])
    squares = np.concatenate([(gap - gap.mean()) ** 2 for gap in gaps])
    by_hand = (shares @ squares) * (shares @ shares) / (1 - shares @ shares)
    assert error == pytest.approx(100 * math.sqrt(by_hand))


# --- Properties -------------------------------------------------------------------------------------------------


def test_it_does_not_depend_on_which_row_comes_first_or_on_the_order_of_clips():
    rng = np.random.default_rng(4)
    ours, theirs, other = (draw(rng) for _ in range(3))
    found, back = difference(ours, theirs, other), difference(theirs, ours, other)
    assert (back.points, back.error, back.freedom) == pytest.approx((-found.points, found.error, found.freedom))
    order = rng.permutation(len(ours.names))
    person = np.repeat(np.arange(4), 6)[order]
    mixed = [one._replace(right=one.right[:, order], person=person) for one in (ours, theirs, other)]
    assert difference(*mixed) == pytest.approx(found)


def test_rows_that_are_the_same_are_not_different():
    row = draw(np.random.default_rng(5))
    assert difference(row, row).p == 1.0
    never = hits(np.zeros((2, 8)), np.repeat([0, 1], 4))
    assert difference(never, never) == (0.0, 0.0, math.inf)
    assert difference(never, never).p == 1.0 and difference(never, never).interval(0.05) == (-100.0, 100.0)


def test_where_nothing_varies_nothing_is_known_of_the_noise():
    """Three clips, of which one row always gets two right and the other all: no more than a coincidence."""
    fewer, all_right = hits([[1, 1, 0]] * 2, [0, 0, 0]), hits([[1, 1, 1]] * 2, [0, 0, 0])
    each = hits([[1, 0] * 3] * 2, np.repeat([0, 1, 2], 2)), hits([[1, 1] * 3] * 2, np.repeat([0, 1, 2], 2))
    found = difference(*each)
    assert (found.points, found.error, found.p) == (-50.0, 0.0, 1.0)
    assert found.interval(0.05) == (-100.0, 100.0)
    assert difference(fewer, all_right).p > 0.05


def test_a_pair_that_happens_to_agree_has_the_noise_of_the_table():
    rng = np.random.default_rng(9)
    steady = [hits(np.tile(rng.random(60) < 0.6, (3, 1)), np.repeat(np.arange(6), 10)) for _ in range(2)]
    wild = [hits(rng.random((3, 60)) < share, np.repeat(np.arange(6), 10)) for share in ([[0.2], [0.5], [0.8]],) * 4]
    rows = [measured(one) for one in (*steady, *wild)]
    assert rows[0].training_variance == rows[1].training_variance == 0.0
    common = np.mean([row.training_variance for row in rows])
    found = Noise(rows).difference(rows[0], rows[1])
    assert found.error >= 100 * math.sqrt(2 / 3 * common) > 5


@pytest.mark.parametrize(
    "clips", [(44, 44, 44, 44, 44), (200, 40, 40, 40, 40), (150, 30, 20, 10, 10), (400, 30, 30, 30, 30)]
)
def test_a_person_with_most_of_the_clips_separates_no_equal_rows(clips):
    rng = np.random.default_rng(10)
    wrong = 0
    for _ in range(100):
        found = ComparedRows(evaluations(rng, 3, len(clips), training=0.05, training_person=0.0, clips=clips))
        wrong += any(one.apart for one in found.compare(list(combinations(range(9), 2))).values())
    assert wrong < 13  # as above


def test_the_variance_of_persons_of_uneven_shares_is_that_of_repeated_draws():
    """Unbiased: the weighted mean of persons of one variance, drawn again and again."""
    rng, shares = np.random.default_rng(11), np.array([0.5, 0.3, 0.1, 0.1])
    draws = rng.normal(0, 1, (4000, 4))
    rows = [Measured(0.0, shares, one - one @ shares, 1, math.nan, math.nan) for one in draws]
    none = Measured(0.0, shares, np.zeros(4), 1, math.nan, math.nan)
    errors = [Noise([row, none]).difference(row, none) for row in rows]
    assert np.mean([one.error**2 for one in errors]) / 1e4 == pytest.approx(np.var(draws @ shares), rel=0.08)
    assert len({round(one.freedom, 9) for one in errors}) == 1 and 1 < errors[0].freedom < 3


def test_a_row_that_varies_more_than_the_others_keeps_its_own_noise():
    rng = np.random.default_rng(6)
    unlike = (1.0,) * 7 + (20.0, 20.0)
    rows = list(evaluations(rng, 5, 20, training=0.05, method_person=0.02, unlike=unlike).values())
    kept = [measured(row) for row in rows]
    noise = Noise(kept)
    assert noise.difference(kept[7], kept[8]).error > 1.5 * noise.difference(kept[0], kept[1]).error


# --- Simulations with known truth -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trainings", "persons"), [(3, 5), pytest.param(3, 20, marks=SLOW), pytest.param(10, 5, marks=SLOW)]
)
@pytest.mark.parametrize("case", CASES)
def test_equal_rows_are_rarely_told_apart(case, trainings, persons):
    """At most 5 % of tables; 13 of 100 would be above that by chance in one of 1,000 runs."""
    rng = np.random.default_rng(7)
    wrong = np.array([told_apart(rng, trainings, persons, **CASES[case]) for _ in range(100)]) > 0
    assert (wrong.sum(axis=0) < 13).all()


def test_with_more_persons_and_seeds_more_is_told_apart():
    ability = (0.0,) + (0.45,) * 4 + (0.9,) * 4
    rng = np.random.default_rng(8)
    few, many = (
        np.mean([told_apart(rng, *size, ability=ability) for _ in range(40)], axis=0) for size in ((3, 5), (10, 100))
    )
    assert (many > 2 * few).all() and many[1] > 0.85
