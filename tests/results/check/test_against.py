"""Ours against the paper's numbers and against earlier records."""

import csv
import json
import re
import statistics
import xml.etree.ElementTree as ElementTree
from importlib import resources

import pytest
from rich.console import Console

from skelbench.errors import SkelbenchError
from skelbench.results.check.against import check_paper, check_records, read_earlier
from skelbench.results.check.report import Line, Report, judge, to_json, to_junit, to_lines, to_table
from skelbench.results.check.tolerances import Tolerances, read_overrides
from skelbench.results.exchange.exchange import export_results
from skelbench.results.store import RunStore
from skelbench.results.writers import to_rich

PRINTED = 80.3  # SkeAttnCLR, NTU-60 xsub joint linear, Table 1
ROW = "skeattnclr stgcn ntu60 xsub joint linear (published)"


@pytest.fixture
def published(make_record):
    """Records of the row above in track `published`, one for each top-1."""

    def make(*top1, **fields):
        return [make_record(track="published", top1=score, seed=seed, **fields) for seed, score in enumerate(top1)]

    return make


def line_of(report, name=ROW):
    (line,) = [line for line in report.lines if line.name == name]
    return line


def against_paper(records, points=1.0, overrides=()):
    return check_paper(records, Tolerances(points, overrides))


def against_earlier(records, earlier, points=1.0):
    return check_records(records, earlier, "earlier", Tolerances(points))


# --- Against the paper --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "top1, status", [(79.2, "fail"), (79.3, "pass"), (80.3, "pass"), (81.3, "pass"), (81.4, "above"), (20.0, "fail")]
)
def test_one_seed_may_be_a_point_off_and_only_a_worse_one_fails(published, top1, status):
    report = against_paper(published(top1))
    line = line_of(report)
    assert (line.status, line.reference, line.allowed, line.spread) == (status, PRINTED, 1.0, None)
    assert line.change == pytest.approx(top1 - PRINTED)
    assert report.exit_code == (1 if status == "fail" else 0)


@pytest.mark.parametrize("spread, status", [(0.1, "fail"), (0.9, "fail"), (1.1, "pass"), (4.0, "pass")])
def test_two_deviations_of_our_seeds_are_allowed_where_that_is_more(published, spread, status):
    scores = (PRINTED - 2 - spread, PRINTED - 2, PRINTED - 2 + spread)
    line = line_of(against_paper(published(*scores)))
    assert line.status == status
    assert line.allowed == pytest.approx(max(1.0, 2 * statistics.stdev(scores)))
    assert line.seeds == (0, 1, 2)


def test_every_trustworthy_number_of_the_paper_is_a_row_and_not_run_does_not_pass(published):
    text = (resources.files("skelbench.results") / "paper" / "skeattnclr_tables.csv").read_text()
    printed = [row for row in csv.DictReader(text.splitlines()) if "MISLABELLED" not in row["note"]]
    cells = {
        tuple(row[key] for key in ("dataset", "split", "stream", "backbone", "protocol"))
        for row in printed
        if row["method"] == "SkeAttnCLR"
    }
    report = against_paper(published(PRINTED))
    ours = [line for line in report.lines if line.name.startswith("skeattnclr ")]
    assert len(ours) == len(cells)
    assert len({line.name for line in report.lines}) == len(report.lines)
    assert (report.count("pass"), report.count("fail")) == (1, 0)
    assert report.count("not run") == len(report.lines) - 1 > 60
    assert report.summary.startswith(f"1 passed, 0 failed, {len(report.lines) - 1} not run")


def test_a_number_that_is_most_likely_another_methods_is_left_out_and_reported(published):
    report = against_paper(published(PRINTED))
    assert not [line for line in report.lines if line.name == "skeletonclr stgcn ntu120 xsub 3s finetune (published)"]
    assert any("another method's number: lines" in note and "101-102, 173-176" in note for note in report.notes)


def test_numbers_that_are_not_compared_are_listed_by_line():
    """By the words of the file: settings specific to the paper, and the ablation except for the released setting."""
    (note,) = [note for note in check_paper([], Tolerances()).notes if "not released" in note]
    spans = re.findall(r"(\d+)(?:-(\d+))?", note.partition("lines ")[2])
    listed = {line for first, last in spans for line in range(int(first), int(last or first) + 1)}
    file = resources.files("skelbench.results") / "paper" / "skeattnclr_tables.csv"
    rows = enumerate(csv.DictReader(file.read_text(encoding="utf-8").splitlines()), start=2)
    own = ("Baseline* ", "SkeAttnCLR ablation: ")
    released = "qs-qns negative, Ls only"
    expected = {line for line, row in rows if row["method"].startswith(own) and row["method"] != own[1] + released}
    assert listed == expected


