"""Structure of the repository: imports, entry points and files, names, sizes, words."""

import ast
import configparser
import functools
import importlib.metadata
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import bench
from bench.core import kinds
from bench.registry.discovery import load_registry
from bench.registry.registry import HOOKS

ROOT = Path(__file__).parent.parent
HOST, PLUGINS = ROOT / "bench", ROOT / "plugins"


@functools.cache
def parsed(path):
    """Return the syntax tree of a file, which several tests walk."""
    return ast.parse(path.read_text())


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

    Visitor().visit(parsed(path))
    return found


def at_the_top(path):
    """List what a file imports outside functions and classes."""
    found = []
    for node in parsed(path).body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module)
    return found


HOST_FILES = sorted(HOST.rglob("*.py"))
PLUGIN_FILES = sorted(p for p in PLUGINS.rglob("*.py") if p.name != "__init__.py" and not p.name.startswith("make_"))


# --- who imports whom ---------------------------------------------------------------------------------------------


def test_imports_go_down_and_without_a_cycle():
    """import-linter checks the two contracts of setup.cfg, without an exception."""
    found = subprocess.run(["lint-imports", "setup.cfg"], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
    assert "Contracts: 2 kept" in found.stdout
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
    assert public or len(parsed(path).body) <= 1


def test_bench_itself_imports_no_torch_and_no_library_but_pluggy():
    code = (
        "import sys; before = set(sys.modules); import bench\n"
        "new = {m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "assert new <= {'bench', 'pluggy'}, new"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


SLOW = {
    *("torch", "torchvision", "distributed", "dask", "pandas", "scipy", "sklearn"),
    *("rich", "tabulate", "safetensors", "jinja2", "matplotlib"),
}
EXECUTING = (
    *("runner", "tasks", "task_context", "artifacts", "suspects", "described", "model_report", "probes", "scores"),
    *("result_checks", "failures", "machine", "preload", "thief"),
)
WORKING = (
    "training",
    "testing",
    "datasets/adaptation.py",
    "datasets/partition.py",
    *(f"models/{name}.py" for name in ("answers", "network", "onnx_session", "opening", "outputs", "preflight")),
    *(f"models/{name}.py" for name in ("differences", "endpoint", "preprocessing", "program")),
    "sandbox/torch_settings.py",
    "sandbox/torch_state.py",
    *(f"execution/{name}.py" for name in EXECUTING),
    *(
        f"verification/{name}.py"
        for name in ("scoring", "session", "suspect_checks", "trial", "probe_export", "queries")
    ),
    *(f"verification/{name}.py" for name in ("judge", "recorded", "likeness", "source", "preprocessing_check")),
    *(f"verification/{name}.py" for name in ("distortions", "detectors", "transports", "stability")),
)
"""What is imported only when something is computed."""


@pytest.mark.parametrize(
    "path",
    [p for p in HOST_FILES if not p.relative_to(HOST).as_posix().startswith(WORKING)],
    ids=lambda p: str(p.relative_to(HOST)),
)
def test_slow_libraries_are_imported_where_they_are_used(path):
    assert not {m.split(".")[0] for m in at_the_top(path)} & SLOW


def test_the_host_does_not_mention_the_shipped_plugins():
    for path in HOST.rglob("*"):
        if path.suffix in (".py", ".typed"):
            assert "bench_plugins" not in path.read_text(), path


def test_the_host_names_shipped_components_in_presets_only():
    """A preset's lists of names, and the order of columns, are the only places that know them."""
    names = {c for kind in ("attack", "method") for c in load_registry().names(kind)} - {"noise", "agreement"}
    for path in HOST_FILES:
        if path.name != "presets.py":
            words = {n.value for n in ast.walk(parsed(path)) if isinstance(n, ast.Constant)
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


def test_toy_components_import_public_names_only():
    toys = HOST / "testing" / "toy_plugins.py"
    assert {n for n in imported(toys) if n.startswith("bench")} <= {f"bench.{n}" for n in bench.__all__}


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda p: str(p.relative_to(PLUGINS)))
def test_a_plugin_has_a_docstring(path):
    text = ast.get_docstring(parsed(path))
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


def shipped():
    """Return the entry points of plugin files; that of the host's own offers the image folders of users."""
    return {name: module for name, module in entry_points().items() if module != "bench.datasets.image_folder"}


def test_each_file_is_an_entry_point_of_its_name():
    listed = shipped()
    files = {p.stem: "bench_plugins." + ".".join(p.relative_to(PLUGINS).with_suffix("").parts) for p in PLUGIN_FILES}
    assert listed == files


def test_what_is_installed_is_what_is_listed():
    installed = {
        e.name: e.value for e in importlib.metadata.entry_points(group="bench") if e.dist.name == "fingerprint-bench"
    }
    assert installed == entry_points(), "type: pip install -e ."


def test_each_file_holds_components_of_its_folders_kind_and_names_them():
    """A component is named as its file is, with a suffix or not, or the file's docstring names it."""
    registry = load_registry()
    assert [b for b in registry.broken if b.distribution.startswith("fingerprint-bench")] == []
    folders = {"datasets": "dataset", "architectures": "architecture", "attacks": "attack", "methods": "method"}
    held = {(module, folders[module.split(".")[1]]): [] for module in shipped().values()}
    for kind in folders.values():
        for name, entry in registry.entries[kind].items():
            if entry.distribution.startswith("fingerprint-bench"):
                held[type(entry.component).__module__, kind].append(name)
    for (module, _), names in held.items():
        file, text = module.split(".")[-1], sys.modules[module].__doc__
        assert names, f"{module} holds no component"
        assert file in names or len(names) > 1, f"{module} holds {names[0]}: name the file so"
        for name in names:
            assert name == file or name.startswith(f"{file}_") or f"`{name}`" in text, f"{name} lives in {file}"


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


# --- size, words --------------------------------------------------------------------------------------------------

LONGEST_FILE, LONGEST_CLASS, MOST_SKIPS = 300, 150, 10


def explained(name):
    """Return True if a row of the table in DESIGN.md begins with the name and ends with a reason."""
    rows = re.findall(rf"^\| `{re.escape(name)}`.*\|([^|]*)\|$", (ROOT / "DESIGN.md").read_text(), re.MULTILINE)
    return any(reason.strip() for reason in rows)


@pytest.mark.parametrize("path", HOST_FILES, ids=lambda p: str(p.relative_to(HOST)))
def test_files_and_classes_are_short_or_design_gives_a_reason(path):
    text = path.read_text()
    lines = len(text.splitlines())
    assert lines <= LONGEST_FILE or explained(path.relative_to(ROOT).as_posix())
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ClassDef):
            lines = node.end_lineno - node.lineno + 1
            assert lines <= LONGEST_CLASS or explained(node.name), node.name


def test_the_formatter_is_switched_off_ten_times_at_most():
    skips = [p for p in (*HOST_FILES, *PLUGIN_FILES) for _ in re.findall(r"# fmt: skip", p.read_text())]
    assert len(skips) <= MOST_SKIPS, Counter(str(p.relative_to(ROOT)) for p in skips)


def test_docstrings_of_functions_begin_with_what_the_function_does():
    begun = re.compile(r"(Give|Say|Tell|Hold)\b")
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (*HOST_FILES, *PLUGIN_FILES)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and begun.match(ast.get_docstring(node) or "")
    ]
    assert found == []


