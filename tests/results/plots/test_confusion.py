import numpy as np
import pytest

from skelbench.results.plots.confusion import draw_confusion, shares

COUNTS = np.array([[3, 1, 0], [0, 0, 0], [2, 2, 4]])


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
