"""`skelbench status`: the state of cells from the files alone, and the time left."""

import json
import subprocess
import sys

import pytest

from skelbench.results.claims import Claims
from skelbench.results.record import Cell, Failure, Key, Record
from skelbench.results.status.estimate import Estimate, format_duration
from skelbench.results.status.overview import overview
from skelbench.results.status.plans import Launched, Planned, write_plan
from skelbench.results.store import RunStore

NOW = "2026-01-02T03:04:05+00:00"
PLACE = {"method": "skeletonclr", "backbone": "stgcn", "dataset": "tiny", "split": "xsub"}


def cell(protocol, seed):
    return Cell(track="equal", **PLACE, stream="joint", protocol=protocol, seed=seed)


def identity(protocol, seed):
    return f"{'ab' if protocol == 'pretrain' else 'cd'}{seed:08d}"


def record(protocol, seed, seconds):
    return Record(
        cell=cell(protocol, seed),
        identity=identity(protocol, seed),
        settings={},
        versions={},
        environment={"device_name": "a card"},
        data={"train": 100, "test": 50},
        model={"frames": 16, "width": 4, "epochs": 10},
        cost={"train_seconds" if protocol == "pretrain" else "eval_seconds": seconds},
        finished=NOW,
    )


def planned(protocol, seed, epochs=10):
    size = {"clips": 100, "epochs": epochs} if protocol == "pretrain" else {"clips": 150}
    return Planned(cell=cell(protocol, seed), identity=identity(protocol, seed), frames=16, width=4, **size)


@pytest.fixture
def runs(tmp_path):
    """Seed 0 is done (20 s and 3 s), seed 1 failed, seed 2 runs and has two of ten epochs of 4 s, seed 3 waits."""
    runs = RunStore(tmp_path / "runs")
    runs.write(record("pretrain", 0, 20.0))
    runs.write(record("knn", 0, 3.0))
    runs.write_failure(Failure(cell=cell("pretrain", 1), identity=identity("pretrain", 1), reason="a", finished=NOW))
    folder = runs.folder(Key(cell("pretrain", 2), identity("pretrain", 2)))
    folder.mkdir()
    lines = [json.dumps({"epoch": epoch, "seconds": 4.0}) for epoch in (1, 2)]
    (folder / "curve.jsonl").write_text("\n".join(lines) + '\n{"epoch": 3, "sec')
    cells = [planned(protocol, seed) for seed in range(4) for protocol in ("pretrain", "knn")]
    write_plan(runs.root, Launched(started=NOW, device_name="a card", cells=tuple(cells)))
    claim = Claims(runs.root).take(Key(cell("pretrain", 2), identity("pretrain", 2)))
    assert claim is not None
    with claim:
        yield runs


def test_every_planned_cell_stands_where_its_files_say(runs):
    states = {(one.cell.seed, one.cell.protocol): one.state for one in overview(runs).cells}
    assert states == {
        (0, "pretrain"): "done",
        (0, "knn"): "done",
        (1, "pretrain"): "failed",
        (1, "knn"): "to do",
        (2, "pretrain"): "running",
        (2, "knn"): "to do",
        (3, "pretrain"): "to do",
        (3, "knn"): "to do",
    }


def test_the_time_left_is_that_of_the_running_epochs_and_of_cells_like_those_done(runs):
    found = overview(runs)
    assert found.left() == (8 * 4.0 + 20.0 + 3 * 3.0, 0)
    (running,) = [one for one in found.cells if one.state == "running"]
    assert running.about.startswith("epoch 3 of 10, ")


def test_what_no_finished_cell_resembles_is_unknown_and_not_guessed(runs):
    estimate = Estimate(runs.records(), "a card")
    assert estimate.seconds(planned("pretrain", 9, epochs=5)) == pytest.approx(10.0)
    assert estimate.seconds(planned("pretrain", 9).model_copy(update={"width": 64})) is None
    assert Estimate(runs.records(), "another card").seconds(planned("knn", 9)) is None


def test_the_plan_launched_last_is_shown_and_those_that_go_on(runs):
    later = Launched(started="2026-02-01T00:00:00+00:00", device_name="a card", cells=(planned("knn", 7),))
    write_plan(runs.root, later)
    assert {one.cell.seed for one in overview(runs).cells} == {0, 1, 2, 3, 7}, "seed 2 runs"
    (runs.root / ".claims").rename(runs.root / "no claims")
    assert {one.cell.seed for one in overview(runs).cells} == {7}


def test_a_folder_without_plans_shows_what_it_has(runs):
    (plan,) = (runs.root / ".plans").iterdir()
    plan.unlink()
    assert sorted(one.state for one in overview(runs).cells) == ["done", "done", "failed"]


def test_the_command_shows_counts_reasons_and_time_without_torch(runs):
    code = "import sys; from skelbench.benchmark.cli import main; main(sys.argv[1:], standalone_mode=False); "
    code += "assert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code, "status", "--out", str(runs.root)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert last == "2 done, 1 running, 1 failed, 4 to do; time left: about 61 s"
    assert "failed: skeletonclr stgcn tiny xsub joint pretrain seed 1 (equal): a" in done.stdout


def test_json_has_every_cell(runs, skelbench):
    found = json.loads(skelbench("status", "--out", runs.root, "--json").stdout)
    assert found["counts"] == {"done": 2, "running": 1, "failed": 1, "to do": 4}
    assert len(found["cells"]) == 8


def test_a_damaged_plan_is_told_with_what_to_do(runs, skelbench):
    (plan,) = (runs.root / ".plans").iterdir()
    plan.write_text("{")
    result = skelbench("status", "--out", runs.root, code=2)
    assert "delete it; the next launch writes another" in result.stderr


@pytest.mark.parametrize(
    ("seconds", "text"), [(40, "40 s"), (60, "60 s"), (720, "12 min"), (12240, "3.4 h"), (181440, "2.1 days")]
)
def test_durations_read_as_people_say_them(seconds, text):
    assert format_duration(seconds) == text


def test_a_dry_run_tells_the_device_hours_that_earlier_cells_lead_one_to_expect(skelbench, store, tmp_path):
    words = ["grid", "--methods", "untrained", "--datasets", "tiny", "--protocols", "knn", "--out", tmp_path / "runs"]
    words += ["--set", "frames=16", "--set", "backbone.width=4", "--set", "backbone.dim=16"]
    *_, before, counted = skelbench(*words, "--seeds", "0", "--no-floor", "--dry-run").stdout.splitlines()
    assert before.startswith("6 of 6 cells left; no similar cell is finished here on ")
    assert counted.startswith("by counting: ")
    assert not (tmp_path / "runs").exists()
    skelbench(*words, "--seeds", "0", "--no-floor")
    after = skelbench(*words, "--seeds", "0,5", "--dry-run").stdout.splitlines()[-1]
    assert after.startswith("2 of 8 cells left; about 0.00 device hours")
