"""One file a method: its views, its loss, its released settings, its known deviations."""

from .base import METHODS, Method, MethodConfig, Paper, Progress, create_method

__all__ = ["METHODS", "Method", "MethodConfig", "Paper", "Progress", "create_method"]
