"""Writers of tables, one per format.

- ``terminal``: rich, for people at a terminal
- ``markdown``: GitHub's tables
- ``latex``: booktabs, to be included in a paper
- ``html``: a complete page
- ``csv_text``: csv, one line per row, for spreadsheets
- ``json_text``: JSON with all digits, for programs
"""

from collections.abc import Callable, Sequence

from ...errors import SkelbenchError
from ..tables.table import Table
from .csv_text import to_csv
from .html import to_html
from .json_text import to_json
from .latex import to_latex
from .markdown import to_markdown
from .terminal import to_rich

__all__ = ["TEXTS", "to_csv", "to_html", "to_json", "to_latex", "to_markdown", "to_rich", "write"]

TEXTS: dict[str, Callable[[Sequence[Table]], str]] = {
    "md": to_markdown,
    "tex": to_latex,
    "csv": to_csv,
    "html": to_html,
    "json": to_json,
}


def write(tables: Sequence[Table], style: str) -> str:
    """Return tables as "md", "tex", "csv", "html" or "json"; raises ``SkelbenchError`` for another style."""
    if style not in TEXTS:
        raise SkelbenchError(f"There is no format '{style}'; choose one of {', '.join(TEXTS)}.")
    return TEXTS[style](tables)
