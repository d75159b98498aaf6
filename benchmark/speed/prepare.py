"""Speed of preparing raw files into a store and of loading a store as clips."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from ...datasets import Clip, Recording, prepare
from ...datasets.audit import audit
from ...datasets.audit.leaks import nearly_equal
from ...datasets.clips import load_dataset
from ...datasets.inspect import audited
from ...datasets.layout import get_layout
from ...datasets.readers.bodies import listed
from ...datasets.readers.ntu_names import CLASS_NAMES, SPLITS, recorded
from ...datasets.readers.ntu_text import parse
from ...datasets.readers.parallel import available_cores
from ...datasets.readers.synthetic import generate
from ...datasets.recording import Rejected
from ...datasets.store import Store
from ...datasets.store.writer import StoreWriter
from .reference.reader import read_plain

TURNS = 3
TEXTS = 100  # recordings; each is in several files, with other frames


@dataclass(frozen=True)
class Figure:
    """One measured value."""

    name: str
    value: float
    unit: str


def bench_prepare(
    *, files: int, clips: int, frames: int, folder: Path | None = None, say: Callable[[str], None] = lambda text: None
) -> Iterator[Figure]:
    """Measure on synthetic NTU RGB+D data, written to a temporary folder and removed.

    Args:
        files: number of raw files to prepare.
        clips: number of clips in the store that is opened and loaded.
        frames: T of the loaded clips.
        folder: where the temporary folder is made (default: the system's).
        say: called with progress messages.
    """
    with tempfile.TemporaryDirectory(prefix="skelbench-bench-", dir=folder) as place:
        raw = Path(place) / "raw"
        say(f"writing {files:,} raw files")
        size = _write_raw(raw, files)
        yield Figure("raw files", files, "files")
        yield Figure("raw size", size / 1e9, "GB")
        say("parsing some of them, one core")
        yield from _parsing(sorted(raw.iterdir())[:TEXTS])
        with _data_folder(Path(place) / "data"):
            say(f"preparing all {TURNS} times with one process, and as often with {available_cores()} in turn")
            yield from _preparing(raw, files, sorted({1, available_cores()}))
            say(f"writing a store of {clips:,} clips")
            _write_store(Path(place) / "data" / "large", clips)
            say("opening and loading it")
            yield from _loading(frames)


def _write_raw(folder: Path, files: int) -> int:
    """Write synthetic recordings with NTU RGB+D names; return their size in bytes.

    The first file of a recording has all of its frames, each further one a frame less at the start, so that no two are
    alike.
    """
    folder.mkdir()
    rng = np.random.default_rng(0)
    recordings = [_frames(keypoints, rng) for keypoints in _motion()]
    total = 0
    for number, name in enumerate(islice(recorded("ntu60"), files)):
        frames = recordings[number % len(recordings)]
        frames = frames[number // len(recordings) % (len(frames) // 2) :]
        total += (folder / f"{name}.skeleton").write_text(f"{len(frames)}\n{''.join(frames)}")
    return total


def _motion() -> list[np.ndarray]:
    """Generated motion, each (T, 2, 25, 3)."""
    return [clip.keypoints for clip in generate(TEXTS).clips if isinstance(clip, Clip)]


def _frames(keypoints: np.ndarray, rng: np.random.Generator) -> list[str]:
    """The frames of keypoints (T, M, 25, 3) in the sensor's text format; unused values are random."""
    frames = []
    for bodies in keypoints:
        present = [joints for joints in bodies if joints.any()]
        lines = [str(len(present))]
        for number, joints in enumerate(present):
            lean = " ".join(f"{v:.7g}" for v in rng.standard_normal(2))
            lines += [f"7205759403793{number:04d} 0 1 1 1 1 0 {lean} 2", "25"]
            others = rng.standard_normal((25, 8)) * (100, 100, 1000, 1000, 1, 1, 1, 1)
            lines += [
                " ".join(f"{v:.7g}" for v in (*joint, *other)) + " 2"
                for joint, other in zip(joints, others, strict=True)
            ]
        frames.append("\n".join(lines) + "\n")
    return frames


def _parsing(paths: list[Path]) -> Iterator[Figure]:
    fast, plain = [], []
    for path in paths:
        path.read_bytes()  # into the page cache, for both
        started = time.perf_counter()
        skeletons = parse(path.read_bytes(), path.name)
        ours = listed(skeletons.frame, skeletons.joints, skeletons.frames).astype(np.float32)
        fast.append(time.perf_counter() - started)
        started = time.perf_counter()
        theirs = read_plain(path)
        plain.append(time.perf_counter() - started)
        assert np.array_equal(ours, theirs), path
    yield Figure("parse a file", 1e3 * statistics.median(fast), "ms")
    yield Figure("parse a file line by line", 1e3 * statistics.median(plain), "ms")
    yield Figure("times faster", sum(plain) / sum(fast), "x")


def _preparing(raw: Path, files: int, counts: list[int]) -> Iterator[Figure]:
    seconds: dict[int, list[float]] = {workers: [] for workers in counts}
    peak = dict.fromkeys(counts, 0.0)
    store = None
    for workers in counts * TURNS:

        def watch(done: int, total: int | None, workers: int = workers) -> None:
            if done % 250 == 0:
                peak[workers] = max(peak[workers], sum(map(_peak_memory, (os.getpid(), *_readers()))))

        started = time.perf_counter()
        store = prepare("ntu60", raw, "bench", workers=workers, progress=watch)
        seconds[workers].append(time.perf_counter() - started)
        assert len(store.clips) == files
    assert store is not None
    for workers in counts:
        yield Figure(f"prepare, {workers} processes", files / statistics.median(seconds[workers]), "files/s")
        yield Figure("memory of all of them", peak[workers], "GB")
    if len(counts) > 1:
        ratios = [one / many for one, many in zip(*seconds.values(), strict=True)]
        yield Figure(f"times faster with {counts[-1]} processes, median", statistics.median(ratios), "x")
        yield Figure(f"times faster with {counts[-1]} processes, least", min(ratios), "x")
    yield from _auditing(store, statistics.median(seconds[1]))


def _auditing(store: Store, whole: float) -> Iterator[Figure]:
    """The audit's share of the time of preparing, and of it the search for nearly equal clips."""
    data = audited(store)
    started = time.perf_counter()
    audit(data)
    seconds = time.perf_counter() - started
    yield Figure("audit of them", 100 * seconds / whole, "% of that time")
    started = time.perf_counter()
    nearly_equal(data)
    yield Figure(
        "of it, search for nearly equal clips", 100 * (time.perf_counter() - started) / whole, "% of that time"
    )


def _readers() -> list[int]:
    """Child processes of this process (Linux only, else none)."""
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


def _peak_memory(pid: int) -> float:
    """Peak memory of a process in GB (Linux only, else 0)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1e6 for line in status.splitlines() if line.startswith("VmHWM")), 0.0)


def _write_store(path: Path, clips: int) -> None:
    """Write a store of clips with NTU RGB+D 120 names and repeated motion."""
    motion = cycle(_motion())
    named: Iterable[Clip | Rejected] = (
        Clip(str(n), keypoints, n.action - 1, n.subject, n.camera, n.setup, n.repetition)
        for n, keypoints in zip(islice(recorded("ntu120"), clips), motion, strict=False)
    )
    recording = Recording(get_layout("ntu25"), CLASS_NAMES, SPLITS["ntu120"], named, "bench", 1)
    with StoreWriter(path, recording) as writer:
        for clip in named:
            writer.add(clip)
        writer.finish()


def _loading(frames: int) -> Iterator[Figure]:
    started = time.perf_counter()
    store = Store(Path(os.environ["SKELBENCH_DATA"]) / "large")
    yield Figure(f"open a store of {len(store.clips):,} clips", time.perf_counter() - started, "s")
    started = time.perf_counter()
    train, test = load_dataset(store, "xsub", frames=frames)
    seconds = time.perf_counter() - started
    yield Figure(f"load xsub as {len(train):,} + {len(test):,} clips of {frames} frames", seconds, "s")


@contextmanager
def _data_folder(path: Path) -> Iterator[None]:
    """Keep the measured data sets out of the user's data folder."""
    before = os.environ.get("SKELBENCH_DATA")
    os.environ["SKELBENCH_DATA"] = str(path)
    try:
        yield
    finally:
        if before is None:
            del os.environ["SKELBENCH_DATA"]
        else:
            os.environ["SKELBENCH_DATA"] = before
