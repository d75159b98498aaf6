"""A user error prints one sentence, exits with code 2 and leaves nothing half-written."""

import errno
import re

import click
import numpy as np
import pytest

from skelbench.benchmark.cli import main

TINY = ("--set", "batch=4", "--set", "frames=16", "--set", "epochs=1")


def refused(skelbench, *arguments):
    """The sentence a command is refused with."""
    result = skelbench(*arguments, code=2)
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("Error: ")
    assert result.stdout == ""
    return lines[0]


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"--method": "skeletonclrr"}, "There is no method 'skeletonclrr'; did you mean 'skeletonclr'"),
        ({"--backbone": "stgnc"}, "There is no backbone 'stgnc'; did you mean 'stgcn'"),
        ({"--dataset": "tinny"}, "There is no data set 'tinny'"),
        ({"--split": "xsubb"}, "no split 'xsubb'"),
        ({"--stream": "bones"}, "There is no stream 'bones'; did you mean 'bone'"),
        ({"--stream": "all"}, "There is no stream 'all'"),
        ({"--protocol": "knm"}, "There is no protocol 'knm'; did you mean 'knn'"),
        ({"--protocol": ","}, "',' names nothing; give a comma list"),
        ({"--track": "equals"}, "There is no track 'equals'; did you mean 'equal'"),
        ({"--device": "gpu"}, "The device 'gpu' cannot be used here"),
        ({"--device": "meta"}, "The device 'meta' cannot be used here"),
        ({"--set": "epoch=3"}, "There is no setting 'epoch'; did you mean"),
        ({"--set": "epochs"}, "'epochs' is not a setting; write key=value"),
        ({"--set": "epochs=[1"}, "The value of 'epochs=[1' cannot be read"),
        ({"--set": "epochs=soon"}, "The setting 'epochs' cannot be 'soon'"),
        ({"--set": "lr=-1"}, "The setting 'lr' of a cell cannot be -1"),
        ({"--set": "backbone.widht=8"}, "None of stgcn has the setting 'widht'; did you mean 'width'"),
        ({"--set": "backbone.width=wide"}, "The backbone 'stgcn' cannot be built with width='wide'"),
        ({"--set": "method.momentun=0.9"}, "did you mean 'momentum'"),
        ({"--set": "method.momentum=2"}, "The setting 'momentum' of the method 'skeletonclr' cannot be 2"),
        ({"--set": "batch=13"}, "A batch of 13 does not fit the 12 training clips of 'tiny'; set a smaller batch"),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_anything_is_written(skelbench, store, tmp_path, tree, change, sentence):
    before = tree(tmp_path)
    options = {"--method": "skeletonclr", "--dataset": "tiny", "--device": "cpu", "--out": tmp_path / "runs"}
    words = [word for pair in (options | change).items() for word in pair]
    assert sentence in refused(skelbench, "run", *TINY, *words)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--preset", "dmeo"], "There is no preset 'dmeo'; did you mean 'demo'"),
        (["--seeds", "one"], "'one' is not a comma list of seeds; give non-negative integers"),
        (["--seeds", "-1"], "'-1' is not a comma list of seeds"),
        (["--seeds", "²"], "'²' is not a comma list of seeds"),
        (["--seeds", "1.5"], "'1.5' is not a comma list of seeds"),
        (["--methods", "untrained,skeletn"], "There is no method 'skeletn'; did you mean"),
        (["--splits", "xsub,xset"], "no split 'xset'"),
        (["nothing.yaml"], "The grid file nothing.yaml cannot be read"),
        (["nothing.yaml", "--preset", "demo"], "A grid comes from FILE or from --preset, not from both"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(skelbench, store, tmp_path, tree, options, sentence):
    before = tree(tmp_path)
    grid = ["--datasets", "tiny", *TINY, "--out", tmp_path / "runs"]
    assert sentence in refused(skelbench, "grid", *grid, *options)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "settings, sentence",
    [
        (["method.window=[4, 7]"], "a clip of 16 frames has 4"),
        (["method.heads=3"], "into 3 heads; set 'heads' to a divisor"),
        (["method.parts=[9, 9]"], "SkeAttnCLR mixes (9, 9) body parts"),
        (["batch=2"], "batch"),
        (["method.queue_size=3"], "queue"),
        (["backbone.width=0"], "width"),
        (["lr=.inf"], "lr"),
    ],
)
def test_a_setting_that_a_method_refuses_is_reported_before_any_method_runs(
    skelbench, store, tmp_path, tree, settings, sentence
):
    before = tree(tmp_path)
    grid = ["--methods", "skeletonclr,skeattnclr", "--datasets", "tiny", *TINY, "--set", "method.window=[1, 2]"]
    words = [word for setting in settings for word in ("--set", setting)]
    assert sentence in refused(skelbench, "grid", *grid, *words, "--device", "cpu", "--out", tmp_path / "runs")
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("methods: [untrained", "cannot be read: while parsing"),
        ("- untrained", "is not a mapping of names to lists"),
        ("", "is not a mapping of names to lists"),
        ("method: [untrained]", "There is no setting 'method' of the grid file"),
        ("seeds: [zero]", "The setting 'seeds.0' of the grid file"),
        ("seeds: [-1]", "The setting 'seeds.0' of the grid file"),
        ("seeds: 3", "The setting 'seeds' of the grid file"),
        ("methods: []", "The setting 'methods' of the grid file"),
        ("methods: untrained", "The setting 'methods' of the grid file"),
        ("set: [epochs]", "The setting 'set' of the grid file"),
        ("set: {epoch: 3}", "There is no setting 'epoch'"),
        ("also: {epochs: 3}", "There is no setting 'also' of the grid file"),
        ("set: {backbone: 3}", "'backbone' is a group of settings"),
        ("set: {backbone: {width: 3}, backbone.dim: 4}", "'backbone' is given both as 'backbone.dim' and as a mapping"),
        ("set: {backbone: {wide: 3}, batch: 4}", "has the setting 'wide'; did you mean 'width'"),
        ("track: fair", "There is no track 'fair'"),
        ("\x00", "cannot be read"),
    ],
)
def test_a_bad_grid_file_is_refused(skelbench, store, tmp_path, tree, text, sentence):
    (tmp_path / "grid.yaml").write_text(text)
    before = tree(tmp_path)
    line = refused(skelbench, "grid", tmp_path / "grid.yaml", "--datasets", "tiny", "--out", tmp_path / "runs")
    assert sentence in line
    assert tree(tmp_path) == before


