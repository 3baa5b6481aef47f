"""`bench list`: list what is installed, or describe one component."""

from collections.abc import Sequence

import click

from bench.cli.completion import Names
from bench.cli.shared_options import DATA, PLUGINS
from bench.core.errors import BenchError, did_you_mean
from bench.core.kinds import ComponentKind
from bench.core.tasks import Declaration
from bench.registry.discovery import load_registry
from bench.registry.registry import Registry


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]) - 1)] if rows else []
    return ["  ".join([*(f"{c:<{w}}" for c, w in zip(row, widths, strict=False)), row[-1]]).rstrip() for row in rows]


def overview(registry: Registry, kinds: tuple[str, ...]) -> list[str]:
    """Return a line per component, by kind, then the broken plugins."""
    lines: list[str] = []
    for kind in kinds:
        rows = []
        for d in registry.declarations(kind):
            mark = " (baseline)" if d.attributes.get("baseline") else ""
            more = f" [{d.attributes['paper']}]" if d.attributes.get("paper") else ""
            rows.append((f"  {d.name}", f"v{d.version}", f"{d.summary}{mark}{more}"))
        lines += [f"{kind}s:", *_table(rows), ""]
    if registry.broken:
        lines.append("broken:")
        lines += _table([(f"  {b.name}", b.distribution, b.reason) for b in registry.broken])
    return lines


def description(declaration: Declaration) -> list[str]:
    """Return a description of one component: summary, declared attributes, parameters with types and defaults."""
    d = declaration
    lines = [f"{d.name}: {d.kind}, version {d.version}, from {d.distribution}", f"  {d.summary}"]
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
