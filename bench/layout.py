"""Lay out what is known as tables: which cells stand where, what they say, and what must be said beside them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from bench.cells import VERDICTS, Cell, mean, paper_mean
from bench.floors import LEVEL
from bench.papers import Paper
from bench.tables import Line, Table, cell
from bench.types import JSON, Spec

MOST_ERRORS = 10
"""Different errors that are printed under a table; the others are counted."""
INTERVAL = "each AUC with its 95 % interval, then the numbers of stolen / irrelevant models"


# --- AUCs ---------------------------------------------------------------------------------------------------------


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
            *_meanings(cells, home),
            *_marks(cells),
            *_inapplicable(cells),
            *_incomplete(cells),
            *_against_papers(cells),
        ],
        floors=first_floor(rows),
        label=f"{cells[0].dataset}-{cells[0].source_architecture}-auc",
    )  # fmt: skip


class Placed(Protocol):
    """What belongs to a dataset and a source architecture."""

    @property
    def dataset(self) -> str:
        """Name the dataset."""
        ...

    @property
    def source_architecture(self) -> str:
        """Name the architecture."""
        ...


def by_method(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    """Give the cells of each row."""
    rows: dict[str, list[Cell]] = {}
    for c in cells:
        rows.setdefault(c.method, []).append(c)
    return rows


def first_floor(rows: Mapping[str, Sequence[Cell]]) -> int | None:
    """Give the number of the first row that is a floor."""
    return next((n for n, row in enumerate(rows.values()) if row[0].floor), None)


def place(things: Sequence[Placed]) -> str:
    """Name what a table is about: dataset and source architecture, which all of its things share."""
    return f"{things[0].dataset}, source {things[0].source_architecture}"


def attacks(cells: Sequence[Cell]) -> list[str]:
    """Name the columns: the attacks, those that land elsewhere with the dataset they land on."""
    landed = {c.attack: c.suspect_dataset for c in cells if not c.home and c.suspect_dataset}
    names = dict.fromkeys(c.attack for c in cells)
    return [f"{a}\n({landed[a]})" if a in landed else a for a in names]


def _auc_lines(c: Cell) -> list[Line]:
    if c.reason:
        return cell("–")
    mark = "*" if c.status == "incomplete" else ""
    paper = [_paper_line(c.paper)] if c.paper else []
    if c.figure is None:
        return [Line(mark), *paper]
    f = c.figure
    beaten = "†" if c.floors and c.floors.beaten else ""
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


def caption(run: Mapping[str, JSON], what: str) -> str:
    """Say what a table shows, and under which conditions: everything that its numbers depend on."""
    spec = Spec.from_json(run["spec"])
    zero = {"images": "all", "width": "default", "budget": "default", "clip": "none"}
    recipe = {k: v or zero.get(k, v) for k, v in dataclasses.asdict(spec.recipe).items()}
    told = ", ".join(f"{k} {_number(v)}" for k, v in recipe.items())
    counts = f"replicates {spec.replicates}, copies {spec.copies}, landed {spec.landed}"
    seeds = f"source seeds {', '.join(map(str, spec.seeds))}; split seed {spec.split_seed}"
    changed = [f"{n}.{f}={v}" for n, fields in sorted(spec.settings.items()) for f, v in sorted(fields.items())]
    machine = ", ".join(f"{k} {v}" for k, v in sorted((run.get("hardware") or {}).items()))
    torch = (run.get("libraries") or {}).get("torch")
    parts = [
        f"{what[:1].upper()}{what[1:]}",
        f"Preset {spec.preset}: {told}; {counts}; {seeds}",
        *([f"Set: {', '.join(changed)}"] if changed else []),
        *([f"Hardware: {machine}"] if machine else []),
        *([f"torch {torch}"] if torch else []),
        str(run.get("date") or "undated"),
    ]
    return ". ".join(parts) + "."


def _number(value: JSON) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _meanings(cells: Sequence[Cell], home: Sequence[str]) -> list[str]:
    """Explain what stands in the cells, as far as it does."""
    notes = []
    figures = [c.figure for c in cells if c.figure]
    if home:
        notes.append(
            f"mean: over {', '.join(home)}, the attacks that stay with the source's dataset; blank where one of them "
            "is missing or not applicable."
        )
    if figures and all(f.conditional for f in figures):
        several = max(len(f.by_source) for f in figures) > 1
        what = "these sources and says nothing about others; below it the lowest and highest AUC of a source"
        notes.append(f"The interval holds for {what if several else 'this source and says nothing about others'}.")
    elif figures:
        notes.append(
            "The interval also covers what another choice of sources would give; below it the lowest and highest AUC "
            "of a source."
        )
    if any(c.paper and not c.paper.same for c in cells):
        notes.append(
            "In italics or parentheses (paper, other networks): what the method's paper reports for the same dataset "
            "and attack, but other networks than these."
        )
    return notes


def _marks(cells: Sequence[Cell]) -> list[str]:
    """Say which cells beat the floors, out of how many that were tested, and which could not be."""
    tested = [c for c in cells if c.floors]
    if not any(c.floor for c in cells):
        return []
    notes = []
    if tested:
        beaten = sum(c.floors.beaten for c in tested if c.floors)
        rivals = dict.fromkeys(f for c in tested if c.floors for f in c.floors.floors)
        notes.append(
            f"†: better than every floor that can judge there ({', '.join(rivals)}), p ≤ {LEVEL:g} in permutation "
            f"tests after Holm's correction for the {_counted(len(tested), 'test')} of this table; {beaten or 'none'} "
            f"of the {_counted(len(tested), 'cell')} {'is' if beaten < 2 else 'are'}."
        )
    left: dict[str, dict[str, None]] = {}
    for c in cells:
        if c.figure and not c.floor and not c.floors:
            left.setdefault(c.attack, {})[c.method] = None
    together: dict[str, list[str]] = {}
    for attack, methods in left.items():
        together.setdefault(", ".join(methods), []).append(attack)
    told = "; ".join(f"{methods} ({', '.join(names)})" for methods, names in together.items())
    return [*notes, *([f"Not tested, since no floor can judge there or one has no score: {told}."] if told else [])]


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _inapplicable(cells: Sequence[Cell]) -> list[str]:
    """Give each reason once, with the methods and attacks it holds for. One that names its method is shared too."""
    reasons: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for c in cells:
        if c.reason:
            methods, attacks = reasons.setdefault(c.reason.removeprefix(f"{c.method} "), ({}, {}))
            methods[c.method] = attacks[c.attack] = None
    return [
        f"–: not applicable: {', '.join(methods)} ({', '.join(attacks)}): {reason}."
        for reason, (methods, attacks) in reasons.items()
    ]


def _incomplete(cells: Sequence[Cell]) -> list[str]:
    notes = []
    for name, row in by_method(cells).items():
        short = []
        for c in row:
            if c.status == "incomplete":
                has = (c.figure.stolen, c.figure.irrelevant) if c.figure else (0, 0)
                lost = ", ".join(f"{n} {status}" for status, n in sorted(c.lost.items())) or "no rows"
                short.append(
                    f"{c.attack} from {has[0]} of {c.stolen_planned} stolen, {has[1]} of {c.irrelevant_planned} "
                    f"irrelevant models ({lost})"
                    if c.figure
                    else f"{c.attack} has no figure ({lost})"
                )
        if short:
            notes.append(f"*: incomplete: {name}: {'; '.join(short)}.")
    errors = list(dict.fromkeys(e for c in cells for e in c.errors))
    notes += [f"*: {e}" for e in errors[:MOST_ERRORS]]
    return [*notes, f"*: and {len(errors) - MOST_ERRORS} other errors"] if errors[MOST_ERRORS:] else notes


def _against_papers(cells: Sequence[Cell]) -> list[str]:
    counts = Counter(c.verdict for c in cells)
    if counts["no figure"] == len(cells):
        return []
    return ["Against the papers' figures: " + ", ".join(f"{counts[v]} {v}" for v in VERDICTS) + "."]


# --- against the floors -------------------------------------------------------------------------------------------


def floors_table(cells: Sequence[Cell]) -> Table | None:
    """Lay out by how much each cell beats the floor that is hardest to beat; None where nothing was tested."""
    if not any(c.floors for c in cells):
        return None

    def lines(c: Cell) -> list[Line]:
        if c.floors is None:
            return cell("–" if c.reason else "not tested" if c.figure else "*")
        f = c.floors
        difference = f"{f.difference:+.2f}".replace("-", "−")
        mark = "†" if f.beaten else ""
        return cell(f"{difference}{mark} {f.floor}", f"p {_p(f.p)} / {_p(f.adjusted)}")

    rows = {name: row for name, row in by_method(cells).items() if not row[0].floor}
    return Table(
        title=f"{place(cells)}: against the floors",
        header=["method", *attacks(cells)],
        rows=[[cell(name), *map(lines, row)] for name, row in rows.items()],
        caption="AUC minus that of the floor that is hardest to beat, which is named; the p-value of “better than "
        "every floor” / the same after Holm's correction for all cells of this table. Methods that judge the floors' "
        "suspects are tested in pairs; a watermark, whose stolen suspects are its own, is not.",
        level=3,
        label=f"{cells[0].dataset}-{cells[0].source_architecture}-floors",
    )


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.4f}"


# --- AUCs against other negatives ---------------------------------------------------------------------------------


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
        floors=first_floor(rows),
        level=3,
        label=f"{cells[0].dataset}-{cells[0].source_architecture}-negatives",
    )


# --- against the papers -------------------------------------------------------------------------------------------


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
        floors=first_floor(rows),
    )
