import json
import re

import numpy as np
import pytest

from skelbench.datasets import READERS, list_stores, prepare
from skelbench.datasets.layout import PARTS, get_layout
from skelbench.datasets.store import data_folder
from skelbench.errors import SkelbenchError

LENGTHS = (3, 5, 2, 4)


@pytest.fixture
def arrays():
    """Four clips of two classes, two subjects and two cameras on Kinect v1's skeleton."""
    return {
        "keypoints": np.random.default_rng(0).standard_normal((sum(LENGTHS), 2, 20, 3)).astype(np.float32),
        "lengths": np.array(LENGTHS),
        "label": np.array([0, 1, 0, 1]),
        "name": np.array(["a", "b", "c", "d"]),
        "subject": np.array([1, 1, 2, 2]),
        "camera": np.array([1, 2, 3, 3]),
        "layout": np.array("kinect20"),
    }


@pytest.fixture
def source(tmp_path):
    return tmp_path / "mine.npz"


def save(source, arrays):
    np.savez(source, **arrays)


def prepared(source, arrays, **more):
    np.savez_compressed(source, **arrays)
    return prepare("arrays", source, "mine", **more)


def refused(source, message, **more):
    """Preparing fails with the message and leaves nothing, not even a temporary folder."""
    with pytest.raises(SkelbenchError, match=message):
        prepare("arrays", source, "mine", **more)
    assert not data_folder().exists() or list(data_folder().iterdir()) == []


def without(arrays, *names):
    return {name: array for name, array in arrays.items() if name not in names}


def test_an_interchange_file_becomes_a_store_with_the_same_content(source, arrays):
    arrays |= {"fps": np.array(15.0), "class_names": np.array(["sit", "stand"]), "repetition": np.arange(4)}
    store = prepared(source, arrays)
    np.testing.assert_array_equal(store.keypoints, arrays["keypoints"])
    for fact in ("name", "label", "subject", "camera", "repetition"):
        assert store.column(fact).tolist() == arrays[fact].tolist()
    assert store.column("length").tolist() == list(LENGTHS)
    assert store.class_names == ("sit", "stand")
    assert store.manifest["fps"] == 15.0
    assert store.layout is not None and store.layout == get_layout("kinect20")


def test_a_file_of_half_or_double_precision_becomes_single(source, arrays):
    for dtype in (np.float16, np.float64):
        store = prepared(source, arrays | {"keypoints": arrays["keypoints"].astype(dtype)})
        np.testing.assert_array_equal(store.keypoints, arrays["keypoints"].astype(dtype).astype(np.float32))


def test_classes_without_names_are_counted(source, arrays):
    assert prepared(source, arrays).class_names == ("class 0", "class 1")


def test_the_highest_label_that_could_be_is_accepted(source, arrays):
    store = prepared(source, arrays | {"label": np.array([0, 0, 1, 3])})
    assert store.class_names == ("class 0", "class 1", "class 2", "class 3")


def test_byte_strings_are_the_text_they_hold(source, arrays):
    known = get_layout("kinect20")
    names = ["sitzen", "größer"]
    as_bytes = {
        "name": np.array([b"a", b"b", b"c", b"d"]),
        "class_names": np.array([name.encode() for name in names]),
        "joint_names": np.array([joint.encode() for joint in known.joints]),
        "parents": np.array(known.parents),
    }
    store = prepared(source, without(arrays, "layout") | as_bytes)
    assert [c["name"] for c in store.clips] == ["a", "b", "c", "d"]
    assert list(store.class_names) == names
    assert store.layout == known
    assert prepared(source, arrays | {"layout": np.array(b"kinect20")}).layout == known


def test_how_the_bodies_were_chosen_is_in_the_manifest(source, arrays):
    assert prepared(source, arrays).manifest["notes"] == {"bodies": "as given"}


def test_a_split_that_the_exclusions_empty_is_refused(source, arrays, tmp_path):
    (tmp_path / "leak.json").write_text('["c", "d"]')
    np.savez(source, **arrays)
    refused(source, "'xsub' of 'mine' has no test clip", exclude=tmp_path / "leak.json")


