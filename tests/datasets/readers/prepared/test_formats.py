import os
import pickle
import random
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from skelbench.datasets import Clip, Items, prepare
from skelbench.datasets.audit import Finding
from skelbench.datasets.clips import preprocess
from skelbench.datasets.inspect import audit_store
from skelbench.datasets.layout import get_layout
from skelbench.datasets.readers.arrays import REQUIRED
from skelbench.datasets.readers.auto import read
from skelbench.datasets.store import data_folder
from skelbench.errors import SkelbenchError

TRAIN = ["S001C001P001R001A001", "S001C003P002R002A060", "S002C002P004R001A002"]
VAL = ["S001C001P003R001A001", "S002C003P006R002A050"]
LABELS = {name: int(name[-3:]) - 1 for name in TRAIN + VAL}


@pytest.fixture
def clips():
    """Clips (T, 2, 25, 3) of one and two persons by name; an empty frame is inside the first."""
    rng = np.random.default_rng(0)
    made = {}
    for i, name in enumerate(TRAIN + VAL):
        made[name] = rng.standard_normal((7 + 3 * i, 2, 25, 3)).astype(np.float32)
        if i % 2:
            made[name][:, 1] = 0
    made[TRAIN[0]][2] = 0
    return made


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def padded(clips, names, frames):
    """(N, frames, 2, 25, 3) with zeros behind the end."""
    block = np.zeros((len(names), frames, *clips[names[0]].shape[1:]), np.float32)
    for i, name in enumerate(names):
        block[i, : len(clips[name])] = clips[name]
    return block


def write_stgcn(folder, clips, *, pickled=tuple, frames=300):
    for part, names in (("train", TRAIN), ("val", VAL)):
        np.save(folder / f"{part}_data.npy", padded(clips, names, frames).transpose(0, 4, 1, 3, 2))
        content = pickled(([f"{name}.skeleton" for name in names], [LABELS[name] for name in names]))
        (folder / f"{part}_label.pkl").write_bytes(pickle.dumps(content))
    return folder


def write_position(folder, clips):
    write_stgcn(folder, clips)
    for part, names in (("train", TRAIN), ("val", VAL)):
        done = resampled(clips, names)
        np.save(folder / f"{part}_position.npy", done.transpose(0, 4, 1, 3, 2))
        np.save(folder / f"{part}_motion.npy", np.diff(done, axis=1).transpose(0, 4, 1, 3, 2))
        np.save(folder / f"{part}_label.npy", np.array([[LABELS[name]] for name in names]))
        (folder / f"{part}_data.npy").unlink()
    return folder


def resampled(clips, names, frames=50):
    chosen = [clips[name] for name in names]
    counts = np.array([int((clip[:, 0] != 0).any(axis=(1, 2)).sum()) for clip in chosen])
    return preprocess(chosen, counts, frames, get_layout("ntu25")).astype(np.float32)


def write_ctrgcn(folder, clips, *, save=np.savez, **changed):
    arrays = {}
    for part, names in (("train", TRAIN), ("test", VAL)):
        arrays[f"x_{part}"] = padded(clips, names, 300).reshape(len(names), 300, 150)
        arrays[f"y_{part}"] = np.eye(60)[[LABELS[name] for name in names]]
    save(folder / "NTU60_CS.npz", **(arrays | changed))
    return folder / "NTU60_CS.npz"


def write_pyskl(folder, clips, *, name="ntu60_3danno.pkl", protocol=4, dtype: type = np.float32, **changed):
    annotations = []
    for clip, array in clips.items():
        persons = array[:, : 2 if array[:, 1].any() else 1]
        annotations.append(
            {
                "frame_dir": clip,
                "label": LABELS[clip],
                "keypoint": persons.transpose(1, 0, 2, 3).astype(dtype),
                "total_frames": len(array),
            }
        )
    split = {"xsub_train": TRAIN, "xsub_val": VAL, "xview_train": VAL[1:] + TRAIN[1:], "xview_val": VAL[:1]}
    (folder / name).write_bytes(pickle.dumps({"annotations": annotations, "split": split} | changed, protocol))
    return folder / name


def write_rawskes(folder, clips):
    content = []
    for name, array in clips.items():
        bodies = {"72057594037931101": {"joints": array[:, 0].reshape(-1, 3), "interval": list(range(len(array)))}}
        if array[:, 1].any():
            seen = np.flatnonzero(array[:, 1].any(axis=(1, 2)))
            weak = {"joints": 0.1 * array[seen, 1].reshape(len(seen), 75), "interval": seen}
            strong = {"joints": 3 * array[seen, 1].reshape(-1, 3), "interval": seen.tolist(), "motion": np.float32(1)}
            bodies = {"weak": weak, **bodies, "strong": strong}
        content.append({"name": np.array([name])[0], "data": bodies, "num_frames": len(array)})
    (folder / "raw_skes_data.pkl").write_bytes(pickle.dumps(content, 4))
    return folder / "raw_skes_data.pkl"


def content(store):
    """Keypoints of a store's clips by name."""
    return {c["name"]: np.asarray(store.keypoints[c["offset"] : c["offset"] + c["length"]]) for c in store.clips}


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, keypoints in expected.items():
        np.testing.assert_array_equal(found[name], keypoints, err_msg=name)


def clips_of(sources):
    found = read(sources).clips
    assert not isinstance(found, Items)
    return list(found)


def sides(store, split):
    return dict(zip(store.column("name").tolist(), store.sides(split).tolist(), strict=True))


XSUB = {**dict.fromkeys(TRAIN, 1), **dict.fromkeys(VAL, 0)}


@pytest.mark.parametrize("pickled", [tuple, list])
def test_stgcn_arrays_become_clips_of_their_own_length(folder, clips, pickled):
    store = prepare("auto", write_stgcn(folder, clips, pickled=pickled), "mine")
    assert_same(content(store), clips)
    assert store.column("label").tolist() == list(LABELS.values())
    assert sides(store, "xsub") == XSUB and list(store.splits) == ["xsub"]
    assert store.layout.name == "ntu25" and len(store.class_names) == 60 and store.applied == ()
    first = store.clips[1]
    assert (first["setup"], first["camera"], first["subject"], first["repetition"]) == (1, 3, 2, 2)
    assert store.rejected == []


