"""The checks of `skelbench doctor`."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ...datasets.store import Store, data_folder, list_stores
from ...errors import SkelbenchError
from ...results.store import RunStore
from ..speed.step import device_name
from ..train.devices import choose_device

PACKAGES = (
    "torch", "numpy", "click", "rich", "jinja2", "pandas", "pyyaml", "timm", "safetensors", "pydantic",
    "platformdirs", "filelock",
)  # fmt: skip


def examine(out: Path) -> Iterator[tuple[str, bool, str]]:
    """Yield (name, passed, text) of every check; no file is left behind."""
    yield "python", True, platform.python_version()
    for package in PACKAGES:
        try:
            yield package, True, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            yield package, False, f"missing; pip install {package}"
    device = choose_device("auto")
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    yield "device", True, f"{device} ({name}), {torch.get_num_threads()} threads"
    result = torch.nn.functional.conv2d(torch.ones(1, 2, 4, 4, device=device), torch.ones(2, 2, 3, 3, device=device))
    yield "arithmetic", bool((result == 18).all()), "a convolution gives the expected result"
    for place, folder in (("data folder", data_folder()), ("runs folder", out)):
        yield _folder(place, folder)
    for dataset in list_stores():
        yield _dataset(dataset)


def describe(device: str) -> dict[str, Any]:
    """What a report says of the machine: its device, system, threads, and on CUDA its version and memory in GB."""
    cuda = device.startswith("cuda")
    return {
        "device": device,
        "name": device_name(device),
        "system": platform.platform(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if cuda else None,
        "memory_gb": round(torch.cuda.mem_get_info(device)[1] / 1e9, 1) if cuda else None,
    }


def _folder(place: str, folder: Path) -> tuple[str, bool, str]:
    try:
        RunStore(folder).check_writable()
    except SkelbenchError as error:
        return place, False, str(error)
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    return place, free > 1, f"{folder} (writable, {free:.0f} GB free)"


def _dataset(name: str) -> tuple[str, bool, str]:
    try:
        store = Store(data_folder() / name)
        store.verify()
    except Exception as error:  # a broken data set must not stop the other checks
        return f"data set {name}", False, " ".join(str(error).split()) or type(error).__name__
    return f"data set {name}", True, f"{len(store.clips):,} clips, checksums fit"
