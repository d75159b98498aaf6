import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from skelbench.datasets import list_stores, prepare
from skelbench.datasets.layout import get_layout
from skelbench.datasets.readers.sbu import CLASS_NAMES, FOLDS, PAIRS, read, to_metres
from skelbench.datasets.recording import Clip, Rejected
from skelbench.datasets.store import data_folder
from skelbench.errors import SkelbenchError

FOLD_PAIRS = {  # one pair of every fold
    "fold1": "s01s02",
    "fold2": "s02s07",
    "fold3": "s07s03",
    "fold4": "s03s06",
    "fold5": "s04s02",
}


@pytest.fixture
def raw(tmp_path):
    """A folder as distributed: one pair of every fold, classes 01 and 08, two takes of the first."""
    rng = np.random.default_rng(0)
    for row, pair in enumerate(FOLD_PAIRS.values()):
        for take in ("01/001", "01/002", "08/001"):
            write(tmp_path / "raw" / "SBU" / pair / take, 0.2 + 0.6 * rng.random((3 + row, 90)), first=50 * row)
    return tmp_path / "raw"


def write(folder, values, *, first=1):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{first + t}," + ",".join(f"{value:.5g}" for value in row) for t, row in enumerate(values)]
    (folder / "skeleton_pos.txt").write_bytes("".join(line + "\r\n" for line in lines).encode())
    (folder / "depth_000001.png").write_bytes(b"\x89PNG")


def inputs(source):
    found = read([source]).clips
    assert isinstance(found, Iterator)  # read one by one
    return list(found)


def clips(source):
    return [entry for entry in inputs(source) if isinstance(entry, Clip)]


def test_joints_are_the_readmes_formula_number_by_number_in_metres(raw):
    for clip in clips(raw):
        lines = (raw / "SBU" / clip.name.replace("_", "/") / "skeleton_pos.txt").read_text().split("\n")[:-1]
        assert clip.keypoints.shape == (len(lines), 2, 15, 3)
        for frame, line in zip(clip.keypoints, lines, strict=True):
            numbers = iter([float(text) for text in line.split(",")][1:])
            for person in range(2):
                for joint in range(15):
                    x, y, z = next(numbers), next(numbers), next(numbers)
                    millimetres = [1280 - x * 2560, 960 - y * 1920, z * 10000 / 7.8125]
                    np.testing.assert_allclose(1000 * frame[person, joint], millimetres, rtol=0, atol=1e-9)


def test_what_is_lower_in_the_image_is_lower_and_what_is_deeper_is_further():
    middle, lower, deeper = to_metres(np.array([[0.5, 0.5, 1.0], [0.5, 0.6, 1.0], [0.5, 0.5, 1.5]]))
    assert lower[1] < middle[1] and deeper[2] > middle[2]
    np.testing.assert_allclose(middle, [0, 0, 1.28], atol=1e-12)


def test_names_and_facts_come_from_the_folders(raw):
    facts = [(c.name, c.label, c.subject, c.setup, c.repetition) for c in clips(raw)]
    assert facts[:3] == [
        ("s01s02_01_001", 0, 1, 102, 1),
        ("s01s02_01_002", 0, 1, 102, 2),
        ("s01s02_08_001", 7, 1, 102, 1),
    ]
    assert [name for name, *_ in facts] == sorted(name for name, *_ in facts) and len(facts) == 15
    assert len(set(CLASS_NAMES)) == 8


def test_each_fold_tests_its_own_pairs(raw):
    store = prepare("sbu", raw)
    assert list(store.splits) == list(FOLD_PAIRS)
    for fold, pair in FOLD_PAIRS.items():
        assert store.sides(fold).tolist() == [int(not clip["name"].startswith(pair)) for clip in store.clips]
        assert pair in store.splits[fold].text


def test_every_pair_tests_in_one_fold_and_trains_in_the_others(raw):
    names = [f"s{pair // 100:02d}s{pair % 100:02d}" for fold in FOLDS for pair in fold]
    assert len(names) == len(set(names)) == len(PAIRS) == 21
    assert [len(fold) for fold in FOLDS] == [4, 4, 4, 4, 5]
    for rule, fold in zip(read([raw]).splits.values(), FOLDS, strict=True):
        assert rule.test == fold
        assert sorted((*rule.train, *fold)) == list(PAIRS)


