"""A minimal data set and runs, and lives: commands that each run in a forked process.

torch is imported once. A life sees only what the earlier lives left on disk.
"""

import hashlib
import json
import os
import runpy
import shutil
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skelbench.benchmark.cli import main
from skelbench.benchmark.train.checkpoint import read_tensors
from skelbench.datasets.store import Store
from skelbench.errors import SkelbenchError
from skelbench.results import files
from skelbench.results.store import read_record

motions = runpy.run_path(str(Path(__file__).parents[1] / "conftest.py"))["motions"]
SETTINGS = {
    "frames": 8, "epochs": 3, "batch": 4, "snapshots": [1], "backbone.hidden": 2,
    "method.feature_dim": 4, "method.queue_size": 4, "linear.epochs": 3,
}  # fmt: skip


@dataclass(frozen=True)
class End:
    """How a life ended: its exit code (negative: the signal) and its output."""

    code: int
    said: str


class World:
    """A folder with raw data, prepared data and runs."""

    def __init__(self, root: Path):
        self.root = root
        self.runs = root / "runs"
        self.store = root / "data" / "tiny"

    @property
    def run(self) -> list[str]:
        """The command that pre-trains and evaluates."""
        pairs = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={json.dumps(value)}")]
        place = ["--dataset", "tiny", "--out", str(self.runs), "--device", "cpu", "--checkpoint-every", "0"]
        return ["run", "--method", "skeletonclr", "--backbone", "bigru", *place, *pairs]

    @property
    def prepare(self) -> list[str]:
        """The command that prepares the data."""
        return ["prepare", "arrays", "--from", str(self.root / "tiny.npz"), "--name", "tiny", "--force"]

    @property
    def table(self) -> list[str]:
        """The command that shows the results."""
        return ["leaderboard", "--out", str(self.runs), "--format", "json"]

    def live(self, command: list[str], arm: Callable[[], Any] = lambda: None) -> End:
        """Run a command in a forked process, in which ``arm`` is called first."""
        return self.end(self.begin(command, arm))

    def begin(self, command: list[str], arm: Callable[[], Any] = lambda: None) -> int:
        """Start a life; return its process id."""
        child = os.fork()
        if not child:
            _be(command, arm, self.root)
        return child

    def end(self, child: int) -> End:
        """Wait until a life has ended."""
        _, status = os.waitpid(child, 0)
        return End(os.waitstatus_to_exitcode(status), (self.root / f"said-{child}.txt").read_text(errors="replace"))

    def copy(self, to: Path) -> "World":
        """Copy the world to another folder."""
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.root, to)
        return World(to)


def _be(command: list[str], arm: Callable[[], Any], root: Path) -> None:
    """Run as a life: the command's output goes to a file, and so do the counts of what ``arm`` returned, if any."""
    code, armed, count = 70, None, -1
    try:
        for stream in (1, 2):
            os.dup2(os.open(root / f"said-{os.getpid()}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        count = os.open(root / "counted", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.environ["SKELBENCH_DATA"] = str(root / "data")
        armed = arm()
        main.main(args=command, prog_name="skelbench", standalone_mode=True)
    except SystemExit as end:
        sys.setprofile(None)
        os.write(count, str(getattr(armed, "count", 0)).encode())
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def warm(world: World) -> None:
    """Run each command once in this process, so that lazy imports are loaded once and not in every life."""
    os.environ["SKELBENCH_DATA"] = str(world.root / "data")
    export = ["results", "export", str(world.root / "out.zip"), "--out", str(world.runs)]
    for command in (world.prepare, world.run, world.table, export):
        with (world.root / "warm.txt").open("w") as log, redirect_stdout(log), redirect_stderr(log):
            main.main(args=command, prog_name="skelbench", standalone_mode=False)


def make_raw(path: Path) -> None:
    """Sixteen clips of two classes and four subjects."""
    np.savez(path, **motions(subjects=4, classes=2, frames=(8, 9)))


def results(runs: Path) -> dict[str, str]:
    """Digest of every readable record and its files, by cell; values that depend on time are left out."""
    found = {}
    for path in sorted(runs.glob("*/record.json")):
        try:
            found |= _result(path.parent)
        except SkelbenchError:
            continue
    return found


def _result(folder: Path) -> dict[str, str]:
    record = read_record(folder)
    facts = record.model_dump(mode="json", exclude={"cost", "finished", "environment", "versions"})
    for name, file in record.files.items():
        facts[f"file {name}"] = _content(name, folder / file)
    for path in sorted(folder.glob("encoder-*.pt")):
        facts[path.name] = _digest({name: value.numpy().tobytes().hex() for name, value in read_tensors(path).items()})
    return {f"{record.cell} {record.identity}": _digest(facts)}


def _content(name: str, path: Path) -> Any:
    if name == "scores":
        return [part.tobytes().hex() for part in files.read_scores(path)]
    if name == "confusion":
        names, counts = files.read_confusion(path)
        return names, counts.tolist()
    if name == "per_class":
        return files.read_per_class(path)
    return files.read_curve(path, "loss", "top1")


def intact_store(path: Path) -> str | None:
    """Digest of a store; None if it is missing or fails verification."""
    try:
        store = Store(path)
        store.verify()
    except SkelbenchError:
        return None
    return _digest([store.fingerprint, hashlib.sha256(store.keypoints.tobytes()).hexdigest(), store.clips])


def intact_checkpoints(runs: Path) -> bool:
    """Whether every readable checkpoint has finite values only."""
    for path in runs.glob("*/checkpoint*.pt"):
        try:
            state = read_tensors(path)["method"]
        except SkelbenchError:
            continue
        if not all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point()):
            return False
    return True


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
