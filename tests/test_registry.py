"""The registry: duplicates, unknown names, order, places, entries of installed packages and plugin files."""

import importlib.metadata
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from skelbench.errors import SkelbenchError
from skelbench.registry import Registry, did_you_mean, load_plugin, loaded_plugins
from skelbench.sources import source_of_file


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


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with an entry point, written for a test; whether it is installed as editable."""

    def write(editable, sign):
        site = tmp_path / "site-packages"
        info = site / "their_methods-1.2.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-methods\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text("[skelbench.test]\ntheirs = their_methods.one:Theirs\n")
        if editable:
            (info / "direct_url.json").write_text('{"url": "file:///x", "dir_info": {"editable": true}}')
        code = (tmp_path / "checkout" if editable else site) / "their_methods"
        code.mkdir(parents=True, exist_ok=True)
        (code / "__init__.py").write_text("")
        (code / "one.py").write_text("from .two import SIGN\n\n\nclass Theirs:\n    sign = SIGN\n")
        (code / "two.py").write_text(f"SIGN = {sign}\n")
        monkeypatch.setattr(sys, "path", [str(code.parent), str(site), *sys.path])
        for name in [name for name in sys.modules if name.partition(".")[0] == "their_methods"]:
            monkeypatch.delitem(sys.modules, name)
        (source,) = Registry("method", "skelbench.test").sources("theirs")
        return source

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "their_methods"]:
        del sys.modules[name]


def test_the_source_of_an_installed_entry_is_its_distribution_and_version(package):
    source = package(editable=False, sign=1)
    assert (source.name, source.version, source.installed) == ("their-methods", "1.2", True)


def test_the_source_of_an_editable_package_covers_its_modules(package):
    before, after = package(editable=True, sign=1), package(editable=True, sign=-1)
    assert {file.name for file in before.files} == {"one.py", "two.py", "__init__.py"}
    assert before.version.startswith("1.2+") and after.version.startswith("1.2+")
    assert before.version != after.version


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


KIND = "from skelbench.methods import METHODS\n"


@pytest.fixture
def methods(monkeypatch, modules):
    """The registry of methods; what a test registers is forgotten."""
    from skelbench.methods import METHODS

    assert len(METHODS)
    for name in ("_entries", "_places", "_registered_by"):
        monkeypatch.setattr(METHODS, name, dict(getattr(METHODS, name)))
    return METHODS


def plugin_of(folder, name, text):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    load_plugin(folder / name)
    return source_of_file(folder / name)


def test_the_source_of_an_entry_is_the_plugin_that_registered_it(tmp_path, methods):
    text = KIND + "from skelbench.methods.skeletonclr import SkeletonCLR\nimport makes\n"
    (tmp_path / "makes.py").write_text("def kind(base):\n    return type('Made', (base,), {})\n")
    mine = plugin_of(tmp_path, "mine.py", text + "METHODS.add('made', makes.kind(SkeletonCLR))\n")
    alias = plugin_of(tmp_path, "alias.py", KIND + "METHODS.add('alias', METHODS['skeletonclr'])\n")
    assert [source.version for source in methods.sources("made")] == [mine.version]
    assert [source.name for source in methods.sources("alias")] == ["alias.py"]
    assert methods.sources("alias")[0].version == alias.version
    assert methods.sources("skeletonclr") == (), "a plugin that imports it, or gives it another name, changes nothing"
    assert loaded_plugins()[tmp_path / "mine.py"] == mine.version


def test_a_plugin_that_extends_an_entry_of_another_depends_on_both(tmp_path, methods):
    one = plugin_of(tmp_path, "one.py", KIND + "@METHODS.register('one')\nclass One(METHODS['skeletonclr']): pass\n")
    two = plugin_of(tmp_path, "two.py", KIND + "@METHODS.register('two')\nclass Two(METHODS['one']): pass\n")
    assert [source.version for source in methods.sources("one")] == [one.version]
    assert {source.version for source in methods.sources("two")} == {one.version, two.version}


def test_the_backbones_of_a_plugins_family_come_from_the_plugin(tmp_path, monkeypatch, modules):
    from skelbench.backbones import BACKBONES

    monkeypatch.setattr(BACKBONES._families, "_entries", dict(BACKBONES._families._entries))
    text = "from skelbench.backbones import BACKBONES\n@BACKBONES.family('mine/')\ndef make(name):\n"
    plugin_of(tmp_path, "family.py", text + "    return type(name, (BACKBONES['stgcn'],), {})\n")
    assert [source.name for source in BACKBONES.sources("mine/large")] == ["family.py"]
    assert BACKBONES.sources("stgcn") == BACKBONES.sources("timm/resnet18") == ()


def test_an_entry_of_a_script_has_the_script_as_its_source(registry):
    (source,) = registry.sources("aimclr")
    assert source == source_of_file(Path(__file__))


def test_a_changed_plugin_is_not_taken_for_the_loaded_one(tmp_path, modules):
    (tmp_path / "beside_mine.py").write_text("")
    source = plugin_of(tmp_path, "mine.py", "import beside_mine\n")
    load_plugin(tmp_path / "mine.py", source.version)
    with pytest.raises(SkelbenchError, match="has changed since it was loaded"):
        load_plugin(tmp_path / "mine.py", "0" * 16)
    (tmp_path / "beside_mine.py").write_text("VALUE = 1\n")
    with pytest.raises(SkelbenchError, match="has changed since it was loaded"):
        load_plugin(tmp_path / "mine.py")


def test_two_plugins_of_one_name_are_an_error_that_names_both(tmp_path, modules):
    plugin_of(tmp_path / "a", "mine.py", "")
    with pytest.raises(SkelbenchError, match=r"b/mine\.py has the name of another one, .*a/mine\.py; rename"):
        plugin_of(tmp_path / "b", "mine.py", "")
