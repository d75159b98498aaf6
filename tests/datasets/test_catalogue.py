import subprocess
import sys
from pathlib import Path

import pytest

import skelbench
from skelbench.datasets import list_stores, open_dataset, open_store
from skelbench.datasets.readers import synthetic
from skelbench.errors import SkelbenchError


@pytest.fixture(autouse=True)
def few_clips(monkeypatch):
    """Generate a small default data set."""
    generate = synthetic.generate
    monkeypatch.setattr(synthetic, "generate", lambda: generate(96))


def test_the_default_data_set_is_generated_on_first_use():
    store = open_dataset("synthetic")
    assert list_stores() == ["synthetic"]
    assert len(store.clips) == 96
    assert open_dataset("synthetic").fingerprint == store.fingerprint


def test_a_store_is_opened_by_name_by_path_and_as_it_is():
    store = open_dataset("synthetic")
    renamed = store.path.rename(store.path.with_name("mine"))
    for dataset in ("mine", renamed, str(renamed), open_store("mine")):
        assert open_dataset(dataset).path == renamed
    opened = open_store("mine")
    assert open_dataset(opened) is opened


def test_a_path_is_not_the_default_data_set(tmp_path):
    with pytest.raises(SkelbenchError, match="is not a data store"):
        open_dataset(tmp_path / "synthetic")
    with pytest.raises(SkelbenchError, match="no data set 'synthetik'"):
        open_dataset("synthetik")
    assert list_stores() == []


def test_the_default_data_set_loads_without_being_prepared():
    train, test = skelbench.load_dataset("synthetic", "xsub", frames=8)
    assert len(train) + len(test) == 96
    assert train.dataset == "synthetic"


def test_data_sets_open_without_torch():
    code = "import sys; from skelbench.datasets import open_dataset; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path.home(), check=False).returncode == 0
