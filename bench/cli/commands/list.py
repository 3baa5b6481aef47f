"""`bench list`: list what is installed, or describe one component."""

from collections.abc import Sequence
from itertools import groupby

import click

from bench.cli.completion import Names
from bench.cli.shared_options import DATA, PLUGINS
from bench.core.errors import BenchError, did_you_mean
from bench.core.kinds import Access, ComponentKind, Evidence
from bench.core.tasks import Declaration
from bench.registry.discovery import load_registry
from bench.registry.registry import Registry


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]) - 1)] if rows else []
    return ["  ".join([*(f"{c:<{w}}" for c, w in zip(row, widths, strict=False)), row[-1]]).rstrip() for row in rows]


def overview(registry: Registry, kinds: tuple[str, ...]) -> list[str]:
    """Return a line per component, by kind, then the broken plugins.

    Attacks are grouped by the access to the source that they need; methods by kind of evidence and by the access to a
    suspect, each group with its baselines last.
    """
    lines: list[str] = []
    for kind in kinds:
        found = sorted(registry.declarations(kind), key=_place)
        rows = []
        for d in found:
            mark = " (baseline)" if d.attributes.get("baseline") else ""
            more = f" [{d.attributes['paper']}]" if d.attributes.get("paper") else ""
            rows.append((f"  {d.name}", f"v{d.version}", f"{d.summary}{mark}{more}"))
        lines.append(f"{kind}s:")
        for heading, group in groupby(zip(found, _table(rows), strict=True), key=lambda pair: _heading(pair[0])):
            lines += [*([f" {heading}:"] if heading else []), *(line for _, line in group)]
        lines.append("")
    if registry.broken:
        lines.append("broken:")
        lines += _table([(f"  {b.name}", b.distribution, b.reason) for b in registry.broken])
    return lines


def _heading(declaration: Declaration) -> str:
    """Return the heading of a component's group: kind of evidence and access, as far as its kind has them."""
    evidence = str(declaration.evidence) if declaration.kind == ComponentKind.METHOD else ""
    return ", ".join(filter(None, (evidence, declaration.attributes.get("access"))))


def _place(declaration: Declaration) -> tuple[int, int, bool, str]:
    """Return what orders the components of a kind."""
    attributes = declaration.attributes
    evidence = tuple(Evidence).index(declaration.evidence)
    return evidence, Access.rank(attributes.get("access", "")), bool(attributes.get("baseline")), declaration.name


def description(declaration: Declaration) -> list[str]:
    """Return a description of one component: summary, declared attributes, parameters with types and defaults."""
    d = declaration
    lines = [f"{d.name}: {d.kind}, version {d.version}, from {d.distribution}", f"  {d.summary}"]
    if d.kind == ComponentKind.METHOD:
        where = "put into the source while it is trained" if d.watermark else "read off the finished source"
        lines.append(f"  evidence: {d.evidence}, {where}")
    skip = ("reported", "reported_accuracy", "downloads", "checksums")
    lines += [f"  {n}: {v}" for n, v in d.attributes.items() if v not in ("", [], {}, None) and n not in skip]
    if d.params:
        lines.append("  parameters (--set):")
        lines += _table([(f"    {d.name}.{n}", d.types.get(n, ""), f"= {v}") for n, v in d.params.items()])
    return lines


@click.command("list")
@click.argument("what", required=False, type=Names(more=[f"{kind}s" for kind in ComponentKind]))
@DATA
@PLUGINS
def command(what: str | None, data: str | None, plugins: tuple[str, ...]) -> None:
    """List what is installed: everything, a kind (such as `methods`), or one component by name."""
    registry = load_registry(plugins, data=data)
    kinds = {f"{kind}s": kind for kind in ComponentKind}
    if what is None or what in kinds:
        click.echo("\n".join(overview(registry, (kinds[what],) if what else tuple(ComponentKind))).rstrip())
    elif kind := registry.kind_of(what):
        click.echo("\n".join(description(registry.declaration(kind, what))))
    else:
        for broken in (b for b in registry.broken if b.name == what):
            raise BenchError(f"Plugin {what!r} of {broken.distribution} is broken: {broken.reason}")
        every = [*kinds, *(n for k in ComponentKind for n in registry.names(k))]
        raise BenchError(f"There is no component {what!r}. {did_you_mean(what, every)}See: bench list")
