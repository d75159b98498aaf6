import json
import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from skelbench.datasets import list_stores, prepare
from skelbench.datasets.inspect import describe
from skelbench.datasets.layout import get_layout
from skelbench.datasets.readers.nwucla import CLASSES, is_leaked, read
from skelbench.datasets.recording import Clip, Rejected
from skelbench.datasets.store import data_folder
from skelbench.errors import SkelbenchError

ACTIONS = ["a01", "a02", "a03", "a04", "a05", "a06", "a08", "a09", "a11", "a12"]  # labels 1 to 10, in this order


@pytest.fixture
def raw(tmp_path):
    """A folder as distributed: every action once, by subjects 1 and 2 in turn, seen by three cameras."""
    rng = np.random.default_rng(0)
    for row, action in enumerate(ACTIONS):
        for camera in (1, 2, 3):
            name = f"{action}_s{1 + row % 2:02d}_e{row:02d}_v{camera:02d}"
            write(tmp_path / "raw" / "all_sqe", name, rng.standard_normal((2 + row, 20, 3)), row + 1)
    return tmp_path / "raw"


def write(folder, name, skeletons, label, **entries):
    folder.mkdir(parents=True, exist_ok=True)
    content = {"file_name": name, "skeletons": np.asarray(skeletons).round(6).tolist(), "label": label} | entries
    (folder / f"{name}.json").write_text(json.dumps(content))


def inputs(source, **options):
    found = read([source], **options).clips
    assert isinstance(found, Iterator)  # read one by one
    return list(found)


def clips(source, **options):
    return [entry for entry in inputs(source, **options) if isinstance(entry, Clip)]


def test_clips_are_the_numbers_of_their_files_with_the_facts_of_their_names(raw):
    found = clips(raw, leaked="keep")
    paths = sorted((raw / "all_sqe").iterdir())
    assert [clip.name for clip in found] == [path.stem for path in paths]
    for clip, path in zip(found, paths, strict=True):
        content = json.loads(path.read_text())
        assert clip.keypoints.shape == (len(content["skeletons"]), 1, 20, 3)
        for frame, joints in zip(clip.keypoints, content["skeletons"], strict=True):
            assert frame[0].tolist() == joints
        action, subject, episode, camera = path.stem.split("_")
        assert clip.label == content["label"] - 1 == ACTIONS.index(action)
        assert f"s{clip.subject:02d}_e{clip.repetition:02d}_v{clip.camera:02d}" == f"{subject}_{episode}_{camera}"


def test_the_ten_classes_stand_in_the_order_of_the_labels():
    assert [f"a{number:02d}" for number in CLASSES] == ACTIONS
    assert len(set(CLASSES.values())) == 10


def test_copies_of_training_clips_are_dropped_by_default_and_named(raw):
    store = prepare("nwucla", raw)
    copies = [path.stem for path in raw.rglob("*.json") if path.stem[:3] in ("a02", "a03") and path.stem[-1] == "3"]
    assert sorted(store.manifest["excluded"]) == sorted(copies) and len(copies) == 2
    assert {clip["name"] for clip in store.clips} == {path.stem for path in raw.rglob("*.json")} - set(copies)
    assert "bit-identical" in store.manifest["notes"]["leaked"]
    assert store.manifest["options"] == {"leaked": "drop"}
    assert (
        "bit-identical" in store.manifest["notes"]["excluded"] and "leaked=keep" in store.manifest["notes"]["excluded"]
    )
    (line,) = (line for line in describe(store)["lines"] if "excluded" in line)
    assert line == f"  excluded: 2 clips ({store.manifest['notes']['excluded']})"


def test_where_nothing_is_dropped_no_reason_is_given(raw):
    for path in raw.rglob("a0[23]*_v03.json"):
        path.unlink()
    assert "excluded" not in prepare("nwucla", raw).manifest["notes"]


