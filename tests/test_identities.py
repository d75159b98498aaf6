"""The committed records keep their identities: planned again from their contents, they are the same cells.

A change that fails this test would make a grid train again, and its new records would not match the old ones. Records
of an older version of a method, a protocol or the pre-training are planned with that version: nothing else may differ.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from skelbench.benchmark.plan import identity
from skelbench.benchmark.protocols import PROTOCOLS
from skelbench.benchmark.run import baselines
from skelbench.benchmark.run.baselines import RawSplit
from skelbench.benchmark.run.reproduce import plan_again
from skelbench.methods import METHODS
from skelbench.results.record import PRETRAIN, RAW
from skelbench.results.store import RunStore

REFERENCE = Path(__file__).resolve().parents[1] / "results" / "reference"
FOLDERS = sorted(path for path in REFERENCE.iterdir() if path.is_dir())


@pytest.fixture
def as_made(monkeypatch):
    """Set the versions to those of a record."""

    def set_versions(record, pretrainings):
        versions, cell = record.versions, record.cell
        own = record.identity if cell.protocol == PRETRAIN else record.pretrain
        monkeypatch.setattr(identity, "PRETRAIN_VERSION", pretrainings.get(own, 1))
        if cell.method == RAW:
            monkeypatch.setattr(baselines, "VERSION", versions["protocol"])
            return
        monkeypatch.setattr(METHODS[cell.method], "version", versions["method"])
        if cell.protocol != PRETRAIN:
            monkeypatch.setattr(PROTOCOLS[cell.protocol], "version", versions["protocol"], raising=False)

    return set_versions


def planned(record):
    """Identity of the pre-training behind a record, and its own."""
    store = SimpleNamespace(name=record.cell.dataset, fingerprint=record.data["fingerprint"])
    if record.cell.method == RAW:
        place = RawSplit(store, record.cell.split, record.settings["frames"])  # type: ignore[arg-type]
        return None, dict(place.cells())[record.cell]
    task = plan_again(record, store)  # type: ignore[arg-type]
    evaluations = dict(task.evaluations)
    return (task.identity, evaluations[record.cell]) if evaluations else (None, task.identity)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_committed_record_is_planned_under_its_own_identity(folder, as_made):
    records = RunStore(folder).records()
    assert records
    pretrainings = {one.identity: one.versions["protocol"] for one in records if one.cell.protocol == PRETRAIN}
    for record in records:
        as_made(record, pretrainings)
        assert planned(record) == (record.pretrain, record.identity), record.cell


def test_every_folder_of_committed_records_is_covered():
    files = list(REFERENCE.rglob("record.json"))
    assert len(files) == sum(len(RunStore(folder).records()) for folder in FOLDERS) > 150
    assert len({json.loads(file.read_text())["identity"] for file in files}) > 150
