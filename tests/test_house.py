"""The house: who imports whom, entry points and files and names, and what nothing may mention."""

import ast
import configparser
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bench
from bench.catalogue import HOOKS, load_catalogue

ROOT = Path(__file__).parent.parent
HOST, PLUGINS = ROOT / "bench", ROOT / "plugins"

REPORT = (
    "rows", "results", "samples", "papers", "rates", "floors", "cells", "budgets", "accuracies", "costs", "layout",
    "secondary", "tables", "lines", "stamp", "page", "charts", "figures", "details", "distributions",
)  # fmt: skip
"""What `report` is made of."""
LEVELS = {
    6: ("__main__",),
    5: ("cli", "parent"),
    4: ("schedule", "worker", "testing"),
    3: ("execute", "parts", "plan", "stock", "provenance", "archive", "changes", "beside", "trace", "report", *REPORT),
    2: (
        "catalogue",
        "components",
        "presets",
        "store",
        "training",
        "networks",
        "oracle",
        "download",
        "ledger",
        "isolation",
        "crew",
    ),
    1: ("hookspecs", "types", "metrics", "comparisons", "halving", "devices", "unpack", "vision", "process", "apart"),
    0: ("errors",),
}
SIDEWAYS = {
    ("catalogue", "components"), ("execute", "parts"), ("schedule", "worker"), ("comparisons", "metrics"),
    ("stock", "plan"), ("provenance", "plan"), ("results", "rows"), *(("report", part) for part in REPORT),
    *(("cells", part) for part in ("samples", "papers", "rates", "floors")), ("rates", "samples"),
    ("floors", "samples"), ("budgets", "cells"), ("stamp", "rows"),
    *(("layout", part) for part in ("cells", "floors", "papers", "tables")),
    *(("secondary", part) for part in ("accuracies", "budgets", "cells", "costs", "layout", "rates", "tables")),
    *(("lines", part) for part in ("accuracies", "budgets", "cells", "floors", "rates", "rows")),
    *(("page", part) for part in ("accuracies", "budgets", "cells", "charts", "costs", "details", "distributions",
                                  "layout", "samples", "tables")),
    *(("charts", part) for part in ("accuracies", "budgets", "cells", "costs", "figures", "layout")),
    *(("details", part) for part in ("cells", "costs", "distributions", "rates", "samples")),
    ("distributions", "samples"), ("changes", "cells"), ("changes", "results"),
    *(("trace", part) for part in ("results", "rows", "tables")),
    *(("beside", part) for part in ("cells", "changes", "lines", "rows", "tables")),
}  # fmt: skip
"""Between a room and what was taken out of it, and from what looks at a plan to `plan`."""
LEVEL = {room: level for level, rooms in LEVELS.items() for room in rooms}
FACE = ("errors", "types", "vision")
"""What `import bench` imports: the public names."""


def imported(path):
    """List the modules that a file imports when it runs: whole names, with `from a import b` as `a.b`."""
    found = []

    class Visitor(ast.NodeVisitor):
        def visit_If(self, node):
            if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                for other in node.orelse:
                    self.visit(other)
            else:
                self.generic_visit(node)

        def visit_Import(self, node):
            found.extend(alias.name for alias in node.names)

        def visit_ImportFrom(self, node):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            found.extend(f"{node.module}.{alias.name}" for alias in node.names)

    Visitor().visit(ast.parse(path.read_text()))
    return found


def at_the_top(path):
    """List what a file imports outside functions and classes."""
    found = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module)
    return found


def room(path):
    """Name the room of a host file: a module, or a package."""
    return path.relative_to(HOST).parts[0].removesuffix(".py")


def rooms_of(names):
    """Give the rooms that imported names belong to; a public name belongs to `bench` itself."""
    for name in names:
        parts = name.split(".")
        if parts[0] == "bench":
            yield parts[1] if len(parts) > 1 and parts[1] in LEVEL else "__init__"


HOST_FILES = sorted(HOST.rglob("*.py"))
PLUGIN_FILES = sorted(p for p in PLUGINS.rglob("*.py") if p.name != "__init__.py" and not p.name.startswith("make_"))


# --- who imports whom ---------------------------------------------------------------------------------------------


def test_every_room_has_its_level():
    assert {room(p) for p in HOST_FILES} - {"__init__"} == set(LEVEL)


@pytest.mark.parametrize("path", HOST_FILES, ids=lambda p: str(p.relative_to(HOST)))
def test_arrows_go_down(path):
    here = room(path)
    for there in set(rooms_of(imported(path))):
        if here == "__init__":
            assert there in FACE
        elif there == "__init__":
            allowed = here in ("cli", "__main__", "testing")
            assert allowed, f"{here} imports public names: it should name the room they live in"
        elif there != here and (here, there) not in SIDEWAYS:
            assert LEVEL[there] < LEVEL[here], f"{here} (level {LEVEL[here]}) imports {there} (level {LEVEL[there]})"


def test_the_levels_are_those_of_the_design():
    text = (ROOT / "DESIGN.md").read_text()
    found = {int(n): re.findall(r"`(\w+)`", names) for n, names in re.findall(r"^\| ([0-5]) \| (.*) \|$", text, re.M)}
    for level, names in found.items():
        assert set(names) <= set(LEVELS[level]), level
        assert set(LEVELS[level]) - set(names) <= {*REPORT}, level


