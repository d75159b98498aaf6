"""Every writer against a golden file, and against an independent parser of its output."""

import csv
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from skelbench.errors import SkelbenchError
from skelbench.results.tables.leaderboard import leaderboard
from skelbench.results.tables.paper_tables import PAPER_TABLES, paper_table
from skelbench.results.tables.table import Column, Entry, Note, Table, text_of
from skelbench.results.writers import TEXTS, to_rich, write

GOLDEN = Path(__file__).parent / "golden"
HOSTILE = "</table><script>alert('1')</script><b a=\"2\"> &lt; {{ 7 * 7 }} {% if %} ${x}"
ODD = "<script>alert('x')</script> a_b & 100% #1 $2 ~ ^ \\ {y} [z] |w| *v* `u` \"t\" é ß 中 – × λ"


def odd_table():
    """Everything that a table can hold, with characters that need escaping in some format."""
    columns = (
        Column("rank", "count"),
        Column("method"),
        Column("train time", "duration", minor=True),
        Column("linear", "percent", group="linear"),
        Column("linear paper", "percent", group="linear"),
        Column("linear Δ paper", "difference", group="linear"),
        Column("[knn]", "percent"),
    )
    rows = (
        (
            Entry("1–2"), Entry(ODD, marks=("†",)), Entry(38.2), Entry(80.123456, 0.44, strong=True, seeds=3),
            Entry(80.3, source="numbers.csv:10", marks=("a", "b")), Entry(-0.176544), Entry("n/a"),
        ),
        (
            Entry("1–2"), Entry("[b]plain[/b]"), Entry(7512.0), Entry(79.0, seeds=1),
            Entry(68.3, remark="(re-run 72.0)", source="numbers.csv:2"), Entry(10.7), Entry(),
        ),
        (Entry(""), Entry("untrained (floor)"), Entry(""), Entry(), Entry(""), Entry(""), Entry(20.04, 1.0)),
    )  # fmt: skip
    notes = (
        Note("†", "not the authors' code"),
        Note("a", "Width 64 & more.", ("numbers.csv:10", "numbers.csv:11", "numbers.csv:15")),
        Note("b", ODD, ("numbers.csv:10",)),
    )
    facts = {"track": "published", "label": ODD}
    return Table(f"ntu60 (custom: {ODD})", columns, rows, (ODD, "A second footnote."), facts, notes)


@pytest.fixture
def tables(make_record):
    """A leaderboard of made-up records, and the odd one."""
    records = [
        make_record(
            method=method, protocol=protocol, seed=seed, top1=base + step * seed, best=base + 1, track="published"
        )
        for method, base, step in (("untrained", 30, 1.5), ("skeletonclr", 52, 2), ("skeattnclr", 61, 0.7))
        for protocol in ("knn", "linear")
        for seed in range(3)
    ]
    return [*leaderboard(records), odd_table()]


def terminal(table, width=110):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(to_rich(table))
    return console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue] - it is the StringIO above


def shown(table):
    """What a reader sees, place by place."""
    return [[text_of(e, c.kind) for e, c in zip(row, table.columns, strict=True)] for row in table.rows]


# --- Golden files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["txt", *TEXTS])
def test_every_format_is_as_it_was_looked_at(tables, style):
    lines = "".join(map(terminal, tables)).splitlines()
    text = "".join(f"{line.rstrip()}\n" for line in lines) if style == "txt" else write(tables, style)
    golden = GOLDEN / f"tables.{style}"
    if not golden.exists():
        golden.write_text(text, encoding="utf-8")
        pytest.fail(f"{golden} did not exist and was written: check it, then run this test again")
    assert text == golden.read_text(encoding="utf-8")


def test_an_unknown_format_is_one_clear_error(tables):
    with pytest.raises(SkelbenchError, match="no format 'docx'; choose one of md, tex, csv, html, json"):
        write(tables, "docx")


@pytest.mark.parametrize("style", TEXTS)
def test_no_tables_are_not_an_error(style):
    assert "Traceback" not in write([], style)


@pytest.mark.parametrize("style", TEXTS)
def test_writing_twice_gives_the_same_bytes(tables, style):
    assert write(tables, style) == write(tables, style)


@pytest.mark.parametrize("style", ["txt", "md", "tex"])
def test_data_has_no_control_characters_for_a_terminal_and_is_accepted_by_tex(style):
    steering = "a\x1b[2J\x1b]0;x\x07 b\x00\x7f\u202ec\r\nd"
    note = Note("a", steering)
    table = Table(steering, (Column("name"),), ((Entry(steering, marks=("a",)),),), (steering,), notes=(note,))
    text = terminal(table) if style == "txt" else write([table], style)
    assert [character for character in text if not character.isprintable()] == ["\n"] * text.count("\n")
    assert "a" in text and "c d" in text


