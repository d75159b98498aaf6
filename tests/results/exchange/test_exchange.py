"""Exporting records from one folder of runs and importing them into another."""

import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from skelbench.errors import SkelbenchError
from skelbench.results.exchange import archive, exchange
from skelbench.results.exchange.archive import open_archive, write_archive
from skelbench.results.exchange.exchange import KIND, export_results, exported_records, import_results
from skelbench.results.files import read_scores, write_confusion, write_curve, write_scores
from skelbench.results.record import Failure
from skelbench.results.store import RunStore


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def machine(tmp_path, make_record):
    """Make a folder of runs and write records with files beside them: by name, (top1, finished) or the like."""

    def make(name, **cells):
        runs = RunStore(tmp_path / name)
        for label, fields in cells.items():
            record = make_record(track="custom", label=label, identity=digest(label), **fields)
            folder = runs.folder(record.key)
            files = {
                "curve": write_curve(folder, [{"epoch": 1, "loss": record.last.top1}]),
                "confusion": write_confusion(folder, [[3, 1], [0, 2]], ["sit <down>", "stand, up"]),
                "scores": write_scores(folder, ["a", "b"], [0, 1], [[0.1, 0.9], [0.5, 0.5]]),
            }
            runs.write(record.model_copy(update={"files": files}))
            (folder / "encoder-0001.pt").write_bytes(b"weights")
        return runs

    return make


def contents(runs):
    """All contents of a folder of runs: every record with the files beside it, including those in conflict."""
    found = set()
    for path in runs.root.rglob("record.json"):
        names = json.loads(path.read_text())["files"].values()
        hashes = [hashlib.sha256((path.parent / name).read_bytes()).hexdigest() for name in names]
        found.add((path.read_text(), *hashes))
    return found


def exported(runs, name=None):
    to = runs.root.parent / (name or f"{runs.root.name}.zip")
    export_results(runs, to)
    return to


# --- Round trip ---------------------------------------------------------------------------------------------------


def test_what_is_exported_and_imported_is_what_was_there_but_for_the_weights(machine, tmp_path):
    here = machine("here", a={}, b={"top1": 61.5})
    there = RunStore(tmp_path / "there")
    done = import_results(exported(here), there)
    assert (done.added, done.there, done.failures, done.conflicts) == (2, 0, 0, [])
    assert there.records() == here.records()
    assert contents(there) == contents(here)
    (folder, _) = sorted(there.root.iterdir())
    assert folder.name == sorted(here.root.iterdir())[0].name
    assert read_scores(folder / "scores.npz")[0].tolist() == ["a", "b"]
    assert not list(there.root.rglob("*.pt"))


def test_what_is_left_out_is_neither_carried_nor_named(machine, tmp_path):
    here, there = machine("here", a={}), RunStore(tmp_path / "there")
    with pytest.raises(SkelbenchError, match="names score; leave out some of confusion, curve, scores"):
        export_results(here, tmp_path / "some.zip", without=("score",))
    export_results(here, tmp_path / "some.zip", without=("scores",))
    import_results(tmp_path / "some.zip", there)
    (record,), (ours,) = there.records(), here.records()
    assert record.files == {"curve": "curve.csv", "confusion": "confusion.csv"}
    assert record.model_copy(update={"files": ours.files}) == ours
    (folder,) = there.root.iterdir()
    assert {path.name for path in folder.iterdir()} == {"record.json", "curve.csv", "confusion.csv"}


def test_a_second_import_writes_nothing(machine, tmp_path, monkeypatch):
    file, there = exported(machine("here", a={}, b={})), RunStore(tmp_path / "there")
    import_results(file, there)
    monkeypatch.setattr(os, "replace", lambda *_: pytest.fail("it wrote"))
    done = import_results(file, there)
    assert (done.added, done.there) == (0, 2)


