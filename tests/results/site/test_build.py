"""Building the site: what is written where, what is refused, and that big folders of runs stay quick to open."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from skelbench.errors import SkelbenchError
from skelbench.results.files import write_curve
from skelbench.results.site import markup
from skelbench.results.site.boards import Board, shown, write_boards
from skelbench.results.site.build import build_site
from skelbench.results.site.cells import page_name, read_runs, site_cells
from skelbench.results.site.output_folder import MARK
from skelbench.results.store import RunStore
from skelbench.results.tables.rows import Place
from skelbench.results.tables.table import Column, Entry, Table

from .conftest import HOSTILE, NUMBERS, place, write_cell

CELL = place("equal", None, "nwucla", "xview", "skeletonclr", "stgcn", "linear")


@pytest.fixture
def few(tmp_path) -> RunStore:
    store = RunStore(tmp_path / "runs")
    write_cell(store, CELL, 70.0)
    return store


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def delivered(path: Path):
    """What a data file hands over, read as the JSON it holds."""
    name, _, value = path.read_text().removeprefix("skelbench.deliver(").removesuffix(");\n").partition(",")
    return json.loads(name), json.loads(value)


def test_every_cell_has_a_page_and_every_link_leads_to_one(site, runs):
    cells = {f"cells/{path.name}" for path in (site / "cells").iterdir()}
    assert len(cells) == len(NUMBERS) + len({where[:6] for where in NUMBERS})  # evaluations and pre-trainings
    for page in [*site.glob("*.html"), *(site / "cells").iterdir()]:
        for link in re.findall(r'(?:href|src)="([^"#]+)', page.read_text()):
            assert (page.parent / link).is_file(), f"{page.name}: {link}"
    named = {href for part in (site / "data").glob("part-*.js") for table in delivered(part)[1].values()
             for row in table["rows"] for href in row["links"].values()}  # fmt: skip
    assert named < cells


def test_the_same_runs_make_the_same_site(runs, site, tmp_path):
    build_site(runs, tmp_path / "again")
    assert files(tmp_path / "again") == files(site)
    for name in files(site):
        assert (tmp_path / "again" / name).read_bytes() == (site / name).read_bytes()


def test_no_page_holds_markup_from_data(site):
    for page in [*site.glob("*.html"), *(site / "cells").iterdir()]:
        text = page.read_text()
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert set(re.findall(r"<script\b([^>]*)>", text)) <= {
            ' type="application/json" id="data"',
            *(f' src="{root}assets/{name}"' for root in ("", "../") for name in markup.ASSETS if name.endswith(".js")),
            ' src="data/index.js"',
        }  # fmt: skip


class Page(HTMLParser):
    """Parse a page: its elements with the names of their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, *(name for name, _ in attrs)))

    def handle_data(self, data):
        self.text += data


def pages_of(folder: Path, name: str) -> dict[str, Page]:
    """Every kind of page, of runs with an older record and a fusion in which all names are `name`."""
    runs = RunStore(folder / name)
    cell = place("custom", name, name, name, name, name, "linear").model_copy(update={"pretrained_on": name})
    parts = {"settings": {name: name, "backbone": {name: name}}, "environment": {name: name}, "data": {name: [name]}}
    write_cell(runs, cell, 50.0, finished="2023-05-01T12:00:00Z", older=True, **parts)
    record = write_cell(runs, cell, 50.0, **parts)
    parts["settings"]["fusion"] = {name: {"identity": record.identity}, f"{name}2": {"identity": name}}
    write_cell(runs, cell.model_copy(update={"stream": "3s"}), 50.0, **parts)
    build_site(runs, folder / "site")
    cells = site_cells(read_runs(runs.root))
    pages = {f"{key.stream} {key.protocol}": cell.href for key, cell in cells.items()}
    pages |= {"index": "index.html", "paper": "paper.html"}
    return {kind: Page((folder / "site" / path).read_text()) for kind, path in pages.items()}


def test_hostile_names_are_escaped_on_every_page(tmp_path):
    hostile, plain = pages_of(tmp_path / "1", HOSTILE), pages_of(tmp_path / "2", "plain")
    assert set(hostile) == {"joint linear", "joint pretrain", "3s linear", "3s pretrain", "index", "paper"}
    for kind, page in hostile.items():
        assert page.elements == plain[kind].elements
        assert HOSTILE in page.text