def test_the_published_protocol_keeps_all_clips_under_a_name_of_its_own(raw):
    store = prepare("nwucla", raw, options={"leaked": "keep"})
    assert store.name == "nwucla-keep"
    assert len(store.clips) == 30 and store.manifest["excluded"] == []
    assert "published" in store.manifest["notes"]["leaked"]


def test_any_other_choice_about_the_copies_is_refused(raw):
    with pytest.raises(SkelbenchError, match="'leaked' of the reader 'nwucla' cannot be 'perhaps'"):
        prepare("nwucla", raw, options={"leaked": "perhaps"})


def test_camera_three_and_even_subjects_test(raw):
    store = prepare("nwucla", raw, options={"leaked": "keep"})
    assert store.layout == get_layout("kinect20")
    for clip, view, subject in zip(store.clips, store.sides("xview"), store.sides("xsub"), strict=True):
        assert view == (0 if clip["name"].endswith("_v03") else 1)
        assert subject == (1 if "_s01_" in clip["name"] else 0)


def test_that_a_camera_lacks_is_told(raw):
    for path in raw.rglob("*_v03.json"):
        path.unlink()
    told = [found["what"] for found in prepare("nwucla", raw).manifest["audit"] if found["check"] == "splits"]
    assert told == ["xview: no clip tests, so the split cannot be used."]


def test_a_clip_of_one_frame_is_a_clip(raw):
    write(raw, "a01_s05_e09_v01", np.ones((1, 20, 3)), 1)
    (clip,) = (clip for clip in clips(raw) if clip.subject == 5)
    assert clip.keypoints.shape == (1, 1, 20, 3)


def test_a_zip_holds_the_same_clips_as_the_folder_and_both_together_hold_them_once(raw):
    expected = clips(raw)
    with zipfile.ZipFile(raw / "all_sqe.zip", "w") as archive:
        for path in sorted((raw / "all_sqe").iterdir()):
            archive.write(path, path.name)
            archive.writestr(f"__MACOSX/._{path.name}", b"\0\1")
    for source in (raw / "all_sqe.zip", raw):
        found = clips(source)
        assert [clip.name for clip in found] == [clip.name for clip in expected]
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.keypoints, other.keypoints)


NAME = "a01_s01_e00_v01"
FILE = f"{NAME}.json"


def with_skeletons(change):
    """Damage the skeletons of a file: lists of frames, of joints, of three numbers."""

    def damage(path):
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"skeletons": change(content["skeletons"])}))

    return damage


def with_value(value, *, frame=1, joint=4):
    def change(skeletons):
        skeletons[frame][joint][2] = value
        return skeletons

    return with_skeletons(change)


def with_entry(**entries):
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def without(entry):
    return lambda path: path.write_text(
        json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != entry})
    )


