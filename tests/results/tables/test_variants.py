"""The variants of a grid are rows of one table, each compared with the floor that has its encoder."""

import csv
import io
import json

import pytest

from skelbench.results.check.against import check_records
from skelbench.results.check.tolerances import Tolerances
from skelbench.results.plots.board import board_curves
from skelbench.results.plots.transfer import transfers
from skelbench.results.store import RunStore
from skelbench.results.tables.folds import folded
from skelbench.results.tables.leaderboard import leaderboard
from skelbench.results.tables.paper_tables import comparisons
from skelbench.results.tables.table import text_of
from skelbench.results.variants import common_settings
from skelbench.results.writers import write


@pytest.fixture
def cell(make_record):
    """A record of the grid `heat`, of its own identity."""
    count = 0

    def made(method, top1, variant=None, *, frames=48, **fields):
        nonlocal count
        count += 1
        values = {"track": "custom", "label": "heat", "identity": f"{count:04x}" * 16, "dataset": "mine"} | fields
        settings = {"frames": frames, "backbone": {"width": 16}, "variant": variant}
        model = {"frames": frames}
        return make_record(method=method, top1=top1, variant=variant, settings=settings, model=model, **values)

    return made


def rows(table):
    names = [column.name for column in table.columns]
    shown = [
        [text_of(entry, column.kind) for column, entry in zip(table.columns, row, strict=True)] for row in table.rows
    ]
    return [dict(zip(names, row, strict=True)) for row in shown]


def by_name(table):
    return {(row["method"], row.get("variant", "")): row for row in rows(table)}


@pytest.fixture
def sweep(cell):
    """Three temperatures of one method, and one floor for all of them."""
    floors = [cell("untrained", top1, seed=seed) for seed, top1 in enumerate((30.0, 32.0, 34.0))]
    tops = {"0.05": 50.0, "0.07": 60.0, "0.1": 55.0}
    return [*floors, *(cell("skeattnclr", top1, f"method.temperature={value}") for value, top1 in tops.items())]


def test_a_sweep_is_one_table_with_a_row_for_each_value_and_one_floor(sweep):
    (table,) = leaderboard(sweep)
    assert [(row["method"], row["variant"], row["linear"], row["linear Δ floor"]) for row in rows(table)] == [
        ("untrained (floor)", "", "32.0 ± 2.0", ""),
        ("skeattnclr", "method.temperature=0.07", "60.0", "+28.0"),
        ("skeattnclr", "method.temperature=0.1", "55.0", "+23.0"),
        ("skeattnclr", "method.temperature=0.05", "50.0", "+18.0"),
    ]
    names = [column.name for column in table.columns]
    assert names.index("variant") == names.index("backbone") + 1
    assert "custom (heat): other settings than a track's; not comparable with tables of a track." in table.footnotes
    assert not any("left out" in note or "A floor is the mean" in note for note in table.footnotes)


def test_without_variants_there_is_no_such_column(cell, sweep):
    (table,) = leaderboard(sweep[:3])
    assert "variant" not in [column.name for column in table.columns]


def test_every_format_has_the_variant(sweep):
    tables = leaderboard(sweep)
    lines = list(csv.DictReader(io.StringIO(write(tables, "csv"))))
    assert sorted(line["variant"] for line in lines)[1:] == [f"method.temperature={t}" for t in ("0.05", "0.07", "0.1")]
    (table,) = json.loads(write(tables, "json"))["tables"]
    assert table["rows"][1]["variant"]["value"] == "method.temperature=0.07"
    for style in ("md", "html", "tex"):
        assert "0.07" in write(tables, style)


def test_a_variant_is_compared_with_the_floor_of_its_own_encoder(cell):
    records = [cell("untrained", 30.0), cell("skeattnclr", 50.0)]
    records += [cell("untrained", 25.0, "frames=16", frames=16), cell("skeattnclr", 40.0, "frames=16", frames=16)]
    records += [cell("skeattnclr", 45.0, "frames=24", frames=24)]  # without a floor of its own
    found = by_name(leaderboard(records)[0])
    assert found["skeattnclr", ""]["linear Δ floor"] == "+20.0"
    assert found["skeattnclr", "frames=16"]["linear Δ floor"] == "+15.0"
    assert found["skeattnclr", "frames=24"]["linear Δ floor"] == "–", "the other floors have other encoders"


