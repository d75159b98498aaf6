"""Raw joints by nearest neighbour and by ridge: scikit-learn's answers, and cells like any other."""

import json
import re

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier

from skelbench.benchmark.protocols import Features
from skelbench.benchmark.protocols.base import held_out
from skelbench.benchmark.protocols.linear import RELATIVE_EPSILON
from skelbench.benchmark.run import baselines as baseline_cells
from skelbench.benchmark.run.baselines import BASELINES, PENALTIES, joints, nearest, regressions, ridge
from skelbench.datasets.clips import load_dataset
from skelbench.errors import SkelbenchError
from skelbench.results.files import read_confusion, read_scores
from skelbench.results.record import RAW
from skelbench.results.store import RunStore


def features(n, dim, classes=4, seed=0):
    """Clips of overlapping classes, so that some are misclassified."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, (n,), generator=generator)
    centres = torch.randn(classes, dim, generator=torch.Generator().manual_seed(99))
    x = centres[label] + 1.5 * torch.randn(n, dim, generator=generator)
    x = x * torch.linspace(0.1, 10, dim) + torch.linspace(-3, 3, dim)  # no two features of one scale
    return Features(x, label, torch.arange(n) % 7)


# --- Numbers ----------------------------------------------------------------------------------------------------


def test_nearest_predicts_what_scikit_learn_does_and_scores_minus_the_distance():
    train, test = features(60, 12), features(700, 12, seed=1)  # more than one chunk of queries
    reference = KNeighborsClassifier(1, algorithm="brute").fit(train.x.double(), train.label)
    scores = nearest(train, test.x, 4).scores
    assert np.array_equal(scores.argmax(dim=1), reference.predict(test.x.double()))
    assert 0.3 < float((scores.argmax(dim=1) == test.label).double().mean()) < 0.99, "the test is discriminative"
    for label in range(4):
        of_class = torch.cdist(test.x.double(), train.x[train.label == label].double()).amin(dim=1)
        np.testing.assert_allclose(scores[:, label], -of_class, rtol=1e-6)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_equally_near_clips_the_first_one_gives_the_label(order):
    far = torch.randn(50, 2880, generator=torch.Generator().manual_seed(0)) + 5
    twin = torch.randn(2880, generator=torch.Generator().manual_seed(1))
    x = torch.cat([far[:20], twin[None], far[20:], twin[None]])
    label = torch.cat([torch.full((20,), 2), torch.tensor(order[:1]), torch.full((30,), 2), torch.tensor(order[1:])])
    train = Features(x, label, torch.zeros(52, dtype=torch.int64))
    queries = torch.stack([twin, twin + 1e-3, twin * 1.5])
    scores = nearest(train, queries, 3).scores
    assert scores.argmax(dim=1).tolist() == [order[0]] * 3
    assert torch.equal(scores.topk(1, dim=1).indices, scores.argmax(dim=1, keepdim=True)), "no two highest scores"
    np.testing.assert_allclose(scores[:, 0], scores[:, 1], rtol=1e-6, atol=1e-12)


def test_copies_of_one_clip_are_equally_near_however_a_product_rounds():
    generator = torch.Generator().manual_seed(0)
    copies = torch.randn(1, 2880, generator=generator).repeat(203, 1)
    train = Features(copies, torch.arange(203), torch.zeros(203, dtype=torch.int64))
    scores = nearest(train, torch.randn(64, 2880, generator=generator), 203).scores
    assert set(scores.argmax(dim=1).tolist()) == {0}


def test_a_class_without_a_training_clip_is_never_nearest():
    train = features(30, 5, classes=3)
    scores = nearest(train, features(40, 5, seed=1).x, 4).scores
    assert torch.isneginf(scores[:, 3]).all() and torch.isfinite(scores[:, :3]).all()


@pytest.mark.parametrize("n, dim", [(40, 12), (40, 90)], ids=["primal", "dual"])
def test_ridge_is_scikit_learns_on_one_hot_targets(n, dim):
    train, test = features(n, dim), features(25, dim, seed=1)
    std = train.x.double().numpy().std(axis=0)
    scale = std + RELATIVE_EPSILON * std.mean()
    known, queries = (
        (side.x.double().numpy() - train.x.double().numpy().mean(axis=0)) / scale for side in (train, test)
    )
    for penalty, scores in zip(PENALTIES, regressions(train, test.x, 4, PENALTIES), strict=True):
        reference = Ridge(alpha=penalty, solver="svd").fit(known, np.eye(4)[train.label])
        np.testing.assert_allclose(scores, reference.predict(queries), rtol=1e-7, atol=1e-9)


def test_the_penalty_is_the_best_on_held_out_subjects_and_the_test_clips_have_no_say():
    train, test = features(70, 60), features(40, 60, seed=1)
    out = held_out(train.subject)
    assert set(train.subject[out].tolist()) == {0, 5}
    right = [
        float((scores.argmax(dim=1) == train.label[out]).double().mean()) * 100
        for scores in regressions(train[~out], train.x[out], 4, PENALTIES)
    ]
    found = ridge(train, test.x, 4)
    best = max(penalty for penalty, value in zip(PENALTIES, right, strict=True) if value == max(right))
    assert found.extra == {"penalty": best, "held_out_top1": pytest.approx(max(right))}
    assert len(set(right)) > 1
    (refitted,) = regressions(train, test.x, 4, [best])
    assert torch.equal(found.scores, refitted.float())
    assert ridge(train, test.x * 0, 4).extra == found.extra


def test_one_training_clip_is_too_few_for_ridge():
    with pytest.raises(SkelbenchError, match="1 are too few for that; take a split with more training clips"):
        ridge(features(1, 5), features(3, 5).x, 4)


# --- Cells ------------------------------------------------------------------------------------------------------


@pytest.fixture
def made(store, skelbench, tmp_path):
    """The baselines of `tiny`, both splits, 8 frames: the folder of runs and what was printed."""
    result = skelbench("baselines", "--datasets", "tiny", "--frames", 8, "--out", tmp_path / "runs")
    return tmp_path / "runs", result


def by_cell(runs):
    return {(record.cell.split, record.cell.protocol): record for record in RunStore(runs).records()}


def test_every_split_leaves_a_record_for_each_baseline(made, store):
    runs, result = made
    found = by_cell(runs)
    assert set(found) == {(split, protocol) for split in store.splits for protocol in BASELINES}
    assert "tiny xsub, joint (custom: raw data)" in result.stdout and "nearest" in result.stdout
    for (split, protocol), record in found.items():
        assert record.last is not None
        train, test = load_dataset(store, split, frames=8)
        names, labels, scores = read_scores(RunStore(runs).folder(record.key) / "scores.npz")
        expected = BASELINES[protocol](joints(train), joints(test).x, 3).scores
        assert (names.tolist(), labels.tolist()) == (list(test.name), test.label.tolist())
        assert np.array_equal(scores, expected.numpy())
        assert record.last.top1 == pytest.approx(100 * float((scores.argmax(axis=1) == labels).mean()))
        assert (record.cell.track, record.cell.label, record.cell.method) == ("custom", "raw data", RAW)
        assert (record.cell.backbone, record.cell.stream, record.cell.seed) == ("none", "joint", 0)
        assert (record.pretrain, record.best, record.last.top5) == (None, None, None)
        assert record.settings["frames"] == record.model["frames"] == 8
        assert (record.model["parameters"], record.model["persons"]) == (0, 1)
        assert record.data["fingerprint"] == store.fingerprint
        assert (record.data["train"], record.data["test"]) == (len(train), len(test))
        assert ("penalty" in record.extra) == (protocol == "ridge")
        counts = read_confusion(RunStore(runs).folder(record.key) / "confusion.csv")[1]
        assert counts.trace() / counts.sum() * 100 == pytest.approx(record.last.top1)


def test_features_are_the_clips_as_encoders_get_them(clips):
    train, _ = clips
    assert torch.equal(joints(train).x, train.x.reshape(len(train), -1))
    centre = train.x[:, :, :, train.layout.centre]
    assert float(centre.abs().max()) < 1e-5, "the loader has centred them"


def test_another_number_of_frames_is_another_cell_and_the_same_again_is_skipped(
    made, skelbench, tmp_path, tree, monkeypatch
):
    runs, _ = made
    before = tree(runs)
    arguments = ("baselines", "--datasets", "tiny", "--splits", "xsub", "--out", runs)
    with monkeypatch.context() as patch:
        patch.setattr(baseline_cells, "load_dataset", lambda *_, **__: pytest.fail("nothing is to be loaded"))
        result = skelbench(*arguments, "--frames", 8)
    assert tree(runs) == before
    assert result.stderr.count("done before") == 2 and "ridge" in result.stdout
    skelbench(*arguments, "--frames", 12)
    assert len(RunStore(runs).records()) == 6
    loads = []
    load = baseline_cells.load_dataset
    monkeypatch.setattr(baseline_cells, "load_dataset", lambda *a, **k: (loads.append(a), load(*a, **k))[1])
    skelbench(*arguments, "--frames", 8, "--force")
    assert len(loads) == 1, "once for both baselines"
    again, key = by_cell(runs), re.compile(r"scores\.npz|confusion\.csv|per_class\.csv")
    assert {k: v for k, v in tree(runs).items() if k in before and key.search(k)} == {
        k: v for k, v in before.items() if key.search(k)
    }, "the same bytes"
    assert again


def test_what_fails_is_written_down_and_the_rest_goes_on(store, skelbench, tmp_path, monkeypatch):
    def broken(*_):
        raise SkelbenchError("No such luck; try again.")

    monkeypatch.setattr(baseline_cells, "BASELINES", {"nearest": broken, "ridge": ridge})
    result = skelbench("baselines", "--datasets", "tiny", "--splits", "xsub", "--out", tmp_path / "runs", code=1)
    assert "No such luck; try again." in result.stderr
    runs = RunStore(tmp_path / "runs")
    assert [record.cell.protocol for record in runs.records()] == ["ridge"]
    assert [failure.cell.protocol for failure in runs.failures()] == ["nearest"]


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"--datasets": "tinny"}, "There is no data set 'tinny'"),
        ({"--datasets": "tiny,tinny"}, "There is no data set 'tinny'"),
        ({"--datasets": ","}, "',' names nothing; give a comma list"),
        ({"--splits": "xsub,xsup"}, "The data set 'tiny' has no split 'xsup'; did you mean 'xsub'"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence_and_nothing_is_written(
    store, skelbench, tmp_path, tree, change, sentence
):
    before = tree(tmp_path)
    options = {"--datasets": "tiny", "--out": tmp_path / "runs"} | change
    result = skelbench("baselines", *(word for pair in options.items() for word in pair), code=2)
    assert sentence in result.stderr and len(result.stderr.splitlines()) == 1
    assert tree(tmp_path) == before


# --- Beside the cells of a grid ---------------------------------------------------------------------------------


@pytest.fixture
def mixed(store, tiny_run, skelbench, tmp_path):
    """A folder of runs with a pre-training, its evaluations, and the baselines of their data."""
    skelbench(*tiny_run, "--method", "skeletonclr")
    skelbench("baselines", "--datasets", "tiny", "--splits", "xsub", "--frames", 8, "--out", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.mark.parametrize("command", ["table", "leaderboard"])
def test_they_have_a_table_of_their_own_with_a_column_each(mixed, skelbench, command):
    printed = skelbench(command, "--out", mixed, "--format", "json").stdout
    tables = {one["title"]: one for one in json.loads(printed)["tables"]}
    raw = tables.pop("tiny xsub, joint (custom: raw data)")
    assert tables, "the grid's table is there as well"
    assert [column["name"] for column in raw["columns"]][-2:] == ["nearest", "ridge"]
    assert any(note.startswith("raw: no encoder") for note in raw["footnotes"])
    assert not any("not comparable" in note for note in raw["footnotes"])
    assert "raw" not in {row["method"]["value"] for one in tables.values() for row in one["rows"]}


def test_all_that_reads_a_folder_of_runs_takes_them(mixed, skelbench, tmp_path):
    listed = skelbench("ls", "cells", "--out", mixed).stdout
    assert "raw none tiny xsub joint ridge seed 0 (custom: raw data)" in listed
    counts = json.loads(skelbench("status", "--out", mixed, "--json").stdout)["counts"]
    assert set(counts) <= {"done", "running", "failed", "to do"}
    skelbench("results", "export", tmp_path / "all.zip", "--out", mixed)
    output = skelbench("results", "import", tmp_path / "all.zip", "--out", tmp_path / "copy").stdout
    assert f"{len(RunStore(mixed).records())} records" in output
    checked = skelbench("check", "--out", mixed, "--against", tmp_path / "copy", code=0).stdout
    assert "raw none tiny xsub joint nearest (custom: raw data)" in checked
    skelbench("check", "--out", mixed, code=2)


def test_the_page_says_how_they_are_made_again(mixed, skelbench, tmp_path):
    skelbench("site", tmp_path / "site", "--out", mixed)
    pages = [path.read_text() for path in (tmp_path / "site" / "cells").glob("custom-raw_data-*ridge*.html")]
    assert len(pages) == 1 and "skelbench baselines --datasets tiny --splits xsub --frames 8" in pages[0]


def test_what_needs_an_encoder_refuses_them_in_a_sentence(mixed, skelbench, tmp_path):
    record = by_cell(mixed)["xsub", "ridge"]
    folder = RunStore(mixed).folder(record.key)
    for arguments, sentence in (
        (("run", "--reproduce", folder / "record.json"), "run it again with `skelbench baselines`"),
        (("evaluate", folder, "--dataset", "tiny"), "is not a pre-training"),
        (("export-weights", folder, "--to", tmp_path / "w.safetensors"), "is not a pre-training"),
        (("plot", "tsne", folder, "--to", tmp_path / "t.png"), ""),
    ):
        result = skelbench(*arguments, code=2)
        assert sentence in result.stderr
