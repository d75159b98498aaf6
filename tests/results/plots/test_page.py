import io
import sys

import numpy as np
import pytest
from PIL import Image

from skelbench.errors import SkelbenchError
from skelbench.results.plots.page import COLOURS, DPI, WIDTHS, picture, require_matplotlib, sheet, shown


@pytest.mark.parametrize(("width", "pixels"), [("single", 1003), ("double", 2066)])
def test_a_picture_is_as_wide_as_a_column_at_300_dots_per_inch(width, pixels):
    with sheet(width, 2.54) as figure:
        image = Image.open(io.BytesIO(picture(figure, ".png")))
    assert image.size == (pixels, 300)
    assert round(image.info["dpi"][0]) == DPI
    assert WIDTHS[width] == pytest.approx(pixels / 300 * 2.54, abs=0.01)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_same_figure_gives_the_same_bytes(suffix):
    def draw() -> bytes:
        with sheet("single", 3) as figure:
            figure.subplots().plot([1, 2], [3, 4], "o")
            return picture(figure, suffix)

    assert draw() == draw()


@pytest.mark.parametrize("name", ["$x_1$", r"\$5", "a_b^c", "100 %", "<script>&", r"\alpha $\frac{1}{0}$"])
def test_names_are_shown_letter_by_letter(name, texts):
    with sheet("single", 3) as figure:
        figure.subplots().set_xlabel(shown(name))
        assert name in texts(picture(figure, ".svg"))


def test_what_cannot_be_printed_does_not_break_an_svg(texts):
    with sheet("single", 3) as figure:
        figure.subplots().set_xlabel(shown("a\x00b\x1b\ud800\nc"))
        assert "a b c" in texts(picture(figure, ".svg"))


def test_a_long_name_is_cut():
    assert shown("put on a hat or a cap, or take it off", 12) == "put on a ha…"


def test_a_users_own_settings_change_no_figure():
    import matplotlib

    def draw() -> bytes:
        with sheet("single", 3) as figure:
            figure.subplots().set_xlabel("x")
            return picture(figure, ".png")

    before = draw()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert draw() == before


def test_settings_are_put_back():
    import matplotlib

    before = dict(matplotlib.rcParams)
    with sheet("single", 3):
        pass
    assert dict(matplotlib.rcParams) == before


def test_colours_differ_for_people_who_see_no_red_or_no_green():
    """As protanopes and deuteranopes see them (Viénot et al. 1999: matrices on linear RGB)."""
    linear = np.array([[(int(c[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5)] for c in COLOURS])
    protan = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
    deutan = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    for seen in (protan, deutan):
        tones = np.clip(linear @ seen.T, 0, 1) ** (1 / 2.2)
        apart = np.linalg.norm(tones[:, None] - tones[None], axis=-1) + np.eye(len(COLOURS))
        assert apart.min() > 0.1


def test_without_matplotlib_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SkelbenchError, match=r"skelbench\[plots\]"):
        require_matplotlib()