def test_the_skeleton_hangs_on_the_neck():
    layout = get_layout("sbu15")
    assert (layout.num_joints, layout.centre, layout.shoulders) == (15, 1, (3, 6))
    assert layout.parents.index(-1) == layout.centre
    chains = {"Hand": "Elbow", "Elbow": "Shoulder", "Foot": "Knee", "Knee": "Hip"}
    for child, parent in layout.bones:
        side, name = layout.joints[child][0], layout.joints[child][1:]
        if name in chains:
            assert layout.joints[parent] == side + chains[name]


def test_a_person_without_numbers_is_absent(raw):
    values = np.full((4, 90), 0.4)
    values[2:, 45:] = 0
    write(raw / "SBU" / "s03s04" / "02" / "001", values)
    (clip,) = (clip for clip in clips(raw) if clip.setup == 304)
    assert clip.keypoints[:2].all() and clip.keypoints[2:, 0].all()
    assert not clip.keypoints[2:, 1].any()


def test_a_clip_without_a_person_is_rejected_and_one_without_the_first_has_the_second(raw):
    values = np.full((4, 90), 0.4)
    values[:, :45] = 0
    write(raw / "SBU" / "s03s04" / "02" / "001", values)
    (clip,) = (clip for clip in clips(raw) if clip.setup == 304)
    assert not clip.keypoints[:, 0].any(), "as it is in the file"
    store = prepare("sbu", raw)
    index = store.column("name").tolist().index("s03s04_02_001")
    start = store.column("offset")[index]
    assert store.keypoints[start : start + 4, 0].all()
    write(raw / "SBU" / "s03s04" / "02" / "001", 0 * values)
    (rejected,) = prepare("sbu", raw, force=True).manifest["rejected"]
    assert rejected["file"] == "s03s04_02_001" and "is empty" in rejected["reason"]


def test_zips_of_pairs_hold_the_same_clips_as_the_folder_and_both_together_hold_them_once(raw):
    expected = clips(raw)
    for number, pair in enumerate(sorted((raw / "SBU").iterdir()), start=1):
        with zipfile.ZipFile(raw / f"Set{number:02d}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(pair.rglob("*.*")):
                archive.write(path, path.relative_to(raw / "SBU"))
                archive.writestr(f"__MACOSX/{path.parent.relative_to(raw / 'SBU')}/._{path.name}", b"\0\1")
    both = clips(raw)
    (raw / "SBU").rename(raw.parent / "elsewhere")
    zipped = clips(raw)
    for found in (both, zipped):
        assert [clip.name for clip in found] == [clip.name for clip in expected]
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.keypoints, other.keypoints)


PLACE = "s01s02/01/001/skeleton_pos.txt"


def line(number, change):
    """Damage one line of a file, counted from 1."""

    def damage(path):
        lines = path.read_text().splitlines()
        lines[number - 1] = change(lines[number - 1])
        path.write_text("\n".join(lines) + "\n")

    return damage


def field(column, text):
    def change(whole):
        fields = whole.split(",")
        fields[column - 1] = text
        return ",".join(fields)

    return change


@pytest.mark.parametrize(
    ("damage", "number", "reason"),
    [
        (line(2, lambda s: s.rsplit(",", 1)[0]), 2, ": 91 numbers expected (the frame's and two people's), 90 found."),
        (line(1, lambda s: s + ","), 1, ": 91 numbers expected (the frame's and two people's), 92 found."),
        (line(3, lambda s: ",".join(s.split(",")[:46])), 3, ": 91 numbers expected (the frame's and two people's), 46"),
        (line(2, field(7, "walk")), 2, ", column 7: 'walk' is not a finite number."),
        (line(2, field(91, "nan")), 2, ", column 91: 'nan' is not a finite number."),
        (line(2, field(2, "inf")), 2, ", column 2: 'inf' is not a finite number."),
        (line(2, field(2, "")), 2, ", column 2: '' is not a finite number."),
        (line(2, field(2, "0_5")), 2, ", column 2: '0_5' is not a finite number."),
        (line(1, field(1, "first")), 1, ", column 1: 'first' is not a finite number."),
        (line(1, field(1, "0.5")), 1, ": frame number 0 expected, 0.5 found; frames are missing or out of order."),
        (line(2, field(1, "2")), 2, ": frame number 1 expected, 2 found; frames are missing"),
        (line(3, field(1, "0")), 3, ": frame number 2 expected, 0 found; frames are missing"),
        (line(3, field(1, "1")), 3, ": frame number 2 expected, 1 found; frames are missing"),
        (lambda p: p.write_bytes(b"\xff\xfe\x00"), 1, ": 91 numbers expected (the frame's and two people's), 1 found."),
        (lambda p: p.write_text("\r\n \n"), None, " holds no frame."),
        (lambda p: p.write_text(""), None, " holds no frame."),
    ],
)
def test_a_damaged_clip_is_rejected_with_its_line_and_reason_and_the_others_are_prepared(raw, damage, number, reason):
    damage(raw / "SBU" / PLACE)
    store = prepare("sbu", raw)
    (rejected,) = store.manifest["rejected"]
    assert (rejected["file"], rejected["line"]) == (PLACE, number)
    place = PLACE if number is None else f"{PLACE}, line {number}"
    assert rejected["reason"].startswith(place + reason)
    assert len(store.clips) == 14