WORDS = {*kinds.Status, *kinds.SuspectKind} - {""}
BY_NAME = {
    "kind": {*kinds.ComponentKind, *kinds.TaskKind},
    "role": set(kinds.Role),
    "cause": set(kinds.FailureCause) - {""},
    "access": set(kinds.Access),
}
"""Words that are ordinary elsewhere, by the name of what they are compared with or given as."""
LOOKUPS = ("registry.get", "among.get", ".names", ".declaration", ".declarations", ".source_digest", ".component")


def bare_words(tree):
    """List the nodes that write a member of an enum as a string, but for names of columns and of fields."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_bare(node, parents):
            yield node


def _is_bare(node, parents):
    parent = parents[node]
    if isinstance(parent, ast.Tuple | ast.List | ast.Set):
        owner = parents[parent]
        names_columns = isinstance(owner, ast.Assign) and ast.unparse(owner.targets[0]).endswith("COLUMNS")
        if names_columns and node.value in WORDS:
            return False
        parent = owner if isinstance(owner, ast.Compare) else parent
    if isinstance(parent, ast.Call) and node in parent.args:
        called = ast.unparse(parent.func)
        if node is parent.args[0] and called.endswith(LOOKUPS):
            return node.value in set(kinds.ComponentKind)
        return not called.endswith((".get", "Column", "attribute", "attributes")) and node.value in WORDS
    if isinstance(parent, ast.Compare):
        names = {
            n.attr if isinstance(n, ast.Attribute) else n.id
            for n in ast.walk(parent)
            if isinstance(n, ast.Attribute | ast.Name)
        }
        return node.value in WORDS or any(node.value in words for name, words in BY_NAME.items() if name in names)
    if isinstance(parent, ast.keyword):
        return node.value in WORDS | BY_NAME.get(parent.arg, set())
    if isinstance(parent, ast.Subscript):
        return (
            node is parent.slice
            and "components" in ast.unparse(parent.value)
            and node.value in set(kinds.ComponentKind)
        )
    if isinstance(parent, ast.Dict):
        return node in parent.values and node.value in WORDS
    return node.value in WORDS and not isinstance(parent, ast.Expr | ast.JoinedStr)


@pytest.mark.parametrize("path", HOST_FILES, ids=lambda p: str(p.relative_to(HOST)))
def test_statuses_and_kinds_are_members_of_enums(path):
    if path != HOST / "core" / "kinds.py":
        assert [(n.lineno, n.value) for n in bare_words(parsed(path))] == []


@pytest.mark.parametrize(
    "code",
    ["o.status == 'done'", "f('failed')", "return 'blocked'", "x in ('stolen',)", "f(suspect_kind='irrelevant')",
     "task.kind == 'score'", "o.cause != 'memory'", "r.names('attack')", "registry.get('method', n)",
     "run['components']['dataset']", "role in ('surrogate', 'x')", "{'a': 'busy'}"],
)  # fmt: skip
def test_bare_words_are_found(code):
    assert list(bare_words(ast.parse(code)))


@pytest.mark.parametrize(
    "code", ["'done'", "r.get('stolen', 0)", "f('data')", "COLUMNS = ('failed',)", "{'stolen': 1}"]
)
def test_names_of_columns_and_other_words_are_let_be(code):
    assert not list(bare_words(ast.parse(code)))
