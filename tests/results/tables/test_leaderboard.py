import hashlib
import io
import json
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from skelbench.results.files import ClipFacts, write_scores
from skelbench.results.record import Failure
from skelbench.results.store import RunStore
from skelbench.results.tables.costs import cost_entries
from skelbench.results.tables.leaderboard import Wanted, leaderboard
from skelbench.results.tables.measures import Measure
from skelbench.results.tables.table import MISSING, text_of
from skelbench.results.writers import to_csv, to_json, to_markdown, to_rich


def frame(tables):
    return pd.read_csv(io.StringIO(to_csv(tables)))


def cell(table, method, column, backbone="stgcn"):
    """What a reader sees in one place of a table."""
    index, *named = (columns(table).index(name) for name in (column, "method", "backbone"))
    (row,) = [row for row in table.rows if [row[i].value for i in named] == [method, backbone]]
    return text_of(row[index], table.columns[index].kind)


def columns(table):
    return [column.name for column in table.columns]


def printed(table, width):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(to_rich(table))
    return console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue] - it is the StringIO above


@pytest.fixture
def grid(make_record):
    """Three methods, three seeds, knn and linear, on a dataset without published numbers."""
    return [
        make_record(method=method, protocol=protocol, seed=seed, dataset="nwucla", top1=base + step * seed)
        for method, base, step in (("untrained", 30, 1.5), ("skeletonclr", 52, 2), ("skeattnclr", 61, 0.7))
        for protocol in ("knn", "linear")
        for seed in range(3)
    ]


def test_mean_and_sample_deviation_over_seeds(make_record):
    values = [50.0, 57.3, 61.1]
    (table,) = leaderboard([make_record(seed=i, top1=v) for i, v in enumerate(values)])
    assert cell(table, "skeattnclr", "linear") == f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"
    assert cell(table, "skeattnclr", "seeds") == "3"


def test_one_seed_has_no_deviation(make_record):
    (table,) = leaderboard([make_record(top1=57.25)])
    assert cell(table, "skeattnclr", "linear") == "57.2"
    assert "linear std" not in frame(table)


def test_setup_of_every_row_is_shown(make_record):
    (table,) = leaderboard([make_record(model={"width": 64, "epochs": 300})])
    assert columns(table)[:7] == ["method", "backbone", "width", "parameters", "frames", "epochs", "seeds"]
    assert [cell(table, "skeattnclr", c) for c in columns(table)[2:7]] == ["64", "836,123", "48", "300", "1"]


def test_cells_of_a_row_that_disagree_on_the_setup_show_both(make_record):
    (table,) = leaderboard([make_record(protocol="knn", model={"epochs": 5}), make_record(model={"epochs": 20})])
    assert cell(table, "skeattnclr", "epochs") == "5/20"


@pytest.mark.parametrize(
    "other",
    [
        {"track": "published"},
        {"track": "custom", "label": "demo"},
        {"split": "xview"},
        {"stream": "bone"},
        {"dataset": "ntu120"},
        {"pretrained_on": "ntu120:xsub"},
    ],
)
def test_what_is_not_comparable_never_shares_a_table(make_record, other):
    tables = leaderboard([make_record(method="skeletonclr"), make_record(method="aimclr", **other)])
    assert sorted(tuple(row[0].value for row in table.rows) for table in tables) == [
        ("aimclr",),
        ("skeletonclr",),
    ]


def test_custom_labels_are_apart_and_in_the_title(make_record):
    labels = ("demo", "epochs=5")
    tables = leaderboard([make_record(track="custom", label=label, seed=i) for i, label in enumerate(labels)])
    assert [table.title for table in tables] == [f"ntu60 xsub, joint (custom: {label})" for label in labels]
    assert all(cell(table, "skeattnclr", "seeds") == "1" for table in tables)


def test_streams_are_in_a_fixed_order_with_their_fusion_last(make_record):
    tables = leaderboard([make_record(stream=s) for s in ("3s", "motion", "bone", "joint")])
    assert [table.facts["stream"] for table in tables] == ["joint", "bone", "motion", "3s"]


def test_pre_training_data_is_in_title_and_csv_and_without_paper_numbers(make_record):
    own, moved = leaderboard(
        [make_record(track="published"), make_record(track="published", pretrained_on="ntu120:xset")]
    )
    assert moved.title == "ntu60 xsub, joint (published, pre-trained on ntu120:xset)"
    assert "linear paper" in columns(own) and "linear paper" not in columns(moved)
    assert frame([own, moved])["pretrained_on"].fillna("").tolist() == ["", "ntu120:xset"]


def test_a_refused_pair_is_a_last_row_without_numbers_and_with_its_reason(grid):
    reason = "AimCLR masks joints, which 'bigru' has not; choose another backbone."
    pairs = {("aimclr", "bigru"): reason, ("skeattnclr", "stgcn"): "its number is there all the same"}
    plain, (table,) = leaderboard(grid), leaderboard(grid, refused=pairs)
    assert table.rows[:-1] == plain[0].rows
    shown = [text_of(entry, column.kind) for entry, column in zip(table.rows[-1], table.columns, strict=True)]
    assert shown[:2] == ["aimclr", "bigru"]
    assert {name: text for name, text in zip(columns(table), shown, strict=True) if text} == {
        "method": "aimclr",
        "backbone": "bigru",
        "knn": "n/a",
        "linear": "n/a",
    }
    assert table.footnotes == (*plain[0].footnotes, f"n/a: {reason}")


