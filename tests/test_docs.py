"""The example in docs/adding-a-method.md is a method that works."""

import re
from pathlib import Path

import pytest
import torch

from skelbench.methods import METHODS, Progress, create_method
from skelbench.registry import load_plugin

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture
def example(tmp_path):
    text = (DOCS / "adding-a-method.md").read_text()
    path = tmp_path / "simskel.py"
    path.write_text(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0])
    load_plugin(path)
    yield "simskel"
    del METHODS._entries["simskel"]


def test_the_documented_method_learns_to_tell_clips_apart(example):
    torch.manual_seed(0)
    method = create_method(
        example,
        backbone_args={"width": 4, "dim": 16, "dropout": 0.0},
        num_frames=16,
        num_persons=1,
        init="torch",
    )
    optimiser = torch.optim.SGD(method.parameters(), lr=0.01, momentum=0.9)
    x = torch.randn(8, 3, 1, 25, 1).expand(-1, -1, 16, -1, -1)  # eight still poses
    losses = []
    for step in range(60):
        draws = method.draw(x, torch.Generator().manual_seed(step))
        loss = method.loss(method.views(x, draws), draws=draws)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        method.after_step(Progress(1, step, 60, 1))
        losses.append(loss.item())
    assert losses[0] == pytest.approx(torch.log(torch.tensor(8.0)).item(), abs=0.5)
    assert min(losses[-5:]) < 0.7 * losses[0]


def test_every_link_between_the_documents_leads_somewhere():
    for document in [DOCS.parent / "README.md", *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