@pytest.mark.parametrize("reader", ["arrays", "uiprmd"])
def test_a_path_longer_than_the_file_system_allows_is_refused(tmp_path, reader):
    with pytest.raises(SkelbenchError, match=r"^.{0,150}aaa cannot be read \(File name too long\)"):
        prepare(reader, tmp_path / ("a" * 5000), "mine")


def test_a_folder_of_the_users_is_not_replaced(source, arrays):
    np.savez(source, **arrays)
    (data_folder() / "mine").mkdir(parents=True)
    (data_folder() / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(SkelbenchError, match="is not a data store"):
        prepare("arrays", source, "mine")
    assert (data_folder() / "mine" / "thesis.txt").read_text() == "years"


def test_without_splits_of_its_own_odd_subjects_train_and_the_highest_camera_tests(source, arrays):
    store = prepared(source, arrays)
    assert store.sides("xsub").tolist() == [1, 1, 0, 0]
    assert store.sides("xview").tolist() == [1, 1, 0, 0]
    assert "odd" in store.manifest["splits"]["xsub"]["text"]
    assert "camera 3" in store.manifest["splits"]["xview"]["text"]


def test_a_rule_that_would_leave_a_side_empty_is_not_made(source, arrays):
    store = prepared(source, without(arrays, "camera") | {"subject": np.array([2, 4, 2, 4])})
    assert store.splits == {}


def test_clips_of_nobody_neither_train_nor_test(source, arrays):
    store = prepared(source, arrays | {"subject": np.array([1, -1, 2, 2])})
    assert store.sides("xsub").tolist() == [1, -1, 0, 0]
    assert "left out" in store.splits["xsub"].text


def test_splits_of_the_file_replace_the_rules_and_may_leave_clips_out(source, arrays):
    store = prepared(source, arrays | {"split_mine": np.array([1, 0, -1, 0])})
    assert list(store.splits) == ["mine"]
    assert store.sides("mine").tolist() == [1, 0, -1, 0]


def test_joint_names_and_parents_find_the_registered_layout(source, arrays):
    known = get_layout("kinect20")
    named = {"joint_names": np.array(known.joints), "parents": np.array(known.parents)}
    assert prepared(source, without(arrays, "layout") | named).layout == known


@pytest.mark.parametrize("as_json", [False, True])
def test_a_custom_skeleton_is_stored_completely(source, arrays, as_json):
    parts = {part: [4 * i + j for j in range(4)] for i, part in enumerate(PARTS)}
    own = {
        "joint_names": np.array([f"joint {j}" for j in range(20)]),
        "parents": np.array([-1, *range(19)]),
        "mirror": np.array([[4, 8]]),
        "centre": np.array(2),
        "shoulders": np.array([4, 8]),
    }
    own |= {"parts": np.array(json.dumps(parts))} if as_json else {f"part_{p}": np.array(parts[p]) for p in PARTS}
    layout = prepared(source, without(arrays, "layout") | own).layout
    assert (layout.name, layout.centre, layout.shoulders, layout.mirror) == ("custom", 2, (4, 8), ((4, 8),))
    assert {part: list(joints) for part, joints in layout.parts.items()} == parts


def test_a_custom_skeleton_without_parts_is_prepared_and_says_so_where_they_are_needed(source, arrays):
    own = {"joint_names": np.array([f"joint {j}" for j in range(20)]), "parents": np.array([-1, *range(19)])}
    store = prepared(source, without(arrays, "layout") | own)
    with pytest.raises(SkelbenchError, match="skelemixclr needs 'parts'"):
        store.layout.need("parts", "skelemixclr")


def test_names_of_a_list_are_left_out(source, arrays, tmp_path):
    (tmp_path / "leak.json").write_text('["b", "d"]')
    store = prepared(source, arrays, exclude=tmp_path / "leak.json")
    assert [c["name"] for c in store.clips] == ["a", "c"]
    np.testing.assert_array_equal(store.keypoints[3:], arrays["keypoints"][8:10])


def test_progress_counts_the_clips(source, arrays):
    seen = []
    prepared(source, arrays, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, None), (2, None), (3, None), (4, None)]