def test_the_floor_of_a_variant_has_the_settings_that_do_something_without_a_training(cell):
    floors = {None: 20.0, "clips=20, linear.lr=1": 30.0}
    records = [cell("untrained", top1, variant) for variant, top1 in floors.items()]
    mixed = ["batch=8, clips=20, linear.lr=1, method.mu=1.0", "clips=20, linear.lr=2", "lr=0.1, lr_steps=1x2"]
    records += [cell("skeattnclr", 50.0, variant) for variant in mixed]
    found = by_name(leaderboard(records)[0])
    gains = {variant: found["skeattnclr", variant]["linear Δ floor"] for variant in mixed}
    assert gains == dict(zip(mixed, ("+20.0", "–", "+30.0"), strict=True)), "the second has a probe of its own"


def test_a_floor_that_is_missing_or_of_few_seeds_is_named_with_its_variant(cell):
    records = [cell("untrained", 30.0, "frames=16", frames=16), cell("skeattnclr", 40.0, "frames=16", frames=16)]
    records += [cell("skeattnclr", 45.0, "frames=24", frames=24)]
    (note,) = [note for note in leaderboard(records)[0].footnotes if note.startswith("A floor is the mean")]
    assert note.endswith("here: stgcn frames=16 linear 1, stgcn frames=24 linear 0.")


def test_seeds_of_one_variant_are_one_mean(cell):
    records = [cell("skeattnclr", top1, "lr=0.1", seed=seed) for seed, top1 in enumerate((50.0, 60.0))]
    records += [cell("skeattnclr", 10.0, "lr=0.2")]
    found = by_name(leaderboard(records)[0])
    assert found["skeattnclr", "lr=0.1"]["linear"].startswith("55.0 ± 7.1")
    assert found["skeattnclr", "lr=0.2"]["linear"].startswith("10.0")


def test_a_table_that_is_named_by_a_hash_lists_the_settings(cell):
    records = [cell("skeattnclr", 50.0, f"lr={lr}", label="0a1b2c3d") for lr in (0.1, 0.2)]
    (table,) = leaderboard(records)
    assert any(
        note.startswith("custom (0a1b2c3d): settings that differ from a track's (lr=0.1, lr=0.2); not comparable")
        for note in table.footnotes
    )
    (table,) = leaderboard([cell("skeattnclr", 50.0, "lr=0.1", label="published, 0a1b2c3d")])
    assert any("(lr=0.1)" in note for note in table.footnotes)


def test_raw_joints_stand_with_the_variants_of_their_frames(cell, make_record):
    raw = {"track": "custom", "label": "raw data", "method": "raw", "backbone": "none", "dataset": "mine"}
    joints = make_record(protocol="ridge", top1=20.0, model={"frames": 16}, **raw)
    values = [cell("skeattnclr", 50.0, f"frames={n}", frames=n) for n in (16, 24)]
    (table,) = (one for one in leaderboard([*values, joints]) if one.facts["label"] == "heat")
    assert [(name, variant) for name, variant in by_name(table) if name == "raw"] == [("raw", "frames=16")]
    same = [cell("skeattnclr", 50.0, f"lr={lr}", frames=16) for lr in (0.1, 0.2)]
    (table,) = (one for one in leaderboard([*same, joints]) if one.facts["label"] == "heat")
    assert [(name, variant) for name, variant in by_name(table) if name == "raw"] == [("raw", "")]
    mixed = [cell("skeattnclr", 50.0, frames=16), cell("aimclr", 50.0, frames=24)]
    (table,) = (one for one in leaderboard([*mixed, joints]) if one.facts["label"] == "heat")
    assert ("raw", "") not in by_name(table)


def test_means_over_folds_keep_variants_apart(cell):
    records = [
        cell(method, top1 + fold, variant, dataset="sbu", split=f"fold{fold}")
        for method, variant, top1 in (("untrained", None, 30.0), ("aimclr", "lr=0.1", 50.0), ("aimclr", "lr=0.2", 60.0))
        for fold in (1, 2)
    ]
    found = by_name(folded(records)[0])
    assert found["aimclr", "lr=0.1"]["linear"].startswith("51.5") and found["aimclr", "lr=0.2"]["folds"] == "2"
    assert found["aimclr", "lr=0.2"]["linear Δ floor"] == "+30.0"


def test_a_floor_of_another_encoder_is_none_for_means_over_folds(cell):
    records = [
        cell(method, 50.0, variant, frames=frames, dataset="sbu", split=f"fold{fold}")
        for method, variant, frames in (("untrained", None, 48), ("aimclr", "frames=16", 16))
        for fold in (1, 2)
    ]
    assert by_name(folded(records)[0])["aimclr", "frames=16"]["linear Δ floor"] == "–"