def test_blank_lines_do_not_count(raw):
    path = raw / "SBU" / PLACE
    expected = clips(raw)[0].keypoints
    path.write_text("\n" + path.read_text().replace("\n", "\n \n"))
    np.testing.assert_array_equal(clips(raw)[0].keypoints, expected)


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("s01s09/01/001", "s01s09/01/001/skeleton_pos.txt: there is no pair s01s09 among the 21"),
        ("s01s02/09/001", "s01s02/09/001/skeleton_pos.txt: there is no class 09; they are 01 to 08."),
        ("s01s02/00/001", "s01s02/00/001/skeleton_pos.txt: there is no class 00; they are 01 to 08."),
        ("s01s02/kicking/001", "s01s02/kicking/001/skeleton_pos.txt is not in folders of a pair, a class and a take"),
        ("s01s02/01/1", "s01s02/01/1/skeleton_pos.txt is not in folders"),
        ("pair/01/001", "pair/01/001/skeleton_pos.txt is not in folders"),
    ],
)
def test_folders_that_name_no_clip_are_rejected(raw, folder, reason):
    write(raw / "SBU" / folder, np.full((2, 90), 0.4))
    (rejected,) = (entry for entry in inputs(raw) if isinstance(entry, Rejected))
    assert rejected.reason.startswith(reason)
    assert len(clips(raw)) == 15


def test_the_official_counts_are_those_of_282_clips(raw):
    official = read([raw]).official
    assert list(official) == [f"fold{number}" for number in range(1, 6)]
    assert {train + test for train, test in official.values()} == {282}
    assert sum(test for _, test in official.values()) == 282  # every pair tests once


def test_a_folder_below_the_pairs_is_refused_with_the_way_out(raw):
    with pytest.raises(SkelbenchError, match=r"01/001/skeleton_pos\.txt is not in folders of a pair.*give those above"):
        prepare("sbu", raw / "SBU" / "s01s02")
    assert list_stores() == []


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "skeleton.txt").write_text("1,2,3")
    with pytest.raises(SkelbenchError, match="holds no SBU Kinect Interaction clips"):
        prepare("sbu", tmp_path)
    assert not data_folder().exists()


@pytest.fixture(scope="module")
def distributed():
    """The whole data set as distributed."""
    root = Path(os.environ.get("SKELBENCH_SHARED", Path(__file__).resolve().parents[4] / "shared")) / "data"
    path = root / "raw" / "sbu" / "SBU.zip"
    if not path.exists():
        pytest.skip("SBU Kinect Interaction is not at hand (set SKELBENCH_SHARED)")
    found = inputs(path)
    assert not [entry for entry in found if isinstance(entry, Rejected)]
    return found


def bone_lengths(clips):
    """Metres, (frames, 2, bones) of each clip, by child joint."""
    layout = get_layout("sbu15")
    child, parent = (list(joints) for joints in zip(*layout.bones, strict=True))
    lengths = [np.linalg.norm(clip.keypoints[:, :, child] - clip.keypoints[:, :, parent], axis=-1) for clip in clips]
    return [layout.joints[joint] for joint in child], lengths


def test_the_distributed_data_has_its_282_clips_of_21_pairs_and_eight_classes(distributed):
    assert len(distributed) == len({clip.name for clip in distributed}) == 282
    assert sum(len(clip.keypoints) for clip in distributed) == 6822
    assert {clip.setup for clip in distributed} == set(PAIRS)
    counts = Counter(clip.label for clip in distributed)
    assert [counts[label] for label in range(8)] == [42, 43, 40, 41, 18, 21, 39, 38]
    assert [sum(clip.setup in fold for clip in distributed) for fold in FOLDS] == [55, 52, 56, 54, 65]


