"""Evaluation protocols on frozen features; each registers itself."""

from .base import PROTOCOLS, FeatureProtocol, Features, Fit, Outcome, held_out, run_protocol, top

__all__ = ["PROTOCOLS", "FeatureProtocol", "Features", "Fit", "Outcome", "held_out", "run_protocol", "top"]
