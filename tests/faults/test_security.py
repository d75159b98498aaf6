"""No code runs from data, no archive writes outside its folder, no name from data becomes a path.

docs/faults.md lists the tests that are closer to the code.
"""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from skelbench.backbones import create_backbone
from skelbench.benchmark.plan.grid import read_grid
from skelbench.benchmark.run.import_weights import read_state
from skelbench.benchmark.run.reproduce import reproduce
from skelbench.benchmark.train.checkpoint import read_tensors, write_tensors
from skelbench.datasets import prepare
from skelbench.datasets.readers import archives, raw_files
from skelbench.datasets.store import Store
from skelbench.errors import SkelbenchError
from skelbench.results.files import read_scores
from skelbench.results.record import Cell, Key, Record
from skelbench.results.store import RunStore


class Trap:
    """Pickles to an instruction that makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def trap(tmp_path):
    """An object whose unpickling leaves a trace, which must not be there afterwards."""
    yield Trap(tmp_path / "sprung")
    assert not (tmp_path / "sprung").exists(), "code from data has run"


def test_the_trap_works(tmp_path):
    torch.save({"a": Trap(tmp_path / "sprung")}, tmp_path / "x.pt")
    torch.load(tmp_path / "x.pt", weights_only=False)
    assert (tmp_path / "sprung").is_dir()


@pytest.mark.parametrize(
    "read",
    [read_tensors, read_state, lambda path: create_backbone("stgcn", layout="ntu25", num_frames=8, weights=path)],
    ids=["checkpoint", "released checkpoint", "weights"],
)
def test_no_code_runs_from_a_file_of_tensors(read, trap, tmp_path):
    write_tensors(tmp_path / "x.pt", {"a": torch.zeros(1), "b": trap})  # with a checksum that fits
    with pytest.raises(SkelbenchError, match=r"x\.pt"):
        read(tmp_path / "x.pt")


@pytest.mark.parametrize(
    "text",
    ["methods: !!python/object/apply:os.mkdir [{}]", "!!python/object/new:os.mkdir [{}]", "a: !!python/name:os.mkdir"],
)
def test_no_code_runs_from_a_grid_file(text, trap, tmp_path):
    (tmp_path / "grid.yaml").write_text(text.replace("{}", str(trap.path)))
    with pytest.raises(SkelbenchError, match="cannot be read"):
        read_grid(tmp_path / "grid.yaml")


@pytest.mark.parametrize("value", ["{}", '!!python/object/apply:os.mkdir ["{}"]', '__import__("os").mkdir("{}")'])
def test_no_code_runs_from_a_setting(value, trap, store, skelbench):
    pair = f"backbone.width={value.replace('{}', str(trap.path))}"
    skelbench("run", "--method", "untrained", "--dataset", "tiny", "--set", pair, code=2)


@pytest.mark.parametrize("field", ["keypoints", "name", "label", "layout"])
def test_no_code_runs_from_an_interchange_file(field, trap, tmp_path):
    fields = {"keypoints": np.ones((8, 1, 25, 3)), "lengths": [4, 4], "label": [0, 1], "name": ["a", "b"]}
    fields |= {"subject": [1, 2], "layout": "ntu25", field: np.array([trap, trap], dtype=object)}
    np.savez(tmp_path / "x.npz", allow_pickle=True, **fields)
    with pytest.raises(SkelbenchError):
        prepare("arrays", tmp_path / "x.npz", "tiny")


def test_no_code_runs_from_a_store_or_from_scores(trap, tmp_path):
    fields = {"keypoints": np.ones((8, 1, 25, 3), "float32"), "lengths": [4, 4], "label": [0, 1], "name": ["a", "b"]}
    np.savez(tmp_path / "x.npz", **fields, subject=[1, 2], layout="ntu25")
    store = prepare("arrays", tmp_path / "x.npz", "tiny")
    np.save(store.path / "keypoints.npy", np.array([trap], dtype=object), allow_pickle=True)
    with pytest.raises(SkelbenchError, match=r"keypoints\.npy cannot be read"):
        Store(store.path)
    np.savez(tmp_path / "scores.npz", names=np.array([trap], dtype=object), labels=[0], scores=[[0.0]])
    with pytest.raises(SkelbenchError, match="damaged"):
        read_scores(tmp_path / "scores.npz")


def test_a_member_of_a_zip_of_raw_data_that_grows_beyond_all_data_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "raw.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.txt", bytes(archives.SMALL + 1))
        archive.writestr("good.txt", b"1 2 3")
    (bomb, good), rejected = raw_files.raw_files([tmp_path / "raw.zip"], lambda path: path.suffix == ".txt", "texts")
    assert not rejected
    assert good.read() == b"1 2 3"
    with pytest.raises(raw_files.UnusableError, match=r"bomb\.txt cannot be read \(it would grow"):
        bomb.read()


def test_a_name_in_a_zip_of_raw_data_writes_nothing_anywhere(tmp_path):
    (tmp_path / "here").mkdir()
    with zipfile.ZipFile(tmp_path / "here" / "raw.zip", "w") as archive:
        archive.writestr("../../escaped.txt", b"1")
        archive.writestr("/escaped.txt", b"2")
    before = sorted(tmp_path.rglob("*"))
    files, _ = raw_files.raw_files([tmp_path / "here"], lambda path: path.suffix == ".txt", "texts")
    assert {file.read() for file in files} == {b"1", b"2"}
    assert sorted(tmp_path.rglob("*")) == before


HOSTILE = ("../../up", "/absolute", "..", "a/b", "a\\b", "con\n", "<b>", "x" * 300, "é\0")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_in_a_cell_becomes_one_plain_folder_below_the_runs(name, tmp_path):
    fields = dict.fromkeys(("method", "backbone", "dataset", "split", "stream", "protocol", "label"), name)
    cell = Cell.model_validate({"track": "custom", "seed": 0} | fields)
    folder = RunStore(tmp_path).folder(Key(cell, "0123456789ab"))
    assert folder.parent == tmp_path
    assert folder.name.isascii() and folder.name.isprintable() and len(folder.name) < 255
    assert not set(folder.name) & set("/\\<>\0")


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "", "..", "a\\..\\x"])
def test_a_record_cannot_name_a_file_elsewhere(name, make):
    with pytest.raises(ValueError, match="path below"):
        make(files={"scores": name})


@pytest.mark.parametrize("identity", ["../../../../x", "*", "0123", "0123456789AB"])
def test_an_identity_is_nothing_but_digits(identity, make):
    with pytest.raises(ValueError, match="identity"):
        make(identity=identity)


@pytest.fixture
def make():
    """Make a record with one field given."""
    cell = dict.fromkeys(("method", "backbone", "dataset", "split", "stream", "protocol"), "x")

    def record(**said):
        fields = {key: {} for key in ("settings", "versions", "environment", "data", "model")}
        base = {"cell": cell | {"track": "equal", "seed": 0}, "identity": "0" * 32, "finished": "2020-01-01T00:00:00Z"}
        return Record.model_validate(fields | base | said)

    return record


@pytest.mark.parametrize("name", ["../data", "/etc", ".hidden", "a/b"])
def test_a_record_that_is_run_again_cannot_name_a_folder_as_its_data(name, make, tmp_path):
    record = make()
    record = record.model_copy(update={"cell": record.cell.model_copy(update={"dataset": name})})
    runs = RunStore(tmp_path / "runs")
    runs.write(record)
    with pytest.raises(SkelbenchError, match="not a valid name"):
        reproduce(runs.folder(record.key), RunStore(tmp_path / "again"), "cpu", None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["../up", "a/b", ".x", "x.y", ""])
def test_a_data_set_name_cannot_lead_elsewhere(name, tmp_path):
    np.savez(tmp_path / "x.npz", keypoints=np.zeros((4, 1, 25, 3)))
    if name:
        with pytest.raises(SkelbenchError, match="cannot name a data set"):
            prepare("arrays", tmp_path / "x.npz", name)
    assert not Path(os.environ["SKELBENCH_DATA"]).exists()


def test_the_facts_in_a_file_of_weights_are_text_and_nothing_else(trap, tmp_path):
    from safetensors.torch import save_file

    from skelbench.backbones.weights import read_facts

    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors", {"skelbench": json.dumps({"layout": str(trap.path)})})
    assert read_facts(tmp_path / "x.safetensors") == {"layout": str(trap.path)}
