"""Each fault is put into clean motion and must be found by name; clean motion has no finding above a note."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skelbench.datasets import Clip, list_stores, prepare
from skelbench.datasets.audit import NAMES, Audited, Finding, RefusedError, audit
from skelbench.datasets.audit.leaks import NOISE, nearly_equal
from skelbench.datasets.audit.measure import measure
from skelbench.datasets.inspect import audit_store, describe
from skelbench.datasets.layout import get_layout
from skelbench.datasets.loops import without_loops
from skelbench.datasets.readers.synthetic import generate
from skelbench.datasets.store import open_store
from skelbench.errors import SkelbenchError

CLIPS = 120
LAYOUT = get_layout("ntu25")
CENTRE = 20


@pytest.fixture(scope="module")
def clean():
    """Clips of generated motion by ten subjects with four classes, as arrays of an interchange file."""
    made = [clip for clip in generate(1200).clips if isinstance(clip, Clip)]
    clips = [clip for clip in made if clip.label < 4 and clip.subject <= 10]
    clips = [clips[i] for i in np.random.default_rng(0).permutation(len(clips))[:CLIPS]]
    return {
        "clips": [clip.keypoints[:, :1].astype(np.float32) for clip in clips],
        "label": np.array([clip.label for clip in clips]),
        "subject": np.array([clip.subject for clip in clips]),
        "name": np.array([f"clip{i:03d}" for i in range(len(clips))]),
        "layout": "ntu25",
    }


def write(path, data, **changes):
    """Write an interchange file of `clean` with some entries changed; None leaves one out."""
    arrays = {key: value for key, value in (data | changes).items() if value is not None}
    clips = arrays.pop("clips")
    np.savez(path, keypoints=np.concatenate(clips), lengths=[len(clip) for clip in clips], **arrays)
    return path


def findings(tmp_path, data, *, accept=NAMES, **changes) -> dict[str, Finding]:
    """What the audit says about `data` with changes, by check; the last finding of each."""
    store = prepare("arrays", write(tmp_path / "data.npz", data, **changes), "mine", accept=accept, force=True)
    found = {finding["check"]: Finding.from_json(finding) for finding in store.manifest["audit"]}
    assert found == {finding.check: finding for finding in audit_store(store)}  # `inspect` says the same
    return found


def each(data, change, chosen=None):
    """The clips, changed where they are chosen."""
    rows = range(len(data["clips"])) if chosen is None else np.flatnonzero(chosen)
    clips = [clip.copy() for clip in data["clips"]]
    for row in rows:
        clips[row] = change(clips[row])
    return clips


def test_clean_motion_is_clean(tmp_path, clean):
    assert findings(tmp_path, clean, accept=()) == {}


def signs(*values):
    return np.array(values, np.float32)


def flipped(clip):
    return clip * signs(1, -1, 1)


def up_is_z(clip):  # turned about x
    return clip[..., [0, 2, 1]] * signs(1, -1, 1)


def mirrored_up_is_z(clip):
    return clip[..., [0, 2, 1]]


def without(clip, joint, frames=slice(None)):
    clip = clip.copy()
    clip[frames, :, joint] = 0
    return clip


def scattered(clip, share=0.1):
    """Joints at the origin, but never the centre one."""
    lost = np.random.default_rng(len(clip)).random(clip.shape[:3]) < share
    lost[..., CENTRE] = False
    return np.where(lost[..., None], np.float32(0), clip)


def openpose(clip):
    """Joints as OpenPose's 25 are listed: nose, neck, right arm, left arm, hips, legs, face, feet."""
    order = [3, 20, 8, 9, 10, 4, 5, 6, 0, 16, 17, 18, 12, 13, 14, 3, 3, 3, 3, 15, 15, 14, 19, 19, 18]
    return clip[:, :, order]


def exchanged(clip):
    """Left and right joints exchanged."""
    order = np.arange(25)
    for left, right in LAYOUT.mirror:
        order[[left, right]] = right, left
    return clip[:, :, order]


def crossed_hips(clip):
    order = np.arange(25)
    order[[12, 13, 14, 15, 16, 17, 18, 19]] = [16, 17, 18, 19, 12, 13, 14, 15]
    return clip[:, :, order]