def test_a_missing_cell_is_a_dash_and_empty_in_csv(make_record):
    (table,) = leaderboard([make_record(method="aimclr"), make_record(method="hiclr", protocol="knn")])
    assert cell(table, "aimclr", "knn") == cell(table, "hiclr", "linear") == MISSING == "–"
    rows = frame(table).set_index("method")
    assert np.isnan(rows.loc["aimclr", "knn"]) and rows.loc["hiclr", "knn"] == 50.0


def test_rows_with_other_seed_counts_are_pointed_out(make_record, grid):
    (even,) = leaderboard(grid)
    assert not any("number of seeds" in note for note in even.footnotes)
    (uneven,) = leaderboard(grid[:-1])
    assert cell(uneven, "skeattnclr", "seeds") == "2/3"
    (note,) = [note for note in uneven.footnotes if "number of seeds" in note]
    assert "skeattnclr stgcn knn 3, linear 2" in note


def test_the_floor_is_first_and_the_rest_is_ranked(grid):
    (table,) = leaderboard(grid)
    assert [row[0].value for row in table.rows] == ["untrained (floor)", "skeattnclr", "skeletonclr"]
    assert cell(table, "untrained (floor)", "linear") == "31.5 ± 1.5"
    assert cell(table, "untrained (floor)", "linear Δ floor") == ""
    assert cell(table, "skeattnclr", "linear Δ floor") == f"{61.7 - 31.5:+.1f}"
    assert not any("floor" in note for note in table.footnotes)


def test_the_floor_is_that_of_the_same_backbone(make_record, grid):
    images = [make_record(method="skeletonclr", backbone="images", dataset="nwucla", top1=70.0)]
    (table,) = leaderboard(grid + images)
    assert cell(table, "skeletonclr", "linear Δ floor", "images") == MISSING
    assert cell(table, "skeletonclr", "linear Δ floor", "stgcn") == f"{54 - 31.5:+.1f}"
    assert any("here: images knn 0, images linear 0" in note for note in table.footnotes)


def test_a_floor_of_fewer_than_three_seeds_is_pointed_out(grid):
    (table,) = leaderboard([r for r in grid if r.cell.method != "untrained" or r.cell.seed == 0])
    assert "A floor is the mean of at least 3 seeds; here: stgcn knn 1, stgcn linear 1." in table.footnotes


def test_the_best_of_a_column_is_bold(grid):
    (table,) = leaderboard(grid)
    lines = to_markdown(table).splitlines()
    assert [line.count("**") for line in lines if line.startswith("| ske")] == [4, 0]


def test_paper_and_difference_only_in_track_published(make_record):
    equal, published = (leaderboard([make_record(track=t, top1=78.0)])[0] for t in ("equal", "published"))
    assert cell(published, "skeattnclr", "linear paper") == "80.3"
    assert cell(published, "skeattnclr", "linear Δ paper") == "-2.3"
    assert cell(equal, "skeattnclr", "linear paper") == "80.3" and "linear Δ paper" not in columns(equal)
    (custom,) = leaderboard([make_record(track="custom", label="method.mu=1", top1=78.0)])
    assert "linear paper" not in columns(custom)


def test_two_sources_are_distinguished_and_the_difference_is_to_the_cited(make_record):
    (table,) = leaderboard([make_record(method="skeletonclr", track="published", top1=70.0)])
    assert cell(table, "skeletonclr", "linear paper") == "68.3 (re-run 72.0)"
    assert cell(table, "skeletonclr", "linear Δ paper") == "+1.7"


def test_a_cell_the_paper_does_not_have_gets_no_number_from_its_neighbours(make_record):
    (table,) = leaderboard([make_record(method="skeletonclr", split="xview", dataset="pkummd1")])
    assert "linear paper" not in columns(table)
    two = [make_record(), make_record(backbone="images")]
    (table,) = leaderboard(two)
    assert cell(table, "skeattnclr", "linear paper", "images") == MISSING


def test_a_re_run_alone_is_named_as_one(make_record):
    (table,) = leaderboard([make_record(method="skeletonclr", dataset="pkummd1")])
    assert cell(table, "skeletonclr", "linear paper") == "80.3 (re-run)"
    assert any("taken to be cross-subject" in note for note in table.footnotes)


def test_no_paper_columns_without_published_numbers(grid):
    (table,) = leaderboard(grid)
    assert not any("paper" in text for text in [*columns(table), *table.footnotes])


def test_paper_numbers_are_linked_to_their_line_with_their_warnings(make_record):
    (table,) = leaderboard([make_record(dataset="ntu120", split="xset")])
    rows = frame(table)
    assert rows["linear paper source"].tolist() == ["skeattnclr_tables.csv:13"]
    assert any(note.startswith("paper, lines 13, 98: Probably a split by cameras") for note in table.footnotes)
    assert any("width 64" in note for note in table.footnotes)
    assert not any("printed +" in note for note in table.footnotes)


def test_a_mislabelled_number_is_only_a_footnote_where_there_is_another(make_record):
    (table,) = leaderboard([make_record(method="skeletonclr", stream="3s")])
    assert cell(table, "skeletonclr", "linear paper").startswith("75.0")
    assert any("(77.8): Likely mislabelled" in note for note in table.footnotes)