def test_beside_a_doubtful_number_a_sound_one_of_the_same_cell_counts(make_record):
    name = "skeletonclr stgcn ntu60 xsub 3s linear (published)"
    record = make_record(track="published", method="skeletonclr", stream="3s", top1=75.0)
    line = line_of(against_paper([record]), name)
    assert (line.reference, line.status) == (75.0, "pass")
    assert "the paper also prints 77.8 (line 99)" in line.remarks


@pytest.mark.parametrize("track, label", [("equal", None), ("custom", "demo")])
def test_other_tracks_are_nothing_to_compare(make_record, track, label):
    report = against_paper([make_record(track=track, label=label, top1=PRINTED)])
    assert report.exit_code == 2
    assert {line.status for line in report.lines} == {"not run"}
    assert "nothing to compare" in report.summary


def test_no_records_at_all_is_nothing_to_compare():
    assert against_paper([]).exit_code == 2


def test_best_does_not_count(published):
    assert line_of(against_paper(published(70.0, best=PRINTED))).status == "fail"


def test_one_bad_row_fails_the_check(published):
    good = published(86.1, split="xview", identity="b" * 64)
    report = against_paper([*published(70.0), *good])
    assert (report.count("pass"), report.count("fail"), report.exit_code) == (1, 1, 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_never_pass(value):
    assert judge(value, 1.0, better="up") in ("fail", "above")
    assert judge(float("nan"), 1.0, better="up") == "fail"
    assert judge(float("nan"), 1.0, better="down") == "fail"


# --- Tolerances ---------------------------------------------------------------------------------------------------


@pytest.fixture
def overrides(tmp_path):
    def write(text):
        (tmp_path / "tolerances.yaml").write_text(text)
        return read_overrides(tmp_path / "tolerances.yaml")

    return write


def test_a_row_has_the_tolerance_that_a_file_gives_it_and_the_reason_is_shown(published, overrides):
    given = overrides("- {method: skeattnclr, dataset: ntu60, split: xsub, stream: joint, protocol: linear,\n"
                      "   backbone: stgcn, tolerance: 12, reason: half the epochs}\n")  # fmt: skip
    report = against_paper(published(70.0), overrides=given)
    assert line_of(report).status == "pass"
    assert line_of(report).remarks[0] == "tolerance 12: half the epochs"
    assert any("half the epochs" in text for text in to_lines(report))
    other = published(70.0, split="xview", identity="b" * 64)
    assert against_paper([*published(70.0), *other], overrides=given).exit_code == 1


def test_a_tolerance_may_be_tighter_than_the_spread_of_the_seeds(published, overrides):
    given = overrides("- {method: skeattnclr, dataset: ntu60, split: xsub, stream: joint, protocol: linear,\n"
                      "   backbone: stgcn, tolerance: 0, reason: exact}\n")  # fmt: skip
    assert line_of(against_paper(published(70.0, 90.0), overrides=given)).status == "fail"


@pytest.mark.parametrize(
    "text, match",
    [
        ("- {method: skeattnclr, tolerance: 2}", "reason"),
        ("- {method: skeattnclr, tolerance: 2, reason: '  '}", "reason"),
        ("- {method: skeattnclr, tolerance: -1, reason: a}", "tolerance"),
        ("- {method: skeattnclr, tolerance: .nan, reason: a}", "tolerance"),
        ("- {metod: skeattnclr, tolerance: 1, reason: a}", "metod"),
        ("- {tolerance: 1, reason: a}", "entry 1, names no row"),
        ("{method: [", "not a list of tolerances"),
        ("just words", "not a list of tolerances"),
    ],
)
def test_a_file_of_tolerances_that_is_none_is_refused(overrides, text, match):
    with pytest.raises(SkelbenchError, match=match):
        overrides(text)


def test_a_tolerance_for_no_row_or_two_for_one_are_refused(published, overrides):
    with pytest.raises(SkelbenchError, match=r"'skeatnclr' .* matches no row"):
        against_paper(published(PRINTED), overrides=overrides("- {method: skeatnclr, tolerance: 2, reason: a}"))
    two = "- {method: skeattnclr, tolerance: 2, reason: a}\n- {split: xsub, tolerance: 2, reason: b}"
    with pytest.raises(SkelbenchError, match="'skeattnclr' and 'xsub' both match the row "):
        against_paper(published(PRINTED), overrides=overrides(two))


# --- Against earlier records --------------------------------------------------------------------------------------


def test_a_lowered_record_fails_and_the_others_pass(make_record):
    cells = [{"protocol": "knn"}, {"protocol": "linear"}, {"track": "custom", "label": "demo"}]
    earlier = [make_record(top1=60.0, **cell) for cell in cells]
    ours = [make_record(top1=58.9 if cell == cells[1] else 60.0, **cell) for cell in cells]
    report = against_earlier(ours, earlier)
    assert line_of(report, "skeattnclr stgcn ntu60 xsub joint linear (equal)").status == "fail"
    assert (report.count("fail"), report.count("pass"), report.exit_code) == (1, 2, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"track": "published"}, {"track": "custom", "label": "demo"}, {"method": "aimclr"}, {"backbone": "bigru"},
        {"dataset": "ntu120"}, {"split": "xview"}, {"stream": "bone"}, {"protocol": "knn"},
        {"pretrained_on": "ntu120:xsub"},
    ],
)  # fmt: skip
def test_only_the_same_cell_is_compared(make_record, change):
    report = against_earlier([make_record(top1=90.0, **change)], [make_record(top1=60.0)])
    assert [line.status for line in report.lines] == ["not run"]
    assert report.exit_code == 2
    assert report.notes[0].startswith("without an earlier record: ")