def rubber(clip):
    """Arms of a length that jumps from frame to frame."""
    noise = np.random.default_rng(0).normal(0, 0.35, (len(clip), 1, 25, 3))
    return (clip + noise).astype(np.float32)


def scores(clip):
    """Coordinates of a picture and a score."""
    score = np.random.default_rng(len(clip)).uniform(0.3, 1, (*clip.shape[:3], 1))
    return np.concatenate([500 + 200 * clip[..., :2], score], axis=-1).astype(np.float32)


def to_range(clip):
    return (clip - clip.min()) / (clip.max() - clip.min())


# check, level, fault of the clips, and which clips have it (None: all, else a function of the data)
FAULTS = [
    ("unit", "error", lambda c: 1000 * c, None),
    ("unit", "error", lambda c: 100 * c, None),
    ("unit", "warning", lambda c: 3.3 * c, None),
    ("scale", "error", lambda c: 1000 * c, lambda d: d["subject"] % 2 == 0),
    ("scale", "error", lambda c: 100 * c, lambda d: np.arange(CLIPS) % 12 == 0),
    ("scale", "warning", lambda c: 100 * c, lambda d: np.arange(CLIPS) == 7),
    ("image-coordinates", "error", scores, None),
    ("image-coordinates", "error", lambda c: c * signs(1, 1, 0), None),
    ("normalised", "warning", to_range, None),
    ("root-relative", "note", lambda c: c - c[:, :, [CENTRE]], None),
    ("up", "error", flipped, None),
    ("up", "error", up_is_z, None),
    ("up", "error", mirrored_up_is_z, None),
    ("mixed-up", "error", flipped, lambda d: np.isin(d["subject"], [2, 4, 6])),
    ("mixed-up", "error", lambda c: 1000 * flipped(c), lambda d: d["subject"] % 2 == 0),
    ("lying", "note", up_is_z, lambda d: np.arange(CLIPS) % 40 == 1),
    ("sides", "warning", exchanged, None),
    ("sides", "warning", lambda c: c * signs(-1, 1, 1), None),
    ("sides", "error", crossed_hips, None),
    ("mixed-sides", "error", exchanged, lambda d: np.isin(d["subject"], [3, 5])),
    ("joints", "error", openpose, None),
    ("bones", "warning", rubber, lambda d: np.arange(CLIPS) % 10 == 0),
    ("gaps", "warning", lambda c: np.concatenate([c[:9], 0 * c[9:12], c[12:]]), lambda d: np.arange(CLIPS) == 3),
    ("empty-ends", "note", lambda c: np.concatenate([0 * c[:5], c]), lambda d: np.arange(CLIPS) == 3),
    ("empty-ends", "note", lambda c: np.concatenate([c, 0 * c[:5]]), lambda d: np.arange(CLIPS) == 3),
    (
        "mostly-empty",
        "warning",
        lambda c: np.concatenate([c[:4], np.zeros((20, *c.shape[1:]), c.dtype), c[-4:]]),
        lambda d: np.arange(CLIPS) < 2,
    ),
    ("undetected", "error", scattered, None),
    ("undetected", "warning", lambda c: scattered(c, 0.01), None),
    ("undetected", "note", lambda c: without(c, 7, slice(2, 3)), lambda d: np.arange(CLIPS) == 9),
    ("undetected-centre", "error", lambda c: without(c, CENTRE, slice(0, None, 20)), None),
    ("undetected-centre", "warning", lambda c: without(c, CENTRE, slice(2, 3)), lambda d: np.arange(CLIPS) == 9),
    ("loops", "note", lambda c: np.concatenate([c, c, c, c])[:300], None),
    ("frozen", "warning", lambda c: np.repeat(c, 2, axis=0), lambda d: np.arange(CLIPS) < 30),
    ("half-precision", "note", lambda c: c.astype(np.float16).astype(np.float32), None),
]


@pytest.mark.parametrize(("check", "level", "fault", "chosen"), FAULTS, ids=lambda value: str(value)[:18])
def test_a_fault_of_the_clips_is_found_by_name(tmp_path, clean, check, level, fault, chosen):
    rows = None if chosen is None else chosen(clean)
    found = findings(tmp_path, clean, clips=each(clean, fault, rows))
    assert found[check].level == level
    if found[check].clips is not None:
        assert found[check].clips == (CLIPS if rows is None else rows.sum())
    if rows is not None and found[check].names:
        assert set(found[check].names) <= set(clean["name"][rows])