def test_preprocessed_positions_say_what_was_done_to_them(folder, clips):
    store = prepare("auto", write_position(folder, clips), "mine")
    assert_same(content(store), dict(zip(TRAIN + VAL, resampled(clips, TRAIN + VAL), strict=True)))
    assert store.applied == ("centred", "resampled", "turned")
    assert sides(store, "xsub") == XSUB
    assert "centred, resampled, turned" in store.manifest["notes"]["positions"]


def test_labels_as_array_and_names_of_another_kind(folder, clips):
    write_stgcn(folder, clips)
    for part, names in (("train", TRAIN), ("val", VAL)):
        (folder / f"{part}_label.pkl").unlink()
        np.save(folder / f"{part}_label.npy", np.array([[LABELS[name]] for name in names]))
    store = prepare("auto", folder, "mine")
    assert [c["name"] for c in store.clips] == [
        "train-000000",
        "train-000001",
        "train-000002",
        *store.column("name")[3:],
    ]
    assert set(store.column("subject")) == {-1}
    assert store.sides("given").tolist() == [1, 1, 1, 0, 0]
    assert len(store.class_names) == 60


def test_names_of_pku_mmd_give_no_subject(folder, clips):
    write_stgcn(folder, clips)
    for part, labels in (("train", [0, 1, 2]), ("val", [0, 50])):
        names = [f"F{i:03d}V001C001L{i:03d}.skeleton" for i in range(len(labels))]
        (folder / f"{part}_label.pkl").write_bytes(pickle.dumps((names, labels)))
    (folder / "val_label.pkl").write_bytes(pickle.dumps((["F7V1C1L1", "F8V1C1L1"], [0, 50])))
    store = prepare("auto", folder, "mine", options={"split": "xsub"})
    assert set(store.column("subject")) == {-1}
    assert store.sides("xsub").tolist() == [1, 1, 1, 0, 0] and len(store.class_names) == 51
    assert store.manifest["options"] == {"split": "xsub"}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_ctrgcn_arrays(folder, clips, save):
    store = prepare("auto", write_ctrgcn(folder, clips, save=save), "mine")
    names = ["train-000000", "train-000001", "train-000002", "test-000000", "test-000001"]
    assert_same(content(store), dict(zip(names, clips.values(), strict=True)))
    assert store.column("label").tolist() == list(LABELS.values())
    assert store.sides("given").tolist() == [1, 1, 1, 0, 0]
    assert len(store.class_names) == 60 and set(store.column("subject")) == {-1}
    named = prepare("auto", folder, options={"split": "xsub"})
    assert named.name == "auto-xsub" and list(named.splits) == ["xsub"]


def test_a_row_that_is_not_one_hot_is_rejected_and_the_others_are_prepared(folder, clips):
    y = np.eye(60)[[LABELS[name] for name in VAL]]
    y[1, 3] = 1
    store = prepare("auto", write_ctrgcn(folder, clips, y_test=y), "mine")
    assert [entry.file for entry in store.rejected] == ["test-000001"] and len(store.clips) == 4
    assert "an invalid label" in store.rejected[0].reason


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_annotations_of_pyskl(folder, clips, protocol, dtype):
    store = prepare("auto", write_pyskl(folder, clips, protocol=protocol, dtype=dtype), "mine")
    assert_same(content(store), {name: clip.astype(dtype).astype(np.float32) for name, clip in clips.items()})
    assert store.column("label").tolist() == list(LABELS.values())
    assert sides(store, "xsub") == XSUB
    assert sides(store, "xview") == {**dict.fromkeys(TRAIN + VAL, 1), VAL[0]: 0, TRAIN[0]: -1}
    assert store.column("bodies").tolist() == [2, 1, 2, 1, 2]


def test_annotations_without_splits_take_the_rules_of_their_names(folder, clips):
    path = write_pyskl(folder, clips, split=None)
    store = prepare("auto", path, "mine")
    assert list(store.splits) == ["xsub", "xview"] and sides(store, "xsub") == XSUB
    assert sides(store, "xview") == {name: int(name[5:8] != "001") for name in TRAIN + VAL}


def test_of_three_persons_the_two_that_move_most_are_kept(folder, clips):
    crowd = np.stack([clips[VAL[0]][:, 0] * size for size in (1, 3, 2)])  # (M, T, V, 3)
    entry = {"frame_dir": VAL[0], "label": 0, "keypoint": crowd, "total_frames": crowd.shape[1]}
    path = write_pyskl(folder, clips, annotations=[entry], split=None)
    store = prepare("auto", path, "mine")
    np.testing.assert_array_equal(content(store)[VAL[0]], crowd[[1, 2]].transpose(1, 0, 2, 3))
    (told,) = (found for found in store.manifest["audit"] if found["check"] == "source")
    assert "more than 2 persons" in told["what"] and told["names"] == [VAL[0]]


def test_a_still_ghost_does_not_win_over_persons_who_are_there_for_a_part(folder, clips):
    moving = clips[VAL[0]][:, 0]  # (T, V, 3)
    ghost = np.broadcast_to(moving[0] / 2 + 4, moving.shape).astype(moving.dtype)
    half = len(moving) // 2
    ghost[half:], late = 0, moving * 1.1
    late[:half] = 0
    entry = {"frame_dir": VAL[0], "label": 0, "keypoint": np.stack([ghost, late, moving]), "total_frames": len(moving)}
    (found,) = content(prepare("auto", write_pyskl(folder, clips, annotations=[entry], split=None), "mine")).values()
    kept = {found[:, person].tobytes() for person in (0, 1)}
    assert kept == {body.astype(np.float32).tobytes() for body in (late, moving)}


def write_sides(folder, clips, *, change=lambda entry: entry, wrap=list, names=("train", "val"), files="{}.pkl"):
    """Annotations as a file for each side, without a split in them."""
    whole = pickle.loads(write_pyskl(folder, clips).read_bytes())["annotations"]
    (folder / "ntu60_3danno.pkl").unlink()
    for side, chosen in zip(names, (TRAIN, VAL), strict=True):
        entries = [change(entry) for entry in whole if entry["frame_dir"] in chosen]
        (folder / files.format(side)).write_bytes(pickle.dumps(wrap(entries)))
    return folder


@pytest.mark.parametrize("wrap", [list, lambda entries: {"annotations": entries}])
@pytest.mark.parametrize("together", [True, False])
def test_annotations_of_two_sides_are_one_set_with_that_split(folder, clips, wrap, together):
    write_sides(folder, clips, wrap=wrap)
    store = prepare("auto", folder if together else [folder / "train.pkl", folder / "val.pkl"], "mine")
    assert_same(content(store), clips)
    assert list(store.splits) == ["xsub"] and sides(store, "xsub") == XSUB