def test_the_same_records_make_the_same_bytes(machine, tmp_path):
    here = machine("here", a={}, b={}, c={})
    file = exported(here)
    there = RunStore(tmp_path / "there")
    import_results(file, there)
    assert exported(there).read_bytes() == file.read_bytes()


def test_records_can_be_read_without_being_imported(machine):
    here = machine("here", a={}, b={})
    assert exported_records(exported(here)) == here.records()


def test_only_what_is_asked_for_is_exported_and_the_pre_training_it_builds_on(machine, make_record, tmp_path):
    here = machine("here", a={"dataset": "ntu60"}, b={"dataset": "pkummd2", "pretrain": digest("a")}, c={})
    export_results(here, tmp_path / "some.zip", lambda cell: cell.dataset == "pkummd2")
    assert {record.cell.label for record in exported_records(tmp_path / "some.zip")} == {"a", "b"}


def test_nothing_to_export_is_an_error_and_no_file(machine, tmp_path):
    with pytest.raises(SkelbenchError, match=r"No finished cell in .*here fits"):
        export_results(machine("here", a={}), tmp_path / "none.zip", lambda cell: cell.dataset == "pkummd1")
    assert not (tmp_path / "none.zip").exists()


def test_a_record_whose_file_is_gone_is_not_exported_without_it(machine, tmp_path):
    here = machine("here", a={})
    next(here.root.rglob("scores.npz")).unlink()
    with pytest.raises(SkelbenchError, match=r"lacks scores\.npz"):
        exported(here)
    assert not list(tmp_path.glob("*.zip*"))


@pytest.mark.parametrize("name", ["encoder-0001.pt", "über.csv"])
def test_a_record_that_names_weights_or_no_portable_name_is_not_exported(machine, make_record, name):
    here = machine("here")
    record = make_record(files={"curve": name})
    folder = here.folder(record.key)
    folder.mkdir(parents=True)
    (folder / name).write_text("x")
    here.write(record)
    with pytest.raises(SkelbenchError, match="remove that record"):
        exported(here)


# --- Merging ------------------------------------------------------------------------------------------------------


def test_two_machines_merged_either_way_hold_the_same(machine):
    one = machine("one", a={}, b={}, both={"top1": 50.0}, disputed={"top1": 50.0})
    two = machine("two", c={}, both={"top1": 50.0}, disputed={"top1": 60.0})
    from_one, from_two = exported(one), exported(two)
    done = import_results(from_two, one)
    back = import_results(from_one, two)
    assert (done.added, done.there, len(done.conflicts)) == (1, 1, 1)
    assert (back.added, back.there, len(back.conflicts)) == (2, 1, 1)
    assert contents(one) == contents(two)
    assert len(contents(one)) == 6


def test_of_a_conflict_both_are_saved_and_one_is_counted(machine):
    one, two = machine("one", a={"top1": 50.0}), machine("two", a={"top1": 60.0})
    (conflict,) = import_results(exported(two), one).conflicts
    assert [record.last and record.last.top1 for record in one.records()] == [50.0]
    assert json.loads((conflict.ours / "record.json").read_text())["last"]["top1"] == 50.0
    assert json.loads((conflict.theirs / "record.json").read_text())["last"]["top1"] == 60.0
    assert (conflict.theirs / "scores.npz").exists()
    record = one.records()[0]
    assert one.folder(record.key) == conflict.ours


def test_the_other_of_a_conflict_is_taken_by_moving_its_folder(machine):
    one, two = machine("one", a={"top1": 50.0}), machine("two", a={"top1": 60.0})
    (conflict,) = import_results(exported(two), one).conflicts
    shutil.rmtree(conflict.ours)
    shutil.move(conflict.theirs, one.root)
    assert one.records() == two.records()
    record = two.records()[0]
    assert one.find(record.key) == record