def test_means_over_seeds_are_compared_and_other_seeds_reported(make_record):
    earlier = [make_record(top1=top1, seed=seed) for seed, top1 in enumerate((60.0, 62.0, 64.0))]
    (line,) = against_earlier([make_record(top1=61.5)], earlier).lines
    assert (line.ours, line.reference, line.status, line.source) == (61.5, 62.0, "pass", "3 seeds")
    assert line.remarks == ("seeds 0 against 0, 1, 2",)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"settings": {"lr": 0.2, "seed": 0}}, "lr 0.1 -> 0.2"),
        ({"settings": {"lr": 0.1, "seed": 0, "linear": {"lr": 3}}}, "linear.lr none -> 3"),
        ({"versions": {"method": 2, "protocol": 1}}, "version.method 1 -> 2"),
        ({"versions": {"method": 1, "protocol": 1, "plugins": {"a.py": "00"}}}, "version.plugins.a.py none -> 00"),
        ({"data": {"fingerprint": "bb"}}, "data aa -> bb"),
        ({"environment": {"torch": "2.1", "device": "cpu"}}, "torch 2.0 -> 2.1"),
    ],
)
def test_conditions_that_changed_are_named(make_record, change, said):
    (line,) = against_earlier([make_record(top1=60.0, **change)], [make_record(top1=60.0)]).lines
    assert line.status == "pass"
    assert line.remarks == (f"not only the code differs, conditions differ: {said}",)


def test_what_differs_between_seeds_and_runs_of_the_same_code_is_not_a_condition(make_record):
    facts = {"versions": {"method": 1, "protocol": 1, "git": "b"}, "cost": {"eval_seconds": 2.0}}
    ours = make_record(top1=60.0, seed=0, settings={"lr": 0.1, "seed": 0, "threads": 4}, **facts)
    (line,) = against_earlier([ours], [make_record(top1=60.0)]).lines
    assert line.remarks == ()


def test_pre_trainings_have_no_number_to_compare(make_record):
    report = against_earlier([], [make_record(protocol="pretrain", top1=None)])
    assert (report.lines, report.exit_code) == ((), 2)


def test_earlier_records_are_read_from_a_folder_or_a_zip(make_record, tmp_path):
    runs = RunStore(tmp_path / "runs")
    runs.write(make_record())
    export_results(runs, tmp_path / "runs.zip")
    assert read_earlier(tmp_path / "runs") == read_earlier(tmp_path / "runs.zip") == runs.records()
    with pytest.raises(SkelbenchError, match=r"There is no .*papr to check against"):
        read_earlier(tmp_path / "papr")
    (tmp_path / "notes.txt").write_text("60 %")
    with pytest.raises(SkelbenchError, match="cannot be opened"):
        read_earlier(tmp_path / "notes.txt")