@pytest.mark.parametrize("files", ["{}.pkl", "kinetics_xsub_{}.pkl"])
def test_sides_are_called_as_the_folder_or_the_files_say(folder, clips, files):
    known = {name: f"clip{i}" for i, name in enumerate(clips)}
    (folder / "xsub").mkdir()
    place = folder / "xsub" if files == "{}.pkl" else folder
    change = lambda entry: entry | {"frame_dir": known[entry["frame_dir"]]}  # noqa: E731
    store = prepare("auto", write_sides(place, clips, change=change, files=files), "mine")
    assert list(store.splits) == ["xsub"] and store.sides("xsub").tolist() == [1, 1, 1, 0, 0]


def test_files_that_are_not_two_sides_of_one_split_are_refused(folder, clips):
    write_sides(folder, clips, names=("train", "train_more"))
    refused(folder, "two files of the same side of a split")
    (folder / "train_more.pkl").unlink()
    write_pyskl(folder, clips)
    refused(folder, r"ntu60_3danno\.pkl is a data set of its own, with its splits; leave train\.pkl out")


def test_frames_that_are_not_stated_or_not_there(folder, clips):
    path = write_pyskl(folder, clips)
    good = pickle.loads(path.read_bytes())["annotations"]
    changed = [
        damaged(good[0], total_frames=None),
        {key: value for key, value in good[1].items() if key != "total_frames"},
        damaged(good[2], total_frames=999),
        damaged(good[3], total_frames=5),
        damaged(good[4], keypoint=good[4]["keypoint"].tolist()),
    ]
    store = prepare("auto", write_pyskl(folder, clips, annotations=changed), "mine")
    assert_same(content(store), {name: clip[:5] if name == VAL[0] else clip for name, clip in clips.items()})
    (told,) = [found for found in store.manifest["audit"] if found["check"] == "source"]
    assert told["names"] == [TRAIN[2]] and f"is 999, there are {len(clips[TRAIN[2]])}" in told["what"]
    assert audit_store(store) == [Finding.from_json(found) for found in store.manifest["audit"]]


def test_persons_and_frames_that_are_exchanged_are_refused(folder, clips):
    whole = pickle.loads(write_pyskl(folder, clips).read_bytes())["annotations"]
    for entry in whole:
        entry["keypoint"] = np.tile(entry["keypoint"][:1].swapaxes(0, 1), (3, 1, 1, 1))
    path = write_pyskl(folder, clips, annotations=whole)
    refused(path, "persons in 1 frames; persons and frames are exchanged")


def test_the_folder_of_a_split_is_named_where_the_one_above_is_given(folder, clips):
    (folder / "data" / "xsub").mkdir(parents=True)
    write_sides(folder / "data" / "xsub", clips)
    refused(folder, r"none of the known layouts; give one of its folders: data/xsub\.")


def test_lists_of_keypoints_of_different_lengths_are_rejected_alone(folder, clips):
    whole = pickle.loads(write_pyskl(folder, clips).read_bytes())["annotations"]
    whole[0]["keypoint"] = [[[[0.0, 0.0, 0.0]] * 25] * 3, [[[0.0, 0.0, 0.0]] * 25] * 2]
    store = prepare("auto", write_pyskl(folder, clips, annotations=whole), "mine")
    assert len(store.clips) == 4 and "do not make an array" in store.rejected[0].reason