@pytest.mark.parametrize("missing", ["keypoints", "lengths", "label", "name", "subject"])
def test_a_missing_array_is_named(source, arrays, missing):
    np.savez(source, **without(arrays, missing))
    refused(source, rf"mine\.npz lacks the arrays \['{missing}'\]")


def changed(name, index, value):
    def change(arrays):
        arrays[name] = arrays[name].copy()
        arrays[name][index] = value

    return change


def replaced(name, value):
    return lambda arrays: arrays.update({name: np.array(value)})


@pytest.mark.parametrize(
    ("change", "bad", "reason"),
    [
        (changed("keypoints", (4, 0, 7, 2), np.nan), ["b"], "Clip 'b', frame 1: NaN"),
        (changed("keypoints", slice(3, 8), 0), ["b"], "Clip 'b' is empty"),
        (changed("keypoints", [3, 4, 5, 6, 7, 8, 9], 0), ["b", "c"], "Clip 'b' is empty"),
        (changed("lengths", slice(0, 2), (8, 0)), ["b"], "Clip 'b' is empty"),
        (changed("name", 3, "c"), ["c"], "Clip 'c' is in the data twice"),
        (changed("label", 0, -1), ["a"], "Clip 'a' has label -1, outside its 2 classes (0 to 1); labels count from 0."),
        (replaced("class_names", ["only one"]), ["b", "d"], "Clip 'b' has label 1, outside its 1 classes"),
    ],
)
def test_bad_clips_are_listed_and_the_rest_is_prepared_unless_asked_otherwise(source, arrays, change, bad, reason):
    change(arrays)
    store = prepared(source, arrays)
    assert [entry.file for entry in store.rejected] == bad
    assert store.rejected[0].reason.startswith(reason)
    assert len(store.clips) == 4 - len(bad)
    prepare("arrays", source, "mine", force=True)
    with pytest.raises(SkelbenchError, match=re.escape(reason)):
        prepare("arrays", source, "other", strict=True)
    assert list_stores() == ["mine"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("lengths", slice(0, 2), (9, -1)), "clip 'b' has length -1"),
        (changed("lengths", 0, 4), "lengths add up to 15 frames but there are 14"),
        (changed("label", 2, 4), "Clip 'c' has label 4 in .*mine.npz, but 4 clips .*'class_names'"),
        (changed("label", 2, 2**62), f"Clip 'c' has label {2**62} in .*mine.npz, but 4 clips"),
        (replaced("subject", np.full(4, 2**64 - 1, np.uint64)), "'subject' holds 18446744073709551615; integers of 64"),
        (replaced("lengths", [2**62, 2**62, 2**62, 2**62 + 14]), "lengths add up to 18446744073709551630 frames"),
        (replaced("name", [1, 2, 3, 4]), "'name' is int64; text is needed"),
        (replaced("name", [b"a", b"b", b"c", b"\xff"]), "'name' holds bytes that are not UTF-8"),
        (replaced("class_names", "word"), r"'class_names' is <U4 \(\)"),
        (replaced("lengths", [3.0, 5.0, 2.0, 4.0]), "'lengths' is float64"),
        (replaced("lengths", 14), r"'lengths' is int64 \(\)"),
        (replaced("lengths", [3, 5, 6]), "'label' has the shape .*4.* but there are 3 clips"),
        (replaced("label", [0.0, 1.0, 0.0, 1.0]), "'label' is float64; integers are needed"),
        (replaced("subject", ["x", "y", "z", "w"]), "'subject' is <U1; integers are needed"),
        (replaced("camera", [1, 2, 3]), "'camera' has the shape"),
        (replaced("split_a", [1, 0, 2, 0]), "'split_a' may hold 1"),
        (replaced("split_a", [1, 0]), "'split_a' has the shape"),
        (replaced("keypoints", np.zeros((14, 20, 3))), r"keypoints are float64 \(14, 20, 3\)"),
        (replaced("keypoints", np.zeros((14, 2, 20, 2))), r"keypoints are float64 \(14, 2, 20, 2\)"),
        (replaced("keypoints", np.zeros((14, 2, 20, 3), int)), "keypoints are int64"),
        (replaced("keypoints", np.ones((14, 2, 25, 3))), "25 joints but its layout 'kinect20' has 20"),
        (replaced("layout", "kinect21"), "no layout 'kinect21'; did you mean 'kinect20'"),
        (replaced("layout", ["kinect20", "ntu25"]), r"'layout' is <U8 \(2,\)"),
        (replaced("fps", "fast"), "'fps' is <U4"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_and_nothing_is_left(source, arrays, change, message):
    change(arrays)
    np.savez(source, **arrays)
    refused(source, message)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"joint_names": ["a"] * 20}, "does not describe its skeleton"),
        ({"joint_names": ["a"] * 20, "parents": [-1]}, "20 joint names but 1 parents"),
        ({"joint_names": ["a"] * 20, "parents": [-1.0] * 20}, "'parents' is float64"),
        ({"joint_names": ["a"] * 20, "parents": [-1, *range(19)], "shoulders": [4]}, r"'shoulders' is int64 \(1,\)"),
        ({"joint_names": ["a"] * 20, "parents": [-1, *range(19)], "mirror": [4, 8]}, "'mirror' is int64"),
        ({"joint_names": ["a"] * 20, "parents": [-1, *range(19)], "parts": "not json"}, "'parts' is not a JSON"),
        ({"joint_names": ["a"] * 20, "parents": [-1, *range(19)], "parts": "[1, 2]"}, "'parts' is not a JSON"),
        ({"joint_names": ["a"] * 20, "parents": [-1, *range(19)], "part_trunk": [0]}, r"parts \['trunk'\]; the five"),
    ],
)
def test_a_skeleton_that_is_not_described_well_is_refused(source, arrays, facts, message):
    described = {name: np.array(value) for name, value in facts.items()}
    save(source, without(arrays, "layout") | described)
    refused(source, message)


