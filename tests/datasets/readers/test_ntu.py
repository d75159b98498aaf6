import csv
import json
import os
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from skelbench.datasets import prepare
from skelbench.datasets.inspect import describe
from skelbench.datasets.readers import ntu_names
from skelbench.datasets.readers.bodies import SHORT, listed, ranked
from skelbench.datasets.readers.ntu_names import Name, read_name
from skelbench.datasets.readers.ntu_text import _careful, _fast, parse
from skelbench.datasets.recording import UnusableError
from skelbench.errors import SkelbenchError

NAMES = ["S001C001P001R001A001", "S001C002P003R001A007", "S002C003P008R002A060", "S004C001P003R001A013"]


def shared():
    return Path(os.environ.get("SKELBENCH_SHARED", Path(__file__).resolve().parents[4] / "shared"))


def line_by_line(text):
    """The coordinates of every frame's bodies, from the format's description alone: [[(id, [[x, y, z], ...]), ...]]."""
    lines = iter(text.split("\n"))
    frames = []
    for _ in range(int(next(lines))):
        bodies = []
        for _ in range(int(next(lines))):
            identity = next(lines).split()[0]
            joints = [[float(v) for v in next(lines).split()[:3]] for _ in range(int(next(lines)))]
            bodies.append((identity, joints))
        frames.append(bodies)
    return frames


def same(skeletons, frames):
    flat = [(t, *one) for t, bodies in enumerate(frames) for one in bodies]
    assert skeletons.frames == len(frames)
    assert skeletons.frame.tolist() == [t for t, _, _ in flat]
    assert list(skeletons.body) == [identity for _, identity, _ in flat]
    np.testing.assert_array_equal(skeletons.joints, np.array([j for _, _, j in flat]).reshape(-1, 25, 3))


def test_both_readers_read_what_a_plain_one_reads(skeleton_files):
    body = skeleton_files.body
    for counts in ((1, 2, 0, 3), (0, 0), (2,)):
        text = skeleton_files.text([[body(str(m)) for m in range(n)] for n in counts])
        for read in (_fast, lambda content: _careful(content, "x")):
            same(read(text.encode()), line_by_line(text))


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("\n", "\r\n"),
        lambda t: t.rstrip("\n"),
        lambda t: t + "\n \n",
        lambda t: t.replace(" ", "\t"),
        lambda t: t.replace(" ", "  "),
        lambda t: t.replace("\n", " \n"),
    ],
)
def test_white_space_does_not_matter(skeleton_files, change):
    text = skeleton_files.text([[skeleton_files.body()], [], [skeleton_files.body(), skeleton_files.body("2")]])
    same(parse(change(text).encode(), "x"), line_by_line(text))


def test_numbers_that_are_not_used_may_be_anything(skeleton_files):
    lines = skeleton_files.text([[skeleton_files.body()]]).split("\n")
    lines[4] = " ".join([*lines[4].split()[:11], "nan"])
    same(parse("\n".join(lines).encode(), "x"), line_by_line("\n".join(lines)))


