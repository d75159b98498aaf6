"""From raw inputs to a store: read one by one, interrupted at any moment, with options, by several processes."""

import csv
import importlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest

from skelbench.datasets import READERS, Clip, Recording, SplitRule, list_stores, open_store, prepare
from skelbench.datasets.layout import get_layout
from skelbench.datasets.prepare import parse_options, reader_options
from skelbench.datasets.readers.parallel import BLOCK, read_items
from skelbench.datasets.recording import LEFT_OUT, TEST, TRAIN, Rejected
from skelbench.datasets.store import Store, data_folder
from skelbench.datasets.store.writer import StoreWriter
from skelbench.errors import SkelbenchError

# A module of its own, which the processes of `workers` can import. A raw file has one line a clip.
MADE_UP = '''
import os, signal, sys, time, zlib
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from skelbench.datasets import Clip, Items, Recording, Rejected, SplitRule, UnusableError, prepare
from skelbench.datasets.layout import get_layout
from skelbench.errors import SkelbenchError

VERSION = 1
loaded = []  # positions, by this process


def read(sources, *, speed: Literal["slow", "fast"] = "slow", scale: int = 1, mirrored: bool = False) -> Recording:
    paths = sorted(path for source in sources for path in source.iterdir())
    return Recording(
        layout=get_layout("kinect20"),
        class_names=("still", "moving"),
        splits={"xsub": SplitRule("subject", (1, 3), text="subjects 1 and 3 train")},
        clips=Items(
            names=[path.name for path in paths],
            stamps=[str(zlib.crc32(path.read_bytes())) for path in paths],
            load=partial(load, paths, scale),
        ),
        reader="made-up",
        reader_version=VERSION,
    )


def load(paths, scale, position):
    loaded.append(position)
    path, found = paths[position], []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        match line.split():
            case ["reject", *reason]:
                found.append(Rejected(path.name, " ".join(reason), number))
            case ["torn"]:
                raise UnusableError(path.name, f"{path.name}, line {number}: torn", number)
            case ["refuse"]:
                raise SkelbenchError(f"{path.name} is of another data set")
            case ["fail"]:
                raise ValueError(path.name)
            case ["die", place]:
                die_once_told(Path(place))
            case [name, frames, subject, seed]:
                keypoints = np.random.default_rng(int(seed)).standard_normal((int(frames), 1, 20, 3))
                found.append(Clip(name, scale * keypoints.astype(np.float32), int(seed) % 2, int(subject)))
    return found


def die_once_told(place):
    """End the process when the folder `place` has a file; go on where there is no such folder."""
    for _ in range(6000):
        if not place.is_dir() or any(place.iterdir()):
            break
        time.sleep(0.01)
    if place.is_dir():
        os._exit(1)


def prepare_and_die(source, last):
    """Prepare, killed before a call of a function that has to do with the files of the store; 0: before none."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        file = frame.f_code.co_filename
        if event.endswith("call") and ("pathlib" in file or file.endswith(("writer.py", "journal.py", "shutil.py"))):
            calls += 1
            if calls == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    prepare("made-up", Path(source), workers=1)
    sys.setprofile(None)
    return calls
'''


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readers")
    (folder / "made_up_reader.py").write_text(MADE_UP)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("made_up_reader")
    sys.path.remove(str(folder))
    del sys.modules["made_up_reader"]


@pytest.fixture(autouse=True)
def reader(module, monkeypatch):
    READERS.add("made-up", module.read)
    module.loaded.clear()
    yield module
    del READERS._entries["made-up"], READERS._places["made-up"]