def test_there_is_no_difference_to_a_mislabelled_number(make_record):
    alone = make_record(method="skeletonclr", stream="3s", protocol="finetune", track="published", top1=80.0)
    (table,) = leaderboard([alone, make_record(stream="3s", protocol="finetune", track="published", top1=80.0)])
    assert cell(table, "skeletonclr", "finetune paper") == "86.2"
    assert cell(table, "skeletonclr", "finetune Δ paper") == MISSING
    assert cell(table, "skeattnclr", "finetune Δ paper") == "-9.4"
    assert "Δ paper: none to a number that is likely mislabelled." in table.footnotes


def test_best_is_beside_last_with_its_rule(make_record):
    (table,) = leaderboard([make_record(top1=57.2, best=58.0)])
    assert cell(table, "skeattnclr", "linear") == "57.2"
    assert cell(table, "skeattnclr", "linear best") == "58.0"
    assert "best: held-out subjects." in table.footnotes


def test_best_is_missing_unless_every_seed_has_it(make_record):
    rows = [make_record(method="aimclr", best=60.0), make_record(best=58.0), make_record(seed=1)]
    (table,) = leaderboard(rows)
    assert cell(table, "skeattnclr", "linear best") == MISSING and cell(table, "aimclr", "linear best") == "60.0"
    (without,) = leaderboard(rows[2:])
    assert "linear best" not in columns(without)


@pytest.mark.parametrize(
    "old",
    [
        {"seed": 0},
        {"seed": 1, "settings": {"lr": 0.2, "seed": 1}},
        {"seed": 1, "versions": {"method": 0, "protocol": 1}},
        {"seed": 1, "versions": {"method": 1, "protocol": 1, "plugins": {"mine.py": "00"}}},
        {"seed": 1, "versions": {"method": 1, "protocol": 1, "packages": {"mine": "1.0"}}},
        {"seed": 1, "data": {"fingerprint": "bb"}},
    ],
)
def test_a_mean_never_mixes_what_is_not_comparable(make_record, old):
    new = make_record(top1=60.0, finished="2024-05-02T00:00:00.5+00:00")
    (table,) = leaderboard([new, make_record(top1=10.0, finished="2024-05-01T23:59:59Z", **old)])
    assert cell(table, "skeattnclr", "linear") == "60.0"
    assert any(note.startswith("1 record(s) left out") for note in table.footnotes)


def test_rows_on_different_data_are_pointed_out(make_record):
    (table,) = leaderboard([make_record(), make_record(method="aimclr", data={"fingerprint": "bb"})])
    assert any("different versions of the data (aa, bb)" in note for note in table.footnotes)


def test_pretraining_alone_makes_no_table(make_record):
    assert leaderboard([make_record(protocol="pretrain", top1=None)]) == []
    assert leaderboard([]) == []


def test_failures_are_footnotes_of_their_own_table(make_record):
    record, other = make_record(), make_record(split="xview")
    failure = Failure(cell=record.cell, identity="ab" * 8, reason="out of memory", finished=record.finished)
    by_split = {table.facts["split"]: table.footnotes for table in leaderboard([record, other], [failure])}
    note = "failed: skeattnclr stgcn ntu60 xsub joint linear seed 0 (equal): out of memory"
    assert note in by_split["xsub"] and note not in by_split["xview"]


def test_untrained_finetuned_is_supervised_and_not_a_floor(make_record):
    (table,) = leaderboard([make_record(method=m, protocol="finetune") for m in ("untrained", "skeattnclr")])
    assert "finetune Δ floor" not in columns(table)
    assert "finetune of untrained is supervised training from scratch and not a floor." in table.footnotes
    assert cell(table, "untrained (floor)", "finetune paper") == "85.2"


def test_protocols_are_in_a_fixed_order(make_record):
    (table,) = leaderboard([make_record(protocol=p, dataset="own") for p in ("zeta", "semi1", "linear", "knn")])
    assert columns(table)[7:] == ["knn", "linear", "semi1", "zeta"]


def test_the_order_of_records_does_not_matter(make_record, grid):
    more = [*grid, *(make_record(method=m, seed=s) for m in ("aimclr", "hiclr") for s in range(2))]
    assert leaderboard(more) == leaderboard(more[::-1])


def test_csv_holds_the_printed_numbers_and_where_each_row_belongs(make_record, grid):
    tables = leaderboard([*grid, make_record(track="custom", label="demo, small", top1=44.44)])
    rows = frame(tables).set_index(["track", "method"])
    assert rows.loc[("equal", "skeattnclr"), "linear"] == 61.7
    assert rows.loc[("equal", "skeattnclr"), "linear std"] == 0.7
    assert rows.loc[("equal", "skeattnclr"), "parameters"] == 836123
    assert rows.loc[("custom", "skeattnclr"), "label"] == "demo, small"
    assert rows.loc[("custom", "skeattnclr"), "linear"] == 44.4


@pytest.mark.parametrize("width", [60, 80, 120, 300])
def test_no_number_is_cut_in_a_terminal(make_record, width):
    records = [
        make_record(method=m, protocol=p, seed=s, track="published", top1=50 + s, best=60.0 + s)
        for m in ("untrained", "skeletonclr", "skeattnclr")
        for p in ("knn", "linear")
        for s in range(3)
    ]
    (table,) = leaderboard(records)
    text = printed(table, width)
    assert max(map(len, text.splitlines())) <= width
    for row in table.rows:
        for entry, column in zip(row, table.columns, strict=True):
            assert text_of(entry, column.kind) in text
    assert "…" not in text


