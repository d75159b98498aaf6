import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skelbench.datasets import Clip, Items, Rejected, list_stores, prepare
from skelbench.datasets.layout import get_layout
from skelbench.datasets.readers.uiprmd import CLASS_NAMES, OFFICIAL, forward_kinematics, read
from skelbench.datasets.store import data_folder
from skelbench.errors import SkelbenchError

PARENTS = get_layout("uiprmd22").parents


@pytest.fixture
def raw(tmp_path):
    """A raw folder as distributed: two exercises, correct and incorrect, of subjects 1 and 2."""
    rng = np.random.default_rng(0)
    for incorrect in (False, True):
        top = tmp_path / "raw" / ("Incorrect Segmented Movements" if incorrect else "Segmented Movements")
        for exercise in (1, 10):
            for subject in (1, 2):
                stem, end = f"m{exercise:02d}_s{subject:02d}_e03", "_inc.txt" if incorrect else ".txt"
                for kind, scale in (("Positions", 30), ("Angles", 90)):
                    table = scale * rng.standard_normal((4 + subject, 66))
                    write(top / "Kinect" / kind / f"{stem}_{kind.lower()}{end}", table)
                    write(top / "Vicon" / kind / f"{stem}_{kind.lower()}{end}", np.zeros((2, 117)))
    return tmp_path / "raw"


def write(path, table):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(",".join(f"{value:.6f}" for value in row) for row in table) + "\n")


def streamed(recording) -> list[Any]:
    assert not isinstance(recording.clips, Items)
    return list(recording.clips)


def contents(source):
    """The clips and the rejected inputs of a source."""
    found = streamed(read([source]))
    rejected = [*read([source]).rejected, *(one for one in found if isinstance(one, Rejected))]
    return [one for one in found if isinstance(one, Clip)], rejected


def kinect(raw, name, *, incorrect=False):
    top = "Incorrect Segmented Movements" if incorrect else "Segmented Movements"
    return raw / top / "Kinect" / ("Angles" if "angles" in name else "Positions") / name