# --- Output formats -----------------------------------------------------------------------------------------------

NAMES = ("not there", "good", "better", "[bold]<worse> & \x1b[31mred\x00")
REPORT = Report(
    "the <paper>",
    "%",
    (
        Line(NAMES[3], "fail", 80.3, "file.csv:10", 70.04, 0.44, (0, 1, 2), -10.26, 1.0, ("tolerance 1: <because>",)),
        Line(NAMES[1], "pass", 50.0, "", 50.0, None, (0,), 0.0, 1.0),
        Line(NAMES[0], "not run", 60.0),
        Line(NAMES[2], "above", 50.0, "", 55.0, None, (0,), 5.0, 1.0),
    ),
    ("a note",),
)


def test_plain_lines_end_with_what_matters():
    assert list(to_lines(REPORT)) == [
        "not run  not there: 60.0 %",
        "pass     good: 50.0 % (1 seed) against 50.0 %, Δ +0.00, allowed 1.00",
        "above    better: 55.0 % (1 seed) against 50.0 %, Δ +5.00, allowed 1.00",
        "fail     [bold]<worse> & \ufffd[31mred\ufffd: 70.0 ± 0.4 % (3 seeds) against 80.3 % (file.csv:10), Δ -10.26, "
        "allowed 1.00; tolerance 1: <because>",
        "* a note",
        "2 passed (1 of them better by more than allowed), 1 failed, 1 not run, against the <paper>.",
    ]


def test_the_table_for_a_terminal_shows_the_same_and_obeys_no_markup():
    console = Console(width=160, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(to_rich(to_table(REPORT)))
    text = captured.get()
    assert "\x1b[31m" not in text
    (worse,) = [line for line in text.splitlines() if "<worse>" in line and "fail" in line]
    assert worse.split()[:4] == ["fail", "[bold]<worse>", "&", "\ufffd[31mred\ufffd"]
    assert worse.split()[4:] == ["70.0", "0.4", "3", "80.3", "-10.26", "1.00"]
    assert "<because>" in text


def test_junit_counts_and_skips_what_was_not_run():
    suites = ElementTree.fromstring(to_junit(REPORT).encode())
    (suite,) = suites
    assert {key: suite.get(key) for key in ("tests", "failures", "skipped", "errors")} == {
        "tests": "4", "failures": "1", "skipped": "1", "errors": "0",
    }  # fmt: skip
    kinds = {case.get("name"): [child.tag for child in case] for case in suite}
    assert kinds["not there"] == ["skipped"]
    assert kinds["good"] == kinds["better"] == ["system-out"]
    (failure,) = suite.iter("failure")
    assert "Δ -10.26" in (failure.get("message") or "")
    assert "<because>" in (failure.text or "")


def test_json_has_every_digit_and_the_exit_code():
    parsed = json.loads(json.dumps(to_json(REPORT), allow_nan=False))
    assert parsed["counts"] == {"passed": 2, "above": 1, "failed": 1, "not_run": 1}
    assert parsed["exit_code"] == 1
    assert parsed["rows"][0]["ours"] == 70.04
    assert parsed["rows"][2] | {"name": ""} == {
        "name": "", "status": "not run", "reference": 60.0, "source": "", "ours": None, "spread": None, "seeds": [],
        "change": None, "allowed": None, "remarks": [],
    }  # fmt: skip


def test_a_released_classifier_is_compared_with_the_printed_linear_number(make_record):
    """There is a line for it only where it was run: no paper prints it under this name."""
    place = {"method": "aimclr", "dataset": "ntu60", "split": "xview", "stream": "joint", "backbone": "stgcn"}
    record = make_record(track="published", protocol="classifier", top1=70.0, **place)
    lines = {line.name: line for line in check_paper([record], Tolerances()).lines}
    linear = lines["aimclr stgcn ntu60 xview joint linear (published)"]
    own = lines["aimclr stgcn ntu60 xview joint classifier (published)"]
    assert (linear.status, own.reference, own.ours) == ("not run", linear.reference, 70.0)
    assert own.change == pytest.approx(70.0 - linear.reference)
    assert not any("classifier" in line.name for line in check_paper([], Tolerances()).lines)
