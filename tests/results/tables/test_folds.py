"""Means over folds, compared with sums by hand."""

import pytest

from skelbench.results.tables.folds import folded
from skelbench.results.tables.table import text_of


@pytest.fixture
def records(make_record):
    """A floor and a method in three folds with two seeds, a method that lacks a fold, a split that is not a fold."""
    count = 0

    def add(method, split, seed, top1, protocol="linear"):
        nonlocal count
        count += 1
        return make_record(
            method=method, dataset="sbu", split=split, seed=seed, top1=top1, protocol=protocol, identity=f"{count:064x}"
        )

    scores = {
        "untrained": [(40.0, 50.0), (60.0, 70.0), (50.0, 60.0)],
        "aimclr": [(60.0, 60.0), (70.0, 80.0), (80.0, 70.0)],
    }
    made = [
        add(method, f"fold{fold}", seed, top1)
        for method, folds in scores.items()
        for fold, seeds in enumerate(folds, start=1)
        for seed, top1 in enumerate(seeds)
    ]
    made += [add("hiclr", f"fold{fold}", 0, 99.0) for fold in (1, 2)]
    return [*made, add("aimclr", "fold1", 0, 10.0, "knn"), add("aimclr", "whole", 0, 1.0)]


def cells(table):
    """Rows as text, by method, without the columns of the setup."""
    names = [column.name for column in table.columns]
    shown = [
        [text_of(entry, column.kind) for column, entry in zip(table.columns, row, strict=True)] for row in table.rows
    ]
    return {row[0]: dict(zip(names, row, strict=True)) for row in shown}


def test_folds_are_averaged_seed_by_seed(records):
    (table,) = folded(records)
    rows = cells(table)
    assert list(rows) == ["untrained (floor)", "aimclr", "hiclr"]
    # Seeds: (40 + 60 + 50) / 3 and (50 + 70 + 60) / 3; (60 + 70 + 80) / 3 and (60 + 80 + 70) / 3.
    assert rows["untrained (floor)"]["linear"] == "55.0 ± 7.1"
    assert (rows["aimclr"]["linear"], rows["aimclr"]["linear Δ floor"]) == ("70.0 ± 0.0", "+15.0")
    assert (rows["aimclr"]["seeds"], rows["aimclr"]["folds"]) == ("2", "3")
    assert "mean of 3 folds" in table.title


def test_a_row_or_a_protocol_that_lacks_a_fold_has_no_mean(records):
    rows = cells(folded(records)[0])
    assert (rows["hiclr"]["folds"], rows["hiclr"]["linear"], rows["hiclr"]["seeds"]) == ("2", "–", "–")
    assert rows["aimclr"]["knn"] == "–"


def test_a_seed_that_lacks_a_fold_does_not_count(records):
    rest = [r for r in records if (r.cell.method, r.cell.split, r.cell.seed) != ("aimclr", "fold3", 1)]
    row = cells(folded(rest)[0])["aimclr"]
    assert (row["linear"], row["seeds"]) == ("70.0", "1")


def test_one_fold_and_other_splits_have_no_table(records):
    assert folded(r for r in records if r.cell.split in ("fold1", "whole")) == []


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"data": {"fingerprint": "bb"}}, "fold3: data bb instead of aa"),
        ({"versions": {"method": 2, "protocol": 1}}, "fold3: method 2 instead of 1"),
        ({"versions": {"method": 1, "protocol": 2}}, "fold3: protocol 2 instead of 1"),
        (
            {"versions": {"method": 1, "protocol": 1, "plugins": {"mine.py": "22"}}},
            "fold3: mine.py 22 instead of 11",
        ),
    ],
)
def test_there_is_no_mean_over_folds_of_different_versions(records, make_record, other, told):
    code = {"method": 1, "protocol": 1, "plugins": {"mine.py": "11"}}
    made = [one.model_copy(update={"versions": code}) if "plugins" in str(other) else one for one in records]
    made = [one for one in made if (one.cell.method, one.cell.split) != ("aimclr", "fold3")]
    made += [
        make_record(
            method="aimclr", dataset="sbu", split="fold3", seed=seed, top1=90.0, identity=f"{99 + seed:064x}", **other
        )
        for seed in range(2)
    ]
    (table,) = folded(made)
    rows = cells(table)
    assert (rows["aimclr"]["linear"], rows["aimclr"]["linear Δ floor"], rows["aimclr"]["seeds"]) == ("–", "–", "–")
    assert rows["untrained (floor)"]["linear"] == "55.0 ± 7.1"
    assert f"No mean of aimclr stgcn linear: its folds are of different versions ({told})." in table.footnotes


def test_the_floor_of_other_data_gives_no_difference(records):
    other = [
        one.model_copy(update={"data": one.data | {"fingerprint": "bb"}}) if one.cell.method == "untrained" else one
        for one in records
    ]
    rows = cells(folded(other)[0])
    assert (rows["aimclr"]["linear"], rows["aimclr"]["linear Δ floor"]) == ("70.0 ± 0.0", "–")


def test_uneven_classes_have_their_mean_beside_top1(records):
    uneven = [
        one.model_copy(update={"extra": {"mean_class_top1": one.last.top1 / 2, "largest_class": 60.0}})
        for one in records
    ]
    rows = cells(folded(uneven)[0])
    assert (rows["aimclr"]["linear"], rows["aimclr"]["linear balanced"]) == ("70.0 ± 0.0", "35.0 ± 0.0")
    assert rows["hiclr"]["linear balanced"] == "–"
    assert "linear balanced" not in cells(folded(records)[0])["aimclr"]