@pytest.fixture
def raw(tmp_path):
    """Twelve files with none to three clips each and rejected inputs; clips are smaller and larger than buffers."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "raw"
    folder.mkdir()
    for i in range(12):
        lines = [
            f"clip{i:02d}{letter} {rng.integers(1, 80)} {rng.integers(1, 5)} {100 * i + ord(letter)}"
            for letter in "abc"[: 1 + i % 3]
        ]
        lines += ['reject too short, "by far"'] * (i % 4 == 2)
        (folder / f"{i:02d}.txt").write_text("torn" if i == 5 else "\n".join(lines))
    return folder


@pytest.fixture
def whole(raw):
    """The files of the store of an uninterrupted run."""
    return uninterrupted(raw)


def uninterrupted(raw, **how):
    prepare("made-up", raw, "whole", workers=1, **how)
    return taken(data_folder() / "whole")


def taken(path):
    """Content of the files of a store, which is removed."""
    Store(path).verify()
    contents = {file.name: file.read_bytes() for file in path.iterdir()}
    shutil.rmtree(path)
    return contents


def interrupted(raw, after, *, name="made-up", **how):
    """Press Ctrl-C after some inputs and return the folder that is left."""

    def progress(done, total):
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare("made-up", raw, name, workers=1, progress=progress, **how)
    assert [path.name for path in data_folder().iterdir()] == ([f".{name}.partial"] if after else [])
    return data_folder() / f".{name}.partial"


def resumed(raw, *, name="made-up", **how):
    """Prepare; return the first input that was read, and the content of the store."""
    steps = []
    prepare("made-up", raw, name, progress=lambda *step: steps.append(step), **how)
    total = len(list(raw.iterdir()))
    assert steps == [(done, total) for done in range(steps[0][0], total + 1)]
    assert [path.name for path in data_folder().iterdir()] == [name]
    return steps[0][0], taken(data_folder() / name)


# Interrupted


def forked(act, *arguments):
    """Call a function in a forked process; return the process's exit code and what the function returned."""
    end, begin = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.write(begin, json.dumps(act(*arguments)).encode())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(begin)
    with os.fdopen(end) as pipe:
        returned = pipe.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), json.loads(returned) if returned else None


