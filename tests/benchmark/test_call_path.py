"""From `skelbench grid` to the loss of a method: the calls that docs/architecture.md lists, and no others."""

import re
import sys
import traceback
from pathlib import Path

from skelbench.methods import METHODS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def test_the_page_lists_every_call_from_the_command_to_the_loss(store, grid_file, skelbench, tmp_path, monkeypatch):
    kind, stacks = METHODS["skeletonclr"], []
    loss = kind.loss

    def spy(self, *given, **more):
        stacks.append([frame.f_code for frame, _ in traceback.walk_stack(sys._getframe(1))])
        return loss(self, *given, **more)

    monkeypatch.setattr(kind, "loss", spy)
    file = grid_file(methods=["skeletonclr"], protocols=["knn"])
    skelbench("grid", file, "--out", tmp_path / "runs", "--device", "cpu", "--no-floor")
    calls = [
        (code.co_qualname, Path(code.co_filename).relative_to(ROOT).as_posix())
        for code in reversed(stacks[0])
        if code.co_filename.startswith(str(ROOT)) and not {".venv", "tests"} & set(Path(code.co_filename).parts)
    ]
    start = calls.index(("grid", "benchmark/cli/run.py"))
    listed = re.findall(r"^\| \d+ \| `([\w.]+)` \| `([\w/.]+)` \|$", PAGE, re.MULTILINE)
    assert [*calls[start:], (loss.__qualname__, "methods/skeletonclr.py")] == listed
    assert len(listed) <= 12