def test_a_fault_is_refused_unless_it_is_accepted_and_nothing_is_left(tmp_path, clean):
    path = write(tmp_path / "data.npz", clean, clips=each(clean, flipped))
    with pytest.raises(RefusedError, match=r"y must point up.*Prepare with --up -y\..*--accept up\.") as refused:
        prepare("arrays", path, "mine", accept=["unit"])
    assert {finding.check for finding in refused.value.found} >= {"up"}
    assert list_stores() == []
    store = prepare("arrays", path, "mine", accept=["up"])
    assert store.manifest["accepted"] == ["up"]
    assert any(line.startswith("  accepted up") for line in describe(store)["lines"])


def test_a_check_that_is_not_there_cannot_be_accepted(tmp_path, clean):
    with pytest.raises(SkelbenchError, match=r"There is no check 'upp' to accept; did you mean.*up"):
        prepare("arrays", write(tmp_path / "data.npz", clean), "mine", accept=["upp"])


def test_of_few_clips_bodies_are_not_refused(tmp_path, clean):
    few = {"clips": each(clean, flipped)[:8], "label": clean["label"][:8], "name": clean["name"][:8]}
    found = findings(tmp_path, clean, accept=(), subject=clean["subject"][:8], **few)
    assert found["up"].level == "warning"


# --- Plausible data that is no fault ----------------------------------------------------------------------------


def held(clip):
    """A pose that is held to the last bit at both ends, as animations have."""
    return np.concatenate([np.repeat(clip[:1], 10, axis=0), clip, np.repeat(clip[:1], 10, axis=0)])


def padded_ends(clip):
    empty = np.zeros((3, *clip.shape[1:]), clip.dtype)
    return np.concatenate([empty, clip, empty])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c - c[:1, :1, [CENTRE]], {"root-relative"}),  # centred on its first frame
        (lambda c: c - c[:, :, [0]], {"root-relative"}),  # on another joint than the layout's centre
        (lambda c: c - c[:, :, [CENTRE]], {"root-relative"}),
        (lambda c: c + signs(0, 0, 5), set()),
        (lambda c: c * np.array([0.55], np.float32), set()),  # a child
        (lambda c: c + np.array([1500, 0, 0], np.float32), set()),  # far away
        (lambda c: np.concatenate([c, c[:2]]), set()),
        (padded_ends, {"empty-ends"}),
    ],
)
def test_plausible_data_is_not_refused(tmp_path, clean, change, told):
    assert set(findings(tmp_path, clean, accept=(), clips=each(clean, change))) == told


def test_a_pose_that_is_held_is_no_loop(tmp_path, clean):
    clips = each(clean, held)
    store = prepare("arrays", write(tmp_path / "data.npz", clean, clips=clips), "mine")
    assert store.column("length").tolist() == [len(clip) for clip in clips]
    assert "loops" not in {finding["check"] for finding in store.manifest["audit"]}


def test_data_centred_on_one_of_two_persons_is_root_relative(tmp_path, clean):
    def with_other(clip):
        pair = np.concatenate([clip, clip[::-1] + np.array([0.8, 0, 0], np.float32)], axis=1)
        return pair - pair[:, :1, [CENTRE]]

    clips = each(clean, with_second)
    clips = [with_other(clean["clips"][i]) if i % 3 == 0 else c - c[:, :1, [CENTRE]] * c.any(axis=(2, 3), keepdims=True)
             for i, c in enumerate(clips)]  # fmt: skip
    assert set(findings(tmp_path, clean, accept=(), clips=clips)) == {"root-relative"}


def test_one_odd_clip_of_a_subject_with_one_clip_is_no_habit(tmp_path, clean):
    alone = {"subject": np.arange(CLIPS)}
    for fault, allowed in ((up_is_z, {"lying"}), (exchanged, set()), (lambda c: 100 * c, {"scale"})):
        found = findings(tmp_path, clean, accept=(), clips=each(clean, fault, np.arange(CLIPS) == 5), **alone)
        assert set(found) == allowed and all(finding.level != "error" for finding in found.values())