def started(act, *arguments):
    """Call a function of the made-up reader in a new interpreter; return its exit code."""
    code = (
        "import json, sys; from skelbench.datasets import READERS\n"
        "READERS._loaded = True  # of the other readers, whose modules take seconds to import, none is needed\n"
        "import made_up_reader; READERS.add('made-up', made_up_reader.read)\n"
        f"made_up_reader.{act.__name__}(*json.loads(sys.argv[1]))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(act.__code__.co_filename).parent)}
    command = [sys.executable, "-c", code, json.dumps(arguments)]
    return subprocess.run(command, env=environment, timeout=120).returncode, None


@pytest.fixture
def calls(raw, module, whole):
    """How many calls an uninterrupted run makes."""
    code, calls = forked(module.prepare_and_die, str(raw), 0)
    assert code == 0
    assert taken(data_folder() / "made-up") == whole
    return calls


@pytest.mark.parametrize(
    ("seed", "older", "live"),
    [*((seed, older, forked) for seed in range(4) for older in (False, True)), (4, True, started)],
)
def test_a_run_that_is_killed_at_any_moment_and_run_again_gives_the_same_store(
    raw, module, whole, calls, seed, older, live
):
    if older:  # of less data
        text = (raw / "11.txt").read_text()
        (raw / "11.txt").unlink()
        prepare("made-up", raw, workers=1)
        (raw / "11.txt").write_text(text)
    rng = np.random.default_rng(seed)
    moments = [*rng.integers(1, calls, 2), *rng.integers(calls - 200, calls, 2)]  # the last calls put it in place
    for number, moment in enumerate(moments):
        code, _ = live(module.prepare_and_die, str(raw), int(moment))
        assert code == -signal.SIGKILL or (number > 0 and code == 0)
        standing = [path for path in (data_folder() / "made-up", data_folder() / ".made-up.old") if path.exists()]
        assert standing or not older
        for path in standing[:1]:
            Store(path).verify()
    prepare("made-up", raw, workers=1)
    assert [path.name for path in data_folder().iterdir()] == ["made-up"]
    assert taken(data_folder() / "made-up") == whole


@pytest.mark.parametrize("after", [0, 1, 5, 6, 11, 12])
def test_an_interrupted_run_resumes_after_the_last_input(raw, whole, module, after):
    interrupted(raw, after)
    module.loaded.clear()
    first, contents = resumed(raw)
    assert first == after
    assert module.loaded == list(range(after, 12))
    assert contents == whole


def test_a_run_that_is_interrupted_again_and_again_gives_the_same_store(raw, whole):
    for after in (2, 3, 7, 11):
        interrupted(raw, after)
    assert resumed(raw) == (11, whole)


def test_a_name_that_stood_in_the_data_before_an_interruption_is_still_known(raw):
    (raw / "11.txt").write_text("clip00a 5 1 0")
    interrupted(raw, 9)
    _, contents = resumed(raw)
    assert contents == uninterrupted(raw)
    assert "Clip 'clip00a' is in the data twice" in contents["rejected.csv"].decode()


def test_keypoints_are_on_disk_before_the_journal_counts_on_them(raw):
    def progress(done, total):
        folder = data_folder() / ".made-up.partial"
        lines = [json.loads(line) for line in (folder / JOURNAL).read_text().splitlines()[1:]]
        assert len(lines) == done
        if lines:
            frames = sum(clip["length"] for line in lines for clip in line["clips"])
            assert lines[-1]["bytes"] == 4 * 3 * 20 * frames
            assert (folder / KEYPOINTS).stat().st_size == 128 + lines[-1]["bytes"]

    prepare("made-up", raw, workers=1, progress=progress)


def test_an_interruption_in_the_middle_of_an_input_forgets_what_was_written_of_it(raw, whole, module):
    recording, options, path = module.read([raw]), reader_options("made-up"), data_folder() / "made-up"
    with pytest.raises(KeyboardInterrupt), StoreWriter(path, recording, options=options) as writer:
        inputs = list(read_items(recording.clips))
        for found in inputs[:8]:
            for clip in found:
                writer.add(clip)
            writer.end_input()
        assert len(inputs[8]) == 3
        for clip in inputs[8][:2]:
            writer.add(clip)
        raise KeyboardInterrupt
    size = (data_folder() / ".made-up.partial" / "keypoints.npy").stat().st_size
    assert size > 128 + sum(one.keypoints.nbytes for found in inputs[:8] for one in found if isinstance(one, Clip))
    assert resumed(raw) == (8, whole)


def cut(name, end):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:end])


def add(name, content):
    def append(folder):
        with (folder / name).open("ab") as file:
            file.write(content)

    return append


JOURNAL, KEYPOINTS = "journal.jsonl", "keypoints.npy"


@pytest.mark.parametrize(
    ("damage", "first"),
    [
        (cut(JOURNAL, -1), 8),
        (cut(JOURNAL, -200), 8),
        (cut(JOURNAL, 100), 0),
        (cut(JOURNAL, 0), 0),
        (lambda folder: (folder / JOURNAL).unlink(), 0),
        (add(JOURNAL, b'{"input": "09.txt", "stam'), 9),
        (add(JOURNAL, b"\0\0\0\0\n"), 9),
        (add(JOURNAL, b"\xff\xfe\n"), 9),
        (add(JOURNAL, b"\n"), 9),
        (add(JOURNAL, b"[]\n1\n{}\n"), 9),
        (add(JOURNAL, b'{"input": "09.txt", "stamp": "0"}\n'), 9),
        (cut(KEYPOINTS, -1), 8),
        (cut(KEYPOINTS, 200), 0),
        (cut(KEYPOINTS, 100), 0),
        (cut(KEYPOINTS, 0), 0),
        (lambda folder: (folder / KEYPOINTS).unlink(), 0),
        (add(KEYPOINTS, b"half of a clip"), 9),
        (add("journal.new", b'{"format": 1'), 9),
        (add("clips.json", b"["), 9),
        (add("manifest.json", b"{"), 9),
    ],
)
def test_incomplete_work_is_read_again(raw, whole, damage, first):
    damage(interrupted(raw, 9))
    assert resumed(raw) == (first, whole)


