"""One file per method: its views, its loss, its released settings, its known deviations."""

from ..deviation import Deviation
from .base import METHODS, Method, MethodConfig, Paper, Progress, create_method

__all__ = ["METHODS", "Deviation", "Method", "MethodConfig", "Paper", "Progress", "create_method"]