# --- Markdown ---------------------------------------------------------------------------------------------------


def test_markdown_reads_back_as_the_same_table(tables):
    table = tables[0]
    text = write([table], "md")
    assert text.startswith("### ntu60 xsub, joint (published)\n\n| method | backbone |")
    lines = [line[2:-2].split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert lines[0] == [column.name for column in table.columns]
    for line, row in zip(lines[2:], shown(table), strict=True):
        assert [part.strip("*").strip() for part in line] == row
    assert len([line for line in text.splitlines() if line.startswith("- ")]) == len(table.footnotes)


def test_markdown_escapes_what_would_break_a_row():
    table = Table("a [b]", (Column("name"),), ((Entry("x|y\n*z* <b>"),),))
    assert write([table], "md").splitlines() == [
        "### a \\[b]", "", "| name |", "| --- |", "| x\\|y \\*z\\* \\<b> |"
    ]  # fmt: skip


# --- csv and JSON -----------------------------------------------------------------------------------------------


def test_csv_keeps_numbers_bare_and_everything_beside_them(tables):
    rows = list(csv.DictReader(io.StringIO(write([tables[1]], "csv"))))
    first, second, floor = rows
    assert (first["linear"], first["linear std"], first["linear seeds"]) == ("80.1", "0.4", "3")
    assert (first["linear paper"], first["linear paper source"]) == ("80.3", "numbers.csv:10")
    assert first["linear paper notes"] == f"Width 64 & more. {ODD}"
    assert (first["label"], first["method"], first["rank"]) == (ODD, ODD, "1–2")
    assert second["linear paper remark"] == "(re-run 72.0)" and second["train time"] == "7512.0"
    assert floor["linear"] == floor["rank"] == "" and floor["[knn]"] == "20.0"


def test_json_has_every_digit_and_tells_missing_from_empty(tables):
    (_, table) = json.loads(write(tables, "json"))["tables"]
    first, second, floor = table["rows"]
    assert first["linear"] == {"value": 80.123456, "text": "80.1 ± 0.4 (3)", "std": 0.44, "seeds": 3, "best": True}
    assert first["linear paper"]["notes"] == ["a", "b"] and first["linear paper"]["source"] == "numbers.csv:10"
    assert table["notes"]["a"]["sources"] == ["numbers.csv:10", "numbers.csv:11", "numbers.csv:15"]
    assert second["[knn]"]["value"] is None and floor["linear paper"]["value"] == ""
    assert table["facts"] == {"track": "published", "label": ODD} and table["footnotes"][0] == ODD


# --- HTML -------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Parse the page: cells by row, elements with the names of their attributes, ids and links."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.elements, self.ids, self.links, self.outside, self._cell = [], [], [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.elements.append((tag, *given))
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if "href" in given else []
        self.outside += [given[name] for name in ("src", "action", "onclick") if name in given]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._cell = ""
        if tag == "sup":
            self._marked, self._cell = self._cell, None

    def handle_endtag(self, tag):
        if tag == "sup":
            self._cell = self._marked
        if tag in ("td", "th"):
            self.rows[-1].append(self._cell)
            self._cell = None

    def handle_data(self, data):
        if self._cell is not None:
            self._cell += data


def test_a_browser_reads_the_same_values_from_html(tables):
    for table in tables:
        page = Page(write([table], "html"))
        heads = 2 if any(column.group for column in table.columns) else 1
        assert page.rows[heads:] == shown(table)
        assert [cell for cell in page.rows[0] if cell] == list(
            dict.fromkeys(column.group for column in table.columns if column.group)
        )


def test_html_shows_markup_as_text_and_loads_nothing(tables):
    text = write(tables, "html")
    page = Page(text)
    assert "script" not in {tag for tag, *_ in page.elements} and page.outside == []
    assert "url(" not in text and "@import" not in text
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert len(page.ids) == len(set(page.ids))
    assert page.links, "marks lead to their notes"


def test_hostile_text_is_escaped_wherever_a_table_has_text():
    def page(text):
        columns = (Column(text, group=text), Column(f"{text} b", "percent", group=text), Column(text, "count"))
        row = (Entry(text, marks=(text,)), Entry(1.5, remark=text, source=text), Entry(text, strong=True))
        return Page(write([Table(text, columns, (row,), (text,), notes=(Note(text, text),))], "html"))

    hostile, plain = page(HOSTILE), page("plain")
    assert hostile.elements == plain.elements
    assert hostile.rows == [[cell.replace("plain", HOSTILE) for cell in row] for row in plain.rows]


# --- LaTeX ------------------------------------------------------------------------------------------------------


def latex_tables(make_record):
    return [*leaderboard([make_record(best=51.0)]), odd_table(), *(paper_table(name, []) for name in PAPER_TABLES)]


def test_latex_is_balanced_and_every_line_has_its_columns(make_record):
    for table in latex_tables(make_record):
        text = write([table], "tex")
        code = re.sub(r"(?m)^%.*$", "", text)
        bare = code.replace("\\\\", "").replace("\\{", "").replace("\\}", "")
        assert bare.count("{") == bare.count("}")
        opened = re.findall(r"\\(begin|end)\{(\w+)\}", code)
        assert [name for what, name in opened if what == "begin"] == [n for w, n in opened if w == "end"][::-1]
        shape = re.search(r"\\begin\{tabular\}\{([lr]+)\}", code)
        assert shape and len(shape[1]) == len(table.columns)
        lines = [line for line in code.splitlines() if line.endswith("\\\\")]
        assert len(lines) == len(table.rows) + (2 if any(column.group for column in table.columns) else 1)
        for line in lines:
            spanned = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line))
            assert len(re.findall(r"(?<!\\)&", line)) + 1 + spanned == len(table.columns)


