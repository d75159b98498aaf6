import json
import re
import unicodedata
import zipfile
from pathlib import Path

import ezc3d
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from skelbench.datasets import Clip, Items, Rejected, prepare
from skelbench.datasets.layout import get_layout
from skelbench.datasets.readers.bvh_text import parse
from skelbench.datasets.readers.c3d_file import read_file
from skelbench.datasets.readers.mocap import read_bvh, read_c3d
from skelbench.datasets.recording import UnusableError
from skelbench.datasets.store import data_folder
from skelbench.errors import SkelbenchError

# name, parent, offset, channels; an end site has no channels and is called after its parent
TREE = [
    ("Hips", -1, (1.0, 2.0, 3.0), "Xposition Yposition Zposition Zrotation Xrotation Yrotation"),
    ("Chest", 0, (0.0, 5.0, 0.5), "Yrotation Zrotation Xrotation"),
    ("Left Arm", 1, (3.0, 1.0, 0.0), "Xrotation Zrotation Yrotation Xposition Yposition Zposition"),
    ("Left ArmEnd", 2, (2.0, 0.0, 0.0), None),
    ("Leg", 0, (0.0, -4.0, 0.0), "Zposition Xrotation"),
    ("LegEnd", 4, (0.0, -4.0, 1.0), None),
]
CHANNELS = sum(len(channels.split()) for *_, channels in TREE if channels)


def bvh_text(rows, *, tree=TREE, frame_time=1 / 30, frames=None, indent="\t", new_line="\n"):
    """A file with these rows (T, channels), each joint in the braces of its parent."""

    def joint(number):
        name, parent, offset, channels = tree[number]
        head = "End Site" if channels is None else f"{'ROOT' if parent < 0 else 'JOINT'} {name}"
        yield head
        yield "{"
        yield f"{indent}OFFSET {' '.join(map(str, offset))}"
        if channels is not None:
            yield f"{indent}CHANNELS {len(channels.split())} {channels}"
        for child in (other for other, (_, above, *_) in enumerate(tree) if above == number):
            yield from (indent + line for line in joint(child))
        yield "}"

    lines = ["HIERARCHY", *joint(0), "MOTION", f"Frames: {len(rows) if frames is None else frames}"]
    lines += [f"Frame Time: {frame_time}", *(" ".join(f"{value:.9g}" for value in row) for row in rows)]
    return new_line.join(lines) + new_line


def places(rows, tree=TREE):
    """Places (T, V, 3) by scipy's intrinsic rotations, frame by frame."""
    found = np.zeros((len(rows), len(tree), 3))
    for frame, row in enumerate(np.asarray(rows)):
        values, turns = iter(row), []
        for number, (_, parent, offset, channels) in enumerate(tree):
            shift, axes, angles = list(offset), "", []
            for channel in str(channels or "").split():
                value = next(values)
                if channel.endswith("position"):
                    shift["XYZ".index(channel[0])] = value
                else:
                    axes, angles = axes + channel[0], [*angles, value]
            own = Rotation.from_euler(axes, angles, degrees=True) if axes else Rotation.identity()
            if parent < 0:
                found[frame, number] = shift
            else:
                found[frame, number] = found[frame, parent] + turns[parent].apply(shift)
                own = turns[parent] * own
            turns.append(own)
    return found


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return rng.uniform(-170, 170, (12, CHANNELS)).round(6)


@pytest.mark.parametrize("form", [{}, {"indent": "  ", "new_line": "\r\n"}])
def test_places_are_those_of_scipys_rotations(rows, form):
    motion = parse(bvh_text(rows, **form).encode(), "a")
    assert motion.names == tuple(name for name, *_ in TREE)
    assert motion.parents == tuple(parent for _, parent, *_ in TREE) and motion.fps == pytest.approx(30)
    np.testing.assert_allclose(motion.points, places(rows), atol=1e-6)


def test_a_brace_may_stand_behind_its_joint_and_words_in_any_case(rows):
    text = bvh_text(rows).replace("\n{", " {").replace("\t{", " {").replace("rotation", "ROTATION")
    text = "\n".join(line for line in text.splitlines()).replace("End Site", "End site")
    np.testing.assert_allclose(parse(text.encode("utf-8-sig"), "a").points, places(rows), atol=1e-6)


