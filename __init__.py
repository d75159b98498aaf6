"""skelbench: the contrastive methods for skeleton-based action recognition, compared in one honest table.

The public names load on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .backbones import BACKBONES, create_backbone
    from .benchmark.evaluate import evaluate
    from .benchmark.run_grid import run_grid
    from .datasets import READERS, prepare
    from .datasets.clips import load_dataset
    from .errors import SkelbenchError
    from .methods import METHODS, create_method
    from .results.frame import load_results

_HOMES = {
    "BACKBONES": "backbones",
    "METHODS": "methods",
    "READERS": "datasets",
    "SkelbenchError": "errors",
    "create_backbone": "backbones",
    "create_method": "methods",
    "evaluate": "benchmark.evaluate",
    "load_dataset": "datasets.clips",
    "load_results": "results.frame",
    "prepare": "datasets",
    "run_grid": "benchmark.run_grid",
}
_FOLDERS = ("backbones", "benchmark", "datasets", "methods", "results")

__all__ = [
    "BACKBONES",
    "METHODS",
    "READERS",
    "SkelbenchError",
    "create_backbone",
    "create_method",
    "evaluate",
    "load_dataset",
    "load_results",
    "prepare",
    "run_grid",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    if name in _FOLDERS:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_FOLDERS, "__version__"])
