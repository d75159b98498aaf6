"""Open data sets by name: the stores of the data folder and the embedded default."""

from __future__ import annotations

from pathlib import Path

from .prepare import prepare
from .readers import synthetic
from .store import Store, list_stores, open_store


def open_dataset(dataset: str | Path | Store) -> Store:
    """Open a store by its name, by its path, or as it is; `synthetic` is generated on first use.

    Raises:
        SkelbenchError: if there is no such store or it is damaged.
    """
    if isinstance(dataset, Store):
        return dataset
    return ensure_synthetic() if dataset == "synthetic" else open_store(dataset)


def ensure_synthetic() -> Store:
    """Open the store `synthetic` of the data folder; generate it first if it is missing or of an older version."""
    if "synthetic" in list_stores():
        store = open_store("synthetic")
        if store.manifest["reader"] != "synthetic" or store.manifest["reader_version"] == synthetic.VERSION:
            return store
    return prepare("synthetic", Path())
