import csv
import errno
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from skelbench.datasets import Clip, Recording, Rejected, SplitRule, list_stores, open_store
from skelbench.datasets import inspect as looking
from skelbench.datasets.layout import get_layout
from skelbench.datasets.recording import LEFT_OUT, TEST, TRAIN
from skelbench.datasets.store import Store, data_folder
from skelbench.datasets.store.writer import StoreWriter
from skelbench.errors import SkelbenchError


def clip(name, frames=4, *, persons=1, joints=20, fill=None, **facts):
    rng = np.random.default_rng(len(name) + frames)
    keypoints = rng.standard_normal((frames, persons, joints, 3)).astype(np.float32)
    if fill is not None:
        keypoints[...] = fill
    return Clip(name=name, keypoints=keypoints, **{"label": 0, "subject": 1, **facts})


def recording(clips=(), **facts):
    facts = {"splits": {}, "fps": 30.0, **facts}
    return Recording(
        layout=get_layout("kinect20"),
        class_names=("still", "moving"),
        clips=clips,
        reader="test",
        reader_version=3,
        **facts,
    )


def write(path, clips, *, exclude=frozenset(), strict=False, **facts):
    with StoreWriter(path, recording(**facts), exclude=exclude, strict=strict) as writer:
        for one in clips:
            writer.add(one)
        return writer.finish()


def refused(path, clips, message, **facts):
    """Writing fails with the message and leaves nothing, not even a temporary folder."""
    with pytest.raises(SkelbenchError, match=message):
        write(path, clips, **facts)
    assert list(path.parent.iterdir()) == []


SIDES = [clip("a"), clip("b", subject=2)]  # one for each side of a split by subject


