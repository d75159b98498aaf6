"""The seal: every changed bit of a record or of a file beside it is detected, and older records are still read."""

import json
import random

import pytest

from skelbench.errors import SkelbenchError
from skelbench.results.files import read_confusion, read_curve, read_scores, write_confusion, write_curve, write_scores
from skelbench.results.record import RECORD
from skelbench.results.store import RunStore, read_record


@pytest.fixture
def folder(tmp_path, make_record):
    """A finished cell with three files beside its record."""
    runs, record = RunStore(tmp_path), make_record()
    place = runs.folder(record.key)
    files = {
        "confusion": write_confusion(place, [[2, 1], [0, 3]], ["sit", "stand"]),
        "curve": write_curve(place, [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]),
        "scores": write_scores(place, ["a", "b"], [0, 1], [[0.5, 1.0], [2.0, 3.0]]),
    }
    runs.write(record.model_copy(update={"files": files}))
    return place


def test_what_is_sealed_is_read_back(folder):
    assert read_record(folder).files == {"confusion": "confusion.csv", "curve": "curve.csv", "scores": "scores.npz"}
    assert read_confusion(folder / "confusion.csv")[1].tolist() == [[2, 1], [0, 3]]
    assert read_curve(folder / "curve.csv", "loss") == [[(1, 0.5), (2, 0.25)]]
    assert read_scores(folder / "scores.npz")[2].tolist() == [[0.5, 1.0], [2.0, 3.0]]


READERS = {
    RECORD: lambda path: read_record(path.parent),
    "confusion.csv": read_confusion,
    "curve.csv": lambda path: read_curve(path, "loss"),
    "scores.npz": read_scores,
}


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_is_detected_wherever_it_is(name, folder):
    path, rng = folder / name, random.Random(0)
    complete = path.read_bytes()
    for at in range(len(complete)):
        path.write_bytes(complete[:at] + bytes([complete[at] ^ 1 << rng.randrange(8)]) + complete[at + 1 :])
        with pytest.raises(SkelbenchError, match=name.replace(".", r"\.")):
            READERS[name](path)


@pytest.mark.parametrize("name", READERS)
def test_a_truncated_file_is_detected(name, folder):
    path = folder / name
    complete = path.read_bytes()
    for length in range(0, len(complete), 7):
        path.write_bytes(complete[:length])
        with pytest.raises(SkelbenchError, match=name.replace(".", r"\.")):
            READERS[name](path)


def test_a_record_from_before_there_were_seals_is_read(folder):
    record = read_record(folder)
    (folder / RECORD).write_text(record.to_json())
    assert "seal" not in json.loads(record.to_json())
    assert read_record(folder) == record
    (folder / "confusion.csv").write_text("true,a\na,1\n")  # which no seal lists
    assert read_confusion(folder / "confusion.csv")[0] == ["a"]


def test_a_failure_is_sealed_too(tmp_path, make_record):
    from skelbench.results.record import Failure

    runs, record = RunStore(tmp_path), make_record()
    runs.write_failure(Failure(cell=record.cell, identity=record.identity, reason="no luck", finished=record.finished))
    path = next(tmp_path.glob("*/failure.json"))
    path.write_text(path.read_text().replace("no luck", "no duck"))
    with pytest.raises(SkelbenchError, match=r"failure\.json.*checksum"):
        runs.failures()