def test_a_wide_terminal_shows_a_row_in_one_line(grid):
    (table,) = leaderboard(grid)
    (line,) = [line for line in printed(table, 200).splitlines() if line.startswith("skeattnclr")]
    assert line.split("  ")[0] == "skeattnclr" and "61.7 ± 0.7" in line


def test_settings_borrowed_from_another_data_set_are_marked_in_published(make_record):
    def notes(**settings):
        record = make_record(track="published", settings={"lr": 0.1} | settings)
        return " ".join(leaderboard([record])[0].footnotes)

    assert "or the protocol's own: skeattnclr." in notes(released_for_this_data=False)
    assert "Not released for" not in notes(released_for_this_data=True)


# --- Ranked -----------------------------------------------------------------------------------------------------


@pytest.fixture
def ranked(tmp_path, make_record):
    """Make records with scores in a folder of runs; 400 clips of five persons, of which a share is right."""
    runs = RunStore(tmp_path / "runs")
    names, labels = [f"clip{i:03d}" for i in range(400)], np.arange(400) % 4
    facts = ClipFacts(np.arange(400) // 4 % 5, np.zeros(400, int), np.array(names))

    def make(method, share, seed=0, **fields):
        identity = hashlib.sha256(f"{method}{seed}{fields}".encode()).hexdigest()[:32]
        right = np.random.default_rng(int(identity, 16)).permutation(400) < 400 * share
        record = make_record(
            method=method, seed=seed, top1=100 * share, identity=identity, files={"scores": "scores.npz"}, **fields
        )
        folder = runs.folder(record.key)
        write_scores(folder, names, labels, np.eye(4)[np.where(right, labels, (labels + 1) % 4)], facts)
        runs.write(record)
        return record

    return runs, make


def seeds(make, method, share, **fields):
    """Three trainings of a method."""
    return [make(method, share, seed=seed, **fields) for seed in range(3)]


def test_a_difference_within_the_noise_is_a_tie_and_the_floor_has_no_rank(ranked):
    runs, make = ranked
    shares = {"untrained": 0.3, "skeattnclr": 0.7, "aimclr": 0.695, "skeletonclr": 0.5}
    (table,) = leaderboard([one for m, share in shares.items() for one in seeds(make, m, share)], runs=runs)
    assert columns(table)[:4] == ["rank", "rank by seed", "method", "backbone"]
    assert [(row[2].value, row[0].value) for row in table.rows] == [
        ("untrained (floor)", ""), ("skeattnclr", "1–2"), ("aimclr", "1–2"), ("skeletonclr", "3"),
    ]  # fmt: skip
    best = [row[2].value for row in table.rows if row[columns(table).index("linear")].strong]
    assert best == ["skeattnclr", "aimclr"]
    (note,) = [note for note in table.footnotes if note.startswith("rank: ")]
    assert (
        "by linear" in note and "trainings, between the 5 persons" in note and "at most 5%" in note and "Holm" in note
    )


def test_the_difference_to_the_floor_has_the_interval_of_the_noise(ranked):
    runs, make = ranked
    shares = {"untrained": 0.3, "skeattnclr": 0.7, "aimclr": 0.31}
    records = [one for m, share in shares.items() for one in seeds(make, m, share)]
    (table,) = leaderboard(records, runs=runs)
    place = columns(table).index("linear Δ floor")
    found = {row[2].value: row[place] for row in table.rows}
    assert found["untrained (floor)"].value == "" and found["untrained (floor)"].interval is None
    for name, gain in (("skeattnclr", 40.0), ("aimclr", 1.0)):
        low, high = found[name].interval or (0.0, 0.0)
        assert found[name].value == pytest.approx(gain) == pytest.approx((low + high) / 2)
        assert (low > 0) == (name == "skeattnclr")
        assert cell(table, name, "linear Δ floor") == f"+{gain:.1f} [{low:+.1f}, {high:+.1f}]"
    assert any(note.startswith("Δ floor: [low, high]") for note in table.footnotes)
    row = frame([table]).set_index("method").loc["skeattnclr"]
    assert cell(table, "skeattnclr", "linear Δ floor").startswith(f"+40.0 [{row['linear Δ floor low']:+.1f}, ")
    (without,) = leaderboard(records)
    assert cell(without, "skeattnclr", "linear Δ floor") == "+40.0"


def test_one_seed_has_no_rank_and_an_interval_that_says_so(ranked):
    runs, make = ranked
    rows = [*seeds(make, "untrained", 0.3), *seeds(make, "skeattnclr", 0.7), make("aimclr", 0.6)]
    (table,) = leaderboard(rows, runs=runs)
    assert {row[2].value: row[0].value for row in table.rows} == {
        "untrained (floor)": "", "skeattnclr": "1", "aimclr": None,
    }  # fmt: skip
    assert cell(table, "aimclr", "linear Δ floor").endswith("] (one seed)")
    assert "Without a rank: aimclr stgcn (one seed)." in table.footnotes
    assert any(note.startswith("(one seed): the noise between trainings is not known") for note in table.footnotes)


def test_every_pair_that_was_compared_is_a_table_of_its_own_if_asked_for(ranked):
    runs, make = ranked
    shares = {"untrained": 0.3, "skeattnclr": 0.7, "aimclr": 0.695, "skeletonclr": 0.5}
    records = [one for m, share in shares.items() for one in seeds(make, m, share)]
    assert len(leaderboard(records, runs=runs)) == 1
    _, pairs = leaderboard(records, runs=runs, wanted=Wanted(pairs=True))
    named = [(row[0].value, row[1].value, row[-1].value) for row in pairs.rows]
    assert named == [
        ("skeattnclr stgcn", "skeletonclr stgcn", "yes"),
        ("aimclr stgcn", "skeletonclr stgcn", "yes"),
        ("skeattnclr stgcn", "aimclr stgcn", "no"),
    ]
    lows = [row[2].interval[0] for row in pairs.rows if row[2].interval]
    assert [low > 0 for low in lows] == [True, True, False]
    assert pairs.title.endswith(": pairs by linear")


def test_uneven_classes_have_their_mean_beside_top1_and_may_rank(ranked):
    """Nine of ten clips are of one class: naming it always gives 90.0, and 50.0 over the two classes."""
    runs, make = ranked
    uneven = {"data": {"fingerprint": "aa", "test": 400, "classes": 2}}
    rows = []
    for name, top1, balanced in (("untrained", 40.0, 45.0), ("skeattnclr", 90.0, 50.0), ("aimclr", 80.0, 79.0)):
        extra = {"mean_class_top1": balanced, "largest_class": 90.0}
        rows += [one.model_copy(update={"extra": extra}) for one in seeds(make, name, top1 / 100, **uneven)]
    (table,) = leaderboard(rows, runs=runs)
    assert [cell(table, "skeattnclr", name) for name in ("linear", "linear balanced")] == ["90.0 ± 0.0", "50.0 ± 0.0"]
    assert [row[2].value for row in table.rows] == ["untrained (floor)", "skeattnclr", "aimclr"]
    (note,) = [note for note in table.footnotes if note.startswith("balanced: ")]
    assert "90.0 % of the test clips" in note and "50.0 % of even classes" in note
    (table,) = leaderboard(rows, runs=runs, wanted=Wanted("balanced"))
    assert [row[2].value for row in table.rows] == ["untrained (floor)", "aimclr", "skeattnclr"]
    assert cell(table, "aimclr", "linear Δ floor").startswith("+34.0 [")
    assert any(note.startswith("rank: by linear balanced;") for note in table.footnotes)
    even = [one.model_copy(update={"extra": one.extra | {"largest_class": 74.9}}) for one in rows]
    assert "linear balanced" not in columns(leaderboard(even)[0])  # below 1.5 times the share of even classes


def test_the_calibration_error_is_shown_if_asked_for(ranked):
    runs, make = ranked
    rows = seeds(make, "skeattnclr", 0.7)
    assert "linear ECE" not in columns(leaderboard(rows, runs=runs)[0])
    (table,) = leaderboard(rows, runs=runs, wanted=Wanted(calibration=True))
    certain = np.exp(1) / (np.exp(1) + 3)  # of the scores 1, 0, 0, 0, whatever the class
    assert cell(table, "skeattnclr", "linear ECE") == f"{100 * (0.7 - certain):.1f} ± 0.0"
    newer = [one.model_copy(update={"extra": {"ece": 12.5}}) for one in rows]
    assert cell(leaderboard(newer, wanted=Wanted(calibration=True))[0], "skeattnclr", "linear ECE") == "12.5 ± 0.0"


def test_rows_that_have_not_settled_have_no_rank_unless_all_are_asked_for(ranked):
    runs, make = ranked
    rows = [
        *seeds(make, "skeattnclr", 0.7),
        *seeds(make, "aimclr", 0.8, settled="rising"),
        *seeds(make, "hiclr", 0.2, settled=None),
    ]
    (table,) = leaderboard(rows, runs=runs)
    place = columns(table).index("linear")
    assert [(row[2].value, row[0].value, text_of(row[place], "percent")) for row in table.rows] == [
        ("aimclr", None, "80.0 ± 0.0 (rising)"),
        ("skeattnclr", "1", "70.0 ± 0.0"),
        ("hiclr", None, "20.0 ± 0.0 (unknown)"),
    ]  # fmt: skip
    assert "Without a rank: aimclr stgcn (settled: rising); hiclr stgcn (settled: unknown)." in table.footnotes
    assert any(note.startswith("settled: ") for note in table.footnotes)
    (table,) = leaderboard(rows, runs=runs, wanted=Wanted(every=True))
    assert [row[0].value for row in table.rows] == ["1", "2", "3"]


def test_each_seed_alone_gives_a_row_a_place(ranked):
    runs, make = ranked
    shares = {
        "untrained": (0.9, 0.9, 0.9),
        "skeattnclr": (0.7, 0.4, 0.7),
        "aimclr": (0.5, 0.6, 0.7),
        "hiclr": (0.6, 0.5),
    }
    rows = [make(m, share, seed=s) for m, mine in shares.items() for s, share in enumerate(mine)]
    rows += [make("crosclr", 0.95, seed=s, settled="rising") for s in range(3)]  # no rank, so in no place
    (table,) = leaderboard(rows, runs=runs)
    assert columns(table)[:3] == ["rank", "rank by seed", "method"]
    assert {row[2].value: row[1].value for row in table.rows} == {
        "untrained (floor)": "", "crosclr": None, "skeattnclr": "1 3 1", "aimclr": "3 1 1", "hiclr": "2 2 –",
    }  # fmt: skip
    assert any(note.startswith("rank by seed: ") for note in table.footnotes)


def test_a_demonstration_says_that_it_is_one(make_record):
    (table,) = leaderboard([make_record(settings={"demonstration": True})])
    assert any(note.startswith("A demonstration") for note in table.footnotes)


def test_a_row_without_scores_is_not_ranked_and_says_so(ranked, make_record):
    runs, make = ranked
    bare = make_record(method="hiclr", top1=99.0)
    (table,) = leaderboard([*seeds(make, "skeattnclr", 0.7), *seeds(make, "aimclr", 0.4), bare], runs=runs)
    assert [(row[2].value, text_of(row[0], "count")) for row in table.rows] == [
        ("hiclr", "–"), ("skeattnclr", "1"), ("aimclr", "2"),
    ]  # fmt: skip
    assert "Without a rank: hiclr stgcn (no class scores were saved)." in table.footnotes


def test_a_floor_above_all_methods_is_the_best_and_still_has_no_rank(ranked):
    runs, make = ranked
    (table,) = leaderboard(
        [
            one
            for m, share in (("untrained", 0.8), ("skeattnclr", 0.7), ("aimclr", 0.4))
            for one in seeds(make, m, share)
        ],
        runs=runs,
    )
    place = columns(table).index("linear")
    assert [(row[0].value, row[place].strong) for row in table.rows] == [("", True), ("1", False), ("2", False)]


def test_tracks_are_ranked_apart(ranked):
    runs, make = ranked
    tables = leaderboard(
        [one for m in ("aimclr", "hiclr") for t in ("equal", "published") for one in seeds(make, m, 0.5, track=t)],
        runs=runs,
    )
    assert [[row[0].value for row in table.rows] for table in tables] == [["1–2", "1–2"]] * 2


def test_the_cost_is_that_of_the_pre_training_behind_a_row(ranked, make_record):
    runs, make = ranked
    trained = [
        make_record(
            protocol="pretrain", seed=seed, top1=None, identity=f"{seed:032x}",
            cost={"train_seconds": seconds, "clips_per_second": rate}, environment={"device_name": "a machine"},
        )
        for seed, seconds, rate in ((0, 600.0, 100.0), (1, 1200.0, 50.0))
    ]  # fmt: skip
    shown = [
        make("skeattnclr", 0.7, seed=s, pretrain=f"{s:032x}", protocol=p) for s in (0, 1) for p in ("knn", "linear")
    ]
    lost = make("aimclr", 0.6, pretrain="ff" * 16)
    (table,) = leaderboard([*shown, lost], runs=runs, behind=[*trained, make_record(split="xview")])
    assert leaderboard([*trained, *shown, lost], runs=runs) == [table]
    assert [cell(table, "skeattnclr", c) for c in ("train time", "clips/s")] == ["15 min", "75"]
    assert [cell(table, "aimclr", c) for c in ("train time", "clips/s")] == ["–", "–"]
    assert any(note.endswith("on a machine.") for note in table.footnotes)


def test_a_fusion_costs_what_its_streams_cost_and_a_shared_training_once(make_record):
    def part(stream, pretrain):
        return make_record(stream=stream, identity=identity(stream), pretrain=identity(pretrain))

    def trained(name, seconds):
        cost = {"train_seconds": seconds, "clips_per_second": 60.0}
        return make_record(protocol="pretrain", top1=None, identity=identity(name), cost=cost)

    def identity(name):
        return hashlib.sha256(name.encode()).hexdigest()[:32]

    streams = ("joint", "bone", "motion")
    fusion = {stream: {"weight": 1.0, "identity": identity(stream)} for stream in streams} | {"weights_of": "equal"}
    fused = make_record(stream="3s", settings={"fusion": fusion})
    apart = [*(part(s, f"pretrain {s}") for s in streams), *(trained(f"pretrain {s}", 60.0) for s in streams), fused]
    together = [*(part(s, "all") for s in streams), trained("all", 90.0), fused]
    for records, seconds in ((apart, 180.0), (together, 90.0)):
        found, rate = cost_entries([fused], {record.identity: record for record in records})
        assert (found.value, rate.value) == (seconds, 60.0)
    assert cost_entries([fused], {record.identity: record for record in apart[1:]})[0].value is None


def test_without_a_folder_of_runs_nothing_is_ranked(grid):
    (table,) = leaderboard(grid)
    assert not {"rank", "train time", "clips/s"} & set(columns(table))
    assert not any("rank" in note.lower() for note in table.footnotes)


def test_a_method_that_is_not_its_authors_code_has_a_dagger(make_record):
    versions = [{"method": 1, "protocol": 1, "fidelity": text} for text in ("rebuilt", "by hand")]
    records = [make_record(method=m, versions=v) for m, v in zip(("mine", "yours"), versions, strict=True)]
    (table,) = leaderboard([*records, make_record(method="aimclr")])
    assert {row[0].value: row[0].marks for row in table.rows} == {"mine": ("†",), "yours": ("‡",), "aimclr": ()}
    assert [(note.mark, note.text) for note in table.notes] == [("†", "rebuilt"), ("‡", "by hand")]


def test_what_learnt_from_class_names_is_in_no_self_supervised_table(make_record):
    supervised = make_record(method="mine", settings={"supervision": "language-supervised"})
    for others in ([make_record(method="aimclr")], [make_record(method="untrained"), make_record(method="aimclr")]):
        apart = {table.title: [row[0].value for row in table.rows] for table in leaderboard([*others, supervised])}
        assert len(apart) == 2
        (title,) = (title for title, methods in apart.items() if "mine" in methods)
        assert "language-supervised" in title
        assert apart[title] == ["mine"]


def test_rows_of_different_versions_are_reported(make_record):
    old, new = {"method": 1, "protocol": 1}, {"method": 1, "protocol": 2}
    (even,) = leaderboard([make_record(method=name, versions=new) for name in ("aimclr", "hiclr")])
    assert not any("version" in note for note in even.footnotes)
    (table,) = leaderboard([make_record(method="aimclr", versions=old), make_record(method="hiclr", versions=new)])
    assert "WARNING: protocol linear is here in version 2 and in older ones: 1 (aimclr stgcn)." in table.footnotes


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"data": {"fingerprint": "bb", "test": 5, "classes": 3}}, "data bb instead of aa"),
        ({"versions": {"method": 1, "protocol": 2}}, "protocol 2 instead of 1"),
    ],
)
def test_rows_of_another_version_have_neither_rank_nor_difference(ranked, other, told):
    runs, make = ranked
    shares = {"untrained": 0.3, "skeattnclr": 0.7, "skeletonclr": 0.5}
    rows = [one for name, share in shares.items() for one in seeds(make, name, share)]
    rows += seeds(make, "aimclr", 0.9, **other)
    (table,) = leaderboard(rows, runs=runs)
    assert {row[2].value: row[0].value for row in table.rows} == {
        "untrained (floor)": "", "aimclr": None, "skeattnclr": "1", "skeletonclr": "2",
    }  # fmt: skip
    assert cell(table, "aimclr", "linear") == "90.0 ± 0.0" and cell(table, "aimclr", "linear Δ floor") == MISSING
    assert cell(table, "skeattnclr", "linear Δ floor").startswith("+40.0 [")
    assert f"Without a rank: aimclr stgcn ({told})." in table.footnotes