def test_positions_are_in_place_of_the_offset():
    tree = [("Hips", -1, (9.0, 9.0, 9.0), "Xposition Yposition Zposition"), ("Head", 0, (0.0, 7.0, 0.0), "Yposition")]
    points = parse(bvh_text([[1.0, 2.0, 3.0, 5.0]], tree=tree).encode(), "a").points
    np.testing.assert_array_equal(points, [[[1, 2, 3], [1, 7, 3]]])


@pytest.mark.parametrize(
    ("change", "line", "reason"),
    [
        (lambda t: t.replace("Frames: 12", "Frames: 40"), 31, "40 frames are announced, 12 follow"),
        (lambda t: t.replace("Frames: 12", "Frames: 9"), 31, "9 frames are announced, 12 follow"),
        (lambda t: t.replace("Frames: 12", "Frames: many"), 31, "'Frames:' and their number"),
        (lambda t: t.replace("Frame Time: 0", "Frame Time: -0"), 32, "cannot take -0.0333333 seconds"),
        (lambda t: t.rstrip()[:-12] + "\n", 44, f"{CHANNELS} finite numbers expected"),
        (lambda t: t.rstrip() + " 1\n", 44, f"{CHANNELS} finite numbers expected"),
        (lambda t: t.rstrip().rsplit(" ", 1)[0] + " nan\n", 44, f"{CHANNELS} finite numbers expected"),
        (lambda t: t.replace("OFFSET 1.0 2.0 3.0", "OFFSET 1.0 2.0"), 4, "3 finite numbers expected"),
        (lambda t: t.replace("CHANNELS 6 X", "CHANNELS 5 X", 1), 5, "a number and as many channels"),
        (lambda t: t.replace("Zrotation", "Wrotation", 1), 5, "a number and as many channels"),
        (lambda t: t.replace("ROOT", "JOINT"), 2, "one ROOT that holds all joints"),
        (lambda t: t.replace("MOTION", "}\nMOTION"), 30, "a brace closes that was not opened"),
        (lambda t: t.replace("\n}\nMOTION", "\nMOTION"), 29, "the tree of joints is not complete"),
        (
            lambda t: t.replace("JOINT Chest\n\t{", "JOINT Chest\n\tOFFSET 9 9 9\n\t{"),
            7,
            "the brace of the joint Chest",
        ),
        (lambda t: t.replace("OFFSET 1.0 2.0 3.0", "OFFSET 1 2 3\n\tOFFSET 4 5 6"), 5, "'OFFSET' is not expected here"),
        (lambda t: t.replace("Frames: 12", "Frames: " + "9" * 5000), 31, "'Frames:' and their number"),
        (lambda t: re.sub("Frame Time: .*", "Frame Time: 1e-320", t), 32, "cannot take"),
        (lambda t: "<html>\n" + t, 1, "is it a BVH file"),
        (lambda t: t.split("MOTION")[0], None, "holds no MOTION"),
        (lambda t: "", None, "holds no MOTION"),
        (lambda t: t.split("Frames")[0], 0, "'Frames:' and their number"),
    ],
)
def test_a_damaged_file_names_its_line(rows, change, line, reason):
    text = change(bvh_text(rows))
    with pytest.raises(UnusableError, match=reason) as error:
        parse(text.encode(), "a.bvh")
    assert error.value.rejected.line == line


LIMBS = [  # people of 1.7 m in centimetres, y up
    ("Hips", -1, (0, 0, 0), "Xposition Yposition Zposition Zrotation Xrotation Yrotation"),
    ("Spine", 0, (0, 25, 0), "Zrotation Xrotation Yrotation"),
    ("Neck", 1, (0, 25, 0), "Zrotation Xrotation Yrotation"),
    ("NeckEnd", 2, (0, 20, 0), None),
    *((f"{side}Arm", 1, (sign * 18, 22, 0), "Zrotation Xrotation Yrotation") for side, sign in (("L", 1), ("R", -1))),
    *((f"{side}Leg", 0, (sign * 10, -5, 0), "Zrotation Xrotation Yrotation") for side, sign in (("L", 1), ("R", -1))),
    *((f"{side}LegEnd", 6 + foot, (0, -75, 8), None) for foot, side in enumerate("LR")),
]


def in_depth_first_order(tree):
    order, renamed = [], {}

    def visit(number):
        renamed[number] = len(order)
        order.append(number)
        for child in (other for other, (_, above, *_) in enumerate(tree) if above == number):
            visit(child)

    visit(0)
    return [(tree[n][0], -1 if tree[n][1] < 0 else renamed[tree[n][1]], *tree[n][2:]) for n in order]


