"""Made-up raw files, written as their sources write them."""

import numpy as np
import pytest


class SkeletonFiles:
    """Writes `.skeleton` files of random bodies."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)

    def body(self, identity="72057594037931101"):
        """One body of one frame: its id and joints (25, 3)."""
        return identity, self.rng.standard_normal((25, 3)).round(7)

    def text(self, frames):
        """The text of a file: `frames` is a list of lists of bodies."""
        lines = [str(len(frames))]
        for bodies in frames:
            lines.append(str(len(bodies)))
            for identity, joints in bodies:
                lines += [f"{identity} 0 1 1 1 1 0 {self.rng.random():.7g} {self.rng.random():.7g} 2", "25"]
                others = self.rng.standard_normal((25, 8))
                lines += [
                    " ".join([*(f"{v:.7f}" for v in joint), *(f"{v:.7g}" for v in other), "2"])
                    for joint, other in zip(joints, others, strict=True)
                ]
        return "\n".join(lines) + "\n"

    def folder(self, path, names, frames=6, persons=1):
        """Write a folder of files of these names, of some frames of so many persons."""
        path.mkdir(parents=True, exist_ok=True)
        for name in names:
            clip = [[self.body(str(100 + m)) for m in range(persons)] for _ in range(frames)]
            (path / f"{name}.skeleton").write_text(self.text(clip))
        return path


@pytest.fixture
def skeleton_files():
    """A writer of `.skeleton` files."""
    return SkeletonFiles()
