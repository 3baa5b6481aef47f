"""Plugin files by path: what is beside them, packages, one file under two names, and files that are none."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import BenchError
from bench.registry import imports
from bench.registry.discovery import load_registry
from bench.registry.plugin_files import files_for
from bench.testing import find

PLUGIN = '''
"""A plugin."""
from dataclasses import dataclass
from bench import Dataset, Split, hookimpl
{imports}

@dataclass(frozen=True)
class Mine(Dataset):
    """Load what helpers give."""
    name: str = "{name}"
    version: int = 1
    shape = (1, 8, 8)
    num_classes = 4
    def load(self, root, train):
        {body}

@hookimpl
def bench_datasets():
    return [Mine()]
'''


@pytest.fixture
def write(tmp_path):
    """Write files below a folder; a dictionary is a plugin's imports, body and name."""

    def make(**files):
        for name, text in files.items():
            path = tmp_path.joinpath(*name.split("__")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            filled = (
                PLUGIN.format(**{"imports": "", "body": "return 0", "name": "mine", **text})
                if isinstance(text, dict)
                else text
            )
            path.write_text(filled)
        return tmp_path

    before = dict(sys.modules)
    yield make
    for name, module in list(sys.modules.items()):
        if before.get(name) is not module and tmp_path in Path(imports.module_path(name)).parents:
            del sys.modules[name]


def loaded(*files, entry_points=()):
    return load_registry(files, entry_points)


HELPERS = {
    "a module": ("import aid", "return aid.x", {"a__aid": "x = 7"}),
    "in a function": ("", "import aid; return aid.x", {"a__aid": "x = 7"}),
    "of a helper": ("from aid import x", "return x", {"a__aid": "from aid_2 import x", "a__aid_2": "x = 7"}),
    "a package": ("from kit.tools import x", "return x",
                  {"a__kit____init__": "", "a__kit__tools": "from . import y\nx = y.x", "a__kit__y": "x = 7"}),
    "a folder": ("from kit.tools import x", "return x", {"a__kit__tools": "x = 7"}),
    "not Python's": ("import random", "return random.randint(7, 7)", {"a__random": "1 / 0"}),
    "not bench": ("import bench", "return 7", {"a__bench": "1 / 0"}),
}  # fmt: skip


@pytest.mark.parametrize("how", HELPERS)
def test_what_is_beside_a_plugin_file_can_be_imported(write, how, monkeypatch):
    line, body, files = HELPERS[how]
    folder = write(
        a__mine={"imports": line, "body": body}, **{k.replace("__init__", "init"): v for k, v in files.items()}
    )
    for path in folder.rglob("init.py"):
        path.rename(path.with_name("__init__.py"))
    before = list(sys.path)
    registry = loaded(folder / "a" / "mine.py")
    assert registry.get("dataset", "mine").load(None, True) == 7
    assert sys.path == before
    assert not list(folder.rglob("__pycache__"))


def test_a_folder_of_results_is_no_module(write):
    """Libraries make folders of their own names, such as `wandb`, which are no libraries."""
    optional = "try:\n    import results_of_mine\nexcept ImportError:\n    results_of_mine = None"
    folder = write(a__mine={"imports": optional, "body": "return results_of_mine"})
    (folder / "a" / "results_of_mine").mkdir()
    assert loaded(folder / "a" / "mine.py").get("dataset", "mine").load(None, True) is None


def test_helpers_of_one_name_are_named(write):
    folder = write(
        a__one={"imports": "import aid"}, b__two={"imports": "import aid", "name": "two"}, a__aid="", b__aid=""
    )
    message = (
        rf"two\.py is broken: import failed: ImportError: 'aid' is both {folder}/b/aid\.py and {folder}/a/aid\.py: "
    )
    with pytest.raises(BenchError, match=message):
        loaded(folder / "a" / "one.py", folder / "b" / "two.py")


def test_helpers_of_one_name_are_two_in_two_registries(write):
    folder = write(
        a__mine={"imports": "import aid", "body": "return aid.x"},
        b__mine={"imports": "import aid", "body": "return aid.x"},
        a__aid="x = 1",
        b__aid="x = 2",
    )
    first, second = (loaded(folder / name / "mine.py").get("dataset", "mine") for name in "ab")
    assert (first.load(None, True), second.load(None, True)) == (1, 2)


def test_a_helper_with_the_name_of_something_installed_is_named(write):
    folder = write(a__mine={"imports": "import pluggy"}, a__pluggy="x = 1")
    with pytest.raises(BenchError, match=r"'pluggy' is both .*/a/pluggy\.py and .*rename or uninstall one of them"):
        loaded(folder / "a" / "mine.py")


def test_an_edited_helper_is_imported_again(write):
    folder = write(
        a__mine={"imports": "import middle", "body": "return middle.x"}, a__middle="from aid import x", a__aid="x = 1"
    )
    first = loaded(folder / "a" / "mine.py").get("dataset", "mine")
    write(a__aid="x = 2")
    second = loaded(folder / "a" / "mine.py").get("dataset", "mine")
    assert (first.load(None, True), second.load(None, True)) == (1, 2)


def test_a_module_of_a_package_has_its_relative_imports(write):
    folder = write(
        lab__init="",
        lab__deep__init="from ..tools import x",
        lab__tools="x = 7",
        lab__deep__mine={"imports": "from . import x\nfrom lab.tools import x as y", "body": "return x * y"},
    )
    for path in folder.rglob("init.py"):
        path.rename(path.with_name("__init__.py"))
    registry = loaded(folder / "lab" / "deep" / "mine.py")
    component = registry.get("dataset", "mine")
    assert component.load(None, True) == 49
    assert type(component).__module__ == "lab.deep.mine"
    assert files_for("lab.deep.mine") == files_for("lab.tools") == [str(folder / "lab" / "deep" / "mine.py")]


def test_a_package_can_be_the_plugin(write):
    folder = write(lab__init={"imports": "from . import tools", "body": "return tools.x"}, lab__tools="x = 7")
    (folder / "lab" / "init.py").rename(folder / "lab" / "__init__.py")
    assert loaded(folder / "lab" / "__init__.py").get("dataset", "mine").load(None, True) == 7
    with pytest.raises(BenchError, match=rf"{folder}/lab is a folder: name a plugin file, {folder}/lab/__init__\.py"):
        loaded(folder / "lab")
    with pytest.raises(BenchError, match=rf"{folder} is a folder: name a plugin file$"):
        loaded(folder)


@pytest.mark.parametrize("marked", [False, True])
def test_the_name_of_a_plugin_file_may_have_dots(write, marked):
    folder = write(a__mine={"imports": "import aid", "body": "return aid.x"}, a__aid="x = 7") / "a"
    file = (folder / "mine.py").rename(folder / "mine_v1.2.py")
    if marked:  # as a package, in which no import could name it
        (folder / "__init__.py").write_text("")
    registry = loaded(file)
    assert registry.get("dataset", "mine").load(None, True) == 7
    before = registry.source_digest("dataset", "mine")
    write(a__aid="x = 8")
    assert loaded(file).source_digest("dataset", "mine") != before


def test_a_relative_import_without_a_package_has_a_way_out(write):
    folder = write(a__mine={"imports": "from . import aid"}, a__aid="")
    with pytest.raises(BenchError, match=r"by its plain name, `import helper` \(mine\.py, line 5\)"):
        loaded(folder / "a" / "mine.py")


NO_PLUGIN = {
    "absent": ("absent.py", None, "There is no plugin file"),
    "a loop": ("loop.py", "link", "There is no plugin file"),
    "too long": (f"{'x' * 300}.py", None, "There is no plugin file"),
    "text": ("mine.txt", b"x = 1", "is no Python file"),
    "notebook": ("mine.ipynb", b"{}", "is no Python file"),
    "binary": ("mine.py", b"\x00\x01", "import failed: "),
    "no UTF-8": ("mine.py", b"x = '\xff'", "import failed: SyntaxError"),
    "unfinished": ("mine.py", b"def f(:", r"import failed: SyntaxError: invalid syntax \(mine\.py, line 1\)"),
    "fails": ("mine.py", b"\n\n1 / 0", r"import failed: ZeroDivisionError: division by zero \(mine\.py, line 3\)"),
}


@pytest.mark.parametrize("what", NO_PLUGIN)
def test_what_is_no_plugin_is_one_line(tmp_path, what):
    name, content, message = NO_PLUGIN[what]
    path = tmp_path / name
    if content == "link":
        path.symlink_to(path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(BenchError, match=message) as caught:
        loaded(path)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("which", ["file", "folder"])
def test_a_file_that_this_user_may_not_read_is_one_line(write, which):
    path = write(a__mine={}) / "a" / "mine.py"
    closed = path if which == "file" else path.parent
    closed.chmod(0)
    try:
        with pytest.raises(BenchError, match="Permission denied" if which == "file" else "There is no plugin file"):
            loaded(path)
    finally:
        closed.chmod(0o700)


# --- one file, two names --------------------------------------------------------------------------------------------


@pytest.fixture
def installed(write, monkeypatch):
    """Return a function that gives the entry points of an installed plugin module."""

    def make(folder, *names, module="mine"):
        monkeypatch.syspath_prepend(folder)
        entries = [importlib.metadata.EntryPoint(name, module, "bench") for name in names]
        for entry in entries:
            vars(entry)["dist"] = None
        return entries

    yield make
    imports._finder.packages.pop("mine", None)


def test_a_file_by_path_that_is_installed_as_well_is_one_plugin(write, installed, monkeypatch):
    folder = write(a__mine={})
    entries = installed(folder / "a", "mine")
    monkeypatch.chdir(folder)
    (folder / "link.py").symlink_to(folder / "a" / "mine.py")
    for files in (["a/mine.py"], ["link.py"], ["a/mine.py", "a/../a/mine.py", "link.py"]):
        registry = loaded(*files, entry_points=entries)
        assert registry.broken == []
        assert registry.names("dataset") == ("mine",)
        assert registry.entries["dataset"]["mine"].distribution == "an unknown distribution"
        assert [c.name for c, _ in find(files[-1], registry)] == ["mine"]


def test_an_installed_copy_of_a_file_is_the_same_plugin_until_they_differ(write, installed):
    folder = write(a__mine={}, b__mine={})
    entries = installed(folder / "a", "mine")
    registry = loaded(folder / "b" / "mine.py", entry_points=entries)
    assert registry.names("dataset") == ("mine",)
    assert len(find(str(folder / "b" / "mine.py"), registry)) == 1
    write(b__mine={"body": "return 1"})
    registry = loaded(folder / "b" / "mine.py", entry_points=entries)
    assert registry.names("dataset") == ()
    with pytest.raises(
        BenchError, match=r"two plugins have this name: .*Rename one, uninstall it, or leave --plugin out$"
    ):
        registry.get("dataset", "mine")


def test_two_entry_points_of_one_module_are_one_plugin(write, installed):
    registry = loaded(entry_points=installed(write(a__mine={}) / "a", "mine", "mine_2"))
    assert registry.broken == []
    assert registry.names("dataset") == ("mine",)


# --- torchvision ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("line", ["import torchvision", "from torchvision import transforms", "import timm_of_mine"])
def test_torchvision_can_be_imported_at_the_top_of_a_plugin(write, line):
    """In a process of its own: once torchvision is imported, there is nothing to prepare."""
    folder = write(
        a__mine={"imports": line, "body": "return 7"}, a__timm_of_mine="from torchvision.models import resnet18"
    )
    code = f"""
from bench.registry.discovery import load_registry
assert load_registry([{str(folder / "a" / "mine.py")!r}], []).names("dataset") == ("mine",)
import torchvision
"""
    subprocess.run([sys.executable, "-c", code], check=True)
