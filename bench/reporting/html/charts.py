"""Choose what the charts of a page show: which methods, against which costs, in which colours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from bench.analysis.accuracies import Accuracy
from bench.analysis.budgets import AtBudget
from bench.analysis.cells import Cell, mean
from bench.analysis.costs import Cost
from bench.core.canonical import JSON
from bench.core.spec import Spec
from bench.reporting.html import svg
from bench.reporting.html.svg import Chart, Group, Line, Point
from bench.reporting.tables.method_table import by_method

MOST_CHARTS = 24
"""On one page: they take a twentieth of a second each."""


@dataclass
class Drawn:
    """Charts that belong together, the legend of their colours, what is said below them, and how many were left out."""

    charts: list[Chart] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)
    note: str = ""
    left_out: int = 0


class Charts:
    """Draws the charts of a page, up to MOST_CHARTS; a method or an architecture has one colour in all of them."""

    def __init__(self, run: Mapping[str, JSON]) -> None:
        spec = Spec.from_json(run["spec"])
        self.left = MOST_CHARTS
        self.methods = {m: n for n, m in enumerate(spec.methods)}
        self.architectures = {a: n for n, a in enumerate(dict.fromkeys((*spec.sources, *spec.suspects)))}

    def drawing(self) -> AbstractContextManager[None]:
        """Prepare for charts; they are drawn within, once for all, for this takes as long as a chart."""
        return svg.drawing()

    def cost(self, cells: Sequence[Cell], costs: Sequence[Cost]) -> Drawn:
        """Draw mean AUCs against seconds and networks for a fingerprint, and queries and seconds per suspect."""
        aucs = {m: value for m, row in by_method(cells).items() if (value := mean(row)) is not None}
        count = sum(c.home for c in cells if c.method == cells[0].method)
        drawn = Drawn(note=f"AUC: the mean of {count} attacks that stay with the source's dataset; the dashed line is "
                           "chance, hollow points are baselines.")  # fmt: skip
        without = sorted({c.method for c in costs} - set(aucs))
        if without:
            drawn.note += f" Without a mean, hence not in the charts: {', '.join(without)}."
        kinds: list[tuple[str, str, Callable[[Cost], float | None], bool]] = [
            ("Making a fingerprint", "seconds", lambda c: c.seconds_to_make, True),
            ("Networks trained for it", "networks", lambda c: c.networks, False),
            ("Verifying a suspect", "seconds", lambda c: c.seconds_to_verify, True),
            ("Queries to verify a suspect", "queries", lambda c: c.queries[1] if c.queries else None, False),
        ]
        for title, label, what, log in kinds:
            found = [(c.method, what(c), c.baseline) for c in costs if c.method in aucs]
            points = [Point(m, x, aucs[m], self._series(m, baseline)) for m, x, baseline in found
                      if x is not None and (x > 0 or not log)]  # fmt: skip
            if points:
                self._draw(drawn, svg.against_cost, title, points, label, log)
        return drawn

    def budgets(self, points: Sequence[AtBudget]) -> Drawn:
        """Draw AUCs against the number of queries: their mean, then for each attack."""
        drawn = Drawn()
        rows: dict[str, dict[int, list[Cell]]] = {}
        for p in points:
            rows.setdefault(p.cell.method, {}).setdefault(p.budget, []).append(p.cell)
        if not rows:
            return drawn
        lines = {m: [(b, v) for b, row in sorted(by.items()) if (v := mean(row)) is not None] for m, by in rows.items()}
        self._lines(drawn, "Mean of the attacks that stay", lines, points)
        for attack in dict.fromkeys(p.cell.attack for p in points):
            found: dict[str, list[tuple[int, float]]] = {}
            for m, by in rows.items():
                figured = [(b, c.figure) for b, row in sorted(by.items()) for c in row if c.attack == attack]
                found[m] = [(b, f.auc) for b, f in figured if f]
            self._lines(drawn, attack, found, points)
        drawn.legend = list(self._legend((m, self.methods.get(m)) for m in rows))
        return drawn

    def accuracies(self, networks: Sequence[Accuracy]) -> Drawn:
        """Draw the accuracies of all networks, a chart for each owner: the plain source, and each watermark."""
        drawn = Drawn(note="Means and standard deviations of test accuracies, by architecture.")
        for owner in dict.fromkeys(a.owner for a in networks):
            groups = [
                Group(_kind(a), a.suspect_architecture, a.summary.mean, a.summary.sd,
                      self.architectures.get(a.suspect_architecture, 0), a.paper)
                for a in networks if a.owner == owner and a.suspect_architecture
            ]  # fmt: skip
            whose = "Plain source and suspects" if owner == "plain" else f"Source marked by {owner} and suspects"
            if groups and len({g.row for g in groups}) <= 60:
                self._draw(drawn, svg.accuracies, whose, groups)
        shown = dict.fromkeys(a.suspect_architecture for a in networks if a.suspect_architecture)
        drawn.legend = list(self._legend((a, self.architectures.get(a, 0)) for a in shown)) if drawn.charts else []
        if any(a.paper is not None for a in networks):
            drawn.note += " Hollow diamonds: a paper's figure."
        return drawn

    def _lines(
        self, drawn: Drawn, title: str, found: Mapping[str, Sequence[tuple[int, float]]], points: Sequence[AtBudget]
    ) -> None:
        baselines = {p.cell.method: p.cell.baseline for p in points}
        lines = [Line(m, line, self._series(m, baselines[m])) for m, line in found.items() if line]
        if lines:
            self._draw(drawn, svg.against_budget, title, lines)

    def _series(self, method: str, baseline: bool) -> int | None:
        return None if baseline else self.methods.get(method)

    def _legend(self, series: Iterable[tuple[str, int | None]]) -> Iterator[tuple[str, str]]:
        for name, number in series:
            yield name, svg.swatch(name, number)

    def _draw(self, drawn: Drawn, make: Callable[..., Chart], title: str, *what: object) -> None:
        if self.left:
            self.left -= 1
            drawn.charts.append(make(title, *what))
        else:
            drawn.left_out += 1


def _kind(a: Accuracy) -> str:
    """Name the row of a group: what it is, where it lands, but not what varies over its copies."""
    return a.model if a.suspect_dataset == a.dataset else f"{a.model} ({a.suspect_dataset})"
