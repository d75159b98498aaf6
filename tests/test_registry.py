"""The registry: duplicates, unknown names, order, places, entries of installed packages and plugin files."""

import importlib.metadata
import sys
from types import SimpleNamespace

import pytest

from skelbench.errors import SkelbenchError
from skelbench.registry import Registry, did_you_mean, load_plugin


def entry_one():
    """A dummy entry."""


def entry_two():
    """Another dummy entry."""


@pytest.fixture
def registry():
    registry = Registry("method")
    registry.add("skeletonclr", entry_two)
    registry.add("aimclr", entry_one)
    return registry


@pytest.fixture
def installed(monkeypatch):
    """Pretend that packages with entry points are installed; group -> [(name, what loading it does)]."""
    points, loaded = {}, []

    def entry_points(*, group):
        def point(name, load):
            def counted():
                loaded.append(name)
                return load()

            return SimpleNamespace(name=name, value=f"package:{name}", load=counted, dist=None)

        return [point(name, load) for name, load in points.get(group, [])]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    return SimpleNamespace(points=points, loaded=loaded)


def test_entries_come_back_by_name_and_names_in_alphabetical_order(registry):
    assert registry["skeletonclr"] is entry_two
    assert list(registry) == ["aimclr", "skeletonclr"]
    assert len(registry) == 2
    assert "aimclr" in registry
    assert "moco" not in registry


def test_the_decorator_files_and_returns_what_it_decorates(registry):
    @registry.register("mine")
    class Mine:
        pass

    assert registry["mine"] is Mine
    assert Mine.__name__ == "Mine"


def test_a_name_taken_twice_is_an_error_that_names_both_places(registry):
    with pytest.raises(SkelbenchError) as caught:
        registry.add("aimclr", entry_two)
    text = str(caught.value)
    assert "The method 'aimclr' is registered twice" in text
    assert text.count("test_registry.py:") == 2
    assert registry["aimclr"] is entry_one, "the first one stays"


@pytest.mark.parametrize(
    "name, end",
    [
        ("skeletonclrr", "; did you mean 'skeletonclr'?"),
        ("skeleton", "; did you mean 'skeletonclr'?"),
        ("zzz", "; known: aimclr, skeletonclr."),
    ],
)
def test_a_miss_says_what_was_probably_meant(registry, name, end):
    with pytest.raises(SkelbenchError) as caught:
        registry[name]
    assert str(caught.value) == f"There is no method '{name}'{end}"


def test_a_hint_names_at_most_three_and_says_when_there_is_nothing():
    close = did_you_mean("epoch", ["epochs", "epoch_", "xepoch", "epochx", "lr"])
    assert close.count(" or ") == 2
    assert did_you_mean("epoch", []) == "; known: none."


def test_an_entry_knows_its_file_and_line(registry):
    file, _, line = registry.place("aimclr").rpartition(":")
    assert file == __file__
    assert int(line) == entry_one.__code__.co_firstlineno
    registry.add("a value", 3)
    assert registry.place("a value") == "an unknown place"
    with pytest.raises(SkelbenchError, match="no method 'none'"):
        registry.place("none")


# --- Installed packages -----------------------------------------------------------------------------------------


def test_entry_points_of_the_group_are_loaded_on_first_use_and_once(installed):
    installed.points["skelbench.methods"] = [("theirs", lambda: entry_one)]
    installed.points["skelbench.readers"] = [("other", lambda: entry_two)]
    registry = Registry("method", "skelbench.methods")
    registry.add("ours", entry_two)
    assert installed.loaded == [], "nothing is imported until a name is asked for"
    assert list(registry) == ["ours", "theirs"]
    assert registry["theirs"] is entry_one
    assert len(registry) == 2
    assert installed.loaded == ["theirs"]


@pytest.mark.parametrize(
    "use", [list, len, lambda r: r["theirs"], lambda r: "theirs" in r, lambda r: r.place("theirs")]
)
def test_every_way_to_ask_loads_them(installed, use):
    installed.points["skelbench.methods"] = [("theirs", lambda: entry_one)]
    use(Registry("method", "skelbench.methods"))
    assert installed.loaded == ["theirs"]


def test_an_entry_point_may_be_a_module_that_registers_itself(installed):
    registry = Registry("method", "skelbench.methods")

    def imported():
        registry.add("theirs", entry_one)
        return sys

    installed.points["skelbench.methods"] = [("theirs", imported)]
    assert registry["theirs"] is entry_one


def test_a_package_that_fails_on_import_is_one_clear_error(installed):
    def broken():
        raise ImportError("no module named 'nothing'")

    installed.points["skelbench.methods"] = [("theirs", broken)]
    with pytest.raises(SkelbenchError, match=r"'theirs' of an installed package \(package:theirs\) failed on import"):
        list(Registry("method", "skelbench.methods"))


def test_without_a_group_no_package_is_asked(installed):
    installed.points[""] = [("theirs", lambda: entry_one)]
    assert list(Registry("layout")) == []
    assert installed.loaded == []


# --- Files ------------------------------------------------------------------------------------------------------


@pytest.fixture
def modules():
    """Forget the plugins that a test loads."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("skelbench_plugin_"):
            del sys.modules[name]


def test_a_plugin_is_run_once_however_often_it_is_named(tmp_path, modules, monkeypatch):
    monkeypatch.setattr(sys, "skelbench_test_runs", [], raising=False)
    plugin = tmp_path / "mine.py"
    plugin.write_text("import sys\nsys.skelbench_test_runs.append(__file__)\n")
    load_plugin(plugin)
    load_plugin(plugin)
    assert sys.skelbench_test_runs == [str(plugin.resolve())]  # pyright: ignore[reportAttributeAccessIssue] - set above


@pytest.mark.parametrize(
    "content, complaint",
    [
        ("def f(:\n", r"failed on import: SyntaxError"),
        ("import no_such_package\n", r"failed on import: ModuleNotFoundError: .*no_such_package"),
        ("1 / 0\n", r"failed on import: ZeroDivisionError: division by zero"),
        (None, "is not a file; give the path of a Python file"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_one_clear_error_and_can_be_fixed(tmp_path, modules, content, complaint):
    plugin = tmp_path / "mine.py"
    if content is not None:
        plugin.write_text(content)
    with pytest.raises(SkelbenchError, match=complaint):
        load_plugin(plugin)
    plugin.write_text("VALUE = 1\n")
    load_plugin(plugin)
    assert sys.modules["skelbench_plugin_mine"].VALUE == 1


def test_a_plugin_that_is_not_a_python_file_is_one_clear_error(tmp_path):
    (tmp_path / "mine.txt").write_text("hello")
    with pytest.raises(SkelbenchError, match=r"mine\.txt cannot be imported; it must be a \.py file"):
        load_plugin(tmp_path / "mine.txt")