def test_a_grid_file_that_is_no_text_or_no_file_is_refused(skelbench, tmp_path):
    (tmp_path / "grid.yaml").write_bytes(b"\xff\xfe\x00\x81")
    assert "grid.yaml cannot be read" in refused(skelbench, "grid", tmp_path / "grid.yaml")
    assert "cannot be read" in refused(skelbench, "grid", tmp_path)


@pytest.mark.parametrize("word, meant", [("tabel", "'table'"), ("girds", "'grid'"), ("sit", "'site'")])
def test_an_unknown_command_gets_a_did_you_mean(skelbench, word, meant):
    line = refused(skelbench, word)
    assert f"There is no command '{word}'" in line
    assert meant in line


def test_a_command_like_none_gets_a_list_of_all(skelbench):
    known = refused(skelbench, "xyz").partition("; known: ")[2].removesuffix(".").split(", ")
    listed = skelbench("--help").stdout.partition("Commands:\n")[2].splitlines()
    assert known == [line.split()[0] for line in listed if line[2:3].strip()]


def needing(command, path=()):
    """The commands that need arguments or options: their words, with "nowhere" for each that is required."""
    if isinstance(command, click.Group):
        return [words for name, inner in command.commands.items() for words in needing(inner, (*path, name))]
    required = [parameter for parameter in command.params if parameter.required]
    given = [word for one in required for word in (*one.opts[:1] * isinstance(one, click.Option), "nowhere")]
    return [(*path, *given)] if given else []


