"""One file a method: its views, its loss, its released settings, its known deviations."""

from . import skeattnclr, skeletonclr, untrained  # noqa: F401  (they register themselves)
from .base import METHODS, Method, MethodConfig, Paper, Progress, create_method

__all__ = ["METHODS", "Method", "MethodConfig", "Paper", "Progress", "create_method"]