def test_of_equally_many_rows_the_newest_versions_are_compared(ranked):
    runs, make = ranked
    old = {"data": {"fingerprint": "old", "test": 400, "classes": 4}}
    rows = seeds(make, "aimclr", 0.9, finished="2024-06-01T00:00:00Z") + seeds(make, "hiclr", 0.5, **old)
    assert [row[0].value for row in leaderboard(rows, runs=runs)[0].rows] == ["1", None]
    rows = seeds(make, "aimclr", 0.9) + seeds(make, "hiclr", 0.5, **old, finished="2024-06-01T00:00:00Z")
    assert [row[0].value for row in leaderboard(rows, runs=runs)[0].rows] == [None, "1"]


def test_a_row_of_other_data_makes_no_other_row_old(ranked):
    runs, make = ranked
    new = {"versions": {"method": 2, "protocol": 1}, "data": {"fingerprint": "bb", "test": 400, "classes": 4}}
    rows = [*seeds(make, "aimclr", 0.7), *seeds(make, "hiclr", 0.5)]
    rows += seeds(make, "aimclr", 0.9, backbone="bigru", finished="2024-06-01T00:00:00Z", **new)
    (table,) = leaderboard(rows, runs=runs)
    assert [(row[2].value, row[3].value, row[0].value) for row in table.rows] == [
        ("aimclr", "bigru", None), ("aimclr", "stgcn", "1"), ("hiclr", "stgcn", "2"),
    ]  # fmt: skip