def test_shoulders_given_right_first_are_the_same_shoulders(tmp_path, clean):
    own = {"layout": None, "joint_names": np.array(LAYOUT.joints), "parents": np.array(LAYOUT.parents)}
    turns: list[tuple[Any, dict[str, Any]]] = [(lambda c: c, {}), (up_is_z, {"up": "z"})]
    for fault, options in turns:
        clips = each(clean, fault)
        swapped = write(tmp_path / "a.npz", clean, clips=clips, shoulders=np.array([8, 4]), **own)
        store = prepare("arrays", swapped, "swapped", force=True, **options)
        assert store.manifest["audit"] == []
        expected = prepare("arrays", write(tmp_path / "b.npz", clean), "clean", force=True)
        np.testing.assert_array_equal(store.keypoints, expected.keypoints)


def test_an_own_skeleton_is_never_refused_because_another_fits_better(tmp_path, clean):
    parents = np.array(LAYOUT.parents)
    parents[[4, 8, 12, 16]] = 3  # limbs hang on the head
    own = {"layout": None, "parents": parents, "joint_names": np.array([f"j{i}" for i in range(25)])}
    assert findings(tmp_path, clean, accept=(), **own)["joints"].level == "warning"


def test_a_set_that_is_z_up_with_many_who_lie_is_z_up(tmp_path, clean):
    found = findings(tmp_path, clean, clips=each(clean, up_is_z, np.arange(CLIPS) % 4 > 0))
    assert "mixed-up" not in found and "--up z" in found["up"].todo


def test_poses_of_a_picture_are_told_as_such_only_and_not_by_another_unit(tmp_path, clean):
    rng = np.random.default_rng(0)

    def picture(clip, scale, most):
        score = rng.uniform(0.3, most, (*clip.shape[:3], 1))
        return np.concatenate([scale * (3 + clip[..., :2]), score], axis=-1).astype(np.float32)

    for scale, most in ((200, 1), (200, 1.02), (0.15, 0.95)):
        found = findings(tmp_path, clean, clips=each(clean, lambda c, s=scale, m=most: picture(c, s, m)))
        assert "image-coordinates" in found and not {"unit", "up", "joints"} & set(found)
    path = write(tmp_path / "data.npz", clean, clips=each(clean, lambda c: picture(c, 200, 1)))
    with pytest.raises(RefusedError, match="image-coordinates"):
        prepare("arrays", path, "other", unit="mm", up="-y")


def test_the_order_of_joints_is_seen_in_root_relative_data_too(tmp_path, clean):
    def centred(clip):
        wrong = openpose(clip) + np.random.default_rng(0).normal(0, 0.003, clip.shape).astype(np.float32)
        return wrong - wrong[:, :, [1]]

    found = findings(tmp_path, clean, clips=each(clean, centred))
    assert found["joints"].level == "error" and "openpose25" in found["joints"].what
    assert all(found[check].level != "error" for check in ("up", "sides", "mixed-up") if check in found)


def test_a_layout_without_feet_says_that_sides_are_unknown():
    layout, rng = get_layout("sbu15"), np.random.default_rng(0)
    keypoints = rng.standard_normal((40, 1, 15, 3)).astype(np.float32)
    entries = [{"name": str(i), "offset": 4 * i, "length": 4, "label": 0, "subject": i} for i in range(10)]
    found = {f.check: f for f in audit(Audited(keypoints, entries, layout, ["a"], {}, {}))}
    assert found["sides"].level == "note" and "unknown" in found["sides"].what


# --- Loops, refusals of large sets ------------------------------------------------------------------------------


