"""Write the parts of the documents that repeat what the code defines, or check that they are up to date.

    python docs/generate.py            write them
    python docs/generate.py --check    exit with 1, and name the documents, where one is out of date

A generated part lies between two comments, `<!-- generated: NAME ARGUMENT... -->` and `<!-- end -->` (in `api.rst`,
`.. generated: NAME ARGUMENT...` and `.. end`). A table whose
last column is a meaning or a reason keeps what the document has there, row by row: code has no sentence for it. A new
row gets an empty one, which `--check` refuses.
"""

import argparse
import ast
import csv
import importlib
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import measured as figures
import measured_findings
from measured import table
from reference import api

from bench.core.spec import Recipe
from bench.core.tasks import Declaration
from bench.planning.presets import PRESETS
from bench.registry.discovery import load_registry
from bench.reporting import comparison, csv_files
from bench.results.columns import COLUMNS
from bench.verification.commitment_files import NULL_COLUMNS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")), ROOT / "docs" / "api.rst"]
PART = re.compile(
    r"(^(?:<!--|\.\.) generated: ([^>\n]+?)(?: -->)?\n)(.*?)(^(?:<!--|\.\.) end(?: -->)?$)", re.DOTALL | re.MULTILINE
)
LARGEST_FILE, LARGEST_CLASS = 300, 150
PACKAGES = re.findall(
    r"[\w/]+",
    "core stats api sandbox registry store training models datasets planning results execution analysis reporting "
    "reporting/tables reporting/html testing testing/checks verification frontend cli cli/commands",
)
"""In the order of the layers, from below."""
FILES: dict[str, Sequence[Any]] = {
    "trials.csv": COLUMNS,
    "table.csv": csv_files.CELL_COLUMNS,
    "budgets.csv": csv_files.BUDGET_COLUMNS,
    "variants.csv": csv_files.VARIANT_COLUMNS,
    "accuracy.csv": csv_files.ACCURACY_COLUMNS,
    "compare": comparison.COLUMNS,
    "nulls.csv": NULL_COLUMNS,
}
FOLDERS = {
    "plugins": "the shipped plugins (import name: bench_plugins): datasets, architectures, attacks, methods",
    "examples": "distributions as strangers would write them, for each hook",
    "results": "published runs, one folder each",
    "tests": "a folder per package; contract, house and documents; tests/outsider: a stranger's distribution",
    "benchmarks": "the measurements in the documents: speed, error rates of verdicts, accusations, transport",
    "docs": "the documents; generate.py writes their generated parts",
}


def with_meanings(head: Sequence[str], rows: Iterable[Sequence[str]], old: str, last: str = "Meaning") -> str:
    """Return a table whose last column, the meaning, is taken from the old table, by the first cell of the row."""
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in old.splitlines()]
    meanings = {line[0]: line[-1] for line in cells if len(line) > 1}
    return table([*head, last], [[*row, meanings.get(row[0], "")] for row in rows])


def docstring(path: Path) -> str:
    """Return the first line of a module's docstring, without its full stop."""
    text = re.match(r'"""(.+?)("""|\n)', path.read_text())
    return text[1].rstrip(".") if text else ""


def tree(old: str) -> str:
    """Return the ground plan: each package and each file with the first line of its docstring."""

    def entry(indent: int, name: str, text: str) -> str:
        start = f"{' ' * indent}{name}".ljust(26)
        return textwrap.fill(text, 116, initial_indent=start + " ", subsequent_indent=" " * 27)

    def files(folder: Path, indent: int) -> list[str]:
        return [entry(indent, p.name, docstring(p)) for p in sorted(folder.glob("*.py")) if p.name != "__init__.py"]

    host = ROOT / "bench"
    lines = [entry(0, "bench/", docstring(host / "__init__.py")), *files(host, 2)]
    for name in PACKAGES:
        depth = 2 + 2 * name.count("/")
        text = docstring(host / name / "__init__.py")
        lines += [entry(depth, f"{name.rpartition('/')[2]}/", text), *files(host / name, depth + 2)]
    lines += [entry(0, f"{name}/", text) for name, text in FOLDERS.items()]
    return "\n".join(["```", *lines, "```"])


