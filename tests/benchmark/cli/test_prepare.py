import csv
import json
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from skelbench.datasets import open_store
from skelbench.datasets.audit import NAMES
from skelbench.datasets.layout import LAYOUTS
from skelbench.datasets.prepare import describe_options, reader_options
from skelbench.datasets.readers import READERS

LABELS = (("a01", 1), ("a04", 4), ("a05", 5))


@pytest.fixture
def raw(tmp_path):
    """Nine NW-UCLA clips, of which one is in the data twice under two names."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "raw data"
    folder.mkdir()
    for action, label in LABELS:
        for camera in (1, 2, 3):
            name = f"{action}_s0{camera}_e00_v0{camera}"
            write(folder, name, label, rng.standard_normal((4, 20, 3)))
    twin = json.loads((folder / "a01_s01_e00_v01.json").read_text())["skeletons"]
    write(folder, "a01_s03_e00_v03", 1, twin)
    return folder


def write(folder, name, label, joints):
    content = {"file_name": name, "skeletons": np.asarray(joints).round(6).tolist(), "label": label}
    (folder / f"{name}.json").write_text(json.dumps(content))


def test_prepare_prints_counts_and_clips_that_train_and_test(skelbench, raw):
    text = skelbench("prepare", "nwucla", "--from", raw).stdout
    assert "nwucla: 9 clips, 36 frames, 10 classes, kinect20" in text
    assert "xview: 6 train, 3 test (" in text
    assert "1 group of clips is the same to the last bit" in text
    assert (
        "xview: 1 of them trains and tests, leave one side out with --exclude: a01_s01_e00_v01 = a01_s03_e00_v03"
        in text
    )
    assert text.splitlines()[-1].strip() == str(open_store("nwucla").path)


def test_a_clip_that_is_left_out_is_no_duplicate_any_more(skelbench, raw, tmp_path):
    (tmp_path / "twins.json").write_text('["a01_s03_e00_v03"]')
    text = skelbench("prepare", "nwucla", "--from", raw, "--exclude", tmp_path / "twins.json").stdout
    assert "same to the last bit" not in text and "excluded: 1 clips" in text


def test_rejected_inputs_are_printed_listed_and_in_the_exit_code(skelbench, raw):
    for name in ("a04_s01_e00_v01", "a05_s02_e00_v02"):
        (raw / f"{name}.json").write_text("{")
    result = skelbench("prepare", "nwucla", "--from", raw, code=1)
    assert result.stdout.count("  rejected: ") == 2
    with (open_store("nwucla").path / "rejected.csv").open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["a04_s01_e00_v01.json", "a05_s02_e00_v02.json"]
    facts = json.loads(skelbench("inspect", "nwucla", "--json").stdout)
    assert [entry["file"] for entry in facts["rejected"]] == ["a04_s01_e00_v01.json", "a05_s02_e00_v02.json"]


def test_several_sources_make_one_store(skelbench, raw, tmp_path):
    other = tmp_path / "more"
    other.mkdir()
    for path in sorted(raw.iterdir())[:4]:
        path.rename(other / path.name)
    skelbench("prepare", "nwucla", "--from", raw, "--from", other)
    assert len(open_store("nwucla").clips) == 9


def test_another_option_is_another_store_and_none_is_replaced_by_one_of_another_kind(skelbench, raw):
    skelbench("prepare", "nwucla", "--from", raw)
    skelbench("prepare", "nwucla", "--from", raw, "--set", "leaked=keep")
    assert open_store("nwucla-keep").manifest["options"] == {"leaked": "keep"}
    before = open_store("nwucla").fingerprint
    change = ("prepare", "nwucla", "--from", raw, "--name", "nwucla", "--set", "leaked=keep")
    sentence = skelbench(*change, code=2).stderr
    assert (
        "There is a data set 'nwucla' already, made by 'nwucla' leaked=drop and not by 'nwucla' leaked=keep" in sentence
    )
    assert open_store("nwucla").fingerprint == before
    skelbench(*change, "--force")
    assert open_store("nwucla").manifest["options"] == {"leaked": "keep"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--set", "leak=keep"), "The reader 'nwucla' has no option 'leak'; did you mean 'leaked'?"),
        (("--set", "leaked=maybe"), "The option 'leaked' of the reader 'nwucla' cannot be 'maybe'"),
        (("--set", "leaked"), "'leaked' is not a setting; write key=value"),
        (("--from", "nowhere"), "nowhere does not exist"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(skelbench, raw, arguments, sentence):
    result = skelbench("prepare", "nwucla", "--from", raw, *arguments, code=2)
    assert sentence in result.stderr and result.stderr.count("\n") == 1
    assert "nwucla" not in skelbench("ls", "datasets").stdout


@pytest.mark.parametrize("reader", list(READERS))
def test_every_reader_is_listed_with_its_options(skelbench, reader):
    line = next(line for line in skelbench("ls", "readers").stdout.splitlines() if line.split()[0] == reader)
    assert describe_options(reader) in line
    assert all(f"{name}=" in line for name in reader_options(reader))


def test_the_figures_of_preparation_come_as_json(skelbench, monkeypatch):
    monkeypatch.setattr("skelbench.benchmark.speed.prepare.TEXTS", 4)
    small = ("bench", "prepare", "--files", 100, "--clips", 1000, "--frames", 8)
    figures = json.loads(skelbench(*small, "--json").stdout)
    assert {"parse a file", "parse a file line by line", "times faster"} <= {figure["name"] for figure in figures}
    assert all(figure["value"] >= 0 and figure["unit"] for figure in figures)


# --- Deleting ---------------------------------------------------------------------------------------------------


def test_a_data_set_is_deleted_when_asked_and_nothing_else(store, skelbench):
    folder = store.path.parent
    (folder / ".tiny.partial").mkdir()
    (folder / ".tiny.old").mkdir()
    (folder / "thesis").mkdir()
    asked = skelbench("delete", "tiny", code=2)
    assert "add --yes" in asked.stderr and store.path.exists()
    done = skelbench("delete", "tiny", "--yes")
    assert done.stdout.startswith("Deleted the data set 'tiny' (24 clips")
    assert sorted(path.name for path in folder.iterdir()) == ["thesis"]
    assert "There is no data set 'tiny'" in skelbench("delete", "tiny", "--yes", code=2).stderr


def test_a_damaged_data_set_is_deleted_too(store, skelbench):
    (store.path / "keypoints.npy").write_bytes(b"")
    assert "cannot be read" in skelbench("inspect", "tiny", code=2).stderr
    assert "Deleted the data set 'tiny' (damaged" in skelbench("delete", "tiny", "--yes").stdout
    assert not store.path.exists()


def test_a_data_set_that_is_being_prepared_is_not_deleted(store, skelbench):
    partial = store.path.with_name(".tiny.partial")
    partial.mkdir()
    with FileLock(partial / "lock"):
        result = skelbench("delete", "tiny", "--yes", code=2)
    assert "Another process is preparing 'tiny'" in result.stderr
    assert store.path.exists()


# --- Layouts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_a_layout_is_shown_joint_by_joint(name, skelbench):
    layout = LAYOUTS[name]
    assert layout.centre is not None
    head, _, *rows = skelbench("ls", "layouts", name).stdout.splitlines()
    assert head.startswith(f"{name}: {layout.num_joints} joints, centre {layout.joints[layout.centre]}")
    assert [row.split()[:2] for row in rows] == [[str(i), joint] for i, joint in enumerate(layout.joints)]
    for child, parent in layout.bones:
        assert rows[child].split()[1:3] == [layout.joints[child], layout.joints[parent]]
    found = json.loads(skelbench("ls", "layouts", name, "--json").stdout)
    assert found == layout.to_json() | {"up": "y"}


def test_only_layouts_are_shown_by_name(skelbench):
    assert "takes no name" in skelbench("ls", "methods", "aimclr", code=2).stderr
    assert "did you mean 'ntu25'" in skelbench("ls", "layouts", "ntu52", code=2).stderr


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, {"no clip can be loaded": ["centre and shoulders"], "without centre": ["stgcn"]}),
        ({"centre": "Hips", "shoulders": ["L", "R"]}, {"without mirror": ["aimclr", "hiclr"]}),
        (
            {"centre": "Hips", "shoulders": ["L", "R"], "mirror": [["L", "R"]]},
            {"without parts": ["mica", "skeattnclr", "skelemixclr", "skelemixclr+"]},
        ),
    ],
)
def test_what_a_skeleton_lacks_is_said_with_the_methods_that_need_it(tmp_path, skelbench, facts, expected):
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {fact: np.array(value) for fact, value in facts.items()}
    np.savez(
        tmp_path / "mine.npz",
        keypoints=rng.normal(0, 0.3, (40, 1, 4, 3)),
        lengths=[10] * 4,
        label=[0, 1, 0, 1],
        name=list("abcd"),
        subject=[1, 1, 2, 2],
        joint_names=["Hips", "Chest", "L", "R"],
        parents=[-1, 0, 1, 1],
        **arrays,
    )
    accepted = (word for check in NAMES for word in ("--accept", check))
    out = skelbench("prepare", "arrays", "--from", tmp_path / "mine.npz", "--name", "mine", *accepted).stdout
    for head, names in expected.items():
        (line,) = (line for line in out.splitlines() if head in line)
        assert all(name in line for name in names), line
    assert ("without centre" in out) == ("centre" not in facts)
    assert ("without mirror" in out) == ("mirror" not in facts)


def test_of_a_registered_layout_nothing_is_said(skelbench, raw):
    assert "without" not in skelbench("prepare", "nwucla", "--from", raw).stdout