def test_the_face_imports_no_torch_and_no_library_but_pluggy():
    code = (
        "import sys; before = set(sys.modules); import bench\n"
        "new = {m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "assert new <= {'bench', 'pluggy'}, new"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


SLOW = (
    "torch",
    "torchvision",
    "distributed",
    "dask",
    "pandas",
    "scipy",
    "sklearn",
    "rich",
    "tabulate",
    "safetensors",
    "jinja2",
    "matplotlib",
)
WORKING = ("execute", "isolation", "networks", "oracle", "parts", "training", "testing")
"""The rooms that are entered only when something is computed."""


@pytest.mark.parametrize(
    "path", [p for p in HOST_FILES if room(p) not in WORKING], ids=lambda p: str(p.relative_to(HOST))
)
def test_slow_libraries_are_imported_where_they_are_used(path):
    assert not {m.split(".")[0] for m in at_the_top(path)} & set(SLOW)


def test_the_host_does_not_mention_the_shipped_plugins():
    for path in HOST.rglob("*"):
        if path.suffix in (".py", ".typed"):
            assert "bench_plugins" not in path.read_text(), path


def test_the_host_names_shipped_components_in_presets_only():
    """A preset's lists of names, and the order of columns, are the only places that know them."""
    names = {c for kind in ("attack", "method") for c in load_catalogue().names(kind)} - {"noise", "agreement"}
    for path in HOST_FILES:
        if room(path) != "presets":
            words = {n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)
                     and isinstance(n.value, str)}  # fmt: skip
            assert not names & words, path


# --- plugins ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda p: str(p.relative_to(PLUGINS)))
def test_a_plugin_imports_public_names_only(path):
    for name in imported(path):
        if name.split(".")[0] == "bench":
            public = name == "bench" or name.removeprefix("bench.") in bench.__all__ or name.startswith("bench.metrics")
            assert public, name
        assert not name.startswith(("bench_plugins", "plugins", "tests")), f"{path.name} imports another plugin: {name}"


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda p: str(p.relative_to(PLUGINS)))
def test_a_plugin_imports_slow_libraries_inside_its_functions(path):
    slow = {"torchvision", "sklearn", "scipy", "pandas", "matplotlib", "PIL"}
    assert not {m.split(".")[0] for m in at_the_top(path)} & slow


def test_toy_components_are_written_like_a_strangers():
    toys = HOST / "testing" / "toy.py"
    assert {n for n in imported(toys) if n.startswith("bench")} <= {f"bench.{n}" for n in bench.__all__}


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda p: str(p.relative_to(PLUGINS)))
def test_a_plugin_says_what_it_is_and_whose_idea(path):
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert text
    assert len(text.split("\n")[0]) <= 120


# --- entry points, files, names -----------------------------------------------------------------------------------


def setup():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def entry_points():
    lines = setup()["options.entry_points"]["bench"].strip().splitlines()
    return dict(line.replace(" ", "").split("=") for line in lines)


def test_each_file_is_an_entry_point_of_its_name():
    listed = entry_points()
    files = {p.stem: "bench_plugins." + ".".join(p.relative_to(PLUGINS).with_suffix("").parts) for p in PLUGIN_FILES}
    assert listed == files


def test_what_is_installed_is_what_is_listed():
    installed = {
        e.name: e.value for e in importlib.metadata.entry_points(group="bench") if e.dist.name == "fingerprint-bench"
    }
    assert installed == entry_points(), "type: pip install -e ."


def test_each_file_holds_a_component_of_its_name_and_of_its_folders_kind():
    catalogue = load_catalogue()
    assert [b for b in catalogue.broken if b.distribution.startswith("fingerprint-bench")] == []
    folders = {"datasets": "dataset", "architectures": "architecture", "attacks": "attack", "methods": "method"}
    for name, module in entry_points().items():
        kind = folders[module.split(".")[1]]
        assert catalogue.kind_of(name) == kind
        assert type(catalogue.get(kind, name)).__module__ == module
    for kind in folders.values():
        for name, entry in catalogue.entries[kind].items():
            home = type(entry.component).__module__.split(".")[-1]
            assert name == home or name.startswith(f"{home}_"), f"{name} lives in {home}"


def test_every_package_is_listed_for_the_wheel():
    listed = set(setup()["options"]["packages"].split())
    host = {".".join(p.parent.relative_to(ROOT).parts) for p in HOST.rglob("__init__.py")}
    plugins = {".".join(("bench_plugins", *p.parent.relative_to(PLUGINS).parts)) for p in PLUGINS.rglob("__init__.py")}
    assert listed == host | plugins


def test_there_are_four_hooks_in_a_short_file():
    assert set(HOOKS) == {"bench_datasets", "bench_architectures", "bench_attacks", "bench_methods"}
    assert len((HOST / "hookspecs.py").read_text().splitlines()) <= 60


def test_no_names_that_say_nothing():
    for path in (*HOST_FILES, *PLUGIN_FILES):
        assert path.stem not in ("utils", "helpers", "common", "base", "misc")
        assert not re.search(r"class \w*Manager\b", path.read_text()), path


def test_no_unfinished_business():
    for path in (*HOST_FILES, *PLUGIN_FILES):
        assert not re.search(r"\b(TODO|FIXME|XXX)\b", path.read_text()), path
