"""Mean ranks and wins over data sets, against numbers by hand."""

import numpy as np
import pytest
from scipy import stats

from skelbench.results.tables.across import across
from skelbench.results.tables.table import text_of

SCORES = {  # by data set and split, in the order of METHODS
    ("nwucla", "xsub"): (75.0, 73.0, 60.0),
    ("nwucla", "xview"): (70.0, 75.0, 60.0),
    ("utdmhad", "xsub"): (68.0, 70.0, 55.0),
    ("sbu", "fold1"): (90.0, 80.0, 85.0),
}
METHODS = ("aimclr", "hiclr", "skeletonclr")


@pytest.fixture
def records(make_record):
    made = [
        make_record(method=method, dataset=dataset, split=split, seed=seed, top1=top1 + seed)
        for (dataset, split), scores in SCORES.items()
        for method, top1 in zip(METHODS, scores, strict=True)
        for seed in range(2)
    ]
    return made + [
        make_record(method="untrained", dataset=dataset, split="xsub", top1=99.0) for dataset in ("nwucla", "sbu")
    ]


def shown(table):
    return {
        row[0].value: [text_of(entry, column.kind) for column, entry in zip(table.columns, row, strict=True)][2:]
        for row in table.rows
    }


def test_ranks_are_averaged_over_splits_and_then_over_data_sets(records):
    (table,) = across(records)
    # aimclr: (1 + 2) / 2, 2, 1; hiclr: (2 + 1) / 2, 1, 3; skeletonclr: 3, 3, 2.
    ranks = {"aimclr": (1.5, 2, 1), "hiclr": (1.5, 1, 3), "skeletonclr": (3, 3, 2)}
    found = shown(table)
    assert list(found) == ["aimclr", "hiclr", "skeletonclr"]
    for name, mine in ranks.items():
        spread = np.std(range(1, 4)) / np.sqrt(3)  # of the ranks 1, 2, 3, each as likely, over three data sets
        low, high = stats.norm.interval(0.95, loc=sum(mine) / 3, scale=spread)
        assert found[name][0] == f"{sum(mine) / 3:.1f} [{max(1, low):.1f}, {min(3, high):.1f}]"
    assert "untrained" not in found and table.title == "3 data sets, joint (equal)"


def test_wins_have_the_interval_of_their_share(records):
    found = shown(across(records)[0])
    for name, won in (("aimclr", 2), ("hiclr", 2), ("skeletonclr", 0)):  # nwucla is a tie of two
        low, high = stats.binomtest(won, 3).proportion_ci(0.95)
        assert found[name][1] == f"{won} of 3 [{low:.0%}, {high:.0%}]"


def test_rows_that_a_data_set_lacks_or_that_have_not_settled_are_left_out(records):
    fewer = [one for one in records if (one.cell.method, one.cell.dataset) != ("hiclr", "sbu")]
    assert list(shown(across(fewer)[0])) == ["aimclr", "skeletonclr"]
    rising = [
        one.model_copy(update={"settled": "rising"}) if (one.cell.method, one.cell.dataset) == ("hiclr", "sbu") else one
        for one in records
    ]
    assert list(shown(across(rising)[0])) == ["aimclr", "skeletonclr"]
    assert len(across(rising, every=True)[0].rows) == 3


def test_one_data_set_and_different_tracks_are_not_put_together(records, make_record):
    assert across([one for one in records if one.cell.dataset == "nwucla"]) == []
    other = [make_record(method=m, dataset="sbu", split="xsub", track="published") for m in METHODS]
    assert across([one for one in records if one.cell.dataset == "nwucla"] + other) == []


def test_rows_of_other_versions_are_left_out_and_the_protocol_is_the_one_that_ranks(records, make_record):
    old = {"data": {"fingerprint": "bb"}}
    other = [
        one.model_copy(update=old) if (one.cell.method, one.cell.dataset) == ("hiclr", "sbu") else one
        for one in records
    ]
    assert list(shown(across(other)[0])) == ["aimclr", "skeletonclr"]
    made = [
        make_record(method=m, dataset=d, split="xsub", protocol=p, top1=top1)
        for d in ("nwucla", "sbu")
        for m, knn, tuned in (("aimclr", 60.0, 40.0), ("hiclr", 40.0, 60.0))
        for p, top1 in (("knn", knn), ("finetune", tuned))
    ]
    (table,) = across(made)
    assert list(shown(table)) == ["aimclr", "hiclr"] and "by the means of knn" in table.footnotes[0]
    mixed = [one for one in made if (one.cell.dataset, one.cell.protocol) in (("nwucla", "knn"), ("sbu", "finetune"))]
    assert across(mixed) == []