def joints(frame, count):
    return with_skeletons(lambda frames: [f[:count] if t == frame else f for t, f in enumerate(frames)])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (joints(1, 19), f"{FILE}, frame 1: 20 joints expected, 19 found."),
        (with_skeletons(lambda frames: [f[:19] for f in frames]), f"{FILE}, frame 0: 20 joints expected, 19 found."),
        (with_skeletons(lambda frames: [frames[0], None]), f"{FILE}, frame 1: 20 joints expected, 0 found."),
        (with_skeletons(lambda frames: [[p[:2] for p in f] for f in frames]), f"{FILE}, frame 0, joint 0: ["),
        (with_skeletons(lambda frames: [[[p] for p in f] for f in frames]), f"{FILE}, frame 0, joint 0: [["),
        (with_value(float("nan")), f"{FILE}, frame 1, joint 4: 'nan' is not a finite number."),
        (with_value(float("-inf")), f"{FILE}, frame 1, joint 4: '-inf' is not a finite number."),
        (with_value("0.5"), f"{FILE}, frame 1, joint 4: '0.5' is not a finite number."),
        (with_value(None), f"{FILE}, frame 1, joint 4: 'None' is not a finite number."),
        (with_value([0.5]), f"{FILE}, frame 1, joint 4: '[0.5]' is not a finite number."),
        (with_skeletons(lambda frames: []), f"{FILE} holds no frame."),
        (with_skeletons(lambda frames: {"0": frames}), f"{FILE} holds no frame."),
        (with_entry(label=2), f"{FILE} has label 2, but action 1 of its name has label 1."),
        (with_entry(label=0), f"{FILE} has label 0, but action 1"),
        (with_entry(label="1"), f"{FILE} has label 1, but action 1"),
        (with_entry(label=True), f"{FILE} has label True, but action 1"),
        (with_entry(file_name="a01_s01_e00_v02"), f"{FILE} says that it is 'a01_s01_e00_v02'; one of"),
        (without("label"), f"{FILE} lacks ['label']; a clip is"),
        (without("file_name"), f"{FILE} lacks ['file_name']; a clip is"),
        (without("skeletons"), f"{FILE} lacks ['skeletons']; a clip is"),
        (lambda p: p.write_text("[1, 2]"), f"{FILE} lacks ['file_name', 'label', 'skeletons']"),
        (lambda p: p.write_text("7"), f"{FILE} lacks ['file_name', 'label', 'skeletons']"),
        (lambda p: p.write_bytes(b"\xff\xfe\xfa"), f"{FILE} is not JSON ("),
        (lambda p: p.write_bytes(b""), f"{FILE}, line 1, column 1: not JSON (Expecting value); download it again."),
        (lambda p: p.write_text("[" * 100_000), f"{FILE} is not JSON ("),
        (lambda p: p.write_text('{"label":\n' + "9" * 5000 + "}"), f"{FILE} is not JSON ("),
    ],
)
def test_a_damaged_clip_is_rejected_with_its_reason_and_the_others_are_prepared(raw, damage, reason):
    damage(raw / "all_sqe" / FILE)
    store = prepare("nwucla", raw)
    (rejected,) = store.manifest["rejected"]
    assert rejected["file"] == FILE
    assert rejected["reason"].startswith(reason)
    assert len(store.clips) == 27


def test_a_file_that_was_cut_off_is_rejected_with_its_line(raw):
    path = raw / "all_sqe" / FILE
    path.write_text(json.dumps(json.loads(path.read_text()), indent=1)[:200])
    last = path.read_text().count("\n") + 1
    (rejected,) = (entry for entry in inputs(raw) if isinstance(entry, Rejected))
    assert (rejected.file, rejected.line) == (FILE, last)
    assert rejected.reason.startswith(f"{FILE}, line {last}, column ")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a07_s01_e00_v01", "there is no action 7; they are 1, 2, 3, 4, 5, 6, 8, 9, 11, 12."),
        ("a01_s11_e00_v01", "there is no subject 11;"),
        ("a01_s00_e00_v01", "there is no subject 0;"),
        ("a01_s01_e00_v04", "there is no camera 4; they are 1, 2, 3."),
    ],
)
def test_a_name_that_cannot_be_is_rejected(raw, name, reason):
    write(raw, name, np.ones((3, 20, 3)), 1)
    (rejected,) = prepare("nwucla", raw).manifest["rejected"]
    assert rejected["reason"].startswith(f"{name}.json: {reason}")


def test_a_clip_without_anybody_and_one_beyond_single_precision_are_rejected(raw):
    write(raw, "a01_s05_e00_v01", np.zeros((3, 20, 3)), 1)
    write(raw, "a01_s05_e01_v01", np.full((3, 20, 3), 1e39), 1)
    rejected = prepare("nwucla", raw).manifest["rejected"]
    assert [entry["file"] for entry in rejected] == ["a01_s05_e00_v01", "a01_s05_e01_v01"]
    assert "is empty" in rejected[0]["reason"] and "NaN or infinite" in rejected[1]["reason"]


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(SkelbenchError, match=r"holds no NW-UCLA clips \(aNN_sNN_eNN_vNN\.json, or view_N"):
        prepare("nwucla", tmp_path)
    assert list_stores() == [] and not data_folder().exists()


