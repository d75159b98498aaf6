"""The wheel, the listed packages, and which imports load torch."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
NO_SOURCE = (".*", "build", "dist", "runs", "*.egg-info", "__pycache__")


def package_folder(package: str, root: Path) -> Path:
    return root.joinpath(*package.split(".")[1:])


def no_source(folder: str, names: list[str]) -> set[str]:
    """What of a folder is not copied: no source, and of the committed records all but one cell."""
    left_out = set(shutil.ignore_patterns(*NO_SOURCE)(folder, names))
    place = Path(folder).relative_to(ROOT).parts
    if place == ("results", "reference"):
        left_out |= {name for name in names if Path(folder, name).is_dir()} - {"demo"}
    if place == ("results", "reference", "demo"):
        left_out |= set(sorted(names)[1:])
    return left_out


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the checkout in a folder of another name."""
    folder = tmp_path_factory.mktemp("packaging") / "another name"
    return shutil.copytree(ROOT, folder, ignore=no_source)


def test_every_folder_with_code_is_a_listed_package(checkout):
    folders = [file.parent.relative_to(checkout).parts for file in checkout.glob("**/__init__.py")]
    code = {".".join(("skelbench", *parts)) for parts in folders if "tests" not in parts}
    assert code == set(SETUPTOOLS["packages"])


def test_wheel_holds_every_file_below_skelbench_and_nothing_else(checkout):
    wanted = set()
    for package in SETUPTOOLS["packages"]:
        for pattern in ["*.py", *SETUPTOOLS["package-data"].get(package, [])]:
            files = list(package_folder(package, checkout).glob(pattern))
            assert files, f"{package} has no {pattern}"
            wanted |= {"skelbench/" + file.relative_to(checkout).as_posix() for file in files}

    offline = ["--no-build-isolation", "--no-deps", "--no-index"]
    command = [sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", "..", "."]
    built = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = checkout.parent.glob("skelbench-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == wanted


@pytest.mark.parametrize("module", ["skelbench", "skelbench.results", "skelbench.datasets.layout"])
def test_loads_without_torch(module, tmp_path):
    program = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=tmp_path).returncode == 0
