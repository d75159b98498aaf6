"""Evaluation protocols, on frozen features or training the encoder; each registers itself."""

from .base import (
    PROTOCOLS,
    EpisodeProtocol,
    FeatureProtocol,
    Features,
    Fit,
    Outcome,
    TuningProtocol,
    held_out,
    run_protocol,
    top,
)

__all__ = [
    "PROTOCOLS",
    "EpisodeProtocol",
    "FeatureProtocol",
    "Features",
    "Fit",
    "Outcome",
    "TuningProtocol",
    "held_out",
    "run_protocol",
    "top",
]
