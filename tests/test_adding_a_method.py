"""A method is one file: written outside the package, it is listed, trained and compared like any other."""

import sys

import pytest

from skelbench.methods import METHODS, create_method
from skelbench.registry import load_plugin
from skelbench.results.store import RunStore

TOY = '''
"""Toy: the embeddings of two views of a clip are drawn together."""

from pydantic import Field
from torch import nn
from torch.nn import functional

from skelbench.methods.base import METHODS, Method, MethodConfig, Paper
from skelbench.methods.recipe import Recipe


class Config(MethodConfig):
    feature_dim: int = Field(default=8, gt=0)


class Encoder(nn.Module):
    def __init__(self, backbone, dim):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.dim, dim)

    def forward(self, x):
        return self.head(self.backbone.pool(self.backbone(x)))


@METHODS.register("toy")
class Toy(Method):
    """Likeness of two views."""

    Config = Config
    paper = Paper(title="A toy", venue="a test", year=2024, code="nobody/toy@0000000")

    def __init__(self, build, config):
        super().__init__(build, config)
        self.encoder_q = Encoder(build.make(), config.feature_dim)

    @classmethod
    def published(cls, dataset, split, stream):
        return Recipe(source="a test", frames=16, epochs=2, batch=4, lr=0.05), dataset == "toys"

    def embedding(self, x):
        return functional.normalize(self.encoder_q(self.to_stream(x)), dim=1)

    def outputs(self, views, **context):
        query, key = (self.embedding(views[name]) for name in ("query", "key"))
        return {"logits": query @ key.T}

    def loss(self, views, **context):
        return {"loss": -self.outputs(views, **context)["logits"].diagonal().mean()}
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """The toy's file; what it registers is forgotten after the test."""
    assert len(METHODS), "all are imported before the entries are put aside"
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    monkeypatch.setattr(METHODS, "_places", dict(METHODS._places))
    path = tmp_path / "toy.py"
    path.write_text(TOY)
    yield path
    sys.modules.pop("skelbench_plugin_toy", None)


@pytest.fixture
def with_toy(plugin, skelbench):
    """Run a command with the toy as --plugin."""
    return lambda *arguments, plugin=plugin, code=0: skelbench("--plugin", plugin, *arguments, code=code)


def test_it_is_listed_with_its_paper(with_toy):
    lines = [line.split(maxsplit=1) for line in with_toy("ls", "methods").stdout.splitlines()]
    assert ["toy", "A toy (a test 2024); nobody/toy@0000000"] in lines
    assert [name for name, _ in lines] == sorted(name for name, _ in lines)


def test_it_is_created_by_name_and_its_file_is_known(plugin):
    load_plugin(plugin)
    method = create_method("toy", num_frames=16, num_persons=1, feature_dim=5)
    assert method.config.feature_dim == 5  # pyright: ignore[reportAttributeAccessIssue] - the toy's own setting
    assert METHODS.place("toy").startswith(f"{plugin}:")


@pytest.mark.parametrize("track", ["equal", pytest.param("published", marks=pytest.mark.slow)])
def test_it_trains_in_a_grid_and_is_in_the_table_with_the_others(with_toy, store, short_backbone, tmp_path, track):
    tiny_width = [
        w
        for pair in ("backbone.width=4", "backbone.dim=16", "batch=4", "frames=16", "epochs=2")
        for w in ("--set", pair)
    ]
    out = tmp_path / "runs"
    methods = "untrained,skeletonclr,toy"
    grid = ("grid", "--methods", methods, "--datasets", "tiny", "--track", track, "--out", out, "--device", "cpu")
    with_toy(*grid, *tiny_width, "--set", "method.feature_dim=6", "--set", "linear.epochs=5")
    cells = {(r.cell.method, r.cell.protocol) for r in RunStore(out).records()}
    assert {("toy", "pretrain"), ("toy", "knn"), ("toy", "linear")} <= cells
    (trained,) = (r for r in RunStore(out).records() if (r.cell.method, r.cell.protocol) == ("toy", "pretrain"))
    assert trained.settings["method"]["feature_dim"] == 6  # pyright: ignore[reportArgumentType, reportCallIssue, reportIndexIssue, reportOptionalSubscript] - JSON
    table = with_toy("table", "--out", out, "--format", "md").stdout
    assert any(line.split("|")[1].strip() == "toy" for line in table.splitlines() if line.startswith("|"))
    again = with_toy(*grid, *tiny_width, "--set", "method.feature_dim=6", "--set", "linear.epochs=5")
    assert again.stderr.count("done before") == 5


def test_a_taken_name_is_one_clear_error(with_toy, tmp_path):
    duplicate = tmp_path / "twin.py"
    duplicate.write_text(TOY.replace('register("toy")', 'register("skeletonclr")'))
    result = with_toy("ls", "methods", plugin=duplicate, code=2)
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: The method 'skeletonclr' is registered twice")
    assert "skeletonclr.py:" in line
    assert "twin.py:" in line


def test_a_setting_it_does_not_have_gets_a_did_you_mean(with_toy, store, short_backbone, tmp_path):
    options = ("--method", "toy", "--dataset", "tiny", "--out", tmp_path / "runs", "--device", "cpu")
    result = with_toy("run", *options, "--set", "method.feature_dims=3", code=2)
    assert "None of toy has the setting 'feature_dims'; did you mean 'feature_dim'" in result.stderr