def test_a_list_of_rejected_inputs_that_a_killed_run_left_is_not_taken_over(raw):
    for name in ("02.txt", "05.txt", "06.txt", "10.txt"):
        (raw / name).unlink()
    folder = interrupted(raw, 8)
    (folder / "rejected.csv").write_text("file,line,reason\n")
    assert sorted(resumed(raw)[1]) == ["clips.json", "keypoints.npy", "manifest.json"]


@pytest.mark.parametrize(
    ("change", "first"),
    [
        (lambda raw: (raw / "03.txt").write_text("other 9 1 0"), 3),
        (lambda raw: (raw / "03.txt").write_text("torn"), 3),
        (lambda raw: (raw / "03.txt").unlink(), 3),
        (lambda raw: (raw / "00a.txt").write_text("new 5 1 0"), 1),
        (lambda raw: (raw / "10.txt").write_text("behind 5 1 0"), 9),
        (lambda raw: (raw / "00.txt").rename(raw / "000.txt"), 1),
    ],
)
def test_an_input_that_changed_is_read_again_and_all_behind_it(raw, change, first):
    interrupted(raw, 9)
    change(raw)
    begin, contents = resumed(raw)
    # a name that sorts elsewhere comes at another place, and so does all behind it
    assert begin == (0 if (raw / "000.txt").exists() else first)
    assert contents == uninterrupted(raw)


def test_other_exclusions_start_clean(raw, tmp_path):
    listed = tmp_path / "leak.json"
    listed.write_text('["clip01a"]')
    interrupted(raw, 9)
    with pytest.raises(SkelbenchError, match=r"holds unfinished work of 'made-up' .*--force"):
        prepare("made-up", raw, exclude=listed)
    first, contents = resumed(raw, exclude=listed, force=True)
    assert first == 0
    assert contents == uninterrupted(raw, exclude=listed)
    interrupted(raw, 9, exclude=listed)
    assert resumed(raw, exclude=listed) == (9, contents)


def test_other_options_start_clean(raw):
    interrupted(raw, 9)
    with pytest.raises(SkelbenchError, match=r"holds unfinished work of 'made-up' .*scale=1.*--force"):
        prepare("made-up", raw, "made-up", options={"scale": 2})
    first, contents = resumed(raw, options={"scale": 2}, force=True)
    assert first == 0
    assert contents == uninterrupted(raw, options={"scale": 2})


def test_another_version_of_the_reader_starts_clean(raw, module, monkeypatch):
    interrupted(raw, 9)
    monkeypatch.setattr(module, "VERSION", 2)
    first, contents = resumed(raw, force=True)
    assert first == 0
    assert json.loads(contents["manifest.json"])["reader_version"] == 2
    assert contents == uninterrupted(raw)


