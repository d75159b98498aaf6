import json
import os
import shutil

import numpy as np
import pytest

from skelbench.datasets import Clip, Recording, SplitRule, list_stores, open_store
from skelbench.datasets.layout import get_layout
from skelbench.datasets.store import LEFT_OUT, TEST, TRAIN, Store, StoreWriter, data_folder
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
    first, again = (write(tmp_path / name, [clip("a")]) for name in ("one", "two"))
    other = write(tmp_path / "three", [clip("a")], splits={"xsub": SplitRule("subject", (1,))})
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


def test_an_unknown_or_one_sided_split_is_refused(path):
    store = write(path, [clip("a")], splits={"xsub": SplitRule("subject", (1,), text="subject 1 trains")})
    with pytest.raises(SkelbenchError, match="no split 'xsubb'; did you mean 'xsub'"):
        store.sides("xsubb")
    with pytest.raises(SkelbenchError, match=r"'xsub' of 'mine' has no test clip \(subject 1 trains\)"):
        store.sides("xsub")
