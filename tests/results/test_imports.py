import pkgutil
import subprocess
import sys
from pathlib import Path

import skelbench.results

MODULES = [module.name for module in pkgutil.walk_packages(skelbench.results.__path__, "skelbench.results.")]


def test_what_is_loaded_are_all_parts_of_results():
    below = {".".join(name.split(".")[2:-1]) for name in MODULES}
    assert below == {"", "check", "exchange", "plots", "site", "status", "tables", "writers"}


def test_results_load_without_torch_and_other_heavy_packages(tmp_path):
    """A fresh interpreter, with the checkout under the name of the package whatever its folder is called."""
    root = Path(skelbench.results.__file__ or "").resolve().parents[1]
    (tmp_path / "skelbench").symlink_to(root, target_is_directory=True)
    heavy = "{'torch', 'timm', 'pandas', 'matplotlib', 'sklearn', 'jinja2'} & set(sys.modules)"
    names = ", ".join(MODULES)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import {names}; sys.exit(str({heavy} or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
