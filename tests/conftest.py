"""What holds for every test: one thread a process, no network, no data but its own."""

import functools
import os
from pathlib import Path

import numpy as np
import pytest

# Before torch loads, and inherited by subprocesses: pytest-xdist already gives each core a process.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(autouse=True)
def own_data(tmp_path, monkeypatch):
    """Keep a test from reading or writing the user's datasets."""
    monkeypatch.setenv("SKELBENCH_DATA", str(tmp_path / "data"))


@pytest.fixture(scope="session")
def golden():
    """Open a file of tensors recorded from the released code, or skip where that folder is absent."""
    root = Path(os.environ.get("SKELBENCH_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "golden"

    def load(name):
        import torch

        path = root / name
        if not path.exists():
            pytest.skip(f"the recorded tensors {name} are not at hand (set SKELBENCH_SHARED)")
        if path.suffix == ".pt":
            return torch.load(path, weights_only=True)
        with np.load(path) as file:
            return {key: file[key] for key in file.files}

    return load


@pytest.fixture
def short_backbone(monkeypatch):
    """Leave ST-GCN two blocks: for tests in which its depth changes only the time."""
    from skelbench.backbones.stgcn import STGCN

    monkeypatch.setattr(STGCN, "__init__", short_stgcn())


def short_stgcn():
    """An `STGCN.__init__` that leaves a block without a residual and one with."""
    from torch import nn

    from skelbench.backbones.frest import FreST
    from skelbench.backbones.stgcn import STGCN, Block

    make = STGCN.__init__

    @functools.wraps(make)
    def shortened(self, **how):
        make(self, **how)
        blocks = self.blocks
        width, joints = blocks[0].temporal.out_channels, len(self.adjacency[0])
        last = Block(width, self.dim, joints, stride=4)
        last.frest = FreST(self.dim, joints) if self.has_frest else None
        self.blocks = nn.ModuleList([blocks[0], last])

    return shortened
