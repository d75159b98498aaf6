import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from skelbench.datasets import list_stores, prepare
from skelbench.datasets.layout import get_layout
from skelbench.datasets.readers.utdmhad import CLASS_NAMES, OFFICIAL, SUBJECTS, read
from skelbench.datasets.recording import Clip
from skelbench.datasets.store import data_folder
from skelbench.errors import SkelbenchError

# Where each joint of kinect20 stands in a file: hip centre, spine, shoulder centre, head, then both arms and legs.
IN_FILE = [3, 2, 1, 0, *range(4, 20)]


@pytest.fixture
def raw(tmp_path):
    """A folder as distributed: actions 1, 9 and 10 of subjects 1 and 2, next to the other sensors' files."""
    rng = np.random.default_rng(0)
    for action in (1, 9, 10):
        for subject in (1, 2):
            write(tmp_path / "raw" / "Skeleton", f"a{action}_s{subject}_t3", rng.standard_normal((20, 3, 4 + subject)))
    inertial = tmp_path / "raw" / "Inertial"
    inertial.mkdir()
    savemat(inertial / "a1_s1_t3_inertial.mat", {"d_iner": np.zeros((5, 6))})
    return tmp_path / "raw"


def write(folder, name, joints, variable="d_skel"):
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / f"{name}_skeleton.mat", {variable: joints}, do_compression=True)


def inputs(source):
    found = read([source]).clips
    assert isinstance(found, Iterator)  # read one by one
    return list(found)


def clips(source):
    return [entry for entry in inputs(source) if isinstance(entry, Clip)]


def test_clips_are_the_numbers_of_their_files_with_the_facts_of_their_names(raw):
    rng = np.random.default_rng(0)
    found = clips(raw)
    assert [clip.name for clip in found] == [f"a{a}_s{s}_t3" for a in (1, 9, 10) for s in (1, 2)]
    for clip in found:
        action, subject, trial = (int(part[1:]) for part in clip.name.split("_"))
        assert (clip.label, clip.subject, clip.repetition) == (action - 1, subject, trial)
        joints = rng.standard_normal((20, 3, 4 + subject))
        assert clip.keypoints.shape == (4 + subject, 1, 20, 3)
        for frame in range(4 + subject):
            for joint, place in enumerate(IN_FILE):
                assert clip.keypoints[frame, 0, joint].tolist() == joints[place, :, frame].tolist()


def test_odd_subjects_train(raw):
    store = prepare("utdmhad", raw)
    assert (store.name, store.layout) == ("utdmhad", get_layout("kinect20"))
    assert store.manifest["class_names"] == list(CLASS_NAMES) and len(set(CLASS_NAMES)) == 27
    for clip, side in zip(store.clips, store.sides("xsub"), strict=True):
        assert side == (1 if "_s1_" in clip["name"] else 0)


def test_a_zip_holds_the_same_clips_as_the_folder_and_both_together_hold_them_once(raw):
    expected = clips(raw)
    with zipfile.ZipFile(raw / "Skeleton.zip", "w") as archive:
        for path in sorted((raw / "Skeleton").iterdir()):
            archive.write(path, f"Skeleton/{path.name}")
    for source in (raw / "Skeleton.zip", raw):
        found = clips(source)
        assert [clip.name for clip in found] == [clip.name for clip in expected]
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.keypoints, other.keypoints)


FILE = "a1_s1_t3_skeleton.mat"


def with_joints(joints, variable="d_skel"):
    return lambda path: write(path.parent, path.name.removesuffix("_skeleton.mat"), joints, variable)


def with_value(value):
    joints = np.zeros((20, 3, 5))
    joints[4, 2, 1] = value
    return with_joints(joints)


def with_bytes(change):
    return lambda path: path.write_bytes(change(path.read_bytes()))


def packed_longer(content):
    """The same variable with zeros behind its numbers, inside the packed element."""
    unpacked = zlib.decompress(content[136:])
    packed = zlib.compress(unpacked + bytes(80))
    return content[:128] + struct.pack("<II", 15, len(packed)) + packed


