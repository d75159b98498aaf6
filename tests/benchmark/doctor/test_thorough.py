"""The first hour on a card: its report, and what becomes of a fault, an error and too little time."""

import dataclasses
import itertools
import json
import math
import zipfile
from html.parser import HTMLParser

import pytest
import torch

from skelbench.benchmark.doctor import golden, losses, memory, programme, report, speed, together
from skelbench.benchmark.doctor.rows import Check, Outcome, Request
from skelbench.benchmark.forecast.counting import Work
from skelbench.benchmark.forecast.devices import ASSUMED_SHARES, Device

ON_CPU = ["doctor", "--thorough", "--device", "cpu", "--size", "tiny"]


def read(folder):
    """The only report of a folder of runs, and its page."""
    (file,) = folder.glob("doctor/*.json")
    return json.loads(file.read_text()), file.with_suffix(".html").read_text()


class Page(HTMLParser):
    """The tags of a page, what they refer to, and its words."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.words.append(" ".join(data.split()))


@pytest.fixture(autouse=True)
def made_anew():
    """Forget the methods of other tests, which may have another depth."""
    golden._made.cache_clear()


@pytest.fixture(scope="module")
def asked():
    return Request("cpu", "tiny", ("skeletonclr", "aimclr"))


@pytest.fixture
def other_process(monkeypatch):
    """Let the second process be one that says what is given here, after this one has begun."""

    def answer(program):
        pipe = together.subprocess.PIPE
        command = [together.sys.executable, "-c", program]
        start = together.subprocess.Popen
        monkeypatch.setattr(
            together, "_start", lambda job: start(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        )

    return answer


def test_a_tiny_run_leaves_a_report_and_a_page_that_asks_for_nothing_else(skelbench, tmp_path):
    sections = ["losses", "waits", "memory", "speed", "epoch"]
    done = skelbench(*ON_CPU, "--only", ",".join(sections), "--method", "skeletonclr", "--out", tmp_path)
    found, page = read(tmp_path)
    assert done.exit_code == 0
    assert {"schema": 1, "kind": "skelbench doctor"}.items() <= found.items()
    assert found["versions"]["torch"] == torch.__version__
    assert found["machine"]["device"] == "cpu"
    by_way = {(row["section"], row["way"]): row for row in found["rows"]}
    assert {section for section, _ in by_way} == set(sections)
    assert by_way["losses", "bf16"]["verdict"] == by_way["memory", "living tensors"]["verdict"] == "passed"
    assert by_way["waits", "fp32"]["verdict"] == by_way["losses", "fp32"]["verdict"] == "does not apply"
    assert by_way["epoch", "fp32"]["verdict"] == "measured"
    assert sum(found["counts"].values()) == len(found["rows"])
    assert not any(Page(page).links)
    assert {"script", "link", "img"}.isdisjoint(Page(page).tags)
    assert "Nothing failed." in " ".join(Page(page).words)


@pytest.mark.slow
@pytest.mark.full_depth  # the other process knows nothing of two blocks
def test_two_processes_at_once_get_the_numbers_of_one(asked):
    request = dataclasses.replace(asked, methods=("skeletonclr",), every=False)
    (check,) = together.checks(request)
    assert check.run().verdict == "passed"


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("print('ready'); input(); raise ValueError('no card')", "ended with code 1 (ValueError: no card)"),
        ("raise SystemExit('no memory')", "ended with code 1 (no memory)"),
        (
            """print('ready'); input(); print('{"began": 1, "ended": 2, "losses": {}}')""",
            "did not run at the same time",
        ),
    ],
)
def test_a_second_process_that_fails_is_told(asked, other_process, program, sentence):
    other_process(program)
    request = dataclasses.replace(asked, methods=("skeletonclr",), every=False)
    (row,) = programme.examine(request, ["together"])
    assert row.verdict == "failed"
    assert sentence in row.sentence


def test_a_wrong_loss_fails_with_one_sentence_and_its_command(skelbench, tmp_path, monkeypatch):
    right = golden.golden

    def wrong(name, way, device, *rest):
        found = right(name, way, device, *rest)
        if way.name == "bf16":
            found[0][1] *= 1.5
        return found

    monkeypatch.setattr(losses, "golden", wrong)
    done = skelbench(*ON_CPU, "--only", "losses", "--method", "skeletonclr", "--out", tmp_path, code=2)
    found, page = read(tmp_path)
    (row,) = [row for row in found["rows"] if row["verdict"] == "failed"]
    assert "step 2 of stage 0" in row["sentence"]
    assert row["found"] == pytest.approx(1.5 * row["expected"], rel=0.05)
    command = "skelbench doctor --thorough --device cpu --only losses --method skeletonclr --size tiny"
    assert row["command"] == command
    assert f"{row['sentence']}\n  {command}\n" in done.stdout
    assert done.stderr.strip() == "Error: 1 of 5 checks failed; each command above shows one alone."
    words = Page(page).words
    assert words.index(command) < words.index("losses")  # what to do comes before the tables


def test_a_loss_that_is_not_a_number_fails():
    way = losses.FP32
    row = losses.judge("mica", way, "cuda", {0: [1.0, 1.0]}, {0: [1.0, math.nan]})
    assert (row.verdict, row.tolerance) == ("failed", way.later)


def test_an_error_is_a_row_and_the_others_go_on(asked, monkeypatch):
    def checks(request):
        def fails():
            raise RuntimeError("CUDA error: misaligned\naddress")

        yield Check("losses", "mica", "fp32", fails)
        yield Check("losses", "hiclr", "fp32", lambda: Outcome("passed", "Fine."))

    monkeypatch.setitem(programme.SECTIONS, "losses", checks)
    first, second = programme.examine(asked, ["losses"])
    assert (first.verdict, second.verdict) == ("failed", "passed")
    assert first.sentence == "mica, fp32 on cpu ended with RuntimeError: CUDA error: misaligned address."
    monkeypatch.setattr(programme, "_answers", lambda device: False)
    first, second = programme.examine(asked, ["losses"])
    assert (first.verdict, second.verdict) == ("failed", "not run")
    assert "no longer answers" in second.sentence
    assert second.command.endswith("--only losses --method hiclr --size tiny")


def test_what_was_found_before_an_interruption_is_kept(skelbench, tmp_path, monkeypatch):
    def checks(request):
        def interrupted():
            raise KeyboardInterrupt

        yield Check("losses", "mica", "fp32", lambda: Outcome("passed", "Fine."))
        yield Check("losses", "hiclr", "fp32", interrupted)

    monkeypatch.setitem(programme.SECTIONS, "losses", checks)
    skelbench(*ON_CPU, "--only", "losses", "--out", tmp_path, code=1)
    assert [row["method"] for row in read(tmp_path)[0]["rows"]] == ["mica"]


def test_what_no_time_is_left_for_is_told(asked, monkeypatch):
    def checks(request):
        for way, seconds in (("slow", 400), ("slow", 400), ("short", 10)):
            yield Check("losses", "mica", way, lambda: Outcome("passed", "Fine."), seconds=seconds)

    monkeypatch.setitem(programme.SECTIONS, "losses", checks)
    ticks = itertools.count(0, 150)  # seconds between two looks at the clock
    rows = list(programme.examine(asked, ["losses"], clock=lambda: next(ticks)))
    assert [row.verdict for row in rows] == ["passed", "not run", "not run"]
    assert all("the ten minutes are nearly over" in row.sentence for row in rows[1:])


def test_a_step_far_below_the_limits_fails():
    limits = Device(name="a", title="a", memory=1, bandwidth=1, fp32=1, source="a test", shares=ASSUMED_SHARES)
    work = Work(flop=1e12, bytes=1e9)  # 2 s of products and 2 s of copies at half the limits
    assert speed.judge("Steps", "0.1 steps", 10.0, work, limits, "fp32").verdict == "passed"
    row = speed.judge("Steps", "0.05 steps", 20.0, work, limits, "fp32")
    assert (row.verdict, row.expected, row.found) == ("failed", 0.25, 0.05)
    assert row.sentence.startswith("Steps are 5.0 times as slow")


def test_memory_that_is_not_the_forecast_fails(asked, monkeypatch):
    monkeypatch.setattr(memory, "living", lambda device, shape, stage: 1e4)
    check = next(iter(memory.checks(dataclasses.replace(asked, methods=("skeletonclr",)))))
    assert check.run().verdict == "failed"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--only", "loses"], "There is no section 'loses'; did you mean 'losses'?"),
        (["--method", "aimcl"], "There is no method 'aimcl' that trains; did you mean 'aimclr'?"),
    ],
)
def test_an_unknown_name_is_one_sentence(skelbench, tmp_path, words, sentence):
    done = skelbench(*ON_CPU, *words, "--out", tmp_path, code=2)
    assert done.stderr.strip().startswith(f"Error: {sentence[:-1]}")
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_an_option_of_thorough_without_it_is_refused(skelbench, tmp_path):
    done = skelbench("doctor", "--only", "losses", "--out", tmp_path, code=2)
    assert "--only is an option of --thorough; add it." in done.stderr


def test_an_export_carries_the_reports_and_an_import_leaves_them_in_the_zip(skelbench, asked, tmp_path):
    rows = list(programme.examine(asked, ["waits"]))
    files = report.save(report.as_json(asked, ["waits"], rows, 1.0), tmp_path / "runs")
    again = report.save(report.as_json(asked, ["waits"], rows, 1.0), tmp_path / "runs")
    assert set(files).isdisjoint(again)
    done = skelbench("results", "export", tmp_path / "a.zip", "--out", tmp_path / "runs")
    assert "0 records, 0 failures, 4 files about the machine" in done.output
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        for file in (*files, *again):
            assert archive.read(f"doctor/{file.name}") == file.read_bytes()
    assert "0 records" in skelbench("results", "import", tmp_path / "a.zip", "--out", tmp_path / "other").output
    assert not (tmp_path / "other" / "doctor").exists()