def large(old: str) -> str:
    """Return the files above 300 lines and the classes above 150."""
    names = []
    for path in sorted((ROOT / "bench").rglob("*.py")):
        text, name = path.read_text(), path.relative_to(ROOT).as_posix()
        if len(text.splitlines()) > LARGEST_FILE:
            names.append(f"`{name}`")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and (node.end_lineno or 0) - node.lineno + 1 > LARGEST_CLASS:
                names.append(f"`{node.name}` in `{name}`")
    return with_meanings(["Which"], [[name] for name in names], old, "Why") if names else "None."


def shown(value: object) -> str:
    """Return a default as the documents write it: a number, a fraction, a tuple, true or false, or a name."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        fraction = Fraction(value).limit_denominator(1000)
        exact = len(f"{value:g}") > 6 and float(fraction) == value
        return str(fraction) if exact else f"{value:.15g}"
    if isinstance(value, list | tuple):
        return f"({', '.join(map(shown, value))})"
    return f"`{value}`" if isinstance(value, str) else str(value)


@cache
def declared() -> dict[str, Declaration]:
    """Return the declarations of all methods and attacks, by name."""
    registry = load_registry()
    return {d.name: d for kind in ("method", "attack") for d in registry.declarations(kind)}


def parameters(old: str, *names: str) -> str:
    """Return the parameters of components with their defaults."""
    rows = [[f"`{name}.{field}`", shown(v)] for name in names for field, v in declared()[name].params.items()]
    return with_meanings(["Parameter", "Default"], rows, old)


def presets(old: str) -> str:
    """Return the table of presets."""

    def names(them: tuple[str, ...]) -> str:
        return ", ".join(f"`{n}`" for n in them) or "all that are installed"

    lines: dict[str, list[str]] = {}
    for p in PRESETS.values():
        for title, value in {
            "scale": p.summary,
            "datasets": names(p.datasets),
            "source models": names(p.sources),
            "suspects": names(p.suspects),
            "attacks": names(p.attacks),
            "methods": names(p.methods),
            "baselines": names(p.baselines),
            "sources of each dataset and architecture (`--seeds`)": p.seeds,
            "for each source: models per suspect architecture (`--replicates`)": p.replicates,
            "for each source: models per attack that keeps its architecture (`--copies`)": p.copies,
            "for each source: irrelevant models per architecture": max(p.replicates, p.negatives),
            "for each source: irrelevant models per architecture, of an attack's target dataset": p.target_replicates,
            **{f"`recipe.{f.name}`": getattr(p.recipe, f.name) for f in fields(Recipe)},
            "`--set`": ", ".join(f"`{n}.{f}={v}`" for n, own in p.settings.items() for f, v in own.items()) or "–",
            "`--keep`": p.keep,
        }.items():
            lines.setdefault(title, []).append(f"{value:g}" if isinstance(value, float) else str(value))
    return table(["", *(f"`{n}`" for n in PRESETS)], [[title, *values] for title, values in lines.items()])


def columns(old: str, file: str) -> str:
    """Return the columns of a CSV file; those that the old table describes together stay together."""
    names = [getattr(column, "name", column) for column in FILES[file]]
    cells = re.findall(r"^\|([^|]*)\|", old, re.MULTILINE)
    groups = [[n for n in re.findall(r"`(\w+)`", cell) if n in names] for cell in cells]
    groups += [[n] for n in names if not any(n in group for group in groups)]
    ordered = sorted((sorted(group, key=names.index) for group in groups if group), key=lambda g: names.index(g[0]))
    return with_meanings(["Column"], [[", ".join(f"`{n}`" for n in group)] for group in ordered], old)


def commands(name: str) -> dict[str, click.Command]:
    """Return a command, or the commands of a group, by the words that call them."""
    command = importlib.import_module(f"bench.cli.commands.{name}").command
    return {f"{name} {k}": v for k, v in getattr(command, "commands", {}).items()} or {name: command}


def options(old: str, name: str, without: str = "") -> str:
    """Return the options of a command, with their help; without those of another one."""
    left_out = {p.name for c in (commands(without) if without else {}).values() for p in c.params} - {"store", "plugin"}
    found: dict[tuple[str, str], list[str]] = {}
    group = commands(name)
    for call, command in group.items():
        for option in command.params:
            if isinstance(option, click.Option) and option.name not in left_out:
                found.setdefault((usage(option), meaning(option)), []).append(call.removeprefix(f"{name} "))
    if len(group) > 1:
        rows = [[o, ", ".join(f"`{c}`" for c in calls), text] for (o, text), calls in found.items()]
        return table(["Option", "Of", "Meaning"], rows)
    return table(["Option", "Meaning"], [list(row) for row in found])


def usage(option: click.Option) -> str:
    """Return an option as it is typed, with what it takes."""
    takes = option.metavar or ("" if option.is_flag else "|".join(getattr(option.type, "choices", ())))
    takes = takes or (
        ""
        if option.is_flag
        else {"directory": "FOLDER", "path": "FOLDER", "file": "FILE"}.get(
            option.type.name, "N" if option.type.name.startswith("integer") else "SECONDS"
        )
    )
    return f"`{' '.join([', '.join(option.opts), *([takes] if takes else [])])}`".replace("|", "\\|")


def meaning(option: click.Option) -> str:
    """Return an option's help as a phrase of a table."""
    text = (option.help or "").rstrip(".").replace("|", "\\|")
    return text + ("; may be repeated" if option.multiple else "")


