"""The registry: every installed component by kind and name, and every broken plugin."""

import hashlib
import inspect
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from bench.api.components import Architecture, Attack, Component, Dataset, Method, Watermark, fields_of
from bench.core.canonical import JSON, canonical
from bench.core.errors import BenchError, BrokenPlugin, describe_error, did_you_mean, printable
from bench.core.kinds import ComponentKind
from bench.core.tasks import Declaration
from bench.registry import imports, sources
from bench.registry.fields import annotations, coerce, hyperparameters, plain_attributes
from bench.registry.validation import LONGEST_TEXT, contract_violation
from bench.sandbox.process_state import genuine_interrupts

HOOKS: dict[str, type[Component]] = {f"bench_{base.kind}s": base for base in (Dataset, Architecture, Attack, Method)}
"""The hooks, with the base class of what each returns."""

SESSION = "a Python session"
"""The distribution of components that are objects of a session; see `session.py`."""
OWN = "fingerprint-bench"
"""The distribution that ships the host and the components of the paper."""
LONGEST_VARIANT = 100
"""Characters of an attack's variant, which is a cell of `trials.csv`."""


@dataclass(frozen=True)
class Broken:
    """A plugin that cannot be used, and the reason."""

    name: str
    distribution: str
    reason: str


@dataclass(frozen=True)
class Entry:
    """A component, the distribution that provides it, and the real path of its plugin's file (empty: unknown).

    `text` is that of the module of its class, as it was imported; `source` the digest of its code if it has no file.
    """

    component: Component
    distribution: str
    file: str = ""
    text: bytes = b""
    source: str = ""

    @property
    def is_shipped(self) -> bool:
        """Return True if it is of this distribution, and not of another one, a plugin file or a session."""
        return self.distribution.split(" ")[0] == OWN


@dataclass
class Registry:
    """Every installed component by kind and name, and every broken plugin."""

    entries: dict[str, dict[str, Entry]] = field(default_factory=lambda: {kind: {} for kind in ComponentKind})
    broken: list[Broken] = field(default_factory=list)

    @property
    def of_session(self) -> set[tuple[str, str]]:
        """Return kind and name of the components that are objects of this Python session."""
        return {
            (kind, n) for kind, names in self.entries.items() for n, e in names.items() if e.distribution == SESSION
        }

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the names of a kind of component, sorted."""
        return tuple(sorted(self.entries[kind]))

    def kind_of(self, name: str) -> str | None:
        """Return the kind of the component with this name; None if there is none."""
        return next((kind for kind in ComponentKind if name in self.entries[kind]), None)

    def get(self, kind: str, name: str, settings: Mapping[str, JSON] | None = None) -> Any:
        """Return a component, with some of its fields set; BenchError with a suggestion if there is none."""
        self._known(kind, name)
        component = self.entries[kind][name].component
        if settings:  # a component of a Python session may have annotations that cannot be read in another process
            usual = {name: (type(value), value) for name, value in hyperparameters(component).items()}
            settings = {name: value for name, value in settings.items() if usual.get(name) != (type(value), value)}
        return configured(component, settings) if settings else component

    def _known(self, kind: str, name: str) -> None:
        if name in self.entries[kind]:
            return
        for broken in self.broken:
            if broken.name == name:
                raise BrokenPlugin(f"Plugin {name!r} of {broken.distribution} is broken: {broken.reason}")
        if other := self.kind_of(name):
            raise BenchError(f"{name!r} is of kind {other}, not {kind}: --{other}s takes it. See: bench list {kind}s")
        hint = did_you_mean(name, self.names(kind))
        new = "" if hint else " (a newly added plugin shows after: pip install -e ., one in a file with --plugin FILE)"
        names = ", ".join(b.name for b in self.broken)
        broken_plugins = f". Broken plugins, which may contain it: {names}" if names else ""
        raise BenchError(f"Unknown {kind} {name!r}. {hint}See: bench list {kind}s{new}{broken_plugins}")

    def declaration(
        self, kind: str, name: str, settings: Mapping[str, JSON] | None = None, copies: int = 0
    ) -> Declaration:
        """Return a component as plain data, with `settings` applied and the names of `copies` variants."""
        component = self.get(kind, name, settings)
        entry = self.entries[kind][name]
        made = max(copies, component.strengths) if copies and isinstance(component, Attack) else 0
        variants = tuple(_variant(component, i) for i in range(made))
        summary = (inspect.getdoc(type(component)) or "").split("\n")[0]
        return Declaration(
            kind=kind,
            name=name,
            version=component.version,
            params=hyperparameters(component),
            attributes=plain_attributes(component),
            distribution=entry.distribution,
            summary=printable(summary[:LONGEST_TEXT]),
            watermark=isinstance(component, Watermark),
            types=annotations(component),
            variants=variants,
        )

    def declarations(self, kind: str) -> tuple[Declaration, ...]:
        """Return all components of a kind as plain data."""
        return tuple(self.declaration(kind, name) for name in self.names(kind))

    def source_digest(self, kind: str, name: str) -> str:
        """Return a digest of the source that a component was imported from; empty if it has none.

        It includes the modules of the same plugin that its module imports.
        """
        return self.source_digests(kind, name)[0]

    def source_digests(self, kind: str, name: str) -> tuple[str, ...]:
        """Return the digest of a component's source, and the one that artifacts recorded before 1.0.0rc2."""
        entry = self.entries[kind][name]
        if entry.source:
            return (entry.source,)
        if path := _path(entry.component, entry.file):
            own = sources.digest(type(entry.component).__module__, path, entry.text)
            return own, hashlib.sha256(entry.text).hexdigest()
        with suppress(OSError, TypeError):  # its class was typed in, or made by a function
            return (hashlib.sha256(inspect.getsource(type(entry.component)).encode()).hexdigest(),)
        return ("",)

    def relocate(self, old: str, new: str) -> None:
        """Record that the components of one plugin's file are those of another file, which has the same text."""
        for entries in self.entries.values():
            entries.update({n: replace(e, file=new) for n, e in entries.items() if e.file == old})

    def add(self, component: Component, distribution: str, file: str = "", source: str = "") -> None:
        """Add a component; two with one name, of any kind, become broken, because `--set` looks names up."""
        other = self.kind_of(component.name)
        if other is not None:
            first = self.entries[other].pop(component.name)
            both = f"{other} of {first.distribution} and {component.kind} of {distribution}"
            reason = f"two plugins have this name: {both}. Rename one, uninstall it, or leave --plugin out"
            self.broken.append(Broken(component.name, f"{first.distribution} and {distribution}", reason))
            return
        for i, b in enumerate(self.broken):
            if b.name == component.name and b.reason.startswith("two plugins"):
                self.broken[i] = replace(b, distribution=f"{b.distribution} and {distribution}")
                return
        text = imports.text_of(_path(component, file))
        self.entries[component.kind][component.name] = Entry(component, distribution, file, text, source)


