"""Grids over the data set `tiny`, settings that run in a blink, and a finished grid to read or to copy."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from filelock import FileLock

from ..conftest import command, motions, short_stgcn

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


@pytest.fixture(autouse=True)
def two_blocks(request):
    """Shorten ST-GCN in every test but those marked `full_depth`."""
    if not request.node.get_closest_marker("full_depth"):
        request.getfixturevalue("short_backbone")


@pytest.fixture
def clips(store):
    """Both sides of `tiny`, 16 frames."""
    from skelbench.datasets.clips import load_dataset

    return load_dataset(store, "xsub", frames=16)


def write_grid(path: Path, **changes: object) -> Path:
    """Write a grid file over the data set `tiny`."""
    from skelbench.methods import METHODS

    own = [name for name in METHODS if not METHODS[name].imported_only]
    floors_first = sorted(own, key=lambda name: METHODS[name].trainable)
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


# --- Finished grids ---------------------------------------------------------------------------------------------


class Finished:
    """A finished grid: its folders of data and of runs, and what it printed."""

    def __init__(self, folder: Path):
        self.folder, self.data, self.runs = folder, folder / "data", folder / "runs"

    @property
    def output(self) -> str:
        return (self.folder / "output.txt").read_text()

    def stamps(self) -> dict[str, tuple[int, int]]:
        """Size and time of the last change of every file."""
        found = ((path, path.stat()) for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): (stat.st_size, stat.st_mtime_ns) for path, stat in found}


def run_grid(folder: Path, **changes: object) -> Finished:
    """Run a grid over the data set `tiny` in a folder of its own, unless another process of the tests did."""
    from skelbench.backbones.stgcn import STGCN

    done = Finished(folder)
    with FileLock(f"{folder}.lock"):
        if (folder / "output.txt").exists():
            return done
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SKELBENCH_DATA", str(done.data))
            patch.setattr(STGCN, "__init__", short_stgcn())
            np.savez(folder / "tiny.npz", **motions())
            command("prepare", "arrays", "--from", folder / "tiny.npz", "--name", "tiny")
            file = write_grid(folder / "tiny.yaml", **changes)
            result = command("grid", file, "--out", done.runs, "--device", "cpu")
        (folder / "output.txt").write_text(result.stdout)
    return done


def shared_folder(factory: pytest.TempPathFactory, name: str) -> Path:
    """A folder that all processes of the tests share."""
    base = factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory):
    """The grid `tiny`, run once by whichever process of the tests needs it first."""
    return run_grid(shared_folder(tmp_path_factory, "finished"))


@pytest.fixture
def look(monkeypatch):
    """Look at a finished grid that other tests look at too; in the end nothing may have been written there."""
    looked: list[tuple[Finished, Any]] = []

    def at(grid: Finished) -> Path:
        monkeypatch.setenv("SKELBENCH_DATA", str(grid.data))
        looked.append((grid, grid.stamps()))
        return grid.runs

    yield at
    for grid, before in looked:
        assert grid.stamps() == before, "a test that only reads has written: it needs a copy"


@pytest.fixture
def own(tmp_path):
    """Copy a finished grid and its data, so that a test may change them; the folder of runs."""

    def copied(grid: Finished) -> Path:
        shutil.copytree(grid.data, tmp_path / "data", dirs_exist_ok=True)
        return shutil.copytree(grid.runs, tmp_path / "runs")

    return copied


@pytest.fixture
def finished(finished_once, look):
    """The folder of runs of a finished grid, to read; its data set is the one that is found."""
    return look(finished_once)


@pytest.fixture
def finished_copy(finished_once, own):
    """A copy of a finished grid and its data, which a test may change; the folder of runs."""
    return own(finished_once)


@pytest.fixture
def golden_json():
    """Open a recorded JSON file, or skip where that folder is absent."""
    root = Path(os.environ.get("SKELBENCH_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "golden"

    def load(name: str):
        if not (root / name).exists():
            pytest.skip(f"the recorded values {name} are not at hand (set SKELBENCH_SHARED)")
        return json.loads((root / name).read_text())

    return load
