import math
import os
import pickle
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from skelbench.datasets import Items, Rejected, list_stores, open_store, prepare
from skelbench.datasets.inspect import describe
from skelbench.datasets.layout import get_layout
from skelbench.datasets.readers.pkummd import CLASS_NAMES, cut, read_part1, read_part2
from skelbench.datasets.readers.pkummd_text import Segment, read_skeletons
from skelbench.datasets.store import data_folder
from skelbench.errors import SkelbenchError

PART1 = ("0002-L", "0002-M", "0003-L", "0017-R")
PART2 = ("A01N01-L", "A01N02-M", "A12N13-R")
ROWS = ((5, 3, 12, 2), (42, 11, 40, 1), (42, 11, 40, 1), (17, 41, 390, 2))  # the second stands twice, the last is long
FRAMES = 400
FOLDERS = (("PKU_Skeleton_Renew", "Train_Label_PKU_final"), ("skeleton", "label"), ("one", "two"))
HEADERS = {1: ("Training videos: ", "Validataion videos: "), 2: ("Training video ids:", "Testing video ids:")}
LISTS = {
    1: {"xsub": "cross-subject.txt", "xview": "cross-view.txt"},
    2: {"xsub": "cross_subject_v2.txt", "xview": "cross_view_v2.txt"},
}