@pytest.mark.parametrize("text", ["</script>", "<!--", "]]>", "\u2028\u2029", "&lt;", "ä", '"', "\\"])
def test_data_in_a_script_ends_no_script_and_is_complete(text):
    written = markup.script_json({text: [text]})
    assert json.loads(written) == {text: [text]}
    assert written.isascii()
    assert not set("<>&") & set(written)


def test_cells_that_look_alike_as_files_have_pages_of_their_own():
    names = [place("custom", label, "x", "xsub", "m", "b", "linear") for label in ("a/b", "a b", "a_b", "../" * 60)]
    pages = {page_name(key) for key in site_cells_of(names)}
    assert len(pages) == 4
    assert all(re.fullmatch(r"cells/[A-Za-z0-9=._-]+\.html", page) and ".." not in page for page in pages)


def site_cells_of(cells):
    from skelbench.results.tables.rows import seed_group

    return [seed_group(cell) for cell in cells]


# --- The folder ---------------------------------------------------------------------------------------------------


def test_a_folder_without_evaluations_is_refused_and_nothing_is_written(skelbench, tmp_path):
    for runs in (tmp_path / "none", tmp_path):
        done = skelbench("site", tmp_path / "out", "--out", runs, code=2)
        assert done.output.startswith(f"Error: There is no finished evaluation in {runs} to show")
        assert not (tmp_path / "out").exists()


def test_another_folder_is_refused_and_left_alone(few, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "index.html").write_text("precious")
    for folder in (out, few.root):
        before = files(folder)
        with pytest.raises(SkelbenchError, match="is not empty and not a site of skelbench"):
            build_site(few, folder)
        assert files(folder) == before
    assert (out / "index.html").read_text() == "precious"
    with pytest.raises(SkelbenchError, match="is not a folder"):
        build_site(few, out / "index.html")


def test_a_new_site_replaces_the_old_one_and_keeps_what_is_not_of_it(few, tmp_path):
    out = tmp_path / "site"
    build_site(few, out)
    (out / "CNAME").write_text("example.org")
    old = files(out)
    write_cell(few, CELL.model_copy(update={"method": "aimclr"}), 80.0)
    build_site(few, out)
    assert files(out) - old == {name for name in files(out) if "aimclr" in name} != set()
    for path in few.root.glob("*skeletonclr*/record.json"):
        path.unlink()
    build_site(few, out)
    assert not [name for name in files(out) if "skeletonclr" in name]
    assert (out / "CNAME").read_text() == "example.org"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_damaged_file_is_named_and_the_old_site_stays(few, tmp_path):
    out = tmp_path / "site"
    build_site(few, out)
    before = {name: (out / name).read_bytes() for name in files(out)}
    (path,) = few.root.glob("*linear*/confusion.csv")
    for damage in ("", "true,a,b\na,1\n", "true,a\na,many\n"):
        path.write_text(damage)
        with pytest.raises(SkelbenchError, match=re.escape(str(path))):
            build_site(few, out)
    assert {name: (out / name).read_bytes() for name in files(out)} == before
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []


def test_a_protocol_without_a_curve_has_a_page_without_one(few, tmp_path):
    (record,) = (record for record in few.records() if record.cell.protocol == "linear")
    write_curve(few.folder(record.key), [])
    few.write(record)
    build_site(few, tmp_path / "site")
    (page,) = (tmp_path / "site" / "cells").glob("*linear*")
    data = json.loads(page.read_text().partition('id="data">')[2].partition("</script>")[0])
    assert data["accuracy"] == [{"seed": 0, "test_top1": [], "held_out_top1": []}]


def test_older_records_are_listed_but_not_counted(runs):
    cells = site_cells(read_runs(runs.root))
    (cell,) = [cell for key, cell in cells.items() if cell.left_out]
    assert [one.record.last.top1 for one in cell.shown if one.record.last] == [70.0, 72.5, 75.0]
    assert [one.record.last.top1 for one in cell.left_out if one.record.last] == [10.0]


# --- Size and speed -----------------------------------------------------------------------------------------------


