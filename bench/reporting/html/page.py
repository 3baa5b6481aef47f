"""Write the page of a results folder: one file that shows everything, and asks nobody for anything.

What it shows was computed before; here it is put together: the table of AUCs with what stands behind each cell, charts,
the other tables, and the run. It stays below MOST_BYTES, however many rows there are: behind the cells there is then
less detail, and tables that find no room are named instead.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.analysis.cells import Cell, default_budget, mean, paper_mean
from bench.analysis.groups import Samples
from bench.core.canonical import JSON
from bench.core.kinds import ComponentKind, Status
from bench.core.spec import Spec
from bench.reporting.html.cell_details import Details, component_words, cost_words
from bench.reporting.html.charts import Charts
from bench.reporting.html.distributions import LEVELS
from bench.reporting.tables.comparisons import check_table
from bench.reporting.tables.method_table import by_method, section_title
from bench.reporting.tables.table import Table

if TYPE_CHECKING:
    import jinja2
    import pandas as pd

    from bench.analysis.accuracies import Accuracy
    from bench.analysis.budgets import AtBudget
    from bench.analysis.costs import Cost
    from bench.stats.auc import Floats

MOST_BYTES = 1_900_000
MOST_TABLES = 900_000
"""Bytes of a page, and of its tables and charts."""
MOST_ROWS = 200
"""Rows of a table that is not of AUCs: where there are more, its file has them."""


@dataclass(frozen=True)
class Section:
    """What is known of one dataset and source architecture; the first of its tables is that of the AUCs."""

    cells: Sequence[Cell]
    tables: Sequence[Table]
    costs: Sequence[Cost]
    budgets: Sequence[AtBudget]
    networks: Sequence[Accuracy]


class Box(NamedTuple):
    """A cell of the main table as it is shown first: with its AUC."""

    number: int
    kind: str
    value: str
    lines: Sequence[str] = ()
    style: str = ""


def html(frame: pd.DataFrame, run: Mapping[str, JSON], sections: Sequence[Section]) -> str:
    """Make the page from everything that was computed; the same numbers give the same bytes."""
    templates = _templates()
    charts = Charts(run)
    written: list[str] = []
    first = 0
    with charts.drawing():
        for section in sections:
            text = templates.get_template("section.html").render(_section(section, charts, first, len(written)))
            if written and sum(map(len, written)) + len(text) > MOST_TABLES:
                break
            written.append(text)
            first += len(section.cells)
    frame = default_budget(frame, run)
    room = MOST_BYTES - sum(len(text.encode()) for text in written) - 100_000
    data = _data(frame, run, sections[: len(written)], room)
    script, style = _part("page.js"), _part("page.css")
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return templates.get_template("page.html").render(
        _head(frame, run, sections),
        sections=written,
        left_out=[section_title(s.cells) for s in sections[len(written) :]],
        data=data,
        script=script,
        style=style,
        script_hash=f"sha256-{hashed}",
    )


# --- the cells ----------------------------------------------------------------------------------------------------


def _data(frame: pd.DataFrame, run: Mapping[str, JSON], sections: Sequence[Section], room: int) -> str:
    """Write what stands behind the cells, in as much detail as there is room for."""
    samples, variants = Samples(frame, Spec.from_json(run["spec"]).seeds), frame.variant.to_list()
    about = {
        kind: {name: component_words(entry, name) for name, entry in run["components"][kind].items()}
        for kind in (ComponentKind.METHOD, ComponentKind.ATTACK)
    }
    costs = [{c.method: cost_words(c) for c in section.costs} for section in sections]
    curves: dict[tuple[str, ...], list[Floats]] = {}
    for detail in (*LEVELS, None):
        details = Details(samples, variants, detail, curves)
        size = 0
        for section in sections:
            size += len(_script_json(details.add(section.cells)))
            if size > room and detail:
                break
        else:
            text = _script_json({**details.whole(), "about": about, "costs": costs})
            if len(text) <= room:
                break
    return text


def _script_json(value: JSON) -> str:
    """Write JSON that ends no script element and opens no comment, whatever names are in it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _boxes(cells: Sequence[Cell], first: int) -> Iterator[tuple[str, bool, list[Box], Box]]:
    """Give the rows of the main table: the method, whether it is a baseline, its cells, and their mean."""
    number = first
    for method, row in by_method(cells).items():
        boxes = []
        for c in row:
            boxes.append(_box(c, number))
            number += 1
        yield method, row[0].baseline, boxes, _mean(row)


