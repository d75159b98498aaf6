"""Raw files to a store, a store to clips on a device.

Names load on first use: `datasets.layout` and the readers do without torch, `datasets.clips` does not.
"""

from .readers import READERS, prepare
from .store import Clip, Recording, SplitRule, Store, list_stores, open_store

__all__ = ["READERS", "Clip", "Recording", "SplitRule", "Store", "list_stores", "open_store", "prepare"]

from . import arrays  # noqa: E402, F401  (registers itself)
