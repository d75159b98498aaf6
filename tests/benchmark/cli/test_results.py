"""The commands `check`, `results export` and `results import`."""

import hashlib
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from skelbench.results.record import Cell, Record, Score
from skelbench.results.store import RunStore

PRINTED = {("xsub", "linear"): 80.3, ("xview", "linear"): 86.1, ("xsub", "knn"): 69.4}  # of SkeAttnCLR, joint


@pytest.fixture
def folder(tmp_path):
    """Write a folder of runs: top-1 by split and protocol, three seeds each; changes go on top."""

    def write(name, scores, **changes):
        for (split, protocol), top1 in scores.items():
            for seed in (0, 1, 2):
                place: dict[str, Any] = {
                    "track": "published",
                    "method": "skeattnclr",
                    "backbone": "stgcn",
                    "dataset": "ntu60",
                }
                place |= {"split": split, "stream": "joint", "protocol": protocol, "seed": seed} | changes
                record = Record(
                    cell=Cell(**place),
                    identity=hashlib.sha256(json.dumps(place).encode()).hexdigest(),
                    settings={"seed": seed},
                    versions={"method": 1},
                    environment={"torch": "2.0"},
                    data={"fingerprint": "aa"},
                    model={"width": 64},
                    last=Score(top1=top1 + 0.1 * (seed - 1)),
                    finished="2024-05-01T12:00:00Z",
                )
                RunStore(tmp_path / name).write(record)
        return tmp_path / name

    return write


def lowered(scores):
    return scores | {("xview", "linear"): scores["xview", "linear"] - 3}


def row_of(result, row):
    (line,) = [line for line in result.stdout.splitlines() if row in line]
    return line


def test_what_the_paper_says_passes_and_the_rest_is_not_run(skelbench, folder):
    result = skelbench("check", "--out", folder("runs", PRINTED), code=0)
    assert row_of(result, "skeattnclr stgcn ntu60 xview joint linear").startswith("pass ")
    assert row_of(result, "aimclr stgcn ntu60 xsub joint linear").startswith("not run ")
    assert result.stdout.splitlines()[-1].startswith("3 passed, 0 failed, ")


def test_a_lowered_record_fails_against_the_paper_and_is_named(skelbench, folder):
    result = skelbench("check", "--out", folder("runs", lowered(PRINTED)), code=1)
    assert row_of(result, "fail  ") == (
        "fail     skeattnclr stgcn ntu60 xview joint linear (published): 83.1 ± 0.1 % (3 seeds) against 86.1 % "
        "(skeattnclr_tables.csv:11), Δ -3.00, allowed 1.00; the paper also prints 80.4 (line 198)"
    )
    assert result.stdout.splitlines()[-1].startswith("2 passed, 1 failed, ")


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_lowered_record_fails_against_earlier_records_and_is_named(skelbench, folder, tmp_path, kind):
    earlier = folder("earlier", PRINTED, track="equal")
    if kind == "zip":
        skelbench("results", "export", tmp_path / "earlier.zip", "--out", earlier)
        earlier = tmp_path / "earlier.zip"
    same = folder("same", PRINTED, track="equal")
    skelbench("check", "--out", same, "--against", earlier, code=0)
    result = skelbench("check", "--out", folder("worse", lowered(PRINTED), track="equal"), "--against", earlier, code=1)
    assert "skeattnclr stgcn ntu60 xview joint linear (equal)" in row_of(result, "fail  ")


def test_records_of_other_tracks_are_nothing_to_compare_with_the_paper(skelbench, folder):
    out = folder("runs", PRINTED, track="equal")
    result = skelbench("check", "--out", out, code=2)
    assert "0 passed, 0 failed" in result.stdout
    assert "nothing to compare" in result.stdout


def test_how_much_is_allowed_can_be_said_for_all_and_for_a_row(skelbench, folder, tmp_path):
    out = folder("runs", lowered(PRINTED))
    skelbench("check", "--out", out, "--tolerance", "3", code=0)
    (tmp_path / "t.yaml").write_text(
        "- {method: skeattnclr, dataset: ntu60, split: xview, stream: joint, protocol: linear,\n"
        "   backbone: stgcn, tolerance: 3.5, reason: 100 epochs only}\n"
    )
    result = skelbench("check", "--out", out, "--tolerances", tmp_path / "t.yaml", code=0)
    assert row_of(result, "100 epochs only").startswith("pass ")


def test_junit_and_json_say_what_the_lines_say(skelbench, folder, tmp_path):
    out = folder("runs", lowered(PRINTED))
    report = json.loads(skelbench("check", "--out", out, "--json", "--junit", tmp_path / "check.xml", code=1).stdout)
    (suite,) = ElementTree.parse(tmp_path / "check.xml").getroot()
    assert (report["counts"]["failed"], report["counts"]["passed"]) == (1, 2)
    assert suite.get("failures") == "1"
    assert suite.get("skipped") == str(report["counts"]["not_run"])
    assert len(suite) == len(report["rows"]) == 3 + report["counts"]["not_run"]
    (failed,) = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failed == "skeattnclr stgcn ntu60 xview joint linear (published)"


