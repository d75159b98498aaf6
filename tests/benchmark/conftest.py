"""A tiny data set with learnable classes, prepared like a user's own, and settings that run in a blink."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

SUBJECTS, CLASSES = 4, 3

# Settings of a run of a second or less: the backbone's, the methods' and the evaluation's.
TINY = {
    "frames": 16,
    "epochs": 2,
    "batch": 4,
    "backbone.width": 4,
    "backbone.dim": 16,
    "method.feature_dim": 8,
    "method.window": [1, 2],
    "linear.epochs": 10,
}


def motions(subjects: int = SUBJECTS, classes: int = CLASSES, repetitions: int = 2) -> dict[str, np.ndarray]:
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
def tiny_settings():
    """Settings of a tiny run, as `--set` takes them."""
    return dict(TINY)


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


@pytest.fixture
def signals():
    """Put the signal handlers back that a run sets."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def skelbench(signals):
    """Run a command of the command line in this process."""
    from skelbench.benchmark.cli import main

    def run(*arguments: object, code: int | None = 0):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert code is None or result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def tiny_options(tiny_settings, tmp_path):
    """Options of `run` and `grid`: the tiny settings, the CPU, and runs in the test's own folder."""
    pairs = [word for key, value in tiny_settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    return ["--device", "cpu", "--out", str(Path(tmp_path) / "runs"), *pairs]


@pytest.fixture
def golden_json():
    """Open a recorded JSON file, or skip where that folder is absent."""
    root = Path(os.environ.get("SKELBENCH_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "golden"

    def load(name: str):
        if not (root / name).exists():
            pytest.skip(f"the recorded values {name} are not at hand (set SKELBENCH_SHARED)")
        return json.loads((root / name).read_text())

    return load
