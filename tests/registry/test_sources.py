"""Digests of sources: of what was imported, of every module that a component needs, and of nothing else."""

import hashlib
import importlib.metadata
import os
import sys
import textwrap
from pathlib import Path

import pytest

from bench.planning.declarations import declare
from bench.planning.inventory import Inventory
from bench.planning.planner import plan
from bench.registry import imports
from bench.registry.discovery import load_registry
from bench.testing import run_toy, toy_plugins, toy_spec

PLUGIN = '''
"""A plugin."""
from dataclasses import dataclass
from bench import Fingerprint, hookimpl
{more}

@dataclass(frozen=True)
class Mine(Fingerprint):
    """Compare nothing."""
    name: str = "mine"
    version: int = 1
    {inside}
    def extract(self, source, data, helpers, context):
        {lazy}
        return {{}}
    def score(self, fingerprint, suspect):
        return 0.0

@hookimpl
def bench_methods():
    return [Mine()]
'''


def write(folder, more="", inside="", lazy="", **helpers):
    """Write a plugin file and modules beside it; return the file."""
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(PLUGIN.format(more=more, inside=inside, lazy=lazy or "pass"))
    for name, text in helpers.items():
        (folder / f"{name}.py").write_text(text)
    return folder / "mine.py"


def digest(file):
    return load_registry([file], []).source_digest("method", "mine")


@pytest.fixture(autouse=True)
def forget(tmp_path):
    """Forget the modules that a test imported from its own folder."""
    before = dict(sys.modules)
    yield
    for name, module in list(sys.modules.items()):
        if before.get(name) is not module and tmp_path in Path(imports.module_path(name)).parents:
            del sys.modules[name]


# --- what was imported ----------------------------------------------------------------------------------------------


def rewrite(file, old, new):
    file.write_text(file.read_text().replace(old, new))


def replace_by_rename(file, old, new):
    """Replace a file as editors do: write another one and rename it."""
    other = file.with_suffix(".swp")
    other.write_text(file.read_text().replace(old, new))
    other.replace(file)


def same_size_and_time(file, old, new):
    """Change a file but neither its size nor its time, so that a bytecode file looks as if it were of this text."""
    assert len(old) == len(new)
    times = file.stat()
    rewrite(file, old, new)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("edit", [rewrite, replace_by_rename, same_size_and_time])
def test_a_digest_is_of_the_text_that_was_imported(tmp_path, edit):
    file = write(tmp_path / "one")
    registry = load_registry([file], [])
    before = registry.source_digest("method", "mine")
    edit(file, "return 0.0", "return 1.0")
    assert registry.source_digest("method", "mine") == before
    again = load_registry([file], [])
    assert again.source_digest("method", "mine") != before
    assert again.get("method", "mine").score({}, None) == 1.0


@pytest.mark.parametrize("fate", ["(", None, b"\xff\x00"])
def test_a_file_that_breaks_or_goes_later_keeps_its_digest(tmp_path, fate):
    file = write(tmp_path / "one", "import helper", helper="x = 1")
    registry = load_registry([file], [])
    before = registry.source_digest("method", "mine")
    for path in (file, tmp_path / "one" / "helper.py"):
        path.unlink() if fate is None else path.write_bytes(fate if isinstance(fate, bytes) else fate.encode())
    if fate is not None:
        assert registry.source_digest("method", "mine") == before
    assert registry.get("method", "mine").score({}, None) == 0.0


def test_a_module_that_is_imported_late_counts_as_it_was_then(tmp_path):
    file = write(tmp_path / "one", lazy="import late", late="x = 1")
    registry = load_registry([file], [])
    late, method = tmp_path / "one" / "late.py", registry.get("method", "mine")
    first = registry.source_digest("method", "mine")
    late.write_text("x = 2")
    second = registry.source_digest("method", "mine")
    assert second != first
    method.extract(None, None, None, None)
    late.write_text("x = 3")
    assert registry.source_digest("method", "mine") == second


