import errno
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from skelbench.datasets import Clip, Recording, SplitRule, list_stores, open_store
from skelbench.datasets import inspect as looking
from skelbench.datasets.layout import get_layout
from skelbench.datasets.recording import LEFT_OUT, TEST, TRAIN
from skelbench.datasets.store import Store, data_folder
from skelbench.datasets.writer import StoreWriter
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


def write(path, clips, *, exclude=frozenset(), **facts):
    with StoreWriter(path, recording(**facts), exclude=exclude) as writer:
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
    rejected = ({"file": "x.txt", "reason": "x.txt, line 3: torn"},)
    store = write(path, [clip("a")], rejected=rejected, notes={"bodies": "the first two"})
    assert store.manifest["rejected"] == [dict(rejected[0])]
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
        write(path, [clip("z"), clip("zz", fill=0)])
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


@pytest.mark.parametrize(
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
        (clip("good"), "Clip 'good' stands in the data twice"),
        (Clip("bad", np.zeros((4, 20, 3)), 0, 1), r"Clip 'bad' has the shape \(4, 20, 3\)"),
    ],
)
def test_a_clip_that_does_not_fit_is_named_and_nothing_is_left(path, bad, message):
    refused(path, [clip("good"), bad], message)


def test_a_store_without_clips_is_refused(path):
    refused(path, [], "No clip is left for the store mine")
    refused(path, [clip("a")], "No clip is left", exclude=frozenset({"a"}))


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


def test_a_split_with_an_empty_side_is_refused(path):
    one_sided = {"xsub": SplitRule("subject", (1,), text="subject 1 trains")}
    refused(path, [clip("a")], r"'xsub' of 'mine' has no test clip \(subject 1 trains\)", splits=one_sided)


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
    refused(path, SIDES, rf"'xsub' of 'mine' has no {word} clip \(as chosen\)", splits={"xsub": rule})


def test_a_split_by_a_fact_that_a_clip_lacks_is_not_written(path):
    refused(path, SIDES, "cannot place the clip 'a', which has no side", splits={"chosen": SplitRule("own")})


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


def leave(folder, hours, files=("keypoints.raw",)):
    """What a killed run leaves: a folder last written to some hours ago."""
    folder.mkdir()
    then = time.time() - 3600 * hours
    for name in files:
        (folder / name).touch()
    for place in (*folder.iterdir(), folder):
        os.utime(place, (then, then))
    return folder


def test_what_a_killed_run_left_is_removed_by_the_next_of_that_name(path):
    data = path.parent
    leave(data / ".mine-abcd_123", hours=2)
    kept = {
        leave(data / ".mine-efgh_456", hours=0.5),  # may still be running
        leave(data / ".mine-too-abcd_123", hours=2),  # of another data set
        leave(data / ".mine-notes", hours=2),
        leave(data / ".mine-ijkl_789", hours=2, files=("thesis.txt",)),
    }
    written = leave(data / ".mine-mnop_000", hours=2)
    (written / "keypoints.raw").write_text("written a moment ago")
    write(path, [clip("a")])
    assert set(data.iterdir()) == {path, written, *kept}


def test_an_older_store_put_aside_is_kept_while_there_is_no_other(path):
    aside = leave(path.parent / ".mine-abcd_123-old", hours=2, files=("manifest.json",))
    write(path, [clip("a")])
    assert aside.is_dir()
    write(path, [clip("b")])
    assert not aside.is_dir()


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("where", ["shutil.copyfileobj", "pathlib.Path.write_text", "pathlib.Path.rename"])
def test_a_disk_that_is_full_at_the_end_leaves_the_old_store(store, path, monkeypatch, where):
    with monkeypatch.context() as patch:
        patch.setattr(where, full)
        with pytest.raises(SkelbenchError, match=r"'mine' cannot be written to .*data \(No space left.*SKELBENCH_DATA"):
            write(path, [clip("z")])
    assert Store(path).fingerprint == store.fingerprint
    assert [p.name for p in path.parent.iterdir()] == ["mine"]


def test_a_store_that_cannot_be_renamed_into_place_gives_way_to_the_old_one(store, path, monkeypatch):
    rename = Path.rename
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda a, b: full() if a.name[-4:] != "-old" and b == path else rename(a, b))
        with pytest.raises(SkelbenchError, match="No space left"):
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
        (1, "is no clip"),
        (None, "is no clip"),
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
    late.keypoints[[0, 8]] = 0
    assert "frames 1, 2, 3, 5, 6, 7" in looking.picture(write(path, [late]), 0)


def test_a_clip_without_anybody_cannot_be_drawn(store, path):
    np.save(path / "keypoints.npy", np.zeros((10, 1, 20, 3), "f4"))
    with pytest.raises(SkelbenchError, match=r"Clip 'b' of .*mine has nobody in any frame.*--exclude"):
        looking.picture(Store(path), 1)