def about(axis, degrees):
    """The rotation about one coordinate axis, from the textbook."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    rows = {
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }
    return np.array(rows[axis])


def slow_forward_kinematics(offsets, angles):
    """Frame by frame and joint by joint, walking up to the root: centimetres and degrees to metres."""

    def turn(t, joint):
        x, y, z = angles[t, joint]
        local = about("z", z) @ about("x", x) @ about("y", y)
        return local if PARENTS[joint] < 0 else turn(t, PARENTS[joint]) @ local

    def place(t, joint):
        if PARENTS[joint] < 0:
            return offsets[t, joint]
        return place(t, PARENTS[joint]) + turn(t, PARENTS[joint]) @ offsets[t, joint]

    frames, joints = offsets.shape[:2]
    return np.array([[place(t, j) for j in range(joints)] for t in range(frames)]) / 100


def test_joints_are_those_of_a_slow_walk_along_the_chain(raw):
    clips = {clip.name: clip for clip in contents(raw)[0]}
    for name, incorrect in (("m01_s02_e03", False), ("m10_s01_e03", True)):
        end = "_inc.txt" if incorrect else ".txt"
        offsets, angles = (
            np.loadtxt(kinect(raw, f"{name}_{kind}{end}", incorrect=incorrect), delimiter=",").reshape(-1, 22, 3)
            for kind in ("positions", "angles")
        )
        joints = clips[name + "_inc" * incorrect].keypoints
        assert joints.shape == (len(offsets), 1, 22, 3)
        np.testing.assert_allclose(joints[:, 0], slow_forward_kinematics(offsets, angles), rtol=0, atol=1e-6)


def test_bones_keep_their_length_whatever_the_angles():
    rng = np.random.default_rng(1)
    offsets, angles = rng.standard_normal((5, 22, 3)), 3 * rng.standard_normal((5, 22, 3))
    joints = forward_kinematics(offsets, angles, PARENTS)
    for joint, parent in get_layout("uiprmd22").bones:
        length = np.linalg.norm(joints[:, joint] - joints[:, parent], axis=-1)
        np.testing.assert_allclose(length, np.linalg.norm(offsets[:, joint], axis=-1), rtol=1e-12)


def test_clips_come_in_the_order_of_their_classes_with_their_facts(raw):
    recording = read([raw])
    assert not recording.complete and recording.rejected == ()
    facts = [(c.name, recording.class_names[c.label], c.subject, c.repetition) for c in streamed(recording)]
    assert facts == [
        ("m01_s01_e03", "deep squat", 1, 3),
        ("m01_s02_e03", "deep squat", 2, 3),
        ("m10_s01_e03", "standing shoulder scaption", 1, 3),
        ("m10_s02_e03", "standing shoulder scaption", 2, 3),
        ("m01_s01_e03_inc", "deep squat (incorrect)", 1, 3),
        ("m01_s02_e03_inc", "deep squat (incorrect)", 2, 3),
        ("m10_s01_e03_inc", "standing shoulder scaption (incorrect)", 1, 3),
        ("m10_s02_e03_inc", "standing shoulder scaption (incorrect)", 2, 3),
    ]
    assert len(CLASS_NAMES) == len(set(CLASS_NAMES)) == 20


def zipped(raw, target):
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(raw.rglob("*.txt")):
            archive.write(path, path.relative_to(raw))
            archive.writestr(f"__MACOSX/{path.parent.relative_to(raw)}/._{path.name}", b"\0\1")
    return target


def test_a_zip_and_a_folder_of_zips_hold_the_same_clips_as_the_folder(raw, tmp_path):
    (tmp_path / "zips").mkdir()
    whole = zipped(raw, tmp_path / "whole.zip")
    for i, part in enumerate(sorted(raw.iterdir())):
        zipped(part, tmp_path / "zips" / f"{i}.zip")
    expected, _ = contents(raw)
    for sources in ([whole], [tmp_path / "zips"], sorted((tmp_path / "zips").iterdir()), [raw, whole]):
        clips = streamed(read(sources))
        assert [c.name for c in clips] == [c.name for c in expected]
        for one, other in zip(clips, expected, strict=True):
            np.testing.assert_array_equal(one.keypoints, other.keypoints)


def test_a_store_of_the_raw_files_splits_by_odd_subjects(raw):
    store = prepare("uiprmd", raw)
    assert store.name == "uiprmd"
    assert store.sides("xsub").tolist() == [1, 0] * 4
    assert store.layout == get_layout("uiprmd22")
    assert store.class_names == CLASS_NAMES


def edit(path, line, change):
    lines = path.read_text().splitlines()
    lines[line - 1] = change(lines[line - 1])
    path.write_text("\n".join(lines) + "\n")


FILE = "m01_s01_e03_positions.txt"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda p: edit(p, 3, lambda line: line.rsplit(",", 1)[0]), f"{FILE}, line 3: 66 numbers expected, 65 found."),
        (lambda p: edit(p, 1, lambda line: line + ",0"), f"{FILE}, line 1: 66 numbers expected, 67 found."),
        (
            lambda p: edit(p, 2, lambda line: "walk" + line[line.index(",") :]),
            f"{FILE}, line 2, column 1: 'walk' is not",
        ),
        (
            lambda p: edit(p, 4, lambda line: line[: line.rindex(",") + 1] + "nan"),
            f"{FILE}, line 4, column 66: 'nan' is",
        ),
        (lambda p: p.write_bytes(b"\xff\xfe\x00"), f"{FILE}, line 1: 66 numbers expected, 1 found."),
        (lambda p: p.write_text("\n\n"), f"{FILE} holds no frame."),
        (lambda p: p.write_text(p.read_text() + p.read_text()), f"{FILE} has 10 frames but its angles have 5."),
        (lambda p: kinect_angles(p).unlink(), "m01_s01_e03_angles.txt is missing"),
        (lambda p: p.unlink(), f"{FILE} is missing"),
    ],
)
def test_a_damaged_clip_is_rejected_with_its_reason_and_the_others_are_prepared(raw, damage, reason):
    damage(kinect(raw, FILE))
    store = prepare("uiprmd", raw)
    (rejected,) = store.manifest["rejected"]
    assert rejected["file"] == FILE
    assert rejected["reason"].startswith(reason)
    line = re.search(r", line (\d+)", reason)
    assert rejected["line"] == (int(line[1]) if line else None)
    assert len(store.clips) == 7


def kinect_angles(positions):
    return positions.parent.parent / "Angles" / positions.name.replace("positions", "angles")


def test_blank_lines_at_the_end_do_not_count(raw):
    path = kinect(raw, FILE)
    path.write_text(path.read_text().replace("\n", "\r\n") + "\r\n  \r\n")
    clips, rejected = contents(raw)
    assert (len(clips), rejected) == (8, [])


def test_an_exercise_that_does_not_exist_is_rejected(raw):
    for kind in ("positions", "angles"):
        kinect(raw, f"m01_s01_e03_{kind}.txt").rename(kinect(raw, f"m11_s01_e03_{kind}.txt"))
    clips, (rejected,) = contents(raw)
    assert "there is no exercise 11" in rejected.reason
    assert len(clips) == 7


def test_a_damaged_member_of_a_zip_is_rejected(raw, tmp_path):
    path = zipped(raw, tmp_path / "whole.zip")
    with zipfile.ZipFile(path) as archive:
        member = next(m for m in archive.infolist() if m.filename.endswith(f"Kinect/Positions/{FILE}"))
    content = bytearray(path.read_bytes())
    middle = member.header_offset + 30 + len(member.filename) + member.compress_size // 2
    content[middle : middle + 20] = bytes(b ^ 0xFF for b in content[middle : middle + 20])
    path.write_bytes(content)
    clips, (rejected,) = contents(path)
    assert rejected.reason.startswith(f"{FILE} cannot be read (")
    assert rejected.file == FILE
    assert len(clips) == 7


def test_a_damaged_zip_next_to_intact_ones_is_rejected(raw, tmp_path):
    (tmp_path / "zips").mkdir()
    for i, part in enumerate(sorted(raw.iterdir())):
        zipped(part, tmp_path / "zips" / f"{i}.zip")
    torn = tmp_path / "zips" / "0.zip"
    torn.write_bytes(torn.read_bytes()[:-100])
    clips, (rejected,) = contents(tmp_path / "zips")
    assert (rejected.file, len(clips)) == ("0.zip", 4)
    assert "it is incomplete or damaged: download it again" in rejected.reason


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda tmp: tmp / "nowhere", "nowhere does not exist"),
        (lambda tmp: tmp, "holds no UI-PRMD Kinect file"),
        (lambda tmp: tmp / "text.txt", r"text\.txt holds no UI-PRMD Kinect file"),
        (lambda tmp: tmp / "torn.zip", r"torn\.zip holds no UI-PRMD Kinect file.*torn\.zip cannot be opened as a zip"),
        (lambda tmp: tmp / "other.zip", "holds no UI-PRMD Kinect file"),
    ],
)
def test_a_source_that_is_something_else_is_refused(tmp_path, source, message):
    for name, content in (("text.txt", "hello"), ("torn.zip", "PK\x03\x04")):
        if source(tmp_path).name == name:
            (tmp_path / name).write_text(content)
    if source(tmp_path).name == "other.zip":
        with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
            archive.writestr("readme.txt", "hello")
    with pytest.raises(SkelbenchError, match=message):
        prepare("uiprmd", source(tmp_path))
    assert list_stores() == [] and not data_folder().exists()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", ["1e42", "1.7e308"])
def test_numbers_beyond_single_precision_are_rejected_without_a_warning(raw, value):
    path = next(path for path in raw.rglob("*m01_s01_e03_positions.txt") if "Kinect" in path.parts)
    path.write_text(value + path.read_text()[path.read_text().index(",") :])
    (rejected,) = prepare("uiprmd", raw).rejected
    assert rejected.file.startswith("m01_s01_e03")


def test_a_number_with_an_underscore_is_named(raw):
    path = next(path for path in raw.rglob("*m01_s01_e03_positions.txt") if "Kinect" in path.parts)
    path.write_text("1_0" + path.read_text()[path.read_text().index(",") :])
    (rejected,) = prepare("uiprmd", raw).rejected
    assert rejected.reason == "m01_s01_e03_positions.txt, line 1, column 1: '1_0' is not a finite number."


def test_if_no_clip_can_be_read_the_first_reason_is_the_error(raw):
    for path in raw.rglob("*angles*.txt"):
        path.unlink()
    with pytest.raises(
        SkelbenchError, match=r"No clip is left.*first of 8 reasons: m01_s01_e03_angles\.txt is missing"
    ):
        prepare("uiprmd", raw)
    assert list(data_folder().iterdir()) == []


@pytest.fixture(scope="module")
def distributed():
    """The raw files of two subjects and the data set prepared elsewhere, in half precision."""
    root = Path(os.environ.get("SKELBENCH_SHARED", Path(__file__).resolve().parents[4] / "shared")) / "data"
    sample, whole = root / "raw" / "uiprmd" / "uiprmd-sample-s01-s02.zip", root / "uiprmd.npz"
    if not (sample.exists() and whole.exists()):
        pytest.skip("UI-PRMD is not at hand (set SKELBENCH_SHARED)")
    with np.load(whole) as file:
        return contents(sample), {name: file[name] for name in file.files}


def test_the_distributed_files_give_the_numbers_known_for_them(distributed):
    (clips, rejected), known = distributed
    ends = np.cumsum(known["lengths"])
    row = {name: i for i, name in enumerate(known["name"].tolist())}
    assert len(clips) == 80 and rejected == []
    odd = int((known["subject"] % 2).sum())
    assert {"xsub": (odd, len(known["subject"]) - odd)} == OFFICIAL
    assert list(CLASS_NAMES) == known["class_names"].tolist()
    assert sorted(row[c.name] for c in clips) == [row[c.name] for c in clips]
    for clip in clips:
        i = row[clip.name]
        assert (clip.label, clip.subject, clip.repetition) == tuple(
            known[f][i] for f in ("label", "subject", "repetition")
        )
        expected = known["keypoints"][ends[i] - known["lengths"][i] : ends[i]].astype(np.float64)
        half = np.spacing(np.abs(expected).astype(np.float16)).astype(np.float64)  # one step of half precision
        assert clip.keypoints.shape == expected.shape
        assert (np.abs(clip.keypoints - expected) <= 0.51 * half).all()
