"""Templates escape everything and forgive nothing."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError

import skelbench.results
from skelbench.results.templates import render

PAGES = sorted(Path(skelbench.results.__file__ or "").parent.glob("*/pages/*.html"))


def test_a_value_that_is_not_given_is_an_error():
    with pytest.raises(UndefinedError, match="'tables' is undefined"):
        render("skelbench.results.writers", "tables.html")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_no_template_turns_escaping_off(path):
    text = path.read_text(encoding="utf-8")
    assert not {"safe", "autoescape", "Markup"} & set(text.replace("|", " ").split())
