"""The example in docs/adding-a-method.md is a method that works."""

import re
from pathlib import Path

import click
import pytest
import torch

from skelbench.methods import METHODS, Progress, create_method
from skelbench.registry import load_plugin

DOCS = Path(__file__).resolve().parents[2] / "docs"


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
    for document in [*DOCS.parent.glob("*.md"), *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_every_command_in_the_documents_has_the_options_it_is_written_with():
    from skelbench.benchmark.cli import main

    for document in [*DOCS.parent.glob("*.md"), *DOCS.glob("*.md")]:
        text = document.read_text().replace("\\\n", " ")
        for line in re.findall(r"(?:^|`)[ $]*skelbench ([^`\n]*)", text, re.MULTILINE):
            words, command = re.split(r"\s{3,}|\s#", line)[0].split(), main
            words = words[next((i for i, word in enumerate(words) if word in main.commands), 0) :]  # behind --plugin
            while isinstance(command, click.Group) and words and words[0] in command.commands:
                command = command.commands[words.pop(0)]
            known = {name for parameter in command.params for name in parameter.opts} | {"--help", "--version"}
            unknown = [word for word in words if word.startswith("--") and word.split("=")[0] not in known]
            assert not unknown, f"{document.name}: skelbench {line}: {unknown}"