def filled(body, frames):
    return np.concatenate([body] * (frames // len(body) + 1))[:frames]


def test_persons_who_were_filled_up_each_on_their_own_are_cut(clean):
    one, other = max(clean["clips"], key=len)[:90], clean["clips"][1][:25]
    clip = np.concatenate([filled(one, 300), filled(other, 300)], axis=1)
    cut = without_loops(clip)
    expected = np.concatenate([one, np.concatenate([other, np.zeros((65, 1, 25, 3), np.float32)])], axis=1)
    np.testing.assert_array_equal(cut, expected)
    long = clean["clips"][2][:40]
    whole = np.concatenate([filled(one, 300), np.random.default_rng(0).normal(size=(300, 1, 25, 3))], axis=1)
    assert without_loops(whole) is whole  # one of them was there all the time
    assert without_loops(np.concatenate([long] * 7)[:250]).shape[0] == 40
    double = np.concatenate([one, one[::-1] + 1])  # 180 frames: the second repetition was cut off at 300
    assert len(without_loops(filled(double, 300))) == 180
    assert len(without_loops(filled(double, 299))) == 299


def test_a_refused_set_of_raw_files_is_kept_for_accept_and_dropped_for_other_options(tmp_path, clean, skeleton_files):
    names = [f"S001C001P{subject:03d}R001A{action:03d}" for subject in (1, 2, 3) for action in range(1, 5)]
    raw = tmp_path / "raw"
    raw.mkdir()
    for name, clip in zip(names, clean["clips"], strict=False):
        frames = [[("1", joints)] for joints in flipped(clip)[:, 0].astype(np.float64)]
        (raw / f"{name}.skeleton").write_text(skeleton_files.text(frames))
    with pytest.raises(RefusedError, match="--up -y"):
        prepare("ntu60", raw, "mine")
    store = prepare("ntu60", raw, "mine", up="-y")
    assert "up" not in {finding["check"] for finding in store.manifest["audit"]}
    assert [path.name for path in store.path.parent.iterdir()] == ["mine"]
    with pytest.raises(RefusedError):
        prepare("ntu60", raw, "other")
    seen = []
    prepare("ntu60", raw, "other", accept=["up"], progress=lambda done, total: seen.append(done))
    assert seen[0] == len(names)  # nothing was read again


# --- Labels, subjects, splits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "level", "changes"),
    [
        ("classes", "warning", lambda d: {"label": d["label"] + 1}),
        ("classes", "warning", lambda d: {"class_names": np.array(["a", "b", "c", "d", "e"])}),
        ("classes", "warning", lambda d: {"class_names": np.array(["a", "b", "a", "d"])}),
        ("classes", "warning", lambda d: {"label": np.where(np.arange(CLIPS) == 0, 4, d["label"])}),
        ("classes", "warning", lambda d: {"label": np.where(np.arange(CLIPS) < 80, 0, d["label"])}),
        ("splits", "warning", lambda d: {"subject": 2 * d["subject"]}),
        ("splits", "warning", lambda d: {"subject": np.full(CLIPS, 3)}),
        ("one-subject", "warning", lambda d: {"subject": np.full(CLIPS, 3)}),
        ("split-classes", "warning", lambda d: {"subject": np.where(d["label"] == 2, 1, d["subject"])}),
        ("split-classes", "warning", lambda d: {"subject": np.where(d["label"] == 2, 2, d["subject"])}),
        ("held-out", "warning", lambda d: {"subject": np.where(d["subject"] % 2, 1, d["subject"])}),
        ("shared-subjects", "warning", lambda d: {"split_xsub": np.arange(CLIPS) % 2}),
        ("fps", "warning", lambda d: {"fps": 0.0}),
    ],
)
def test_a_fault_of_the_facts_is_found_by_name(tmp_path, clean, check, level, changes):
    assert findings(tmp_path, clean, accept=(), **changes(clean))[check].level == level


def test_a_frame_rate_that_is_no_number_is_told_and_not_kept(tmp_path, clean):
    store = prepare("arrays", write(tmp_path / "data.npz", clean, fps=np.inf), "mine")
    assert [finding["check"] for finding in store.manifest["audit"]] == ["fps"]
    assert store.manifest["fps"] is None


def test_labels_that_count_from_one_are_named(tmp_path, clean):
    found = findings(tmp_path, clean, label=clean["label"] + 1)["classes"]
    assert found.what.startswith("1 of 5 classes have no clip") and "--labels-from 1" in found.todo
    store = prepare("arrays", tmp_path / "data.npz", "other", options={"labels_from": 1})
    assert store.column("label").tolist() == clean["label"].tolist() and store.manifest["audit"] == []


def test_a_skeleton_says_what_it_lacks_and_what_stands_twice(tmp_path, clean):
    names = [f"joint {i}" for i in range(25)]
    own = {"layout": None, "parents": np.array(LAYOUT.parents)}
    found = findings(tmp_path, clean, joint_names=np.array(names), **own)["layout"]
    assert found.level == "note" and "has no mirror, parts, centre, shoulders" in found.what
    found = findings(tmp_path, clean, joint_names=np.array(["a", "a", *names[2:]]), **own)["layout"]
    assert found.level in ("error", "note")
    store = prepare("arrays", tmp_path / "data.npz", "mine", accept=["layout"], force=True)
    assert "Joint names stand twice: a." in [finding["what"] for finding in store.manifest["audit"]]
    parents = np.array(LAYOUT.parents)
    parents[12] = -1
    write(tmp_path / "data.npz", clean, joint_names=np.array(names), layout=None, parents=parents)
    store = prepare("arrays", tmp_path / "data.npz", "mine", force=True)
    assert any(
        "The skeleton has 2 roots (joint 12, joint 20)" in finding["what"] for finding in store.manifest["audit"]
    )


def test_parents_that_count_from_one_are_named(tmp_path, clean):
    parents = np.where(np.array(LAYOUT.parents) < 0, -1, np.array(LAYOUT.parents) + 1)
    names = np.array([f"joint {i}" for i in range(25)])
    parents[[7, 3]] = 25, 21
    path = write(tmp_path / "data.npz", clean, layout=None, joint_names=names, parents=parents)
    with pytest.raises(SkelbenchError, match=r"names joint 25 in 'parents'; .* They seem to count from 1\."):
        prepare("arrays", path, "mine")


# --- Persons ------------------------------------------------------------------------------------------------------


def with_second(clip):
    return np.concatenate([clip, 0 * clip], axis=1)


def test_persons_who_change_their_slot_are_told(tmp_path, clean):
    clips = each(clean, with_second)
    clips[5][20:, 1], clips[5][20:, 0] = clips[5][20:, 0], 0
    found = findings(tmp_path, clean, clips=clips)["swaps"]
    assert (found.level, found.clips, found.names) == ("warning", 1, ("clip005",))


@pytest.mark.parametrize("pause", [2, -1])
def test_a_change_of_slot_with_a_pause_or_an_overlap_is_one(tmp_path, clean, pause):
    clips = each(clean, with_second)
    body = clips[5][:, 0].copy()
    clips[5][:] = 0
    clips[5][:20, 0], clips[5][20 + pause :, 1] = body[:20], body[20 + pause :]
    assert findings(tmp_path, clean, clips=clips)["swaps"].names == ("clip005",)


def test_a_second_person_who_is_there_more_is_put_first_and_told(tmp_path, clean):
    clips = each(clean, with_second)
    clips[4] = clips[4][:, ::-1].copy()
    found = findings(tmp_path, clean, clips=clips)["person-order"]
    assert (found.level, found.clips) == ("note", 1)


# --- Leaks --------------------------------------------------------------------------------------------------------


def test_nearly_equal_clips_across_sides_are_pairs(tmp_path, clean):
    odd, even = (int(np.flatnonzero(clean["subject"] % 2 == side)[0]) for side in (1, 0))
    clips = each(clean, lambda clip: clip, [])
    noise = np.random.default_rng(0).normal(0, 0.0005, clips[odd].shape).astype(np.float32)
    clips[even] = clips[odd] + noise
    found = findings(tmp_path, clean, clips=clips)["near-duplicates"]
    pair = " ≈ ".join(sorted((f"clip{odd:03d}", f"clip{even:03d}")))
    assert (found.level, found.clips, found.names) == ("warning", 1, (pair,))
    clips[even] = clips[odd].copy()
    clips[even][1, 0, 5] += 0.01  # one joint of one frame was repaired
    assert findings(tmp_path, clean, clips=clips)["near-duplicates"].names == (pair,)
    clips[even] = clips[odd] + 100 * noise  # as far apart as a sensor's noise
    assert "near-duplicates" not in findings(tmp_path, clean, clips=clips)


def test_nearly_equal_clips_are_those_of_a_comparison_of_all_pairs(tmp_path, clean):
    rng = np.random.default_rng(3)
    base = [clip[:40] for clip in clean["clips"][:40] if len(clip) >= 40]
    clips = [
        *base,
        *(
            clip + rng.normal(0, size, clip.shape)
            for clip, size in zip(base, np.geomspace(1e-4, 0.1, len(base)), strict=True)
        ),
    ]
    keypoints = np.concatenate(clips).astype(np.float32)
    entries = [{"name": str(i), "offset": 40 * i, "length": 40} for i in range(len(clips))]
    data = Audited(keypoints, entries, LAYOUT, ["a"], {}, {})
    noise = NOISE * np.median(data.measures.extent)
    stacked = keypoints.reshape(len(clips), -1).astype(np.float64)
    apart = np.abs(stacked[:, None] - stacked[None]).mean(axis=-1)
    sure = {(i, j) for i, j in zip(*np.where(apart < 0.9 * noise), strict=True) if i < j}
    never = {(i, j) for i, j in zip(*np.where(apart > 1.1 * noise), strict=True) if i < j}
    found = set(nearly_equal(data))
    assert sure and sure <= found and not never & found


def test_what_is_measured_does_not_depend_on_threads(clean, monkeypatch):
    monkeypatch.setattr("skelbench.datasets.audit.measure._BLOCK", 500)
    clips = clean["clips"]
    ends = np.cumsum([len(clip) for clip in clips])
    entries = [
        {"name": name, "offset": int(end) - len(clip), "length": len(clip)}
        for name, clip, end in zip(clean["name"], clips, ends, strict=True)
    ]
    one, three = (measure(np.concatenate(clips), entries, LAYOUT, threads) for threads in (1, 3))
    assert len(one) == len(clips)
    for fact, value in vars(one).items():
        np.testing.assert_array_equal(value, getattr(three, fact), err_msg=fact)


def test_bodies_without_size(tmp_path, clean):
    points = [np.broadcast_to(clip[:, :, :1], clip.shape).copy() for clip in clean["clips"]]
    found = findings(tmp_path, clean, clips=points)["unit"]
    assert found.level == "error" and found.clips == CLIPS and "at the same place" in found.what
    some = findings(tmp_path, clean, clips=[points[0], *clean["clips"][1:]])["unit"]
    assert some.level == "warning" and some.names == ("clip000",)


def test_a_unit_of_another_size(tmp_path, clean):
    inches = [clip / 0.0254 for clip in clean["clips"]]
    found = findings(tmp_path, clean, clips=inches)["unit"]
    assert "larger than" in found.what and found.todo == "Prepare with --unit cm, or 0.0254 if these are inches."
    feet = [clip / 0.3048 for clip in clean["clips"]]
    assert "--unit METRES" in findings(tmp_path, clean, clips=feet)["unit"].todo
    assert "smaller than" in findings(tmp_path, clean, clips=[clip / 10 for clip in clean["clips"]])["unit"].what
    path = write(tmp_path / "inches.npz", clean, clips=inches)
    store = prepare("arrays", path, "inches", unit=0.0254)
    np.testing.assert_allclose(store.keypoints, np.concatenate(clean["clips"]), rtol=1e-6, atol=1e-7)
    assert store.manifest["converted"] == {"unit": 0.0254, "up": "y"}


# --- Conversion ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        (lambda c: c.astype(np.float64) * 1000, {"unit": "mm"}),
        (lambda c: c.astype(np.float64) * 100, {"unit": "cm"}),
        (flipped, {"up": "-y"}),
        (lambda c: c * signs(1, -1, -1), {"up": "-y"}),
        (up_is_z, {"up": "z"}),
        (mirrored_up_is_z, {"up": "z"}),
        (lambda c: c[..., [0, 2, 1]] * signs(1, 1, -1), {"up": "-z"}),
        (lambda c: up_is_z(c).astype(np.float64) * 1000, {"up": "z", "unit": "mm"}),
    ],
)
def test_converted_data_are_the_clean_data_to_the_last_bit(tmp_path, clean, fault, options):
    expected = prepare("arrays", write(tmp_path / "clean.npz", clean), "clean")
    store = prepare("arrays", write(tmp_path / "data.npz", clean, clips=each_as(clean, fault)), "mine", **options)
    assert store.keypoints.tobytes() == expected.keypoints.tobytes()
    assert store.fingerprint == expected.fingerprint and store.manifest["audit"] == []
    assert store.manifest["converted"] == {"unit": "m", "up": "y"} | options
    assert any("to metres, y up" in line for line in describe(store)["lines"])


