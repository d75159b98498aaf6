import numpy as np
import pytest
from scipy.special import ndtri

from skelbench.results.tables.hits import Hits
from skelbench.results.tables.noise import Difference
from skelbench.results.tables.significance import ONE_SEED, ComparedRows, holm, ranking


def with_p(p):
    """A difference of 1 point of many degrees of freedom with this p-value."""
    return Difference(1.0, float(-1 / ndtri(p / 2)), np.inf)


def apart(values):
    return {pair for pair, one in holm({pair: with_p(p) for pair, p in values.items()}).items() if one.apart}


def test_holm_as_worked_out_by_hand():
    assert apart({(0, 1): 0.001, (0, 2): 0.02, (1, 2): 0.024, (2, 3): 0.9}) == {(0, 1)}
    # 0.0125 holds, 0.0167 does not: the third is not looked at
    assert apart({(0, 1): 0.001, (0, 2): 0.016, (1, 2): 0.024, (2, 3): 0.9}) == {(0, 1), (0, 2), (1, 2)}
    assert apart({}) == set()


@pytest.mark.parametrize("draw", range(20))
def test_an_interval_leaves_out_zero_exactly_where_rows_are_apart(draw):
    rng = np.random.default_rng(draw)
    found = holm({(0, i): with_p(p) for i, p in enumerate(rng.random(8) ** 4, start=1)})
    assert all((one.low > 0 or one.high < 0) == one.apart for one in found.values())
    order = sorted(found.values(), key=lambda one: one.found.p)
    assert all((one.p <= 0.05) == one.apart for one in order)
    assert [one.p for one in order] == sorted(one.p for one in order)


# --- Ranks ------------------------------------------------------------------------------------------------------


def hits(share, seed=0, trainings=3, clips=1000, spread=0.0):
    rng = np.random.default_rng(seed)
    shares = share + spread * rng.normal(0, 1, trainings)
    right = np.stack([rng.permutation(clips) < one * clips for one in shares])
    names = np.array([f"clip{i:05d}" for i in range(clips)])
    return Hits(names, np.zeros(clips, int), right, np.arange(clips) % 20)


def test_a_clear_difference_is_a_rank_and_one_within_the_noise_a_tie():
    found = ranking(ComparedRows({0: hits(0.8), 1: hits(0.6, 1), 2: hits(0.595, 2), 3: hits(0.2, 3)}), range(4))
    assert found.ranges == {0: (1, 1), 1: (2, 3), 2: (2, 3), 3: (4, 4)}
    assert (found.untested, found.units, found.of_persons) == ({}, 20, True)
    assert found.pairs[0, 3].found.points == pytest.approx(60, abs=3)


def test_noise_between_trainings_widens_the_ranks():
    rows = {0: hits(0.7, 0, spread=0.1), 1: hits(0.6, 1, spread=0.1)}
    assert ranking(ComparedRows(rows), range(2)).ranges == {0: (1, 2), 1: (1, 2)}


def test_ties_need_not_be_transitive():
    found = ranking(ComparedRows({0: hits(0.70, 0), 1: hits(0.675, 1), 2: hits(0.65, 2)}), range(3))
    assert found.ranges == {0: (1, 2), 1: (1, 3), 2: (2, 3)}


def test_rows_that_cannot_be_tested_say_why_and_have_no_rank():
    other = hits(0.5)._replace(names=np.array([f"other{i:05d}" for i in range(1000)]))
    once = hits(0.9, trainings=1)
    rows = {0: "no class scores were saved", 1: hits(0.8), 2: other, 3: hits(0.3, 1), 4: once}
    found = ranking(ComparedRows(rows), range(5))
    assert found.ranges == {1: (1, 1), 3: (2, 2)}
    assert found.untested == {
        0: "no class scores were saved",
        2: "it was tested on other clips",
        4: ONE_SEED,
    }
    assert ranking(ComparedRows({}), []).ranges == {}
    assert ranking(ComparedRows({1: hits(0.8)}), [1]).ranges == {1: (1, 1)}


def test_the_test_persons_of_one_row_are_those_of_all():
    older = hits(0.6, 1)._replace(person=None)
    assert ComparedRows({0: hits(0.8), 1: older}).units == 20
    alone = ComparedRows({0: older, 1: older})
    assert (alone.units, alone.of_persons) == (1000, False)