@pytest.fixture(scope="module")
def whole():
    """The whole data set prepared elsewhere, in half precision."""
    path = shared() / "nwucla.npz"
    if not path.exists():
        pytest.skip("NW-UCLA is not at hand (set SKELBENCH_SHARED)")
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def shared():
    return Path(os.environ.get("SKELBENCH_SHARED", Path(__file__).resolve().parents[4] / "shared")) / "data"


def content_of(whole):
    """Keypoints (T, V, 3) by clip name."""
    ends = np.cumsum(whole["lengths"])
    starts = ends - whole["lengths"]
    return {
        name: whole["keypoints"][start:end, 0]
        for name, start, end in zip(whole["name"].tolist(), starts, ends, strict=True)
    }


def test_the_clips_called_leaked_are_those_of_camera_three_that_equal_one_of_camera_two(whole):
    content = content_of(whole)
    training = {content[name].tobytes() for name in content if not name.endswith("_v03")}
    copies = {name for name in content if name.endswith("_v03") and content[name].tobytes() in training}
    assert {name for name in content if is_leaked(name)} == copies
    assert Counter(name[:3] for name in copies) == {"a02": 50, "a03": 45}
    for name in copies:
        np.testing.assert_array_equal(content[name], content[name[:-1] + "2"])


@pytest.mark.parametrize("leaked", ["drop", "keep"])
def test_the_official_counts_are_those_of_the_complete_data_set(whole, raw, leaked):
    camera = [c for name, c in zip(whole["name"], whole["camera"].tolist(), strict=True) if kept(name, leaked)]
    assert read([raw], leaked=leaked).official == {"xview": (len(camera) - camera.count(3), camera.count(3))}


def kept(name, leaked):
    return leaked == "keep" or not is_leaked(name)


def test_the_distributed_files_give_the_numbers_known_for_them(whole):
    sample = shared() / "raw" / "nwucla"
    if not sample.exists():
        pytest.skip("NW-UCLA's files are not at hand (set SKELBENCH_SHARED)")
    found, known = clips(sample, leaked="keep"), content_of(whole)
    facts = {fact: dict(zip(known, whole[fact].tolist(), strict=True)) for fact in ("label", "subject", "camera")}
    assert len(found) == 30 and list(CLASSES.values()) == whole["class_names"].tolist()
    for clip in found:
        assert (clip.label, clip.subject, clip.camera) == tuple(values[clip.name] for values in facts.values())
        expected = known[clip.name].astype(np.float64)
        half = np.spacing(np.abs(known[clip.name])).astype(np.float64)  # one step of half precision
        assert clip.keypoints[:, 0].shape == expected.shape
        assert (np.abs(clip.keypoints[:, 0] - expected) <= 0.51 * half).all()


def write_text(folder, name, bodies, *, time=5_000_000, first=9):
    """A clip as the authors distribute it: a file for each frame, each a list of bodies (20, 3), numbers not padded."""
    place = folder / f"view_{int(name[-2:])}" / name[:-4]
    place.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(bodies, start=first):
        blocks = (["37", *(",".join([*map(str, joint), "2"]) for joint in np.round(body, 5))] for body in frame)
        text = "".join(f"{line}\n" for block in blocks for line in block)
        (place / f"frame_{number}_tc_{time + 33 * number}_skeletons.txt").write_text(text)
        (place / f"frame_{number}_tc_{time + 33 * number - 31}_rgb.jpg").write_bytes(b"\0")
    (place / "fileList.txt").write_text("9 1 2\n")
    return place


@pytest.fixture
def texts(tmp_path):
    """Every action once as text: frames 9 to 11, the second without a body, the third with two."""
    rng = np.random.default_rng(0)
    expected = {}
    for row, action in enumerate(ACTIONS):
        name = f"{action}_s{1 + row % 2:02d}_e00_v{1 + row % 3:02d}"
        bodies = rng.standard_normal((4, 20, 3)).round(5)
        write_text(tmp_path / "multiview_action", name, [[bodies[0]], [], [bodies[1], bodies[2]], [bodies[3]]])
        expected[name] = bodies[[0, 1, 3]]
    return tmp_path / "multiview_action", expected


