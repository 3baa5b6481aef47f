"""The captions and the notes below a table."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from bench.analysis.baselines import ALPHA
from bench.analysis.cells import VERDICTS, Cell
from bench.core.canonical import JSON
from bench.core.spec import Spec
from bench.reporting.tables.method_table import by_method, grouped
from bench.reporting.tables.table import counted, listed

MOST_ERRORS = 10
"""Different errors that are printed under a table; the others are counted."""


def caption(run: Mapping[str, JSON], what: str) -> str:
    """Return what a table shows and everything that its numbers depend on."""
    spec = Spec.from_json(run["spec"])
    zero = {"images": "all", "width": "default", "budget": "default", "clip": "none"}
    recipe = {k: v or zero.get(k, v) for k, v in dataclasses.asdict(spec.recipe).items()}
    counts = f"replicates {spec.replicates}, copies {spec.copies}, target_replicates {spec.target_replicates}"
    seeds = f"source seeds {', '.join(map(str, spec.seeds))}; split seed {spec.split_seed}"
    changed = [f"{n}.{f}={v}" for n, fields in sorted(spec.settings.items()) for f, v in sorted(fields.items())]
    machine = ", ".join(f"{k} {v}" for k, v in sorted((run.get("hardware") or {}).items()))
    torch = (run.get("libraries") or {}).get("torch")
    parts = [
        f"{what[:1].upper()}{what[1:]}",
        f"Preset {spec.preset}: {listed(recipe)}; {counts}; {seeds}",
        *([f"Set: {', '.join(changed)}"] if changed else []),
        *([f"Hardware: {machine}"] if machine else []),
        *([f"torch {torch}"] if torch else []),
        str(run.get("date") or "undated"),
    ]
    return ". ".join(parts) + "."


def notes(cells: Sequence[Cell], home: Sequence[str]) -> list[str]:
    """Return the notes of a table of AUCs; `home`: the attacks that stay with the source's dataset."""
    found = [*_meanings(cells, home), *_marks(cells), *_inapplicable(cells), *_incomplete(cells)]
    counts = Counter(c.verdict for c in cells)
    if counts["no figure"] < len(cells):
        found.append("Against the papers' figures: " + ", ".join(f"{counts[v]} {v}" for v in VERDICTS) + ".")
    return found


def _meanings(cells: Sequence[Cell], home: Sequence[str]) -> Iterator[str]:
    """Explain the figures that the cells have."""
    figures = [c.figure for c in cells if c.figure]
    if home:
        yield (
            f"mean: over {', '.join(home)}, the attacks that stay with the source's dataset; blank where one of them "
            "is missing or not applicable."
        )
    if figures and all(f.conditional for f in figures):
        several = max(len(f.by_source) for f in figures) > 1
        what = "these sources and says nothing about others; below it the lowest and highest AUC of a source"
        yield f"The interval holds for {what if several else 'this source and says nothing about others'}."
    elif figures:
        yield (
            "The interval also covers what another choice of sources would give; below it the lowest and highest AUC "
            "of a source."
        )
    if any(c.paper and not c.paper.same for c in cells):
        yield (
            "In italics or parentheses (paper, other networks): what the method's paper reports for the same dataset "
            "and attack, but other networks than these."
        )


def _marks(cells: Sequence[Cell]) -> Iterator[str]:
    """Count the cells that beat the baselines among those tested, and name the cells that could not be tested."""
    tested = [c.baselines for c in cells if c.baselines]
    if not any(c.baseline for c in cells):
        return
    if tested:
        beaten = sum(t.beaten for t in tested)
        baselines = dict.fromkeys(name for t in tested for name in t.baselines)
        yield (
            f"†: better than every baseline that can judge there ({', '.join(baselines)}), p ≤ {ALPHA:g} in "
            f"permutation tests after Holm's correction for the {counted(len(tested), 'test')} of this table; "
            f"{beaten or 'none'} of the {counted(len(tested), 'cell')} {'is' if beaten < 2 else 'are'}."
        )
    untested = grouped((c.attack, c.method) for c in cells if c.figure and not c.baseline and not c.baselines)
    attacks_of = grouped((_list(methods), attack) for attack, methods in untested.items())
    if attacks_of:
        named = "; ".join(f"{methods} ({', '.join(attacks)})" for methods, attacks in attacks_of.items())
        yield f"Not tested, since no baseline can judge there or one has no score: {named}."


def _list(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _inapplicable(cells: Sequence[Cell]) -> Iterator[str]:
    """Return each reason once, with its methods and attacks; a method's name at its beginning is left out."""
    for reason, same in grouped((c.reason.removeprefix(f"{c.method} "), c) for c in cells if c.reason).items():
        yield f"–: not applicable: {_list(c.method for c in same)} ({_list(c.attack for c in same)}): {reason}."


def _incomplete(cells: Sequence[Cell]) -> Iterator[str]:
    """Return, for each method, the cells that lack scores; then the errors, each once."""
    for name, row in by_method(cells).items():
        described = [_described(c) for c in row if c.status == "incomplete"]
        if described:
            yield f"*: incomplete: {name}: {'; '.join(described)}."
    errors = list(dict.fromkeys(e for c in cells for e in c.errors))
    yield from (f"*: {e}" for e in errors[:MOST_ERRORS])
    if errors[MOST_ERRORS:]:
        yield f"*: and {len(errors) - MOST_ERRORS} other errors"


def _described(c: Cell) -> str:
    lost = ", ".join(f"{n} {status}" for status, n in sorted(c.lost.items())) or "no rows"
    if c.figure is None:
        return f"{c.attack} has no figure ({lost})"
    return (
        f"{c.attack} from {c.figure.stolen} of {c.stolen_planned} stolen, {c.figure.irrelevant} of "
        f"{c.irrelevant_planned} irrelevant models ({lost})"
    )