def edit(path, change):
    """Change the values of a JSON file in place."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder / "mine"


@pytest.fixture
def store(path):
    return write(path, [clip("a", 3), clip("b", 5, label=1, subject=2), clip("c", 2, subject=3)])


def test_clips_come_back_as_they_were_written(path):
    clips = [clip("a", 3, persons=2, camera=2), clip("b", 5, persons=2, label=1, subject=7, repetition=4, setup=9)]
    store = write(path, clips)
    ends = np.cumsum([len(c.keypoints) for c in clips])
    for written, entry, end in zip(clips, store.clips, ends, strict=True):
        assert (entry["offset"] + entry["length"], entry["length"]) == (end, len(written.keypoints))
        np.testing.assert_array_equal(store.keypoints[end - entry["length"] : end], written.keypoints)
        for fact in ("name", "label", "subject", "camera", "setup", "repetition"):
            assert entry[fact] == getattr(written, fact)
    assert store.column("subject").tolist() == [1, 7]


def test_the_manifest_says_what_the_store_holds(store, path):
    manifest = json.loads((path / "manifest.json").read_text())
    assert {key: manifest[key] for key in ("reader", "reader_version", "clips", "frames", "persons", "fps")} == {
        "reader": "test", "reader_version": 3, "clips": 3, "frames": 10, "persons": 1, "fps": 30.0,
    }  # fmt: skip
    assert manifest["class_names"] == ["still", "moving"] == list(store.class_names)
    assert store.layout == get_layout("kinect20")
    assert sorted(p.name for p in path.iterdir()) == ["clips.json", "keypoints.npy", "manifest.json"]


def test_bodies_counts_the_persons_who_appear_at_any_time(path):
    alone, pair = clip("alone", 4, persons=2), clip("pair", 4, persons=2)
    alone.keypoints[:, 1] = 0
    pair.keypoints[:3, 1] = 0
    assert write(path, [alone, pair]).column("bodies").tolist() == [1, 2]


def test_rejected_inputs_and_notes_stand_in_the_manifest(path):
    known = (Rejected("x.txt", "x.txt, line 3: torn", 3),)
    met = Rejected("y.txt", "y.txt is missing")
    store = write(path, [clip("a"), met], rejected=known, notes={"bodies": "the first two"})
    assert store.manifest["rejected"] == [
        {"file": "x.txt", "reason": "x.txt, line 3: torn", "line": 3},
        {"file": "y.txt", "reason": "y.txt is missing", "line": None},
    ]
    assert Store(path).rejected == [*known, met]
    assert store.manifest["notes"] == {"bodies": "the first two"}


def test_excluded_clips_are_left_out_and_listed(path):
    store = write(path, [clip("a"), clip("b")], exclude=frozenset({"a"}))
    assert [c["name"] for c in store.clips] == ["b"]
    assert store.manifest["excluded"] == ["a"]


def test_the_same_clips_give_the_same_fingerprint_and_other_splits_another(tmp_path):
    clips = [clip("a", subject=1), clip("b", subject=2)]
    first, again = (write(tmp_path / name, clips) for name in ("one", "two"))
    other = write(tmp_path / "three", clips, splits={"xsub": SplitRule("subject", (1,))})
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_writing_again_replaces_the_store(store, path):
    write(path, [clip("z")])
    assert [c["name"] for c in open_store(path).clips] == ["z"]
    assert [p.name for p in path.parent.iterdir()] == ["mine"]


def test_a_failed_rewrite_leaves_the_old_store_as_it_was(store, path):
    with pytest.raises(SkelbenchError, match="empty"):
        write(path, [clip("z"), clip("zz", fill=0)], strict=True)
    Store(path).verify()
    assert open_store(path).fingerprint == store.fingerprint
    assert [p.name for p in path.parent.iterdir()] == ["mine"]


def test_an_interrupted_write_leaves_nothing(path):
    with pytest.raises(KeyboardInterrupt), StoreWriter(path, recording()) as writer:
        writer.add(clip("a"))
        raise KeyboardInterrupt
    assert list(path.parent.iterdir()) == []


def with_value(value):
    broken = clip("bad", 4)
    broken.keypoints[2, 0, 5, 1] = value
    return broken


BAD = pytest.mark.parametrize(
    ("bad", "message"),
    [
        (with_value(np.nan), "Clip 'bad', frame 2: NaN"),
        (with_value(np.inf), "Clip 'bad', frame 2: NaN or infinite"),
        (clip("bad", 0), "Clip 'bad' is empty"),
        (clip("bad", fill=0), "Clip 'bad' is empty"),
        (clip("bad", joints=25), r"Clip 'bad' has the shape \(4, 1, 25, 3\), but layout 'kinect20' needs"),
        (clip("bad", persons=2), "Clip 'bad' has 2 persons where the clips before it have 1"),
        (clip("bad", label=2), r"Clip 'bad' has label 2, outside its 2 classes \(0 to 1\)"),
        (clip("bad", label=-1), "Clip 'bad' has label -1"),
        (clip("good"), "Clip 'good' is in the data twice"),
        (Clip("bad", np.zeros((4, 20, 3)), 0, 1), r"Clip 'bad' has the shape \(4, 20, 3\)"),
    ],
)


@BAD
def test_a_clip_that_does_not_fit_refuses_everything_if_strict_and_nothing_is_left(path, bad, message):
    refused(path, [clip("good"), bad], message, strict=True)


@BAD
def test_a_clip_that_does_not_fit_is_rejected_by_name_and_the_others_are_written(path, bad, message):
    others = [clip("good"), clip("later", 6)]
    store = write(path, [others[0], bad, others[1]])
    assert [c["name"] for c in store.clips] == ["good", "later"]
    np.testing.assert_array_equal(store.keypoints, np.concatenate([c.keypoints for c in others]))
    (entry,) = store.rejected
    assert (entry.file, entry.line) == (bad.name, None)
    assert re.match(message, entry.reason)
    assert store.manifest["rejected"] == [{"file": bad.name, "reason": entry.reason, "line": None}]
    with (path / "rejected.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["file", "line", "reason"], [bad.name, "", entry.reason]]


def test_a_store_without_clips_is_refused(path):
    refused(path, [], "No clip is left for the store mine")
    refused(path, [clip("a")], "No clip is left", exclude=frozenset({"a"}))
    refused(path, [clip("a", fill=0)], "No clip is left .*The first of 1 reasons: Clip 'a' is empty")


def test_excluding_unknown_names_is_refused(path):
    refused(path, [clip("a")], "1 names to exclude are not in the data .*'ghost'", exclude=frozenset({"ghost"}))


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SkelbenchError, match=r"data folder .*file.* cannot be written .*SKELBENCH_DATA"):
        StoreWriter(tmp_path / "file" / "store", recording())


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_read_only_data_folder_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(SkelbenchError, match="cannot be written"):
        StoreWriter(tmp_path / "store", recording())
    tmp_path.chmod(0o700)


def test_verify_finds_one_changed_byte(store, path):
    raw = bytearray((path / "keypoints.npy").read_bytes())
    raw[-1] ^= 1
    (path / "keypoints.npy").write_bytes(raw)
    with pytest.raises(SkelbenchError, match=r"keypoints\.npy does not match its checksum"):
        Store(path).verify()


def test_verify_finds_a_changed_label(store, path):
    text = (path / "clips.json").read_text()
    (path / "clips.json").write_text(text.replace('"label": 1', '"label": 0'))
    with pytest.raises(SkelbenchError, match=r"clips\.json does not match its checksum"):
        Store(path).verify()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: (p / "keypoints.npy").write_bytes((p / "keypoints.npy").read_bytes()[:-100]), "cannot be read"),
        (lambda p: (p / "keypoints.npy").write_bytes(b""), "cannot be read"),
        (lambda p: (p / "keypoints.npy").unlink(), "cannot be read"),
        (lambda p: np.save(p / "keypoints.npy", np.array([{}]), allow_pickle=True), "cannot be read"),
        (lambda p: np.save(p / "keypoints.npy", np.zeros((9, 1, 20, 3), "f4")), r"holds .*\(9, 1, 20, 3\) .*\(10,"),
        (lambda p: np.save(p / "keypoints.npy", np.zeros((10, 1, 20, 3), "f8")), "holds float64 .*says float32"),
        (lambda p: (p / "clips.json").unlink(), r"clips\.json is missing"),
        (lambda p: (p / "clips.json").write_text("[]"), "0 clips where its manifest says"),
        (lambda p: (p / "clips.json").write_text("{}"), "is not a store's clips.json"),
        (lambda p: (p / "manifest.json").write_text("{"), r"manifest\.json cannot be read"),
        (lambda p: (p / "manifest.json").write_text("[1]"), r"is not a store's manifest\.json"),
        (lambda p: (p / "manifest.json").write_text('{"name": "app"}'), "has format None, this version reads 1"),
        (lambda p: (p / "manifest.json").write_text('{"format": 1}'), "is not a store's manifest .*layout"),
    ],
)
def test_a_damaged_store_is_refused_when_it_is_opened(store, path, damage, message):
    damage(path)
    with pytest.raises(SkelbenchError, match=message):
        open_store(path)


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(SkelbenchError, match=r"is not a data store \(manifest.json is missing\)"):
        open_store(tmp_path)


def test_stores_are_found_by_name_and_a_miss_says_what_was_meant(store):
    assert data_folder() == store.path.parent
    assert list_stores() == ["mine"]
    assert open_store("mine").fingerprint == store.fingerprint
    with pytest.raises(SkelbenchError, match=r"no data set 'mime'.*did you mean 'mine'"):
        open_store("mime")


def test_a_missing_data_folder_holds_no_stores(path):
    shutil.rmtree(path.parent)
    assert list_stores() == []
    with pytest.raises(SkelbenchError, match=r"no data set 'ntu60'.*known: none.*skelbench prepare"):
        open_store("ntu60")


def test_a_split_is_a_rule_over_the_facts_of_a_clip(path):
    rules = {
        "xsub": SplitRule("subject", (1, 3)),
        "xview": SplitRule("camera", (1,), test=(3,)),
        "chosen": SplitRule("own"),
    }
    sides = (TRAIN, TEST, LEFT_OUT)
    clips = [
        clip(f"s{subject}c{camera}", subject=subject, camera=camera, splits={"chosen": sides[(subject + camera) % 3]})
        for subject in (1, 2, 3)
        for camera in (1, 2, 3)
    ]
    store = write(path, clips, splits=rules)
    subject, camera = store.column("subject"), store.column("camera")
    assert store.sides("xsub").tolist() == np.isin(subject, (1, 3)).astype(int).tolist()
    assert store.sides("xview").tolist() == [{1: TRAIN, 2: LEFT_OUT, 3: TEST}[c] for c in camera.tolist()]
    assert store.sides("chosen").tolist() == [sides[(s + c) % 3] for s, c in zip(subject, camera, strict=True)]


def test_an_unknown_split_says_what_was_probably_meant(path):
    store = write(path, [clip("a"), clip("b", subject=2)], splits={"xsub": SplitRule("subject", (1,))})
    with pytest.raises(SkelbenchError, match=r"no split 'xsubb'; did you mean 'xsub'"):
        store.sides("xsubb")


def test_a_split_with_an_empty_side_refuses_a_complete_recording(path):
    one_sided = {"xsub": SplitRule("subject", (1,), text="subject 1 trains")}
    message = r"'xsub' of 'mine' has no test clip \(subject 1 trains\)"
    refused(path, [clip("a")], message, splits=one_sided, complete=True)


def test_a_split_with_an_empty_side_waits_for_the_rest_of_the_data(path):
    rules = {"xsub": SplitRule("subject", (1,), text="subject 1 trains"), "xview": SplitRule("camera", (1,))}
    part = [clip("a", camera=1), clip("b", camera=2)]
    store = write(path, part, splits=rules)
    assert store.sides("xview").tolist() == [TRAIN, TEST]
    with pytest.raises(SkelbenchError, match=r"'xsub' of 'mine' has no test clip \(subject 1 trains\)"):
        store.sides("xsub")
    whole = write(path, [*part, clip("c", subject=2, camera=2)], splits=rules)
    assert whole.sides("xsub").tolist() == [TRAIN, TRAIN, TEST]


def test_a_store_whose_split_lost_a_side_opens_but_does_not_give_the_split(path):
    write(path, SIDES, splits={"xsub": SplitRule("subject", (1,), text="subject 1 trains")})
    edit(path / "clips.json", lambda clips: clips[1].update(subject=1))
    store = Store(path)
    with pytest.raises(SkelbenchError, match=r"'xsub' of 'mine' has no test clip \(subject 1 trains\)"):
        store.sides("xsub")
    assert store.sides("xsub", empty=True).tolist() == [TRAIN, TRAIN]


@pytest.mark.parametrize(("subjects", "word"), [((1, 2), "test"), ((), "training")])
def test_a_split_with_an_empty_side_is_not_written(path, subjects, word):
    rule = SplitRule("subject", subjects, text="as chosen")
    message = rf"'xsub' of 'mine' has no {word} clip \(as chosen\)"
    refused(path, SIDES, message, splits={"xsub": rule}, complete=True)


def test_a_split_by_a_fact_that_a_clip_lacks_is_not_written(path):
    refused(path, SIDES, "cannot place the clip 'a', which has no recorded side", splits={"chosen": SplitRule("own")})


def test_a_store_with_a_one_sided_split_can_be_described(path):
    write(path, SIDES, splits={"xsub": SplitRule("subject", (1,))})
    edit(path / "clips.json", lambda clips: clips[1].update(subject=1))
    facts = looking.describe(Store(path))
    assert (facts["splits"]["xsub"]["train"], facts["splits"]["xsub"]["test"]) == (2, 0)


@pytest.mark.parametrize("content", [{}, {"thesis.txt": "years"}, {"manifest.json": '{"name": "app"}'}])
def test_a_folder_that_is_no_store_is_never_replaced(path, content):
    path.mkdir()
    for name, text in content.items():
        (path / name).write_text(text)
    with pytest.raises(SkelbenchError, match=r"mine exists and is not a data store.*move it away"):
        StoreWriter(path, recording())
    assert {p.name: p.read_text() for p in path.iterdir()} == content
    assert list(path.parent.iterdir()) == [path]


def test_a_file_in_the_way_is_never_replaced(path):
    path.write_text("mine")
    with pytest.raises(SkelbenchError, match="exists and is not a data store"):
        StoreWriter(path, recording())
    assert path.read_text() == "mine"


def test_a_damaged_store_can_be_prepared_again(store, path):
    (path / "manifest.json").write_text("{")
    write(path, [clip("z")])
    assert [c["name"] for c in Store(path).clips] == ["z"]


def leave(folder, **contents):
    """What a killed run leaves: a folder with some files."""
    folder.mkdir()
    for name, text in contents.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def test_what_a_killed_run_left_is_not_part_of_the_next_store_of_that_name(path):
    data = path.parent
    leave(data / ".mine.partial", keypoints_npy="torn", journal_jsonl="{", rejected_csv="file\nx\n", clips_json="[")
    leave(data / ".mine.new", clips_json="[")
    kept = {
        leave(data / ".mine-too.partial", keypoints_npy="torn"),  # of another data set
        leave(data / ".mine-notes", thesis_txt="years"),
    }
    clips = [clip("a"), clip("b", 3)]
    write(path, clips)
    assert set(data.iterdir()) == {path, *kept}
    assert sorted(p.name for p in path.iterdir()) == ["clips.json", "keypoints.npy", "manifest.json"]
    np.testing.assert_array_equal(Store(path).keypoints, np.concatenate([c.keypoints for c in clips]))


def test_an_older_store_that_a_crash_left_aside_is_put_back(store, path):
    aside = path.rename(path.with_name(".mine.old"))
    with pytest.raises(SkelbenchError, match="No clip is left"):
        write(path, [])
    assert not aside.exists()
    Store(path).verify()
    assert Store(path).fingerprint == store.fingerprint


def test_an_older_store_that_a_crash_left_is_removed_once_there_is_another(store, path):
    shutil.copytree(path, path.with_name(".mine.old"))
    write(path, [clip("z")])
    assert [p.name for p in path.parent.iterdir()] == ["mine"]
    assert [c["name"] for c in Store(path).clips] == ["z"]


def test_an_older_store_left_aside_counts_as_the_store_of_that_name(store, path):
    aside = path.rename(path.with_name(".mine.old"))
    with pytest.raises(SkelbenchError, match=r"already, made by 'test' and not by 'test' joints=few.*--force"):
        StoreWriter(path, recording(), options={"joints": "few"}, replaceable=False)
    assert list(path.parent.iterdir()) == [aside]
    with StoreWriter(path, recording(), options={"joints": "few"}, replaceable=True) as writer:
        writer.add(clip("z"))
        writer.finish()
    assert list(path.parent.iterdir()) == [path]


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def fails_for(name, whole):
    """A method of `Path` that finds the disk full for one file."""
    return lambda path, *more: full() if path.name == name else whole(path, *more)


@pytest.mark.parametrize(
    ("where", "instead"),
    [
        ("numpy.lib.format.write_array_header_1_0", full),
        ("pathlib.Path.write_text", fails_for("clips.json", Path.write_text)),
        ("pathlib.Path.write_text", fails_for("manifest.json", Path.write_text)),
        ("pathlib.Path.rename", full),
        ("pathlib.Path.rename", fails_for("mine", Path.rename)),
        ("pathlib.Path.rename", fails_for(".mine.new", Path.rename)),
    ],
)
def test_a_disk_that_is_full_at_the_end_leaves_the_old_store(store, path, monkeypatch, where, instead):
    with monkeypatch.context() as patch:
        patch.setattr(where, instead)
        with pytest.raises(SkelbenchError, match=r"'mine' cannot be written to .*data \(No space left.*SKELBENCH_DATA"):
            write(path, [clip("z")])
    Store(path).verify()
    assert Store(path).fingerprint == store.fingerprint
    assert [p.name for p in path.parent.iterdir()] == ["mine"]


@pytest.mark.parametrize("where", ["pathlib.Path.write_text", "pathlib.Path.replace", "pathlib.Path.open"])
def test_a_disk_that_is_full_at_the_start_leaves_the_old_store(store, path, monkeypatch, where):
    with monkeypatch.context() as patch:
        patch.setattr(where, full)
        with pytest.raises(SkelbenchError, match=r"The data folder .*data cannot be written \(No space left"):
            write(path, [clip("z")])
    assert Store(path).fingerprint == store.fingerprint
    assert [p.name for p in path.parent.iterdir()] == ["mine"]


def onto_a_full_disk(writer):
    writer._raw.close()
    writer._raw = os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_disk_that_fills_up_while_clips_are_added_leaves_nothing(path):
    large = clip("large", 4000)
    with pytest.raises(SkelbenchError, match="No space left"), StoreWriter(path, recording()) as writer:
        onto_a_full_disk(writer)
        writer.add(large)
    with pytest.raises(SkelbenchError, match="No space left"), StoreWriter(path, recording()) as writer:
        onto_a_full_disk(writer)
        writer.add(clip("small", 1))  # stays in the buffer until the end
        writer.finish()
    assert list(path.parent.iterdir()) == []


MANIFEST_KEYS = ["layout", "class_names", "splits", "sha256", "reader", "reader_version", "clips", "frames", "persons"]


@pytest.mark.parametrize("key", [*MANIFEST_KEYS, "excluded", "rejected"])
@pytest.mark.parametrize("damage", [lambda m, key: m.pop(key), lambda m, key: m.update({key: None})])
def test_a_manifest_without_a_required_key_is_named(store, path, key, damage):
    edit(path / "manifest.json", lambda manifest: damage(manifest, key))
    with pytest.raises(SkelbenchError, match=rf"mine/manifest\.json is not a store's manifest \('{key}'.*prepare"):
        Store(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("rejected", [1]), ("rejected", [{"file": "x"}]), ("splits", {"xsub": {}}), ("splits", {"xsub": 1})],
)
def test_a_manifest_of_wrong_content_is_refused(store, path, key, value):
    edit(path / "manifest.json", lambda manifest: manifest.update({key: value}))
    with pytest.raises(SkelbenchError, match=r"manifest\.json is not a store's manifest"):
        Store(path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (1, "is not a clip"),
        (None, "is not a clip"),
        ({}, "has no valid 'name'"),
        ({"name": "b"}, "has no valid 'label'"),
        ({"name": "b", "label": "1"}, "has no valid 'label'"),
        ({"offset": 8}, "lies outside the 10 frames"),
        ({"length": 0}, "lies outside the 10 frames"),
        ({"offset": -1}, "lies outside the 10 frames"),
        ({"label": 2}, "has label 2, outside the 2 classes"),
    ],
)
def test_a_damaged_clip_is_named_by_its_entry(store, path, entry, message):
    if isinstance(entry, dict) and entry and "name" not in entry:
        entry = store.clips[1] | entry
    edit(path / "clips.json", lambda clips: clips.__setitem__(1, entry))
    with pytest.raises(SkelbenchError, match=rf"mine/clips\.json: entry 1 {message}.*prepare the data set again"):
        Store(path)


def test_a_store_whose_file_vanishes_fails_its_check(store, path):
    (path / "keypoints.npy").unlink()
    with pytest.raises(SkelbenchError, match=r"keypoints\.npy cannot be read"):
        store.verify()


def test_a_name_longer_than_the_file_system_allows_is_no_data_set(path):
    with pytest.raises(SkelbenchError, match="no data set 'aaa"):
        open_store("a" * 5000)
    with pytest.raises(SkelbenchError, match="cannot be"):
        open_store(path / ("a" * 5000))
    with pytest.raises(SkelbenchError, match="cannot be written"):
        StoreWriter(path / ("a" * 5000), recording())


def test_a_picture_shows_the_frames_with_somebody(path):
    seldom = clip("seldom", 200)
    seldom.keypoints[1:] = 0
    lines = looking.picture(write(path, [seldom]), 0).splitlines()
    assert lines[0] == "seldom: still, frames 0, 0, 0, 0, 0, 0"
    late = clip("late", 9)
    late.keypoints[[0, 8]] = 0  # which are cut
    assert "frames 0, 1, 2, 4, 5, 6" in looking.picture(write(path, [late]), 0)


def test_a_clip_without_anybody_cannot_be_drawn(store, path):
    np.save(path / "keypoints.npy", np.zeros((10, 1, 20, 3), "f4"))
    with pytest.raises(SkelbenchError, match=r"Clip 'b' of .*mine has nobody in any frame.*--exclude"):
        looking.picture(Store(path), 1)
