"""Raw files to a store, a store to clips on a device."""

from .catalogue import open_dataset
from .readers import READERS, prepare
from .recording import Clip, Items, Recording, Rejected, SplitRule, UnusableError
from .store import Store, list_stores, open_store
from .synthetic import ensure_synthetic

__all__ = [
    "READERS",
    "Clip",
    "Items",
    "Recording",
    "Rejected",
    "SplitRule",
    "Store",
    "UnusableError",
    "ensure_synthetic",
    "list_stores",
    "open_dataset",
    "open_store",
    "prepare",
]
