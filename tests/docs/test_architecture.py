"""docs/architecture.md names every folder of the package, and only files that there are."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
TREE = PAGE[PAGE.index("## The tree") : PAGE.index("## Words")]
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]


def tree() -> dict[str, str]:
    """What the tree says of each folder, by its path."""
    found, above = {}, []
    for line in TREE.splitlines():
        match = re.match(r"( *)(\w+)/ +(\S.*)", line)
        if match:
            depth = len(match[1]) // 4
            above = [*above[:depth], match[2]]
            found["/".join(above)] = match[3]
    return found


def test_the_tree_has_a_line_for_every_folder_with_code():
    folders = {package.removeprefix("skelbench.").replace(".", "/") for package in PACKAGES if package != "skelbench"}
    assert folders <= set(tree())
    assert all((ROOT / folder).is_dir() for folder in tree())


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))])
def test_files_that_a_page_names_are_there(page):
    tops = "backbones|benchmark|datasets|docs|methods|results|tests"
    named = set(re.findall(rf"(?<![\w/.])((?:{tops})/[\w/]+\.(?:py|md|yaml|txt|sh|csv))\b", (ROOT / page).read_text()))
    assert {name for name in named if not (ROOT / name).is_file()} == set()
