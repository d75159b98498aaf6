"""Every data set by its name: the stores of the data folder and the embedded default."""

from __future__ import annotations

from pathlib import Path

from .store import Store, open_store
from .synthetic import ensure_synthetic


def open_dataset(dataset: str | Path | Store) -> Store:
    """Open a store by its name, by its path, or as it is; `synthetic` is generated on first use.

    Raises:
        SkelbenchError: if there is no such store or it is damaged.
    """
    if isinstance(dataset, Store):
        return dataset
    return ensure_synthetic() if dataset == "synthetic" else open_store(dataset)