def test_text_files_become_clips_with_frames_in_the_order_of_their_numbers(texts):
    folder, expected = texts
    found = clips(folder)
    assert [clip.name for clip in found] == sorted(expected)
    for clip in found:
        np.testing.assert_array_equal(clip.keypoints[:, 0], expected[clip.name])
        action, subject, episode, camera = clip.name.split("_")
        assert clip.label == ACTIONS.index(action)
        assert f"s{clip.subject:02d}_e{clip.repetition:02d}_v{clip.camera:02d}" == f"{subject}_{episode}_{camera}"
    store = prepare("nwucla", folder)
    assert "the first of each frame" in store.manifest["notes"]["bodies"] and store.manifest["excluded"] == []


def test_one_camera_and_a_zip_hold_the_same_texts(texts):
    folder, expected = texts
    of_two = [name for name in sorted(expected) if name.endswith("v02")]
    assert [clip.name for clip in clips(folder / "view_2")] == of_two
    with zipfile.ZipFile(folder.parent / "all.zip", "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, path.relative_to(folder.parent))
    assert [clip.name for clip in clips(folder.parent / "all.zip")] == sorted(expected)


def test_two_files_of_one_frame_are_told(texts):
    folder, expected = texts
    name = sorted(expected)[0]
    later = np.ones((20, 3))
    write_text(folder, name, [[later]], time=6_000_000)
    (told,) = read([folder]).remarks
    assert told.names == (name,) and f"{name}: 1" in told.what
    np.testing.assert_array_equal(clips(folder)[0].keypoints[:, 0], [later, *expected[name][1:]])


def test_text_without_a_camera_and_both_forms_together_are_refused(texts, raw):
    folder, _ = texts
    (folder / "view_1").rename(folder / "first")
    with pytest.raises(SkelbenchError, match="none of view_1, view_2 and view_3, so its camera is unknown"):
        read([folder / "first"])
    with pytest.raises(SkelbenchError, match="the two forms may differ: give one"):
        read([folder / "view_2", raw])


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("0.1,0.2,0.3,2\n", "line 1: a body begins with a line of one number", 1),
        ("37\n" + "0.1,0.2,0.3,2\n" * 19, "20 joints expected, 19 found; the file is cut off", None),
        ("37\n" + "0.1,0.2,0.3,2\n" * 19 + "38\n", "line 21: 20 joints expected, 19 found", 21),
        ("37\n" + "0.1,0.2,0.3\n" * 20, "line 2: '0.1,0.2,0.3' is not x, y, z and a state", 2),
        ("37\n\n" + "0.1,0.2,nan,2\n" * 20, "line 3: '0.1,0.2,nan,2' is not x", 3),
        ("hello\n" + "0.1,0.2,0.3,2\n" * 20, "line 1: a body begins with a line of one number", 1),
        ("37\n" + "0.1,0.2,0.3,2\n" * 25, "line 22: a body begins with a line of one number, and 20 joints", 22),
    ],
)
def test_a_damaged_text_rejects_its_clip_alone(texts, text, reason, line):
    folder, expected = texts
    path = sorted(folder.rglob("*_skeletons.txt"))[0]
    path.write_text(text)
    found = inputs(folder)
    (entry,) = (entry for entry in found if isinstance(entry, Rejected))
    assert entry.file == f"{path.parent.name}/{path.name}" and reason in entry.reason and entry.line == line
    assert len(found) == len(expected)


def test_a_clip_in_which_nobody_is_seen_is_rejected(texts):
    folder, expected = texts
    for path in (folder / "view_1" / sorted(expected)[0][:-4]).glob("*_skeletons.txt"):
        path.write_text("\r\n")
    (entry,) = (entry for entry in inputs(folder) if isinstance(entry, Rejected))
    assert "none of its 4 frames holds a skeleton" in entry.reason
