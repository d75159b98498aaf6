"""The readers: each turns raw files of one source into a `Recording`; none needs torch.

A reader is a function of the sources (files, folders, zips); its keyword-only arguments are its options, each with a
default and a type. Every module here registers itself; `prepared` holds the formats that other projects' scripts
write, which the reader `auto` recognises.
"""

from __future__ import annotations

from collections.abc import Callable

from ...registry import Registry
from ..recording import Recording

Reader = Callable[..., Recording]
READERS: Registry[Reader] = Registry("reader", "skelbench.readers", home=__package__)
