"""A protocol is one file too: it brings its settings, and the grid, the table and `--set` know it."""

import pytest

from skelbench.benchmark.protocols import PROTOCOLS

PLUGIN = """
import torch
from skelbench.benchmark.protocols import PROTOCOLS, Fit
from skelbench.methods.recipe import Settings as Base


class Settings(Base):
    power: float = 1.0


class Centroid:
    \"\"\"Nearest class mean.\"\"\"

    name, version, Settings = "centroid", 1, Settings

    def fit(self, train, sets, *, classes, settings, seed):
        means = torch.stack([train.x[train.label == c].mean(0) for c in range(classes)])
        return [Fit(None, {name: -torch.cdist(x, means) ** settings.power for name, x in sets.items()})]

    def extra(self, fit, label):
        return {}


PROTOCOLS.add("centroid", Centroid())
"""


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "centroid_plugin.py"
    path.write_text(PLUGIN)
    yield path
    PROTOCOLS._entries.pop("centroid", None)


def test_a_protocol_from_a_plugin_runs_is_set_and_stands_in_the_table(skelbench, store, plugin, tmp_path):
    out = tmp_path / "runs"
    run = ["--plugin", plugin, "run", "--method", "untrained", "--dataset", "tiny", "--protocol", "centroid,knn"]
    settings = ["--set", "frames=16", "--set", "backbone.width=4", "--set", "backbone.dim=16"]
    skelbench(*run, *settings, "--set", "centroid.power=2", "--out", out)
    table = skelbench("table", "--out", out, "--format", "csv")
    assert "centroid" in table.output
    assert "centroid.power=2" in table.output
    wrong = skelbench(*run, *settings, "--set", "centroid.powr=2", "--out", out, code=2)
    assert "did you mean 'centroid.power'" in wrong.output
