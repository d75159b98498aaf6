import csv
import io
from importlib import resources

import pytest
import yaml

from skelbench.errors import SkelbenchError
from skelbench.results.published import published_numbers
from skelbench.results.tables.paper_tables import LABELS, PAPER_TABLES, comparisons, paper_table
from skelbench.results.tables.table import text_of
from skelbench.results.writers import TEXTS, to_csv, write

NTU = ["ntu60 xsub", "ntu60 xview", "ntu120 xsub", "ntu120 xset"]
OTHERS = ["skeletonclr", "aimclr", "hiclr", "skelemixclr", "skeattnclr"]
# As printed, typed by hand: columns, and the methods of each block of rows (a stream or a share of labels).
LAYOUTS = {
    "table1": ([*NTU, "pkummd1 xsub", "pkummd2 xsub"], [["skeletonclr", "skeletonclr", "skeattnclr"]] * 4),
    "table2": (["stgcn", "bigru", "dsta"], [["skeletonclr", "skeletonclr", "skeattnclr"]] * 3),
    "table3": (NTU, [["skeletonclr", "crosclr", *OTHERS[1:]], OTHERS]),
    "table4": (NTU, [OTHERS]),
    "table5": (NTU[:2], [["crosclr", "aimclr", "skelemixclr", "skeattnclr"]] * 2),
    "table6": (NTU, [["skeletonclr", "aimclr", "skelemixclr", "skeattnclr", "untrained"], OTHERS]),
    "table7": (NTU[:2], [["skeattnclr"] * 4]),
}


