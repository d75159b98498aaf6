"""Raw files to a store, a store to clips on a device."""

from .catalogue import open_dataset
from .readers import READERS, prepare
from .store import Clip, Recording, SplitRule, Store, list_stores, open_store
from .synthetic import ensure_synthetic

__all__ = [
    "READERS",
    "Clip",
    "Recording",
    "SplitRule",
    "Store",
    "ensure_synthetic",
    "list_stores",
    "open_dataset",
    "open_store",
    "prepare",
]