def turn(axis, angle):
    """Matrix of the rotation about an axis (Rodrigues' formula)."""
    length = np.linalg.norm(axis)
    if length < 1e-9:
        return np.eye(3)
    x, y, z = axis / length
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def as_2s_agcn(clip, frames=300):
    """A clip (T, 2, 25, 3) as 2s-AGCN prepares it, (3, frames, 25, 2), from the steps its code takes."""
    bodies = np.zeros((clip.shape[1], frames, 25, 3))
    for person in range(clip.shape[1]):
        there = np.flatnonzero(clip[:, person].any(axis=(1, 2)))
        if len(there):
            own = clip[: there[-1] + 1, person]
            bodies[person] = np.concatenate([own] * (frames // len(own) + 1))[:frames]
    empty = ~bodies.any(axis=-1)
    bodies -= bodies[:1, :, 1:2]
    bodies[empty] = 0
    for start, end, axis in ((0, 1, [0.0, 0, 1]), (4, 8, [1.0, 0, 0])):
        bone = bodies[0, 0, end] - bodies[0, 0, start]
        angle = np.arccos(np.clip(bone @ axis / np.linalg.norm(bone), -1, 1))
        bodies = bodies @ turn(np.cross(bone, axis), angle).T
    return bodies.astype(np.float32).transpose(3, 1, 2, 0)


@pytest.fixture
def standing():
    """Clips of persons who stand upright, by name; the second person of two clips leaves before the first."""
    rng = np.random.default_rng(1)
    pose = rng.normal(0, 0.1, (25, 3))
    pose[[0, 1, 4, 8]] = [[0, 0, 0], [0, 0.3, 0], [-0.2, 0.5, 0.02], [0.2, 0.5, -0.03]]
    made = {}
    for i, name in enumerate(TRAIN + VAL):
        made[name] = (pose + rng.normal(0, 0.01, (31 + 7 * i, 2, 25, 3)) + [0.3, 0.2, 3]).astype(np.float32)
        made[name][:, 1] += np.float32(1)
        if i % 2:
            made[name][:, 1] = 0
        else:
            made[name][20 + i :, 1] = 0
    return made


def distances(clip):
    return np.linalg.norm(clip[..., :, None, :] - clip[..., None, :, :], axis=-1)


@pytest.mark.parametrize("form", ["stgcn", "mmaction2"])
def test_clips_of_2s_agcn_get_their_own_frames_back_and_y_up(folder, standing, form):
    done = {name: as_2s_agcn(clip) for name, clip in standing.items()}
    if form == "stgcn":
        write_stgcn(folder, standing)
        for part, names in (("train", TRAIN), ("val", VAL)):
            np.save(folder / f"{part}_data_joint.npy", np.stack([done[name] for name in names]))
            (folder / f"{part}_data.npy").unlink()
    else:
        write_sides(folder, standing, change=lambda entry: entry | {"keypoint": done[entry["frame_dir"]]})
    store = prepare("auto", folder, "mine")
    assert "z is up" in store.manifest["notes"]["positions"] and sides(store, "xsub") == XSUB
    assert store.manifest["converted"] == {"unit": "m", "up": "z"}
    for name, found in content(store).items():
        there = standing[name].any(axis=(2, 3))
        np.testing.assert_array_equal(found.any(axis=(2, 3)), there, err_msg=name)
        np.testing.assert_allclose(distances(found)[there], distances(standing[name])[there], atol=1e-5)
        first = found[0, 0]
        np.testing.assert_allclose((first[8] - first[4])[1:], 0, atol=1e-5)
        assert first[1, 1] - first[0, 1] > 0.25 and (first[8] - first[4])[0] > 0
        assert np.sign(np.linalg.det(first[[2, 3, 5]])) == np.sign(
            np.linalg.det((standing[name][0, 0] - standing[name][0, 0, 1])[[2, 3, 5]])
        )  # turned, not mirrored


def as_one_file(folder, clips):
    """Clips (3, frames, V, M) with labels, as one side of a split."""
    np.save(folder / "train_data_joint.npy", np.stack(list(clips.values())))
    (folder / "train_label.pkl").write_bytes(pickle.dumps((list(clips), [LABELS[name] for name in clips])))
    return folder


@pytest.mark.parametrize("up", [None, "z"])
def test_that_z_is_up_may_be_said_as_well(folder, standing, up):
    as_one_file(folder, {name: as_2s_agcn(clip) for name, clip in standing.items()})
    first = content(prepare("auto", folder, "mine", up=up))[TRAIN[0]][0, 0]
    assert first[1, 1] - first[0, 1] > 0.25


@pytest.mark.parametrize("frames", [291, 300])
def test_clips_that_filled_the_frames_keep_them(folder, standing, frames):
    rng = np.random.default_rng(0)
    pose = standing[TRAIN[0]][0]
    moving = pose + rng.normal(0, 0.02, (frames, 2, 25, 3)).astype(np.float32)
    still = moving.copy()
    still[:, 1] = moving[0, 1]
    filled = {TRAIN[0]: moving, TRAIN[1]: still, TRAIN[2]: standing[TRAIN[2]]}
    as_one_file(folder, {name: as_2s_agcn(clip) for name, clip in filled.items()})
    found = content(prepare("auto", folder, "mine"))
    assert [found[name].shape[0] for name in filled] == [300, 300, len(standing[TRAIN[2]])]
    assert found[TRAIN[0]][:, 1].any(axis=(1, 2)).all() and found[TRAIN[1]][:, 1].any(axis=(1, 2)).all()


def test_the_frames_of_the_person_who_stays_longest_are_kept(folder, standing):
    clip = np.zeros((90, 2, 25, 3), np.float32)
    clip[:50, 0], clip[:, 1] = standing[VAL[1]][:50, 0], standing[VAL[1]][:1, 0] + 1
    clip[:, 1] += np.random.default_rng(0).normal(0, 0.02, (90, 25, 3))
    as_one_file(folder, {**{name: as_2s_agcn(other) for name, other in standing.items()}, TRAIN[0]: as_2s_agcn(clip)})
    found = content(prepare("auto", folder, "mine"))[TRAIN[0]]
    there = found.any(axis=(2, 3)).sum(axis=0)
    assert len(found) == 90 and sorted(there.tolist()) == [50, 90]


def test_repetitions_in_half_precision(folder, standing):
    as_one_file(folder, {name: as_2s_agcn(clip).astype(np.float16) for name, clip in standing.items()})
    for name, found in content(prepare("auto", folder, "mine")).items():
        np.testing.assert_array_equal(found.any(axis=(2, 3)), standing[name].any(axis=(2, 3)), err_msg=name)


def test_annotations_of_fewer_frames_than_repeat_are_cut(folder, standing):
    done = {name: as_2s_agcn(clip) for name, clip in standing.items()}
    change = lambda entry: entry | {"keypoint": done[entry["frame_dir"]], "total_frames": 20}  # noqa: E731
    store = prepare("auto", write_sides(folder, standing, change=change), "mine")
    assert {clip["length"] for clip in store.clips} == {20}


def test_sides_in_different_states_are_refused(folder, standing):
    done = {name: as_2s_agcn(clip) for name, clip in standing.items()}
    change = lambda entry: entry | {"keypoint": done[entry["frame_dir"]]} if entry["frame_dir"] in TRAIN else entry  # noqa: E731
    refused(write_sides(folder, standing, change=change), "not in the same state of preparation")


def test_one_clip_with_its_shoulders_at_one_place_does_not_hide_the_others(folder, standing):
    done = {name: as_2s_agcn(clip) for name, clip in standing.items()}
    done[TRAIN[1]][:, 0, 8] = done[TRAIN[1]][:, 0, 4]
    assert "z is up" in prepare("auto", as_one_file(folder, done), "mine").manifest["notes"]["positions"]


def test_clips_that_are_y_up_are_not_turned(folder, standing):
    y_up = {name: as_2s_agcn(clip)[[0, 2, 1]] for name, clip in standing.items()}
    write_stgcn(folder, standing)
    for part, names in (("train", TRAIN), ("val", VAL)):
        np.save(folder / f"{part}_data.npy", np.stack([y_up[name] for name in names]))
    assert "positions" not in prepare("auto", folder, "mine").manifest["notes"]


def test_poses_with_a_confidence_are_refused(folder, clips):
    rng = np.random.default_rng(0)
    poses = rng.uniform(-0.5, 0.5, (3, 3, 300, 25, 2)).astype(np.float32)
    poses[:, 2] = np.abs(poses[:, 2]) * 2
    poses *= poses[:, 2:] > 0.2  # undetected joints are at the origin
    write_stgcn(folder, clips)
    for joints in (18, 15):
        np.save(folder / "train_data.npy", poses[:, :, :, :joints])
        refused(folder, r"x, y and a confidence from 0 to 1.*take skeletons with depth")
    entries = [
        {"frame_dir": f"a{i}", "label": 0, "keypoint": pose.transpose(3, 1, 2, 0)} for i, pose in enumerate(poses)
    ]
    refused(write_pyskl(folder, clips, annotations=entries, split=None), "x, y and a confidence")


def test_coordinates_from_0_to_1_are_no_confidences(folder, clips):
    scaled = {name: (clip + 6) / 12 for name, clip in clips.items()}
    store = prepare("auto", write_stgcn(folder, scaled, frames=19), "mine")
    assert len(store.clips) == 5


def test_a_split_without_a_name_is_stored_with_the_named_ones(folder, clips):
    split = {"train": TRAIN[:2] + VAL[:1], "val": TRAIN[2:], "sub_train": TRAIN, "sub_test": VAL}
    store = prepare("auto", write_pyskl(folder, clips, split=split), "mine")
    assert sides(store, "sub") == XSUB
    assert store.sides("given").tolist() == [1, 1, 0, 1, -1]


def test_sides_by_setup_are_named_so_and_count_the_classes_of_ntu_120(folder, clips):
    names = [
        f"S{setup:03d}C001P{subject:03d}R001A{61 + setup:03d}" for setup, subject in ((18, 41), (20, 45), (19, 45))
    ]
    short = {name: clips[old] for name, old in zip(names, clips, strict=False)}
    for part, chosen in (("train", names[:2]), ("val", names[2:])):
        np.save(folder / f"{part}_data.npy", padded(short, chosen, 300).transpose(0, 4, 1, 3, 2))
        (folder / f"{part}_label.pkl").write_bytes(pickle.dumps((chosen, [int(n[-3:]) - 1 for n in chosen])))
    store = prepare("auto", folder, "mine")
    assert list(store.splits) == ["xset"] and store.sides("xset").tolist() == [1, 1, 0]
    assert len(store.class_names) == 120


def test_flat_poses_are_refused_with_the_reason(folder, clips):
    entry = {"frame_dir": "a", "label": 0, "keypoint": np.ones((1, 4, 17, 2), np.float16), "total_frames": 4}
    entry["keypoint_score"] = np.ones((1, 4, 17), np.float16)
    path = write_pyskl(folder, clips, name="ntu60_hrnet.pkl", annotations=[entry])
    refused(path, r"hrnet\.pkl holds 2-D poses \(17 joints .* 51 numbers where 25 joints in metres are 75")


def test_bodies_by_id_are_ordered_by_how_much_they_move(folder, clips):
    store = prepare("auto", write_rawskes(folder, clips), "mine")
    expected = {}
    for name, array in clips.items():
        two = array[:, 1].any()
        expected[name] = np.stack([3 * array[:, 1], array[:, 0]], axis=1) if two else array
    assert_same(content(store), expected)
    assert store.column("label").tolist() == list(LABELS.values())
    assert sides(store, "xsub") == XSUB
    assert "two whose joints vary most" in store.manifest["notes"]["bodies"]


def test_an_interchange_file_is_handed_over(folder, clips):
    path = write_interchange(folder, clips)
    store = prepare("auto", path, "mine")
    assert_same(content(store), clips)
    assert store.manifest["reader"] == "arrays"
    refused(path, "leave split= out", split="xsub")


def test_a_single_clip_without_a_label_is_one_class(folder, clips):
    np.save(folder / "walk.npy", padded(clips, VAL, 300)[1].transpose(3, 0, 2, 1))
    store = prepare("auto", folder / "walk.npy", "mine")
    assert_same(content(store), {"walk": clips[VAL[1]]})
    assert (store.column("label").tolist(), store.class_names) == ([0], ("class 0",))
    assert "no label" in store.manifest["notes"]["labels"]


def test_a_single_clip_with_a_name_of_ntu_has_its_label(folder, clips):
    np.save(folder / f"{VAL[1]}.npy", padded(clips, VAL, 300)[1].transpose(3, 0, 2, 1))
    store = prepare("auto", folder, "mine")
    assert (store.column("label").tolist(), store.column("subject").tolist()) == ([49], [6])
    assert len(store.class_names) == 60


def test_skeletons_of_twenty_joints_are_kinect_v1(folder, clips):
    write_stgcn(folder, {name: clip[:, :, :20] for name, clip in clips.items()})
    store = prepare("auto", folder, "mine")
    assert store.layout.name == "kinect20" and "20, taken for" in store.manifest["notes"]["joints"]


def write_interchange(folder, clips):
    np.savez(
        folder / "a.npz",
        keypoints=np.concatenate(list(clips.values())),
        lengths=[len(clip) for clip in clips.values()],
        name=list(clips),
        label=[0, 1, 2, 0, 1],
        subject=[1, 2, 4, 3, 6],
        layout="ntu25",
    )
    return folder / "a.npz"


@pytest.mark.parametrize("write", [write_ctrgcn, write_pyskl, write_rawskes, write_interchange])
def test_what_a_file_is_does_not_depend_on_its_name(folder, clips, write):
    path = write(folder, clips)
    before = clips_of([path])
    other = path.rename(folder / "download (1).bin")
    after = clips_of([other])
    assert len(after) == 5
    for one, two in zip(before, after, strict=True):
        assert isinstance(one, Clip) and isinstance(two, Clip) and one.name == two.name
        np.testing.assert_array_equal(one.keypoints, two.keypoints)


def test_arrays_and_labels_of_any_name_find_each_other(folder, clips):
    write_stgcn(folder, clips)
    (folder / "train_data.npy").rename(folder / "mystery.bin")
    (folder / "train_label.pkl").rename(folder / "thing")
    (folder / "val_data.npy").unlink()
    store = prepare("auto", folder, "mine")
    assert_same(content(store), {name: clips[name] for name in TRAIN})
    assert list(store.splits) == ["xsub", "xview"]


def test_the_files_can_be_given_one_by_one_and_from_several_folders(folder, clips, tmp_path):
    write_stgcn(folder, clips)
    store = prepare("auto", [folder / "train_data.npy", folder / "val_data.npy"], "mine")
    assert_same(content(store), clips)
    other = tmp_path / "labels"
    other.mkdir()
    for part in ("train", "val"):
        (folder / f"{part}_label.pkl").rename(other / f"{part}_label.pkl")
    assert_same(content(prepare("auto", [folder, other], "mine")), clips)
    refused(folder / "val_data.npy", r"val_data\.npy holds 2 clips, but no label file of this length")


def test_labels_of_the_other_part_are_never_taken(folder, clips):
    write_stgcn(folder, clips)
    np.save(folder / "val_data.npy", np.load(folder / "train_data.npy"))
    (folder / "val_label.pkl").unlink()
    refused(folder, r"val_data\.npy holds 3 clips, but no label file")


def test_sides_that_no_rule_explains_are_called_given(folder, clips):
    write_stgcn(folder, clips)
    names = [TRAIN[0], VAL[0], TRAIN[2]]
    (folder / "train_label.pkl").write_bytes(pickle.dumps((names, [0, 0, 1])))
    (folder / "val_label.pkl").write_bytes(pickle.dumps(([TRAIN[1], VAL[1]], [59, 49])))
    assert list(prepare("auto", folder, "mine").splits) == ["given"]


def test_bad_clips_are_rejected_and_the_others_prepared(folder, clips):
    clips[TRAIN[1]][3, 0, 4] = np.nan
    clips[VAL[1]][:] = 0
    write_stgcn(folder, clips)
    labels = [LABELS[name] for name in TRAIN]
    labels[2] = 60
    (folder / "train_label.pkl").write_bytes(pickle.dumps((TRAIN, labels)))
    store = prepare("auto", folder, "mine")
    assert sorted(store.column("name")) == sorted([TRAIN[0], VAL[0]])
    reasons = {entry.file: entry.reason for entry in store.rejected}
    assert "NaN" in reasons[TRAIN[1]] and "is empty" in reasons[VAL[1]] and "(60; 0 to 59 are)" in reasons[TRAIN[2]]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("form", ["stgcn", "pyskl", "rawskes"])
def test_numbers_beyond_single_precision_are_rejected_without_a_warning(folder, clips, form):
    clips = {name: clip.astype(np.float64) for name, clip in clips.items()}
    clips[TRAIN[1]][3, 0, 4] = 1e39
    write = {"stgcn": write_stgcn64, "pyskl": partial(write_pyskl, dtype=np.float64), "rawskes": write_rawskes}[form]
    write(folder, clips)
    (entry,) = prepare("auto", folder, "mine").rejected
    assert entry.file == TRAIN[1] and "NaN or infinite" in entry.reason


def write_stgcn64(folder, clips):
    write_stgcn(folder, {name: np.nan_to_num(clip.clip(-1e9, 1e9)) for name, clip in clips.items()})
    data = np.load(folder / "train_data.npy").astype(np.float64)
    data[data == np.float32(1e9)] = 1e39
    np.save(folder / "train_data.npy", data)


def test_a_clip_in_both_parts_is_kept_once(folder, clips):
    write_stgcn(folder, clips)
    (folder / "val_label.pkl").write_bytes(pickle.dumps(([TRAIN[0], VAL[1]], [0, 49])))
    store = prepare("auto", folder, "mine")
    assert len(store.clips) == 4 and "is in the data twice" in store.rejected[0].reason


def test_structures_that_would_grow_without_end_are_rejected(folder, clips):
    doubled = ["x"]
    for _ in range(200):
        doubled = [doubled, doubled]  # one small pickle, 2^200 things to print
    write_pyskl(folder, clips)
    good = pickle.loads((folder / "ntu60_3danno.pkl").read_bytes())["annotations"]
    bad = [damaged(good[0], label=doubled), damaged(good[1], label=10**9000), damaged(good[2], total_frames=doubled)]
    store = prepare("auto", write_pyskl(folder, clips, annotations=[*bad, *good[3:]]), "mine")
    assert store.column("name").tolist() == VAL
    path = write_rawskes(folder, clips)
    whole = pickle.loads(path.read_bytes())
    whole[0]["num_frames"] = whole[1]["name"] = next(iter(whole[2]["data"].values()))["interval"] = doubled
    path.write_bytes(pickle.dumps(whole))
    assert prepare("auto", path, "other").column("name").tolist() == VAL


def damaged(entry, **changes):
    return {**entry, **changes}


def test_bad_annotations_are_rejected_and_the_others_prepared(folder, clips):
    write_pyskl(folder, clips)
    whole = pickle.loads((folder / "ntu60_3danno.pkl").read_bytes())
    good = whole["annotations"]
    bad = [
        (damaged(good[0], label="walk"), "not an integer"),
        (damaged(good[1], keypoint=None), "no keypoints"),
        (damaged(good[2], total_frames=-1), "for -1 frames"),
        (damaged(good[3], frame_dir=7), "no name"),
    ]
    path = write_pyskl(folder, clips, annotations=[entry for entry, _ in bad] + good[4:])
    store = prepare("auto", path, "mine")
    assert store.column("name").tolist() == [VAL[1]]
    for i, (_, reason) in enumerate(bad):
        assert f"annotation {i}: " in store.rejected[i].reason and reason in store.rejected[i].reason
    assert any("is listed in the split 'xsub_train' but has no annotation" in e.reason for e in store.rejected)


def test_a_clip_on_both_sides_of_a_split_is_refused(folder, clips):
    path = write_pyskl(folder, clips, split={"xsub_train": TRAIN, "xsub_val": [*VAL, TRAIN[0]]})
    refused(path, f"'{TRAIN[0]}' is on both sides of the split 'xsub'")


def test_damaged_bodies_are_rejected_and_the_others_prepared(folder, clips):
    path = write_rawskes(folder, clips)
    whole = pickle.loads(path.read_bytes())
    body = next(iter(whole[1]["data"].values()))
    body["joints"] = body["joints"][:-1]
    whole[3]["num_frames"] = 2
    whole[4]["name"] = "walk"
    path.write_bytes(pickle.dumps(whole))
    store = prepare("auto", path, "mine")
    assert store.column("name").tolist() == [TRAIN[0], TRAIN[2]]
    assert sorted(entry.file for entry in store.rejected) == sorted([TRAIN[1], VAL[0], "raw_skes_data.pkl"])


def refused(source, message, **options):
    """Preparing fails with the message and leaves nothing."""
    with pytest.raises(SkelbenchError, match=message):
        prepare("auto", source, "other", options=options)
    assert not (data_folder() / "other").exists()
    assert not any(path.name.startswith(".") for path in data_folder().glob("*"))


def save_array(shape):
    return lambda folder: np.save(folder / "x.npy", np.ones(shape, np.float32))


def truncated(write, name, share=0.5):
    def damage(folder):
        made = {name: np.ones((5, 2, 25, 3), np.float32) for name in TRAIN + VAL}
        write(folder, made)
        path = folder / name
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return damage


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "folder holds none of the known layouts"),
        (lambda folder: (folder / "a.txt").write_text("hello"), "folder holds none of the known layouts"),
        (save_array((4, 3, 5, 18, 2)), r"x\.npy has 18 joints and does not name them"),
        (save_array((4, 2, 5, 17, 1)), r"x\.npy holds 2 numbers a joint"),
        (save_array((4, 3, 5, 25, 2)), r"x\.npy holds 4 clips, but no label file"),
        (save_array((4, 7)), "folder holds none of the known layouts"),
        (truncated(write_stgcn, "val_data.npy"), r"val_data\.npy cannot be read .*damaged or incomplete"),
        (truncated(write_stgcn, "val_label.pkl"), r"val_data\.npy holds 2 .*What could not be read: .*val_label\.pkl"),
        (truncated(write_ctrgcn, "NTU60_CS.npz"), r"NTU60_CS\.npz cannot be read .*damaged or incomplete"),
        (truncated(write_pyskl, "ntu60_3danno.pkl"), r"3danno\.pkl cannot be read as a pickle"),
        (truncated(write_rawskes, "raw_skes_data.pkl"), r"raw_skes_data\.pkl cannot be read as a pickle"),
        (lambda folder: np.savez(folder / "x.npz", a=np.ones(3)), "folder holds none of the known layouts"),
        (lambda folder: np.savez(folder / "x.npz", x_train=np.ones((2, 3, 150))), "'x_train' but no 'y_train'"),
        (
            lambda folder: np.savez(folder / "x.npz", x_train=np.ones((2, 3, 60)), y_train=np.eye(2)),
            r"'x_train' is float64 \(2, 3, 60\); floats \(clips, frames, 150\)",
        ),
        (
            lambda folder: np.savez(folder / "x.npz", x_train=np.ones((2, 3, 150)), y_train=np.eye(3)),
            r"'y_train' is float64 \(3, 3\); a label or a one-hot row for 2 clips",
        ),
        (
            lambda folder: (folder / "x.pkl").write_bytes(pickle.dumps((["a"], [0]))),
            "holds labels but no clips",
        ),
    ],
)
def test_what_cannot_be_prepared_is_refused_in_a_sentence(folder, make, message):
    make(folder)
    refused(folder, message)