def each_as(data, change):
    return [change(clip) for clip in data["clips"]]


def test_another_conversion_does_not_replace_a_store_in_silence(tmp_path, clean):
    path = write(tmp_path / "data.npz", clean)
    prepare("arrays", path, "mine")
    with pytest.raises(SkelbenchError, match="There is a data set 'mine' already"):
        prepare("arrays", path, "mine", unit="mm", accept=["unit"])


# --- Old stores, the command line -----------------------------------------------------------------------------------


def test_a_store_that_was_never_audited_is_audited_by_inspect(tmp_path, clean):
    store = prepare("arrays", write(tmp_path / "data.npz", clean, clips=each(clean, flipped)), "mine", accept=["up"])
    manifest = {k: v for k, v in store.manifest.items() if k not in ("audit", "accepted", "mended", "checksum")}
    (store.path / "manifest.json").write_text(json.dumps(manifest))
    facts = describe(open_store("mine"))
    assert [finding["check"] for finding in facts["audit"] if finding["level"] == "error"] == ["up"]


def test_a_store_of_a_version_without_the_newer_options_is_prepared_again_without_force(tmp_path, clean):
    store = prepare("arrays", write(tmp_path / "data.npz", clean), "mine")
    manifest = {k: v for k, v in store.manifest.items() if k != "checksum"} | {"options": {}}
    (store.path / "manifest.json").write_text(json.dumps(manifest))
    assert prepare("arrays", tmp_path / "data.npz", "mine").manifest["options"] == {"labels_from": 0}


