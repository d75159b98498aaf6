import os

import pytest

from skelbench.errors import SkelbenchError
from skelbench.results.files import write_curve
from skelbench.results.record import Failure, Key
from skelbench.results.store import RunStore


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


def failure_of(record):
    return Failure(cell=record.cell, identity=record.identity, reason="killed", finished=record.finished)


def test_what_was_written_is_found(store, make_record):
    record = make_record()
    assert store.find(record.key) is None
    store.write(record)
    assert store.find(record.key) == record
    assert store.records() == [record]
    assert RunStore(store.root).records() == [record]


def test_each_identity_has_its_folder(store, make_record):
    one, two = make_record(identity="a" * 64), make_record(identity="b" * 64)
    store.write(one)
    store.write(two)
    assert store.records() == [one, two]
    assert store.folder(one.key).name == one.cell.slug() + "-" + "a" * 10


def test_the_full_identity_counts(store, make_record):
    record = make_record(identity="a" * 64)
    store.write(record)
    assert store.find(Key(record.cell, "a" * 10 + "b" * 54)) is None


def test_what_another_label_made_is_found_by_its_identity_in_its_own_folder(store, make_record):
    one = make_record(track="custom", label="demo")
    two = make_record(track="custom", label="lr=0.1")
    assert store.folder(one.key) != store.folder(two.key)
    store.write(one)
    assert store.folder(two.key) == store.folder(one.key)
    assert store.find(two.key) == one
    assert store.find(Key(two.cell, "b" * 64)) is None


def test_an_unfinished_folder_of_another_label_is_the_cells_too(store, make_record):
    one, two = make_record(track="custom", label="demo"), make_record()
    write_curve(store.folder(one.key), [{"epoch": 1, "loss": 2.0}])
    assert store.folder(two.key) == store.folder(one.key)
    store.write(two)
    assert len(list(store.root.iterdir())) == 1


def test_an_identity_is_not_a_pattern(store, make_record):
    record = make_record(identity="a" * 64)
    store.write(record)
    assert store.folder(Key(make_record(seed=1).cell, "?" * 64)).name.endswith("-??????????")
    assert store.folder(Key(make_record(seed=1).cell, "*" * 64)).name.endswith("-**********")


def test_a_partial_write_leaves_no_record(store, make_record, monkeypatch):
    record = make_record()

    def fail(*_):
        raise OSError("pulled the plug")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(SkelbenchError, match="pulled the plug"):
            store.write(record)
    assert store.find(record.key) is None
    assert not list(store.folder(record.key).iterdir())
    store.write(record)
    assert store.records() == [record]


def test_a_record_too_large_writes_nothing(store, make_record):
    with pytest.raises(SkelbenchError, match="4096"):
        store.write(make_record(settings={"notes": "x" * 5000}))
    assert not store.root.exists()


def test_a_record_comes_after_the_files_it_names(store, make_record):
    record = make_record(files={"curve": "curve.csv"})
    with pytest.raises(SkelbenchError, match=r"lacks curve\.csv"):
        store.write(record)
    write_curve(store.folder(record.key), [{"epoch": 1, "loss": 2.0}])
    store.write(record)
    assert store.records() == [record]


def test_success_removes_the_failure(store, make_record):
    record = make_record()
    store.write_failure(failure_of(record))
    assert store.failures() == [failure_of(record)] and store.records() == []
    assert store.find(record.key) is None
    store.write(record)
    assert store.failures() == [] and store.records() == [record]
    assert [path.name for path in store.folder(record.key).iterdir()] == ["record.json"]


def test_a_failure_beside_a_record_is_an_old_story(store, make_record):
    record = make_record()
    store.write(record)
    store.write_failure(failure_of(record))
    assert store.failures() == [] and store.records() == [record]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:40],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace('"seed": 0', '"seed": "zero"'),
        lambda text: text.replace('"extra"', '"unheard_of"'),
    ],
)
def test_a_damaged_record_names_the_file_and_the_way_out(store, make_record, spoil):
    record = make_record()
    store.write(record)
    path = store.folder(record.key) / "record.json"
    path.write_text(spoil(path.read_text()))
    for look in (store.records, lambda: store.find(record.key)):
        with pytest.raises(SkelbenchError) as caught:
            look()
        assert str(path) in str(caught.value) and "run the cell again" in str(caught.value)
        assert "\n" not in str(caught.value)
    store.write(record)  # the way out works
    assert store.records() == [record]


def test_temporary_and_unknown_files_are_not_records(store, make_record):
    store.write(make_record())
    folder = store.root / "checkpoints"
    folder.mkdir()
    (folder / ".record.json.0a1b.tmp").write_text("{")
    (store.root / "record.json").write_text("{")
    assert len(store.records()) == 1


def test_no_folder_means_no_records(store):
    assert store.records() == [] and store.failures() == []


def test_a_file_is_not_a_folder_of_runs(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(SkelbenchError, match="not a folder"):
        RunStore(tmp_path / "runs").records()


@pytest.mark.parametrize("made", [True, False])
def test_checking_a_writable_place_leaves_nothing(tmp_path, made):
    root = tmp_path / "a" / "b"
    if made:
        root.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    RunStore(root).check_writable()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["file", "file/below", "dangling", "dangling/below"])
def test_a_place_that_can_hold_no_folder_is_refused(tmp_path, name):
    (tmp_path / "file").write_text("content")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(SkelbenchError, match="--out"):
        RunStore(tmp_path / name).check_writable()
    assert (tmp_path / "file").read_text() == "content" and not (tmp_path / "nowhere").exists()


def test_an_unwritable_place_is_refused(tmp_path, monkeypatch):
    root = tmp_path / "closed"
    root.mkdir()
    root.chmod(0o500)
    if os.geteuid() == 0:  # root may write anywhere: let the file system refuse instead

        def refuse(*_, **__):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(SkelbenchError, match=r"closed cannot be written \(Permission denied\)"):
        RunStore(root).check_writable()
    root.chmod(0o700)
    assert not list(root.iterdir())


def test_a_relative_root_is_checked_where_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    RunStore(RunStore("runs").root).check_writable()  # pyright: ignore[reportArgumentType] - a str is taken too
    assert not list(tmp_path.iterdir())