def test_a_file_of_something_else_is_refused_with_what_is_known(folder):
    (folder / "a.txt").write_text("hello")
    refused(folder / "a.txt", r"a\.txt has none of the known layouts: arrays of the ST-GCN family")
    refused(folder / "nowhere", "nowhere does not exist")


def test_a_table_that_begins_as_a_pickle_could_is_no_pickle(folder, clips):
    (folder / "a.csv").write_text("class,label\n1,2\n")
    refused(folder / "a.csv", r"a\.csv has none of the known layouts")
    (folder / "a.csv").write_text("copyright\nsomebody\nall rights.")
    assert len(prepare("auto", write_stgcn(folder, clips), "mine").clips) == 5


def test_labels_of_python_2_are_read(folder, clips):
    write_stgcn(folder, clips)
    for part, names in (("train", TRAIN), ("val", VAL)):
        content = ([name.encode() for name in names], [LABELS[name] for name in names])
        old = "((lp0\n" + "".join(f"S'{name.decode()}'\na" for name in content[0])
        old += "(lp1\n" + "".join(f"I{label}\na" for label in content[1]) + "t."
        (folder / f"{part}_label.pkl").write_text(old)
    assert_same(content_of(folder), clips)


def content_of(folder):
    return content(prepare("auto", folder, "mine"))


