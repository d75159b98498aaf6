"""Tars, packed or not, are read like the folder that was packed."""

import io
import tarfile

import pytest

from skelbench.datasets.readers import archives
from skelbench.datasets.readers.raw_files import raw_files
from skelbench.errors import SkelbenchError

CONTENTS = {"z/c.txt": b"three" * 1000, "a.txt": b"one", "deep/er/b.txt": b"two", "e.csv": b"not"}
FOUND = [("a.txt", b"one"), ("deep/er/b.txt", b"two"), ("z/c.txt", b"three" * 1000)]
NAMES = ("raw.tar", "raw.tar.gz", "raw.TGZ")


def find(*sources):
    return raw_files(sources, lambda path: path.suffix == ".txt", "made-up files (NAME.txt)")


def facts(files):
    return [(str(file.inside), file.read()) for file in files]


def packed(path, contents, *more):
    """Write a tar of named contents and of further entries."""
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in more:
            archive.addfile(info)
    return path


def entry(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("name", NAMES)
def test_a_tar_holds_the_same_files_as_the_folder_that_was_packed(tmp_path, name):
    files, rejected = find(packed(tmp_path / name, CONTENTS))
    assert (facts(files), rejected) == (FOUND, [])
    assert facts(reversed(files)) == FOUND[::-1], "in any order"
    assert [path.name for path in tmp_path.iterdir()] == [name], "nothing is unpacked"


@pytest.mark.parametrize("name", NAMES)
def test_tars_in_a_folder_are_looked_into(tmp_path, name):
    (tmp_path / "raw").mkdir()
    packed(tmp_path / "raw" / name, CONTENTS)
    assert facts(find(tmp_path / "raw")[0]) == FOUND


def test_only_regular_files_are_read(tmp_path):
    kinds = {"link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "pipe": tarfile.FIFOTYPE, "folder": tarfile.DIRTYPE}
    more = [entry(f"{name}.txt", kind, "a.txt") for name, kind in kinds.items()]
    assert facts(find(packed(tmp_path / "raw.tar", {"a.txt": b"one"}, *more))[0]) == [("a.txt", b"one")]


def test_of_two_members_of_one_name_the_last_counts(tmp_path):
    path = packed(tmp_path / "raw.tar", {"a.txt": b"one"})
    with tarfile.open(path, "a") as archive:
        info = tarfile.TarInfo("a.txt")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"two"))
    assert facts(find(path)[0]) == [("a.txt", b"two")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", [lambda whole: whole[: len(whole) // 3], lambda whole: b"<html>sorry</html>"])
def test_a_damaged_tar_is_named_with_the_way_out(tmp_path, name, damage):
    path = packed(tmp_path / name, {"a.txt": bytes(range(256)) * 40})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SkelbenchError, match=r"cannot be opened as a tar \(.*incomplete or damaged: download it again"):
        find(path)


def test_a_packed_tar_that_would_not_fit_into_memory_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "IN_MEMORY", 4096)
    with pytest.raises(SkelbenchError, match=r"larger than 4,096 bytes: unpack it and give the folder"):
        find(packed(tmp_path / "raw.tar.gz", {"a.txt": bytes(2**20)}))
    assert facts(find(packed(tmp_path / "raw.tar", {"a.txt": b"one" * 2000}))[0]) == [("a.txt", b"one" * 2000)]


def test_an_archive_in_an_archive_is_named(tmp_path):
    inner = packed(tmp_path / "inner.tar", {"a.txt": b"one"})
    outer = packed(tmp_path / "outer.tgz", {"inner.tar": inner.read_bytes()})
    with pytest.raises(SkelbenchError, match=r"outer\.tgz holds tars itself \(inner\.tar\), which are not looked into"):
        find(outer)