@cache
def video_text(seed, frames=FRAMES):
    """Two persons, six decimals and no sign as distributed; the second is gone for a while, once by cancellation."""
    table = np.random.default_rng(seed).normal(0, 1.5, (frames, 150)).round(6)
    table[frames // 2 :, 75:] = 0
    table[1, 75:] = 0
    table[2, 75:] = 0
    table[2, [80, 90]] = 0.5, -0.5
    return "".join(" ".join(f"{value: f}" for value in row) + "\n" for row in table)


def label_text(rows=ROWS):
    return "".join(",".join(str(field) for field in row) + "\n" for row in rows)


def split_text(train, test, part=1):
    first, second = HEADERS[part]
    return f"{first}\n{', '.join(train)}, \n{second}\n{', '.join(test)}\n"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def raw_part(top, part=1, folders=FOLDERS[0], frames=FRAMES):
    videos = PART1 if part == 1 else PART2
    for seed, video in enumerate(videos):
        write(top / "Data" / folders[0] / f"{video}.txt", video_text(seed, frames))
        write(top / "Label" / folders[1] / f"{video}.txt", label_text())
    write(top / "Split" / LISTS[part]["xsub"], split_text(videos[:1], videos[2:], part))
    right = [video for video in videos if video.endswith("L")]
    write(top / "Split" / LISTS[part]["xview"], split_text(right, videos[-1:], part))
    return top


@pytest.fixture
def raw(tmp_path):
    return raw_part(tmp_path / "raw")


def skeletons(raw, video="0002-M"):
    return raw / "Data" / FOLDERS[0][0] / f"{video}.txt"


def labels(raw, video="0002-M"):
    return raw / "Label" / FOLDERS[0][1] / f"{video}.txt"


def everything(recording):
    """All clips and rejected inputs, as another process would read them."""
    items = pickle.loads(pickle.dumps(recording.clips))
    return [clip for i in range(len(items.names)) for clip in items.load(i)]


def slow_clip(text, start, end, longest=300):
    """Frame by frame and number by number: (T, 2, 25, 3) float32."""
    lines = text.splitlines()
    frames = [lines[number - 1] for number in range(start, end + 1)]
    while longest and len(frames) > longest:  # from both ends in turn, from the end first
        frames.pop(-1 if (len(frames) - longest) % 2 else 0)
    clip = np.zeros((len(frames), 2, 25, 3), np.float32)
    for t, line in enumerate(frames):
        numbers = [float(text) for text in line.split()]
        for person in range(2 if math.fsum(numbers[75:150]) != 0 else 1):
            for joint in range(25):
                for axis in range(3):
                    clip[t, person, joint, axis] = np.float32(numbers[75 * person + 3 * joint + axis])
    return clip


@pytest.mark.parametrize("folders", FOLDERS)
@pytest.mark.parametrize("part", [1, 2])
def test_clips_are_those_of_a_slow_walk_over_the_lines(tmp_path, part, folders):
    raw = raw_part(tmp_path / "raw", part, folders)
    clips = everything((read_part1 if part == 1 else read_part2)([raw]))
    assert len(clips) == len(ROWS) * len(PART1 if part == 1 else PART2)
    for i, clip in enumerate(clips):
        text = video_text(i // len(ROWS))
        action, start, end, _ = ROWS[i % len(ROWS)]
        assert clip.label == action - 1 and clip.keypoints.dtype == np.float32
        np.testing.assert_array_equal(clip.keypoints, slow_clip(text, start, end), strict=True)


def test_a_second_person_whose_numbers_cancel_out_is_absent(raw):
    clip = everything(read_part1([raw]))[0].keypoints  # frames 3 to 12
    assert not clip[0, 1].any() and clip[1:, 1].any(axis=(1, 2)).all()


def test_clips_of_part_1_carry_the_released_names_and_the_recording_and_the_camera(raw):
    recording = read_part1([raw])
    clips = everything(recording)
    assert [clip.name for clip in clips[:5]] == [
        "F002V001C005L001",
        "F002V001C042L002",
        "F002V001C042L003",
        "F002V001C017L004",
        "F002V002C005L001",
    ]
    facts = {(clip.name[:8], clip.subject, clip.camera) for clip in clips}
    assert facts == {("F002V001", 2, 1), ("F002V002", 2, 2), ("F003V001", 3, 1), ("F017V003", 17, 3)}
    assert recording.rejected == () and recording.fps == 30 and recording.layout == get_layout("ntu25")
    assert "recording" in recording.notes["subject"]


def test_clips_of_part_2_carry_the_released_names_and_who_moved(tmp_path):
    clips = everything(read_part2([raw_part(tmp_path / "raw", 2)]))
    assert clips[-1].name == "A012N013V003C017L004"
    facts = {(clip.name[:12], clip.subject, clip.camera) for clip in clips}
    assert facts == {("A001N001V001", 1, 1), ("A001N002V002", 2, 2), ("A012N013V003", 13, 3)}


def test_the_classes_are_the_51_in_their_alphabetical_order():
    assert len(set(CLASS_NAMES)) == 51 and list(CLASS_NAMES) == sorted(CLASS_NAMES)
    known = {8: "drink water", 11: "falling", 22: "pickup", 34: "standing up", 42: "touch back (backache)"}
    assert {number: CLASS_NAMES[number - 1] for number in known} == known


@pytest.mark.parametrize(("longest", "frames"), [(300, 300), (0, 350), (7, 7), (350, 350)])
def test_a_long_clip_is_cropped_to_its_middle_on_request(raw, longest, frames):
    clip = everything(read_part1([raw], longest=longest))[3].keypoints
    assert len(clip) == frames
    np.testing.assert_array_equal(clip, slow_clip(video_text(0), 41, 390, longest))


def test_the_released_clips_come_out_to_the_last_bit(golden):
    known = golden("moco-family/pku_parse.npz")
    for number, (action, start, end, _) in enumerate(known["label_0002_L"].tolist(), start=1):
        row = Segment(action, start, end, number, number)
        expected = known[f"xyz__F002V001C{row.action:03d}L{row.row:03d}.skeleton"].transpose(1, 3, 2, 0)
        np.testing.assert_array_equal(cut(known["raw_0002_L"], row), expected.astype(np.float32), strict=True)


def test_the_released_clips_come_out_of_the_text_too(golden, tmp_path):
    known = golden("moco-family/pku_parse.npz")
    np.savetxt(tmp_path / "raw.txt", known["raw_0002_L"])
    np.savetxt(tmp_path / "label.txt", known["label_0002_L"], "%d", ",")
    write(tmp_path / "x" / "s" / "0002-L.txt", (tmp_path / "raw.txt").read_text())
    write(tmp_path / "x" / "l" / "0002-L.txt", (tmp_path / "label.txt").read_text())
    clips = {f"xyz__{clip.name}.skeleton": clip.keypoints for clip in everything(read_part1([tmp_path / "x"]))}
    assert set(clips) == {name for name in known if name.startswith("xyz__")}
    for name, keypoints in clips.items():
        np.testing.assert_array_equal(keypoints, known[name].transpose(1, 3, 2, 0).astype(np.float32), strict=True)


@pytest.mark.parametrize("part", [1, 2])
def test_a_video_trains_if_the_training_list_names_it_and_tests_otherwise(tmp_path, part):
    raw, reader = raw_part(tmp_path / "raw", part), read_part1 if part == 1 else read_part2
    recording = reader([raw])
    assert [(rule.field, split) for split, rule in recording.splits.items()] == [("own", "xsub"), ("own", "xview")]
    sides = [clip.splits for clip in everything(recording)[:: len(ROWS)]]
    videos = PART1 if part == 1 else PART2
    assert sides == [{"xsub": int(i == 0), "xview": int(video[-1] == "L")} for i, video in enumerate(videos)]


def test_lists_spell_and_break_as_they_like(raw):
    (raw / "Split" / "cross-view.txt").rename(raw / "PKU_Cross View (v1).TXT")
    write(raw / "PKU_Cross View (v1).TXT", "\ufeffTesting videos\r\n17-r\r\n\r\nTRAINING\n2-l,\n003-L\n")
    sides = [clip.splits["xview"] for clip in everything(read_part1([raw]))[:: len(ROWS)]]
    assert sides == [1, 0, 1, 0]


def test_a_split_without_its_list_does_not_exist(raw):
    (raw / "Split" / "cross-view.txt").unlink()
    store = prepare("pkummd1", raw)
    assert list(store.manifest["splits"]) == ["xsub"]
    assert "cross-view.txt" in store.manifest["notes"]["missing_splits"]["xview"]
    assert store.sides("xsub").tolist() == [1] * 4 + [0] * 12


def test_videos_that_a_list_names_and_the_download_lacks_are_noted(raw):
    write(raw / "Split" / "cross-view.txt", split_text(["0002-L", "0400-L"], ["0399-R"]))
    labels(raw).unlink()
    assert read_part1([raw]).notes["missing_videos"] == ["0399-R", "0400-L"]
    write(raw / "Split" / "cross-view.txt", split_text(["0002-L", "0400-L"], ["0002-M"]))
    assert read_part1([raw]).notes["missing_videos"] == ["0002-M", "0400-L"]


def test_videos_that_no_part_of_a_list_names_are_counted(raw):
    assert read_part1([raw]).notes["unlisted_videos"] == {"xsub": 1, "xview": 1}
    write(raw / "Split" / "cross-view.txt", split_text(PART1[:2], PART1[2:]))
    write(raw / "Split" / "cross-subject.txt", split_text(PART1[:1], PART1[3:]))
    assert read_part1([raw]).notes["unlisted_videos"] == {"xsub": 2}


def test_inspecting_reports_what_the_notes_say_is_missing(raw):
    lines = describe(prepare("pkummd1", raw))["lines"]
    assert "  xsub: 1 video is in neither part of the list and so tests" in lines
    (raw / "Split" / "cross-view.txt").unlink()
    more = [f"{number:04d}-L" for number in range(100, 107)]
    write(raw / "Split" / "cross-subject.txt", split_text(PART1[:1], [*PART1[1:2], *more]))
    lines = describe(prepare("pkummd1", raw))["lines"]
    assert "  no split xview: cross-view.txt or cross_view_v2.txt was not at hand" in lines
    assert f"  missing: 7 videos of the lists of splits: {', '.join(more[:5])}, ..." in lines
    assert "  xsub: 2 videos are in neither part of the list and so test" in lines


def test_lists_of_the_other_part_are_left_alone_and_each_part_finds_its_own(raw):
    raw_part(raw, 2, FOLDERS[1])
    assert len(everything(read_part1([raw]))) == 16
    second = read_part2([raw])
    assert len(everything(second)) == 12 and set(second.splits) == {"xsub", "xview"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (split_text(["0002-L", "0003-L"], ["0003-L"]), r"Split/cross-view\.txt: 0003-L is on both sides"),
        (split_text(["0002-L", "0003"], ["0003-L"]), r"cross-view\.txt, line 2: '0003' is not a video id"),
        ("0002-L, 0003-L\n", r"cross-view\.txt, line 1: there is no header"),
        ("", r"cross-view\.txt names no training video"),
        (split_text([], ["0003-L"]), r"cross-view\.txt names no training video"),
        ("Training videos:\n0002-L, 0003-L", r"Split/cross-view\.txt names no test video below a second header"),
        (split_text(["0002-L"], []), r"cross-view\.txt names no test video .*cut off: download the list again\."),
    ],
)
def test_a_damaged_list_is_an_error_before_anything_is_read(raw, text, message):
    write(raw / "Split" / "cross-view.txt", text)
    with pytest.raises(SkelbenchError, match=message):
        prepare("pkummd1", raw)
    assert not data_folder().exists()


def test_two_lists_of_a_split_must_agree(raw):
    write(raw / "copy" / "cross_subject.txt", (raw / "Split" / "cross-subject.txt").read_text())
    assert set(read_part1([raw]).splits) == {"xsub", "xview"}
    write(raw / "copy" / "cross_subject.txt", split_text(["0003-L"], ["0002-L"]))
    with pytest.raises(SkelbenchError, match="are different lists of xsub"):
        read_part1([raw])


def zipped(folder, target):
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*.txt")):
            archive.write(path, path.relative_to(folder))
    return target


def same(one, other):
    assert [clip.name for clip in one] == [clip.name for clip in other]
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.keypoints, b.keypoints)


