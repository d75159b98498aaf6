"""The source of a file: its own text and that of the local modules that it imports, and nothing else."""

import sys

import pytest

from skelbench.errors import SkelbenchError
from skelbench.sources import source_of_file

FILES = {
    "mine.py": "import json\nimport helper\nfrom pack import inner\n\n\ndef later():\n    import lazy\n",
    "helper.py": "from deeper import VALUE\n",
    "deeper.py": "VALUE = 1\n",
    "lazy.py": "VALUE = 1\n",
    "pack/__init__.py": "",
    "pack/inner.py": "from . import beside\nfrom .sub.low import VALUE\n",
    "pack/beside.py": "VALUE = 1\n",
    "pack/sub/low.py": "VALUE = 1\n",  # a package without __init__.py
    "pack/unused.py": "VALUE = 1\n",
    "unused.py": "VALUE = 1\n",
    "json.py": "VALUE = 1\n",  # the standard library comes first
    "site-packages/installed.py": "VALUE = 1\n",
}
COUNTED = {
    "mine.py", "helper.py", "deeper.py", "lazy.py", "pack/__init__.py", "pack/inner.py", "pack/beside.py",
    "pack/sub/low.py",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of modules, on the path where Python looks for them."""
    for name, text in FILES.items():
        file = tmp_path / "code" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.syspath_prepend(tmp_path / "code" / "site-packages")
    return tmp_path / "code"


def version(folder, name="mine.py"):
    return source_of_file(folder / name).version


def test_it_has_the_imported_files_also_indirect_and_late_ones(folder):
    source = source_of_file(folder / "mine.py")
    assert source.files[0] == folder / "mine.py"
    assert {file.relative_to(folder).as_posix() for file in source.files} == COUNTED
    assert (source.name, source.installed) == ("mine.py", False)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_changes_it_exactly_if_it_is_imported(folder, name):
    with (folder / "mine.py").open("a") as file:
        file.write("import installed\n")
    before = version(folder)
    with (folder / name).open("a") as file:
        file.write("# a remark\n")
    assert (version(folder) != before) == (name in COUNTED)


def test_the_names_of_folder_and_file_do_not_count_but_those_of_modules_do(folder):
    before = version(folder)
    (folder / "mine.py").rename(folder / "renamed.py")
    assert version(folder, "renamed.py") == before
    (folder / "helper.py").rename(folder / "other.py")
    (folder / "renamed.py").write_text(FILES["mine.py"].replace("helper", "other"))
    assert version(folder, "renamed.py") != before


def test_modules_that_import_each_other_and_text_that_is_no_python_are_taken_as_they_are(folder):
    (folder / "deeper.py").write_text("import helper\n")
    (folder / "lazy.py").write_text("def (:\n")
    assert len(source_of_file(folder / "mine.py").files) == len(COUNTED)


def test_a_module_of_which_another_source_has_one_of_the_same_name_is_an_error(folder, tmp_path, monkeypatch):
    first = source_of_file(folder / "mine.py")
    other = tmp_path / "other"
    other.mkdir()
    (other / "helper.py").write_text("VALUE = 2\n")
    (other / "yours.py").write_text("import helper\n")
    monkeypatch.syspath_prepend(other)
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(SkelbenchError, match=r"other/helper\.py cannot be imported: another plugin has loaded .*code"):
        source_of_file(other / "yours.py", [first])
    monkeypatch.setattr(sys, "path", [str(other), *sys.path])
    assert source_of_file(other / "yours.py", [first]).files == (other / "yours.py", other / "helper.py")