def measured(old: str, file: str, *words: str) -> str:
    """Return the figures of a CSV file that `python -m benchmarks.verify` wrote.

    A word `column=value` selects rows; this column, and those that other words name, are left out. Hits and their
    number become one cell, as do a share and its interval.
    """
    wanted = dict(word.split("=") for word in words if "=" in word)
    with (ROOT / file).open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if all(row[name] == value for name, value in wanted.items())]
    for row in rows:
        row["found"] = f"{row.pop('hits')} of {row.pop('of')}"
        row["share"] = f"{row['share']} [{row.pop('low')}, {row.pop('high')}]"
    names = [name for name in rows[0] if name not in (*wanted, *words)]
    return table([name.replace("_", " ") for name in names], [[row[name] for name in names] for row in rows])


GENERATORS: dict[str, Callable[..., str]] = {
    f.__name__: f
    for f in (
        tree,
        large,
        parameters,
        presets,
        columns,
        options,
        api,
        measured,
        *figures.GENERATORS,
        *measured_findings.GENERATORS,
    )
}


def generated(text: str) -> str:
    """Return a document with its generated parts as the code would have them."""

    def part(match: re.Match[str]) -> str:
        opening, words, old, closing = match.groups()
        name, *arguments = words.split()
        return f"{opening}{GENERATORS[name](old, *arguments)}\n{closing}"

    return PART.sub(part, text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the documents, or check them."""
    parser = argparse.ArgumentParser(description="Write the generated parts of the documents.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 where one is out of date")
    check = parser.parse_args(arguments).check
    wrong: list[Any] = []
    for path in DOCUMENTS:
        old = path.read_text()
        if (new := generated(old)) != old:
            if not check:
                path.write_text(new)
            wrong.append(f"{path.relative_to(ROOT)} is {'out of date' if check else 'written'}")
        if re.search(r"^\| .*\|  \|$", "".join(m[3] for m in PART.finditer(new)), re.MULTILINE):
            wrong.append(f"{path.relative_to(ROOT)}: a row has no meaning")
    print("\n".join(wrong) or "All documents are up to date.")
    return int(check and bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