def test_zips_and_folders_hold_the_same_clips(raw, tmp_path):
    expected = everything(read_part1([raw]))
    same(everything(read_part1([zipped(raw, tmp_path / "all.zip")])), expected)
    # one zip a kind: inside, both kinds have the same paths
    for kind, folder in (("a", skeletons(raw).parent), ("b", labels(raw).parent), ("c", raw / "Split")):
        (tmp_path / "zips").mkdir(exist_ok=True)
        zipped(folder, tmp_path / "zips" / f"{kind}.zip")
    same(everything(read_part1([tmp_path / "zips"])), expected)
    same(everything(read_part1(sorted((tmp_path / "zips").iterdir()))), expected)
    same(everything(read_part1([labels(raw).parent, skeletons(raw).parent, raw / "Split"])), expected)


def test_names_without_padding_and_in_small_letters_are_known(raw):
    expected = everything(read_part1([raw]))
    for path in (skeletons(raw), labels(raw)):
        path.rename(path.with_name("2-m.TXT"))
    same(everything(read_part1([raw])), expected)


def test_other_endings_are_known(raw):
    expected = everything(read_part1([raw]))
    skeletons(raw).rename(skeletons(raw).with_suffix(".skeleton"))
    labels(raw).rename(labels(raw).with_suffix(".label"))
    same(everything(read_part1([raw])), expected)