def test_a_file_without_clips_is_refused(source, arrays):
    empty = {name: array[:0] for name, array in without(arrays, "layout").items()}
    save(source, empty | {"layout": arrays["layout"]})
    refused(source, "holds no clip")


def test_two_files_at_once_are_refused(source, arrays):
    save(source, arrays)
    with pytest.raises(SkelbenchError, match=r"reads one \.npz .*2 sources were given"):
        prepare("arrays", [source, source], "mine")


def test_a_missing_file_and_a_folder_are_refused(source, tmp_path):
    refused(source, "mine.npz is not a file")
    refused(tmp_path, "is not a file")


def test_a_single_array_is_refused(tmp_path):
    np.save(tmp_path / "joints.npy", np.zeros(3))
    refused(tmp_path / "joints.npy", "is a single array")
    (tmp_path / "joints.npy").rename(tmp_path / "joints.npz")
    refused(tmp_path / "joints.npz", "is a single array")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 and nothing more", b"\x93NUMPY\x01\x00"])
def test_a_file_of_another_kind_is_refused(source, content):
    source.write_bytes(content)
    refused(source, r"mine\.npz cannot be read as \.npz")


def test_a_truncated_file_is_refused(source, arrays):
    np.savez_compressed(source, **arrays)
    source.write_bytes(source.read_bytes()[:-200])
    refused(source, r"cannot be read as \.npz")


def test_flipped_bytes_are_found_wherever_they_are(source, arrays):
    np.savez_compressed(source, **arrays)
    whole = source.read_bytes()
    for at in range(60, 2400, 97):
        source.write_bytes(whole[:at] + bytes(b ^ 0xFF for b in whole[at : at + 4]) + whole[at + 4 :])
        refused(source, r"mine\.npz")


