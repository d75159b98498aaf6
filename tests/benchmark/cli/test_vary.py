"""A sweep by the command line: one table with a row for each value, and one floor."""

import csv
import io

from skelbench.results.record import PRETRAIN
from skelbench.results.store import RunStore

SMALL = {"batch": 4, "frames": 16, "epochs": 1, "backbone.width": 4, "backbone.dim": 16, "linear.epochs": 2}


def words(**more):
    return [word for key, value in (SMALL | more).items() for word in ("--set", f"{key}={value}")]


def table(output):
    return [(row["method"], row["variant"]) for row in csv.DictReader(io.StringIO(output))]


def test_a_sweep_is_one_table_with_one_floor(store, skelbench, grid_file, tmp_path, monkeypatch):
    out = ("--out", tmp_path / "runs", "--device", "cpu")
    file = grid_file(methods=["skeletonclr"], set=SMALL)
    sweep = ("grid", file, *out, "--name", "heat", "--vary", "method.temperature=0.05,0.07", "--seeds", "0")
    printed = skelbench(*sweep).stdout
    assert printed.count("tiny xsub, joint (custom: heat)") == 1
    assert "method.temperature=0.05" in printed
    records = RunStore(tmp_path / "runs").records()
    by_protocol = [(r.cell.method, r.cell.variant) for r in records if r.cell.protocol == "knn"]
    values = ["method.temperature=0.05", "method.temperature=0.07"]
    assert sorted(by_protocol, key=str) == [
        *(("skeletonclr", value) for value in values),
        *[("untrained", None)] * 3,
    ]
    shown = table(skelbench("table", "--out", tmp_path / "runs", "--format", "csv").stdout)
    assert sorted(shown) == [*(("skeletonclr", value) for value in values), ("untrained (floor)", "")]
    assert "method.temperature=0.05" in skelbench("status", "--out", tmp_path / "runs").stdout

    # Another value joins the table; what is done stays. The training of another protocol's settings is shared.
    assert "to do" not in skelbench(*sweep, "--dry-run").stdout
    before = {r.identity for r in records}
    skelbench("grid", file, *out, "--name", "heat", "--vary", "method.temperature=0.05,0.1")
    added = [r for r in RunStore(tmp_path / "runs").records() if r.identity not in before]
    assert {(r.cell.method, r.cell.variant) for r in added} == {("skeletonclr", "method.temperature=0.1")}
    before |= {r.identity for r in added}
    skelbench("grid", file, *out, "--name", "heat", "--vary", "knn.k=3,5")
    added = [r for r in RunStore(tmp_path / "runs").records() if r.identity not in before]
    assert not [r for r in added if r.cell.protocol == PRETRAIN], "0.07 is the temperature of the track: it is done"
    assert {r.cell.variant for r in added} == {"knn.k=3", "knn.k=5"}
    shown = table(skelbench("table", "--out", tmp_path / "runs", "--format", "csv").stdout)
    assert len(shown) == len(set(shown)) == 3 + 1 + 2 * 2


def test_a_run_by_hand_joins_a_named_table_and_is_reproduced(store, skelbench, tmp_path):
    runs = tmp_path / "runs"
    run = ("run", "--method", "skeletonclr", "--dataset", "tiny", "--protocol", "knn", "--device", "cpu", "--name", "x")
    skelbench(*run, "--out", runs, *words())
    skelbench(*run, "--out", runs, *words(lr=0.2))
    shown = table(skelbench("table", "--out", runs, "--label", "x", "--format", "csv").stdout)
    assert len(shown) == len(set(shown)) == 2
    for record in RunStore(runs).records():
        again = skelbench("run", "--reproduce", RunStore(runs).folder(record.key) / "record.json")
        assert "Reproduced bit for bit." in again.stdout
