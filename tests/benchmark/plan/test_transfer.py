"""Pre-trained on one data set, evaluated on another: a cell of its own, never among the ordinary ones."""

import csv
from typing import Any

import numpy as np
import pytest
import torch

from skelbench.backbones import create_backbone
from skelbench.benchmark.plan import tracks
from skelbench.benchmark.plan.grid import Grid
from skelbench.benchmark.plan.planner import plan_grid
from skelbench.benchmark.protocols.knn import vote
from skelbench.benchmark.train.trainer import Trainer
from skelbench.datasets import prepare
from skelbench.datasets.clips import load_dataset
from skelbench.datasets.recording import TRAIN
from skelbench.results.files import read_scores
from skelbench.results.store import RunStore

TINY = {"frames": 16, "epochs": 1, "batch": 4, "backbone.width": 4, "backbone.dim": 16, "linear.epochs": 3}


@pytest.fixture
def prepared(arrays, tmp_path):
    """Prepare arrays, changed by a function, under a name."""

    def make(name: str, change: Any = None, **sizes: int) -> Any:
        values = arrays(**sizes)
        np.savez(tmp_path / f"{name}.npz", **(change(values) if change else values))
        return prepare("arrays", tmp_path / f"{name}.npz", name)

    return make


@pytest.fixture
def other(store, prepared):
    """The data set `other`: more classes than `tiny` and the same skeleton."""
    return prepared("other", subjects=2, classes=5)


@pytest.fixture
def file(other, grid_file):
    """A grid that trains on `tiny` and evaluates on `other`."""
    return grid_file(methods=["skeletonclr", "crosclr"], datasets=["other"], protocols=["knn"], pretrained_on="tiny")


def planned(**changes):
    values: dict[str, Any] = {"methods": ("skeletonclr",), "datasets": ("other",), "protocols": ("knn",), "set": TINY}
    return plan_grid(Grid(**values | changes))


def test_a_transfer_evaluates_the_encoder_of_one_data_set_on_another(file, skelbench, tmp_path):
    changes = ("--set", "method.init=torch", "--set", "knn.k=3")
    out = skelbench("grid", file, "--out", tmp_path / "runs", *changes).stdout
    assert "pre-trained on tiny:xsub)" in " ".join(out.split())
    records = RunStore(tmp_path / "runs").records()
    (trained,) = [r for r in records if (r.cell.method, r.cell.protocol) == ("skeletonclr", "pretrain")]
    (found,) = [r for r in records if (r.cell.method, r.cell.protocol) == ("skeletonclr", "knn")]
    assert (trained.cell.dataset, trained.cell.pretrained_on) == ("tiny", None)
    assert (found.cell.dataset, found.cell.split, found.cell.pretrained_on) == ("other", "xsub", "tiny:xsub")
    assert found.pretrain == trained.identity
    assert (found.data["classes"], found.data["train"]) == (5, 10)
    assert str(found.cell).startswith("skeletonclr stgcn other xsub joint knn seed 0 (custom: tiny, knn.k=3,")
    assert str(found.cell).endswith(", pre-trained on tiny:xsub)")
    folder = RunStore(tmp_path / "runs").folder(trained.key)
    state = torch.load(folder / "encoder-0002.pt", weights_only=True)
    backbone = create_backbone("stgcn", num_persons=1, width=4, dim=16).eval()
    prefix = "encoder_q.backbone."
    backbone.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    train, test = load_dataset("other", "xsub", frames=16)
    with torch.no_grad():
        bank, queries = (backbone(side.x).mean(dim=(1, 2, 3)) for side in (train, test))
    expected = vote(bank, train.label, queries, k=3, temperature=0.1, classes=5)
    assert (expected == 0).any(), "the nearest clips are of some classes only"
    names, _, scores = read_scores(RunStore(tmp_path / "runs").folder(found.key) / "scores.npz")
    assert names.tolist() == list(test.name)
    np.testing.assert_allclose(scores, expected, rtol=1e-4)