def test_checks_and_tables_of_the_paper_do_not_mix_variants(cell, sweep):
    report = check_records(sweep, sweep[3:5], "earlier", Tolerances())
    assert [(line.name.partition("(")[2], line.status) for line in report.lines] == [
        (f"custom: heat, method.temperature={value})", "pass") for value in ("0.05", "0.07")
    ]
    assert sum("without an earlier record" in note for note in report.notes) == 2
    place = {"dataset": "ntu60", "split": "xsub", "label": "published, SkeAttnCLR's settings"}
    varied = cell("skeletonclr", 72.0, "lr=0.2", **place)
    assert not any(one.records for one in comparisons([varied]))
    assert any(one.records for one in comparisons([cell("skeletonclr", 72.0, **place)]))


def test_figures_keep_variants_apart(cell, sweep, tmp_path):
    from skelbench.results.files import write_curve

    runs, kept = RunStore(tmp_path), []
    for record in sweep:
        record = record.model_copy(update={"extra": {}})
        lines = [{"epoch": epoch, "test_top1": record.last.top1 - 5 + epoch} for epoch in (1, 5)]
        name = write_curve(runs.folder(record.key), lines)
        kept.append(record.model_copy(update={"files": {"curve": name}}))
        runs.write(kept[-1])
    panels = board_curves(kept, runs).panels
    assert [panel.name for panel in panels] == [f"skeattnclr method.temperature={t}" for t in ("0.07", "0.1", "0.05")]
    assert {panel.floors["linear"].value for panel in panels} == {32.0}
    moved = [cell("skeattnclr", top1, f"lr={lr}", pretrained_on="a:xsub") for lr, top1 in ((1, 50.0), (2, 60.0))]
    (transfer,) = transfers(moved)
    assert transfer.encoders == ["skeattnclr stgcn lr=1", "skeattnclr stgcn lr=2"]


def test_the_data_frame_has_a_column_for_it(sweep, tmp_path):
    pytest.importorskip("pandas")
    from skelbench.results.frame import load_results

    for record in sweep:
        RunStore(tmp_path).write(record)
    assert sorted(load_results(tmp_path)["variant"].dropna()) == [
        f"method.temperature={t}" for t in ("0.05", "0.07", "0.1")
    ]


def test_the_site_shows_each_variant_and_links_it(sweep, tmp_path):
    from skelbench.results.site.build import build_site

    runs = RunStore(tmp_path / "runs")
    for record in sweep:
        runs.write(record)
    built = build_site(runs, tmp_path / "site")
    assert (built.tables, built.cells) == (1, 4)
    pages = [path.read_text(encoding="utf-8") for path in (tmp_path / "site" / "cells").glob("*.html")]
    assert sorted('<span class="dim">variant</span>' in page for page in pages) == [False, True, True, True]
    (own,) = [page for page in pages if "</span> method.temperature=0.07<" in page]
    assert "60.0" in own and '"floor":32.0' in own.replace(" ", "")
    part = (tmp_path / "site" / "data" / "part-0.js").read_text(encoding="utf-8")
    for path in (tmp_path / "site" / "cells").glob("*.html"):
        assert path.name in part


def test_what_all_rows_have_in_common_is_said_once(cell):
    """People see what differs; csv, json and the site's links have the whole variant."""
    shared = "batch=16, clips=60"
    records = [cell("untrained", 30.0, "clips=60")]
    records += [cell("skeattnclr", 50.0 + i, f"{shared}, lr=0.{i}") for i in (1, 2)]
    (table,) = leaderboard(records)
    place = [column.name for column in table.columns].index("variant")
    assert [(row[place].value, text_of(row[place], "text")) for row in table.rows] == [
        ("clips=60", ""),
        (f"{shared}, lr=0.2", "lr=0.2"),
        (f"{shared}, lr=0.1", "lr=0.1"),
    ]
    assert any(f"in all rows that they can affect: {shared}; not" in note for note in table.footnotes)
    assert not any("skeattnclr stgcn batch" in note for note in table.footnotes)


@pytest.mark.parametrize(
    ("trained", "untrained", "common"),
    [
        (["a=1, b=2", "a=1, b=3"], [], ["a=1"]),
        (["a=1, b=2", "a=1, b=3"], [None], ["a=1"]),
        (["a=1, b=2", "a=1, b=3"], ["a=2"], []),  # a floor of another value
        (["a=1, b=2", "b=3"], [], []),  # a row at its default
        (["a=1", "a=1"], ["a=1"], []),  # nothing else would be left to show
        (["a=1", None], [], []),
        ([], ["a=1"], []),
    ],
)
def test_settings_are_common_if_all_rows_that_can_have_them_do(trained, untrained, common):
    assert common_settings(trained, untrained) == common
