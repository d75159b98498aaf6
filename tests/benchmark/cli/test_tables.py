"""The commands that print tables."""

import csv
import io
import json
import subprocess
import sys

import pytest

from skelbench.results.store import RunStore

FORMATS = ("rich", "md", "tex", "csv", "html", "json")


@pytest.mark.parametrize("style", FORMATS)
@pytest.mark.parametrize("command", ["table", "leaderboard"])
def test_a_folder_of_runs_in_every_format(skelbench, finished, command, style):
    text = skelbench(command, "--out", finished, "--format", style).stdout
    assert "skeattnclr" in text and "untrained (floor)" in text


def test_a_leaderboard_ranks_and_tells_what_training_cost(skelbench, finished):
    show = ("leaderboard", "--out", finished, "--format", "json")
    (table,) = json.loads(skelbench(*show).stdout)["tables"]
    rows = {row["method"]["value"]: row for row in table["rows"]}
    assert rows["skeattnclr"]["rank"]["value"] is None  # two epochs have not settled
    assert rows["skeattnclr"]["linear"]["settled"] == "unknown"
    (table,) = json.loads(skelbench(*show, "--all").stdout)["tables"]
    rows = {row["method"]["value"]: row for row in table["rows"]}
    assert rows["untrained (floor)"]["rank"]["value"] == ""
    assert rows["skeattnclr"]["rank"]["value"] is None  # one seed
    gain = rows["skeattnclr"]["linear Δ floor"]
    assert gain["interval"][0] <= gain["value"] <= gain["interval"][1] and gain["remark"] == "(one seed)"
    assert rows["skeattnclr"]["train time"]["value"] > 0 and rows["skeattnclr"]["clips/s"]["value"] > 0
    (note,) = [note for note in table["footnotes"] if note.startswith("Without a rank: ")]
    assert "skeattnclr stgcn (one seed)" in note
    assert "linear ECE" not in rows["skeattnclr"]
    (table,) = json.loads(skelbench(*show, "--calibration", "--metric", "balanced").stdout)["tables"]
    rows = {row["method"]["value"]: row for row in table["rows"]}
    assert 0 <= rows["skeattnclr"]["linear ECE"]["value"] <= 100 and "linear balanced" in rows["skeattnclr"]


def test_a_leaderboard_is_narrowed_and_says_when_nothing_fits(skelbench, finished):
    assert "custom: tiny" in skelbench("leaderboard", "--out", finished, "--split", "xsub", "--stream", "joint").stdout
    for option in (("--track", "equal"), ("--split", "xview"), ("--stream", "bone"), ("--dataset", "other")):
        result = skelbench("leaderboard", "--out", finished, *option, code=2)
        assert result.stderr.startswith("Error: No finished evaluation in")


@pytest.mark.parametrize("command", ["table", "leaderboard"])
def test_raw_joints_stay_in_the_tables_of_a_track(skelbench, tmp_path, make_record, command):
    runs = RunStore(tmp_path / "runs")
    place = {"dataset": "mine", "top1": 60.0}
    runs.write(make_record(method="aimclr", **place, identity="a" * 32))
    raw = {"method": "raw", "backbone": "none", "track": "custom", "label": "raw data"}
    runs.write(make_record(**raw, **place, protocol="ridge", identity="b" * 32))
    runs.write(make_record(**raw, **place, protocol="ridge", identity="c" * 32, split="xview"))
    show = (command, "--out", tmp_path / "runs", "--format", "json", "--track", "equal")
    (table,) = json.loads(skelbench(*show).stdout)["tables"]
    assert [row["method"]["value"] for row in table["rows"]] == ["raw", "aimclr"]


@pytest.mark.parametrize("number", range(1, 8))
def test_the_papers_tables_need_no_runs(skelbench, tmp_path, monkeypatch, number):
    monkeypatch.chdir(tmp_path)
    rows = list(csv.DictReader(io.StringIO(skelbench("table", "--paper", f"table{number}", "--format", "csv").stdout)))
    assert {row["table"] for row in rows} == {f"table{number}"} and {row["track"] for row in rows} == {"published"}
    assert not list(tmp_path.iterdir())


def test_the_papers_table_of_a_folder_shows_one_track(skelbench, finished):
    for track in ("published", "equal", "custom"):
        text = skelbench("table", "--paper", "table1", "--out", finished, "--track", track).stdout
        assert f"linear evaluation beside the baseline ({track})" in text


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--paper", "table9"), "The paper has no table 'table9'; choose one of table1,"),
        (("--paper", "table1", "--track", "demo"), "There is no track 'demo'"),
        (("--paper", "table1", "--dataset", "ntu60", "--label", "x"), "leave out --dataset, --label"),
        (("--paper", "table1", "--out", "nowhere"), "There is no folder of runs nowhere"),
    ],
)
def test_bad_input_is_one_sentence(skelbench, tmp_path, monkeypatch, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    error = skelbench("table", *arguments, code=2).stderr
    assert error.startswith("Error: ") and complaint in error and len(error.splitlines()) == 1


def test_tables_do_not_load_torch(finished):
    script = (
        "import sys\n"
        "from skelbench.benchmark.cli import main\n"
        "for line in sys.stdin.read().splitlines():\n"
        "    main(line.split('|'), standalone_mode=False)\n"
        "    assert not {'torch', 'pandas', 'matplotlib'} & set(sys.modules), line\n"
    )
    commands = [
        f"{command}|--out|{finished}|--format|{style}" for command in ("table", "leaderboard") for style in FORMATS
    ]
    commands += [f"table|--paper|table1|--out|{finished}", "leaderboard|--help"]
    done = subprocess.run([sys.executable, "-c", script], input="\n".join(commands), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