def test_ranks_by_the_mean_over_classes_count_classes_and_not_clips(ranked):
    """Rows that differ only in the rare class: apart over classes, not over clips, and unknown without the numbers."""
    runs, make = ranked
    names, labels = [f"clip{i:03d}" for i in range(400)], np.where(np.arange(400) % 20 == 0, 1, 0)
    facts, rows = ClipFacts(np.arange(400) // 20, np.zeros(400, int), np.array(names)), []
    for method, rare in (("aimclr", 0.9), ("hiclr", 0.1)):
        for seed in range(4):
            rng = np.random.default_rng(seed)
            right = rng.random(400) < np.where(labels == 1, rare, 0.8)
            extra = {"mean_class_top1": 50 * sum(right[labels == c].mean() for c in (0, 1)), "largest_class": 95.0}
            record = make(method, right.mean(), seed=seed, data={"fingerprint": "aa", "classes": 2}, extra=extra)
            (runs.folder(record.key) / "scores.npz").unlink()
            write_scores(runs.folder(record.key), names, labels, np.eye(2)[np.where(right, labels, 1 - labels)], facts)
            runs.write(record)
            rows.append(record)
    by = {m: leaderboard(rows, runs=runs, wanted=Wanted(m, pairs=True)) for m in get_args(Measure)}
    gaps = {m: tables[1].rows[0][2].value for m, tables in by.items()}
    assert gaps["balanced"] == pytest.approx(40, abs=12) and gaps["top1"] == pytest.approx(0, abs=8)
    assert [row[0].value for row in by["balanced"][0].rows] == ["1", "2"]
    lacking = [one.model_copy(update={"extra": {}}) if one.cell.seed == 0 else one for one in rows]
    table = leaderboard(lacking, runs=runs, wanted=Wanted("balanced"))[0]
    assert [row[0].value for row in table.rows] == [None, None]
    assert "Without a rank: aimclr stgcn (its mean over classes is not known)" in " ".join(table.footnotes)


def test_of_one_method_in_two_versions_the_newer_is_ranked(ranked):
    runs, make = ranked
    old = seeds(make, "aimclr", 0.9, backbone="bigru", versions={"method": 1, "protocol": 1})
    new = seeds(make, "aimclr", 0.7, versions={"method": 2, "protocol": 1}, finished="2024-06-01T00:00:00Z")
    (table,) = leaderboard([*old, *new, *seeds(make, "hiclr", 0.5)], runs=runs)
    assert [(row[3].value, row[0].value) for row in table.rows] == [("bigru", None), ("stgcn", "1"), ("stgcn", "2")]
    assert "Without a rank: aimclr bigru (method 1 instead of 2)." in table.footnotes


def test_plugin_code_that_changed_is_in_no_mean_with_the_older(make_record, ranked):
    runs, make = ranked

    def code(digest):
        return {"method": 1, "protocol": 1, "plugins": {"mine.py": digest}}

    old = make_record(seed=1, top1=10.0, versions=code("11"))
    new = make_record(top1=60.0, versions=code("22"), finished="2024-06-01T00:00:00Z")
    (table,) = leaderboard([old, new])
    assert cell(table, "skeattnclr", "linear") == "60.0"
    # A plugin protocol, with which two methods were evaluated before and after it changed.
    rows = seeds(make, "aimclr", 0.9, versions=code("11"))
    rows += seeds(make, "hiclr", 0.5, versions=code("22"), finished="2024-06-01T00:00:00Z")
    (table,) = leaderboard(rows, runs=runs)
    assert [row[0].value for row in table.rows] == [None, "1"]


def test_csv_and_json_name_the_version_of_each_number(make_record):
    versions = {"method": 2, "protocol": 3, "plugins": {"mine.py": "c0de"}}
    (table,) = leaderboard([make_record(versions=versions, data={"fingerprint": "0123456789abcdef"})])
    told = "data 0123456789ab, method 2, protocol 3, mine.py c0de"
    assert frame(table)["linear version"].tolist() == [told]
    assert json.loads(to_json(table))["tables"][0]["rows"][0]["linear"]["version"] == told
    assert told not in to_markdown(table)


def test_a_protocol_says_itself_whether_its_encoder_is_frozen(make_record):
    """Of a plugin, too: an untrained encoder is a floor where it stays frozen, and supervised where it does not."""
    rows = [
        make_record(method=method, protocol=protocol, model={"frozen": frozen})
        for method in ("untrained", "aimclr")
        for protocol, frozen in (("prototypes", True), ("adapters", False))
    ]
    (table,) = leaderboard(rows)
    assert "prototypes Δ floor" in columns(table) and "adapters Δ floor" not in columns(table)
    assert "adapters of untrained is supervised training from scratch and not a floor." in table.footnotes


RAW = {"track": "custom", "label": "raw data", "method": "raw", "backbone": "none", "dataset": "nwucla", "top1": 64.4}


@pytest.mark.parametrize(
    ("changes", "belongs"),
    [
        ({}, True),
        ({"model": {"frames": 32}}, False),
        ({"data": {"fingerprint": "bb", "test": 5, "classes": 3}}, False),
        ({"split": "xset"}, False),
        ({"stream": "bone"}, False),
    ],
)
def test_raw_joints_are_a_row_where_data_and_frames_are_the_same(grid, make_record, changes, belongs):
    raw = [make_record(protocol=name, **RAW | changes) for name in ("nearest", "ridge")]
    tables = leaderboard(grid + raw)
    (table,) = (table for table in tables if table.facts["track"] == "equal")
    assert len(tables) == 2
    names = [row[columns(table).index("method")].value for row in table.rows]
    assert names == ["untrained (floor)", *(["raw"] if belongs else []), "skeattnclr", "skeletonclr"]
    assert belongs == any(note.startswith("raw: no encoder") for note in table.footnotes)
    assert not any("the same number of seeds" in note or "none knn" in note for note in table.footnotes)
    if belongs:
        assert [cell(table, "raw", name, "none") for name in ("knn", "linear", "seeds")] == ["64.4", "64.4", "1"]
        assert cell(table, "raw", "knn Δ floor", "none") == ""


def test_raw_joints_have_no_rank_and_may_be_the_highest(tmp_path, grid, make_record):
    raw = [make_record(protocol=name, **RAW | {"top1": 80.2}) for name in ("nearest", "ridge")]
    tables = leaderboard(grid + raw, runs=RunStore(tmp_path))
    (table,) = (table for table in tables if table.facts["track"] == "equal")
    assert cell(table, "raw", "rank", "none") == ""
    strong = [
        row[columns(table).index("method")].value for row in table.rows if row[columns(table).index("knn")].strong
    ]
    assert strong == ["raw"]


def test_only_the_baseline_of_a_shown_protocol_is_in_the_row(grid, make_record):
    linear = [record for record in grid if record.cell.protocol == "linear"]
    raw = [make_record(protocol=name, **RAW) for name in ("nearest", "ridge")]
    (table,) = (table for table in leaderboard(linear + raw) if table.facts["track"] == "equal")
    assert "knn" not in columns(table) and cell(table, "raw", "linear", "none") == "64.4"
    (table,) = (table for table in leaderboard(linear + raw[:1]) if table.facts["track"] == "equal")
    assert "raw" not in [row[columns(table).index("method")].value for row in table.rows]
