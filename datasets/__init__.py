"""Prepare raw files into stores, and load stores as clips on a device."""

from .catalogue import ensure_synthetic, open_dataset
from .prepare import prepare
from .readers import READERS
from .recording import Clip, Items, Recording, Rejected, SplitRule, UnusableError
from .store import Store, list_stores, open_store

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
