"""Encoders: (N, C, T, V, M) -> (N, M', T', V', D)."""

from .base import BACKBONES, Backbone, create_backbone

__all__ = ["BACKBONES", "Backbone", "create_backbone"]
