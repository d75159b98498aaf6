"""Finding raw files in folders and zips."""

import os
import zipfile
from pathlib import PurePosixPath

import pytest

from skelbench.datasets.readers.raw_files import distinct, raw_files
from skelbench.datasets.recording import UnusableError
from skelbench.errors import SkelbenchError


def wanted(path):
    return path.suffix == ".txt" and "other" not in path.parts


def find(*sources):
    return raw_files(sources, wanted, "made-up files (NAME.txt)")


def facts(files):
    return [(str(file.inside), file.read()) for file in files]


def write(folder, contents):
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def zipped(path, contents, method=zipfile.ZIP_DEFLATED):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


CONTENTS = {"deep/er/b.txt": b"two", "a.txt": b"one", "z/c.txt": b"three", "other/d.txt": b"not", "e.csv": b"not"}
FOUND = [("a.txt", b"one"), ("deep/er/b.txt", b"two"), ("z/c.txt", b"three")]


def test_wanted_files_are_found_anywhere_below_a_folder(tmp_path):
    files, rejected = find(write(tmp_path / "raw", CONTENTS))
    assert (facts(files), rejected) == (FOUND, [])
    assert [file.name for file in files] == ["a.txt", "b.txt", "c.txt"]


def test_a_zip_holds_the_same_files_as_the_folder_that_was_packed(tmp_path):
    files, rejected = find(zipped(tmp_path / "raw.ZIP", CONTENTS))
    assert (facts(files), rejected) == (FOUND, [])


def test_zips_in_a_folder_are_looked_into_and_nothing_is_unpacked(tmp_path):
    raw = write(tmp_path / "raw", {"a.txt": b"one"})
    zipped(raw / "zips" / "one.zip", {"deep/er/b.txt": b"two"})
    zipped(raw / "two.zip", {"z/c.txt": b"three", "other/d.txt": b"not"})
    before = sorted(raw.rglob("*"))
    files, rejected = find(raw)
    assert (facts(files), rejected) == (FOUND, [])
    assert sorted(raw.rglob("*")) == before


def test_single_files_and_several_sources_are_put_together(tmp_path):
    folder = write(tmp_path / "raw", {"z/c.txt": b"three"})
    archive = zipped(tmp_path / "b.zip", {"deep/er/b.txt": b"two"})
    single = write(tmp_path, {"a.txt": b"one"}) / "a.txt"
    assert facts(find(folder, archive, single)[0]) == FOUND
    assert facts(find(single, archive, folder)[0]) == FOUND


def test_files_come_in_the_order_of_their_names_and_then_of_their_folders(tmp_path):
    names = ["9/a.txt", "1/b.txt", "2/a.txt", "c.txt", "3/B.txt"]
    loose = find(write(tmp_path / "raw", {name: b"" for name in names}))[0]
    packed = find(zipped(tmp_path / "raw.zip", {name: b"" for name in names}))[0]
    expected = ["3/B.txt", "2/a.txt", "9/a.txt", "1/b.txt", "c.txt"]
    assert [str(file.inside) for file in loose] == [str(file.inside) for file in packed] == expected


def test_a_file_that_is_reached_twice_counts_once_and_of_one_name_the_one_outside_zips_comes_first(tmp_path):
    folder = write(tmp_path / "raw", {"deep/a.txt": b"loose"})
    archive = zipped(tmp_path / "raw.zip", {"a.txt": b"packed", "b.txt": b"only here"})
    expected = [("deep/a.txt", b"loose"), ("a.txt", b"packed"), ("b.txt", b"only here")]
    for sources in ((folder, archive), (archive, folder), (folder, folder, archive, archive)):
        assert facts(find(*sources)[0]) == expected
    kept = distinct(find(archive, folder)[0], lambda file: file.name)
    assert facts(kept.values()) == [expected[0], expected[2]]


def test_files_of_one_path_in_different_zips_are_different_files(tmp_path):
    zips = [zipped(tmp_path / f"{name}.zip", {"deep/a.txt": name.encode()}) for name in ("one", "two")]
    assert sorted(facts(find(*zips)[0])) == [("deep/a.txt", b"one"), ("deep/a.txt", b"two")]


def test_the_start_of_a_file_can_be_read_alone(tmp_path):
    sources = write(tmp_path / "raw", {"a.txt": b"loose"}), zipped(tmp_path / "raw.zip", {"a.txt": b"packed"})
    assert [file.read(3) for file in find(*sources)[0]] == [b"loo", b"pac"]


def test_files_of_one_name_in_different_folders_are_different_files(tmp_path):
    folder = write(tmp_path / "raw", {"one/a.txt": b"1", "two/a.txt": b"2"})
    assert facts(find(folder)[0]) == [("one/a.txt", b"1"), ("two/a.txt", b"2")]


def test_what_macos_adds_is_left_alone(tmp_path):
    extras = {"__MACOSX/deep/._a.txt": b"\0", "deep/._a.txt": b"\0", "__MACOSX/b.txt": b"\0"}
    assert facts(find(zipped(tmp_path / "raw.zip", extras | {"deep/a.txt": b"one"}))[0]) == [("deep/a.txt", b"one")]
    loose = write(tmp_path / "raw", {"deep/a.txt": b"one", "deep/._a.txt": b"\0", "._raw.zip": b"\0"})
    assert find(loose)[1] == []
    assert facts(find(loose)[0]) == [("deep/a.txt", b"one")]


