"""`skelbench.run_grid` and `skelbench.load_results`: a grid from Python, and its records as a DataFrame."""

import json
from typing import Any

import numpy as np
import pytest

import skelbench
from skelbench.backbones.stgcn import STGCN
from skelbench.benchmark.plan.grid import Grid
from skelbench.datasets import prepare
from skelbench.errors import SkelbenchError
from skelbench.results.store import RunStore

from ..conftest import motions, short_stgcn

TINY = {"frames": 16, "epochs": 1, "batch": 4, "backbone.width": 4, "backbone.dim": 16, "linear.epochs": 3}
FIELDS: dict[str, Any] = {
    "name": "tiny",
    "methods": ["skeletonclr"],
    "datasets": ["tiny"],
    "seeds": [0, 1],
    "set": TINY,
}


@pytest.fixture
def skelbench_command(request):
    """The fixture `skelbench` of the folder, under a name that leaves the package's free."""
    return request.getfixturevalue("skelbench")


@pytest.fixture(scope="module")
def ran_once(tmp_path_factory):
    """A grid, run from Python once: its folder, with the data, and what was returned."""
    folder = tmp_path_factory.mktemp("ran")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKELBENCH_DATA", str(folder / "data"))
        patch.setattr(STGCN, "__init__", short_stgcn())
        np.savez(folder / "tiny.npz", **motions())
        prepare("arrays", folder / "tiny.npz", "tiny")
        return folder, skelbench.run_grid(FIELDS, out=folder / "runs", device="cpu")


@pytest.fixture
def ran(ran_once, own_data, monkeypatch, tree):
    """What the grid returned; nothing may have been written to its folder in the end."""
    folder, result = ran_once
    monkeypatch.setenv("SKELBENCH_DATA", str(folder / "data"))
    before = tree(folder / "runs")
    yield result
    assert tree(folder / "runs") == before


@pytest.fixture
def runs(ran_once):
    """The folder of its runs."""
    return ran_once[0] / "runs"


def test_a_grid_runs_with_its_floor_and_leaves_what_the_command_leaves(ran, runs, tmp_path, skelbench_command):
    assert ran.failures == [] and ran.refused == {}
    cells = {(record.cell.method, record.cell.protocol, record.cell.seed) for record in ran.records}
    seeds = {"skeletonclr": (0, 1), "untrained": (0, 1, 2)}
    assert cells == {(m, p, s) for m, mine in seeds.items() for p in ("knn", "linear") for s in mine}
    file = tmp_path / "tiny.yaml"
    file.write_text(json.dumps(FIELDS))
    skelbench_command("grid", file, "--out", tmp_path / "other", "--device", "cpu")
    ours, theirs = (RunStore(folder).records() for folder in (runs, tmp_path / "other"))
    assert {r.identity for r in ours} == {r.identity for r in theirs}


def test_a_finished_grid_is_not_run_again_and_a_preset_or_file_is_read_by_name(ran, runs, monkeypatch):
    monkeypatch.setattr("skelbench.benchmark.train.trainer.Trainer.train", lambda *_: pytest.fail("it ran again"))
    again = skelbench.run_grid(Grid(**FIELDS), out=str(runs), device="cpu")
    assert [record.identity for record in again.records] == [record.identity for record in ran.records]
    with pytest.raises(SkelbenchError, match="no-such-preset"):
        skelbench.run_grid("no-such-preset", out=runs)
    with pytest.raises(SkelbenchError, match="There is no setting 'method' of the grid"):
        skelbench.run_grid({"method": ["skeletonclr"]}, out=runs)


def test_without_a_floor_only_the_named_methods_run(store, tmp_path):
    ran = skelbench.run_grid(FIELDS | {"seeds": [0], "protocols": ["knn"]}, out=tmp_path, device="cpu", floor=False)
    assert [(record.cell.method, record.cell.protocol) for record in ran.records] == [("skeletonclr", "knn")]


def test_results_are_a_frame_with_a_row_for_each_record(ran, runs):
    frame: Any = skelbench.load_results(runs)
    records = RunStore(runs).records()
    assert frame["identity"].tolist() == [record.identity for record in records]
    for row, record in zip(frame.to_dict("records"), records, strict=True):
        assert (row["method"], row["protocol"], row["seed"]) == (
            record.cell.method,
            record.cell.protocol,
            record.cell.seed,
        )
        assert np.isnan(row["top1"]) if record.last is None else row["top1"] == record.last.top1
        assert row["fingerprint"] == record.data["fingerprint"] and row["train_clips"] == 12
        for name, value in record.extra.items():
            assert row[f"extra_{name}"] == value
    means = frame.dropna(subset="top1").groupby(["method", "protocol"])["top1"].mean()
    expected = np.mean([r.last.top1 for r in ran.records if (r.cell.method, r.cell.protocol) == ("skeletonclr", "knn")])
    assert means["skeletonclr", "knn"] == pytest.approx(expected)


def test_every_column_is_described(ran, runs):
    described = skelbench.load_results.__doc__
    assert described is not None
    columns = skelbench.load_results(runs).columns
    assert [name for name in columns if not name.startswith("extra_") and name not in described] == []


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SkelbenchError, match="There is no folder of runs"):
        skelbench.load_results(tmp_path / "nowhere")


def test_a_folder_without_records_has_the_same_columns(ran, runs, tmp_path):
    (tmp_path / "empty").mkdir()
    empty, full = (skelbench.load_results(folder) for folder in (tmp_path / "empty", runs))
    assert len(empty) == 0
    assert list(empty.columns) == [name for name in full.columns if not name.startswith("extra_")]


def test_settings_by_group_are_the_same_cells_from_python_and_from_a_file(store, tmp_path, skelbench_command):
    grouped: dict[str, Any] = FIELDS | {"methods": ["untrained"], "protocols": ["linear"], "seeds": [0]}
    dotted = grouped | {"parts": [{"set": {"linear.lr": 0.2, "linear.batch": 4}}]}
    grouped["set"] = {
        "frames": 16,
        "epochs": 1,
        "batch": 4,
        "backbone": {"width": 4, "dim": 16},
        "linear": {"epochs": 3},
    }
    grouped["parts"] = [{"set": {"linear": {"lr": 0.2, "batch": 4}}}]
    ran = [skelbench.run_grid(given, out=tmp_path / name) for name, given in (("a", dotted), ("b", grouped))]
    assert [r.identity for r in ran[0].records] == [r.identity for r in ran[1].records]
    (tmp_path / "tiny.yaml").write_text(json.dumps(grouped))
    assert "to do" not in skelbench_command("grid", tmp_path / "tiny.yaml", "--out", tmp_path / "a", "--dry-run").stdout


@pytest.mark.parametrize("where", ["set", "parts"])
def test_a_group_in_both_forms_is_an_error(store, tmp_path, where):
    both = {"linear.lr": 1, "linear": {"lr": 2}}
    given = FIELDS | ({"set": both} if where == "set" else {"parts": [{"set": both}]})
    with pytest.raises(SkelbenchError, match=r"'linear' is given both as 'linear\.lr' and as a mapping"):
        skelbench.run_grid(given, out=tmp_path / "runs")
