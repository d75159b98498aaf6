"""What is kept beside scores, and numbers by class in every record: enough for another average without training."""

import numpy as np
import pytest

from skelbench import load_results
from skelbench.benchmark.run.record import score_files
from skelbench.datasets.clips import load_dataset
from skelbench.datasets.store import open_store
from skelbench.results.files import ClipFacts, read_per_class, read_scores, read_scores_and_facts, write_scores
from skelbench.results.store import RunStore


def evaluated(folder):
    runs = RunStore(folder)
    return [(record, runs.folder(record.key)) for record in runs.records() if "scores" in record.files]


def test_scores_hold_person_camera_and_digest_of_each_clip(finished):
    store = open_store("tiny")
    names = store.column("name").tolist()
    digests = set()
    for record, folder in evaluated(finished):
        scored, *_ = read_scores(folder / "scores.npz")
        *_, facts = read_scores_and_facts(folder / "scores.npz")
        assert facts is not None, record.cell
        rows = [names.index(name) for name in scored]
        assert facts.subject.tolist() == store.column("subject")[rows].tolist()
        assert facts.camera.tolist() == [camera or -1 for camera in store.column("camera")[rows].tolist()]
        digests.add(tuple(facts.digest.tolist()))
    (found,) = digests
    assert len(set(found)) == len(found)
    assert found == load_dataset("tiny", "xsub", frames=16)[1].digest


def test_numbers_by_class_are_those_of_the_scores_and_older_records_derive_them(finished, monkeypatch):
    table = load_results(finished).set_index("identity")
    for record, folder in evaluated(finished):
        _, label, scores = read_scores(folder / "scores.npz")
        right = scores.argmax(axis=1) == label
        shares = [right[label == value].mean() for value in np.unique(label)]
        assert record.extra["mean_class_top1"] == pytest.approx(100 * np.mean(shares))
        assert record.extra["largest_class"] == pytest.approx(100 * np.bincount(label).max() / len(label))
        older = [top1 for *_, top1 in read_per_class(folder / "per_class.csv") if top1 is not None]
        assert np.mean(older) == pytest.approx(record.extra["mean_class_top1"])
        row = table.loc[record.identity]
        assert row["extra_mean_class_top1"] == record.extra["mean_class_top1"]


def test_a_table_of_older_records_has_the_numbers_by_class(make_record, tmp_path):
    label, scores = np.array([0, 0, 0, 1]), np.array([[2, 1, 0], [2, 1, 0], [0, 1, 0], [0, 1, 0]], dtype=float)
    record = make_record()
    runs = RunStore(tmp_path)
    files = score_files(runs.folder(record.key), list("abcd"), label, scores, ["x", "y", "z"], None)
    runs.write(record.model_copy(update={"files": files}))
    (row,) = load_results(tmp_path).to_dict("records")
    assert row["extra_mean_class_top1"] == pytest.approx(100 * (2 / 3 + 1) / 2), "the class without clips is left out"
    assert row["extra_largest_class"] == pytest.approx(75)
    assert read_scores_and_facts(runs.folder(record.key) / "scores.npz")[3] is None, "as an older version wrote it"


def test_facts_about_another_number_of_clips_are_refused(tmp_path):
    facts = ClipFacts(np.zeros(2, np.int64), np.zeros(2, np.int64), np.array(["a", "b"]))
    with pytest.raises(Exception, match="facts about another number"):
        write_scores(tmp_path, ["x"], [0], [[1.0]], facts)
