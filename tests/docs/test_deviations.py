"""docs/deviations.md says what the code says, and the code says what it does."""

from pathlib import Path
from typing import get_args, get_origin

import pytest

from deviations import to_markdown
from skelbench.benchmark.cli.track_table import SIZES, rows
from skelbench.benchmark.plan.tracks import Sizes, resolve
from skelbench.methods import METHODS
from skelbench.methods.base import MethodConfig
from skelbench.methods.mining import MiningConfig
from skelbench.results.record import Configuration

DOCS = Path(__file__).resolve().parents[2] / "docs"
# Paper and code agree on the first, table 7 takes it away; the second is a control.
ABLATIONS = {("skeattnclr", "context"), ("mica", "shuffle")}
OWN = [name for name in METHODS if METHODS[name].paper.deviations]


def test_the_page_is_the_one_made_from_the_code():
    assert (DOCS / "deviations.md").read_text() == to_markdown(), "run `make docs`"


def test_the_page_is_one_table_with_a_row_for_each_deviation():
    lines = [line for line in to_markdown().splitlines() if line.startswith("|")]
    widths = {len(line.replace("\\|", "").split("|")) for line in lines}
    assert len(widths) == 1, "every row has every column"
    for name in OWN:
        if "paper" in vars(METHODS[name]):
            mine = [line for line in lines if line.startswith(f"| `{name}` |")]
            assert len(mine) == len(METHODS[name].paper.deviations)


@pytest.mark.parametrize("name", OWN)
def test_a_deviation_says_what_we_do_and_names_settings_that_there_are(name):
    for deviation in METHODS[name].paper.deviations:
        assert deviation.paper and deviation.code
        assert deviation.ours or deviation.option, deviation.about
        if deviation.option and "." not in deviation.option:
            assert deviation.option in METHODS[name].Config.model_fields
            assert deviation.why, deviation.about


@pytest.mark.parametrize("name", OWN)
def test_every_choice_between_named_ways_is_a_listed_deviation(name):
    """A setting whose type is a choice of words is a variant; numbers and ranges are settings."""
    listed = {deviation.option for deviation in METHODS[name].paper.deviations}
    for setting, field in METHODS[name].Config.model_fields.items():
        chosen = get_origin(field.annotation) is not None and all(
            isinstance(a, str) for a in get_args(field.annotation)
        )
        if (chosen or field.annotation is bool) and (name, setting) not in ABLATIONS and setting != "init":
            assert setting in listed, f"{setting} is a variant that docs/deviations.md does not know"


def test_the_key_encoders_start_is_a_deviation_of_every_method_that_has_one():
    for name in OWN:
        assert "key_init" in MethodConfig.model_fields
        assert "key_init" in {d.option for d in METHODS[name].paper.deviations}
        if issubclass(METHODS[name].Config, MiningConfig):
            assert "mined_loss" in {d.option for d in METHODS[name].paper.deviations}


@pytest.mark.parametrize("name", METHODS)
def test_ls_tracks_shows_the_settings_that_the_tracks_resolve_to(name):
    table = {row["name"]: row for row in rows() if row["name"].startswith(f"{name} ")}
    size = SIZES["ntu60", "xsub"]
    for track in ("published", "equal"):
        recipe = resolve(Configuration(name, "stgcn", "ntu60", "xsub", "joint"), track, Sizes(size, size)).recipe
        assert table[f"{name} frames"][track] == str(recipe.frames)
        assert table[f"{name} lr"][track] == str(recipe.lr)
        assert table[f"{name} backbone.width"][track] == str(recipe.backbone["width"])
        for setting, value in recipe.method.items():
            shown = f"[{', '.join(map(str, value))}]" if isinstance(value, tuple | list) else str(value)
            assert table[f"{name} method.{setting}"][track] == shown
    assert table[f"{name} source"]["published"]


def test_ls_tracks_names_the_places_where_a_released_setting_differs():
    table = {row["name"]: row["published"] for row in rows()}
    assert table["skeattnclr on ntu60 xsub bone"] == (
        "method.mu=0.5, finetune.lr=0.005, semi1.lr=0.02, semi1.lr_steps=[13, 80, 120], semi10.lr=0.005"
    )
    assert "epochs=1500" in table["hiclr on pkummd2 xsub joint"]
    assert "linear.epochs=200" in table["hiclr on pkummd2 xsub joint"]
    assert "linear.epochs" not in table["hiclr on pkummd2 xsub bone"]
