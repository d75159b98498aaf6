import math
from itertools import product

import numpy as np
import pytest

from skelbench.errors import SkelbenchError
from skelbench.results.files import write_scores
from skelbench.results.store import RunStore
from skelbench.results.tables.significance import Hits, hits_of, holm, p_value, ranking


def hits(right, seeds=1):
    right = np.asarray(right, dtype=np.int64)
    return Hits(np.array([f"clip{i:05d}" for i in range(len(right))]), right, seeds)


# --- The test ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [(1, 1), (1, 3), (3, 3), (2, 5)])
@pytest.mark.parametrize("draw", range(4))
def test_p_is_the_share_of_sign_patterns_as_far_from_zero(seeds, draw):
    rng = np.random.default_rng(draw)
    ours, theirs = (hits(rng.integers(0, count + 1, 11), count) for count in seeds)
    difference = ours.right / seeds[0] - theirs.right / seeds[1]
    sums = np.array([np.dot(signs, difference) for signs in product((-1, 1), repeat=11)])
    expected = np.mean(np.abs(sums) >= abs(difference.sum()) - 1e-9)
    assert p_value(ours, theirs) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("only_ours", "only_theirs"), [(0, 0), (1, 0), (5, 5), (9, 2), (40, 17), (1271, 1154)])
def test_of_one_seed_each_it_is_mcnemars_exact_test(only_ours, only_theirs):
    total = only_ours + only_theirs
    ours = [1] * 100 + [0] * 50 + [1] * only_ours + [0] * only_theirs
    theirs = [1] * 100 + [0] * 50 + [0] * only_ours + [1] * only_theirs
    tail = sum(math.comb(total, k) for k in range(min(only_ours, only_theirs) + 1)) / 2**total
    assert p_value(hits(ours), hits(theirs)) == pytest.approx(min(1.0, 2 * tail), rel=1e-9, abs=1e-12)


def test_p_does_not_depend_on_which_row_comes_first_or_on_the_order_of_clips():
    rng = np.random.default_rng(0)
    ours, theirs = hits(rng.integers(0, 4, 300), 3), hits(rng.integers(0, 3, 300), 2)
    order = rng.permutation(300)
    p = p_value(ours, theirs)
    assert p_value(theirs, ours) == p
    assert p_value(hits(ours.right[order], 3), hits(theirs.right[order], 2)) == pytest.approx(p, abs=1e-12)


def test_rows_that_are_alike_rarely_differ_significantly():
    rng = np.random.default_rng(0)
    wrongly = 0
    for _ in range(400):
        easy = rng.random(200)  # what they share: easy and hard clips
        ours, theirs = (hits((rng.random((3, 200)) < easy).sum(axis=0), 3) for _ in range(2))
        wrongly += p_value(ours, theirs) <= 0.05
    assert 5 <= wrongly <= 33  # 20 expected; 0.0005 of all seeds would leave this range


def test_holm_as_worked_out_by_hand():
    values = {(0, 1): 0.001, (0, 2): 0.02, (1, 2): 0.024, (2, 3): 0.9}
    assert holm(values) == {(0, 1)}  # 0.0125 holds, 0.0167 does not: the third is not looked at
    assert holm({(0, 1): 0.001, (0, 2): 0.016, (1, 2): 0.024, (2, 3): 0.9}) == {(0, 1), (0, 2), (1, 2)}
    assert holm({}) == set()


# --- Ranks ------------------------------------------------------------------------------------------------------


def right(share, clips=1000):
    return [1] * round(share * clips) + [0] * (clips - round(share * clips))


def test_a_clear_difference_is_a_rank_and_one_within_the_noise_a_tie():
    rows = {0: hits(right(0.8)), 1: hits(right(0.6)), 2: hits(right(0.599)), 3: hits(right(0.2))}
    found = ranking({row: one.right.mean() for row, one in rows.items()}, rows.__getitem__)
    assert found.ranges == {0: (1, 1), 1: (2, 3), 2: (2, 3), 3: (4, 4)}
    assert found.untested == {}


def test_ties_need_not_be_transitive():
    clips = np.arange(100)
    first, second = clips < 70, (clips >= 10) & (clips < 75)
    third = ((clips >= 26) & (clips < 70)) | ((clips >= 80) & (clips < 90))
    # Clips that only one of two gets right: 10 and 5, 21 and 10, 26 and 10 (p = 0.30, 0.07, 0.011).
    rows = dict(enumerate(map(hits, (first, second, third))))
    found = ranking({0: 70.0, 1: 65.0, 2: 54.0}, rows.__getitem__)
    assert found.ranges == {0: (1, 2), 1: (1, 3), 2: (2, 3)}


def test_rows_that_cannot_be_tested_say_why_and_have_no_rank():
    other = hits(right(0.5))._replace(names=np.array([f"other{i:05d}" for i in range(1000)]))
    rows = {0: "no class scores were saved", 1: hits(right(0.8)), 2: other, 3: hits(right(0.3))}
    found = ranking({0: 90.0, 1: 80.0, 2: 50.0, 3: 30.0}, rows.__getitem__)
    assert found.ranges == {1: (1, 1), 3: (2, 2)}
    assert found.untested == {0: "no class scores were saved", 2: "it was tested on other clips"}
    assert ranking({}, rows.__getitem__).ranges == {}
    assert ranking({1: 80.0}, rows.__getitem__).ranges == {1: (1, 1)}


# --- Scores beside records --------------------------------------------------------------------------------------


@pytest.fixture
def keep(tmp_path, make_record):
    """Write a record with scores that get the clips right that ``right`` says; returns it and its folder of runs."""
    runs = RunStore(tmp_path / "runs")

    def make(right, names, seed=0, identity="ab" * 16, **fields):
        record = make_record(seed=seed, identity=identity, files={"scores": "scores.npz"}, **fields)
        labels = np.arange(len(names)) % 3
        scores = np.eye(3)[np.where(right, labels, (labels + 1) % 3)]
        write_scores(runs.folder(record.key), names, labels, scores)
        runs.write(record)
        return record

    return runs, make


def test_hits_are_counted_by_clip_whatever_the_order_in_the_files(keep):
    runs, make = keep
    one = make([1, 0, 1], ["a", "b", "c"])
    two = make([1, 1, 0], ["c", "a", "b"], seed=1, identity="cd" * 16)
    found = hits_of([one, two], runs)
    assert isinstance(found, Hits)
    assert (found.names.tolist(), found.right.tolist(), found.seeds) == (["a", "b", "c"], [2, 0, 2], 2)


def test_seeds_on_different_clips_and_missing_scores_are_said(keep, make_record):
    runs, make = keep
    records = [make([1, 0], ["a", "b"]), make([1, 0], ["a", "c"], seed=1, identity="cd" * 16)]
    assert hits_of(records, runs) == "its seeds were tested on different clips"
    assert hits_of([make_record()], runs) == "no class scores were saved"


def test_damaged_scores_are_one_clear_error(keep):
    runs, make = keep
    record = make([1, 0], ["a", "b"])
    (runs.folder(record.key) / "scores.npz").write_bytes(b"cut")
    with pytest.raises(SkelbenchError, match="damaged or holds no scores"):
        hits_of([record], runs)