def test_what_was_removed_comes_back_as_what_tables_show(machine):
    one, two = machine("one", a={"top1": 50.0}), machine("two", a={"top1": 60.0})
    file = exported(two)
    (conflict,) = import_results(file, one).conflicts
    shutil.rmtree(conflict.ours)
    done = import_results(file, one)
    assert (done.added, done.conflicts) == (1, [])
    assert one.records() == two.records()
    assert contents(one) == contents(two)


def test_a_known_conflict_is_reported_again_and_saved_once(machine):
    one, two = machine("one", a={"top1": 50.0}), machine("two", a={"top1": 60.0})
    file = exported(two)
    first = import_results(file, one).conflicts
    again = import_results(file, one)
    assert (again.conflicts, again.added, again.there) == (first, 0, 1)
    assert len(list(one.root.rglob("record.json"))) == 2


def test_conflicts_are_exported_and_all_three_versions_of_a_cell_are_saved(machine, tmp_path):
    one, two, three = (machine(name, a={"top1": top1}) for name, top1 in (("1", 50.0), ("2", 60.0), ("3", 70.0)))
    third = contents(three)
    import_results(exported(two), one)
    import_results(exported(one), three)
    assert [record.last and record.last.top1 for record in three.records()] == [70.0]
    assert contents(three) == contents(one) | third
    empty = RunStore(tmp_path / "empty")
    import_results(exported(one, "again.zip"), empty)
    assert [record.last and record.last.top1 for record in empty.records()] == [50.0]  # the first record stays
    assert contents(empty) == contents(one)


def test_the_same_record_with_another_file_beside_it_is_a_conflict(machine):
    one, two = machine("one", a={}), machine("two", a={})
    write_confusion(next(two.root.iterdir()), [[0, 4], [2, 0]], ["sit <down>", "stand, up"])
    with pytest.raises(SkelbenchError, match=r"confusion\.csv is damaged"):  # it is not what the record was sealed with
        exported(two)
    two.write(two.records()[0])
    assert len(import_results(exported(two), one).conflicts) == 1
    assert contents(one) > contents(two)


def test_a_record_goes_to_the_folder_that_another_label_began(machine, make_record):
    one, two = machine("one"), machine("two", a={})
    theirs = two.records()[0]
    begun = make_record(identity=theirs.identity)
    write_curve(one.folder(begun.key), [{"epoch": 1}])
    import_results(exported(two), one)
    assert one.find(begun.key) == theirs
    assert len(list(one.root.iterdir())) == 1


# --- Failures -----------------------------------------------------------------------------------------------------


def failure(record, when="2024-05-01T12:00:00Z", reason="out of memory"):
    return Failure(cell=record.cell, identity=record.identity, reason=reason, finished=when)


def test_a_record_never_takes_the_place_of_another_cell_whose_identity_begins_alike(machine, make_record, tree):
    ours, theirs = machine("ours", a={}, c={}), machine("theirs", b={})
    (record,) = theirs.records()
    alike = record.model_copy(update={"identity": digest("a")[:10] + record.identity[10:]})
    folder = theirs.folder(record.key)
    folder.rename(folder.with_name(f"{record.cell.slug()}-{alike.identity[:10]}"))
    theirs.write(alike)
    before = tree(ours.root)
    with pytest.raises(SkelbenchError, match="would take the place of another cell"):
        import_results(exported(theirs), ours)
    assert tree(ours.root) == before


def test_failures_travel_and_the_later_word_stays(machine, make_record, tmp_path):
    lost = make_record(identity=digest("lost"))
    one, two = machine("one"), machine("two")
    one.write_failure(failure(lost, "2024-05-01T12:00:00Z"))
    two.write_failure(failure(lost, "2024-05-02T12:00:00Z", "killed"))
    from_one, from_two = exported(one), exported(two)
    assert import_results(from_two, one).failures == 1
    assert import_results(from_one, two).failures == 0
    assert one.failures() == two.failures() == [failure(lost, "2024-05-02T12:00:00Z", "killed")]


