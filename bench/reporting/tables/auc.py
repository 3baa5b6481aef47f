"""Lay out what is known as tables: which cells stand where, what they say, and what must be said beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from bench.analysis.cells import VERDICTS, Cell, mean, paper_mean
from bench.analysis.reported import Paper
from bench.core.canonical import JSON
from bench.reporting.tables.grouping import attacks, by_method, first_baseline, place
from bench.reporting.tables.notes import INTERVAL, against_papers, caption, inapplicable, incomplete, marks, meanings
from bench.reporting.tables.table import Line, Table, cell


def auc_table(cells: Sequence[Cell], run: Mapping[str, JSON]) -> Table:
    """Lay out the cells of one dataset and source architecture: methods × attacks, and the mean as last column."""
    home = [c.attack for c in cells if c.home and c.method == cells[0].method]
    rows = by_method(cells)
    return Table(
        title=f"{place(cells)}: AUC",
        header=["method", *attacks(cells), f"mean of {len(home)}"],
        rows=[[cell(name), *map(_auc_lines, row), _mean_lines(row)] for name, row in rows.items()],
        caption=caption(run, INTERVAL),
        notes=[
            *meanings(cells, home),
            *marks(cells),
            *inapplicable(cells),
            *incomplete(cells),
            *against_papers(cells),
        ],
        baselines=first_baseline(rows),
        label=f"{cells[0].dataset}-{cells[0].source_architecture}-auc",
    )  # fmt: skip


def _auc_lines(c: Cell) -> list[Line]:
    if c.reason:
        return cell("–")
    mark = "*" if c.status == "incomplete" else ""
    paper = [_paper_line(c.paper)] if c.paper else []
    if c.figure is None:
        return [Line(mark), *paper]
    f = c.figure
    beaten = "†" if c.baselines and c.baselines.beaten else ""
    lines = cell(f"{f.auc:.2f}{beaten}{mark}", f"[{f.low:.2f}, {f.high:.2f}]", f"{f.stolen} / {f.irrelevant}")
    if len(f.by_source) > 1:
        lines += cell(f"{len(f.by_source)} sources", "{:.2f} to {:.2f}".format(*f.range))
    return lines + paper


def _paper_line(paper: Paper) -> Line:
    if paper.same:
        return Line(f"paper {paper.auc:.2f}")
    return Line(f"paper, other networks: {paper.auc:.2f}", faint=True, short=f"paper {paper.auc:.2f}")


def _mean_lines(cells: Sequence[Cell]) -> list[Line]:
    value, paper = mean(cells), paper_mean(cells)
    if value is None:
        return []
    mark = "*" if any(c.status == "incomplete" for c in cells if c.home) else ""
    return [Line(f"{value:.2f}{mark}"), *([_paper_line(paper)] if paper else [])]


def baselines_table(cells: Sequence[Cell]) -> Table | None:
    """Lay out by how much each cell beats the baseline that is hardest to beat; None where nothing was tested."""
    if not any(c.baselines for c in cells):
        return None

    def lines(c: Cell) -> list[Line]:
        if c.baselines is None:
            return cell("–" if c.reason else "not tested" if c.figure else "*")
        f = c.baselines
        difference = f"{f.difference:+.2f}".replace("-", "−")
        mark = "†" if f.beaten else ""
        return cell(f"{difference}{mark} {f.baseline}", f"p {_p(f.p)} / {_p(f.adjusted)}")

    rows = {name: row for name, row in by_method(cells).items() if not row[0].baseline}
    return Table(
        title=f"{place(cells)}: against the baselines",
        header=["method", *attacks(cells)],
        rows=[[cell(name), *map(lines, row)] for name, row in rows.items()],
        caption="AUC minus that of the baseline that is hardest to beat, which is named; the p-value of “better than "
        "every baseline” / the same after Holm's correction for all cells of this table. Methods that judge the baselines' "
        "suspects are tested in pairs; a watermark, whose stolen suspects are its own, is not.",
        level=3,
        label=f"{cells[0].dataset}-{cells[0].source_architecture}-baselines",
    )


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.4f}"


def negatives_table(cells: Sequence[Cell]) -> Table:
    """Lay out how much of each AUC is architecture: against which irrelevant models it was computed."""
    rows = by_method(cells)
    alone = any(c.suspects_only for c in cells)
    third = " / without those in the source's architecture, which is not among the suspects'" if alone else ""

    def lines(c: Cell) -> list[Line]:
        if c.reason or c.figure is None:
            return cell("–" if c.reason else "*")
        figures = [f"{c.figure.auc:.2f}", f"{c.same_architecture.auc:.2f}" if c.same_architecture else "none"]
        if alone:
            figures.append(f"{c.suspects_only.auc:.2f}" if c.suspects_only else "none")
        return cell(" / ".join(figures))

    return Table(
        title=f"{place(cells)}: AUC against other negatives",
        header=["method", *attacks(cells)],
        rows=[[cell(name), *map(lines, row)] for name, row in rows.items()],
        caption="AUC against all irrelevant models of the dataset / against those in the suspect's own architecture "
        f"(mean over architectures){third}.",
        baselines=first_baseline(rows),
        level=3,
        label=f"{cells[0].dataset}-{cells[0].source_architecture}-negatives",
    )


def check_table(cells: Sequence[Cell]) -> Table:
    """Lay out what the papers report beside what we measured, with a verdict per cell."""
    rows = by_method(cells)

    def lines(c: Cell) -> list[Line]:
        if c.reason:
            return cell("–", c.verdict)
        ours = c.like_paper if c.paper and c.paper.same else c.figure
        figures = cell(f"{ours.auc:.2f}", f"[{ours.low:.2f}, {ours.high:.2f}]") if ours else cell("*")
        paper = [_paper_line(c.paper)] if c.paper else []
        return [*figures, *paper, *cell(*c.verdict.replace("models to", "models\nto").split("\n"))]

    counts = Counter(c.verdict for c in cells)
    reduced = any(c.paper and c.paper.same and c.home and c.suspects_only for c in cells)
    return Table(
        title=f"{place(cells)}: against the papers",
        header=["method", *attacks(cells)],
        rows=[[cell(name), *map(lines, row)] for name, row in rows.items()],
        caption=", ".join(f"{counts[v]} {v}" for v in VERDICTS) + ".",
        notes=["Compared without the irrelevant models in the source's architecture, which the papers do not have."]
        * reduced,
        baselines=first_baseline(rows),
    )
