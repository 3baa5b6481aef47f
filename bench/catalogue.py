"""Discover plugins, collect their components, look them up by name, and report broken ones.

Entry points are walked one by one, since pluggy's own loader dies with the first plugin whose import fails. A plugin
that cannot be used becomes `Broken`: fatal only when somebody asks for it by name.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import inspect
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from bench import hookspecs
from bench.components import LONGEST_TEXT, coerce, fault, hyperparameters, plain_attributes
from bench.errors import BenchError, BrokenPlugin, did_you_mean, first_line
from bench.process import kept, uncollected, watched
from bench.types import JSON, Architecture, Attack, Component, Dataset, Declaration, Method, Watermark

HOOKS: dict[str, tuple[str, type[Component]]] = {
    "bench_datasets": ("dataset", Dataset),
    "bench_architectures": ("architecture", Architecture),
    "bench_attacks": ("attack", Attack),
    "bench_methods": ("method", Method),
}
LONGEST_VARIANT = 100
SLOW = 10.0
"""Seconds after which the user is told which plugin is still being imported."""
KINDS = tuple(kind for kind, _ in HOOKS.values())


@dataclass(frozen=True)
class Broken:
    """A plugin that cannot be used, and why."""

    name: str
    distribution: str
    reason: str


@dataclass(frozen=True)
class Entry:
    """A component and the distribution it came with."""

    component: Component
    distribution: str


@dataclass
class Catalogue:
    """Every component that is installed, by kind and name, and every plugin that is broken."""

    entries: dict[str, dict[str, Entry]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    broken: list[Broken] = field(default_factory=list)

    def names(self, kind: str) -> tuple[str, ...]:
        """List the names of a kind (`dataset`, `architecture`, `attack`, `method`), sorted."""
        return tuple(sorted(self.entries[kind]))

    def kind_of(self, name: str) -> str | None:
        """Say what kind of component a name belongs to."""
        return next((kind for kind in KINDS if name in self.entries[kind]), None)

    def get(self, kind: str, name: str, settings: Mapping[str, JSON] | None = None) -> Any:
        """Look a component up, with some of its fields set; BenchError with a suggestion where there is none."""
        self._known(kind, name)
        component = self.entries[kind][name].component
        return configured(component, settings) if settings else component

    def _known(self, kind: str, name: str) -> None:
        if name in self.entries[kind]:
            return
        for broken in self.broken:
            if broken.name == name:
                raise BrokenPlugin(f"Plugin {name!r} of {broken.distribution} is broken: {broken.reason}")
        hint = did_you_mean(name, self.names(kind))
        new = "" if hint else " (a newly added plugin shows after: pip install -e .)"
        raise BenchError(f"Unknown {kind} {name!r}. {hint}See: bench list {kind}s{new}")

    def declaration(
        self, kind: str, name: str, settings: Mapping[str, JSON] | None = None, copies: int = 0
    ) -> Declaration:
        """Read a component as plain data, after `settings` were applied; `copies` is how many variants to name."""
        component = self.get(kind, name, settings)
        entry = self.entries[kind][name]
        variants = tuple(_variant(component, i) for i in range(copies)) if isinstance(component, Attack) else ()
        summary = (inspect.getdoc(type(component)) or "").split("\n")[0]
        return Declaration(
            kind=kind,
            name=name,
            version=component.version,
            params=hyperparameters(component),
            attributes=plain_attributes(component),
            distribution=entry.distribution,
            summary="".join(c if c.isprintable() else " " for c in summary[:LONGEST_TEXT]),
            watermark=isinstance(component, Watermark),
            types={f: str(t) for f, t in _annotations(component).items()},
            variants=variants,
        )

    def declarations(self, kind: str) -> tuple[Declaration, ...]:
        """Read all components of a kind as plain data."""
        return tuple(self.declaration(kind, name) for name in self.names(kind))

    def source_digest(self, kind: str, name: str) -> str:
        """Give the SHA-256 of the source text of a component's module; empty where it has no file."""
        path = getattr(sys.modules.get(type(self.entries[kind][name].component).__module__), "__file__", None)
        try:
            return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else ""
        except OSError:
            return ""

    def add(self, kind: str, component: Component, distribution: str) -> None:
        """Put a component in; two with one name become broken, whatever their kinds, for `--set` goes by name."""
        other = self.kind_of(component.name)
        if other is not None:
            first = self.entries[other].pop(component.name)
            reason = f"two plugins have this name: {other} of {first.distribution} and {kind} of {distribution}"
            self.broken.append(Broken(component.name, f"{first.distribution} and {distribution}", reason))
        elif any(b.name == component.name and b.reason.startswith("two plugins") for b in self.broken):
            at = next(i for i, b in enumerate(self.broken) if b.name == component.name)
            was = self.broken[at]
            self.broken[at] = replace(was, distribution=f"{was.distribution} and {distribution}")
        else:
            self.entries[kind][component.name] = Entry(component, distribution)


def _variant(attack: Attack, replicate: int) -> str:
    """Name one copy of an attack; BenchError where its author's `variant` gives no short text."""
    with watched():
        try:
            text = attack.variant(replicate)
        except BaseException as error:  # a stranger's code may raise anything
            raise BenchError(f"{attack.name}.variant({replicate}) failed: {_named(error)}") from error
    if not isinstance(text, str) or not text.isprintable() or len(text) > LONGEST_VARIANT:
        most = f"at most {LONGEST_VARIANT} printable characters"
        raise BenchError(f"{attack.name}.variant({replicate}) must give {most}, not {text!r:.80}")
    return text


