"""Tables of what was measured: each with the machine, the software, the date and the load it was measured under."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from bench.core.hardware import hardware
from benchmarks.measure import HEADERS, Row

LIBRARIES = ("torch", "torchvision", "numpy", "pandas", "distributed")
INTRODUCTION = """\
# Speed, as measured

What `python -m benchmarks` printed last, part by part ([how to run it](../docs/speed.md)). `ours` and `other` are
medians with [least, most] over the rounds, `ratio` is the median of the ratios of the rounds, in which both sides stood
next to each other. `other` is the plain loop; of scaling it is the smaller problem, of many networks on a GPU the same
ones one after the other, of shares of the peak the rate of a large matrix product.
"""


def load_average() -> float:
    """Return how many processes wanted to run, on average over the last minute."""
    return os.getloadavg()[0]


def machine() -> str:
    """Describe in a line what was measured on: processor, GPUs, versions, commit."""
    import torch

    machine = hardware()
    cards = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    versions = [f"Python {sys.version.split()[0]}", *(f"{n} {importlib.metadata.version(n)}" for n in LIBRARIES)]
    parts = (f"{machine['cpu']}, {machine['cores']} cores", ", ".join(cards) or "no GPU", str(machine["system"]))
    return "; ".join([*parts, ", ".join(versions), f"commit {_commit()}"])


def _commit() -> str:
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


def keep(path: Path, part: str, text: str) -> None:
    """Put a section into the file, in place of the one of the same part or at the end; others stay as they are."""
    content = path.read_text(encoding="utf-8") if path.exists() else INTRODUCTION
    head, *sections = re.split(r"^(?=## )", content, flags=re.MULTILINE)
    titles = [s.split("\n", 1)[0].removeprefix("## ").strip() for s in sections]
    if part in titles:
        sections[titles.index(part)] = text
    else:
        sections.append(text)
    path.write_text("\n".join(piece.strip() + "\n" for piece in (head, *sections)), encoding="utf-8")
