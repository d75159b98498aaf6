"""Set-up for all tests: one thread per process, no network, a separate data folder."""

import functools
import hashlib
import json
import os
import signal
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from click.testing import CliRunner

# Before torch loads, and inherited by subprocesses: pytest-xdist already gives each core a process.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["SKELBENCH_WORKERS"] = "1"  # a grid runs in the process of its test, which may have changed it

PLACE = {"method": "skeattnclr", "backbone": "stgcn", "dataset": "ntu60", "split": "xsub", "stream": "joint"}


@pytest.fixture(autouse=True)
def own_data(tmp_path, monkeypatch):
    """Keep a test from reading or writing the user's datasets."""
    monkeypatch.setenv("SKELBENCH_DATA", str(tmp_path / "data"))


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")
    record = "write the recorded numbers of new settings and of raised versions; again: those that changed as well"
    parser.addoption("--record", nargs="?", choices=["new", "again"], const="new", help=record)


def pytest_collection_modifyitems(config, items):
    """Skip the tests marked slow unless they are asked for."""
    if not config.getoption("--slow"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow; runs with --slow"))


@pytest.fixture(scope="session")
def operations():
    """A context in which operations of torch are noted: names, and devices and types of what they return."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Operations(TorchDispatchMode):
        # operations that bring values from the host; a scalar_tensor is filled on its own device
        FROM_HOST = frozenset({"aten::lift_fresh", "aten::_to_copy", "aten::copy_"})

        def __init__(self):
            super().__init__()
            self.names, self.devices, self.dtypes = set(), set(), set()

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            self.names.add(func.overloadpacket._qualified_op_name)
            for tensor in out if isinstance(out, (tuple, list)) else (out,):
                self.devices.add(getattr(tensor, "device", None))
                self.dtypes.add(getattr(tensor, "dtype", None))
            return out

    return Operations


@pytest.fixture
def torchrun_ranks():
    """The environment that torchrun makes for each of two processes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        place = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free.getsockname()[1])}
    place |= {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    return [place | {"RANK": number, "LOCAL_RANK": number} for number in "01"]


def slow_but(names, *quick):
    """Names as parameters of a test, of which all but the quick ones are slow."""
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in names]


# --- Recorded numbers -------------------------------------------------------------------------------------------

AS_IT_IS = "as it is"  # the case without a changed setting


@pytest.fixture
def recorded(request):
    """Compare numbers with those that a file beside the test has for the same owner and version, or record them.

    The numbers of a case are equal to 1 in 10⁶. With `--record` a case that is not in the file is added, and all of an
    owner whose version has been raised are written again; numbers that changed under the same version are refused.
    """
    how = request.config.getoption("--record")
    assert not (how and "PYTEST_XDIST_WORKER" in os.environ), "processes would overwrite each other's numbers: use -n 0"
    return lambda name, *given: check_recorded(request.path.with_name(name), *given, how=how)


def check_recorded(path: Path, owner: str, version: int, found: dict[str, list[float]], how: str | None = None) -> None:
    """Compare the numbers of all cases of an owner with a file, or record them as `how` says."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    before = kept.get(owner, {"version": version, "numbers": {}})
    problems = _unlike(owner, version, before, found)
    if not how:
        assert not problems, "\n".join(problems)
        return
    rounded = {case: [float(f"{value:.10g}") for value in values] for case, values in found.items()}
    if before["version"] == version and how == "new":
        known = {case: values for case, values in before["numbers"].items() if case in found}
        changed = [case for case, values in known.items() if not alike(values, found[case])]
        assert not changed, (
            f"{owner} gives other numbers in its version {version} ({', '.join(changed)}): raise the version or, if "
            "no result was ever made with the old ones, --record again."
        )
        rounded |= known
    kept[owner] = {"version": version, "numbers": rounded}
    path.write_text(_one_line_each(kept))


def alike(first: list[float], second: list[float]) -> bool:
    """Whether the numbers of two cases are the same up to rounding."""
    return len(first) == len(second) and second == pytest.approx(first, rel=1e-6, abs=1e-9)


def _unlike(owner: str, version: int, kept: dict[str, Any], found: dict[str, list[float]]) -> list[str]:
    """What differs from the recorded numbers, a sentence each."""
    if kept["version"] != version:
        return [f"{owner} has version {version}, and its numbers are of {kept['version']}: record them with --record."]
    numbers = kept["numbers"]
    return [
        *(f"{owner}, {case}: nothing is recorded; add it with --record." for case in found if case not in numbers),
        *(f"{owner}, {case}: there is no such setting any more." for case in numbers if case not in found),
        *(
            f"{owner}, {case}: recorded {numbers[case]}, now {found[case]}; raise the version, or repair it."
            for case in found
            if case in numbers and not alike(numbers[case], found[case])
        ),
    ]


def _one_line_each(kept: dict[str, Any]) -> str:
    owners = []
    for owner, entry in sorted(kept.items()):
        lines = ",\n".join(f"  {json.dumps(case)}: {json.dumps(values)}" for case, values in entry["numbers"].items())
        owners.append(f'{json.dumps(owner)}: {{"version": {entry["version"]}, "numbers": {{\n{lines}\n}}}}')
    return "{\n" + ",\n".join(owners) + "\n}\n"


@pytest.fixture(scope="session")
def golden():
    """Open a file of tensors recorded from the released code; skip if the folder is missing."""
    root = Path(os.environ.get("SKELBENCH_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "golden"

    def load(name):
        import torch

        path = root / name
        if not path.exists():
            pytest.skip(f"the recorded tensors {name} are not available (set SKELBENCH_SHARED)")
        if path.suffix == ".pt":
            return torch.load(path, weights_only=True)
        with np.load(path) as file:
            return {key: file[key] for key in file.files}

    return load


@pytest.fixture
def make_record():
    """Build a record of a cell, with defaults for everything a test does not set."""
    from skelbench.results.record import Best, Cell, Record, Score

    def make(
        *,
        protocol: str = "linear",
        track: Any = "equal",
        label: str | None = None,
        seed: int = 0,
        top1: float | None = 50.0,
        best: float | None = None,
        identity: str = "0123456789abcdef" * 4,
        model: dict[str, Any] | None = None,
        **fields: Any,
    ):
        where: dict[str, Any] = PLACE | {k: fields.pop(k) for k in (*PLACE, "pretrained_on", "variant") if k in fields}
        defaults: dict[str, Any] = {
            "settings": {"lr": 0.1, "seed": seed},
            "versions": {"method": 1, "protocol": 1},
            "environment": {"torch": "2.0", "device": "cpu"},
            "data": {"fingerprint": "aa", "train": 10, "test": 5, "classes": 3, "layout": "ntu25"},
            "model": {"width": 16, "parameters": 836123, "frames": 48, "epochs": 10} | (model or {}),
            "settled": None if where["method"] == "untrained" or top1 is None else "yes",
            "finished": "2024-05-01T12:00:00Z",
        }
        return Record(
            cell=Cell(**where, track=track, label=label, protocol=protocol, seed=seed),
            identity=identity,
            last=None if top1 is None else Score(top1=top1, top5=None),
            best=None if best is None else Best(top1=best, rule="held-out subjects", epoch=5, step=None),
            **(defaults | fields),
        )

    return make


@pytest.fixture(scope="session")
def hashed():
    """The vectors of sentences, computed once."""
    from skelbench.methods.mica import text_bank

    return functools.cache(text_bank.hashed)


@pytest.fixture
def hashed_once(monkeypatch, hashed):
    """Remember the vectors of the four thousand sentences that every step of MICA's begins with."""
    from skelbench.methods.mica import text_bank

    monkeypatch.setattr(text_bank, "hashed", lambda sentences: hashed(tuple(sentences)).copy())