WALK = in_depth_first_order(LIMBS)
NAMES = [name for name, *_ in WALK]


def walk(seed, frames=20):
    rng = np.random.default_rng(seed)
    count = sum(len(str(channels).split()) for *_, channels in WALK if channels)
    values = rng.normal(0, 8, (1, count)) + np.cumsum(rng.normal(0, 1, (frames, count)), axis=0)
    values[:, :3] += [0, 95, 300]
    return values


TABLE = "file,label,subject,camera\n" + "".join(
    f"{person}/{action}_{take}.bvh,{action},{person},{1 + take}\n"
    for person in ("anna", "ben")
    for action in ("walk", "bow")
    for take in range(3)
)
SEEDS = {line.split(",")[0].removesuffix(".bvh"): seed for seed, line in enumerate(TABLE.splitlines()[1:])}


@pytest.fixture
def folder(tmp_path):
    """Twelve recordings of two people and a table, as somebody has them."""
    top = tmp_path / "mocap"
    for name, seed in SEEDS.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / f"{name}.bvh").write_text(bvh_text(walk(seed), tree=WALK))
    (top / "labels.csv").write_text(TABLE)
    return top


def kept(store):
    return {c["name"]: np.asarray(store.keypoints[c["offset"] : c["offset"] + c["length"], 0]) for c in store.clips}


def test_a_folder_and_a_table_are_a_data_set_once_the_unit_is_said(folder):
    with pytest.raises(SkelbenchError, match="Prepare with --unit cm"):
        prepare("bvh", folder, "mine")
    store = prepare("bvh", folder, "mine", unit="cm")
    assert store.rejected == [] and store.manifest["fps"] == pytest.approx(30)
    assert store.class_names == ("bow", "walk") and store.manifest["notes"]["subjects"] == {"1": "anna", "2": "ben"}
    assert list(store.layout.joints) == NAMES and store.layout.parents == tuple(parent for _, parent, *_ in WALK)
    assert {name: (rule.field, rule.train) for name, rule in store.splits.items()} == {
        "xsub": ("subject", (1,)),
        "xview": ("camera", (1, 2)),
    }
    found = kept(store)
    assert list(found) == sorted(SEEDS)
    for name, seed in SEEDS.items():
        np.testing.assert_allclose(found[name], places(walk(seed), WALK) / 100, atol=1e-5)
    first = next(clip for clip in store.clips if clip["name"] == "ben/walk_2")
    assert (first["label"], first["subject"], first["camera"], first["repetition"]) == (1, 2, 3, None)


def test_a_zip_and_a_table_elsewhere_are_the_same_data(folder, tmp_path):
    expected = prepare("bvh", folder, "mine", unit="cm").fingerprint
    table = (folder / "labels.csv").rename(tmp_path / "who.csv")
    table.write_text(TABLE.replace(",", ";").replace("/", "\\"), encoding="utf-8-sig")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in sorted(folder.rglob("*.bvh")):
            archive.write(path, path.relative_to(folder))
    assert prepare("bvh", [tmp_path / "all.zip", table], "zipped", unit="cm").fingerprint == expected
    assert prepare("bvh", [folder, table], "apart", unit="cm").fingerprint == expected


