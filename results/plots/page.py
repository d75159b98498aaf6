"""Shared by all figures: print sizes, fonts and colours, printable names, and pictures as bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from ...errors import SkelbenchError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Width = Literal["single", "double"]
WIDTHS: dict[str, float] = {"single": 8.5, "double": 17.5}  # cm, the columns of a journal
DPI = 300
# Okabe and Ito's colours, which people with any colour vision can distinguish (jfly.uni-koeln.de/color); without
# their yellow, which is hard to see on white paper, and with a grey.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#666666")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
COUNTS = "Blues"  # light to dark: works in greyscale as well
SCORES = "YlGnBu"
GREY = "0.55"
FONT = 7  # points at print size, the smallest used
LINE = 0.27  # cm that a line of text takes
_STYLE = {
    "font.size": FONT,
    "axes.labelsize": FONT,
    "axes.titlesize": FONT + 1,
    "xtick.labelsize": FONT,
    "ytick.labelsize": FONT,
    "legend.fontsize": FONT,
    "figure.titlesize": FONT + 1,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "text.parse_math": False,  # a class may be called "$x_1$"
    "svg.fonttype": "none",  # text stays text: it can be searched and edited
    "svg.hashsalt": "skelbench",
}


def require_matplotlib() -> None:
    """Raise a ``SkelbenchError`` where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise SkelbenchError("Drawing needs matplotlib: pip install 'skelbench[plots]'.") from error


@contextmanager
def sheet(width: Width, height: float) -> Iterator[Figure]:
    """Open an empty figure, ``height`` in cm; draw and save it with ``picture`` within the context."""
    require_matplotlib()
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", _STYLE]):  # "default": ignore the user's matplotlibrc
        yield Figure(figsize=(WIDTHS[width] / 2.54, height / 2.54), layout="constrained")


def picture(figure: Figure, suffix: str) -> bytes:
    """Render the figure as ".png" (300 dpi) or ".svg"; the same figure gives the same bytes."""
    content = io.BytesIO()
    metadata: dict[str, Any] = {"Date": None} if suffix == ".svg" else {}
    figure.savefig(content, format=suffix.removeprefix("."), dpi=DPI, metadata=metadata)
    return content.getvalue()


def shown(name: str, longest: int = 28) -> str:
    """Shorten a name from data to one line, without unprintable characters."""
    text = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    return text if len(text) <= longest else text[: longest - 1] + "…"