def test_one_video_under_two_names_is_rejected(raw):
    write(skeletons(raw, "2-M"), video_text(7))
    (rejected,) = read_part1([raw]).rejected
    assert "2-M.txt" in rejected.reason and "are both the skeleton text of the video 0002-M" in rejected.reason


def test_of_two_files_of_a_kind_the_one_in_a_folder_named_so_is_read(raw):
    write(raw / "Detections" / "0002-M.txt", label_text([(1, 1, 2, 0.5)]))
    write(raw / "A vector of every label" / "0002-M.txt", "0\n0\n5\n")
    assert len(everything(read_part1([raw]))) == 16


def test_files_outside_zips_are_read_before_those_inside(tmp_path):
    top = tmp_path / "raw"
    write(tmp_path / "old" / "0002-L.txt", label_text([(1, 1, 2, 1)]))
    write(top / "s" / "0002-L.txt", video_text(0))
    write(top / "t" / "0002-L.txt", label_text())
    zipped(tmp_path / "old", top / "old.zip")
    assert len(everything(read_part1([top]))) == 4


def test_texts_that_are_both_empty_are_distinguished_by_their_folders(raw):
    for path in (skeletons(raw), labels(raw)):
        path.write_text("")
    (rejected,) = prepare("pkummd1", raw).manifest["rejected"]
    assert rejected["reason"] == f"{LABEL} holds no action."


