import csv
import errno
import os

import numpy as np
import pytest

from skelbench.errors import SkelbenchError
from skelbench.results.files import (
    atomic_write,
    read_confusion,
    read_curve,
    read_per_class,
    read_scores,
    write_confusion,
    write_curve,
    write_per_class,
    write_scores,
)


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_atomic_write_makes_the_folder_and_replaces_what_was_there(tmp_path):
    path = tmp_path / "new" / "file.txt"
    atomic_write(path, "first é")
    atomic_write(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, call):
    path = tmp_path / "file.txt"
    atomic_write(path, "old")

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(SkelbenchError, match=r"file\.txt cannot be written \(No space left on device\)"):
        atomic_write(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "file.txt", "new")
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_place_of_the_folder_is_one_clear_error(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(SkelbenchError, match="cannot be written"):
        atomic_write(tmp_path / "runs" / "file.txt", "new")


def test_curve_keeps_every_column_and_leaves_gaps_empty(tmp_path):
    name = write_curve(tmp_path, [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": None, "top1": 40.0}])
    assert table(tmp_path / name) == [
        {"epoch": "1", "loss": "0.5", "top1": ""},
        {"epoch": "2", "loss": "", "top1": "40.0"},
    ]


def test_curves_are_read_without_empty_or_non_finite_values(tmp_path):
    rows = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "test_top1": 30.0}, {"epoch": 3, "loss": float("nan")}]
    path = tmp_path / write_curve(tmp_path, rows)
    assert read_curve(path, "loss", "test_top1", "best") == [[(1, 2.0)], [(2, 30.0)], []]
    write_curve(tmp_path, [])
    assert read_curve(path, "loss") == [[]]


@pytest.mark.parametrize("text", ["epoch,loss\none,two\n", "loss\n2.0\n", "epoch,loss\n1\n", "\x00\udcff"])
def test_a_damaged_curve_is_one_clear_error(tmp_path, text):
    path = tmp_path / "curve.csv"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(SkelbenchError, match=r"curve\.csv is damaged: run that cell again"):
        read_curve(path, "loss")


def test_confusion_and_classes_are_read_back_as_they_were_written(tmp_path):
    names, counts = ["walk, fast", '"run"', "<b>"], [[3, 1, 0], [0, 0, 0], [2, 2, 4]]
    found, matrix = read_confusion(tmp_path / write_confusion(tmp_path, counts, names))
    assert (found, matrix.tolist()) == (names, counts)
    classes = read_per_class(tmp_path / write_per_class(tmp_path, counts, names))
    assert classes == [("walk, fast", 4, 75.0), ('"run"', 0, None), ("<b>", 8, 50.0)]


@pytest.mark.parametrize(
    "text",
    ["", "true,a,b\na,1,2\n", "true,a\na,one\n", "true,a\na,-1\n", "true,a,b\na,1,2\nb,1\n", "true,a\na,1e999\n"],
)
def test_a_damaged_matrix_is_one_clear_error(tmp_path, text):
    (tmp_path / "confusion.csv").write_text(text)
    with pytest.raises(SkelbenchError, match=r"confusion\.csv is damaged: run that cell again"):
        read_confusion(tmp_path / "confusion.csv")


def test_damaged_classes_and_files_that_are_gone_are_one_clear_error(tmp_path):
    (tmp_path / "per_class.csv").write_text("class,clips,top1\na,many,\n")
    with pytest.raises(SkelbenchError, match="is damaged"):
        read_per_class(tmp_path / "per_class.csv")
    for read in (read_curve, read_confusion, read_per_class):
        with pytest.raises(SkelbenchError, match="does not exist: run that cell again"):
            read(tmp_path / "gone.csv")


def test_confusion_has_true_classes_in_rows(tmp_path):
    name = write_confusion(tmp_path, [[3, 1], [0, 2]], ["wave, hand", "sit"])
    rows = table(tmp_path / name)
    assert rows[0] == {"true": "wave, hand", "wave, hand": "3", "sit": "1"}
    assert rows[1] == {"true": "sit", "wave, hand": "0", "sit": "2"}


def test_per_class_is_recall_and_empty_without_test_clips(tmp_path):
    name = write_per_class(tmp_path, np.array([[3, 1, 0], [0, 0, 2], [0, 0, 0]]), ["a", "b", "c"])
    assert [(row["class"], row["clips"], row["top1"]) for row in table(tmp_path / name)] == [
        ("a", "4", "75.0"),
        ("b", "2", "0.0"),
        ("c", "0", ""),
    ]


@pytest.mark.parametrize("matrix", [[[1, 2, 3], [4, 5, 6]], [[0.5, 0.5], [0.0, 1.0]], [[1]]])
def test_confusion_refuses_other_shapes_and_fractions(tmp_path, matrix):
    for write in (write_confusion, write_per_class):
        with pytest.raises(SkelbenchError, match="confusion matrix"):
            write(tmp_path, matrix, ["a", "b"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "stored"), [(np.float16, np.float16), (np.float32, np.float32), (np.float64, np.float64)]
)
def test_scores_come_back_by_name(tmp_path, given, stored):
    scores = np.arange(6, dtype=given).reshape(2, 3)
    path = tmp_path / write_scores(tmp_path, ["clip é", "b"], [2, 0], scores)
    names, labels, found = read_scores(path)
    assert names.tolist() == ["clip é", "b"] and labels.tolist() == [2, 0]
    assert found.dtype == stored and np.array_equal(found, scores)


def test_scores_are_the_same_bytes_for_the_same_numbers(tmp_path):
    for folder in ("a", "b"):
        write_scores(tmp_path / folder, ["x", "y"], [0, 1], np.eye(2, dtype=np.float32))
    assert (tmp_path / "a/scores.npz").read_bytes() == (tmp_path / "b/scores.npz").read_bytes()


@pytest.mark.parametrize(
    ("names", "labels", "scores"),
    [(["a"], [0, 1], np.eye(2)), (["a", "b"], [0, 1], np.ones(2)), (["a", "a"], [0, 1], np.eye(2))],
)
def test_scores_that_do_not_fit_are_refused(tmp_path, names, labels, scores):
    with pytest.raises(SkelbenchError, match="Scores for"):
        write_scores(tmp_path, names, labels, scores)
    assert not list(tmp_path.iterdir())


def test_reading_scores_runs_no_code(tmp_path):
    path = tmp_path / "scores.npz"
    np.savez(path, names=np.array([{"a": 1}], dtype=object), labels=np.zeros(1, int), scores=np.zeros((1, 2)))
    with pytest.raises(SkelbenchError, match="holds no scores"):
        read_scores(path)


def test_damaged_scores_are_one_clear_error(tmp_path):
    path = tmp_path / write_scores(tmp_path, ["a", "b"], [0, 1], np.random.default_rng(0).normal(size=(2, 50)))
    complete = path.read_bytes()
    flipped = bytearray(complete)
    flipped[len(complete) // 2] ^= 255
    for content in (b"", b"PK\x03\x04 cut", b"text", complete[:-40], bytes(flipped)):
        path.write_bytes(content)
        with pytest.raises(SkelbenchError, match="damaged or holds no scores"):
            read_scores(path)
    path.unlink()
    with pytest.raises(SkelbenchError, match="does not exist"):
        read_scores(path)
