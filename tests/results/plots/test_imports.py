import subprocess
import sys
from pathlib import Path

import skelbench.results.plots as plots

MODULES = sorted(path.stem for path in Path(plots.__file__ or "").parent.glob("*.py") if path.stem != "__init__")


def test_figures_load_without_torch_and_matplotlib():
    """A fresh interpreter; matplotlib is loaded when something is drawn, not on import."""
    names = ", ".join(f"skelbench.results.plots.{name}" for name in MODULES)
    code = f"import sys; import {names}; sys.exit(str({{'torch', 'sklearn', 'matplotlib'}} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_drawing_needs_no_torch(tmp_path):
    """The figure of stored points, drawn where torch cannot be imported."""
    (tmp_path / "tsne.csv").write_text("name,label,x,y\na,walk,0.0,1.0\nb,run,1.0,0.5\n")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from skelbench.results.plots.tsne import draw_tsne, read_tsne\n"
        f"print(len(draw_tsne(read_tsne(Path({str(tmp_path)!r})))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 1000


def test_the_list_of_figures_is_not_empty():
    assert {"attention", "confusion", "curves", "skeleton", "transfer", "tsne"} <= set(MODULES)