def edit(path, line, change):
    lines = path.read_text().splitlines()
    lines[line - 1] = change(lines[line - 1])
    path.write_text("\n".join(lines) + "\n")


SKELETON, LABEL = "PKU_Skeleton_Renew/0002-M.txt", "Train_Label_PKU_final/0002-M.txt"


@pytest.mark.parametrize(
    ("damage", "file", "line", "reason", "left"),
    [
        (
            lambda r: edit(skeletons(r), 3, lambda x: x[:-10]),
            SKELETON,
            3,
            "line 3: 150 numbers expected, 149 found",
            12,
        ),
        (lambda r: edit(skeletons(r), 9, lambda x: ""), SKELETON, 9, "line 9: 150 numbers expected, 0 found", 12),
        (lambda r: edit(skeletons(r), 1, lambda x: " x" + x[2:]), SKELETON, 1, "line 1, column 1: 'x", 12),
        (lambda r: edit(skeletons(r), 2, lambda x: "nan" + x[9:]), SKELETON, 2, "line 2, column 1: 'nan' is not a", 12),
        (lambda r: edit(skeletons(r), 400, lambda x: x[:77]), SKELETON, 400, "numbers expected, 8 found", 12),
        (lambda r: skeletons(r).write_text(" \n"), SKELETON, None, "holds no frame", 12),
        (lambda r: skeletons(r).unlink(), LABEL, None, "is there, but no skeleton text of the video 0002-M", 12),
        (lambda r: labels(r).unlink(), SKELETON, None, "is there, but no label text of the video 0002-M", 12),
        (lambda r: labels(r).write_text("0\n" * 9), LABEL, 1, "None of the 9 rows can be used", 12),
        (lambda r: skeletons(r).write_bytes(b"\0" * 9999), SKELETON, 1, "line 1: 150 numbers expected, 1 found", 12),
        (lambda r: labels(r).write_text("\n"), LABEL, None, "holds no action", 12),
        (lambda r: edit(labels(r), 2, lambda x: "52,11,40,1"), LABEL, 2, "line 2: there is no class 52", 15),
        (lambda r: edit(labels(r), 2, lambda x: "0,11,40,1"), LABEL, 2, "line 2: there is no class 0", 15),
        (lambda r: edit(labels(r), 1, lambda x: "5,12,11"), LABEL, 1, "line 1: frame 12 cannot be the first", 15),
        (lambda r: edit(labels(r), 1, lambda x: "5,0,11"), LABEL, 1, "line 1: frames 0 to 11 do not lie in", 15),
        (lambda r: edit(labels(r), 4, lambda x: "5,9,401"), LABEL, 4, "whose frames are 1 to 400", 15),
        (lambda r: edit(labels(r), 3, lambda x: "5,9,1_0"), LABEL, 3, "line 3: '5,9,1_0' is not a class", 15),
        (lambda r: edit(labels(r), 3, lambda x: "5,9,1e300"), LABEL, 3, "line 3: '5,9,1e300' is not a class", 15),
        (lambda r: edit(skeletons(r), 2, lambda x: "1_0" + x[9:]), SKELETON, 2, "line 2, column 1: '1_0' is not a", 12),
        (lambda r: edit(labels(r), 3, lambda x: "5,9"), LABEL, 3, "line 3: '5,9' is not a class", 15),
        (lambda r: edit(labels(r), 3, lambda x: "5,9,1.5,1"), LABEL, 3, "line 3: '5,9,1.5,1' is not a class", 15),
        (lambda r: write(skeletons(r), video_text(1, 389)), LABEL, 4, "frames 41 to 390 do not lie in the video", 15),
    ],
)
def test_what_is_damaged_is_rejected_with_its_place_and_the_rest_is_prepared(raw, damage, file, line, reason, left):
    damage(raw)
    store = prepare("pkummd1", raw)
    (rejected,) = store.manifest["rejected"]
    assert (rejected["file"], rejected["line"]) == (file, line)
    assert rejected["reason"].startswith(file) and reason in rejected["reason"]
    assert len(store.clips) == left


