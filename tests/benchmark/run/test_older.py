"""Records of older versions: found, reported and never used for the cells of a newer one."""

import numpy as np
import pytest

from skelbench.benchmark.plan.grid import read_grid
from skelbench.benchmark.plan.planner import plan_grid
from skelbench.benchmark.run.older import older_records
from skelbench.datasets import prepare
from skelbench.methods import METHODS
from skelbench.results.store import RunStore

METHOD = "skeletonclr"


@pytest.fixture
def grid(grid_file):
    return grid_file(methods=["untrained", METHOD])


def reported(grid, runs):
    return list(older_records(plan_grid(read_grid(grid)), RunStore(runs)))


def test_of_a_finished_grid_nothing_is_reported(grid, finished):
    assert reported(grid, finished) == []


def test_of_other_settings_nothing_is_reported(finished, grid_file):
    grid = grid_file(methods=["untrained", METHOD], set={"epochs": 1, "batch": 4, "frames": 16})
    assert reported(grid, finished) == []


def test_a_newer_method_runs_its_cells_again_and_says_which_records_are_older(
    grid, finished_copy, monkeypatch, skelbench
):
    monkeypatch.setattr(METHODS[METHOD], "version", METHODS[METHOD].version + 1)
    (line,) = reported(grid, finished_copy)
    assert line.startswith("3 older record(s) are kept")  # the pre-training, knn and linear
    assert line.endswith(f"method {METHOD} has version 1, now 2.")
    result = skelbench("grid", grid, "--out", finished_copy, "--dry-run")
    assert line in result.output
    assert [row for row in result.stdout.splitlines() if METHOD in row and row.endswith("done")] == []
    skelbench("grid", grid, "--out", finished_copy, "--device", "cpu")
    records = [record for record in RunStore(finished_copy).records() if record.cell.method == METHOD]
    assert sorted(str(record.versions["method"]) for record in records) == list("111222"), "the older ones stay"
    assert reported(grid, finished_copy) == []
    table = skelbench("leaderboard", "--out", finished_copy, "--format", "md").stdout
    assert "2 record(s) left out of the means: older" in table


def test_other_data_under_the_same_name_is_reported(grid, finished_copy, arrays, tmp_path):
    changed = arrays()
    changed["keypoints"] = changed["keypoints"] + np.float32(1.0)
    np.savez(tmp_path / "tiny.npz", **changed)
    prepare("arrays", tmp_path / "tiny.npz", "tiny", force=True)
    lines = reported(grid, finished_copy)
    assert len(lines) == 1 and "data tiny had the fingerprint" in lines[0]


def test_a_damaged_record_in_the_way_is_named_and_stops_nothing(grid, finished_copy, monkeypatch):
    monkeypatch.setattr(METHODS[METHOD], "version", METHODS[METHOD].version + 1)
    (folder,) = finished_copy.glob(f"*-{METHOD}-*-linear-*")
    (folder / "record.json").write_text("{")
    lines = reported(grid, finished_copy)
    assert any(str(folder) in line for line in lines) and any("2 older record(s)" in line for line in lines)