@pytest.mark.parametrize("words", needing(main), ids=" ".join)
def test_every_command_refuses_what_is_not_there_and_leaves_nothing_behind(skelbench, tmp_path, tree, words):
    before = tree(tmp_path)
    refused(skelbench, *words)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "words",
    [
        ("table", "--out", "nowhere"),
        ("leaderboard", "--out", "nowhere"),
        ("check", "--out", "nowhere"),
        ("site", "page", "--out", "nowhere"),
        ("results", "export", "a.zip", "--out", "nowhere"),
        ("plot", "transfer", "nowhere"),
    ],
    ids=" ".join,
)
def test_every_command_that_reads_runs_names_a_folder_that_is_not_there(skelbench, tmp_path, tree, words):
    before = tree(tmp_path)
    assert re.search(r"There is no (folder of runs|finished evaluation in) nowhere", refused(skelbench, *words))
    assert tree(tmp_path) == before


# --- Data -------------------------------------------------------------------------------------------------------


def changed(**changes):
    return lambda data: data | {key: change(data[key].copy()) for key, change in changes.items()}


def put(index, value):
    def change(array):
        array[index] = value
        return array

    return change


def no_frames(lengths):
    """The first clip's frames are the second's."""
    return {"lengths": np.array([0, lengths[0] + lengths[1], *lengths[2:]])}


BAD_CLIPS = (
    *("not a number", "infinite", "an empty clip", "a clip of no frames"),
    *("a label below", "a label above", "two clips of one name"),
)
DATA = {
    "not a number": (changed(keypoints=put((20, 0, 3, 1), np.nan)), "NaN or infinite coordinate"),
    "infinite": (changed(keypoints=put((0, 0, 0, 0), np.inf)), "Clip 's1c0r0', frame 0: NaN or infinite"),
    "an empty clip": (changed(keypoints=put(slice(0, 20), 0.0)), "Clip 's1c0r0' is empty"),
    "a clip of no frames": (lambda data: data | no_frames(data["lengths"]), "Clip 's1c0r0' is empty"),
    "a label below": (changed(label=put(3, -1)), "label -1"),
    "a label above": (
        lambda data: data | {"class_names": np.array(["a", "b"])},
        "label 2, outside its 2 classes",
    ),
    "joints that do not fit": (changed(keypoints=lambda k: k[:, :, :20]), "20 joints"),
    "flat": (changed(keypoints=lambda k: k[:, 0]), "(frames, persons, joints, 3)"),
    "lengths that do not add up": (changed(lengths=put(0, 99)), "lengths add up to"),
    "two clips of one name": (changed(name=put(1, "s1c0r0")), "'s1c0r0'"),
    "an array missing": (lambda data: {k: v for k, v in data.items() if k != "subject"}, "subject"),
    "an unknown layout": (
        lambda data: data | {"layout": np.array("ntu52")},
        "There is no layout 'ntu52'; did you mean",
    ),
    "no layout": (lambda data: {k: v for k, v in data.items() if k != "layout"}, "'layout'"),
}


@pytest.mark.parametrize("case", DATA)
def test_data_that_cannot_be_is_refused_and_no_store_is_left(skelbench, arrays, tmp_path, case):
    spoil, sentence = DATA[case]
    np.savez(tmp_path / "bad.npz", **spoil(arrays()))
    words = ("prepare", "arrays", "--from", tmp_path / "bad.npz", "--name", "bad")
    assert sentence in refused(skelbench, *words, "--strict")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "bad.npz"]


@pytest.mark.parametrize("case", BAD_CLIPS)
def test_bad_clips_are_listed_and_the_rest_is_prepared(skelbench, arrays, tmp_path, case):
    spoil, sentence = DATA[case]
    np.savez(tmp_path / "bad.npz", **spoil(arrays()))
    done = skelbench("prepare", "arrays", "--from", tmp_path / "bad.npz", "--name", "bad", code=1)
    assert "  rejected: " in done.stdout and sentence in done.stdout


