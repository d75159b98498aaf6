"""Packages that only one launcher needs."""

import importlib
from typing import Any

from ...errors import SkelbenchError


def needed(package: str, launcher: str) -> Any:
    """Import a package for a launcher, whose extra installs it. Raises `SkelbenchError` if it is not there."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise SkelbenchError(
            f'The launcher {launcher} needs the package {package}; install it with: pip install "skelbench[{launcher}]"'
        ) from error
