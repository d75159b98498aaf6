"""Damaged raw files: never a traceback, never a wrong clip accepted in silence, always a reason."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import io

from skelbench.datasets import prepare
from skelbench.datasets.readers.uiprmd import forward_kinematics
from skelbench.errors import SkelbenchError

ROUNDS = 27  # damaged files of each kind, three by each damage
MORE = 60  # with --slow


@dataclass
class Source:
    """A reader's raw files: one that stays as it is and one that is damaged, and how to read that plainly."""

    reader: str
    victim: object  # path of the file to damage
    good: str  # name of the clip that must always be there
    others: tuple  # names of the clips that come from the damaged file
    plain: object  # () -> {name: keypoints (T, M, V, 3)}: what the damaged file says, as its format is described


def ntu(folder, skeleton_files):
    names = ("S001C001P001R001A001", "S001C002P003R001A007")
    skeleton_files.folder(folder, names, frames=3, persons=2)
    victim = folder / f"{names[1]}.skeleton"

    def plain():
        fields = victim.read_bytes().decode("ascii", "replace").split()
        numbers = iter(fields)
        clip = np.zeros((int(next(numbers)), 2, 25, 3))
        for frame in clip:
            for m in range(int(next(numbers))):
                _, joints = [next(numbers) for _ in range(10)], int(next(numbers))
                body = [[next(numbers) for _ in range(12)][:3] for _ in range(joints)]
                if m < 2:
                    frame[m] = [[float(v) for v in joint] for joint in body]
        return {names[1]: clip}

    return Source("ntu60", victim, names[0], names[1:], plain)


def nwucla(folder, skeleton_files):
    names = ("a01_s01_e00_v01", "a04_s02_e00_v03")
    folder.mkdir()
    for name, label in zip(names, (1, 4), strict=True):
        joints = skeleton_files.rng.standard_normal((3, 20, 3)).round(6).tolist()
        (folder / f"{name}.json").write_text(json.dumps({"file_name": name, "skeletons": joints, "label": label}))
    victim = folder / f"{names[1]}.json"

    def plain():
        content = json.loads(victim.read_text())
        assert (content["file_name"], content["label"]) == (names[1], 4)
        return {names[1]: np.array(content["skeletons"])[:, None]}

    return Source("nwucla", victim, names[0], names[1:], plain)


def sbu(folder, skeleton_files):
    names = ("s01s02_01_001", "s01s02_02_001")
    for name in names:
        place = folder / "SBU" / name.replace("_", "/")
        place.mkdir(parents=True)
        rows = 0.2 + 0.6 * skeleton_files.rng.random((3, 90))
        lines = [f"{t},{','.join(f'{v:.5f}' for v in row)}\n" for t, row in enumerate(rows, start=1)]
        (place / "skeleton_pos.txt").write_text("".join(lines))
    victim = folder / "SBU" / names[1].replace("_", "/") / "skeleton_pos.txt"

    def plain():
        rows = [[float(v) for v in line.split(",")[1:]] for line in victim.read_text().split("\n") if line.strip()]
        x = np.array(rows).reshape(-1, 2, 15, 3)
        metres = np.stack((1280 - 2560 * x[..., 0], 960 - 1920 * x[..., 1], x[..., 2] * 10000 / 7.8125), axis=-1) / 1000
        return {names[1]: np.where(x.any(axis=(2, 3), keepdims=True), metres, 0)}

    return Source("sbu", victim, names[0], names[1:], plain)


def uiprmd(folder, skeleton_files):
    names = ("m01_s01_e01", "m01_s02_e01")
    folder.mkdir()
    for name in names:
        for kind in ("positions", "angles"):
            rows = 30 * skeleton_files.rng.standard_normal((3, 66))
            (folder / f"{name}_{kind}.txt").write_text("".join(",".join(f"{v:.4f}" for v in r) + "\n" for r in rows))
    victim = folder / f"{names[1]}_positions.txt"

    def plain():
        tables = []
        for kind in ("positions", "angles"):
            text = (folder / f"{names[1]}_{kind}.txt").read_text()
            rows = [[float(v) for v in line.split(",")] for line in text.split("\n") if line.strip()]
            tables.append(np.array(rows).reshape(-1, 22, 3))
        parents = (-1, 0, 1, 2, 3, 4, 2, 6, 7, 8, 2, 10, 11, 12, 0, 14, 15, 16, 0, 18, 19, 20)
        return {names[1]: forward_kinematics(tables[0] / 100, np.deg2rad(tables[1]), parents)[:, None]}

    return Source("uiprmd", victim, names[0], names[1:], plain)


