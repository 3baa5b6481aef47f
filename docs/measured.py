"""Figures of a results folder as parts of the documents: cards of reproduction, and what methods and attacks cost.

Nothing here is typed by hand: a part says which folder it is made from, and with how many sources on which machine.
Where the folder does not exist yet, or has too few sources, the part says so.
"""

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pandas as pd

from bench.analysis.cells import Cell, cells
from bench.analysis.costs import costs
from bench.analysis.evasion import Evasion
from bench.analysis.networks import watermarks
from bench.core.errors import BenchError
from bench.core.kinds import Accuser, ComponentKind, Status, SuspectKind
from bench.reporting.tables.evasion import lines
from bench.reporting.tables.table import three_digits
from bench.results.reader import ACCUSATIONS, load
from benchmarks import own_p_values

ROOT = Path(__file__).resolve().parent.parent
SOURCES = 5
"""The least number of sources of a figure."""
PLACE = ["dataset", "source_architecture", "source_seed", "suspect_architecture", "replicate"]
"""What a copy has in common with the one that it was made from, where an attack starts from another one."""
Rows = Iterable[Sequence[str]]


def table(head: Sequence[str], rows: Rows) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" if line[0] != "---" else "|" + "---|" * len(line) for line in lines)


@cache
def rows_of(folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the rows and the description of a run; nobody changes them."""
    return load(folder)


@cache
def cells_of(folder: Path) -> list[Cell]:
    """Return the cells of a run."""
    return cells(*rows_of(folder))


class Measured:
    """A results folder below the root of the repository."""

    def __init__(self, name: str) -> None:
        self.name, self.folder = name, ROOT / name
        self.missing = "" if (self.folder / "run.json").is_file() else "is not there yet"
        if not self.missing:
            self.run = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
            with (self.folder / "table.csv").open(encoding="utf-8", newline="") as lines:
                self.cells = list(csv.DictReader(lines))
            self.known = [c for c in self.cells if c["auc"] and int(c["sources"] or 0) >= SOURCES]
            self.sources = len(self.run["spec"]["seeds"])
            if self.sources < SOURCES:
                self.missing = f"has {self.sources} of the {SOURCES} sources that a figure needs"

    def of(self, method: str) -> dict[str, dict[str, str]]:
        """Return the cells of a method that have an AUC over enough sources, by attack."""
        return {c["attack"]: c for c in self.known if c["method"] == method}

    def common(self) -> list[str]:
        """Return the attacks on the sources' own dataset for which every method has a figure."""
        own = {c["attack"] for c in self.known if c["attack"] and c["suspect_dataset"] == c["dataset"]}
        methods = {c["method"] for c in self.known if c["attack"]}
        return [a for a in self.run["spec"]["attacks"] if a in own and all(a in self.of(m) for m in methods)]

    def mean(self, method: str) -> str:
        """Return the mean AUC of a method over these attacks; a dash if there are none."""
        aucs = [float(self.of(method)[attack]["auc"]) for attack in self.common()] if self.of(method) else []
        return f"{fmean(aucs):.2f}" if aucs else "–"

    def about(self) -> str:
        """Return in a sentence what the figures are of, and where they were made."""
        spec, machine = self.run["spec"], self.run["hardware"]
        names = ", ".join(f"`{n}`" for n in (*spec["datasets"], *spec["sources"]))
        gpu = f", {machine['gpus']} GPU" if machine.get("gpus") else ""
        return (
            f"From `{self.name}` ({names}, {self.sources} sources, preset `{spec['preset']}`, {machine['cores']} cores "
            f"of {machine['cpu']}{gpu}, {self.run['date']}); `bench report {self.name}` prints them all."
        )


def part(make: Callable[..., str]) -> Callable[..., str]:
    """Return a generator of a document's part from one that takes a results folder."""

    def generator(old: str, name: str, *words: str) -> str:
        found = Measured(name)
        if found.missing:
            return f"*Not measured: `{name}` {found.missing}. [How results are made](../results/README.md).*"
        return make(found, *words)

    generator.__name__ = make.__name__
    generator.__doc__ = make.__doc__
    return generator


def interval(cell: dict[str, str]) -> str:
    """Return an AUC with its interval."""
    return f"{float(cell['auc']):.2f} [{float(cell['low']):.2f}, {float(cell['high']):.2f}]"


def least_and_most(values: pd.Series) -> str:
    """Return the least and the most of some numbers, or the one that all are."""
    return " to ".join(dict.fromkeys(f"{v:,.0f}" for v in (values.min(), values.max())))


@part
def card(found: Measured, method: str, *attacks: str) -> str:
    """Return the AUCs of a method against some attacks beside those of its paper, and its mean as in `method_costs`.

    A figure is *outside* if its interval has none of the paper's figures in it, nor lies among them.
    """
    cells = found.of(method)
    if unknown := [a for a in attacks if a not in found.run["spec"]["attacks"]]:
        raise BenchError(f"{found.name} has no attack {unknown[0]!r}: correct the card of {method}")
    if method not in (methods := found.run["components"][ComponentKind.METHOD]):
        return f"*Not measured: `{found.name}` was made without `{method}`.*"
    reported = methods[method]["attributes"].get("reported", [])
    places = list(dict.fromkeys((r["dataset"], r["source_architecture"]) for r in reported))
    papers = {(r["dataset"], r["source_architecture"], r["attack"]): r["auc"] for r in reported}
    rows = []
    for attack in attacks:
        cell = cells.get(attack)
        own = _own(cell) if cell else ("–",) * 4
        rows.append((f"`{attack}`", *own, *_of_paper(cell, [papers.get((*place, attack)) for place in places])))
    more = ("–",) * bool(places)
    rows.append((f"*mean over {len(found.common())} attacks*", found.mean(method), "–", "–", "–", *more))
    head = ("Attack", "AUC, 95 % interval", "of one source", "copies / irrelevant models", "sources")
    paper = (f"paper: {', '.join(f'{d} {s}' for d, s in places)}",) if places else ()
    return f"{table((*head, *paper), rows)}\n\n{found.about()}"


def _own(cell: dict[str, str]) -> tuple[str, ...]:
    """Return the AUC of a cell with its interval, its range over sources, and the numbers of models and sources."""
    span = f"{float(cell['auc_least']):.2f} to {float(cell['auc_most']):.2f}"
    return interval(cell), span, f"{cell['stolen']} / {cell['irrelevant']}", cell["sources"]


def _of_paper(cell: dict[str, str] | None, aucs: list[float | None]) -> tuple[str, ...]:
    """Return the paper's figures of an attack, marked if ours is outside; nothing for a method without any."""
    if not aucs:
        return ()
    text, known = ", ".join("–" if a is None else f"{a:.2f}" for a in aucs), [a for a in aucs if a is not None]
    ends = (float(cell["low"]), float(cell["high"])) if cell else (0.0, 1.0)
    outside = known and (round(ends[0], 2) > max(known) or round(ends[1], 2) < min(known))
    return (f"{text}{' *outside*' if outside else ''}",)


@part
def method_costs(found: Measured) -> str:
    """Return for each method what it costs, its mean AUC and the attack that it is weakest against.

    The mean is over the attacks for which all methods have a figure.
    """
    rows = []
    for cost in costs(*rows_of(found.folder)):
        cells = found.of(cost.method)
        worst = min(cells.values(), key=lambda c: float(c["auc"]), default=None)
        rows.append(
            (
                f"`{cost.method}`{' (baseline)' if cost.baseline else ''}",
                cost.access,
                " to ".join(f"{n:,}" for n in dict.fromkeys(cost.queries or ())),
                three_digits(cost.seconds_to_verify),
                three_digits(cost.seconds_to_make),
                str(cost.networks or ""),
                "" if cost.lost is None else f"{100 * cost.lost:.1f}",
                found.mean(cost.method),
                f"`{worst['attack']}` {interval(worst)}" if worst else "–",
            )
        )
    head = ("Method", "asks", "queries", "s to verify", "s to make", "networks", "points lost", "mean AUC")
    attacks = ", ".join(f"`{a}`" for a in found.common())
    return f"{table((*head, 'weakest against'), rows)}\n\nMean over {attacks}. {found.about()}"


@part
def attack_costs(found: Measured) -> str:
    """Return for each attack its queries, the accuracy that it keeps, and the methods that find it best and least."""
    frame, run = rows_of(found.folder)
    plain = frame[(frame["suspect_kind"] == SuspectKind.STOLEN) & (frame["status"] == Status.DONE)]
    plain = plain[~plain["method"].isin(watermarks(run))]
    rows = []
    for attack in run["spec"]["attacks"]:
        copies = _asked(plain[plain["attack"] == attack].drop_duplicates("suspect_digest"), plain, run)
        aucs = {c["method"]: float(c["auc"]) for c in found.known if c["attack"] == attack}
        rows.append((f"`{attack}`", *_copies(copies), *_found(aucs, run["spec"]["baselines"])))
    head = ("Attack", "queries of the source", "accuracy of copies", "points lost", "copies", "median AUC (methods)")
    return f"{table((*head, 'found best by', 'baseline that finds it best'), rows)}\n\n{found.about()}"


def _asked(copies: pd.DataFrame, plain: pd.DataFrame, run: dict[str, Any]) -> pd.DataFrame:
    """Add to the queries of an attack's copies those of the copies that they were made from."""
    described = run["components"][ComponentKind.ATTACK]
    starts = {described[attack]["attributes"].get("starts_from") for attack in copies["attack"].unique()} - {"", None}
    for start in starts:
        made_from = _asked(plain[plain["attack"] == start].drop_duplicates(PLACE), plain, run)
        before = copies[PLACE].merge(made_from, "left", PLACE)["source_queries"].to_numpy()
        copies = copies.assign(source_queries=copies["source_queries"] + before)
    return copies


def _copies(copies: pd.DataFrame) -> tuple[str, ...]:
    """Return queries, accuracy, points lost and number of the copies by an attack."""
    if copies["source_seed"].nunique() < SOURCES:
        return ("–",) * 4
    accurate = copies.dropna(subset=["suspect_accuracy", "source_accuracy"])
    own = accurate[accurate["suspect_dataset"] == accurate["dataset"]]
    queries = copies["source_queries"].dropna()
    lost = 100 * (own["source_accuracy"] - own["suspect_accuracy"])
    return (
        least_and_most(queries) if len(queries) else "none",
        f"{100 * accurate['suspect_accuracy'].mean():.1f} %" if len(accurate) else "–",
        f"{lost.mean():.1f}" if len(own) else "–",
        str(len(copies)),
    )


def _found(aucs: dict[str, float], baselines: Sequence[str]) -> tuple[str, ...]:
    """Return the median AUC of methods, the best methods, and the best baselines."""
    methods = {name: auc for name, auc in aucs.items() if name not in baselines}
    trivial = {name: auc for name, auc in aucs.items() if name in baselines}
    middle = f"{median(methods.values()):.2f} ({len(methods)})" if methods else "–"
    return middle, _best(methods), _best(trivial)


def _best(aucs: dict[str, float]) -> str:
    """Return the highest AUC, as printed, with the names of one or two that have it, or the number of more."""
    most = max((f"{auc:.2f}" for auc in aucs.values()), default="–")
    names = [f"`{name}`" for name, auc in aucs.items() if f"{auc:.2f}" == most]
    return f"{', '.join(names) if len(names) < 3 else f'{len(names)} of {len(aucs)}'} {most}".strip()


@part
def evasion(found: Measured) -> str:
    """Return the accuracy lost to evade each method, by attack, as the report's table has it, one line a cell."""
    every = cells_of(found.folder)
    known = [c for c in every if isinstance(c.evasion, Evasion) and len(c.evasion.losses) >= SOURCES]
    attacks = list(dict.fromkeys(c.attack for c in known))
    written = {(c.method, c.attack): "; ".join(line.text for line in lines(c)).replace("; [", " [") for c in known}
    methods = list(dict.fromkeys(c.method for c in known))
    rows = [(f"`{m}`", *(written.get((m, a), "–") for a in attacks)) for m in methods]
    return f"{table(('Method', *(f'`{a}`' for a in attacks)), rows)}\n\n{found.about()}"


@part
def accused(found: Measured, *methods: str) -> str:
    """Return whom the p-values of methods accuse: `python -m benchmarks.own_p_values` prints it, at two levels."""
    frame, run = rows_of(found.folder)
    known = own_p_values.with_p_values(run)
    every = [row for name in methods or known if name in known for row in own_p_values.accused(frame, name)]
    rows = [row for row in every if int(row[-1]) >= SOURCES and (row[1] == SuspectKind.IRRELEVANT or row[2] == "0.01")]
    return f"{table(own_p_values.HEAD, rows)}\n\n{found.about()}" if rows else "*Not measured: the run is without it.*"


def accusations(old: str, name: str) -> str:
    """Return whom a malicious accuser can accuse, by method: what `python -m benchmarks.accusations --out` wrote."""
    path = ROOT / name / ACCUSATIONS
    again = f"`python -m benchmarks.accusations WORK --out {name}` makes it."
    if not path.is_file():
        return f"*Not measured: `{name}` is not there yet. {again}*"
    with path.open(encoding="utf-8", newline="") as lines:
        every = list(csv.DictReader(lines))
    rows = [row for row in every if int(row["sources"] or 0) >= SOURCES]
    if not rows:
        return f"*Not measured: `{name}` has fewer than the {SOURCES} sources that a figure needs. {again}*"
    shown: dict[str, dict[str, str]] = {row["method"]: {"reason": row["reason"]} for row in every}
    for row in rows:
        share = f"{row['hits']} of {row['of']} [{float(row['low']):.2f}, {float(row['high']):.2f}]"
        shown[row["method"]] |= {**row, row["accuser"]: share}
    columns = ("asks", *Accuser, "refuted", "cannot_tell")
    cells = [(f"`{method}`", *(found.get(c) or "–" for c in columns)) for method, found in shown.items()]
    one = rows[0]
    names = ", ".join(f"`{n}`" for n in (one["dataset"], one["source_architecture"]))
    about = f"{names}, {one['sources']} sources, {one['others']} other innocents, preset `{one['preset']}`"
    reasons = "".join(f" `{m}`: {found['reason']}." for m, found in shown.items() if "sources" not in found)
    head = ("Method", "asks", "honest", "tuned", "regenerated", "judge refutes", "judge cannot tell")
    return f"{table(head, cells)}\n\nFrom `{name}` ({about}, {one['steps']} steps, {one['cpu']}).{reasons}"


GENERATORS = (card, method_costs, attack_costs, evasion, accused, accusations)