def test_an_index_of_ten_thousand_rows_comes_in_parts_that_are_quick_to_load(tmp_path):
    columns = (Column("method"), Column("backbone"), Column("linear", "percent", group="linear"))
    boards = []
    for number, rows in enumerate([1] * 2000 + [20] * 200 + [4000]):
        entries = [(Entry(f"method{i}"), Entry("stgcn"), Entry(50.0, spread=0.5)) for i in range(rows)]
        where = Place("custom", f"epochs={number}, method.temperature=0.07", "ntu60", "xsub", "joint", None)
        board = Board(where, Table("", columns, ()))
        board.rows = [
            {"method": row[0].value, "backbone": "stgcn", "floor": 0,
             "links": {"linear": f"cells/{'x' * 110}-{number}-{i}.html"},
             "cells": [shown(entry, column) for entry, column in zip(row, columns, strict=True)]}
            for i, row in enumerate(entries)
        ]  # fmt: skip
        boards.append(board)
    (tmp_path / "data").mkdir()
    write_boards(boards, tmp_path)
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "data").iterdir()}
    assert max(sizes.values()) < 500_000
    shell = [*markup.ASSETS, "../pages/index.html", "../pages/frame.html"]
    assert sizes["index.js"] + sizes["part-0.js"] + sum(len(markup.asset(name).encode()) for name in shell) < 500_000
    _, index = delivered(tmp_path / "data" / "index.js")
    found = [0] * len(boards)
    for path in (tmp_path / "data").glob("part-*.js"):
        name, part = delivered(path)
        for number, piece in part.items():
            found[int(number)] += len(piece["rows"])
            assert int(name.removeprefix("part-")) in index["tables"][int(number)][-1]
    assert found == [len(board.rows) for board in boards] == [table[-2] for table in index["tables"]]


def test_the_command_loads_neither_torch_nor_matplotlib(few, tmp_path):
    program = (
        "import sys\n"
        "from skelbench.benchmark.cli import main\n"
        f"main(['site', {str(tmp_path / 'out')!r}, '--out', {str(few.root)!r}], standalone_mode=False)\n"
        "sys.exit(str({'torch', 'matplotlib', 'pandas', 'sklearn'} & set(sys.modules) or ''))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == str(tmp_path / "out" / "index.html")
    assert done.stderr.split("\n") == ["1 tables and 2 cells from 2 records", "", ""]
    assert (tmp_path / "out" / MARK).is_file()


def test_a_method_that_is_not_self_supervised_has_its_numbers_on_its_page(tmp_path):
    """Its table has a label of its own, by which the page finds them."""
    runs = RunStore(tmp_path / "runs")
    cell = place("equal", None, "nwucla", "xview", "mica", "stgcn", "linear")
    write_cell(runs, cell, 70.0, settings={"epochs": 10, "supervision": "language-supervised"})
    build_site(runs, tmp_path / "site")
    (shown,) = [one for key, one in site_cells(read_runs(runs.root)).items() if key.protocol == "linear"]
    assert shown.key.label == "language-supervised"
    page = Page((tmp_path / "site" / shown.href).read_text())
    assert "has no accuracy" not in page.text and "70.0" in page.text
    boards = "".join(path.read_text() for path in (tmp_path / "site" / "data").rglob("*.js"))
    assert shown.href in boards, "the table links to the page"


def test_raw_joints_among_encoders_link_to_their_own_pages(few, tmp_path):
    for protocol in ("nearest", "ridge"):
        write_cell(few, place("custom", "raw data", "nwucla", "xview", "raw", "none", protocol), 64.0)
    build_site(few, tmp_path / "site")
    tables = [t for part in (tmp_path / "site" / "data").glob("part-*.js") for t in delivered(part)[1].values()]
    rows = [(row["method"], row["floor"], row["links"]) for table in tables for row in table["rows"]]
    ((_, floor, links),) = [row for row in rows if row[0] == "raw" and "linear" in row[2]]
    assert floor == 1 and "-ridge-" in links["linear"] and (tmp_path / "site" / links["linear"]).is_file()
    assert [(method, backbone) for method, backbone, _ in rows].count(("untrained", 1)) == 1, "no floor of raw joints"
