"""Small methods and clips for whole steps, with every setting that has a schedule or draws in use."""

from typing import Any

import torch

from skelbench.datasets.clips import Clips
from skelbench.datasets.layout import get_layout
from skelbench.methods import METHODS, create_method
from skelbench.methods.recipe import Recipe

TRAINABLE = [name for name in METHODS if METHODS[name].trainable]
SIZES = {"feature_dim": 8, "queue_size": 20, "heads": 4, "window": (1, 2), "momentum": 0.9, "mining_epoch": 1}
CLIPS, BATCH, FRAMES = 12, 6, 16
BACKBONE_ARGS = {  # of every backbone in the registry
    "stgcn": {"width": 4, "dim": 16, "dropout": 0.5},
    "bigru": {"hidden": 8, "num_layers": 2, "dropout": 0.5},
    "dsta": {"blocks": ((16, 16, 4, 1), (16, 32, 4, 2), (32, 32, 4, 2)), "dropout": 0.5},
    "images": {"model": "test_resnet", "size": 32},
}


def small(
    name: str,
    *,
    backbone: str = "stgcn",
    stream: str = "joint",
    dropout: float = 0.5,
    class_names: Any = (),
    **settings: Any,
) -> Any:
    """A small method in training mode; settings that it does not have are left out."""
    torch.manual_seed(0)
    drops = {"dropout": dropout} if "dropout" in BACKBONE_ARGS[backbone] else {}
    fields = METHODS[name].Config.model_fields
    return create_method(
        name,
        backbone=backbone,
        backbone_args=BACKBONE_ARGS[backbone] | drops,
        num_frames=FRAMES,
        stream="all" if METHODS[name].streams_together else stream,
        class_names=class_names,
        **{key: value for key, value in (SIZES | settings).items() if key in fields},
    ).train()


def small_clips(device: str = "cpu") -> Clips:
    """Clips (12, 3, 16, 25, 2) of three classes and four subjects; the second person of the first is absent."""
    x = torch.randn(CLIPS, 3, FRAMES, 25, 2, generator=torch.Generator().manual_seed(5))
    x[0, ..., 1] = 0
    names = tuple(f"clip {i}" for i in range(CLIPS))
    label, subject = torch.arange(CLIPS) % 3, torch.arange(CLIPS) // 3
    return Clips(x.to(device), label.to(device), names, subject, get_layout("ntu25"), ("a", "b", "c"), "made up", "")


def small_recipe(**settings: Any) -> Recipe:
    """Two epochs of two batches."""
    return Recipe(**{"source": "a test", "frames": FRAMES, "epochs": 2, "batch": BATCH, "lr": 0.01} | settings)