def test_two_runs_do_not_write_the_same_store(raw, whole):
    lock = interrupted(raw, 9) / "lock"
    hold = (
        "import sys, filelock as f; lock = f.FileLock(sys.argv[1]); lock.acquire(); print('held', flush=True); input()"
    )
    command = [sys.executable, "-c", hold, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(SkelbenchError, match=r"Another process is preparing 'made-up'.*--name"):
            prepare("made-up", raw)
        other.communicate(b"\n")
    assert resumed(raw) == (9, whole)


def test_a_failure_keeps_what_was_read(raw):
    text = (raw / "09.txt").read_text()
    (raw / "09.txt").write_text("refuse")
    with pytest.raises(SkelbenchError, match=r"09\.txt is of another data set"):
        prepare("made-up", raw)
    assert [path.name for path in data_folder().iterdir()] == [".made-up.partial"]
    (raw / "09.txt").write_text("fail")
    with pytest.raises(ValueError, match="09"):
        prepare("made-up", raw)
    assert list_stores() == []
    (raw / "09.txt").write_text(text)
    first, contents = resumed(raw)
    assert first == 9
    assert contents == uninterrupted(raw)


# Several processes


@pytest.fixture
def many(raw):
    """More files than one process reads at a time."""
    for path in sorted(raw.iterdir()):
        for times in range(1, 4):
            (raw / f"{times}{path.name}").write_text(path.read_text().replace("clip", f"clip{times}"))
    return raw


def test_two_processes_give_the_same_store_as_one(many, module):
    expected = uninterrupted(many)
    module.loaded.clear()
    assert resumed(many, workers=2) == (0, expected)
    assert module.loaded == []


def test_few_inputs_are_read_without_other_processes(many, module):
    prepare("made-up", many)
    assert module.loaded == list(range(48))


def test_a_process_that_dies_is_reported_and_the_next_run_resumes(many, module, tmp_path):
    marks = tmp_path / "marks"
    last = sorted(many.iterdir())[-1]
    last.write_text(f"{last.read_text()}\ndie {marks}")
    expected = uninterrupted(many)
    marks.mkdir()

    def progress(done, total):
        if done == BLOCK:
            (marks / "now").touch()

    with pytest.raises(SkelbenchError, match=r"A process that read raw files died.*--workers"):
        prepare("made-up", many, workers=2, progress=progress)
    assert [path.name for path in data_folder().iterdir()] == [".made-up.partial"]
    shutil.rmtree(marks)
    first, contents = resumed(many)
    assert BLOCK <= first < 48
    assert contents == expected


def test_inputs_come_in_order_from_wherever_reading_starts(many, module):
    items = module.read([many]).clips

    def facts(results):
        return [[one if isinstance(one, Rejected) else one.name for one in found] for found in results]

    expected = facts(read_items(items))
    assert sum(map(len, expected)) > len(items.names)
    assert facts(read_items(items, 20)) == expected[20:]
    assert facts(read_items(items, 20, workers=2)) == expected[20:]
    assert facts(read_items(items, 48, workers=2)) == []


# What the store holds


def test_the_store_holds_the_clips_of_the_inputs_in_order(raw, module):
    store = prepare("made-up", raw)
    recording = module.read([raw])
    clips = [one for found in read_items(recording.clips) for one in found if isinstance(one, Clip)]
    assert [entry["name"] for entry in store.clips] == [clip.name for clip in clips]
    assert store.column("subject").tolist() == [clip.subject for clip in clips]
    assert isinstance(store.keypoints, np.memmap)
    np.testing.assert_array_equal(store.keypoints, np.concatenate([clip.keypoints for clip in clips]))
    for entry, clip in zip(store.clips, clips, strict=True):
        frames = slice(entry["offset"], entry["offset"] + entry["length"])
        np.testing.assert_array_equal(store.keypoints[frames], clip.keypoints)


def test_keypoints_are_a_file_as_numpy_writes_it(raw, module):
    store = prepare("made-up", raw)
    plain = np.load(store.path / "keypoints.npy")
    file = io.BytesIO()
    np.save(file, plain)
    assert (store.path / "keypoints.npy").read_bytes() == file.getvalue()
    assert (plain.dtype, plain.shape) == (np.dtype("<f4"), (store.manifest["frames"], 1, 20, 3))


def test_rejected_inputs_stand_in_a_table_and_in_the_manifest(raw):
    (raw / "00.txt").write_text("clip00a 0 1 0\nclip00b 4 1 1")
    (raw / "01.txt").write_text("clip00b 4 1 1")
    store = prepare("made-up", raw)
    short = 'too short, "by far"'
    expected = [
        Rejected(
            "00.txt", "Clip 'clip00a' is empty (no frame where any person is present); leave it out with --exclude."
        ),
        Rejected("01.txt", "Clip 'clip00b' is in the data twice; names must be unique."),
        Rejected("02.txt", short, 4),
        Rejected("05.txt", "05.txt, line 1: torn", 1),
        Rejected("06.txt", short, 2),
        Rejected("10.txt", short, 3),
    ]
    assert store.rejected == expected
    with (store.path / "rejected.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Rejected(row["file"], row["reason"], int(row["line"]) if row["line"] else None) for row in rows] == expected


def test_clips_that_are_the_same_to_the_last_bit_are_listed(raw):
    assert prepare("made-up", raw).manifest["duplicates"] == []
    (raw / "20.txt").write_text("one 7 1 5\ntwo 7 2 6\nthree 7 3 5\nfour 8 3 5")
    (raw / "21.txt").write_text("five 7 4 6\nsix 7 4 5")
    store = prepare("made-up", raw)
    assert store.manifest["duplicates"] == [["one", "three", "six"], ["two", "five"]]
    assert "digest" not in store.clips[0]


def test_names_of_a_list_are_left_out(raw, tmp_path):
    listed = tmp_path / "leak.json"
    listed.write_text('["clip01b", "clip11c"]')
    everything = {clip["name"] for clip in prepare("made-up", raw).clips}
    store = prepare("made-up", raw, exclude=listed)
    assert {clip["name"] for clip in store.clips} == everything - {"clip01b", "clip11c"}
    assert store.manifest["excluded"] == ["clip01b", "clip11c"]
    listed.write_text('["clip01b", "ghost"]')
    with pytest.raises(SkelbenchError, match=r"1 names to exclude are not in the data .*'ghost'"):
        prepare("made-up", raw, "other", exclude=listed)
    assert list_stores() == ["made-up"]


# Options


def test_options_are_parsed_by_their_types():
    assert reader_options("made-up") == {"speed": "slow", "scale": 1, "mirrored": False}
    given = {"scale": "3", "mirrored": "yes", "speed": "fast"}
    assert parse_options("made-up", given) == {"speed": "fast", "scale": 3, "mirrored": True}
    assert parse_options("made-up", {}) == reader_options("made-up")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sped": "fast"}, r"The reader 'made-up' has no option 'sped'; did you mean 'speed'\?"),
        ({"colour": "red"}, r"has no option 'colour'; known: mirrored, scale, speed\."),
        ({"sources": "here"}, "has no option 'sources'"),
        ({"speed": "fats"}, "The option 'speed' of the reader 'made-up' cannot be 'fats': .*'slow' or 'fast'"),
        ({"scale": "two"}, "The option 'scale' of the reader 'made-up' cannot be 'two': .*integer"),
        ({"mirrored": "perhaps"}, "The option 'mirrored' of the reader 'made-up' cannot be 'perhaps': .*boolean"),
    ],
)
def test_an_option_that_cannot_be_is_refused(raw, given, message):
    with pytest.raises(SkelbenchError, match=message):
        prepare("made-up", raw, options=given)
    assert not data_folder().exists()