def test_joints_of_a_layout_are_found_by_their_names(folder, tmp_path):
    own = {
        "parents": {"pelvis": None, "chest": "pelvis", "feet": "pelvis"},
        "joints": {"pelvis": "Hips", "chest": ["LArm", "RArm"], "feet": ["LLegEnd", "RLegEnd"]},
        "centre": "chest",
    }
    (tmp_path / "own.json").write_text(json.dumps(own))
    options = {"skeleton": str(tmp_path / "own.json")}
    store = prepare("bvh", folder, "mine", unit="cm", options=options)
    assert store.layout.joints == ("pelvis", "chest", "feet") and store.layout.parents == (-1, 0, 0)
    assert store.layout.centre == 1 and store.manifest["notes"]["skeleton"] == own
    whole = places(walk(SEEDS["ben/bow_1"]), WALK) / 100
    of = {name: whole[:, NAMES.index(name)] for name in NAMES}
    expected = [of["Hips"], (of["LArm"] + of["RArm"]) / 2, (of["LLegEnd"] + of["RLegEnd"]) / 2]
    np.testing.assert_allclose(kept(store)["ben/bow_1"], np.stack(expected, axis=1), atol=1e-5)
    changed = own | {"joints": own["joints"] | {"pelvis": "Spine"}}
    (tmp_path / "own.json").write_text(json.dumps(changed))
    moved = kept(prepare("bvh", folder, "mine", unit="cm", options=options))["ben/bow_1"]
    np.testing.assert_allclose(moved[:, 0], of["Spine"], atol=1e-5)


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        ({"joints": {"Hips": "Pelvis"}}, r"no joint or marker 'Pelvis'; known: .*Hips"),
        ({"joints": {"Pelvis": "Hips"}}, "'joints' names 'Pelvis'"),
        ({"joints": {"Hips": []}}, "the list of 'Hips' is empty"),
        ({"layout": "kinect20"}, "no joint or marker 'HipCenter'"),
        ({"layout": "kinect21"}, "kinect20"),
        ({"layout": "kinect20", "parents": {}}, "names a layout, which has its own parents; give one"),
        ({"layout": "kinect20", "centre": "Head"}, "names a layout, which has its own centre; give one"),
        ({"parents": {"Hips": "Hip"}}, "'parents' names the joint 'Hip'; did you mean 'Hips'"),
        ({"centre": "Middle"}, "'centre' names the joint 'Middle'"),
        ({"center": "Hips"}, "'center' is wrong .*did you mean 'centre'"),
        ({"parents": ["Hips"]}, "'parents' is wrong"),
        ({"parents": {"Hips": 0.9}}, "'parents.Hips.*' is wrong"),
        ({"shoulders": ["Hips"]}, "'shoulders.*' is wrong"),
        ({"centre": True}, "'centre' is wrong"),
        ({"joints": None}, "'joints' is wrong"),
        ({"parts": {"trunk": ["Hips"]}}, "'parts' has trunk; trunk, left_arm, .* are needed"),
        ([], "'it' is wrong"),
    ],
)
def test_a_wrong_description_is_told(folder, tmp_path, description, reason):
    (tmp_path / "own.json").write_text(json.dumps(description))
    with pytest.raises(SkelbenchError, match=reason):
        prepare("bvh", folder, "mine", options={"skeleton": str(tmp_path / "own.json")})
    assert not (data_folder() / "mine").exists()


def change_table(change):
    def apply(folder):
        (folder / "labels.csv").write_text(change(TABLE))

    return apply


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: (f / "labels.csv").unlink(), r"no table \(\.csv\) with the 12 \.bvh files; give one with --from"),
        (lambda f: (f / "more.csv").write_text(TABLE), r"There are 2 tables \(labels.csv, more.csv\)"),
        (change_table(lambda t: t.replace("label,", "action,")), "has no column 'label' in its first line"),
        (change_table(lambda t: t + "anna/bow_9,bow,anna\n"), "line 14: 3 fields, but 4 columns"),
        (change_table(lambda t: t.replace("walk,ben", ",ben", 1)), "line 8: 'label' is empty"),
        (change_table(lambda t: t + "anna/bow_2,bow,anna,1\n"), "lines 7 and 14: the file 'anna/bow_2' is listed"),
        (change_table(lambda t: t.replace("bow,ben,1", "bow,ben,one")), "line 11: 'camera' is 'one'; a number"),
        (change_table(lambda t: t.splitlines()[0]), "lists no recording"),
        (change_table(lambda t: t.replace("camera", "label")), "has two columns 'label'"),
        (change_table(lambda t: t.replace("camera", "split_")), "'split_' names no split"),
        (
            change_table(lambda t: t.replace("walk,ben", "walk,7", 1)),
            "line 8: 'subject' is the number|is the name 'anna'",
        ),
        (
            change_table(lambda t: t.replace("walk,ben", "Walk,ben", 1)),
            "line 8: 'label' is 'Walk', in line 2 it is 'walk'",
        ),
        (change_table(lambda t: t + '"' + 200_000 * "x"), "cannot be read as CSV"),
        (change_table(lambda t: "file,label,subject\nbow_1,bow,1\n"), r"one row fits anna/bow_1.bvh and ben/bow_1.bvh"),
        (
            change_table(lambda t: "file,label,subject\nwave,wave,1\n"),
            "No .bvh file is in the table: it lists 'wave', the first file is 'anna/bow_0'",
        ),
    ],
)
def test_a_wrong_table_is_told_before_anything_is_read(folder, change, reason):
    change(folder)
    with pytest.raises(SkelbenchError, match=reason):
        prepare("bvh", folder, "mine", unit="cm")


