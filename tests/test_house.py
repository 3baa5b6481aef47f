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
from bench.registry.discovery import load_registry
from bench.registry.registry import HOOKS

ROOT = Path(__file__).parent.parent
HOST, PLUGINS = ROOT / "bench", ROOT / "plugins"


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


def package(path):
    """Name the package of a host file; a module at the top has none."""
    return path.relative_to(HOST).parent.parts[:1]


HOST_FILES = sorted(HOST.rglob("*.py"))
PLUGIN_FILES = sorted(p for p in PLUGINS.rglob("*.py") if p.name != "__init__.py" and not p.name.startswith("make_"))


# --- who imports whom ---------------------------------------------------------------------------------------------


def test_imports_go_down():
    """import-linter holds the layers of setup.cfg, without an exception."""
    found = subprocess.run(["lint-imports", "setup.cfg"], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
    assert "ignore_imports" not in (ROOT / "setup.cfg").read_text()


def test_the_layers_are_those_of_the_design():
    layers = [line.strip() for line in setup()["importlinter:contract:layers"]["layers"].strip().splitlines()]
    assert " > ".join(layer.replace("bench.", "") for layer in layers) in " ".join(
        (ROOT / "DESIGN.md").read_text().split()
    )


def test_only_public_names_are_at_the_top_of_the_host():
    assert {p.name for p in HOST.glob("*.py")} == {"__init__.py", "__main__.py", "metrics.py"}


@pytest.mark.parametrize("path", sorted(HOST.rglob("__init__.py")), ids=lambda p: str(p.relative_to(HOST)))
def test_packages_export_nothing_but_the_public_ones(path):
    public = path.parent in (HOST, HOST / "testing", HOST / "cli", HOST / "testing" / "checks")
    assert public or len(ast.parse(path.read_text()).body) <= 1


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
WORKING = (
    "training", "testing", "datasets/partition.py", "sandbox/torch_state.py",
    *(f"execution/{name}.py" for name in ("runner", "tasks", "task_context", "result_checks", "failures", "preload")),
)  # fmt: skip
"""What is imported only when something is computed."""


@pytest.mark.parametrize(
    "path",
    [p for p in HOST_FILES if not p.relative_to(HOST).as_posix().startswith(WORKING)],
    ids=lambda p: str(p.relative_to(HOST)),
)
def test_slow_libraries_are_imported_where_they_are_used(path):
    assert not {m.split(".")[0] for m in at_the_top(path)} & set(SLOW)


def test_the_host_does_not_mention_the_shipped_plugins():
    for path in HOST.rglob("*"):
        if path.suffix in (".py", ".typed"):
            assert "bench_plugins" not in path.read_text(), path


def test_the_host_names_shipped_components_in_presets_only():
    """A preset's lists of names, and the order of columns, are the only places that know them."""
    names = {c for kind in ("attack", "method") for c in load_registry().names(kind)} - {"noise", "agreement"}
    for path in HOST_FILES:
        if path.name != "presets.py":
            words = {n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)
                     and isinstance(n.value, str)}  # fmt: skip
            assert not names & words, path


# --- plugins ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda p: str(p.relative_to(PLUGINS)))
def test_a_plugin_imports_public_names_only(path):
    for name in imported(path):
        if name.split(".")[0] == "bench":
            public = (
                name == "bench"
                or name.removeprefix("bench.") in bench.__all__
                or name.startswith("bench.stats.intervals")
            )
            assert public, name
        assert not name.startswith(("bench_plugins", "plugins", "tests")), f"{path.name} imports another plugin: {name}"


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda p: str(p.relative_to(PLUGINS)))
def test_a_plugin_imports_slow_libraries_inside_its_functions(path):
    slow = {"torchvision", "sklearn", "scipy", "pandas", "matplotlib", "PIL"}
    assert not {m.split(".")[0] for m in at_the_top(path)} & slow


def test_toy_components_are_written_like_a_strangers():
    toys = HOST / "testing" / "toy_plugins.py"
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
    registry = load_registry()
    assert [b for b in registry.broken if b.distribution.startswith("fingerprint-bench")] == []
    folders = {"datasets": "dataset", "architectures": "architecture", "attacks": "attack", "methods": "method"}
    for name, module in entry_points().items():
        kind = folders[module.split(".")[1]]
        assert registry.kind_of(name) == kind
        assert type(registry.get(kind, name)).__module__ == module
    for kind in folders.values():
        for name, entry in registry.entries[kind].items():
            home = type(entry.component).__module__.split(".")[-1]
            assert name == home or name.startswith(f"{home}_"), f"{name} lives in {home}"


def test_every_package_is_listed_for_the_wheel():
    listed = set(setup()["options"]["packages"].split())
    host = {".".join(p.parent.relative_to(ROOT).parts) for p in HOST.rglob("__init__.py")}
    plugins = {".".join(("bench_plugins", *p.parent.relative_to(PLUGINS).parts)) for p in PLUGINS.rglob("__init__.py")}
    assert listed == host | plugins


def test_there_are_four_hooks_in_a_short_file():
    assert set(HOOKS) == {"bench_datasets", "bench_architectures", "bench_attacks", "bench_methods"}
    assert len((HOST / "api" / "hookspecs.py").read_text().splitlines()) <= 60


def test_no_names_that_say_nothing():
    for path in (*HOST_FILES, *PLUGIN_FILES):
        assert path.stem not in ("utils", "helpers", "common", "base", "misc")
        assert not re.search(r"class \w*Manager\b", path.read_text()), path


def test_no_unfinished_business():
    for path in (*HOST_FILES, *PLUGIN_FILES):
        assert not re.search(r"\b(TODO|FIXME|XXX)\b", path.read_text()), path
