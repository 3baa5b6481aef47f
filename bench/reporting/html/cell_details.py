"""What a page shows of cells: a little in the table of AUCs, everything in the dialog of a cell."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from bench.analysis.cell_statistics import STATISTICS, Value
from bench.analysis.cells import Cell
from bench.analysis.costs import Cost
from bench.analysis.groups import Samples
from bench.analysis.means import mean
from bench.core.canonical import JSON
from bench.core.kinds import Status
from bench.reporting.html.distributions import Curves, Detail, Distributions
from bench.reporting.tables.auc import auc_lines, mean_lines
from bench.reporting.tables.method_table import by_method
from bench.reporting.tables.notes import MOST_NAMED, lacks
from bench.reporting.tables.table import shown, three_digits


class ShownCell(NamedTuple):
    """A cell as it is shown. `number`: its index in the details of the page; `kind`, `style`: class and style."""

    number: int
    kind: str
    value: str
    lines: Sequence[str] = ()
    style: str = ""


def shown_rows(cells: Sequence[Cell], first: int) -> Iterator[tuple[str, bool, list[ShownCell], ShownCell, bool]]:
    """Return the rows of a table, cells numbered from `first` on.

    Each is a method, whether it is a baseline, its cells and their mean, and whether it looks at weights.
    """
    numbers = itertools.count(first)
    for method, row in by_method(cells).items():
        yield method, row[0].baseline, [_shown(c, next(numbers)) for c in row], _mean(row), row[0].white_box


def _shown(c: Cell, number: int) -> ShownCell:
    if c.reason:
        return ShownCell(number, "na", "–")
    value, *lines = map(shown, auc_lines(c))
    f = c.figure
    if f is None:
        failed = c.lost.keys() & {Status.FAILED, Status.BLOCKED}
        lost = Status.FAILED.value if failed else "not run" if Status.NOT_RUN in c.lost else "not applicable"
        value = "not trained" if c.untrained else lost if c.lost else lacks(c)
        return ShownCell(number, "lost", value, lines)
    style = f"{_shade(f.auc)};--l:{100 * f.low:.0f};--h:{100 * f.high:.0f};--v:{100 * f.auc:.0f}"
    return ShownCell(number, "low" if f.auc < 0.5 else "", value, lines, style)


def _mean(row: Sequence[Cell]) -> ShownCell:
    auc = mean(row)
    if auc is None:
        return ShownCell(-1, "none", "")
    value, *lines = map(shown, mean_lines(row))
    return ShownCell(-1, "low" if auc < 0.5 else "", value, lines, _shade(auc))


def _shade(auc: float) -> str:
    """Return how strongly an AUC is coloured, in percent: 0 at 0.5, more with the distance from it."""
    return f"--k:{100 * abs(2 * auc - 1) ** 1.6:.0f}"


class CellDetails:
    """Collects the details of cells. A text that many cells share is stored once, and numbered."""

    def __init__(
        self,
        samples: Samples,
        variants: Sequence[str],
        detail: Detail | None,
        curves: Curves,
        names: Sequence[str] = (),
    ) -> None:
        self.texts: dict[str, int] = {}
        self.cells: list[JSON] = []
        self.distributions = Distributions(samples, variants, detail, names, curves=curves) if detail else None

    def add(self, cells: Sequence[Cell]) -> list[JSON]:
        """Add the cells of one table, and return their details."""
        details: list[JSON] = [*map(self._cell, cells)]
        self.cells += details
        return details

    def to_json(self) -> dict[str, JSON]:
        """Return everything that was added."""
        distributions = self.distributions
        return {
            "measures": {
                s.key: {"title": s.title, "scale": s.scale, "digits": s.digits}
                for s in STATISTICS
                if any(s.key in c["m"] for c in self.cells)
            },
            "cells": self.cells,
            "texts": list(self.texts),
            "models": list(distributions.models) if distributions else [],
            "irrelevant": [list(numbers) for numbers in distributions.irrelevant] if distributions else [],
        }

    def _text(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts))

    def _cell(self, c: Cell) -> dict[str, JSON]:
        where = (c.dataset, c.source_architecture, c.method, c.attack)
        spread = self.distributions.of(*where) if self.distributions and c.figure else None
        details: dict[str, JSON] = {
            "at": [self._text(t) for t in (*where, c.suspect_dataset)],
            "status": c.status,
            "planned": [c.stolen_planned, c.irrelevant_planned],
            "m": {s.key: _measure(v) for s in STATISTICS if (v := s.value(c))},
            "reason": c.reason and self._text(c.reason),
            "lost": dict(c.lost),
            "messages": [[self._text(e), n] for e, n in c.errors.items()],
            "paper": [_round(c.paper.auc), c.paper.stolen, c.paper.irrelevant, int(c.paper.same)] if c.paper else None,
            "verdict": self._text(c.verdict) if c.paper else None,
            "baselines": self._baselines(c),
            "spread": spread,
            "elsewhere": not c.home,
            "unlearned": [self._text(f"{n.name} ({100 * n.accuracy:.1f} %)") for n in c.unlearned[:MOST_NAMED]],
            "tied": c.tied,
            "equal": c.equal or None,
        }
        if c.figure:
            details["n"] = [c.figure.stolen, c.figure.irrelevant]
            if len(c.figure.by_source) > 1:
                details["sources"] = [len(c.figure.by_source), *map(_round, c.figure.range)]
            details["conditional"] = c.figure.conditional
        return {k: v for k, v in details.items() if k == "m" or not (v is None or v is False or v in ("", {}, []))}

    def _baselines(self, c: Cell) -> JSON:
        if not (f := c.baselines):
            return None
        p, adjusted = (None if value is None else float(f"{value:.2g}") for value in (f.p, f.adjusted))
        return [int(f.beaten), self._text(f.baseline), _round(f.difference), p, adjusted, f.tests]


def _measure(v: Value) -> JSON:
    """Return a value with its interval, or the number of irrelevant models that it needs."""
    return v.needs if v.value is None else [_round(x) for x in (v.value, v.low, v.high) if x is not None]


def _round(value: float) -> float:
    """Return four digits, or all of them where four would be rounded to two other ones."""
    short = round(float(value), 4)
    return short if f"{short:.2f}" == f"{value:.2f}" else float(value)


def cost_words(c: Cost) -> str:
    """Write what a method costs, in a line."""
    queries = " to ".join(map(str, dict.fromkeys(c.queries or ())))
    parts = [
        f"asks for {c.access}" if c.access else "",
        f"{queries} queries per suspect" if queries else "",
        f"{three_digits(c.seconds_to_verify)} s to verify one" if c.seconds_to_verify is not None else "",
        f"{three_digits(c.seconds_to_make)} s to make the fingerprint" if c.seconds_to_make is not None else "",
        f"{c.networks} more networks trained" if c.networks else "",
        f"{100 * c.lost:.1f} points of the source's accuracy lost" if c.lost is not None else "",
    ]
    return ", ".join(filter(None, parts))


def component_words(entry: Mapping[str, JSON], name: str) -> dict[str, str]:
    """Return what describes a component: its summary, paper, version and parameters."""
    return {
        "name": name,
        "summary": str(entry.get("summary") or ""),
        "paper": str(entry["attributes"].get("paper") or ""),
        "version": f"version {entry['version']}, {entry.get('distribution') or 'of unknown origin'}",
        "params": ", ".join(f"{k}={v}" for k, v in sorted(entry["params"].items())),
    }
