"""Names of components for a shell that completes, read from the plugins' source text: nothing is imported."""

import ast
import importlib.metadata
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem
from click.types import StringParamType

from bench.core.kinds import ComponentKind
from bench.datasets.files import DESCRIPTIONS, data_root
from bench.registry.imports import module_of
from bench.registry.registry import HOOKS


def component_names(kinds: Iterable[str] = tuple(ComponentKind), files: Sequence[str] = ()) -> list[str]:
    """Return the sorted names of installed components and of plugin files'; of an unreadable plugin, its own name."""
    wanted, found = set(kinds), set[str]()
    if ComponentKind.DATASET in wanted:
        found.update(path.stem for path in (data_root() / DESCRIPTIONS).glob("*.json"))
    for entry in importlib.metadata.entry_points(group="bench"):
        if entry.name == DESCRIPTIONS:
            continue
        found.update(name for kind, name in _components(_source(module_of(entry)), entry.name) if kind in wanted)
    for file in map(Path, files):
        found.update(name for kind, name in _components(file, file.stem) if kind in wanted)
    return sorted(found)


def _source(module: str) -> Path | None:
    """Find a module's file without importing the packages around it."""
    first, *rest = module.split(".")
    try:
        spec, name = importlib.util.find_spec(first), first
        for part in rest:
            name = f"{name}.{part}"
            spec = PathFinder.find_spec(name, spec.submodule_search_locations) if spec else None
    except (ImportError, ValueError, AttributeError):
        return None
    return Path(spec.origin) if spec and spec.origin else None


def _components(file: Path | None, plugin: str) -> Iterator[tuple[str, str]]:
    """Yield kind and name of each component that a plugin file seems to offer; its own name if that is unclear."""
    try:
        body = ast.parse(file.read_bytes()).body if file else []
    except (OSError, SyntaxError, ValueError):
        body = []
    defaults = {c.name: _default(c) for c in body if isinstance(c, ast.ClassDef)}
    hooks = {f.name: f for f in body if isinstance(f, ast.FunctionDef) and f.name in HOOKS}
    for hook, function in hooks.items():
        calls = [(c, c.func.id) for c in ast.walk(function) if isinstance(c, ast.Call) and isinstance(c.func, ast.Name)]
        names = [_argument(call) or defaults[cls] for call, cls in calls if cls in defaults]
        yield from ((HOOKS[hook].kind, name) for name in filter(None, names or [plugin]))
    if not hooks:
        yield from ((kind, plugin) for kind in ComponentKind)


def _default(cls: ast.ClassDef) -> str:
    """Return the default of a class's field `name`."""
    for line in cls.body:
        if isinstance(line, ast.AnnAssign) and getattr(line.target, "id", "") == "name":
            return _text(line.value)
    return ""


def _argument(call: ast.Call) -> str:
    """Return the name that a constructor call gives; empty: the class's default."""
    named = [k.value for k in call.keywords if k.arg == "name"]
    return _text((*named, *call.args, None)[0])


def _text(value: ast.expr | None) -> str:
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


class Names(StringParamType):
    """Names of components, for completion; any text is accepted. `many`: several, with commas between them."""

    def __init__(self, *kinds: str, many: bool = False, more: Sequence[str] = (), files: bool = False) -> None:
        self.kinds, self.many, self.more, self.files = kinds or tuple(ComponentKind), many, more, files

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names that begin with the typed text, or files, if these are accepted and no name fits."""
        head, comma, start = incomplete.rpartition(",") if self.many else ("", "", incomplete)
        plugins: Any = ctx.params.get("plugins") or ()
        names = [*self.more, *component_names(self.kinds, plugins)]
        fitting = [n for n in names if n.startswith(start) and n not in head.split(",")]
        if self.files and not fitting:
            return [CompletionItem(incomplete, type="file")]
        return [CompletionItem(f"{head}{comma}{n}") for n in fitting]