def test_text_in_arrays_of_objects_is_read(source, arrays):
    text = {"name": np.array(["a", "b", "c", "größer"], dtype=object), "layout": np.array("kinect20", dtype=object)}
    text["class_names"] = np.array(["sit", "stand"], dtype=object)
    store = prepared(source, arrays | text)
    assert [clip["name"] for clip in store.clips] == ["a", "b", "c", "größer"]
    assert store.class_names == ("sit", "stand")


@pytest.mark.parametrize("values", [[1, "b", "c", "d"], [["a"], "b", "c", "d"], [None] * 4, [{"a": 1}] * 4])
def test_other_objects_are_refused_with_what_to_do(source, arrays, values):
    held = np.empty(4, dtype=object)
    held[:] = values
    save(source, arrays | {"name": held})
    refused(source, r"'name' is an array of objects that are not all text; save it as text")


def test_joints_may_be_given_by_name(source, arrays):
    layout = get_layout("kinect20")
    joints = list(layout.joints)
    parts = {part: [joints[j] for j in group] for part, group in layout.parts.items()}
    own = [f"my {joint}" for joint in joints]
    named = {
        "joint_names": np.array(own),
        "parents": np.array(layout.parents),
        "centre": np.array("my ShoulderCenter"),
        "shoulders": np.array(["my LShoulder", "my RShoulder"]),
        "mirror": np.array([[own[a], own[b]] for a, b in layout.mirror]),
        "parts": np.array(json.dumps({part: [f"my {joint}" for joint in group] for part, group in parts.items()})),
    }
    store = prepared(source, without(arrays, "layout") | named)
    for fact in ("centre", "shoulders", "mirror"):
        assert getattr(store.layout, fact) == getattr(layout, fact)
    assert {k: tuple(v) for k, v in store.layout.parts.items()} == dict(layout.parts)
    save(source, without(arrays, "layout") | named | {"centre": np.array("my ShoulderCentre")})
    with pytest.raises(SkelbenchError, match=r"'centre' names the joint 'my ShoulderCentre'; did you mean"):
        prepare("arrays", source, "other")


def test_objects_are_never_unpickled(source, arrays, tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    np.savez(source, **(arrays | {"name": np.array([Trap()] * 4, dtype=object)}))
    refused(source, r"cannot be read as \.npz .*allow_pickle=False")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('["ghost"]', "not in the data .*'ghost'"),
        ("{}", "is not a JSON list"),
        ("[1]", "is not a JSON list"),
        ("[", "cannot be read as JSON"),
        (None, "cannot be read as JSON"),
    ],
)
def test_an_exclusion_list_that_does_not_fit_is_refused(source, arrays, tmp_path, content, message):
    np.savez(source, **arrays)
    if content is not None:
        (tmp_path / "leak.json").write_text(content)
    refused(source, message, exclude=tmp_path / "leak.json")


def test_an_unwritable_data_folder_is_named(source, arrays, tmp_path, monkeypatch):
    np.savez(source, **arrays)
    (tmp_path / "file").touch()
    monkeypatch.setenv("SKELBENCH_DATA", str(tmp_path / "file"))
    with pytest.raises(SkelbenchError, match="cannot be written"):
        prepare("arrays", source, "mine")


@pytest.mark.parametrize("name", ["..", "a/b", ".hidden", "--"])
def test_a_name_that_would_leave_the_data_folder_is_refused(source, arrays, name):
    np.savez(source, **arrays)
    with pytest.raises(SkelbenchError, match="cannot name a data set"):
        prepare("arrays", source, name)
    assert list_stores() == []


def test_an_unknown_reader_says_what_was_probably_meant(source):
    with pytest.raises(SkelbenchError, match="no reader 'array'; did you mean 'arrays'"):
        prepare("array", source)
    assert {"arrays", "synthetic", "uiprmd"} <= set(READERS)