TEX = next((path for name in ("pdflatex", "tectonic", "lualatex", "xelatex") if (path := shutil.which(name))), None)


@pytest.mark.skipif(TEX is None, reason="no LaTeX on this machine (pdflatex, tectonic, lualatex or xelatex)")
def test_latex_compiles(make_record, tmp_path):
    assert TEX is not None
    letters = "".join(map(chr, [*range(0x250), 0x1EA1]))
    odd = Table("letters", (Column("[*]"),), ((Entry(letters),),), (letters,))
    body = write([*latex_tables(make_record), odd], "tex")
    source = tmp_path / "page.tex"
    packages = "\\usepackage{booktabs}\n\\usepackage{graphicx}\n"
    source.write_text(f"\\documentclass{{article}}\n{packages}\\begin{{document}}\n{body}\\end{{document}}\n")
    options = [] if Path(TEX).name == "tectonic" else ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run([TEX, *options, source.name], cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "page.pdf").stat().st_size > 1000
    assert "Missing character" not in done.stdout


# --- Terminal ---------------------------------------------------------------------------------------------------


def test_labels_are_text_and_not_markup():
    assert "(custom: [bold]x[/bold])" in terminal(Table("(custom: [bold]x[/bold])", (Column("a"),), ()))
    assert "[b]plain[/b]" in terminal(odd_table())


def test_marks_are_superscripts_after_their_entry():
    text = terminal(odd_table(), 250)
    assert "80.3ᵃᵇ" in text and "a Width 64 & more. (numbers.csv:10-11, 15)" in text
    assert text.index("† not the authors' code") > text.index("80.3ᵃᵇ")


# --- Entries ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "kind", "text"),
    [
        (Entry(), "percent", "–"),
        (Entry(""), "difference", ""),
        (Entry(57.16, 0.44), "percent", "57.2 ± 0.4"),
        (Entry(57.16, 0.44, seeds=3), "percent", "57.2 ± 0.4 (3)"),
        (Entry(-0.04), "difference", "+0.0"),
        (Entry(-3.26), "difference", "-3.3"),
        (Entry(1234567), "count", "1,234,567"),
        (Entry("2/3"), "count", "2/3"),
        (Entry(68.3, remark="(re-run 72.0)"), "percent", "68.3 (re-run 72.0)"),
        (Entry(0.0), "duration", "0 s"),
        (Entry(99.4), "duration", "99 s"),
        (Entry(99.6), "duration", "2 min"),
        (Entry(5940.0), "duration", "99 min"),
        (Entry(7200.0), "duration", "2.0 h"),
    ],
)
def test_how_an_entry_is_shown(entry, kind, text):
    assert text_of(entry, kind) == text


def test_a_note_names_each_file_once_and_neighbouring_lines_as_one():
    note = Note("a", "Doubtful.", ("one.csv:4", "one.csv:5", "one.csv:6", "one.csv:9", "two.csv:2"))
    assert str(note) == "Doubtful. (one.csv:4-6, 9; two.csv:2)"
    assert str(Note("a", "Doubtful.")) == "Doubtful."