@pytest.mark.parametrize("overhang", ["reject", "cut"])
def test_advice_on_rows_outside_the_video_is_such_as_helps(raw, overhang):
    rows = ((5, 0, 12, 2), (5, 3, 12, 2), (17, 390, 401, 2), (17, 401, 410, 2))
    labels(raw).write_text(label_text(rows))
    reasons = {entry.line: entry.reason for entry in prepare("pkummd1", raw, options={"overhang": overhang}).rejected}
    assert "frames count from 1: mend the row" in reasons[1] and "overhang" not in reasons[1]
    assert ("overhang=cut" in reasons.get(3, "")) == (overhang == "reject") == (3 in reasons)
    assert "overhang" not in reasons[4] and "may be incomplete" in reasons[4]


def test_actions_that_overlap_are_told_with_file_and_lines(tmp_path):
    raw = raw_part(tmp_path / "raw")
    for path in (raw / "Label").rglob("*.txt"):
        path.write_text(label_text(((5, 3, 12, 2), (42, 13, 40, 1))))
    assert "source" not in [found["check"] for found in prepare("pkummd1", raw, "apart").manifest["audit"]]
    labels(raw).write_text("\n" + label_text(((42, 11, 40, 1), (5, 3, 12, 2), (17, 20, 25, 2), (9, 40, 50, 2))))
    (told,) = [f for f in prepare("pkummd1", raw, "over").manifest["audit"] if f["check"] == "source"]
    file = f"{FOLDERS[0][1]}/0002-M.txt"
    expected = f"{file}, lines 3 and 2: 2 frames; {file}, lines 2 and 4: 6 frames; {file}, lines 2 and 5: 1 frame)"
    assert told["level"] == "warning" and expected in told["what"] and told["clips"] == 4


def test_a_damaged_member_of_a_zip_is_rejected(raw, tmp_path):
    path = zipped(raw, tmp_path / "all.zip")
    with zipfile.ZipFile(path) as archive:
        member = next(m for m in archive.infolist() if m.filename.endswith(SKELETON))
    content = bytearray(path.read_bytes())
    start = member.header_offset + 30 + len(member.filename)
    content[start : start + 50] = bytes(b ^ 0xFF for b in content[start : start + 50])
    path.write_bytes(content)
    (rejected,) = prepare("pkummd1", path).manifest["rejected"]
    assert rejected["reason"].startswith("0002-M.txt cannot be read (")