def test_a_success_anywhere_ends_a_failure(machine):
    one, two = machine("one"), machine("two", a={})
    one.write_failure(failure(two.records()[0]))
    from_one, from_two = exported(one), exported(two)
    import_results(from_two, one)
    assert import_results(from_one, two).failures == 0
    assert (one.failures(), two.failures()) == ([], [])


# --- Interrupted --------------------------------------------------------------------------------------------------


def test_an_interrupted_import_leaves_complete_cells_and_resumes(machine, tmp_path, monkeypatch):
    here, there = machine("here", a={}, b={}), RunStore(tmp_path / "there")
    file, written = exported(here), []

    def fail(path, content):
        written.append(path)
        if len(written) > 5:
            raise KeyboardInterrupt
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    with monkeypatch.context() as patch:
        patch.setattr(exchange, "atomic_write", fail)
        with pytest.raises(KeyboardInterrupt):
            import_results(file, there)
    assert there.records() == here.records()[:1]
    import_results(file, there)
    assert contents(there) == contents(here)


def test_a_full_disk_is_reported_before_anything_is_written(machine, tmp_path, monkeypatch):
    file = exported(machine("here", a={}))
    monkeypatch.setattr(exchange.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(SkelbenchError, match="has 1 free"):
        import_results(file, RunStore(tmp_path / "there"))
    assert not (tmp_path / "there").exists()


# --- Zips that are not ours ---------------------------------------------------------------------------------------


def refused(file, tmp_path, match):
    there = tmp_path / "victim"
    with pytest.raises(SkelbenchError, match=match) as caught:
        import_results(file, RunStore(there))
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)
    assert not there.exists()