def _annotations(component: Component) -> dict[str, str]:
    hints = {f: t for c in reversed(type(component).__mro__) for f, t in vars(c).get("__annotations__", {}).items()}
    return {
        name: getattr(hints.get(name), "__name__", None) or str(hints.get(name)) for name in hyperparameters(component)
    }


def configured(component: Component, settings: Mapping[str, JSON]) -> Component:
    """Give a component with some fields set, each checked against its annotation; BenchError where one does not fit."""
    checked = {}
    for name, value in settings.items():
        checked[name] = coerce(component, name, value)
    try:
        changed = replace(component, **checked)  # type: ignore[type-var]
    except (ValueError, TypeError) as error:
        raise BenchError(f"{component.name} does not take {dict(checked)}: {error}") from error
    reason = fault(changed)
    if reason:
        raise BenchError(f"{component.name} with {dict(checked)} is not usable: {reason}")
    return changed


def _where(entry: importlib.metadata.EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown distribution"


def _named(error: BaseException) -> str:
    line = first_line(error)
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


@contextmanager
def _patient(plugin: str) -> Iterator[None]:
    """Say which plugin is being imported where that takes long, and where Ctrl-C stopped it."""
    if threading.current_thread() is not threading.main_thread():  # a worker's task, which has a limit of its own
        yield
        return
    line = f"Still importing {plugin} after {SLOW:g} s: Ctrl-C stops. If it hangs, uninstall it or leave --plugin out"
    screen = sys.stderr

    def tell() -> None:
        with suppress(OSError, ValueError):  # it may be closed by now
            print(line, file=screen, flush=True)

    timer = threading.Timer(SLOW, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"while {plugin} was imported") from None
    finally:
        timer.cancel()


def _use(catalogue: Catalogue, manager: pluggy.PluginManager, load: Callable[[], object], name: str, where: str) -> str:
    """Import a plugin and put its components into the catalogue; say what is wrong with it, or nothing."""
    with _patient(f"plugin {name!r} of {where}"), kept(), watched(), uncollected():
        try:
            plugin = load()
        except BaseException as error:  # a stranger's module: whatever it raises makes the plugin broken
            return f"import failed: {_named(error)}"
        try:
            return _collect(catalogue, manager, plugin, name, where)
        except BaseException as error:  # its components may raise whenever they are looked at
            return f"its components cannot be read: {_named(error)}"


def _collect(catalogue: Catalogue, manager: pluggy.PluginManager, plugin: object, name: str, where: str) -> str:
    """Put a plugin's components into the catalogue; say what is wrong with it, or nothing."""
    try:
        manager.register(plugin, name=f"{name} of {where}")
        manager.check_pending()
    except (pluggy.PluginValidationError, ValueError) as error:
        if manager.is_registered(plugin):
            manager.unregister(plugin)
        text = re.sub(r" in plugin <module .*>$", "", " ".join(str(error).split()))
        return f"{text}; the hooks are {', '.join(HOOKS)}, none takes arguments"
    callers = manager.get_hookcallers(plugin) or []
    if not callers:
        return f"it implements no hook; write @hookimpl above one of {', '.join(HOOKS)}"
    found: list[tuple[str, Component]] = []
    for caller in callers:
        kind, base = HOOKS[caller.name]
        implementation = next(i for i in caller.get_hookimpls() if i.plugin is plugin)
        try:
            returned: object = implementation.function()
            if not isinstance(returned, Iterable | None):
                return f"{caller.name}() must return a list of components, not {returned!r:.80}"
            components: list[Any] = list(returned or ())
        except BaseException as error:  # a stranger's code: whatever it raises makes the plugin broken
            return f"{caller.name}() failed: {_named(error)}"
        for component in components:
            if not isinstance(component, base):
                wanted = "Fingerprint or bench.Watermark" if base is Method else base.__name__
                return f"{caller.name}() must return instances of bench.{wanted}, not {component!r:.80}"
            reason = fault(component)
            if reason:
                return reason
            found.append((kind, component))
    for kind, component in found:
        catalogue.add(kind, component, where)
    return ""


def _import_file(path: Path) -> ModuleType:
    place = hashlib.sha256(str(path).encode()).hexdigest()[:12]  # two folders may hold files of one name
    spec = importlib.util.spec_from_file_location(f"bench_plugin_file_{path.stem}_{place}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def load_catalogue(
    files: Sequence[str | Path] = (), entry_points: Iterable[importlib.metadata.EntryPoint] | None = None
) -> Catalogue:
    """Discover all plugins: entry points of the group `bench`, and single files. A fresh object each time."""
    catalogue = Catalogue()
    manager = pluggy.PluginManager("bench")
    manager.add_hookspecs(hookspecs)
    if entry_points is None:
        entry_points = importlib.metadata.entry_points(group="bench")
    found = [(entry, _where(entry)) for entry in entry_points]  # which parses the distribution's metadata each time
    for entry, where in sorted(found, key=lambda pair: (pair[0].name, pair[1])):
        reason = _use(catalogue, manager, entry.load, entry.name, where)
        if reason:
            catalogue.broken.append(Broken(entry.name, where, reason))
    for file in files:
        path = Path(file).resolve()
        if not path.is_file():
            raise BenchError(f"There is no plugin file {file}")
        reason = _use(catalogue, manager, functools.partial(_import_file, path), path.stem, str(file))
        if reason:
            raise BrokenPlugin(f"Plugin file {file} is broken: {reason}")
    return catalogue