def test_a_reader_without_options_says_so():
    with pytest.raises(SkelbenchError, match=r"'uiprmd' has no option 'speed'; known: none\."):
        parse_options("uiprmd", {"speed": "fast"})


def test_the_options_stand_in_the_name_and_in_the_manifest(raw):
    assert prepare("made-up", raw, options={"speed": "slow", "scale": "1"}).name == "made-up"
    store = prepare("made-up", raw, options={"scale": "2", "speed": "fast"})
    assert store.name == "made-up-fast-2"
    assert store.manifest["options"] == {"speed": "fast", "scale": 2, "mirrored": False}
    assert prepare("made-up", raw, "mine", options={"scale": 2}).name == "mine"
    twice = open_store("made-up-fast-2").keypoints
    np.testing.assert_array_equal(twice, 2 * open_store("made-up").keypoints)


def test_a_store_that_was_made_otherwise_is_replaced_only_if_asked_for(raw):
    store = prepare("made-up", raw, "mine")
    message = r"already, made by 'made-up' .*scale=1.* and not by 'made-up' .*scale=2.*\(--name\).*\(--force\)"
    with pytest.raises(SkelbenchError, match=message):
        prepare("made-up", raw, "mine", options={"scale": 2})
    assert Store(store.path).fingerprint == store.fingerprint
    assert prepare("made-up", raw, "mine").fingerprint == store.fingerprint
    forced = prepare("made-up", raw, "mine", options={"scale": 2}, force=True)
    assert forced.manifest["options"]["scale"] == 2
    assert [path.name for path in data_folder().iterdir()] == ["mine"]


