import pytest

from skelbench.errors import SkelbenchError
from skelbench.results.plots.page import COLOURS, MARKERS
from skelbench.results.plots.tsne import Point, _mark, draw_tsne, read_tsne, write_tsne

POINTS = [Point(f"clip {i}", ("walk", "a, $b_1$ <c>")[i % 2], i * 0.1, -1.5 * i) for i in range(9)]


def test_points_are_read_back_as_they_were_written(tmp_path):
    assert write_tsne(tmp_path, POINTS).name == "tsne.csv"
    assert read_tsne(tmp_path) == POINTS
    assert (tmp_path / "tsne.csv").read_text().splitlines()[0] == "name,label,x,y"


@pytest.mark.parametrize(
    "text", ["", "name,label,x,y\n", "name,label,x\na,b,1\n", "name,label,x,y\na,b,1,nan\n", "a\0"]
)
def test_damaged_points_are_reported(text, tmp_path):
    (tmp_path / "tsne.csv").write_text(text)
    with pytest.raises(SkelbenchError, match=r"tsne\.csv .*--stored"):
        read_tsne(tmp_path)


def test_missing_points_say_how_to_get_them(tmp_path):
    with pytest.raises(SkelbenchError, match="does not exist: omit --stored"):
        read_tsne(tmp_path)


@pytest.mark.parametrize("width", ["single", "double"])
def test_the_legend_names_every_class_in_print_size(width, texts, centimetres):
    svg = draw_tsne(POINTS, title="run", suffix=".svg", width=width)
    found = texts(svg)
    assert {"walk", "a, $b_1$ <c>", "run"} <= set(found)
    assert min(found.values()) >= 7
    assert centimetres(svg)[0] == pytest.approx({"single": 8.5, "double": 17.5}[width], abs=0.01)


def test_of_many_classes_names_are_drawn_among_the_clips(texts):
    points = [Point(f"c{i}", f"class {i % 30}", float(i % 30), float(i % 7)) for i in range(90)]
    assert {f"class {i}" for i in range(30)} <= set(texts(draw_tsne(points, suffix=".svg", width="double")))


def test_no_two_of_sixty_classes_look_alike():
    assert len(COLOURS) * len(MARKERS) >= 60
    assert len({(COLOURS[i % len(COLOURS)], _mark(i)) for i in range(60)}) == 60