EDITING = '''
"""An attack whose file is edited while it works."""
from dataclasses import dataclass
from pathlib import Path
from bench import hookimpl
from bench.testing.toy_plugins import ToyCopy

@dataclass(frozen=True)
class Edited(ToyCopy):
    """Learn labels."""
    name: str = "edited"

    def steal(self, source, data, build, context):
        text = Path({file!r}).read_text()
        Path({file!r}).write_text(text.replace("length=0.5", "length=0.25"))
        return context.fit(build(), data.images, source.labels, length=0.5)

@hookimpl
def bench_attacks():
    return [Edited()]
'''


def test_an_artifact_records_the_source_that_made_it_although_that_was_edited_meanwhile(tmp_path):
    file = tmp_path / "edited.py"
    file.write_text(EDITING.format(file=str(file)))
    before = load_registry([toy_plugins.__file__, file], [])
    spec = toy_spec(attacks=("edited",), methods=("toy_match",), copies=1, replicates=1)
    done = run_toy(spec, before, tmp_path / "store")
    assert "length=0.25" in file.read_text()
    stolen = [o for k, o in done.outcomes.items() if done.plan.tasks[k].kind == "steal"]
    assert {o.status for o in stolen} == {"done"}
    after = load_registry([toy_plugins.__file__, file], [])
    inventory = Inventory(plan(spec, declare(spec, after)), done.store)
    assert Inventory(done.plan, done.store).outdated(before) == []
    note = f"The source of edited changed but its version did not ({len(stolen)} cached results affected). "
    assert [line[: len(note)] for line in inventory.outdated(after)] == [note]
    assert inventory.edited_meanwhile(before, done.outcomes.values()) == []
    (line,) = inventory.edited_meanwhile(after, done.outcomes.values())
    assert line.startswith(f"{len(stolen)} results of this run are of another source of edited than it began with")


# --- what belongs to a component ------------------------------------------------------------------------------------

NEEDED = {
    "plain import": ("import helper", ""),
    "names": ("from helper import x", ""),
    "everything": ("from helper import *", ""),
    "inside a function": ("", "import helper"),
    "by name": ("import importlib", "importlib.import_module('helper')"),
    "by a computed name": ("import importlib", "importlib.import_module('hel' + 'per')"),
    "through another": ("import middle", ""),
    "where it can": ("try:\n    import helper\nexcept ImportError:\n    pass", ""),
}


@pytest.mark.parametrize("how", NEEDED)
def test_a_digest_covers_the_helpers_that_a_plugin_imports(tmp_path, how):
    more, lazy = NEEDED[how]
    helpers = {"helper": "x = 1", "middle": "from helper import x"}
    one, two = (write(tmp_path / name, more, lazy=lazy, **helpers) for name in ("one", "two"))
    first = digest(one)
    assert digest(two) == first
    (tmp_path / "two" / "helper.py").write_text("x = 2")
    assert digest(two) != first


def test_a_digest_covers_nothing_else(tmp_path):
    file = write(tmp_path / "one", "import helper, json", helper="x = 1", json="1 / 0", stranger="y = 1")
    first = digest(file)
    (tmp_path / "one" / "stranger.py").write_text("y = 2")
    (tmp_path / "one" / "json.py").write_text("2 / 0")  # Python's own module is imported
    assert digest(file) == first


MEANT_ALIKE = {
    "a remark": ("x = 1  # a remark", ""),
    "layout": ("x = (\n    1\n)", ""),
    "docstring": ('"""Another text."""\nx = 1', ""),
    "figures": (
        "from bench import Reported\nx = 1",
        "reported = (Reported('cifar10', 'vgg16_bn', ('vgg16_bn',), 'prune', 0.9, 20, 10),)",
    ),
    "figures in a table": (
        "from bench import Reported, ReportedAccuracy\nfrom functools import partial\nx = 1\nTABLE = {'prune': 0.9}\n"
        "def cell(a):\n    return partial(Reported, 'c', 'v', ('v',), a)",
        "reported = tuple(cell(a)(TABLE[a], 20, 10) for a in TABLE)\n    reported_accuracy = ()",
    ),
    "figures by a property": ("x = 1", "@property\n    def reported(self):\n        return ()"),
    "paper": ("x = 1", "paper = 'Authors, title'"),
    "exact": ("x = 1", "exact = True"),
}


@pytest.mark.parametrize("what", MEANT_ALIKE)
def test_remarks_and_reported_figures_are_no_change(tmp_path, what):
    more, inside = MEANT_ALIKE[what]
    assert digest(write(tmp_path / "two", more, inside)) == digest(write(tmp_path / "one", "x = 1"))