def without_checksum(content):
    return content[:128] + struct.pack("<II", 15, len(content) - 136 - 4) + content[136:-4]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (with_value(np.nan), f"{FILE}, frame 1, joint 4: 'nan' is not a finite number."),
        (with_value(-np.inf), f"{FILE}, frame 1, joint 4: '-inf' is not a finite number."),
        (with_joints(np.zeros((20, 3, 5)), "skel"), f"{FILE} holds no variable d_skel;"),
        (with_joints(np.ones((19, 3, 5))), f"{FILE}: d_skel is 19 × 3 × 5 of float64; 20 × 3 × frames numbers"),
        (with_joints(np.ones((20, 2, 5))), f"{FILE}: d_skel is 20 × 2 × 5 of float64;"),
        (with_joints(np.ones((20, 3))), f"{FILE}: d_skel is 20 × 3 of float64;"),
        (with_joints(np.ones((20, 3, 5)) * 1j), f"{FILE}: d_skel is 20 × 3 × 5 of complex128;"),
        (with_joints("twenty joints"), f"{FILE}: d_skel is 1 of <U13;"),
        (with_joints(np.zeros((20, 3, 0))), f"{FILE} holds no frame."),
        (with_bytes(lambda content: b""), f"{FILE} cannot be read as a MATLAB file ("),
        (with_bytes(lambda content: b"not MATLAB's" * 40), f"{FILE} cannot be read as a MATLAB file ("),
        (with_bytes(lambda content: content[:-200]), f"{FILE} cannot be read as a MATLAB file ("),
        (with_bytes(lambda content: content[:-4] + b"\0" * 4), f"{FILE} cannot be read as a MATLAB file (Error -3"),
        (with_bytes(without_checksum), f"{FILE} cannot be read as a MATLAB file (a packed variable has another length"),
        (with_bytes(packed_longer), f"{FILE} cannot be read as a MATLAB file ("),
        (with_bytes(lambda content: content + b"\0\0\0"), f"{FILE} cannot be read as a MATLAB file ("),
    ],
)
def test_a_damaged_clip_is_rejected_with_its_reason_and_the_others_are_prepared(raw, damage, reason):
    damage(raw / "Skeleton" / FILE)
    store = prepare("utdmhad", raw)
    (rejected,) = store.manifest["rejected"]
    assert rejected["file"] == FILE and rejected["reason"].startswith(reason)
    assert len(store.clips) == 5


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a0_s1_t1", "there is no action 0; they are 1 to 27."),
        ("a28_s1_t1", "there is no action 28; they are 1 to 27."),
        ("a1_s9_t1", "there is no subject 9; they are 1 to 8."),
    ],
)
def test_a_name_that_cannot_be_is_rejected(raw, name, reason):
    write(raw, name, np.ones((20, 3, 3)))
    (rejected,) = prepare("utdmhad", raw).manifest["rejected"]
    assert rejected["reason"].startswith(f"{name}_skeleton.mat: {reason}")


def test_a_file_of_whole_numbers_and_one_that_is_not_packed_are_read(raw):
    joints = np.arange(20 * 3 * 2, dtype=np.int16).reshape(20, 3, 2)
    savemat(raw / "a2_s1_t1_skeleton.mat", {"other": np.ones(3), "d_skel": joints}, do_compression=False)
    (clip,) = (clip for clip in clips(raw) if clip.label == 1)
    np.testing.assert_array_equal(clip.keypoints[:, 0], joints[IN_FILE].transpose(2, 0, 1))


def test_a_folder_of_something_else_is_refused(tmp_path):
    savemat(tmp_path / "a1_s1_t1_inertial.mat", {"d_iner": np.zeros((5, 6))})
    with pytest.raises(SkelbenchError, match=r"holds no UTD-MHAD skeletons \(aA_sS_tT_skeleton\.mat\)"):
        prepare("utdmhad", tmp_path)
    assert list_stores() == [] and not data_folder().exists()


def shared():
    return Path(os.environ.get("SKELBENCH_SHARED", Path(__file__).resolve().parents[4] / "shared")) / "data"


def test_the_distributed_files_give_the_numbers_known_for_them(tmp_path):
    archive, known = shared() / "raw" / "utdmhad" / "Skeleton.zip", shared() / "utdmhad.npz"
    if not (archive.exists() and known.exists()):
        pytest.skip("UTD-MHAD is not at hand (set SKELBENCH_SHARED)")
    found = {clip.name: clip for clip in clips(archive)}
    with np.load(known) as file:
        whole = {name: file[name] for name in file.files}
    assert set(found) == set(whole["name"].tolist())
    ends = np.cumsum(whole["lengths"])
    facts = (whole[fact].tolist() for fact in ("name", "label", "subject", "repetition"))
    for name, label, subject, trial, start, end in zip(*facts, ends - whole["lengths"], ends, strict=True):
        clip = found[name]
        assert (clip.label, clip.subject, clip.repetition) == (label, subject, trial)
        np.testing.assert_array_equal(clip.keypoints.astype(np.float32), whole["keypoints"][start:end])
    sides = [subject % 2 for subject in whole["subject"].tolist()]
    assert {"xsub": (sides.count(1), sides.count(0))} == OFFICIAL
    assert sorted(set(whole["subject"].tolist())) == list(SUBJECTS)