def test_the_row_of_a_label_names_the_clip_even_behind_a_rejected_row(raw):
    edit(labels(raw), 1, lambda _: "\n60,3,12,2")
    found = [clip for clip in everything(read_part1([raw])) if isinstance(clip, Rejected) or "F002V002" in clip.name]
    assert [getattr(clip, "name", None) for clip in found] == [
        None,
        "F002V002C042L002",
        "F002V002C042L003",
        "F002V002C017L004",
    ]
    assert found[0].line == 2


@pytest.mark.parametrize(("between", "end"), [("\n", "\n"), ("\r\n", "\r\n"), ("\n", "\n\n \n"), (" \n", "")])
@pytest.mark.parametrize("form", ["{: f}", "{:f}", "{:.17g}", "{:.18e}", "{:.3f}\t"])
def test_numbers_are_read_as_python_reads_them_however_they_are_written(form, between, end):
    table = np.random.default_rng(3).normal(0, 2, (5, 152))  # two columns more than are used
    table[1, 75:] = -0.0
    lines = [" ".join(form.format(value) for value in row) for row in table]
    expected = np.array([[float(text) for text in line.split()[:150]] for line in lines])
    assert read_skeletons((between.join(lines) + end).encode(), "x").tobytes() == expected.tobytes()


def test_lines_of_unequal_length_are_read_if_none_is_too_short():
    lines = [" ".join(["0.5"] * 150), " ".join(["1.5"] * 153)]
    np.testing.assert_array_equal(read_skeletons("\n".join(lines).encode(), "x"), [[0.5] * 150, [1.5] * 150])


def test_several_processes_write_the_same_store_as_one(raw):
    for number in range(20, 50):  # more than two blocks of inputs
        write(skeletons(raw, f"{number:04d}-L"), video_text(number, 30))
        write(labels(raw, f"{number:04d}-L"), label_text([(number, 1, 30, 1), (number, 5, 31, 1)]))
    one, two = (prepare("pkummd1", raw, f"by{workers}", workers=workers) for workers in (1, 2))
    assert one.manifest["sha256"] == two.manifest["sha256"]
    assert one.manifest["rejected"] == two.manifest["rejected"] and len(one.manifest["rejected"]) == 30
    assert len(one.clips) == 46


def stamps_of(raw):
    items = read_part1([raw]).clips
    assert isinstance(items, Items)
    return items.stamps


def test_an_input_is_read_again_if_a_file_or_its_side_of_a_split_has_changed(raw):
    stamps = [stamps_of(raw)]
    for change in (
        lambda: write(skeletons(raw, "0002-L"), video_text(9)),
        lambda: write(labels(raw, "0002-L"), label_text(ROWS[:1])),
        lambda: write(raw / "Split" / "cross-view.txt", split_text(["0003-L"], ["0002-L"])),
    ):
        change()
        stamps.append(stamps_of(raw))
    assert len({stamp[0] for stamp in stamps}) == 4
    assert len({stamp[2] for stamp in stamps}) == 1


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        ("pkummd2", r"holds no PKU-MMD part 2 files .*, but PKU-MMD part 1 files .*: prepare pkummd1\."),
        ("pkummd1", "but lists"),
    ],
)
def test_a_source_without_videos_of_the_part_is_refused(raw, reader, message):
    with pytest.raises(SkelbenchError, match=message):
        prepare(reader, raw / "Split" if reader == "pkummd1" else raw / "Data")
    assert list_stores() == [] and not data_folder().exists()


def test_files_of_part_2_alone_name_their_reader(tmp_path):
    raw = raw_part(tmp_path / "raw", 2)
    with pytest.raises(
        SkelbenchError, match=r"no PKU-MMD part 1 files .*, but PKU-MMD part 2 files .*: prepare pkummd2\."
    ):
        prepare("pkummd1", raw)