def rewritten(source, to, change):
    """Copy a zip member by member; ``change`` yields what to write for (info, content)."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(to, "w") as new:
        for info in old.infolist():
            for one, content in change(info, old.read(info)):
                new.writestr(one, content)
    return to


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x05\x06" + b"\x00" * 18, b"PK\x03\x04" + b"\x00" * 60])
def test_a_file_that_is_not_our_zip_is_refused(tmp_path, content):
    file = tmp_path / "odd.zip"
    file.write_bytes(content)
    refused(file, tmp_path, "cannot be opened|has no manifest")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    refused(tmp_path / "none.zip", tmp_path, "No such file")
    (tmp_path / "folder.zip").mkdir()
    refused(tmp_path / "folder.zip", tmp_path, "cannot be opened")


def test_another_programs_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("manifest.json", '{"kind": "a browser extension", "format": 1, "members": {}}')
    refused(tmp_path / "other.zip", tmp_path, "it holds 'a browser extension'")


def test_every_flipped_byte_is_noticed_or_changes_nothing(machine, tmp_path):
    here = machine("here", a={})
    complete = exported(here).read_bytes()
    file = tmp_path / "flipped.zip"
    taken = 0
    for position in range(0, len(complete), 37):
        file.write_bytes(complete[:position] + bytes([complete[position] ^ 0x55]) + complete[position + 1 :])
        there = RunStore(tmp_path / f"there{position}")
        try:
            import_results(file, there)
        except SkelbenchError:
            assert not there.root.exists()
        else:
            taken += 1
            assert contents(there) == contents(here)
    assert taken < len(complete) // 37 / 2


HOSTILE = [
    "../evil.csv",
    "/etc/evil.csv",
    "records/../../evil",
    "a\\..\\evil",
    "C:/evil",
    "a//b",
    ".git/x",
    "x/",
    "a\x01",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_leads_elsewhere_is_refused(machine, tmp_path, name):
    here = exported(machine("here", a={}))
    file = rewritten(here, tmp_path / "hostile.zip", lambda info, content: [(info, content)])
    with zipfile.ZipFile(file, "a") as opened:
        opened.writestr(name, b"evil")
    refused(file, tmp_path, "leads elsewhere")


def test_a_link_is_refused(machine, tmp_path):
    def linked(info, content):
        if info.filename.endswith("curve.csv"):
            info.external_attr, content = 0o120777 << 16, b"/etc/passwd"
        return [(info, content)]

    refused(rewritten(exported(machine("here", a={})), tmp_path / "link.zip", linked), tmp_path, "link")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["curve.csv", "CURVE.csv"])
def test_two_files_of_one_name_are_refused(machine, tmp_path, name):
    def doubled(info, content):
        if info.filename.endswith("curve.csv"):
            return [(info, content), (info.filename.replace("curve.csv", name), b"other")]
        return [(info, content)]

    refused(rewritten(exported(machine("here", a={})), tmp_path / "two.zip", doubled), tmp_path, "the same name")


def test_changed_content_is_refused_though_the_zip_is_sound(machine, tmp_path):
    def raised(info, content):
        return [(info, content.replace(b'"top1": 50.0', b'"top1": 99.0'))]

    refused(rewritten(exported(machine("here", a={})), tmp_path / "raised.zip", raised), tmp_path, "sha256 differs")


@pytest.mark.parametrize("gone", ["curve.csv", "record.json", "manifest.json"])
def test_a_missing_member_is_refused(machine, tmp_path, gone):
    def without(info, content):
        return [] if info.filename.endswith(gone) else [(info, content)]

    refused(rewritten(exported(machine("here", a={})), tmp_path / "gone.zip", without), tmp_path, "manifest")


def test_a_file_that_unpacks_to_more_than_results_may_take_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "LARGEST", 1000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("records/a/record.json", b"\x00" * 1001)
    refused(tmp_path / "bomb.zip", tmp_path, "would take 1,001 bytes")


def test_a_file_that_is_larger_than_its_head_says_is_refused(tmp_path):
    content = b"\x00" * 100_000
    with zipfile.ZipFile(tmp_path / "liar.zip", "w", zipfile.ZIP_DEFLATED) as liar:
        liar.writestr("manifest.json", content)
    lying = (tmp_path / "liar.zip").read_bytes().replace(len(content).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    (tmp_path / "liar.zip").write_bytes(lying)
    refused(tmp_path / "liar.zip", tmp_path, "damaged|larger")


@pytest.mark.parametrize(
    "change, match",
    [
        (lambda members: {**members, "records/x/stray.csv": b"1"}, "belong to no record"),
        (lambda members: {f"elsewhere/{name}": content for name, content in members.items()}, "belong to no record"),
        (lambda members: {**members, "failures/x.json": b"{}"}, "is not a failure"),
        (lambda members: {name: b"[]" for name in members if name.endswith("record.json")}, "is not a record"),
        (lambda members: {n: c for n, c in members.items() if "scores" not in n}, "other files than its record names"),
        (
            lambda members: {n: c.replace(b'"curve.csv"', b'"../../x.csv"') for n, c in members.items()},
            "is not a record of this version",
        ),
        (
            lambda members: {n.replace("curve.csv", "encoder-0001.pt"): c.replace(b'"curve.csv"', b'"encoder-0001.pt"')
                             for n, c in members.items()},
            "may not name 'encoder-0001.pt'",
        ),
    ],
)  # fmt: skip
def test_a_well_made_zip_with_something_else_in_it_is_refused(machine, tmp_path, change, match):
    with open_archive(exported(machine("here", a={})), KIND) as opened:
        members = {name: opened.read(name) for name in opened.members}
    write_archive(tmp_path / "odd.zip", KIND, change(members))
    refused(tmp_path / "odd.zip", tmp_path, match)


def test_an_export_is_written_atomically(machine, tmp_path, monkeypatch):
    here = machine("here", a={})
    file = exported(here)
    before = file.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.os, "replace", fail)
    with pytest.raises(SkelbenchError, match="No space left"):
        export_results(machine("here", b={}), file)
    assert file.read_bytes() == before
    assert [path.name for path in Path(tmp_path).glob("*.zip*")] + list(tmp_path.glob(".*")) == ["here.zip"]
