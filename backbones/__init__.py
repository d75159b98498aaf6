"""Encoders: (N, C, T, V, M) -> (N, M', T', V', D)."""

from . import stgcn  # noqa: F401  (registers itself)
from .base import BACKBONES, Backbone, create_backbone, load_weights

__all__ = ["BACKBONES", "Backbone", "create_backbone", "load_weights"]