@pytest.mark.parametrize(("part", "archive"), [(1, r"Label_PKUMMD\.7z"), (2, r"Label_PKUMMD_v2\.7z")])
def test_skeletons_without_any_labels_name_the_archive(tmp_path, part, archive):
    raw = raw_part(tmp_path / "raw", part)
    with pytest.raises(SkelbenchError, match=rf"skeletons of \d videos but no labels; unpack {archive} and give"):
        prepare(f"pkummd{part}", [raw / "Data", raw / "Split"])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", ["1e39", "-100.5", "1e300"])
def test_an_action_with_a_number_that_no_kinect_measures_is_rejected_alone(raw, value):
    edit(skeletons(raw), 4, lambda line: " ".join([value, *line.split()[1:]]))
    (rejected,) = (entry for entry in everything(read_part1([raw])) if isinstance(entry, Rejected))
    edit(skeletons(raw), 1, lambda line: " ".join([value, *line.split()[1:]]))  # in no action
    store = prepare("pkummd1", raw)
    assert len(store.clips) == 15
    assert (rejected.file, rejected.line) == (SKELETON, 4)
    assert rejected.reason.startswith(f"{SKELETON}, line 4, column 1: {float(value):g} m is not a Kinect measurement")


def test_a_length_below_zero_is_refused(raw):
    with pytest.raises(SkelbenchError, match="The option 'longest' of the reader 'pkummd1' cannot be -1"):
        prepare("pkummd1", raw, options={"longest": -1})


def test_the_store_says_what_was_done(raw):
    store = prepare("pkummd1", raw, options={"longest": 0})
    assert store.name == "pkummd1-0" and open_store("pkummd1-0").class_names == CLASS_NAMES
    assert store.manifest["notes"]["frames"] == "all of a clip"
    assert store.manifest["notes"]["missing_splits"] == {}
    assert max(clip["length"] for clip in store.clips) == 350


@pytest.fixture(scope="module")
def distributed():
    """A video of part 2 as distributed."""
    root = Path(os.environ.get("SKELBENCH_SHARED", Path(__file__).resolve().parents[4] / "shared"))
    path = root / "data" / "raw" / "pkummd" / "A10N08-L.txt"
    if not path.exists():
        pytest.skip("PKU-MMD is not at hand (set SKELBENCH_SHARED)")
    return path.read_text()


def test_a_distributed_video_is_read_and_cut(distributed, tmp_path):
    rows = [(10, 1, 50, 1), (22, 51, 411, 2), (51, 1040, 1040, 1), (3, 1000, 1041, 1)]
    write(tmp_path / "raw" / "A10N08-L.txt", distributed)
    write(tmp_path / "raw" / "labels" / "A10N08-L.txt", label_text(rows))
    write(tmp_path / "raw" / "cross_subject_v2.txt", split_text(["A10N08-L"], ["A10N09-L"], 2))
    store = prepare("pkummd2", tmp_path / "raw")
    assert [clip["name"] for clip in store.clips] == [
        "A010N008V001C010L001",
        "A010N008V001C022L002",
        "A010N008V001C051L003",
    ]
    assert [entry["line"] for entry in store.manifest["rejected"]] == [4]
    for clip, (_, start, end, _) in zip(store.clips, rows, strict=False):
        keypoints = store.keypoints[clip["offset"] : clip["offset"] + clip["length"]]
        np.testing.assert_array_equal(keypoints, slow_clip(distributed, start, end))


def test_an_action_that_ends_behind_its_video_is_cut_short_where_asked(raw):
    write(skeletons(raw), video_text(1, 389))
    (entry,) = (
        c for c in prepare("pkummd1", raw, options={"overhang": "cut", "longest": 0}).clips if c["length"] == 349
    )
    assert entry["name"].endswith("C017L004")
    edit(labels(raw), 4, lambda row: "17,390,395,2")
    (rejected,) = prepare("pkummd1", raw, options={"overhang": "cut"}).rejected
    assert "frames 390 to 395 do not lie in the video, whose frames are 1 to 389; the video may be" in rejected.reason