def utdmhad(folder, skeleton_files):
    names = ("a1_s1_t1", "a27_s8_t4")
    folder.mkdir()
    for name in names:
        joints = skeleton_files.rng.standard_normal((20, 3, 3)).round(6)
        io.savemat(folder / f"{name}_skeleton.mat", {"d_skel": joints})
    victim = folder / f"{names[1]}_skeleton.mat"

    def plain():  # 200 bytes before the numbers, which are in column order
        joints = np.frombuffer(victim.read_bytes()[200:], "<f8", count=180).reshape(3, 3, 20).transpose(0, 2, 1)
        return {names[1]: joints[:, None, [3, 2, 1, 0, *range(4, 20)]]}

    return Source("utdmhad", victim, names[0], names[1:], plain)


def pkummd(folder, skeleton_files):
    for part in ("skeleton", "label"):
        (folder / part).mkdir(parents=True)
    for video in ("A01N01-L", "A02N02-M"):
        rows = skeleton_files.rng.standard_normal((12, 150))
        text = "".join(" ".join(f"{v:.6f}" for v in row) + "\n" for row in rows)
        (folder / "skeleton" / f"{video}.txt").write_text(text)
        (folder / "label" / f"{video}.txt").write_text("3,2,5,1\n7,6,11,2\n")
    victim = folder / "skeleton" / "A02N02-M.txt"
    names = ("A002N002V002C003L001", "A002N002V002C007L002")

    def plain():
        lines = [line for line in victim.read_text().split("\n") if line.strip()]
        table = np.array([[float(v) for v in line.split()[:150]] for line in lines]).reshape(-1, 2, 25, 3)
        return {names[0]: table[1:5], names[1]: table[5:11]}

    return Source("pkummd2", victim, "A001N001V001C003L001", names, plain)


def flip(content, rng):
    at = rng.integers(len(content))
    return content[:at] + bytes([content[at] ^ (1 << rng.integers(8))]) + content[at + 1 :]


def cut(content, rng):
    return content[: rng.integers(len(content))]


def drop_a_piece(content, rng):
    start = rng.integers(len(content))
    return content[:start] + content[start + rng.integers(1, 40) :]


def repeat_a_piece(content, rng):
    start = rng.integers(len(content))
    end = start + rng.integers(1, 200)
    return content[:end] + content[start:end] + content[end:]


def drop_a_line(content, rng):
    lines = content.splitlines(keepends=True)
    del lines[rng.integers(len(lines))]
    return b"".join(lines)


def repeat_a_line(content, rng):
    lines = content.splitlines(keepends=True)
    at = rng.integers(len(lines))
    return b"".join([*lines[:at], lines[at], *lines[at:]])


def change_a_number(content, rng):
    separator = b"," if content.count(b",") > content.count(b" ") else b" "
    fields = content.split(separator)
    words = (
        b"nan",
        b"-inf",
        b"1e999",
        b"",
        b"x",
        b"0x1F",
        b"1_0",
        b"-",
        b"9" * 400,
        b"1.2.3",
        b"\xff\xfe",
        b"\0",
        b"-7",
    )
    fields[rng.integers(len(fields))] = words[rng.integers(len(words))]
    return separator.join(fields)


def add_noise(content, rng):
    at = rng.integers(len(content))
    return content[:at] + rng.bytes(rng.integers(1, 30)) + content[at:]


def empty(content, rng):
    return (b"", b"\n\n", b"\0" * 100, b"0", b"null", b"[]", b"{}")[rng.integers(7)]


DAMAGES = (flip, cut, drop_a_piece, repeat_a_piece, drop_a_line, repeat_a_line, change_a_number, add_noise, empty)


@pytest.mark.parametrize("make", [ntu, nwucla, sbu, uiprmd, utdmhad, pkummd])
def test_a_damaged_file_is_rejected_with_a_reason_or_read_for_what_it_says(make, skeleton_files, tmp_path, request):
    rounds = MORE if request.config.getoption("--slow") else ROUNDS
    source = make(tmp_path / "raw", skeleton_files)
    rng = np.random.default_rng(1)
    whole = source.victim.read_bytes()
    accepted = 0
    for number in range(rounds):
        damage = DAMAGES[number % len(DAMAGES)]
        source.victim.write_bytes(damage(whole, rng))
        try:
            store = prepare(source.reader, tmp_path / "raw", "fuzz", force=True)
        except SkelbenchError as error:
            pytest.fail(f"{damage.__name__} cost the good file too: {error}")
        clips = {clip["name"]: clip for clip in store.clips}
        assert source.good in clips
        found = set(source.others) & set(clips)
        assert found == set(source.others) or store.rejected, f"{damage.__name__} lost a clip without a reason"
        assert all(entry.file and entry.reason for entry in store.rejected)
        accepted += found == set(source.others)
        said = source.plain() if found else {}
        for name in found:
            entry = clips[name]
            keypoints = store.keypoints[entry["offset"] : entry["offset"] + entry["length"]]
            np.testing.assert_allclose(keypoints, said[name], rtol=1e-6, atol=1e-6, err_msg=damage.__name__)
    assert 0 < accepted < rounds  # some damage leaves a file that is still of its form