def test_only_steps_that_the_numbers_show_are_said_to_be_done(folder, clips):
    write_stgcn(folder, clips)
    for part, names in (("train", TRAIN), ("val", VAL)):
        centred = [clips[name] - clips[name][:, :, 20:21] for name in names]
        block = padded(dict(zip(names, centred, strict=True)), names, 40)
        np.save(folder / f"{part}_data.npy", block.transpose(0, 4, 1, 3, 2))
    store = prepare("auto", folder, "mine")
    assert store.applied == ("centred",)
    assert store.column("length").tolist() == [len(clip) for clip in clips.values()]


def test_folders_below_are_named(folder, clips):
    (folder / "xsub").mkdir()
    write_stgcn(folder / "xsub", clips)
    refused(folder, "give one of its folders: xsub")


def test_several_data_sets_at_once_are_refused(folder, clips):
    write_pyskl(folder, clips)
    write_ctrgcn(folder, clips)
    refused(folder, r"several data sets here \(NTU60_CS\.npz, ntu60_3danno\.pkl\)")


def test_raw_and_preprocessed_arrays_are_not_mixed(folder, clips):
    write_position(folder, clips)
    write_stgcn(folder, clips)
    refused(folder, "two files of the same side of a split")
    refused([folder / "train_data.npy", folder / "val_position.npy"], "not in the same state of preparation")


