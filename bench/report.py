"""From the outcomes of trials to rows, from rows to tables: everything that stands in a results folder.

`trials.csv` and `run.json` are the truth ; what `render` writes is made from these two alone.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from bench import layout
from bench.accuracies import Accuracy, accuracies
from bench.cells import VERDICTS, Cell, cells, default_budget, mean, paper_mean
from bench.costs import Cost, costs
from bench.results import load
from bench.rows import COLUMNS, comma_separated, harmless, put, row, save
from bench.tables import Table, latex, markdown, text
from bench.types import JSON

__all__ = ["COLUMNS", "check", "load", "render", "row", "write"]

CELL_COLUMNS = (
    "dataset", "source_architecture", "method", "method_version", "floor", "attack", "attack_version",
    "suspect_dataset", "status", "reason", "auc", "low", "high", "stolen", "irrelevant", "sources", "auc_least",
    "auc_most", "conditional", "stolen_planned", "irrelevant_planned", "failed", "blocked", "not_run", "error",
    "same_architecture_auc", "same_architecture_stolen", "same_architecture_irrelevant", "suspects_only_auc",
    "suspects_only_low", "suspects_only_high", "suspects_only_irrelevant", "paper_auc", "paper_stolen",
    "paper_irrelevant", "paper_same_networks", "verdict",
)  # fmt: skip
"""The columns of `table.csv`: a line per cell, and one with status `mean` per method."""
ACCURACY_COLUMNS = ("dataset", "source_architecture", "source", "model", "variant", "suspect_dataset",
                    "suspect_architecture", "mean", "sd", "n", "paper")  # fmt: skip
"""The columns of `accuracy.csv`, accuracies as shares."""

Part = TypeVar("Part", Cell, Cost, Accuracy)


def write(folder: Path, rows: Iterable[Mapping[str, object]], run: Mapping[str, JSON]) -> str:
    """Write a results folder whole; give the text of its tables. BenchError where it cannot be written."""
    save(Path(folder), rows, run)
    return render(Path(folder))


def render(folder: Path) -> str:
    """Make every table of a folder from its `trials.csv` and `run.json`; give their text for a terminal.

    The same two files give the same bytes. BenchError where they are damaged or not of one run.
    """
    folder = Path(folder)
    frame, run = load(folder)
    judged, networks = cells(frame, run), accuracies(frame, run)
    prices = dict(_parts(list(costs(default_budget(frame, run), run))))
    results: list[Table] = []
    for place, part in _parts(judged):
        results += [layout.auc_table(part, run), layout.negatives_table(part)]
        results += [layout.cost_table(prices[place])] if place in prices else []
    worth = [layout.accuracy_table(part, run) for _, part in _parts(networks)]
    shown = "\n\n".join(map(text, results))
    put(folder / "table.csv", comma_separated(CELL_COLUMNS, map(_plain, _cell_lines(judged))))
    put(folder / "table.md", "\n".join(["# Results\n", *map(markdown, results)]))
    put(folder / "table.tex", "\n".join(["% needs \\usepackage{booktabs}\n", *map(latex, results)]))
    put(folder / "table.txt", shown)
    put(folder / "accuracy.csv", comma_separated(ACCURACY_COLUMNS, map(_plain, _accuracy_lines(networks))))
    put(folder / "accuracy.md", "\n".join(["# Test accuracies\n", *map(markdown, worth)]))
    return shown


def check(folder: Path) -> str:
    """Hold a folder's AUCs against those of the papers: a verdict per cell, and how often each was given."""
    judged = cells(*load(Path(folder)))
    counts = Counter(c.verdict for c in judged)
    total = ", ".join(f"{counts[v]} {v}" for v in VERDICTS)
    return "\n\n".join([*(text(layout.check_table(part)) for _, part in _parts(judged)), f"all cells: {total}\n"])


def _parts(things: Sequence[Part]) -> Iterator[tuple[tuple[str, str], list[Part]]]:
    """Divide what is known, which stand in order, by dataset and source architecture."""
    for place, part in itertools.groupby(things, key=lambda t: (t.dataset, t.source_architecture)):
        yield place, list(part)


def _plain(values: Iterable[object]) -> list[str]:
    """Write the values of a line: floats so that they are read back exactly, no text that could be a formula."""

    def one(value: object) -> str:
        if value is None or value != value:
            return ""
        if isinstance(value, bool):
            return str(int(value))
        return (
            repr(float(value))
            if isinstance(value, float)
            else harmless(str(value))
            if isinstance(value, str)
            else str(value)
        )

    return [one(v) for v in values]


def _cell_lines(judged: Sequence[Cell]) -> Iterator[list[object]]:
    for _, cell_rows in itertools.groupby(judged, key=lambda c: (c.dataset, c.source_architecture, c.method)):
        row = list(cell_rows)
        yield from map(_cell_line, row)
        yield _mean_line(row)


def _cell_line(c: Cell) -> list[object]:
    f, strata, only, paper = c.figure, c.same_architecture, c.suspects_only, c.paper
    return [
        c.dataset, c.source_architecture, c.method, c.method_version, c.floor, c.attack, c.attack_version,
        c.suspect_dataset, c.status, c.reason,
        *((f.auc, f.low, f.high, f.stolen, f.irrelevant) if f else [None] * 5),
        *((len(f.by_source), *f.range, f.conditional) if f else [None] * 4),
        c.stolen_planned, c.irrelevant_planned, *(c.lost.get(s, 0) for s in ("failed", "blocked", "not_run")),
        max(c.errors, key=lambda e: c.errors[e], default=""),
        *((strata.auc, strata.stolen, strata.irrelevant) if strata else [None] * 3),
        *((only.auc, only.low, only.high, only.irrelevant) if only else [None] * 4),
        *((paper.auc, paper.stolen or None, paper.irrelevant or None, paper.same) if paper else [None] * 4),
        c.verdict,
    ]  # fmt: skip


def _mean_line(row: Sequence[Cell]) -> list[object]:
    first, paper = row[0], paper_mean(row)
    known: dict[str, object] = {
        "dataset": first.dataset, "source_architecture": first.source_architecture, "method": first.method,
        "method_version": first.method_version, "floor": first.floor, "status": "mean", "auc": mean(row),
        "paper_auc": paper.auc if paper else None, "paper_same_networks": paper.same if paper else None,
    }  # fmt: skip
    return [known.get(c) for c in CELL_COLUMNS]


def _accuracy_lines(networks: Sequence[Accuracy]) -> Iterator[list[object]]:
    for a in networks:
        yield [a.dataset, a.source_architecture, a.owner, a.model, a.variant, a.suspect_dataset,
               a.suspect_architecture, *a.summary, a.paper]  # fmt: skip
