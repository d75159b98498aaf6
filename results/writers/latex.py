"""Tables in LaTeX, with the rules of booktabs."""

import unicodedata
from collections.abc import Sequence
from itertools import groupby

from ..tables.table import Column, Entry, Kind, Table, text_of

NEEDS = ("booktabs", "graphicx")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",  # \textquotedbl is an error in OT1, LaTeX's own encoding
    "–": "--",
    "—": "---",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "§": r"\S{}",
    "Δ": r"$\Delta$",
    "λ": r"$\lambda$",
    "μ": r"$\mu$",
    "’": "'",
    **{mark: "\\" + mark for mark in "&%$#_"},
}

_NOT_IN_OT1 = "ÐðÞþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲųſ"  # of the Latin letters up to U+017F; each was tested by compiling it


def to_latex(tables: Table | Sequence[Table]) -> str:
    """Return a ``table`` environment for each; the document must load booktabs and graphicx.

    A table wider than the text is scaled down. Characters that LaTeX's usual fonts lack are printed as U+XXXX.
    """
    several = [tables] if isinstance(tables, Table) else tables
    head = "% Needs " + " and ".join(f"\\usepackage{{{name}}}" for name in NEEDS) + ".\n"
    return head + "".join("\n" + _table(table) for table in several)


def _table(table: Table) -> str:
    shape = "".join("l" if column.kind == "text" else "r" for column in table.columns)
    notes = [f"{_raised((note.mark,))} {escaped(str(note))}" for note in table.notes]
    notes += [escaped(note) for note in table.footnotes]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(table.title)}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{shape}}}",
        r"\toprule",
        *_head(table.columns),
        r"\midrule",
        *(_line([_cell(e, c.kind) for c, e in zip(table.columns, row, strict=True)]) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}}",
        *([r"\par\medskip", r"\raggedright\footnotesize"] if notes else []),
        *(note + r"\par" for note in notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _head(columns: Sequence[Column]) -> list[str]:
    """One line of names, with a line of groups above it if there are any."""
    if not any(column.group for column in columns):
        return [_line([escaped(column.name) for column in columns])]
    cells, rules, start = [], [], 1
    for name, group in groupby(columns, key=lambda column: column.group):
        count = len(list(group))
        cells.extend([rf"\multicolumn{{{count}}}{{c}}{{{escaped(name)}}}"] if name else [""] * count)
        if name:
            rules.append(rf"\cmidrule(lr){{{start}-{start + count - 1}}}")
        start += count
    return [_line(cells), "".join(rules), _line([escaped(column.short) for column in columns])]


def _line(cells: Sequence[str]) -> str:
    # An empty group prevents a text that starts with "[" or "*" from being parsed as an argument of the line before.
    return " & ".join("{}" + cell if cell[:1] in ("[", "*") else cell for cell in cells) + r" \\"


def _cell(entry: Entry, kind: Kind) -> str:
    shown = text_of(entry, kind)
    text = escaped(shown.replace("-", "−") if kind == "difference" else shown)
    return (rf"\textbf{{{text}}}" if entry.strong else text) + (_raised(entry.marks) if entry.marks else "")


def _raised(marks: Sequence[str]) -> str:
    return rf"\textsuperscript{{{escaped(','.join(marks))}}}"


def escaped(text: str) -> str:
    """Escape a text for LaTeX, on one line."""
    return "".join(_LATEX.get(character) or _plain(character) for character in " ".join(text.split()))


def _plain(character: str) -> str:
    latin = character < "\u0180" and unicodedata.name(character, "").startswith("LATIN ")
    known = (character.isascii() and character.isprintable()) or (latin and character not in _NOT_IN_OT1)
    return character if known else f"U+{ord(character):04X}"