def edit(number, change):
    """Change one line, from 1."""

    def apply(text):
        lines = text.split("\n")
        lines[number - 1] = change(lines[number - 1])
        return "\n".join(lines)

    return apply


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (edit(5, lambda line: line.rsplit(" ", 1)[0]), "line 5: 12 numbers expected, 11 found"),
        (edit(6, lambda line: line + " 1"), "line 6: 12 numbers expected, 13 found"),
        (edit(3, lambda line: line + " 1"), "line 3: 10 numbers expected, 11 found"),
        (edit(4, lambda _: "20"), "line 4: 25 joints expected, 20 announced"),
        (edit(7, lambda line: "walk" + line[line.index(" ") :]), "line 7: column 1: 'walk' is not a finite number"),
        (edit(7, lambda line: "nan" + line[line.index(" ") :]), "line 7: column 1: 'nan' is not a finite number"),
        (edit(7, lambda line: "1e999" + line[line.index(" ") :]), "line 7: column 1: '1e999' is not a finite"),
        (edit(7, lambda line: "1_0" + line[line.index(" ") :]), "line 7: column 1: '1_0' is not a finite number"),
        (edit(1, lambda _: "4"), "the file ends where the number of bodies of frame 4 of 4 should follow"),
        (edit(1, lambda _: "2"), "there is more than the 2 frames announced"),
        (edit(1, lambda _: "0"), "line 1: there is no frame"),
        (edit(1, lambda _: "-3"), "line 1: the number of frames expected here, found '-3'"),
        (edit(2, lambda _: "x"), "line 2: the number of bodies of frame 1 of 3 expected here, found 'x'"),
        (edit(1, lambda _: "+3"), r"line 1: the number of frames expected here, found '\+3'"),
        (edit(2, lambda _: "-1"), "line 2: the number of bodies of frame 1 of 3 expected here, found '-1'"),
        (edit(2, lambda _: "9" * 5000), "line 2: the number of bodies of frame 1 of 3 expected here, found '999"),
        (edit(7, lambda line: "1e39" + line[line.index(" ") :]), r"line 7: column 1 of frame 1: 1e\+39 m is not"),
        (edit(34, lambda line: "1 2 -101 " + line.split(" ", 3)[3]), "line 34: column 3 of frame 2: -101 m is not"),
        (lambda t: t[: len(t) // 2], r"(numbers expected|the file ends)"),
        (lambda t: "\0" * len(t), "the number of frames expected here"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(skeleton_files, damage, reason):
    text = damage(skeleton_files.text([[skeleton_files.body()] for _ in range(3)]))
    with pytest.raises(UnusableError, match=reason) as caught:
        parse(text.encode(), "S.skeleton")
    assert str(caught.value).startswith("S.skeleton, line ")
    assert caught.value.rejected.line is not None


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\n"])
def test_an_empty_file_is_refused_without_a_line(content):
    with pytest.raises(UnusableError, match=r"^S\.skeleton is empty; download it again\.$") as caught:
        parse(content, "S.skeleton")
    assert caught.value.rejected.line is None


@pytest.mark.parametrize("count", ["-1", "+0", "-0", "0_0"])
def test_a_count_that_is_not_of_digits_is_no_usual_one(skeleton_files, count):
    text = edit(2, lambda _: count)(skeleton_files.text([[], [skeleton_files.body()]]))
    assert _fast(text.encode()) is None


def test_the_reason_for_a_far_coordinate_names_its_line_whatever_is_above(skeleton_files):
    frames = [[], [skeleton_files.body()], [skeleton_files.body(), skeleton_files.body("2")]]
    frames[2][1][1][24, 1] = 100.5
    text = skeleton_files.text(frames)
    line = next(n for n, line in enumerate(text.split("\n"), start=1) if "100.5" in line)
    for change in (str, lambda t: t.replace(" ", "  ")):
        with pytest.raises(
            UnusableError, match=rf"line {line}: column 2 of frame 3: 100\.5 m is not a Kinect measurement"
        ):
            parse(change(text).encode(), "x")


def test_the_first_two_bodies_of_a_frame_fill_the_slots_in_the_order_of_the_list():
    joints = np.arange(1, 7)[:, None, None] * np.ones((6, 25, 3))
    clip = listed(np.array([0, 2, 2, 2, 3, 3]), joints, 5)
    assert clip[:, :, 0, 0].tolist() == [[1, 0], [0, 0], [2, 3], [5, 6], [0, 0]]


def person(frames, *, sway, width=0.5, height=1.7):
    """A standing body (F, 25, 3) whose whole figure moves sideways by `sway`."""
    rng = np.random.default_rng(3)
    joints = np.zeros((frames, 25, 3))
    joints[:, :, 0] = np.linspace(0, width, 25) + sway * rng.standard_normal((frames, 1))
    joints[:, :, 1] = np.linspace(0, height, 25)
    return joints


def tracked(tracks, frames):
    """Bodies in file order out of tracks: (id, first frame, joints)."""
    rows = sorted(
        (start + i, order, name, j) for order, (name, start, js) in enumerate(tracks) for i, j in enumerate(js)
    )
    frame, body = np.array([t for t, *_ in rows]), [name for _, _, name, _ in rows]
    return ranked(frame, body, np.array([j for *_, j in rows]), frames)


def test_the_person_who_moves_most_comes_first_and_stays_there():
    calm, lively = person(20, sway=0.01), person(20, sway=0.5)
    clip = tracked([("a", 0, calm), ("b", 0, lively)], 20)
    np.testing.assert_array_equal(clip[:, 0], lively)
    np.testing.assert_array_equal(clip[:, 1], calm)


def test_a_body_seen_for_a_moment_is_noise_unless_there_is_no_other():
    main, ghost = person(20, sway=0.01), person(SHORT, sway=3)
    assert not tracked([("a", 0, main), ("b", 0, ghost)], 20)[:, 1].any()
    assert tracked([("b", 0, ghost)], 20)[:SHORT, 0].any()


def test_a_body_wider_than_high_is_noise():
    main, chair = person(20, sway=0.01), person(20, sway=3, width=2.0)
    clip = tracked([("a", 0, main), ("chair", 0, chair)], 20)
    np.testing.assert_array_equal(clip[:, 0], main)
    assert not clip[:, 1].any()


def test_a_person_with_a_new_id_continues_in_their_slot():
    first, again, other = person(12, sway=0.9), person(12, sway=0.1), person(30, sway=0.05)
    clip = tracked([("a", 0, first), ("b", 0, other), ("c", 14, again)], 30)
    np.testing.assert_array_equal(clip[:12, 0], first)
    np.testing.assert_array_equal(clip[14:26, 0], again)
    np.testing.assert_array_equal(clip[:, 1], other)


def test_a_third_person_at_the_same_time_is_left_out():
    people = [person(20, sway=s) for s in (0.9, 0.5, 0.1)]
    clip = tracked([(str(i), 0, p) for i, p in enumerate(people)], 20)
    np.testing.assert_array_equal(clip, np.stack(people[:2], axis=1))


@pytest.mark.parametrize(("dataset", "total"), [("ntu60", 56_578), ("ntu120", 113_945)])
def test_the_rules_of_the_splits_give_the_official_counts(dataset, total):
    names = ntu_names.recorded(dataset)
    assert len(set(names)) == len(names) == total
    for split, rule in ntu_names.SPLITS[dataset].items():
        trains = Counter(getattr(name, rule.field) in rule.train for name in names)
        assert (trains[True], trains[False]) == ntu_names.OFFICIAL[dataset][split]


def test_what_is_known_by_heart_is_what_the_official_lists_say():
    pairs, lists = shared() / "data" / "ntu_setup_subject_pairs.json", shared() / "data"
    if not pairs.exists():
        pytest.skip("the official lists are not at hand (set SKELBENCH_SHARED)")
    for dataset, key in (("ntu60", "ntu"), ("ntu120", "ntu120")):
        expected = {(int(setup), p) for setup, people in json.loads(pairs.read_text())[key].items() for p in people}
        everyone = [*ntu_names.recorded(dataset), *ntu_names.missing(dataset)]
        assert {(name.setup, name.subject) for name in everyone} == expected
        missing = (lists / f"{dataset}_missing_skeletons.txt").read_text().split()
        assert {str(name) for name in ntu_names.missing(dataset)} == set(missing)


def test_class_names_are_one_an_action():
    assert len(set(ntu_names.CLASS_NAMES)) == len(ntu_names.CLASS_NAMES) == 120


def test_names_are_parsed_and_formatted():
    assert read_name("S017C003P020R002A056.skeleton") == Name(17, 3, 20, 2, 56)
    assert str(Name(17, 3, 20, 2, 56)) == "S017C003P020R002A056"
    assert read_name("S1C1P1R1A1") is read_name("S001C001P001R001A001_rgb") is None


def test_a_folder_becomes_a_store_in_the_order_of_names_with_their_facts(skeleton_files, tmp_path):
    folder = skeleton_files.folder(tmp_path / "raw", NAMES[::-1], persons=2)
    store = prepare("ntu60", folder)
    assert [c["name"] for c in store.clips] == NAMES
    assert store.keypoints.shape == (24, 2, 25, 3)
    facts = [tuple(c[f] for f in ("setup", "camera", "subject", "repetition", "label")) for c in store.clips]
    assert facts == [(1, 1, 1, 1, 0), (1, 2, 3, 1, 6), (2, 3, 8, 2, 59), (4, 1, 3, 1, 12)]
    assert store.sides("xsub").tolist() == [1, 0, 1, 0]
    assert store.sides("xview").tolist() == [0, 1, 1, 0]
    assert store.name == "ntu60" and store.class_names[6] == "throw"
    for entry in store.clips:
        frames = line_by_line((folder / f"{entry['name']}.skeleton").read_text())
        clip = store.keypoints[entry["offset"] : entry["offset"] + entry["length"]]
        np.testing.assert_array_equal(clip, np.array([[j for _, j in bodies] for bodies in frames], dtype=np.float32))


def test_zips_and_folders_give_the_same_store(skeleton_files, tmp_path):
    folder = skeleton_files.folder(tmp_path / "raw", NAMES)
    for name, part in (("one", NAMES[:2]), ("two", NAMES[2:])):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for stem in part:
                archive.write(folder / f"{stem}.skeleton", f"nturgb+d_skeletons/{stem}.skeleton")
    packed = prepare("ntu60", [tmp_path / "one.zip", tmp_path / "two.zip"], "packed")
    assert packed.fingerprint == prepare("ntu60", folder, "loose").fingerprint


def test_another_rule_for_bodies_is_another_store(skeleton_files, tmp_path):
    folder = skeleton_files.folder(tmp_path / "raw", NAMES, frames=20, persons=3)
    first, other = prepare("ntu60", folder), prepare("ntu60", folder, options={"bodies": "ranked"})
    assert (first.name, other.name) == ("ntu60", "ntu60-ranked")
    assert (first.manifest["options"], other.manifest["options"]) == ({"bodies": "listed"}, {"bodies": "ranked"})
    assert first.fingerprint != other.fingerprint
    with pytest.raises(SkelbenchError, match="cannot be 'random'"):
        prepare("ntu60", folder, options={"bodies": "random"})


def test_samples_on_the_official_list_and_actions_of_the_larger_set_are_left_out(skeleton_files, tmp_path):
    listed_as_missing, of_120 = "S001C002P005R002A008", "S018C001P008R001A061"
    folder = skeleton_files.folder(tmp_path / "raw", [*NAMES, listed_as_missing, of_120])
    assert [c["name"] for c in prepare("ntu60", folder).clips] == NAMES
    larger = prepare("ntu120", folder)
    assert [c["name"] for c in larger.clips] == [*NAMES, of_120]
    assert larger.manifest["excluded"] == [listed_as_missing]
    assert larger.sides("xset").tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("S099C009P999R009A019", "there is no setup 99; they are 1 to 32."),
        ("S000C001P001R001A001", "there is no setup 0; they are 1 to 32."),
        ("S001C004P001R001A001", "there is no camera 4; they are 1 to 3."),
        ("S001C001P107R001A001", "there is no subject 107; they are 1 to 106."),
        ("S001C001P001R003A001", "there is no repetition 3; they are 1 to 2."),
        ("S001C001P001R001A000", "there is no action 0; they are 1 to 120."),
        ("S001C001P001R001A121", "there is no action 121; they are 1 to 120."),
        ("walk", "walk.skeleton is not a name of NTU RGB+D"),
        ("s001c001p001r001a001", "is not a name of NTU RGB+D"),
    ],
)
@pytest.mark.parametrize("reader", ["ntu60", "ntu120"])
def test_a_name_that_cannot_be_is_rejected_and_the_rest_is_prepared(skeleton_files, tmp_path, reader, name, reason):
    store = prepare(reader, skeleton_files.folder(tmp_path / "raw", [*NAMES, name]))
    assert [c["name"] for c in store.clips] == NAMES
    (entry,) = store.rejected
    assert entry.file == f"{name}.skeleton"
    assert entry.reason.startswith(f"{name}.skeleton") and reason in entry.reason


def test_an_ending_in_capitals_is_reported(skeleton_files, tmp_path):
    folder = skeleton_files.folder(tmp_path / "raw", NAMES)
    (folder / f"{NAMES[0]}.skeleton").rename(folder / f"{NAMES[0]}.SKELETON")
    store = prepare("ntu60", folder)
    assert [c["name"] for c in store.clips] == NAMES[1:]
    assert store.rejected[0].reason.startswith(f"{NAMES[0]}.SKELETON is not a name of NTU RGB+D")


def test_files_of_the_larger_set_alone_name_its_reader(skeleton_files, tmp_path):
    folder = skeleton_files.folder(tmp_path / "raw", ["S018C001P008R001A061", "S018C001P008R001A120"])
    with pytest.raises(SkelbenchError, match=r"raw holds actions 61 to 120 only, .*: prepare ntu120\."):
        prepare("ntu60", folder)


@pytest.mark.filterwarnings("error")
def test_numbers_beyond_single_precision_are_rejected_without_a_warning(skeleton_files, tmp_path):
    folder = skeleton_files.folder(tmp_path / "raw", NAMES)
    path = folder / f"{NAMES[0]}.skeleton"
    path.write_text(edit(7, lambda line: "1e39" + line[line.index(" ") :])(path.read_text()))
    for bodies in ("listed", "ranked"):
        (entry,) = prepare("ntu60", folder, options={"bodies": bodies}).rejected
        assert (entry.file, entry.line) == (path.name, 7)


def test_damaged_files_are_listed_and_the_rest_is_prepared(skeleton_files, tmp_path):
    folder = skeleton_files.folder(tmp_path / "raw", NAMES)
    torn = folder / f"{NAMES[1]}.skeleton"
    torn.write_text(torn.read_text()[:3000])
    nobody = folder / f"{NAMES[2]}.skeleton"
    nobody.write_text("2\n0\n0\n")
    store = prepare("ntu60", folder)
    assert [c["name"] for c in store.clips] == [NAMES[0], NAMES[3]]
    with (store.path / "rejected.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"].removesuffix(".skeleton") for row in rows] == [NAMES[1], NAMES[2]]
    assert rows[0]["line"] and rows[0]["reason"].startswith(f"{torn.name}, line {rows[0]['line']}: ")
    assert "is empty" in rows[1]["reason"]