def test_folders_and_links_to_nowhere_are_no_files(tmp_path):
    raw = write(tmp_path / "raw", {"a.txt": b"one"})
    (raw / "folder.txt").mkdir()
    (raw / "folder.zip").mkdir()
    (raw / "gone.txt").symlink_to(tmp_path / "nowhere")
    archive = zipped(tmp_path / "raw.zip", {"empty.txt/": b"", "b.txt": b"two"})
    files, rejected = find(raw, archive)
    assert (facts(files), rejected) == ([("a.txt", b"one"), ("b.txt", b"two")], [])


@pytest.mark.parametrize("damage", [lambda whole: whole[:-30], lambda whole: b"", lambda whole: b"<html>sorry</html>"])
def test_a_zip_that_cannot_be_opened_is_rejected_and_the_others_are_read(tmp_path, damage):
    whole = zipped(tmp_path / "raw" / "whole.zip", {"a.txt": b"one"})
    (tmp_path / "raw" / "torn.zip").write_bytes(damage(whole.read_bytes()))
    files, (entry,) = find(tmp_path / "raw")
    assert facts(files) == [("a.txt", b"one")]
    assert (entry.file, entry.line) == ("torn.zip", None)
    assert entry.reason.startswith("torn.zip cannot be opened as a zip (")
    assert entry.reason.endswith("it is incomplete or damaged: download it again.")


def test_a_source_with_nothing_but_a_damaged_zip_says_what_is_wrong_with_it(tmp_path):
    (tmp_path / "torn.zip").write_bytes(b"PK\x03\x04")
    message = (
        r"torn\.zip holds no made-up files \(NAME\.txt\): torn\.zip cannot be opened as a zip \([^.]*\); "
        r"it is incomplete or damaged: download it again\.$"
    )
    with pytest.raises(SkelbenchError, match=message):
        find(tmp_path / "torn.zip")


def test_a_zip_of_zips_is_refused_with_the_way_out(tmp_path):
    inner = zipped(tmp_path / "inner.zip", {"a.txt": b"one"})
    outer = zipped(tmp_path / "outer.zip", {"deep/inner.zip": inner.read_bytes()})
    message = (
        r"outer\.zip holds no made-up files \(NAME\.txt\), but outer\.zip holds zips itself \(inner\.zip\), "
        r"which are not looked into; unpack outer\.zip and give the folder\.$"
    )
    with pytest.raises(SkelbenchError, match=message):
        find(outer)


def test_a_missing_source_is_named(tmp_path):
    present = write(tmp_path / "raw", {"a.txt": b"one"})
    with pytest.raises(
        SkelbenchError, match=r"gone does not exist; give the folder or the archive of the made-up files"
    ):
        find(present, tmp_path / "gone")


def test_sources_without_any_wanted_file_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    archive = zipped(tmp_path / "other.zip", {"readme.md": b"hello"})
    with pytest.raises(SkelbenchError, match=r"empty, .*other\.zip holds no made-up files .*as downloaded"):
        find(tmp_path / "empty", archive)


def test_a_stamp_distinguishes_versions_of_a_file(tmp_path):
    def stamps(source):
        return [file.stamp for file in find(source)[0]]

    loose = write(tmp_path / "raw", {"a.txt": b"one"})
    first = stamps(loose)
    assert stamps(loose) == first
    os.utime(loose / "a.txt", ns=(0, 1))
    assert stamps(loose) != first
    archives = [zipped(tmp_path / f"{i}.zip", {"a.txt": text}) for i, text in enumerate((b"one", b"one", b"two"))]
    same, again, other = map(stamps, archives)
    assert same == again != other


def test_a_zip_that_is_rewritten_is_read_again(tmp_path):
    path = zipped(tmp_path / "raw.zip", {"a.txt": b"one"})
    assert facts(find(path)[0]) == [("a.txt", b"one")]
    zipped(path, {"a.txt": b"one of another length"})
    assert facts(find(path)[0]) == [("a.txt", b"one of another length")]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_member_is_named_when_it_is_read(tmp_path, method):
    text = bytes(range(256)) * 40
    path = zipped(tmp_path / "raw.zip", {"deep/a.txt": text, "b.txt": b"two"}, method)
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("deep/a.txt")
    content = bytearray(path.read_bytes())
    middle = member.header_offset + 30 + len(member.filename) + member.compress_size // 2
    content[middle : middle + 8] = bytes(byte ^ 0xFF for byte in content[middle : middle + 8])
    path.write_bytes(content)
    (damaged, whole), rejected = find(path)
    assert (rejected, whole.read()) == ([], b"two")
    with pytest.raises(UnusableError, match=r"^a\.txt cannot be read \(.+\); download it again\.$") as caught:
        damaged.read()
    assert (caught.value.rejected.file, caught.value.rejected.line) == ("a.txt", None)


def test_a_file_that_is_gone_when_it_is_read_is_named(tmp_path):
    raw = write(tmp_path / "raw", {"a.txt": b"one"})
    archive = zipped(tmp_path / "raw.zip", {"b.txt": b"two"})
    files, _ = find(raw, archive)
    (raw / "a.txt").unlink()
    archive.unlink()
    for file, name in zip(files, ("a", "b"), strict=True):
        with pytest.raises(UnusableError, match=rf"{name}\.txt cannot be read \(No such file or directory\)"):
            file.read()


def test_paths_inside_are_the_same_wherever_the_source_lies(tmp_path):
    for place in ("here", "there/and/back"):
        (file,) = find(write(tmp_path / place, {"deep/a.txt": b"one"}))[0]
        assert file.inside == PurePosixPath("deep/a.txt")