def line(number):
    """A row of the file as it is, by its line: an independent reading."""
    text = (resources.files("skelbench.results") / "paper/skeattnclr_tables.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))[number - 2]


def names(table):
    return [column.name for column in table.columns]


def entry(table, row, column, stream="joint"):
    """An entry by what the paper calls its row."""
    place = names(table).index(column)
    (found,) = [one for one in table.rows if one[0].value == row and one[2].value == stream]
    return found[place]


def cell(table, row, column, stream="joint"):
    found = entry(table, row, column, stream)
    return text_of(found, table.columns[names(table).index(column)].kind)


def ours(table):
    """Every number of ours that a table shows."""
    ours = [i for i, c in enumerate(table.columns) if c.kind == "percent" and not c.name.endswith("paper")]
    return [row[i].value for row in table.rows for i in ours if row[i].value is not None]


# --- The paper's tables -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAPER_TABLES)
def test_rows_and_columns_are_the_papers_even_when_nothing_was_run(name):
    table = paper_table(name, [])
    columns, blocks = LAYOUTS[name]
    assert [c.name for c in table.columns if c.group == c.name] == columns
    rows = [row for row in table.rows if row[0].value != "untrained (floor)"]
    assert [row[1].value for row in rows] == [method for block in blocks for method in block]
    assert ours(table) == []
    assert {text_of(row[names(table).index(columns[0])], "percent") for row in table.rows} == {"–"}


def test_each_printed_number_is_in_its_table_once_and_with_its_line():
    seen = []
    for name in PAPER_TABLES:
        table = paper_table(name, [])
        for row in table.rows:
            for column, found in zip(table.columns, row, strict=True):
                if found.source:
                    number = int(found.source.removeprefix("skeattnclr_tables.csv:"))
                    printed = line(number)
                    assert printed["table"] == f"Table {name[-1]}" and found.value == float(printed["value"])
                    assert printed["stream"] == row[2].value
                    heads = (f"{printed['dataset']} {printed['split']}", f"pkummd{printed['split'][-1]} xsub")
                    assert column.group in (*heads, printed["backbone"])
                    seen.append(number)
    assert sorted(seen) == list(range(2, 201))


@pytest.mark.parametrize("style", TEXTS)
@pytest.mark.parametrize("track", ["published", "equal", "custom"])
def test_all_seven_are_written_in_every_format_from_no_records(style, track):
    text = write([paper_table(name, [], track) for name in PAPER_TABLES], style)
    assert "80.3" in text and "87.8" in text


def test_an_untrained_encoder_is_the_floor_of_each_stream_where_it_is_one():
    floors = {name: [r[2].value for r in paper_table(name, []).rows if r[0].value == "untrained (floor)"]
              for name in PAPER_TABLES}  # fmt: skip
    assert floors == {
        "table1": ["joint", "motion", "bone", "3s"], "table2": ["joint", "motion", "bone"],
        "table3": ["joint", "3s"], "table4": ["joint"], "table5": [], "table6": [], "table7": ["joint"],
    }  # fmt: skip


@pytest.mark.parametrize(("name", "track"), [("table8", "published"), ("Table 1", "published"), ("table1", "demo")])
def test_an_unknown_table_or_track_is_one_clear_error(name, track):
    with pytest.raises(SkelbenchError, match=r"There is no track 'demo'|The paper has no table"):
        paper_table(name, [], track)


# --- Ours in them -----------------------------------------------------------------------------------------------


@pytest.fixture
def few(make_record):
    """Two seeds of one cell, and one of a floor."""
    records = [make_record(track="published", seed=seed, top1=79.0 + seed, best=80.0 + seed) for seed in range(2)]
    return [*records, make_record(method="untrained", track="published", top1=31.0)]


def test_ours_the_papers_and_the_difference_are_side_by_side(few):
    table = paper_table("table1", few)
    assert cell(table, "SkeAttnCLR", "ntu60 xsub") == "79.5 ± 0.7 (2)"
    assert cell(table, "SkeAttnCLR", "ntu60 xsub best") == "80.5 ± 0.7"
    assert cell(table, "SkeAttnCLR", "ntu60 xsub paper") == "80.3"
    assert cell(table, "SkeAttnCLR", "ntu60 xsub Δ") == "-0.8"
    assert cell(table, "SkeAttnCLR", "width") == "16" and cell(table, "SkeAttnCLR", "width", "bone") == "–"
    assert cell(table, "untrained (floor)", "ntu60 xsub") == "31.0 (1)"
    assert cell(table, "untrained (floor)", "ntu60 xsub Δ") == ""
    assert cell(table, "SkeAttnCLR", "ntu60 xview Δ") == "–"
    assert "1 of 48 results of this table have been run in this track." in table.footnotes
    assert "A floor is the mean of at least 3 seeds; here of 1." in table.footnotes
    assert "best: held-out subjects." in table.footnotes


def test_all_tables_are_written_in_every_format_from_a_few_records(few):
    for style in TEXTS:
        text = write([paper_table(name, few) for name in PAPER_TABLES], style)
        assert "79.5" in text


@pytest.mark.parametrize("track", ["published", "equal", "custom"])
def test_a_number_of_one_track_is_never_in_a_table_of_another(make_record, track):
    value = {"published": 11.0, "equal": 22.0, "custom": 33.0}
    records = [
        make_record(
            method=method, backbone=backbone, dataset=dataset, split=split, stream=stream, protocol=protocol,
            track=kind, label=label, top1=value[kind], identity=f"{number:032x}",
        )
        for number, (kind, label, method, backbone, dataset, split, stream, protocol) in enumerate(
            (kind, label, c.target.method, c.target.backbone, c.target.dataset, c.target.split, c.target.stream,
             c.target.protocol)
            for c in comparisons([])
            for kind, label in [("published", None), ("equal", None), *(("custom", text) for text in LABELS.values())]
        )
    ]  # fmt: skip
    for name in PAPER_TABLES:
        assert set(ours(paper_table(name, records, track))) <= {value[track]}
    assert ours(paper_table("table1", records, track))


def test_no_difference_outside_the_published_track(make_record):
    records = [make_record(track="equal", top1=70.0)]
    table = paper_table("table1", records, "equal")
    assert cell(table, "SkeAttnCLR", "ntu60 xsub") == "70.0 (1)"
    assert cell(table, "SkeAttnCLR", "ntu60 xsub paper") == "80.3"
    for track in ("equal", "custom"):
        assert not [name for name in names(paper_table("table1", records, track)) if "Δ" in name]


def test_the_papers_own_settings_of_another_method_are_custom_cells_by_their_label(make_record):
    plain = make_record(method="skeletonclr", track="published", top1=66.0)
    label = "published, SkeAttnCLR's settings"
    changed = make_record(method="skeletonclr", track="custom", label=label, top1=71.0)
    further = make_record(method="skeletonclr", track="custom", label=f"{label}, epochs=5", top1=20.0)
    published, custom = (paper_table("table1", [plain, changed, further], t) for t in ("published", "custom"))
    assert cell(published, "Baseline", "ntu60 xsub") == "66.0 (1)"
    assert cell(published, "Baseline*", "ntu60 xsub") == "–" == cell(custom, "Baseline", "ntu60 xsub")
    assert cell(custom, "Baseline*", "ntu60 xsub") == "71.0 (1)"
    assert any("(track custom has them): Baseline*." in note for note in published.footnotes)


def test_the_rows_of_table_7_are_the_presets_cells_and_the_released_one_is_published(make_record):
    labels = [None, *LABELS.values()]
    records = [
        make_record(track="custom" if label else "published", label=label, top1=50.0 + i, identity=f"{i:032x}")
        for i, label in enumerate(labels)
    ]
    published, custom = (paper_table("table7", records, track) for track in ("published", "custom"))
    column = names(published).index("ntu60 xsub")
    rows = [row[0].value for row in custom.rows]
    assert rows == ["no qs-qns negative, Ls+Lns", "no qs-qns negative, Ls only", "qs-qns negative, Ls only", "full"]
    assert [text_of(row[column], "percent") for row in published.rows[1:]] == ["–", "–", "50.0 (1)", "–"]
    assert [text_of(row[column], "percent") for row in custom.rows] == ["52.0 (1)", "53.0 (1)", "–", "54.0 (1)"]


def test_labels_are_those_that_the_presets_give():
    folder = resources.files("skelbench.benchmark") / "presets"
    named = set()
    for number in range(1, 8):
        preset = yaml.safe_load((folder / f"table{number}.yaml").read_text(encoding="utf-8"))
        assert preset["track"] == "published"
        named |= {f"published, {part['name']}" for part in preset.get("parts", ()) if "name" in part}
    assert set(LABELS.values()) == named - {"published, q_s-q_ns, L_s"}  # the released setting: it stays published


def test_transferred_encoders_are_not_in_the_papers_tables(make_record):
    assert ours(paper_table("table1", [make_record(track="published", pretrained_on="ntu120:xsub")])) == []


def test_what_is_not_comparable_is_left_out_of_a_mean_and_counted(make_record):
    new = make_record(track="published", top1=80.0, finished="2024-05-02T00:00:00+00:00")
    old = make_record(track="published", top1=10.0, seed=1, settings={"lr": 0.2})
    table = paper_table("table1", [old, new])
    assert cell(table, "SkeAttnCLR", "ntu60 xsub") == "80.0 (1)"
    assert any(note.startswith("1 record(s) left out") for note in table.footnotes)


def test_rows_on_different_data_are_pointed_out(make_record):
    other = {"fingerprint": "bb"}
    records = [make_record(track="published"), make_record(track="published", method="skeletonclr", data=other)]
    assert any("ntu60 xsub are from different versions" in note for note in paper_table("table3", records).footnotes)
    records[1] = make_record(track="published", split="xview", data=other)
    assert not any("WARNING" in note for note in paper_table("table3", records).footnotes)


# --- What is wrong with the paper's -----------------------------------------------------------------------------


def caveats(table, row, column, stream="joint"):
    """The notes marked at a number and at its row."""
    notes = {note.mark: note for note in table.notes}
    marks = (*entry(table, row, "row", stream).marks, *entry(table, row, column, stream).marks)
    return [notes[mark] for mark in marks]


@pytest.mark.parametrize(
    ("name", "row", "column", "stream", "words"),
    [
        ("table1", "SkeAttnCLR", "ntu60 xsub", "joint", "width 64"),
        ("table1", "SkeAttnCLR", "ntu120 xset", "bone", "split by cameras"),
        ("table1", "Baseline*", "ntu120 xset", "3s", "split by cameras"),
        ("table1", "SkeAttnCLR", "ntu120 xsub", "joint", "66.3 − 51.0 is 15.3"),
        ("table1", "SkeAttnCLR", "pkummd2 xsub", "joint", "52.9 − 39.1 is 13.8"),
        ("table1", "SkeAttnCLR", "ntu60 xview", "3s", "chosen on the test set"),
        ("table1", "Baseline*", "pkummd1 xsub", "joint", "cross-subject"),
        ("table3", "SkeAttnCLR", "ntu120 xsub", "3s", "chosen on the test set"),
        ("table3", "HiCLR", "ntu60 xsub", "3s", "chosen on the test set"),
        ("table3", "SkeletonCLR", "ntu120 xset", "3s", "mislabelled"),
        ("table4", "SkeAttnCLR", "ntu120 xset", "joint", "split by cameras"),
        ("table6", "SkeletonCLR", "ntu60 xview", "3s", "mislabelled"),
        ("table6", "ST-GCN", "ntu60 xsub", "joint", "three streams"),
        ("table6", "SkeAttnCLR", "ntu120 xset", "3s", "split by cameras"),
        ("table6", "SkeAttnCLR", "ntu120 xset", "3s", "CTR-GCN"),
        ("table7", "no qs-qns negative, Ls+Lns", "ntu60 xsub", "joint", "Above the full model"),
    ],
)
def test_known_errors_are_notes_with_the_lines_they_are_about(name, row, column, stream, words):
    table = paper_table(name, [])
    (note,) = [note for note in caveats(table, row, f"{column} paper", stream) if words.lower() in note.text.lower()]
    assert entry(table, row, f"{column} paper", stream).source in note.sources


def test_a_sound_number_has_no_note():
    table = paper_table("table3", [])
    assert caveats(table, "SkeletonCLR", "ntu60 xsub paper") == caveats(table, "AimCLR", "ntu60 xview paper") == []


def test_what_holds_for_all_numbers_is_said_once_below():
    assert any(
        "chooses its pre-training epoch by this accuracy" in note for note in paper_table("table4", []).footnotes
    )
    table = paper_table("table7", [])
    assert any("width 64" in note.lower() for note in table.footnotes)


def test_no_difference_to_a_number_that_is_likely_another_methods(make_record):
    records = [make_record(method=m, stream="3s", track="published", top1=75.0) for m in ("skeletonclr", "aimclr")]
    table = paper_table("table3", records)
    assert cell(table, "SkeletonCLR", "ntu60 xsub", "3s") == "75.0 (1)"
    assert cell(table, "SkeletonCLR", "ntu60 xsub paper", "3s") == "77.8"
    assert cell(table, "SkeletonCLR", "ntu60 xsub Δ", "3s") == "–"
    assert cell(table, "AimCLR", "ntu60 xsub Δ", "3s") == "-3.9"


def test_no_remark_of_the_file_is_lost():
    sentences = {number.row: " ".join(number.caveats) for number in published_numbers()}
    words = {
        "WARNING Xset": "cameras", "hidden_channels=64": "Width 64", "LIKELY MISLABELLED": "mislabelled",
        "INCONSISTENT": "Printed with a gain", "conflicts with": "same paper's Table 3", "assumed linear": "linear",
        "picked best-of-two": "chosen on the test set", "TEST set": "on the test set", "oddity": "On BiGRU",
        "3S assumed": "three streams", "probably 3s": "three streams", "exceed supervised": "CTR-GCN",
    }  # fmt: skip
    for number in published_numbers():
        for theirs, sentence in words.items():
            assert theirs not in number.note or sentence in sentences[number.row]


def test_every_caveat_is_of_some_number():
    text = (resources.files("skelbench.results") / "paper/caveats.csv").read_text(encoding="utf-8")
    sentences = {row["caveat"] for row in csv.DictReader(io.StringIO(text))} - {""}
    assert sentences == {sentence for number in published_numbers() for sentence in number.caveats}


def test_a_method_that_is_not_its_authors_code_has_a_dagger(make_record):
    text = "rebuilt from the abstract"
    record = make_record(track="published", versions={"method": 1, "protocol": 1, "fidelity": text})
    table = paper_table("table1", [record, make_record(track="published", method="skeletonclr")])
    assert entry(table, "SkeAttnCLR", "method").marks == ("†",) and entry(table, "Baseline", "method").marks == ()
    assert ("†", text) in [(note.mark, note.text) for note in table.notes]


# --- For a check ------------------------------------------------------------------------------------------------


def test_comparisons_have_every_number_with_the_records_that_aim_at_it(few, make_record):
    label = "published, SkeAttnCLR's settings"
    changed = make_record(method="skeletonclr", track="custom", label=label, split="xview", top1=71.0)
    found = comparisons([*few, changed, make_record(track="equal", top1=99.0)])
    assert [one.number.row for one in found] == list(range(2, 201))
    by_line = {one.number.row: one for one in found}
    assert [r.last.top1 for r in by_line[10].records if r.last] == [79.0, 80.0]  # SkeAttnCLR, Table 1
    assert by_line[2].records == []  # SkeletonCLR was not run
    assert by_line[5].records == [changed] and by_line[5].row == "Baseline*"
    assert str(by_line[5].target) == f"skeletonclr stgcn ntu60 xview joint linear (custom: {label})"
    assert by_line[99].number.doubtful and by_line[99].table == "table3"
    assert all(r.cell.track != "equal" for one in found for r in one.records)


def test_csv_of_a_paper_table_can_be_read_by_row(few):
    rows = {(r["row"], r["stream"]): r for r in csv.DictReader(io.StringIO(to_csv(paper_table("table1", few))))}
    row = rows["SkeAttnCLR", "joint"]
    assert (row["ntu60 xsub"], row["ntu60 xsub seeds"], row["ntu60 xsub Δ"]) == ("79.5", "2", "-0.8")
    assert row["ntu60 xsub paper source"] == "skeattnclr_tables.csv:10" and row["track"] == "published"
    assert "Width 64" in row["row notes"]