def test_the_command_prints_findings_and_refuses(tmp_path, clean, skelbench):
    path = write(tmp_path / "data.npz", clean, clips=each(clean, flipped))
    refused = skelbench("prepare", "arrays", "--from", path, "--name", "mine", code=2)
    assert "  error    up, 120 clips: clip000, clip001, clip002, ..." in refused.stderr
    assert refused.stderr.count("→ Prepare with --up -y.") == 1 and "--accept up" in refused.stderr
    told = json.loads(skelbench("prepare", "arrays", "--from", path, "--name", "mine", "--json", code=2).stdout)
    assert told["audit"][0]["check"] == "up"
    done = skelbench("prepare", "arrays", "--from", path, "--name", "mine", "--up", "-y", "--json", code=0)
    assert json.loads(done.stdout)["audit"] == []
    assert json.loads(skelbench("inspect", "mine", "--json", code=0).stdout)["audit"] == []


# --- Every check --------------------------------------------------------------------------------------------------


def test_every_check_is_explained():
    page = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"**`{name}`**" not in page] == []


def test_of_a_clip_that_the_released_rule_reads_nothing_from_it_is_said(clean):
    """A store of an older version may have one; `prepare` rejects it."""
    keypoints = np.concatenate([with_second(clip) for clip in clean["clips"][:20]])
    entries, offset = [], 0
    for i, clip in enumerate(clean["clips"][:20]):
        entries.append({"name": str(i), "offset": offset, "length": len(clip), "label": i % 2, "subject": i})
        offset += len(clip)
    keypoints[: entries[0]["length"]] = keypoints[: entries[0]["length"], ::-1].copy()
    half = entries[1]["offset"] + 3 * entries[1]["length"] // 4
    keypoints[entries[1]["offset"] : half] = keypoints[entries[1]["offset"] : half, ::-1].copy()
    found = {f.check: f for f in audit(Audited(keypoints, entries, LAYOUT, ["a", "b"], {}, {}, "released"))}
    assert (found["empty-clips"].level, found["empty-clips"].names) == ("error", ("0",))
    assert found["mostly-empty"].names == ("1",)
    assert (found["person-order"].level, found["person-order"].clips) == ("warning", 2)


# --- What is written of odd sets ----------------------------------------------------------------------------------


def test_classes_of_one_name_have_a_row_each(tmp_path, clean):
    path = write(tmp_path / "data.npz", clean, class_names=np.array(["a", "b", "a", "d"]))
    facts = describe(prepare("arrays", path, "mine"))
    assert list(facts["classes"]) == ["a (label 0)", "b", "a (label 2)", "d"]
    assert sum(counts["clips"] for counts in facts["classes"].values()) == CLIPS


def test_a_name_that_is_not_text_is_rejected(tmp_path, clean):
    store = prepare(
        "arrays", write(tmp_path / "data.npz", clean, name=np.array([*clean["name"][:-1], "\ud800"])), "mine"
    )
    (rejected,) = store.rejected
    assert "has a name that is not text" in rejected.reason


def test_generated_motion_is_not_converted():
    with pytest.raises(SkelbenchError, match="`synthetic` is in metres, y up"):
        prepare("synthetic", [], up="z")