def test_inspecting_says_what_is_missing_of_the_official_counts(skeleton_files, tmp_path):
    facts = describe(prepare("ntu60", skeleton_files.folder(tmp_path / "raw", NAMES)))
    assert len(facts["missing"]) == 56_578 - len(NAMES)
    assert not set(facts["missing"]) & set(NAMES)
    assert facts["official"]["xview"] == [37_646, 18_932]
    text = "\n".join(facts["lines"])
    xview = "xview: 2 train, 2 test (cameras 2 and 3 train, camera 1 tests); the complete data set has 37,646 and"
    assert xview in text
    assert "missing: 56,574 clips of the data set: S001C001P001R001A002, " in text


def test_inspecting_shows_classes_that_have_clips_if_most_have_none(skeleton_files, tmp_path):
    lines = describe(prepare("ntu60", skeleton_files.folder(tmp_path / "raw", NAMES)))["lines"]
    assert [line.split("  ")[1] for line in lines[-5:-1]] == ["drink water", "throw", "tear up paper", "walking apart"]
    assert lines[-1] == "  56 of 60 classes have no clip"


def test_of_a_large_group_of_equal_clips_five_are_named(skeleton_files, tmp_path):
    names = [f"S001C00{camera}P001R001A{action:03d}" for action in (1, 2, 3) for camera in (1, 2, 3)]
    folder = skeleton_files.folder(tmp_path / "raw", names[:1])
    for name in names[1:]:
        (folder / f"{name}.skeleton").write_text((folder / f"{names[0]}.skeleton").read_text())
    lines = describe(prepare("ntu60", folder))["lines"]
    assert "  1 group of clips is the same to the last bit" in lines
    named = " = ".join(sorted(names)[:5])
    (line,) = (line for line in lines if "--exclude" in line)
    assert line == f"  xview: 1 of them trains and tests, leave one side out with --exclude: {named} and 4 more"


def test_a_recorded_parse_is_repeated(golden, tmp_path):
    expected = golden("moco-family/ntu_parse.npz")["xyz"]  # (3, F, 25, 2)
    path = shared() / "golden" / "moco-family" / "sample_S001C001P001R001A001.skeleton"
    skeletons = parse(path.read_bytes(), path.name)
    clip = listed(skeletons.frame, skeletons.joints, skeletons.frames)
    np.testing.assert_array_equal(clip.transpose(3, 0, 2, 1), expected)


def test_distributed_files_are_prepared(tmp_path):
    raw = shared() / "data" / "raw"
    if not (raw / "ntu").exists():
        pytest.skip("the distributed files are not at hand (set SKELBENCH_SHARED)")
    store = prepare("ntu60", raw / "ntu")
    assert len(store.clips) == 8 and not store.rejected
    assert store.column("bodies").tolist() == [1, 1, 2, 2, 1, 1, 2, 2]
    for path in (raw / "ntu").glob("*.skeleton"):
        same(parse(path.read_bytes(), path.name), line_by_line(path.read_text()))
    crlf = prepare("ntu60", raw / "ntu-crlf", "crlf")
    np.testing.assert_array_equal(crlf.keypoints, store.keypoints[: crlf.manifest["frames"]])