def _box(c: Cell, number: int) -> Box:
    if c.reason:
        return Box(number, "na", "–")
    paper = [f"paper {c.paper.auc:.2f}" if c.paper.same else f"(paper {c.paper.auc:.2f})"] if c.paper else []
    f = c.figure
    if f is None:
        lost = Status.FAILED if c.lost.keys() & {Status.FAILED, Status.BLOCKED} else "not run" if c.lost else "no rows"
        return Box(number, "lost", lost, paper)
    marks = "†" * bool(c.baselines and c.baselines.beaten) + "*" * (c.status == "incomplete")
    several = ["{:.2f} to {:.2f}".format(*f.range)] if len(f.by_source) > 1 else []
    lines = [f"[{f.low:.2f}, {f.high:.2f}]", f"{f.stolen} / {f.irrelevant}", *several, *paper]
    style = f"{shade(f.auc)};--l:{100 * f.low:.0f};--h:{100 * f.high:.0f};--v:{100 * f.auc:.0f}"
    return Box(number, "low" if f.auc < 0.5 else "", f"{f.auc:.2f}{marks}", lines, style)


def _mean(row: Sequence[Cell]) -> Box:
    value, paper = mean(row), paper_mean(row)
    if value is None:
        return Box(-1, "none", "")
    mark = "*" if any(c.status == "incomplete" for c in row if c.home) else ""
    told = [f"paper {paper.auc:.2f}" if paper.same else f"(paper {paper.auc:.2f})"] if paper else []
    return Box(-1, "low" if value < 0.5 else "", f"{value:.2f}{mark}", told, shade(value))


def shade(auc: float) -> str:
    """Give how strongly an AUC is coloured, in percent: not at all at 0.5, the more the further from it."""
    return f"--k:{100 * abs(2 * auc - 1) ** 1.6:.0f}"


# --- what stands around them --------------------------------------------------------------------------------------


def _section(section: Section, charts: Charts, first: int, number: int) -> dict[str, Any]:
    cells, main = section.cells, section.tables[0]
    rows = list(_boxes(cells, first))
    papers = any(c.paper for c in cells)
    others = [*section.tables[1:], *([check_table(cells)] if papers else [])]
    return {
        "number": number,
        "place": section_title(cells),
        "header": [h.split("\n") for h in main.header],
        "attacks": list(dict.fromkeys(c.attack for c in cells)),
        "bodies": [body for baseline in (False, True) if (body := [r for r in rows if r[1] == baseline])],
        "caption": main.caption,
        "notes": main.notes,
        "costs": charts.cost(cells, section.costs),
        "budgets": charts.budgets(section.budgets),
        "accuracies": charts.accuracies(section.networks),
        "tables": {_about(t): t for t in others},
        "most_rows": MOST_ROWS,
    }


def _about(table: Table) -> str:
    """Say what a table is about beside its place, which stands in front: `cost`."""
    return table.title.rpartition(": ")[2]


def _head(frame: pd.DataFrame, run: Mapping[str, JSON], sections: Sequence[Section]) -> dict[str, Any]:
    spec = Spec.from_json(run["spec"])
    statuses = {str(status): int(n) for status, n in frame.status.value_counts().items()}
    counted = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in sorted(statuses.items()))
    commit, seeds = str(run.get("git_commit") or ""), ", ".join(map(str, spec.seeds))
    return {
        "title": f"{' + '.join(spec.datasets)}, preset {spec.preset}",
        "facts": {
            "methods": f"{len(spec.methods)} and {_counted(len(spec.baselines), 'baseline')}",
            "attacks": str(len(spec.attacks)),
            "trials": f"{sum(statuses.values())}: {counted}",
            "sources": f"{', '.join(spec.sources)}; seed{'s' * (len(spec.seeds) > 1)} {seeds}",
            "suspects": ", ".join(spec.suspects),
            "precision": spec.recipe.precision,
            "made": str(run.get("date") or "undated"),
        },
        "places": [section_title(s.cells) for s in sections],
        "command": str(run.get("command") or ""),
        "hardware": dict(sorted((run.get("hardware") or {}).items())),
        "libraries": dict(sorted((run.get("libraries") or {}).items())),
        "commit": commit,
        "components": [
            (kind, component_words(entry, name)) for kind in tuple(ComponentKind)
            for name, entry in sorted(run["components"][kind].items())
        ],
    }  # fmt: skip


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@lru_cache(maxsize=1)
def _templates() -> jinja2.Environment:
    import jinja2

    templates = jinja2.Environment(
        loader=jinja2.FunctionLoader(_part), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    templates.filters |= {"linked": linked, "breakable": breakable}
    return templates


def _part(name: str) -> str:
    return (resources.files("bench.reporting.html") / "templates" / name).read_text(encoding="utf-8")


def linked(text: str) -> str:
    """Make links of the addresses in a text that is otherwise shown as it is."""
    import markupsafe

    parts = re.split(r"(https://[^\s<>\"'()]+[^\s<>\"'().,;])", text)
    shown = markupsafe.Markup('<a href="{0}" rel="noreferrer">{0}</a>')
    return markupsafe.Markup("").join(shown.format(p) if n % 2 else p for n, p in enumerate(parts))


def breakable(name: str) -> str:
    """Let a browser break a name after its underscores."""
    import markupsafe

    return markupsafe.Markup("_<wbr>").join(name.split("_"))