def test_a_transfer_never_shares_a_table_with_ordinary_cells_and_has_its_floor(file, skelbench, tmp_path):
    out = ("--out", tmp_path / "runs")
    skelbench("grid", file, *out)
    skelbench("grid", file, *out, "--pretrained-on", "tiny:xview")
    skelbench("run", "--method", "skeletonclr", "--dataset", "other", "--protocol", "knn", *out, *sets())
    rows = list(csv.DictReader(skelbench("table", *out, "--format", "csv").stdout.splitlines()))
    methods: dict[str, list[str]] = {}
    for row in rows:
        methods.setdefault(row["pretrained_on"], []).append(row["method"])
    everyone = ["crosclr", "skeletonclr", "untrained (floor)"]
    assert {key: sorted(value) for key, value in methods.items()} == {
        "": ["skeletonclr"],
        "tiny:xsub": everyone,
        "tiny:xview": everyone,
    }
    skelbench("table", *out)


def test_the_floor_of_a_transfer_has_the_encoder_of_the_larger_set_it_is_compared_with(other, store, monkeypatch):
    sizes = [int((one.sides("xsub") == TRAIN).sum()) for one in (store, other)]
    assert sizes[0] != sizes[1]
    small, large = ("other", "tiny") if sizes[1] < sizes[0] else ("tiny", "other")
    monkeypatch.setattr(tracks, "SMALL", max(sizes))
    plan = planned(methods=("untrained", "skeletonclr"), datasets=(small,), pretrained_on=large, set={"batch": 4})
    trained = [task.recipe for task, _ in plan.tasks if task.cell.method == "skeletonclr"]
    floors = [task.recipe for task, _ in plan.tasks if task.cell.method == "untrained"]
    assert {recipe.backbone["width"] for recipe in (*trained, *floors)} == {16}
    assert {recipe.frames for recipe in (*trained, *floors)} == {48}


def sets():
    return [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]


def test_a_transfer_is_skipped_when_done_and_made_again_when_forced(file, skelbench, tmp_path, monkeypatch, tree):
    runs, one = tmp_path / "runs", ("--methods", "skeletonclr")
    skelbench("grid", file, "--out", runs, *one)
    before = tree(runs)
    with monkeypatch.context() as patch:
        patch.setattr("skelbench.benchmark.run.runner.load_dataset", lambda *a, **k: pytest.fail("it ran again"))
        skelbench("grid", file, "--out", runs, *one)
    assert tree(runs) == before
    assert "to do" not in skelbench("grid", file, "--out", runs, *one, "--dry-run").stdout
    (path,) = [p for p in runs.rglob("record.json") if "skeletonclr" in str(p) and "-knn-" in str(p)]
    assert "from_tiny_xsub" in path.parent.name
    first = path.stat().st_mtime_ns
    skelbench("grid", file, "--out", runs, *one, "--force")
    assert path.stat().st_mtime_ns > first


def test_one_training_serves_all_data_it_is_evaluated_on(file, prepared, skelbench, tmp_path, monkeypatch):
    prepared("third", subjects=2, classes=4)
    trained, train = [], Trainer.train
    monkeypatch.setattr(Trainer, "train", lambda self: (trained.append(self.method.stream), train(self))[1])
    datasets = ("--datasets", "tiny,other,third", "--methods", "skeletonclr")
    skelbench("grid", file, "--out", tmp_path / "runs", *datasets)
    assert trained == ["joint"]
    evaluated = {
        r.cell.dataset: r.cell.pretrained_on
        for r in RunStore(tmp_path / "runs").records()
        if (r.cell.method, r.cell.protocol) == ("skeletonclr", "knn")
    }
    assert evaluated == {"tiny": None, "other": "tiny:xsub", "third": "tiny:xsub"}, "on its own data it is no transfer"


