"""Find plugins, import them, and collect their components in a registry.

Entry points are imported one by one, because pluggy's loader stops at the first plugin whose import fails. A plugin
that cannot be used becomes `Broken`: an error only if it is requested by name.
"""

import functools
import importlib.metadata
import inspect
import os
import re
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pluggy

from bench.api import hookspecs
from bench.api.components import Component, Method
from bench.core.errors import BrokenPlugin, describe_error
from bench.registry import imports, plugin_files
from bench.registry.registry import HOOKS, Broken, Registry
from bench.registry.session import Shipped, receive
from bench.registry.slow_imports import SlowImports
from bench.registry.validation import contract_violation
from bench.sandbox.process_state import gc_paused, genuine_interrupts, preserved_process_state

DATA: ContextVar[Path | None] = ContextVar("DATA", default=None)
"""The data folder while plugins are asked for their components: image folders are described there. None: the usual."""

SLOW = 10.0
"""Seconds after which a message names what is still being imported."""


@dataclass(frozen=True)
class _Plugin:
    """A plugin that can be imported: its name, its distribution or file as users know it, and how to import it.

    `module` is the name of an installed plugin's module, `path` the real path of a plugin file.
    """

    name: str
    where: str
    load: Callable[[], object]
    module: str = ""
    path: str = ""

    @property
    def file(self) -> str:
        """The real path of its file; empty before it is imported, or if it has none."""
        return self.path or imports.module_path(self.module)

    @property
    def title(self) -> str:
        """The plugin in messages."""
        return f"plugin {self.name!r} of {self.where}"


def _distribution(dist: importlib.metadata.Distribution | None) -> str:
    return f"{dist.name} {dist.version}" if dist else "an unknown distribution"


def _use(registry: Registry, manager: pluggy.PluginManager, plugin: _Plugin, partial: bool, slow: SlowImports) -> str:
    """Import a plugin and add its components to the registry; return what is wrong with it, or an empty string."""
    with (
        slow.importing(plugin.title, lambda: plugin.file),
        preserved_process_state(),
        genuine_interrupts(),
        gc_paused(),
    ):
        try:
            loaded = plugin.load()
        except BaseException as error:  # whatever the module raises makes the plugin broken
            return f"import failed: {_described(error, plugin)}"
        try:
            return _collect(registry, manager, loaded, plugin, partial)
        except BaseException as error:  # components may raise whenever they are read
            return f"its components cannot be read: {_described(error, plugin)}"


def _described(error: BaseException, plugin: _Plugin) -> str:
    """Describe an error, with the line of the plugin's file that raised it."""
    text = describe_error(error)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if plugin.file and os.path.realpath(f.filename) == plugin.file]
    if "no known parent package" in text:
        text += ": import what is beside a single file by its plain name, `import helper`"
    return f"{text} ({Path(plugin.file).name}, line {lines[-1]})" if lines else text


def _collect(registry: Registry, manager: pluggy.PluginManager, loaded: object, plugin: _Plugin, partial: bool) -> str:
    """Add a plugin's components to the registry; return what is wrong with it, or an empty string."""
    if manager.is_registered(loaded):  # two entry points name it
        return ""
    try:
        manager.register(loaded, name=plugin.title)
        manager.check_pending()
    except (pluggy.PluginValidationError, ValueError) as error:
        if manager.is_registered(loaded):
            manager.unregister(loaded)
        text = re.sub(r" in plugin <module .*>$", "", " ".join(str(error).split()))
        return f"{text}; the hooks are {', '.join(HOOKS)}, none takes arguments"
    callers = manager.get_hookcallers(loaded) or []
    if not callers:
        return f"it implements no hook; write @hookimpl above one of {', '.join(HOOKS)}"
    found: dict[str, Component] = {}
    reasons: list[str] = []
    for caller in callers:
        implementation = next(i for i in caller.get_hookimpls() if i.plugin is loaded)
        try:
            components = _listed(caller.name, implementation.function())
        except BaseException as error:  # whatever the hook raises makes the plugin broken
            reasons.append(f"{caller.name}() failed: {_described(error, plugin)}")
            continue
        for component in components if not isinstance(components, str) else ():
            reason = _unusable(caller.name, component)
            if not reason and component.name in found:
                reason = f"it offers two components of the name {component.name!r}: give each a name of its own"
            if reason:
                reasons.append(reason)
            else:
                found[component.name] = component
        reasons += [components] if isinstance(components, str) else []
    for component in found.values() if partial or not reasons else ():
        registry.add(component, plugin.where, plugin.file)
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return f"{reasons[0]}{more}" if reasons else ""