MEANT_OTHERWISE = {
    "a value": ("x = 2", ""),
    "another type": ("x = 1.0", ""),
    "a declaration": ("x = 1", "draws = 2"),
    "a table that more than figures use": ("x = 1\nTABLE = {'prune': 0.9}\nx = len(TABLE)", "reported = ()"),
    "an import": ("import helper\nx = 1", ""),
    "a text": ("x = '1'", ""),
}


@pytest.mark.parametrize("what", MEANT_OTHERWISE)
def test_whatever_may_change_a_result_is_a_change(tmp_path, what):
    more, inside = MEANT_OTHERWISE[what]
    assert digest(write(tmp_path / "two", more, inside, helper="")) != digest(write(tmp_path / "one", "x = 1"))


def test_figures_that_change_do_not_hide_a_table_that_results_depend_on(tmp_path):
    both = "from bench import Reported\nTABLE = {{'prune': {}}}\ndef use():\n    return TABLE"
    inside = "reported = tuple(Reported('c', 'v', ('v',), a, v, 2, 1) for a, v in TABLE.items())"
    digests = [digest(write(tmp_path / n, both.format(v), inside)) for n, v in (("one", 0.9), ("two", 0.8))]
    assert len(set(digests)) == 2


def test_artifacts_of_earlier_releases_stay_valid(tmp_path):
    """They recorded the SHA-256 of the component's own file."""
    registry = load_registry([write(tmp_path / "one")], [])
    own = (tmp_path / "one" / "mine.py").read_bytes()
    assert registry.source_digests("method", "mine")[1] == hashlib.sha256(own).hexdigest()


# --- packages -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["site-packages", "target"])
def package(tmp_path, monkeypatch, request):
    """Install a distribution of a package with two plugins, which share a module, and a module beside the package.

    Once as usual, once as `pip install --target` does.
    """
    root = tmp_path / request.param
    files = {
        "lab/__init__.py": "from lab.one import Mine",
        "lab/one.py": PLUGIN.format(more="from . import shared\nimport lab_extra, foreign", inside="", lazy="pass"),
        "lab/two.py": PLUGIN.format(more="", inside="", lazy="pass").replace('"mine"', '"other"'),
        "lab/shared.py": "x = 1",
        "lab_extra.py": "x = 1",
        "foreign.py": "x = 1",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(textwrap.dedent(text))
    record = "\n".join(f"{name},," for name in files if name != "foreign.py")
    (root / "lab-1.0.dist-info").mkdir()
    (root / "lab-1.0.dist-info" / "METADATA").write_text("Name: lab\nVersion: 1.0\n")
    (root / "lab-1.0.dist-info" / "RECORD").write_text(record)
    monkeypatch.syspath_prepend(root)
    distribution = importlib.metadata.Distribution.at(root / "lab-1.0.dist-info")
    entries = []
    for name in ("one", "two"):
        entries.append(importlib.metadata.EntryPoint(name, f"lab.{name}", "bench"))
        vars(entries[-1])["dist"] = distribution
    yield root, entries
    imports._finder.packages.pop("lab", None)
    imports.siblings_of.cache_clear()


@pytest.mark.parametrize(
    ("edited", "affected"),
    [
        ("lab/one.py", {"mine"}),
        ("lab/two.py", {"other"}),
        ("lab/shared.py", {"mine"}),
        ("lab_extra.py", {"mine"}),
        ("lab/__init__.py", set()),
        ("foreign.py", set()),
    ],
)
def test_a_package_counts_as_far_as_a_component_imports_it(package, edited, affected):
    root, entries = package

    def digests():
        registry = load_registry((), entries)
        assert registry.broken == []
        return {n: registry.source_digest("method", n) for n in ("mine", "other")}

    before = digests()
    (root / edited).write_text(Path(root / edited).read_text() + "\nedited = True\n")
    assert digests() == before  # they are imported
    for name in [n for n in sys.modules if n.partition(".")[0] in ("lab", "lab_extra", "foreign")]:
        imports.texts.pop(imports.module_path(name), None)
        del sys.modules[name]
    after = digests()
    assert {n for n in before if before[n] != after[n]} == affected
