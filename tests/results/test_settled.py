"""Whether an accuracy had settled: the rule against numpy's least squares, and what several records say together."""

import numpy as np
import pytest

from skelbench.results.settled import Trend, settled_of, settled_together, trend, verdict

EPOCHS = (70, 75, 80, 85, 90, 95, 100)


def curve(rise, noise=(0.0,) * 7, start=50.0):
    """A curve of 100 epochs that is wild before its last third, in which it rises by `rise` points a hundred epochs."""
    early = [(1, 90.0), (30, 5.0), (66, 99.0)]
    return early + [(e, start + rise * (e - 70) / 100 + n) for e, n in zip(EPOCHS, noise, strict=True)]


def test_change_and_error_are_those_of_least_squares():
    noise = np.random.default_rng(3).normal(size=7)
    points = curve(24.0, noise)
    x, y = np.array(points[3:]).T
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    found = trend(points[::-1], 100)
    assert found == pytest.approx((slope * 100 / 3, np.sqrt(covariance[0, 0]) * 100 / 3))


def test_the_last_third_begins_at_two_thirds():
    points = [(e, 50.0 + (e < 20) * 30) for e in (19, 20, 23, 26, 30)]
    assert trend(points, 30) == pytest.approx((0.0, 0.0))


def test_three_points_say_nothing():
    assert trend([(70, 1.0), (80, 2.0), (100, 3.0)], 100) is None
    assert verdict(None) == "unknown"


@pytest.mark.parametrize(
    "change, error, expected",
    [
        (8.0, 3.0, "rising"),
        (-8.0, 3.0, "falling"),
        (5.0, 3.0, "yes"),  # within two standard errors
        (1.9, 0.1, "yes"),  # certain, and small
        (2.1, 0.1, "rising"),
        (0.0, 5.1, "unknown"),  # a change of ten points would not be seen
        (30.0, 5.1, "unknown"),
    ],
)
def test_a_change_counts_if_it_is_larger_than_its_noise(change, error, expected):
    assert verdict(Trend(change, error)) == expected


@pytest.fixture
def made(make_record):
    def make(change, error, settled, **fields):
        return make_record(settled=settled, extra={"held_out_change": change, "held_out_change_error": error}, **fields)

    return make


def test_seeds_are_judged_by_their_mean(made):
    seeds = [made(6.0, 4.0, "yes", seed=seed) for seed in range(3)]
    assert settled_of(seeds[:1]) == "yes"  # 6 is within 2 × 4
    assert settled_of(seeds) == "rising"  # and beyond 2 × 4 / √3
    apart = [made(9.0, 4.0, "rising"), made(-9.0, 4.0, "falling", seed=1)]
    assert settled_of(apart) == "yes"


def test_a_seed_without_a_trend_leaves_what_all_say(made, make_record):
    fused = make_record(settled="yes", seed=1)
    assert settled_of([made(0.0, 1.0, "yes"), fused]) == "yes"
    assert settled_of([made(9.0, 1.0, "rising"), fused]) == "unknown"


def test_what_was_not_trained_here_says_nothing_and_older_records_are_unknown(make_record):
    assert settled_of([make_record(method="untrained", settled=None)]) is None
    assert settled_of([make_record(settled=None, model={"imported": True})]) is None
    assert settled_of([make_record(settled=None, model={"epochs": None})]) is None
    assert settled_of([make_record(settled=None)]) == "unknown"
    assert settled_of([]) is None


def test_parts_of_a_fusion_say_what_all_of_them_say():
    assert settled_together(["yes", "yes", "yes"]) == "yes"
    assert settled_together(["rising", "rising"]) == "rising"
    assert settled_together(["yes", "rising"]) == "unknown"
    assert settled_together([None, "yes"]) == "yes"
    assert settled_together([None]) is None
