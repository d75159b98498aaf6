import subprocess
import sys
from pathlib import Path

import skelbench.results

MODULES = sorted(path.stem for path in Path(skelbench.results.__file__ or "").parent.glob("*.py"))


def test_results_load_without_torch(tmp_path):
    """A fresh interpreter, with the checkout under the name of the package whatever its folder is called."""
    root = Path(skelbench.results.__file__ or "").resolve().parents[1]
    (tmp_path / "skelbench").symlink_to(root, target_is_directory=True)
    names = ", ".join(f"skelbench.results.{name}" for name in MODULES if name != "__init__")
    heavy = "{'torch', 'timm', 'pandas', 'matplotlib'} & set(sys.modules)"
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import {names}; sys.exit(str({heavy} or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