def test_bones_and_motion_are_refused(folder, clips):
    write_position(folder, clips)
    refused(folder / "val_motion.npy", "holds bones or motion according to its name")


def test_an_unknown_side_is_refused(folder, clips):
    write_stgcn(folder, clips)
    (folder / "val_data.npy").rename(folder / "more_data.npy")
    (folder / "val_label.pkl").rename(folder / "more_label.pkl")
    refused(folder, r"more_data\.npy does not say whether it is for training or for testing")
    (folder / "train_data.npy").unlink()
    refused(folder, "there are no train and test sides to name", split="xsub")


@pytest.mark.parametrize("write", [write_pyskl, write_rawskes])
def test_malicious_annotations_are_refused_by_name(folder, clips, tmp_path, write):
    class Trap:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'sprung'}",)

    path = write(folder, clips)
    whole = pickle.loads(path.read_bytes())
    (whole["annotations"] if isinstance(whole, dict) else whole)[0]["more"] = Trap()
    path.write_bytes(pickle.dumps(whole))
    refused(path, f"asks to import '{os.name}.system'")
    refused(folder, f"asks to import '{os.name}.system'")
    assert not (tmp_path / "sprung").exists()


def test_objects_in_arrays_are_never_unpickled(folder, clips, tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path / "sprung").touch, ()

    trap = np.empty((2, 3, 4, 25, 2), dtype=object)
    trap[:] = Trap()
    np.save(folder / "x_data.npy", trap)
    refused(folder, r"x_data\.npy holds Python objects, which cannot be read safely")
    (folder / "x_data.npy").unlink()
    for name in ("x_test", "y_test"):
        write_ctrgcn(folder, clips, **{name: np.array([Trap(), Trap()], dtype=object)})
        refused(folder, rf"NTU60_CS\.npz holds Python objects in '{name}', which cannot be read safely")
    np.savez(folder / "NTU60_CS.npz", **dict.fromkeys(REQUIRED, np.array([Trap(), Trap()], dtype=object)))
    refused(folder, r"NTU60_CS\.npz holds Python objects in 'keypoints', which cannot be read safely")
    assert not (tmp_path / "sprung").exists()


