import numpy as np
import pytest

from skelbench.errors import SkelbenchError
from skelbench.results.files import write_confusion
from skelbench.results.plots.confusion import draw_confusion, read_confusion, shares

COUNTS = np.array([[3, 1, 0], [0, 0, 0], [2, 2, 4]])


def test_counts_are_read_back_as_they_were_written(tmp_path):
    names = ["walk, fast", '"run"', "<b>"]
    write_confusion(tmp_path, COUNTS, names)
    found, counts = read_confusion(tmp_path / "confusion.csv")
    assert found == names
    assert (counts == COUNTS).all()


@pytest.mark.parametrize(
    "text", ["", "true,a,b\na,1,2\n", "true,a\na,one\n", "true,a\na,-1\n", "true,a,b\na,1,2\nb,1\n"]
)
def test_a_damaged_matrix_is_told_as_such(text, tmp_path):
    (tmp_path / "confusion.csv").write_text(text)
    with pytest.raises(SkelbenchError, match=r"confusion\.csv .*evaluate that cell again"):
        read_confusion(tmp_path / "confusion.csv")


def test_rows_sum_to_one_and_a_class_without_clips_has_none():
    rows = shares(COUNTS)
    assert rows[0].tolist() == [0.75, 0.25, 0]
    assert np.isnan(rows[1]).all()
    assert rows[2].sum() == pytest.approx(1)
    big = np.random.default_rng(0).integers(0, 50, (60, 60))
    assert shares(big).sum(axis=1) == pytest.approx(np.ones(60))


def test_few_classes_have_names_shares_and_accuracies(texts):
    found = texts(draw_confusion(["walk", "$x_1$", "fall <down>"], COUNTS, title="cell", suffix=".svg"))
    assert {"walk", "$x_1$", "fall <down>", "cell", "75", "25", "50", "–"} <= set(found)
    assert min(found.values()) >= 7


@pytest.mark.parametrize(("classes", "width", "named"), [(5, 8.5, 5), (16, 8.5, 16), (40, 17.5, 40), (120, 17.5, 40)])
def test_as_many_classes_are_named_as_have_room(classes, width, named, texts, centimetres):
    names = [f"class {i}" for i in range(classes)]
    svg = draw_confusion(names, np.eye(classes, dtype=int), suffix=".svg")
    assert centimetres(svg)[0] == pytest.approx(width, abs=0.01)
    shown = [name for name in texts(svg) if name.startswith("class ")]
    assert len(shown) == named
    assert ("true class (one in 3 named)" in texts(svg)) == (classes == 120)
