"""Lay out what is known as tables: which cells stand where, what they say, and what must be said beside them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from bench import metrics
from bench.accuracies import Accuracy
from bench.cells import VERDICTS, Cell, Paper, mean, paper_mean
from bench.costs import Cost
from bench.tables import Line, Table, cell
from bench.types import JSON, Spec

MOST_ERRORS = 10
"""Different errors that are printed under a table; the others are counted."""
INTERVAL = "each AUC with its 95 % interval, then the numbers of stolen / irrelevant models"


# --- AUCs ---------------------------------------------------------------------------------------------------------


def auc_table(cells: Sequence[Cell], run: Mapping[str, JSON]) -> Table:
    """Lay out the cells of one dataset and source architecture: methods × attacks, and the mean as last column."""
    home = [c.attack for c in cells if c.home and c.method == cells[0].method]
    rows = _by_method(cells)
    return Table(
        title=f"{_place(cells)}: AUC",
        header=["method", *_attacks(cells), f"mean of {len(home)}"],
        rows=[[cell(name), *map(_auc_lines, row), _mean_lines(row)] for name, row in rows.items()],
        caption=caption(run, INTERVAL),
        notes=[*_meanings(cells, home), *_inapplicable(cells), *_incomplete(cells), *_against_papers(cells)],
        floors=_first_floor(rows),
        label=f"{cells[0].dataset}-{cells[0].source_architecture}-auc",
    )


def _by_method(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    rows: dict[str, list[Cell]] = {}
    for c in cells:
        rows.setdefault(c.method, []).append(c)
    return rows


def _first_floor(rows: Mapping[str, Sequence[Cell]]) -> int | None:
    return next((n for n, row in enumerate(rows.values()) if row[0].floor), None)


def _place(things: Sequence[Cell] | Sequence[Cost] | Sequence[Accuracy]) -> str:
    return f"{things[0].dataset}, source {things[0].source_architecture}"


def _attacks(cells: Sequence[Cell]) -> list[str]:
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
    lines = cell(f"{f.auc:.2f}{mark}", f"[{f.low:.2f}, {f.high:.2f}]", f"{f.stolen} / {f.irrelevant}")
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
    for name, row in _by_method(cells).items():
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


# --- AUCs against other negatives ---------------------------------------------------------------------------------


def negatives_table(cells: Sequence[Cell]) -> Table:
    """Lay out how much of each AUC is architecture: against which irrelevant models it was computed."""
    rows = _by_method(cells)
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
        title=f"{_place(cells)}: AUC against other negatives",
        header=["method", *_attacks(cells)],
        rows=[[cell(name), *map(lines, row)] for name, row in rows.items()],
        caption="AUC against all irrelevant models of the dataset / against those in the suspect's own architecture "
        f"(mean over architectures){third}.",
        floors=_first_floor(rows),
        level=3,
        label=f"{cells[0].dataset}-{cells[0].source_architecture}-negatives",
    )


# --- cost ---------------------------------------------------------------------------------------------------------


def cost_table(costs: Sequence[Cost]) -> Table:
    """Lay out what each method costs, on one dataset and source architecture."""
    first = costs[0]
    return Table(
        title=f"{_place(costs)}: cost",
        header=["method", "accuracy", "lost", "access", "queries", "verify s", "make s", "nets"],
        rows=[list(map(cell, _cost_texts(c))) for c in costs],
        caption="Test accuracy of the source in percent, and the points lost by a watermark; the strongest access "
        "asked of a suspect, queries per suspect, median seconds to verify one; seconds to make a fingerprint (a "
        "watermark: its source too) with the networks (nets) trained for it.",
        notes=[note for c in costs for note in _cost_notes(c)],
        floors=next((n for n, c in enumerate(costs) if c.floor), None),
        level=3,
        label=f"{first.dataset}-{first.source_architecture}-cost",
    )  # fmt: skip


def _cost_texts(c: Cost) -> list[str]:
    return [
        c.method,
        _percent(c.accuracy),
        "" if c.lost is None else f"{100 * c.lost:.1f}",
        c.access,
        " to ".join(map(str, dict.fromkeys(c.queries or ()))),
        _three(c.seconds_to_verify),
        _three(c.seconds_to_make),
        "" if c.networks is None else str(c.networks),
    ]


def _cost_notes(c: Cost) -> Iterator[str]:
    if c.networks:
        yield f"networks of {c.method}: {', '.join(c.helper_architectures) or 'the suspects’ architectures'} in turn."
    if c.notes:
        yield f"notes of {c.method}: {', '.join(f'{name} {value}' for name, value in c.notes.items())}."


def _percent(accuracy: metrics.Summary | None) -> str:
    if accuracy is None:
        return ""
    spread = f" ± {100 * accuracy.sd:.1f}" if accuracy.n > 1 else ""
    return f"{100 * accuracy.mean:.1f}{spread}"


def _three(seconds: float | None) -> str:
    """Write seconds with three digits; nothing where they are not known."""
    return "" if seconds is None else f"{seconds:.3g}" if seconds < 1000 else f"{seconds:.0f}"


# --- accuracies ---------------------------------------------------------------------------------------------------


def accuracy_table(networks: Sequence[Accuracy], run: Mapping[str, JSON]) -> Table:
    """Lay out the test accuracies of one dataset and source architecture, in percent."""
    rows = []
    for a in networks:
        value, n = _percent(a.summary), str(a.summary.n)
        texts = (a.owner, a.model, a.variant, a.suspect_dataset, a.suspect_architecture or "all", value, n)
        rows.append([*map(cell, texts), cell(f"{100 * a.paper:.1f}" if a.paper is not None else "")])
    return Table(
        title=f"{_place(networks)}: test accuracy",
        header=["source", "model", "variant", "tested on", "architecture", "accuracy", "n", "paper"],
        rows=rows,
        caption=caption(
            run,
            "test accuracy in percent, mean ± standard deviation over n networks, each counted once; irrelevant models "
            "belong to no source and stand with the plain one",
        ),
    )


# --- against the papers -------------------------------------------------------------------------------------------


def check_table(cells: Sequence[Cell]) -> Table:
    """Lay out what the papers report beside what we measured, with a verdict per cell."""
    rows = _by_method(cells)

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
        title=f"{_place(cells)}: against the papers",
        header=["method", *_attacks(cells)],
        rows=[[cell(name), *map(lines, row)] for name, row in rows.items()],
        caption=", ".join(f"{counts[v]} {v}" for v in VERDICTS) + ".",
        notes=["Compared without the irrelevant models in the source's architecture, which the papers do not have."]
        * reduced,
        floors=_first_floor(rows),
    )
