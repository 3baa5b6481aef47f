"""Choose what the charts of a page show: which methods, against which costs, in which colours."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from bench.analysis.accuracies import Accuracy
from bench.analysis.cells import AtBudget, Cell
from bench.analysis.costs import Cost
from bench.analysis.means import mean
from bench.core.canonical import JSON
from bench.core.kinds import Role
from bench.core.spec import Spec
from bench.reporting.html import svg
from bench.reporting.html.svg import Chart, Curve, NetworkGroup, Point
from bench.reporting.tables.method_table import by_method, grouped

Points: TypeAlias = Sequence[tuple[int, float]]
"""Queries and AUCs."""
MOST_CHARTS = 24
"""On one page: drawing takes a twentieth of a second each."""
MOST_ROWS = 60
"""Of a chart of accuracies."""


@dataclass
class ChartGroup:
    """Charts that belong together, the legend of their colours, a note, and how many were left out."""

    charts: list[Chart] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)
    note: str = ""
    left_out: int = 0


class Charts:
    """Draws up to MOST_CHARTS charts of a page; a method or an architecture has one colour in all of them."""

    def __init__(self, run: Mapping[str, JSON]) -> None:
        spec = Spec.from_json(run["spec"])
        self.free = MOST_CHARTS
        self.methods = {m: n for n, m in enumerate(spec.methods)}
        self.architectures = {a: n for n, a in enumerate(dict.fromkeys((*spec.sources, *spec.suspects)))}

    def cost(self, cells: Sequence[Cell], costs: Sequence[Cost]) -> ChartGroup:
        """Draw mean AUCs against seconds and networks for a fingerprint, and queries and seconds per suspect."""
        aucs = {m: value for m, row in by_method(cells).items() if (value := mean(row)) is not None}
        count = sum(c.home for c in cells if c.method == cells[0].method)
        group = ChartGroup(note=f"AUC: the mean of {count} attacks that stay with the source's dataset; ")
        group.note += "the dashed line is chance, hollow points are baselines."
        without = sorted({c.method for c in costs} - set(aucs))
        if without:
            group.note += f" Without a mean, hence not in the charts: {', '.join(without)}."
        kinds: list[tuple[str, str, Callable[[Cost], float | None]]] = [
            ("Making a fingerprint", "seconds", lambda c: c.seconds_to_make),
            ("Networks trained for it", "networks", lambda c: c.networks),
            ("Verifying a suspect", "seconds", lambda c: c.seconds_to_verify),
            ("Queries to verify a suspect", "queries", lambda c: c.queries[1] if c.queries else None),
        ]
        for title, label, what in kinds:
            log = label == "seconds"
            found = [(c, x) for c in costs if c.method in aucs and (x := what(c)) is not None and (x > 0 or not log)]
            points = [Point(c.method, x, aucs[c.method], self._series(c.method, c.baseline)) for c, x in found]
            if points:
                self._draw(group, svg.against_cost, title, points, label, log)
        return group

    def budgets(self, points: Sequence[AtBudget]) -> ChartGroup:
        """Draw AUCs against the number of queries: their mean, then for each attack."""
        group = ChartGroup()
        own = grouped((p.cell.method, p) for p in points)
        rows = {m: grouped((p.budget, p.cell) for p in by) for m, by in own.items()}
        lines = {m: [(b, v) for b, row in sorted(by.items()) if (v := mean(row)) is not None] for m, by in rows.items()}
        self._lines(group, "Mean of the attacks that stay", lines, points)
        for attack in dict.fromkeys(p.cell.attack for p in points):
            figured = [(p.cell, p.budget) for p in points if p.cell.attack == attack]
            found = grouped((c.method, (budget, c.figure.auc)) for c, budget in figured if c.figure)
            self._lines(group, attack, {m: sorted(line) for m, line in found.items()}, points)
        group.legend = [(m, svg.swatch(m, self.methods.get(m))) for m in rows]
        return group

    def accuracies(self, networks: Sequence[Accuracy]) -> ChartGroup:
        """Draw the accuracies of all networks, a chart for each owner: the plain source, and each watermark.

        One more has the copies of adaptive attacks, which belong to methods without a source of their own.
        """
        group = ChartGroup(note="Means and standard deviations of test accuracies, by architecture.")
        titles = {a.owner: f"Source marked by {a.owner} and suspects" for a in networks if a.model == Role.SOURCE}
        titles |= {"plain": "Plain source and suspects"} if "plain" in titles else {}
        known = grouped((a.owner if a.owner in titles else "", a) for a in networks if a.suspect_architecture)
        known[""] = [a for a in known.pop("", []) if a.owner != "plain"]
        for owner, own in known.items():
            whose = titles.get(owner, "Copies that only one method judges")
            colours = [self.architectures.get(a.suspect_architecture, 0) for a in own]
            rows = [_row(a) if owner else f"{_row(a)}, {a.owner}" for a in own]
            kinds = zip(rows, own, colours, strict=True)
            groups = [NetworkGroup(row, a.suspect_architecture, *a.summary[:2], n, a.paper) for row, a, n in kinds]
            if len({g.row for g in groups}) > MOST_ROWS:
                group.left_out += 1
            elif groups:
                self._draw(group, svg.accuracies, whose, groups)
        shown = dict.fromkeys(a.suspect_architecture for a in networks if a.suspect_architecture)
        group.legend = [(a, svg.swatch(a, self.architectures.get(a, 0))) for a in shown] if group.charts else []
        if any(a.paper is not None for a in networks):
            group.note += " Hollow diamonds: a paper's figure."
        return group

    def _lines(self, group: ChartGroup, title: str, found: Mapping[str, Points], points: Sequence[AtBudget]) -> None:
        baselines = {p.cell.method: p.cell.baseline for p in points}
        lines = [Curve(m, line, self._series(m, baselines[m])) for m, line in found.items() if line]
        if lines:
            self._draw(group, svg.against_budget, title, lines)

    def _series(self, method: str, baseline: bool) -> int | None:
        return None if baseline else self.methods.get(method)

    def _draw(self, group: ChartGroup, make: Callable[..., Chart], title: str, *what: object) -> None:
        if self.free:
            self.free -= 1
            group.charts.append(make(title, *what))
        else:
            group.left_out += 1


def _row(a: Accuracy) -> str:
    """Name the row of a group of networks by model and dataset, without the variant."""
    return a.model if a.suspect_dataset == a.dataset else f"{a.model} ({a.suspect_dataset})"