def test_streams_of_a_transfer_are_fused(file, skelbench, tmp_path):
    skelbench("grid", file, "--out", tmp_path / "runs", "--streams", "3s")
    fused = [r for r in RunStore(tmp_path / "runs").records() if r.cell.stream == "3s"]
    assert {r.cell.method for r in fused} == {"untrained", "skeletonclr", "crosclr"}
    assert {(r.cell.dataset, r.cell.pretrained_on) for r in fused} == {("other", "tiny:xsub")}


def test_a_failed_pre_training_leaves_its_transfers_and_tells_once(file, skelbench, tmp_path, monkeypatch):
    from skelbench.methods import METHODS

    monkeypatch.setattr(METHODS["skeletonclr"], "loss", lambda *a, **k: 1 / 0)
    result = skelbench("grid", file, "--out", tmp_path / "runs", code=1)
    assert result.stderr.splitlines()[-2] == "1 cells failed:"
    assert {r.cell.method for r in RunStore(tmp_path / "runs").records() if r.cell.protocol == "knn"} == {
        "untrained",
        "crosclr",
    }


def test_the_identity_covers_where_it_was_pre_trained(other):
    found = [planned(pretrained_on=origin).transfers for origin in ("tiny", "tiny:xsub", "tiny:xview")]
    identities = [task.evaluations[0][1] for ((task, _),) in found]
    ordinary = [task.evaluations[0][1] for task, _ in planned().tasks]
    assert identities[0] == identities[1]
    assert len({*identities, *ordinary}) == 3
    ((again, _),) = planned(pretrained_on="tiny", set=TINY | {"epochs": 2}).transfers
    assert again.evaluations[0][1] not in identities


def test_another_skeleton_is_one_sentence_before_anything_runs(store, prepared, grid_file, skelbench, tmp_path):
    def fewer_joints(values):
        return values | {"keypoints": values["keypoints"][:, :, :20], "layout": np.array("kinect20")}

    prepared("twenty", fewer_joints)
    file = grid_file(methods=["skeletonclr"], datasets=["twenty"], pretrained_on="tiny")
    result = skelbench("grid", file, "--out", tmp_path / "runs", code=2)
    assert (
        "'twenty' has the skeleton 'kinect20' (20 joints), this run was trained on another one, 'ntu25'"
        in result.stderr
    )
    assert result.stderr.count("Error:") == 1
    assert not (tmp_path / "runs").exists()


def test_weights_for_every_person_do_not_carry_over_to_other_numbers_of_persons(
    store, prepared, grid_file, skelbench, tmp_path
):
    prepared("pairs", lambda values: values | {"keypoints": values["keypoints"].repeat(2, axis=1)})
    file = grid_file(methods=["skeletonclr"], datasets=["pairs"], pretrained_on="tiny", protocols=["knn"])
    result = skelbench("grid", file, "--out", tmp_path / "runs", "--backbones", "bigru", code=2)
    assert "trained on the 1 of 'tiny' it cannot read the 2 of 'pairs'" in result.stderr
    skelbench("grid", file, "--out", tmp_path / "runs")


@pytest.mark.parametrize(
    "origin, error", [("nowhere", "'nowhere'"), ("tiny:xset", "xset"), (":xsub", "names no data set"), ("tiny:", None)]
)
def test_a_source_that_is_not_there_is_reported(other, skelbench, tmp_path, origin, error):
    words = ("--methods", "skeletonclr", "--datasets", "other", "--protocols", "knn", *sets())
    arguments = ("grid", *words, "--pretrained-on", origin, "--out", tmp_path / "runs", "--dry-run")
    result = skelbench(*arguments, code=2 if error else 0)
    assert error is None or error in result.stderr


def test_transfer_is_told_to_be_no_protocol(store, skelbench):
    result = skelbench("grid", "--datasets", "tiny", "--protocols", "transfer", code=2)
    assert "name one, such as linear, and --pretrained-on DATASET" in result.stderr