@pytest.fixture
def short_backbone(monkeypatch):
    """Shorten ST-GCN to two blocks, for tests in which its depth only costs time."""
    from skelbench.backbones.stgcn import STGCN

    monkeypatch.setattr(STGCN, "__init__", short_stgcn())


def short_stgcn():
    """An `STGCN.__init__` with the first and the last block only: one without a residual and one with."""
    from torch import nn

    from skelbench.backbones import stgcn

    make, block, last = stgcn.STGCN.__init__, stgcn.Block, 9

    @functools.wraps(make)
    def shortened(self, **how):
        made = []  # the ten blocks; those between cost time and are not made

        def choose(inputs, outputs, joints, *, stride=1, **options):
            if not made:
                made.append(block(inputs, outputs, joints, stride=stride, **options))
            elif len(made) == last:
                made.append(block(made[0].temporal.out_channels, outputs, joints, stride=4, **options))
            else:
                made.append(nn.Identity())
            return made[-1]

        frest_at = {where: (last,) if places else () for where, places in stgcn.FREST_AT.items()}
        with mock.patch.multiple(stgcn, Block=choose, FREST_AT=frest_at):
            make(self, **how)
        self.blocks = nn.ModuleList([made[0], made[last]])

    return shortened


# --- The data set `tiny` ----------------------------------------------------------------------------------------

SUBJECTS, CLASSES = 4, 3


def motions(
    subjects: int = SUBJECTS, classes: int = CLASSES, repetitions: int = 2, frames: tuple[int, int] = (12, 17)
) -> dict[str, Any]:
    """Arrays of an interchange file: each class swings its own limb of the NTU skeleton, one person."""
    rng = np.random.default_rng(3)
    limbs = [list(range(4, 8)), list(range(8, 12)), list(range(12, 16)), list(range(16, 20)), [2, 3], [20, 1]]
    body = rng.normal(size=(25, 3))
    clips, facts = [], []
    for subject in range(1, subjects + 1):
        for label in range(classes):
            for repetition in range(repetitions):
                length = int(rng.integers(*frames))
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


@pytest.fixture(scope="session")
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


# --- Commands ---------------------------------------------------------------------------------------------------


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


@pytest.fixture(scope="session")
def warm(tmp_path_factory):
    """Start programs, or commands, in processes of their own that load nothing again."""
    from .warm import Warm

    if not hasattr(os, "fork"):
        pytest.skip("needs fork and SIGKILL")
    warm = Warm(tmp_path_factory.mktemp("warm"))
    yield warm
    warm.close()


# --- Files ------------------------------------------------------------------------------------------------------


def hashes(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder, by relative path."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture
def tree():
    """Hash of every file below a folder, by relative path: whether anything was written."""
    return hashes


# --- Order ------------------------------------------------------------------------------------------------------

# Modules whose tests take longest, first: what is long and late leaves the other processes without work.
LONGEST = (
    "tests/faults/test_faults.py",
    "tests/benchmark/train/test_trainer.py",
    "tests/benchmark/launchers/test_launchers.py",
    "tests/benchmark/train/test_step.py",
    "tests/benchmark/plan/test_grid.py",
)


@pytest.hookimpl(specname="pytest_collection_modifyitems", trylast=True)
def longest_first(items):
    """Run the longest modules first; the tests of a module stay together, as they share what it sets up."""
    place = {module: number for number, module in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.nodeid.split("::")[0], len(place)))