def _listed(hook: str, returned: object) -> list[Any] | str:
    """Return the components that a hook returned; text says why it must not return that."""
    if returned is None:
        return f"{hook}() returned nothing: end it with `return [...]`, empty if there is nothing to offer"
    if isinstance(returned, dict):
        return f"{hook}() must return a list of components, not a dict: return list(...values())"
    if inspect.iscoroutine(returned):
        returned.close()
        return f"{hook}() must return a list of components: write `def`, not `async def`"
    if not isinstance(returned, Iterable):
        advice = f": write [{type(returned).__name__}()]" if isinstance(returned, Component) else ""
        return f"{hook}() must return a list of components, not {returned!r:.80}{advice}"
    return list(returned)


def _unusable(hook: str, component: Any) -> str:
    """Return why a component that a hook returned cannot be used; empty: it can."""
    base = HOOKS[hook]
    if isinstance(component, base):
        return contract_violation(component)
    wanted = "Fingerprint or bench.Watermark" if base is Method else base.__name__
    is_class = isinstance(component, type) and issubclass(component, Component)
    advice = f": write {component.__name__}(), with parentheses" if is_class else ""
    return f"{hook}() must return instances of bench.{wanted}, not {component!r:.80}{advice}"


def load_registry(
    files: Sequence[str | Path | Shipped] = (),
    entry_points: Iterable[importlib.metadata.EntryPoint] | None = None,
    data: str | Path | None = None,
    partial: bool = False,
) -> Registry:
    """Return a new registry of all plugins: entry points of the group `bench`, and single files.

    A `Shipped` has the components of another process's session. `data` is the data folder, whose image folders are
    datasets, too; None: the usual one.

    BrokenPlugin if a file is broken, BenchError if it does not exist; a broken entry point is listed in the registry.
    A file that is installed as well is one plugin. With `partial`, a broken file is listed in the registry, too, and
    components that can be used are added although others of their plugin cannot be.
    """
    token = DATA.set(Path(data).expanduser() if data else None)
    try:
        with SlowImports(SLOW) as slow:
            return _load_registry(files, entry_points, partial, slow)
    finally:
        DATA.reset(token)


def _load_registry(
    files: Sequence[str | Path | Shipped],
    entry_points: Iterable[importlib.metadata.EntryPoint] | None,
    partial: bool,
    slow: SlowImports,
) -> Registry:
    registry = Registry()
    manager = pluggy.PluginManager("bench")
    manager.add_hookspecs(hookspecs)
    imports.install()
    if entry_points is None:
        entry_points = importlib.metadata.entry_points(group="bench")
    named = functools.cache(_distribution)  # it parses all metadata, of which a long description is a part
    found = [(entry, named(entry.dist)) for entry in entry_points]
    used: list[_Plugin] = []
    folders: set[str] = set()
    for entry, where in sorted(found, key=lambda pair: (pair[0].name, pair[1])):
        if not (module := imports.module_of(entry)):
            reason = f"its entry point {entry.value!r} names no module: write it as Python imports it, such as my_idea"
            registry.broken.append(Broken(entry.name, where, reason))
            continue
        imports.add_package(module, entry.dist)
        plugin = _Plugin(entry.name, where, entry.load, module)
        if reason := _use(registry, manager, plugin, partial, slow):
            registry.broken.append(Broken(entry.name, where, reason))
        else:
            used.append(plugin)
    for file in files:
        if isinstance(file, Shipped):
            receive(registry, file)
            continue
        path = plugin_files.existing(file)
        if (same := next((p for p in used if _is_same(p, path)), None)) is not None:
            registry.relocate(same.file, path)
            continue
        load = functools.partial(plugin_files.import_file, path, folders)
        plugin = _Plugin(Path(path).stem, str(file), load, path=path)
        reason = _use(registry, manager, plugin, partial, slow)
        if reason and not partial:
            raise BrokenPlugin(f"Plugin file {file} is broken: {reason}")
        if reason:
            registry.broken.append(Broken(plugin.name, plugin.where, reason))
        used.append(plugin)
    return registry


def _is_same(plugin: _Plugin, path: str) -> bool:
    """Return True if a plugin is the file at a path, or an installed copy of it."""
    if not plugin.file or plugin.file == path:
        return plugin.file == path
    same_name = Path(plugin.file).name == Path(path).name
    return not plugin.path and same_name and imports.text_of(plugin.file) == imports.read(path)