def test_a_store_of_another_reader_is_replaced_only_if_asked_for(raw):
    (data_folder()).mkdir()
    with StoreWriter(data_folder() / "mine", split_recording({}, ())) as writer:
        writer.add(Clip("a", np.ones((2, 1, 20, 3)), 0, 1))
        writer.finish()
    with pytest.raises(SkelbenchError, match=r"'mine' already, made by 'test' and not by 'made-up'"):
        prepare("made-up", raw, "mine")
    assert open_store("mine").manifest["reader"] == "test"
    assert prepare("made-up", raw, "mine", force=True).manifest["reader"] == "made-up"


def test_a_damaged_store_may_be_replaced(raw, whole):
    (prepare("made-up", raw).path / "manifest.json").write_text("{")
    assert resumed(raw, options={"speed": "slow"}) == (0, whole)


# Splits


def split_recording(splits, clips):
    return Recording(
        layout=get_layout("kinect20"),
        class_names=("still", "moving"),
        splits=splits,
        clips=clips,
        reader="test",
        reader_version=1,
    )


def random_rule(rng):
    field = str(rng.choice(["subject", "camera", "setup", "own"]))
    numbers = [int(n) for n in rng.permutation(8)[: rng.integers(0, 9)]]
    where = int(rng.integers(0, len(numbers) + 1))
    test = tuple(numbers[where:]) if rng.integers(2) else None
    return SplitRule(field, tuple(numbers[:where]), test, text="at random")


@pytest.mark.parametrize("seed", range(20))
def test_no_clip_is_on_both_sides_of_a_split_and_none_is_lost(tmp_path, seed):
    rng = np.random.default_rng(seed)
    splits = {f"split{i}": random_rule(rng) for i in range(4)}
    clips = [
        Clip(
            f"clip{i}",
            np.full((rng.integers(0, 3), 1, 20, 3), i % 7, np.float32),  # some are empty
            int(rng.integers(0, 3)),  # some labels are of no class
            *(int(n) for n in rng.integers(0, 8, 3)),
            splits={split: int(rng.integers(-1, 2)) for split in splits},
        )
        for i in range(60)
    ]
    accepted = {c.name: c for c in clips if len(c.keypoints) and c.keypoints.any() and c.label < 2}
    left_out = frozenset(str(name) for name in rng.choice([c.name for c in clips], 5, replace=False))
    with StoreWriter(tmp_path / "mine", split_recording(splits, clips), exclude=left_out) as writer:
        for clip in clips:
            writer.add(clip)
        store = writer.finish()
    assert {*store.column("name"), *store.manifest["excluded"], *(e.file for e in store.rejected)} == {
        clip.name for clip in clips
    }
    accepted = {name: clip for name, clip in accepted.items() if name not in left_out}
    assert set(store.column("name")) == set(accepted)
    for split, rule in splits.items():
        sides = store.sides(split, empty=True)
        train, test = ({*store.column("name")[sides == side]} for side in (TRAIN, TEST))
        if rule.field == "own":
            outside = {name for name, clip in accepted.items() if clip.splits[split] == LEFT_OUT}
            assert train == {name for name, clip in accepted.items() if clip.splits[split] == TRAIN}
        else:
            value = {name: getattr(clip, rule.field) for name, clip in accepted.items()}
            allowed = range(8) if rule.test is None else {*rule.train, *rule.test}
            outside = {name for name in accepted if value[name] not in allowed}
            assert train == {name for name in accepted if value[name] in rule.train}
        assert train.isdisjoint(test)
        assert train | test == set(accepted) - outside


# However it is called


