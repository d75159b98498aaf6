import numpy as np
import pytest

from skelbench.errors import SkelbenchError
from skelbench.results.files import ClipFacts, write_scores
from skelbench.results.store import RunStore
from skelbench.results.tables.hits import Hits, hits_of


@pytest.fixture
def keep(tmp_path, make_record):
    """Write a record with scores that get the clips right that ``right`` says; returns it and its folder of runs."""
    runs = RunStore(tmp_path / "runs")

    def make(right, names, seed=0, identity="ab" * 16, subject=None, **fields):
        record = make_record(
            seed=seed, identity=identity, files={"scores": "scores.npz"}, **{"top1": 100 * np.mean(right)} | fields
        )
        labels = np.arange(len(names)) % 3
        scores = np.eye(3)[np.where(right, labels, (labels + 1) % 3)]
        digest = np.array([f"{name}!" for name in names])
        facts = None if subject is None else ClipFacts(np.array(subject), np.zeros(len(names), int), digest)
        write_scores(runs.folder(record.key), names, labels, scores, facts)
        runs.write(record)
        return record

    return runs, make


def test_hits_are_counted_by_clip_whatever_the_order_in_the_files(keep):
    runs, make = keep
    one = make([1, 0, 1], ["a", "b", "c"])
    two = make([1, 1, 0], ["c", "a", "b"], seed=1, identity="cd" * 16, subject=[7, 5, 6])
    found = hits_of([one, two], runs)
    assert isinstance(found, Hits) and found.person is not None
    assert found.names.tolist() == ["a", "b", "c"]
    assert found.right.tolist() == [[True, False, True], [True, False, True]]
    assert found.person.tolist() == [5, 6, 7]
    alone = hits_of([one], runs)
    assert isinstance(alone, Hits) and alone.person is None  # an older record, which does not say it


def test_seeds_on_different_clips_and_missing_scores_are_said(keep, make_record):
    runs, make = keep
    records = [make([1, 0], ["a", "b"]), make([1, 0], ["a", "c"], seed=1, identity="cd" * 16)]
    assert hits_of(records, runs) == "its seeds were tested on different clips"
    assert hits_of([make_record()], runs) == "no class scores were saved"


def test_damaged_scores_are_one_clear_error(keep):
    runs, make = keep
    record = make([1, 0], ["a", "b"])
    (runs.folder(record.key) / "scores.npz").write_bytes(b"cut")
    with pytest.raises(SkelbenchError, match="damaged or holds no scores"):
        hits_of([record], runs)


def test_scores_of_another_accuracy_and_numbers_that_are_none_are_not_used(keep):
    runs, make = keep
    assert hits_of([make([1, 0], ["a", "b"], top1=70.0)], runs) == "its class scores give another accuracy"
    record = make([1, 0], ["a", "b"])
    (runs.folder(record.key) / "scores.npz").unlink()
    write_scores(runs.folder(record.key), ["a", "b"], np.zeros(2, int), np.array([[1.0, 0.0], [np.nan, 0.0]]))
    runs.write(record)
    assert hits_of([record], runs) == "its class scores are not all finite numbers"