def _path(component: Component, file: str) -> str:
    """Return the path of the module of a component's class, or that of its plugin; empty: neither has a file."""
    return imports.module_path(type(component).__module__) or file


def _variant(attack: Attack, replicate: int) -> str:
    """Return the variant of one copy of an attack; BenchError if it is no short text."""
    with genuine_interrupts():
        try:
            text = attack.variant(replicate)
        except BaseException as error:  # plugin code may raise anything
            way = ". There may be any number of copies: take replicate % N" if isinstance(error, LookupError) else ""
            raise BenchError(f"{attack.name}.variant({replicate}) failed: {describe_error(error)}{way}") from error
    if not isinstance(text, str) or not text.isprintable() or len(text) > LONGEST_VARIANT:
        most = f"at most {LONGEST_VARIANT} printable characters"
        raise BenchError(f"{attack.name}.variant({replicate}) must return {most}, not {text!r:.80}")
    return text


def _equal(present: JSON, value: object) -> bool:
    """Return whether a value is the present one; what is no plain data, such as NaN, never is."""
    try:
        return canonical(present) == canonical(value)
    except (ValueError, TypeError):
        return False


def configured(component: Component, settings: Mapping[str, JSON]) -> Component:
    """Return a component with some fields set, each converted to its annotation; BenchError if one does not fit.

    A field that has the value already keeps it as it is: the text "5" stays text where the annotation is `int | str`.
    A field that the component computes itself (`init=False`) must get the value.
    """
    present = hyperparameters(component)
    values = {
        name: coerce(component, name, value)
        for name, value in settings.items()
        if name not in present or not _equal(present[name], value)
    }
    if not values:
        return component
    computed = {f.name for f in fields_of(component) if not f.init}
    try:
        changed = replace(component, **{n: v for n, v in values.items() if n not in computed})  # type: ignore[type-var]
    except BenchError:
        raise
    except Exception as error:  # a plugin's `__post_init__` may raise anything
        why = str(error) if isinstance(error, ValueError | TypeError) else describe_error(error)
        raise BenchError(f"{component.name} does not take {values}: {why}") from error
    reason = contract_violation(changed)
    if reason:
        raise BenchError(f"{component.name} with {values} is not usable: {reason}")
    for name in sorted(computed & values.keys()):
        if not _equal(found := hyperparameters(changed)[name], values[name]):
            raise BenchError(f"{component.name}.{name} is computed from its other fields, which make it {found}")
    return changed