@pytest.mark.parametrize("damage", ["truncated", "noise", "empty", "a bare array", "pickled objects", "absent"])
def test_a_damaged_or_foreign_file_is_refused(skelbench, arrays, tmp_path, damage):
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays())
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-3000])
    elif damage == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(4000))
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "a bare array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif damage == "pickled objects":
        np.savez(path, **(arrays() | {"name": np.array([{"a": 1}] * 24, dtype=object)}))
    else:
        path.unlink()
    assert "bad.npz" in refused(skelbench, "prepare", "arrays", "--from", path, "--name", "bad")
    assert not list(tmp_path.glob("data/*"))


def test_a_failed_prepare_leaves_the_older_store_as_it_was(skelbench, store, arrays, tmp_path, tree):
    before = tree(store.path)
    np.savez(tmp_path / "bad.npz", **DATA["not a number"][0](arrays()))
    refused(skelbench, "prepare", "arrays", "--from", tmp_path / "bad.npz", "--name", "tiny")
    assert tree(store.path) == before


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["prepare", "array"], "There is no reader 'array'; did you mean 'arrays'"),
        (["prepare", "arrays"], "needs --from PATH"),
        (["inspect", "nothing"], "There is no data set 'nothing'"),
        (["table", "--out", "nowhere"], "There is no folder of runs nowhere"),
        (["--plugin", "nowhere.py", "ls"], "Plugin nowhere.py is not a file"),
    ],
)
def test_what_is_missing_is_named(skelbench, arguments, sentence):
    assert sentence in refused(skelbench, *arguments)


@pytest.mark.parametrize(
    "name, content", [("leave.json", "[1, 2]"), ("leave.json", "{"), ("leave.json", '["no such clip"]'), ("gone", None)]
)
def test_a_bad_list_of_clips_to_exclude_is_refused(skelbench, arrays, tmp_path, name, content):
    np.savez(tmp_path / "mine.npz", **arrays())
    if content is not None:
        (tmp_path / name).write_text(content)
    refused(
        skelbench, "prepare", "arrays", "--from", tmp_path / "mine.npz", "--exclude", tmp_path / name, "--name", "mine"
    )
    assert not list(tmp_path.glob("data/*"))


def test_a_file_in_the_way_of_out_is_refused(skelbench, store, tmp_path, tree):
    (tmp_path / "runs").write_text("a file")
    for out in (tmp_path / "runs", tmp_path / "runs" / "below"):
        before = tree(tmp_path)
        options = ("--method", "untrained", "--dataset", "tiny", "--device", "cpu", "--out", out)
        assert "is not a folder: choose another --out" in refused(skelbench, "run", *TINY, *options)
        assert tree(tmp_path) == before


def test_a_folder_that_is_no_store_is_refused(skelbench, tmp_path):
    (tmp_path / "data" / "hollow").mkdir(parents=True)
    assert "hollow is not a data store" in refused(skelbench, "inspect", "hollow")


def test_a_damaged_store_is_refused(skelbench, store):
    (store.path / "manifest.json").write_text("{")
    assert "manifest.json cannot be read" in refused(skelbench, "inspect", "tiny")


def test_a_damaged_record_is_named_with_the_way_out(skelbench, finished_copy):
    path = next(finished_copy.rglob("record.json"))
    path.write_text("{")
    line = refused(skelbench, "table", "--out", finished_copy)
    assert str(path) in line
    assert "delete its folder and run the cell again" in line


def test_what_the_disk_refuses_is_one_sentence(skelbench, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "runs"))

    monkeypatch.setattr("skelbench.results.store.RunStore.records", full)
    line = refused(skelbench, "ls", "cells", "--out", tmp_path)
    assert line == f"Error: {tmp_path / 'runs'}: No space left on device; fix that and run the command again."


def test_a_plugin_that_exits_is_one_sentence(skelbench, tmp_path):
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    assert "leaves.py failed on import: SystemExit: 0" in refused(
        skelbench, "--plugin", tmp_path / "leaves.py", "ls", "methods"
    )
