"""Tables of what was measured: each with the machine, the software, the date and the load it was measured under.

A machine has a file of its own, and the index shows the ratios of all machines side by side.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tabulate import tabulate

from bench.core.hardware import cores, cpu_model, hardware, instruction_set
from bench.execution.machine import VARIABLES
from bench.store.atomic import write_atomically
from benchmarks.measure import HEADERS, Row

LIBRARIES = ("torch", "torchvision", "numpy", "pandas", "distributed")
TITLE = "# Speed, machine by machine"
OF = ": "
"""Stands between a part and what a table of the part is about, such as a network."""
INTRODUCTION = f"""\
{TITLE}

What `python -m benchmarks` printed last on each machine ([how to run it](../docs/speed.md)). A machine's own file has
both sides in seconds, rounds, notes, versions and load; here is the median of the ratios of the rounds, with [least,
most], or the figure itself where there is no other side; in brackets the target, and whether it is met. What is missed
and what was tried is in [Not met, and why](../docs/speed.md#not-met-and-why).
"""
MACHINE = """\
`ours` and `other` are medians with [least, most] over the rounds, `ratio` is the median of the ratios of the rounds, in
which both sides stood next to each other. `other` is the plain loop; of scaling it is the smaller problem, of many
networks on a GPU the same ones one after the other, of shares of the peak the rate of a large matrix product.
"""


def load_average() -> float:
    """Return how many processes wanted to run, on average over the last minute."""
    return os.getloadavg()[0]


def name() -> str:
    """Return what tells machines apart: processor, cores, instruction set, GPUs, and variables that cap them."""
    import torch

    cards = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    caps = [f"{v}={os.environ[v][:40]}" for v in VARIABLES if os.environ.get(v)]
    return ", ".join([cpu_model(), f"{cores()} cores", instruction_set(), *(cards or ["no GPU"]), *caps])


def machine() -> str:
    """Describe in a line what was measured on: the machine, versions, commit."""
    versions = [f"Python {sys.version.split()[0]}", *(f"{n} {_version(n)}" for n in LIBRARIES)]
    return "; ".join([name(), str(hardware()["system"]), ", ".join(versions), f"commit {_commit()}"])


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "is not here"


def _commit() -> str:
    if packed := os.environ.get("BENCH_COMMIT"):  # gpu_machine.sh carries no repository
        return packed
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
        dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return (head.stdout.strip() or "unknown") + (" with changes" if dirty.stdout.strip() else "")


def section(part: str, rows: Sequence[Row], command: str, before: float, spent: float) -> str:
    """Write the section of a part: the command, the machine and its load, the table."""
    heading = (
        f"{datetime.date.today()}, `{command}`, {spent / 60:.1f} minutes for this part; {machine()}; "
        f"load average before {before:.1f}, after {load_average():.1f}."
    )
    table = tabulate([row.cells() for row in rows], HEADERS, tablefmt="github", disable_numparse=True)
    return f"## {part}\n\n{heading}\n\n{table}\n"


def replaceable(path: Path) -> bool:
    """Return True if `keep` may write its index here: there is no file, or one that it wrote."""
    return not path.exists() or path.read_text(encoding="utf-8").startswith(TITLE)


def keep(path: Path, part: str, text: str) -> None:
    """Put a section into this machine's file, and the ratios of all machines into the index at `path`.

    The section replaces the one of the same part and machine. Of another table of the same part, the rows that stand in
    this one are removed; all others stay as they are.
    """
    where = name()
    own = path.parent / "results" / (re.sub(r"[^a-z0-9]+", "-", where.lower()).strip("-") + ".md")
    own.parent.mkdir(parents=True, exist_ok=True)
    content = own.read_text(encoding="utf-8") if own.exists() else f"# {where}\n\n{MACHINE}"
    head, *sections = re.split(r"^(?=## )", content, flags=re.MULTILINE)
    titles = [s.split("\n", 1)[0].removeprefix("## ").strip() for s in sections]
    again = {row["what"] for _, row in rows(text)}
    for place, (title, section) in enumerate(zip(titles, sections, strict=True)):
        if title != part and _group(title) == _group(part):
            sections[place] = "".join(line for line in section.splitlines(True) if _first_cell(line) not in again)
    if part in titles:
        sections[titles.index(part)] = text
    else:
        sections.append(text)
    sections = [s for s in sections if any(rows(s))]
    write_atomically(own, "\n".join(piece.strip() + "\n" for piece in (head, *sections)))
    write_atomically(path, index(sorted(own.parent.glob("*.md"))))


def _group(title: str) -> str:
    return title.split(OF)[0]


def _first_cell(line: str) -> str:
    return line.split("|")[1].strip() if line.startswith("|") else ""


def index(files: Sequence[Path]) -> str:
    """Return the text of the index: a table for each part, with a column for each machine."""
    parts: dict[str, dict[str, dict[str, str]]] = {}
    links = {}
    for file in files:
        content = file.read_text(encoding="utf-8")
        where = content.split("\n", 1)[0].removeprefix("# ").strip()
        links[where] = f"[{where}](results/{file.name})"
        for part, row in rows(content):
            parts.setdefault(part, {}).setdefault(row["what"], {})[where] = short(row)
    text = [INTRODUCTION]
    for part, found in parts.items():
        there = [m for m in links if any(m in cells for cells in found.values())]
        lines = [[what, *(cells.get(m, "") for m in there)] for what, cells in found.items()]
        table = tabulate(lines, ["what", *(links[m] for m in there)], tablefmt="github", disable_numparse=True)
        text.append(f"## {part}\n\n{table}\n")
    return "\n".join(text)


def rows(content: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Read the rows of a machine's file back: the part, in whichever of its tables, and the cells by header."""
    part = ""
    for line in content.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]] if line.startswith("|") else []
        if line.startswith("## "):
            part = _group(line.removeprefix("## ").strip())
        elif len(cells) == len(HEADERS) and cells != [*HEADERS] and cells[0].strip("-:"):
            yield part, dict(zip(HEADERS, cells, strict=True))


def short(row: dict[str, str]) -> str:
    """Return a row in a cell: its ratio, or its figure, with the target and whether that is met."""
    figure = row["ratio"] or row["ours"]
    met = "**no**" if row["met"] == "no" else row["met"]
    target = f"({row['target']}: {met})" if row["target"] else ""
    return " ".join(filter(None, (figure, target))) or "its note"