SCRIPT = """
from pathlib import Path
from skelbench.datasets import prepare
print(len(prepare("ntu60", Path({raw!r}), "mine", workers=2).clips))
"""


@pytest.mark.parametrize("how", ["script", "standard input"])
def test_workers_need_no_guard_in_the_program_that_calls(skeleton_files, tmp_path, how):
    names = [f"S001C001P001R001A{action:03d}" for action in range(1, 41)]
    script = SCRIPT.format(raw=str(skeleton_files.folder(tmp_path / "files", names, frames=2)))
    (tmp_path / "script.py").write_text(script)
    command = [sys.executable, str(tmp_path / "script.py") if how == "script" else "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=120)
    assert done.stdout == "40\n", done.stderr


def test_workers_find_the_reader_of_a_plugin(raw, tmp_path, module):
    plugin = tmp_path / "mine.py"
    text = Path(module.__file__).read_text()
    plugin.write_text(text + "from skelbench.datasets import READERS\nREADERS.add('plugged-in', read)\n")
    for times in range(4):
        for path in sorted(raw.iterdir())[:12]:
            (raw / f"{times}{path.name}").write_text(path.read_text().replace("clip", f"clip{times}"))
    script = (
        "import sys; from pathlib import Path; from skelbench.registry import load_plugin\n"
        "from skelbench.datasets import prepare\n"
        "load_plugin(Path(sys.argv[1]))\n"
        "one, two = (prepare('plugged-in', Path(sys.argv[2]), f'w{n}', workers=n) for n in (1, 2))\n"
        "assert one.fingerprint == two.fingerprint\n"
    )
    command = [sys.executable, "-c", script, str(plugin), str(raw)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_line_of_the_journal_is_as_long_as_its_input_however_many_names_are_excluded(raw, tmp_path):
    names = [clip["name"] for clip in prepare("made-up", raw, "all").clips]
    (tmp_path / "most.json").write_text(json.dumps(names[:-1]))
    shutil.rmtree(data_folder() / "all")
    folder = interrupted(raw, 12, exclude=tmp_path / "most.json")
    lines = [json.loads(line) for line in (folder / JOURNAL).read_text().splitlines()[1:]]
    excluded = [name for line in lines for name in line["excluded"]]
    assert sorted(excluded) == sorted(names[:-1])


def test_numbers_that_a_power_cut_left_out_are_read_again(raw, whole):
    folder = interrupted(raw, 9)
    content = bytearray((folder / KEYPOINTS).read_bytes())
    second = json.loads((folder / JOURNAL).read_text().splitlines()[1])["bytes"]
    content[128 + second : 128 + second + 40] = bytes(40)
    (folder / KEYPOINTS).write_bytes(content)
    assert resumed(raw) == (1, whole)


def test_a_store_is_not_replaced_by_one_that_lacks_its_clips(raw, tmp_path):
    before = prepare("made-up", raw)
    gone = [path for path in sorted(raw.iterdir()) if "clip11" in path.read_text()]
    text = {path: path.read_text() for path in gone}
    for path in gone:
        path.unlink()
    with pytest.raises(SkelbenchError, match=r"holds \d clips that these sources do not give \(the first: 'clip11"):
        prepare("made-up", raw)
    assert open_store("made-up").fingerprint == before.fingerprint
    assert len(prepare("made-up", raw, force=True).clips) < len(before.clips)
    for path in gone:
        path.write_text(text[path])
    assert prepare("made-up", raw).fingerprint == before.fingerprint


def test_the_name_of_the_generated_data_set_is_its_own(raw):
    with pytest.raises(SkelbenchError, match="'synthetic' is reserved for the generated data set"):
        prepare("made-up", raw, "synthetic")


def test_names_that_are_no_text_can_be_listed():
    entry = Rejected("folder\udccf/x.txt", "folder\udccf/x.txt is torn")
    assert entry.file.encode() and entry.reason.encode()
    assert entry.file == "folder\\udccf/x.txt"
