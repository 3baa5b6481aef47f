"""Find plugins, import them, and collect their components in a registry.

Entry points are imported one by one, because pluggy's loader stops at the first plugin whose import fails. A plugin
that cannot be used becomes `Broken`: an error only if it is requested by name.
"""

import functools
import hashlib
import importlib.metadata
import importlib.util
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from bench.api import hookspecs
from bench.api.components import Component, Method
from bench.core.errors import BenchError, BrokenPlugin, describe_error
from bench.registry.registry import HOOKS, Broken, Registry
from bench.registry.session import receive
from bench.registry.validation import contract_violation
from bench.sandbox.process_state import gc_paused, genuine_interrupts, preserved_process_state

DATA: ContextVar[Path | None] = ContextVar("DATA", default=None)
"""The data folder while plugins are asked for their components: image folders are described there. None: the usual."""

SLOW = 10.0
"""Seconds after which a message names the plugin that is still being imported."""


def _distribution(entry: importlib.metadata.EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown distribution"


@contextmanager
def _reported_import(plugin: str) -> Iterator[None]:
    """Name the plugin on standard error if its import is slow, and in the KeyboardInterrupt if Ctrl-C stops it."""
    if threading.current_thread() is not threading.main_thread():  # a worker's task, which has its own time limit
        yield
        return
    line = f"Still importing {plugin} after {SLOW:g} s: Ctrl-C stops. If it hangs, uninstall it or leave --plugin out"
    stderr = sys.stderr

    def warn() -> None:
        with suppress(OSError, ValueError):  # the stream may be closed
            print(line, file=stderr, flush=True)

    timer = threading.Timer(SLOW, warn)
    timer.daemon = True
    timer.start()
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"while {plugin} was imported") from None
    finally:
        timer.cancel()


def _use(registry: Registry, manager: pluggy.PluginManager, load: Callable[[], object], name: str, where: str) -> str:
    """Import a plugin and add its components to the registry; return what is wrong with it, or an empty string."""
    with _reported_import(f"plugin {name!r} of {where}"), preserved_process_state(), genuine_interrupts(), gc_paused():
        try:
            plugin = load()
        except BaseException as error:  # whatever the module raises makes the plugin broken
            return f"import failed: {describe_error(error)}"
        try:
            return _collect(registry, manager, plugin, name, where)
        except BaseException as error:  # components may raise whenever they are read
            return f"its components cannot be read: {describe_error(error)}"


def _collect(registry: Registry, manager: pluggy.PluginManager, plugin: object, name: str, where: str) -> str:
    """Add a plugin's components to the registry; return what is wrong with it, or an empty string."""
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
    found: list[Component] = []
    for caller in callers:
        base = HOOKS[caller.name]
        implementation = next(i for i in caller.get_hookimpls() if i.plugin is plugin)
        try:
            returned: object = implementation.function()
            if not isinstance(returned, Iterable | None):
                return f"{caller.name}() must return a list of components, not {returned!r:.80}"
            components: list[Any] = list(returned or ())
        except BaseException as error:  # whatever the hook raises makes the plugin broken
            return f"{caller.name}() failed: {describe_error(error)}"
        for component in components:
            if not isinstance(component, base):
                wanted = "Fingerprint or bench.Watermark" if base is Method else base.__name__
                return f"{caller.name}() must return instances of bench.{wanted}, not {component!r:.80}"
            reason = contract_violation(component)
            if reason:
                return reason
            found.append(component)
    for component in found:
        registry.add(component, where)
    return ""


def _import_file(path: Path) -> ModuleType:
    suffix = hashlib.sha256(str(path).encode()).hexdigest()[:12]  # two folders may hold files of one name
    spec = importlib.util.spec_from_file_location(f"bench_plugin_file_{path.stem}_{suffix}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def load_registry(
    files: Sequence[str | Path | bytes] = (),
    entry_points: Iterable[importlib.metadata.EntryPoint] | None = None,
    data: str | Path | None = None,
) -> Registry:
    """Return a new registry of all plugins: entry points of the group `bench`, and single files.

    In place of a file, bytes are what `session.ship` returned in another process. `data` is the data folder, whose
    image folders are datasets, too; None: the usual one.

    BrokenPlugin if a file is broken, BenchError if it does not exist; a broken entry point is listed in the registry.
    """
    token = DATA.set(Path(data).expanduser() if data else None)
    try:
        return _load_registry(files, entry_points)
    finally:
        DATA.reset(token)


def _load_registry(
    files: Sequence[str | Path | bytes], entry_points: Iterable[importlib.metadata.EntryPoint] | None
) -> Registry:
    registry = Registry()
    manager = pluggy.PluginManager("bench")
    manager.add_hookspecs(hookspecs)
    if entry_points is None:
        entry_points = importlib.metadata.entry_points(group="bench")
    found = [(entry, _distribution(entry)) for entry in entry_points]  # once each: `dist` parses metadata
    for entry, where in sorted(found, key=lambda pair: (pair[0].name, pair[1])):
        reason = _use(registry, manager, entry.load, entry.name, where)
        if reason:
            registry.broken.append(Broken(entry.name, where, reason))
    for file in files:
        if isinstance(file, bytes):
            receive(registry, file)
            continue
        path = Path(file).resolve()
        if not path.is_file():
            raise BenchError(f"There is no plugin file {file}")
        reason = _use(registry, manager, functools.partial(_import_file, path), path.stem, str(file))
        if reason:
            raise BrokenPlugin(f"Plugin file {file} is broken: {reason}")
    return registry
