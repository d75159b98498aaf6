"""A tiny data set with learnable classes, prepared like a user's own, and settings that run in a blink."""

import hashlib
import json
import os
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from filelock import FileLock

SUBJECTS, CLASSES = 4, 3

# Settings of a run of a second or less.
TINY = {
    "frames": 16,
    "epochs": 2,
    "batch": 4,
    "backbone.width": 4,
    "backbone.dim": 16,
    "linear.epochs": 10,
}
# With those of the methods that a grid of all of them may set.
TINY_GRID = TINY | {"method.feature_dim": 8, "method.window": [1, 2]}


def motions(subjects: int = SUBJECTS, classes: int = CLASSES, repetitions: int = 2) -> dict[str, Any]:
    """Arrays of an interchange file: each class swings its own limb of the NTU skeleton, one person."""
    rng = np.random.default_rng(3)
    limbs = [list(range(4, 8)), list(range(8, 12)), list(range(12, 16)), list(range(16, 20)), [2, 3], [20, 1]]
    body = rng.normal(size=(25, 3))
    clips, facts = [], []
    for subject in range(1, subjects + 1):
        for label in range(classes):
            for repetition in range(repetitions):
                length = int(rng.integers(12, 17))
                clip = np.repeat(body[None] * (1 + 0.05 * subject), length, axis=0)
                swing = np.sin(np.linspace(0, 6, length) + 0.3 * repetition)
                clip[:, limbs[label % len(limbs)], 1 + label // len(limbs)] += swing[:, None]
                clips.append(clip + rng.normal(scale=0.02, size=clip.shape) + 3)
                facts.append((f"s{subject}c{label}r{repetition}", label, subject, 1 + repetition % 2))
    names, labels, numbers, cameras = zip(*facts, strict=True)
    return {
        "keypoints": np.concatenate(clips)[:, None].astype(np.float32),
        "lengths": np.array([len(clip) for clip in clips]),
        "label": np.array(labels),
        "name": np.array(names),
        "subject": np.array(numbers),
        "camera": np.array(cameras),
        "layout": np.array("ntu25"),
    }


@pytest.fixture
def arrays():
    """Make the arrays of an interchange file."""
    return motions


@pytest.fixture
def store(tmp_path):
    """The data set `tiny`: 24 clips, 12 on either side of xsub."""
    from skelbench.datasets import prepare

    path = tmp_path / "tiny.npz"
    np.savez(path, **motions())
    return prepare("arrays", path, "tiny")


@pytest.fixture
def clips(store):
    """Both sides of `tiny`, 16 frames."""
    from skelbench.datasets.clips import load_dataset

    return load_dataset(store, "xsub", frames=16)


@contextmanager
def signals_kept():
    """Put the signal handlers back that a run sets."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def command(*arguments: object, code: int | None = 0):
    """Run a command of the command line in this process."""
    from skelbench.benchmark.cli import main

    with signals_kept():
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert code is None or result.exit_code == code, result.output
    return result


@pytest.fixture
def skelbench():
    """Run a command of the command line in this process; anything but an exit is an error of the test."""
    return command


def write_grid(path: Path, **changes: object) -> Path:
    """Write a grid file over the data set `tiny`."""
    from skelbench.methods import METHODS

    floors_first = sorted(METHODS, key=lambda name: METHODS[name].trainable)
    grid = {"methods": floors_first, "datasets": ["tiny"], "protocols": ["knn", "linear"], "set": TINY_GRID}
    path.write_text(yaml.safe_dump(grid | changes))
    return path


@pytest.fixture
def grid_file(tmp_path):
    """Write the grid file `tiny`: all methods on the data set `tiny`, tiny settings; changes go on top."""
    return lambda **changes: write_grid(tmp_path / "tiny.yaml", **changes)


@pytest.fixture
def tiny_run(tmp_path):
    """Options of `run` for one tiny pre-training, its runs in the test's own folder."""
    pairs = [word for key, value in TINY.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    return ["run", "--dataset", "tiny", "--out", tmp_path / "runs", "--device", "cpu", *pairs]


@pytest.fixture(scope="session")
def run_once(tmp_path_factory):
    """Run a grid over the data set `tiny` in a folder of its own; its folders of data and of runs, and its output."""

    def run(folder: Path | None = None, **changes: object) -> tuple[Path, Path, str]:
        folder = folder or tmp_path_factory.mktemp("finished")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SKELBENCH_DATA", str(folder / "data"))
            np.savez(folder / "tiny.npz", **motions())
            command("prepare", "arrays", "--from", folder / "tiny.npz", "--name", "tiny")
            file = write_grid(folder / "tiny.yaml", **changes)
            result = command("grid", file, "--out", folder / "runs", "--device", "cpu")
        (folder / "output.txt").write_text(result.stdout)
        return folder / "data", folder / "runs", result.stdout

    return run


@pytest.fixture(scope="session")
def finished_once(run_once, tmp_path_factory):
    """Run the grid `tiny` once, whichever process of the tests needs it first; its folders, and its output."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return run_once()
    folder = tmp_path_factory.getbasetemp().parent / "finished"
    with FileLock(f"{folder}.lock"):
        if not (folder / "output.txt").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            run_once(folder)
    return folder / "data", folder / "runs", (folder / "output.txt").read_text()


@pytest.fixture
def own(tmp_path):
    """Copy a finished grid and its data, so that a test may change them; the folder of runs."""

    def copied(data: Path, runs: Path) -> Path:
        shutil.copytree(data, tmp_path / "data", dirs_exist_ok=True)
        return shutil.copytree(runs, tmp_path / "runs")

    return copied


@pytest.fixture
def finished(finished_once, own):
    """A copy of a finished grid and its data, which a test may change; the folder of runs."""
    return own(*finished_once[:2])


@pytest.fixture
def tree():
    """Hash of every file below a folder, by relative path: whether anything was written."""

    def hashes(folder: Path) -> dict[str, str]:
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    return hashes


@pytest.fixture
def golden_json():
    """Open a recorded JSON file, or skip where that folder is absent."""
    root = Path(os.environ.get("SKELBENCH_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "golden"

    def load(name: str):
        if not (root / name).exists():
            pytest.skip(f"the recorded values {name} are not at hand (set SKELBENCH_SHARED)")
        return json.loads((root / name).read_text())

    return load