def test_positions_that_would_have_to_be_added_are_rejected(rows):
    inner = 3 + 3 + 3 + 3  # the columns before the positions of the arm
    rows[:, inner : inner + 3] = 0
    with pytest.raises(UnusableError, match=r"of the joint Left Arm are 0 in all frames.*where Chest is"):
        parse(bvh_text(rows).encode(), "a")
    rows[3, inner] = 0.5
    np.testing.assert_allclose(parse(bvh_text(rows).encode(), "a").points, places(rows), atol=1e-6)


def test_a_table_as_spreadsheets_and_macs_write_it(folder):
    (folder / "ben").rename(folder / unicodedata.normalize("NFD", "jörg"))
    table = TABLE.replace("ben", unicodedata.normalize("NFC", "jörg")).replace(",", ";")
    (folder / "labels.csv").write_text("sep=;\r\n" + table.replace("\n", "\r\n"), encoding="utf-8-sig")
    store = prepare("bvh", folder, "mine", unit="cm")
    assert store.rejected == [] and len(store.clips) == 12
    assert store.splits["xsub"].text.startswith("anna train, the others test")


def test_what_does_not_fit_is_rejected_alone(folder):
    text = bvh_text(walk(0), tree=WALK)
    (folder / "ben/walk_0.bvh").write_text(text[: len(text) // 2])
    (folder / "ben/walk_1.bvh").write_text(bvh_text(walk(0), tree=WALK, frame_time=1 / 120))
    (folder / "ben/walk_2.bvh").write_text(text.replace("LArm", "LeftArm"))
    (folder / "ben/bow_0.bvh").unlink()
    (folder / "ben/jump.bvh").write_text(text)
    store = prepare("bvh", folder, "mine", unit="cm")
    reasons = {entry.file: entry.reason for entry in store.rejected}
    assert len(store.clips) == 8 and len(reasons) == 5
    assert "frames are announced" in reasons["ben/walk_0"] or "finite numbers" in reasons["ben/walk_0"]
    assert "other frames per second (120) than anna/bow_0 (30)" in reasons["ben/walk_1"]
    assert "other joints (LeftArm) than anna/bow_0 (LArm)" in reasons["ben/walk_2"]
    assert "labels.csv, line 11: there is no file 'ben/bow_0'" in reasons["labels.csv"]
    assert "is not in the table" in reasons["ben/jump"]


def test_a_frame_rate_may_differ_by_rounding_only(folder):
    text = bvh_text(walk(0), tree=WALK)
    (folder / "ben/walk_0.bvh").write_text(text.replace(f"{1 / 30}", "0.0333"))
    (folder / "ben/walk_1.bvh").write_text(text.replace(f"{1 / 30}", "0.035"))
    assert [entry.file for entry in prepare("bvh", folder, "mine", unit="cm").rejected] == ["ben/walk_1"]


def test_names_with_dots_find_their_own_rows(folder):
    for path in (folder / "anna").glob("*.bvh"):
        path.rename(path.with_name(path.name.replace("_", ".")))
    (folder / "anna/walk.bvh").write_text(bvh_text(walk(0), tree=WALK))
    (folder / "labels.csv").write_text(re.sub(r"anna/(\w+)_(\d)\.bvh", r"anna/\1.\2", TABLE))
    store = prepare("bvh", folder, "mine", unit="cm")
    labels = {clip["name"]: store.class_names[clip["label"]] for clip in store.clips}
    assert labels["anna/walk.2"] == "walk" and labels["anna/bow.0"] == "bow" and len(labels) == 12
    assert [entry.file for entry in store.rejected] == ["anna/walk"]


def test_the_table_that_is_named_counts(folder):
    (folder / "old.csv").write_text(TABLE.replace("walk,", "jump,"))
    store = prepare("bvh", [folder, folder / "labels.csv"], "mine", unit="cm")
    assert store.class_names == ("bow", "walk")


def test_a_changed_table_or_description_is_read_again(folder, tmp_path):
    own = tmp_path / "own.json"

    def stamps():
        found = read_bvh([folder], skeleton=str(own)).clips
        assert isinstance(found, Items)
        return found.stamps

    own.write_text("{}")
    first = stamps()
    assert stamps() == first
    own.write_text('{"joints": {"Neck": "NeckEnd"}}')
    assert not set(stamps()) & set(first)
    own.write_text("{}")
    (folder / "labels.csv").write_text(TABLE.replace("bow,ben,1", "walk,ben,1"))
    assert len(set(stamps()) & set(first)) == 11


def test_subjects_as_spreadsheets_and_people_count_them(folder):
    of = {"anna": "1.0", "ben": "12.0"}
    (folder / "labels.csv").write_text(re.sub(",(anna|ben),", lambda match: f",{of[match[1]]},", TABLE))
    assert set(prepare("bvh", folder, "mine", unit="cm").column("subject")) == {1, 12}
    of = {"anna": "S10", "ben": "S2"}
    (folder / "labels.csv").write_text(re.sub(",(anna|ben),", lambda match: f",{of[match[1]]},", TABLE))
    store = prepare("bvh", folder, "named", unit="cm")
    assert store.manifest["notes"]["subjects"] == {"1": "S2", "2": "S10"}
    assert store.splits["xsub"].text.startswith("S2 train")


def test_joints_of_one_name_are_refused_where_one_is_meant(folder, tmp_path):
    for path in folder.rglob("*.bvh"):
        path.write_text(path.read_text().replace("LArm", "Arm").replace("RArm", "Arm"))
    (tmp_path / "own.json").write_text(json.dumps({"parents": {"Arm": None, "Neck": "Arm"}}))
    with pytest.raises(SkelbenchError, match="'Arm' is not one joint or marker of the recording"):
        prepare("bvh", folder, "mine", unit="cm", options={"skeleton": str(tmp_path / "own.json")})
    with pytest.raises(SkelbenchError, match="Joint names stand twice: Arm"):
        prepare("bvh", folder, "mine", unit="cm")


def test_the_name_of_the_character_before_all_joints_is_left_out(folder, tmp_path):
    for number, path in enumerate(sorted(folder.rglob("*.bvh"))):
        path.write_text(re.sub(r"(ROOT|JOINT) ", rf"\1 mixamorig{number % 2}:", path.read_text()))
    (tmp_path / "own.json").write_text(json.dumps({"centre": "Spine", "shoulders": ["LArm", "RArm"]}))
    store = prepare("bvh", folder, "mine", unit="cm", options={"skeleton": str(tmp_path / "own.json")})
    assert list(store.layout.joints) == NAMES and store.layout.centre == NAMES.index("Spine")
    assert store.rejected == []


def test_labels_and_subjects_that_are_numbers_stay_numbers(folder):
    text = TABLE.replace(",walk,", ",10,").replace(",bow,", ",9,").replace(",anna,", ",7,").replace(",ben,", ",4,")
    text = "\n".join(
        f"{line},{'split_mine' if row == 0 else ('train', 'test', '')[row % 3]}"
        for row, line in enumerate(text.splitlines())
    )
    (folder / "labels.csv").write_text(text)
    store = prepare("bvh", folder, "mine", unit="cm")
    assert store.class_names == ("9", "10") and set(store.column("subject")) == {4, 7}
    assert "subjects" not in store.manifest["notes"] and list(store.splits) == ["mine"]
    assert sorted(store.sides("mine").tolist()) == [-1] * 4 + [0] * 4 + [1] * 4


def write_c3d(path, points, names, *, unit="mm", rate=100.0, up=None, first=0, trial=None):
    """Markers (T, V, 3); NaN where they were not seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    c3d = ezc3d.c3d()
    c3d["parameters"]["POINT"]["RATE"]["value"] = [rate]
    c3d["parameters"]["POINT"]["LABELS"]["value"] = list(names)
    if unit is not None:
        c3d["parameters"]["POINT"]["UNITS"]["value"] = [unit]
    if up is not None:
        c3d.add_parameter("POINT", "Y_SCREEN", [up])
    for name, words in (trial or {}).items():
        c3d.add_parameter("TRIAL", name, words)
    c3d["header"]["points"]["first_frame"] = first
    c3d["data"]["points"] = np.concatenate([points.transpose(2, 1, 0), np.ones((1, *points.shape[1::-1]))])
    c3d.write(str(path))


JOINTS = get_layout("kinect20").joints
STANDING = np.zeros((20, 3))  # in metres, x to the person's left, y up
STANDING[:4, 1] = [0.95, 1.15, 1.45, 1.65]
for first, sign in ((4, 1), (8, -1)):
    STANDING[first : first + 4] = [[sign * (0.18 + 0.04 * i), 1.42 - 0.25 * i, 0] for i in range(4)]
for first, sign in ((12, 1), (16, -1)):
    STANDING[first : first + 4] = [[sign * 0.1, y, z] for y, z in ((0.9, 0), (0.5, 0), (0.1, 0), (0.03, 0.12))]


def standing(seed, frames=15):
    """Positions (T, 20, 3) in metres, y up, facing z."""
    rng = np.random.default_rng(seed)
    where = STANDING + np.array([0.5, 0, 2])
    return where + rng.normal(0, 0.01, (frames, 20, 3)) + np.cumsum(rng.normal(0, 0.01, (frames, 1, 3)), axis=0)


@pytest.fixture
def markers(tmp_path):
    """Twelve recordings as a laboratory has them: millimetres, z up, hip in two markers, one of them lost at times."""
    names = ["Anna:" + joint for joint in JOINTS[1:]] + ["Anna:LASI", "Anna:RASI", "*12"]
    for name, seed in SEEDS.items():
        y_up = standing(seed)
        hips = [y_up[:, 0] + [0.1, 0, 0], y_up[:, 0] - [0.1, 0, 0]]
        points = np.stack([*y_up[:, 1:].transpose(1, 0, 2), *hips, y_up[:, 0] + 1], axis=1)
        points[3, 4] = np.nan  # LElbow
        points[5, 20] = np.nan  # RASI
        z_up = np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)
        write_c3d(tmp_path / "lab" / f"{name}.c3d", 1000 * z_up, names, up="+Z")
    (tmp_path / "lab" / "labels.csv").write_text(TABLE.replace(".bvh", ".c3d"))
    (tmp_path / "own.json").write_text(json.dumps({"layout": "kinect20", "joints": {"HipCenter": ["LASI", "RASI"]}}))
    return tmp_path


def test_markers_become_joints_in_metres_with_y_up(markers):
    store = prepare("c3d", markers / "lab", "mine", options={"skeleton": str(markers / "own.json")})
    assert store.layout.name == "kinect20" and store.manifest["fps"] == 100 and store.rejected == []
    assert store.manifest["converted"] == {"unit": "mm", "up": "z"}
    found = kept(store)
    for name, seed in SEEDS.items():
        expected = standing(seed)
        expected[3, 5] = 0
        expected[5, 0] += [0.1, 0, 0]
        np.testing.assert_allclose(found[name], expected, atol=1e-5)


def test_what_the_files_say_can_be_overruled(markers):
    options = {"skeleton": str(markers / "own.json")}
    with pytest.raises(SkelbenchError, match=r"y must point up.*--up z"):
        prepare("c3d", markers / "lab", "mine", options=options, up="y")
    with pytest.raises(SkelbenchError, match="--unit mm"):
        prepare("c3d", markers / "lab", "mine", options=options, unit="m")


def test_markers_without_a_description_are_listed(markers):
    with pytest.raises(SkelbenchError, match=r"22 markers \(Anna:Spine, .*say which they are with --set skeleton"):
        prepare("c3d", markers / "lab", "mine")


def test_markers_called_as_the_joints_of_a_layout_need_no_description(tmp_path):
    for name, seed in SEEDS.items():
        write_c3d(tmp_path / f"{name}.c3d", standing(seed)[:, ::-1], JOINTS[::-1], unit="m", first=10)
    (tmp_path / "labels.csv").write_text(TABLE)
    store = prepare("c3d", tmp_path, "mine")
    assert store.layout.name == "kinect20" and "converted" not in store.manifest
    np.testing.assert_allclose(kept(store)["ben/walk_1"], standing(SEEDS["ben/walk_1"]), atol=1e-5)


def entries(recording):
    assert isinstance(recording.clips, Items)
    return list(recording.clips)


def test_more_markers_than_one_list_of_names_holds(tmp_path):
    rng = np.random.default_rng(0)
    points = rng.normal(0, 1, (4, 300, 3)).astype(np.float32)
    names = [f"m{i}" for i in range(280)] + list(JOINTS)
    write_c3d(tmp_path / "a.c3d", points, names, unit="m")
    (tmp_path / "labels.csv").write_text("file,label,subject\na,x,1\n")
    (clip,) = entries(read_c3d([tmp_path]))
    assert isinstance(clip, Clip)
    np.testing.assert_array_equal(clip.keypoints[:, 0], points[:, 280:])


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda p: cut(p, p.stat().st_size // 2), "says to hold 15 frames, .* were read; it is cut off"),
        (lambda p: cut(p, 100), "cannot be read as C3D|another processor"),
        (lambda p: p.write_bytes(b"not C3D" * 300), "cannot be read as C3D"),
        (lambda p: write_c3d(p, standing(0), JOINTS, unit="cm"), r"other unit \(cm\) than anna/bow_0 \(m\)"),
        (lambda p: write_c3d(p, standing(0)[:, :19], JOINTS[:19], unit="m"), "no layout has joints of these names"),
    ],
)
def test_a_damaged_recording_is_rejected_alone(tmp_path, damage, reason):
    for name, seed in SEEDS.items():
        write_c3d(tmp_path / f"{name}.c3d", standing(seed), JOINTS, unit="m")
    (tmp_path / "labels.csv").write_text(TABLE)
    damage(tmp_path / "ben/walk_1.c3d")
    found = entries(read_c3d([tmp_path]))
    (rejected,) = (entry for entry in found if isinstance(entry, Rejected))
    assert rejected.file == "ben/walk_1" and len(found) == 12
    assert re.search(reason, rejected.reason), rejected.reason


def test_units_that_the_files_say_in_words_or_not_at_all(tmp_path):
    (tmp_path / "labels.csv").write_text("file,label,subject\na,x,1\n")
    for unit, expected in (("millimeters", "mm"), ("inch", 0.0254), ("furlong", None)):
        write_c3d(tmp_path / "a.c3d", standing(0), JOINTS, unit=unit, up="+X")
        found = read_c3d([tmp_path])
        assert found.unit == expected and found.up is None
        what = [remark.what for remark in found.remarks]
        assert ("a says that its unit is 'furlong', which is not known." in what) == (expected is None)
        assert "a says that '+x' is up (POINT:Y_SCREEN), which is not known." in what


def test_recordings_longer_than_the_header_can_count_are_rejected(tmp_path):
    path = tmp_path / "a.c3d"
    write_c3d(path, np.random.default_rng(0).normal(0, 1, (70_000, 1, 3)), ["m"], unit="m")
    with pytest.raises(UnusableError, match="holds more than 65,535 frames, of which 65,535 were read"):
        read_file(path, "a")


@pytest.mark.parametrize(("high", "reason"), [(0, None), (1, "says to hold 105,536 frames, 40,000 were read")])
def test_the_frames_of_a_trial_are_in_two_words(tmp_path, high, reason):
    path = tmp_path / "a.c3d"
    trial = {"ACTUAL_START_FIELD": [1, 0], "ACTUAL_END_FIELD": [40_000 - 65_536, high]}
    write_c3d(path, np.random.default_rng(0).normal(0, 1, (40_000, 1, 3)), ["m"], unit="m", trial=trial)
    if reason is None:
        assert len(read_file(path, "a").points) == 40_000
    else:
        with pytest.raises(UnusableError, match=reason):
            read_file(path, "a")


def test_c3d_in_a_zip(tmp_path):
    write_c3d(tmp_path / "a.c3d", standing(0), JOINTS, unit="m")
    (tmp_path / "labels.csv").write_text("file,label,subject\na,x,1\n")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in ("a.c3d", "labels.csv"):
            archive.write(tmp_path / name, f"session/{name}")
    (clip,) = entries(read_c3d([tmp_path / "all.zip"]))
    assert isinstance(clip, Clip) and clip.name == "session/a"
    np.testing.assert_allclose(clip.keypoints[:, 0], standing(0), atol=1e-6)


def test_a_source_without_recordings_is_told(tmp_path):
    with pytest.raises(SkelbenchError, match=r"holds no BVH files \(\.bvh\) with a table of them \(\.csv\)"):
        read_bvh([Path(tmp_path)])
    (tmp_path / "labels.csv").write_text(TABLE)
    with pytest.raises(SkelbenchError, match=r"holds a table but no \.bvh file"):
        read_bvh([Path(tmp_path)])