def test_bones_of_the_distributed_data_are_as_long_left_as_right_and_as_people_have_them(distributed):
    names, lengths = bone_lengths(distributed)
    middle = dict(zip(names, np.median(np.concatenate(lengths), axis=(0, 1)), strict=True))
    for joint, tolerance in {"Shoulder": 0.01, "Elbow": 0.05, "Hand": 0.01, "Knee": 0.01, "Foot": 0.01}.items():
        assert middle[f"L{joint}"] == pytest.approx(middle[f"R{joint}"], rel=tolerance)
    assert 0.38 < middle["LKnee"] < 0.48 and 0.36 < middle["LFoot"] < 0.46 and 0.24 < middle["LHand"] < 0.32
    upright = sum(middle[joint] for joint in ("Head", "Torso", "LHip", "LKnee", "LFoot"))
    assert 1.4 < upright < 1.6  # from the middle of the head to the ankles: people of about 1.7 m


def test_rigid_bones_of_the_distributed_data_keep_their_length_within_a_clip(distributed):
    names, lengths = bone_lengths(distributed)
    spread = np.median([length.std(axis=0) / length.mean(axis=0) for length in lengths], axis=(0, 1))
    by_joint = dict(zip(names, spread, strict=True))
    assert by_joint["LShoulder"] < 0.01 and by_joint["RShoulder"] < 0.01 and by_joint["LKnee"] < 0.02


def test_people_of_the_distributed_data_stand_upright_and_face_each_other(distributed):
    head, neck, torso, left, right, feet = 0, 1, 2, 3, 6, [11, 14]
    facing = []
    for clip in distributed:
        people = clip.keypoints
        assert (np.median(people[:, :, head, 1] - people[:, :, feet, 1].min(axis=-1), axis=0) > 1).all()
        forward = np.cross(people[:, :, left] - people[:, :, right], people[:, :, neck] - people[:, :, torso])
        other = people[:, ::-1, torso] - people[:, :, torso]
        facing.append(((forward * other).sum(axis=-1) > 0).mean())
    assert np.mean(facing) > 0.85  # it would be the rest if left and right, or an axis, were the wrong way round


def test_classes_of_the_distributed_data_are_what_their_names_say(distributed):
    """Each class is the extreme of what its name says; two hands push and one punches."""
    gap, touch, change, lift, one_handed = {}, {}, {}, {}, {}
    for label in range(8):
        people = [clip.keypoints for clip in distributed if clip.label == label]
        apart = [np.linalg.norm(p[:, 0, 2] - p[:, 1, 2], axis=-1) for p in people]
        hands = [
            np.linalg.norm(p[:, 0, [5, 8]][:, :, None] - p[:, 1, [5, 8]][:, None], axis=-1).min((1, 2)) for p in people
        ]
        gap[CLASS_NAMES[label]] = np.median([d.min() for d in apart])
        touch[CLASS_NAMES[label]] = np.mean([(h < 0.2).mean() for h in hands])
        change[CLASS_NAMES[label]] = np.median([d[-1] - d[0] for d in apart])
        lift[CLASS_NAMES[label]] = np.median([np.ptp(p[:, :, [11, 14], 1], axis=0).max() for p in people])
        one_handed[CLASS_NAMES[label]] = np.median([apart_at_reach(p) for p in people])
    assert min(gap, key=gap.__getitem__) == "hugging"
    assert max(touch, key=touch.__getitem__) == "shaking hands"
    assert min(change, key=change.__getitem__) == "approaching"
    assert max(change, key=change.__getitem__) == "departing"
    assert max(lift, key=lift.__getitem__) == "kicking"
    assert one_handed["pushing"] < 0.3 < one_handed["punching"]


def apart_at_reach(people):
    """How much nearer to the other one's torso one hand is than the other, at the moment someone reaches furthest."""
    to_other = np.linalg.norm(people[:, :, [5, 8]] - people[:, ::-1, [2]], axis=-1)  # (T, 2, hands)
    frame, person = np.unravel_index(to_other.min(axis=-1).argmin(), to_other.shape[:2])
    return abs(np.subtract(*to_other[frame, person]))