OLD_TRAP = b"cposix\nsystem\n(S'true'\ntR."
ASKS = r"asks to import 'posix\.system', .* nothing of it was run"


@pytest.mark.parametrize("protocol", [0, 2])
@pytest.mark.parametrize("name", ["train_label.pkl", "train_label"])
def test_a_malicious_label_file_is_named_however_the_data_is_given(folder, clips, name, protocol):
    write_stgcn(folder, clips)
    (folder / "train_label.pkl").unlink()
    (folder / name).write_bytes(b"\x80\x02" * (protocol == 2) + OLD_TRAP)
    missing = rf"train_data\.npy holds 3 clips, but no label file .* What could not be read: .*{name} {ASKS}"
    refused(folder, missing)
    refused(folder / "train_data.npy", missing)


@pytest.mark.parametrize("name", ["a.pkl", "thing"])
def test_a_folder_of_nothing_but_a_malicious_pickle_names_it(folder, name):
    (folder / name).write_bytes(OLD_TRAP)
    refused(folder, rf"holds none of the known layouts.* What could not be read: .*{name} {ASKS}")
    refused(folder / name, rf"{name} {ASKS}")
    (folder / "x.pkl").write_bytes(pickle.dumps((["a"], [0])))
    refused(folder, rf"holds labels but no clips.* What could not be read: .*{name} {ASKS}")


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_damaged_label_file_beside_the_data_is_named(folder, clips, protocol):
    write_stgcn(folder, clips)
    path = folder / "train_label.pkl"
    path.write_bytes(pickle.dumps(pickle.loads(path.read_bytes()), protocol)[:40])
    message = r"but no label file .* What could not be read: .*train_label\.pkl cannot be read as a pickle"
    refused(folder, message)
    refused(folder / "train_data.npy", message)


def test_a_malicious_pickle_that_is_not_needed_does_no_harm(folder, clips):
    write_stgcn(folder, clips)
    (folder / "other.pkl").write_bytes(OLD_TRAP)
    assert len(prepare("auto", folder, "mine").clips) == 5


@pytest.mark.parametrize(
    ("names", "reader"),
    [
        (["S001C001P001R001A001.skeleton"], "ntu60"),
        (["S001C001P001R001A001.skeleton", "S018C001P008R001A061.skeleton"], "ntu120"),
        (["all_sqe/a01_s01_e00_v01.json"], "nwucla"),
        (["s01s02/01/001/depth_000001.png", "s01s02/01/001/skeleton_pos.txt"], "sbu"),
        (["Kinect/Positions/m01_s01_e01_positions.txt", "Kinect/Angles/m01_s01_e01_angles.txt"], "uiprmd"),
        (["Inertial/a27_s8_t4_inertial.mat", "Skeleton/a27_s8_t4_skeleton.mat"], "utdmhad"),
        (["Skeleton/0002-L.txt"], "pkummd1"),
        (["Skeleton_v2/A01N01-L.skeleton"], "pkummd2"),
    ],
)
def test_raw_files_name_their_reader(folder, names, reader):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("1\n0\n")
    message = rf"holds raw files: prepare them with the reader '{reader}' instead of 'auto'\."
    refused(folder, message)
    refused(folder / names[-1], message)
    with zipfile.ZipFile(folder.parent / "raw.zip", "w") as archive:
        for name in names:
            archive.write(folder / name, name)
    refused(folder.parent / "raw.zip", rf"raw\.zip {message}")


def mutations(whole, seed, count):
    chance = random.Random(seed)
    for _ in range(count):
        content = bytearray(whole)
        for at in chance.choices(range(len(content)), k=chance.randint(1, 3)):
            content[at] = chance.randrange(256)
        yield bytes(content)


@pytest.mark.parametrize("which", ["labels", "pyskl", "rawskes", "ctrgcn", "data"])
def test_damaged_bytes_raise_nothing_but_the_one_error(folder, which, request):
    count = 300 if request.config.getoption("--slow") else 100
    short = {name: np.ones((1, 2, 25, 3), np.float32) for name in TRAIN + VAL}
    path = {
        "labels": lambda: write_stgcn(folder, short, frames=2) / "val_label.pkl",
        "pyskl": lambda: write_pyskl(folder, short),
        "rawskes": lambda: write_rawskes(folder, short),
        "ctrgcn": lambda: write_ctrgcn(folder, short, save=np.savez_compressed),
        "data": lambda: write_stgcn(folder, short, frames=2) / "val_data.npy",
    }[which]()
    whole = path.read_bytes()
    outcomes = set()
    for content in mutations(whole[:200] if which == "data" else whole, which, count):
        path.write_bytes(content + whole[len(content) :])
        try:
            clips_of([folder])
            outcomes.add("read")
        except SkelbenchError:
            outcomes.add("refused")
    assert "refused" in outcomes


@pytest.fixture(scope="module")
def distributed():
    """The folder of files as other projects wrote them."""
    root = Path(os.environ.get("SKELBENCH_SHARED", Path(__file__).resolve().parents[5] / "shared"))
    folder = root / "data" / "raw" / "formats"
    if not folder.exists():
        pytest.skip("files of other projects are not at hand (set SKELBENCH_SHARED)")
    return folder


def test_a_clip_that_crosclr_s_preparation_made_is_read(distributed):
    path = distributed / "example_ntu_one_clip_300x25x2.npy"
    whole = np.load(path)
    store = prepare("auto", path, "clip")
    assert store.keypoints.shape == (72, 2, 25, 3) and store.applied == ()
    np.testing.assert_array_equal(store.keypoints, whole[:, :72].transpose(1, 3, 2, 0))
    assert not whole[:, 72:].any()
    assert store.class_names == ("class 0",)


def test_bodies_that_ctrgcn_s_preparation_wrote_are_read(distributed):
    counts = (distributed / "ctrgcn_raw_data" / "frames_cnt.txt").read_text().split()
    store = prepare("auto", distributed / "ctrgcn_raw_data", "raw")
    assert store.column("length").tolist() == [int(count) for count in counts]
    assert store.column("label").tolist() == [0, 53, 54, 55, 56]
    assert store.column("bodies").tolist() == [1, 2, 2, 2, 2]
    assert store.rejected == [] and list(store.splits) == ["xsub", "xview"]
    for keypoints in content(store).values():
        energy = keypoints.astype(np.float64).reshape(len(keypoints), 2, -1, 3).transpose(1, 0, 2, 3).reshape(2, -1, 3)
        assert energy[0].var(axis=0).sum() >= energy[1].var(axis=0).sum()