def test_junit_is_written_where_there_is_nothing_to_compare_too(skelbench, folder, tmp_path):
    skelbench("check", "--out", folder("runs", PRINTED, track="equal"), "--junit", tmp_path / "check.xml", code=2)
    (suite,) = ElementTree.parse(tmp_path / "check.xml").getroot()
    assert suite.get("tests") == suite.get("skipped") != "0"


def test_a_measurement_is_checked_against_a_stored_one(skelbench, tmp_path):
    def write(name, median, device="H200"):
        row = {"name": "skeletonclr", "median_ms": median}
        content = {"kind": "skelbench bench", "what": "step", "device": device, "rows": [row]}
        (tmp_path / name).write_text(json.dumps(content))
        return tmp_path / name

    stored = write("stored.json", 10.0)
    skelbench("check", write("same.json", 10.4), "--against", stored, code=0)
    slow = write("slow.json", 10.6)
    result = skelbench("check", slow, "--against", stored, code=1)
    assert row_of(result, "fail ") == "fail     skeletonclr: 10.6 ms against 10 ms, Δ +6.00 %, allowed 5.00 %"
    skelbench("check", slow, "--against", stored, "--slowdown", "7", code=0)
    skelbench("check", write("other.json", 10.0, "H100"), "--against", stored, code=2)


@pytest.mark.parametrize(
    "words, said",
    [
        (["--out", "nowhere"], "There is no folder of runs nowhere"),
        (["--against", "nowhere"], "There is no nowhere to check against"),
        (["--against", "stored.json"], "name a fresh one"),
        (["fresh.json"], "fresh.json needs --against STORED.json"),
        (["fresh.json", "--against", "stored.json"], "stored.json cannot be read"),
        (["fresh.json", "--against", "stored.json", "--tolerances", "t.yaml"], "--tolerances is for accuracies"),
        (["--tolerances", "t.yaml"], "t.yaml cannot be read"),
    ],
)
def test_bad_input_is_one_sentence(skelbench, folder, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    folder("runs", PRINTED)
    result = skelbench("check", *words, code=2)
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


def test_a_damaged_record_is_no_pass(skelbench, folder):
    out = folder("runs", PRINTED)
    path = next(out.glob("*/record.json"))
    path.write_text(path.read_text().replace('"top1": ', '"top1": NaN, "old": '))
    assert "cannot be read" in skelbench("check", "--out", out, code=2).stderr


def test_results_merge_and_a_conflict_is_reported_with_exit_code_1(skelbench, folder, tmp_path):
    ours, theirs = folder("ours", PRINTED), folder("theirs", lowered(PRINTED) | {("xview", "knn"): 76.8})
    result = skelbench("results", "export", tmp_path / "theirs.zip", "--out", theirs)
    assert result.stdout == f"{tmp_path / 'theirs.zip'}: 12 records, 0 failures\n"
    result = skelbench("results", "import", tmp_path / "theirs.zip", "--out", ours, code=1)
    assert result.stdout == f"{ours}: 3 records and 0 failures added, 6 there already, 3 in conflict\n"
    assert result.stderr.count("skeattnclr stgcn ntu60 xview joint linear seed") == 3
    assert len(RunStore(ours).records()) == 12
    result = skelbench("results", "import", tmp_path / "theirs.zip", "--out", tmp_path / "new", code=0)
    assert "12 records and 0 failures added, 0 there already, 0 in conflict" in result.stdout


def test_an_export_takes_what_is_asked_for(skelbench, folder, tmp_path):
    folder("runs", PRINTED)
    folder("runs", PRINTED, track="custom", label="demo")
    out = folder("runs", PRINTED, dataset="ntu120")
    for options, count in (
        ((), 27),
        (("--track", "custom"), 9),
        (("--label", "demo"), 9),
        (("--dataset", "ntu120"), 9),
    ):
        text = skelbench("results", "export", tmp_path / "some.zip", "--out", out, *options).stdout
        assert f": {count} records" in text
    result = skelbench("results", "export", tmp_path / "none.zip", "--out", out, "--dataset", "ntu61", code=2)
    assert "No finished cell in" in result.stderr
    assert "must end in .zip" in skelbench("results", "export", tmp_path / "some.tar", "--out", out, code=2).stderr


def test_neither_command_loads_torch(folder, tmp_path):
    out = folder("runs", PRINTED)
    script = (
        "import sys\n"
        "from skelbench.benchmark.cli import main\n"
        "for line in sys.stdin.read().splitlines():\n"
        "    main(line.split('|'), standalone_mode=False)\n"
        "    assert 'torch' not in sys.modules, line\n"
    )
    commands = [f"check|--out|{out}", f"results|export|{tmp_path}/a.zip|--out|{out}"]
    commands.append(f"results|import|{tmp_path}/a.zip|--out|{tmp_path}/b")
    done = subprocess.run([sys.executable, "-c", script], input="\n".join(commands), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
