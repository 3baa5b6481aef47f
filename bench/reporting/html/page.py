"""Write the page of a results folder: one file that loads nothing from elsewhere and stays below MOST_BYTES."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.analysis.accuracies import Accuracy
from bench.analysis.cells import AtBudget, Cell, default_budget
from bench.analysis.costs import Cost
from bench.analysis.groups import Samples
from bench.core.canonical import JSON
from bench.core.kinds import ComponentKind
from bench.core.spec import Spec
from bench.reporting.html import svg
from bench.reporting.html.cell_details import CellDetails, component_words, cost_words, shown_rows
from bench.reporting.html.charts import Charts
from bench.reporting.html.distributions import LEVELS, Curves
from bench.reporting.html.rendering import part, templates
from bench.reporting.tables.comparisons import check_table
from bench.reporting.tables.legend import with_legend
from bench.reporting.tables.method_table import section_title
from bench.reporting.tables.table import CONFIDENCE, Table, counted
from bench.results.protocol import took_part

if TYPE_CHECKING:
    import pandas as pd

MOST_BYTES = 1_900_000
MOST_TABLES = 900_000
"""Bytes of a page, and of its tables and charts."""
MOST_ROWS = 200
"""Rows of a table that is not of AUCs; its file has the others."""
SCRIPTS = ("tables.js", "filters.js", "charts.js", "cell.js")


@dataclass(frozen=True)
class Section:
    """The results of one dataset and source architecture; the first of its tables is that of the AUCs."""

    cells: Sequence[Cell]
    tables: Sequence[Table]
    costs: Sequence[Cost]
    budgets: Sequence[AtBudget]
    networks: Sequence[Accuracy]


def html(
    frame: pd.DataFrame, run: Mapping[str, JSON], sections: Sequence[Section], further: Sequence[Table] = ()
) -> str:
    """Make the page from everything that was computed; the same numbers give the same bytes.

    `further` are tables of no section.
    """
    environment = templates()
    charts = Charts(run)
    shown: list[str] = []
    first = 0
    with svg.drawing():
        for section in sections:
            text = environment.get_template("section.html").render(_section(section, run, charts, first, len(shown)))
            if shown and sum(map(len, shown)) + len(text) > MOST_TABLES:
                break
            shown.append(text)
            first += len(section.cells)
    left_out, more = [section_title(s.cells) for s in sections[len(shown) :]], list[str]()
    for table in further:
        text = environment.get_template("further_table.html").render(table=table, most_rows=MOST_ROWS)
        if sum(map(len, (*shown, *more))) + len(text) > MOST_TABLES:
            left_out.append(table.title)
        else:
            more.append(text)
    free = MOST_BYTES - sum(len(text.encode()) for text in (*shown, *more)) - 100_000
    script = "\n".join(['"use strict";', "(() => {", *map(part, SCRIPTS), "})();\n"])
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html").render(
        _head(frame, run, sections),
        sections=shown,
        further=more,
        left_out=left_out,
        data=_data(default_budget(frame, run), run, sections[: len(shown)], free),
        level=CONFIDENCE,
        script=script,
        style=part("colours.css") + part("page.css"),
        script_hash=f"sha256-{hashed}",
    )


def _data(frame: pd.DataFrame, run: Mapping[str, JSON], sections: Sequence[Section], free: int) -> str:
    """Write the details of the cells as JSON, in as much detail as fits into `free` bytes."""
    samples, variants = Samples(frame, Spec.from_json(run["spec"]).seeds), frame.variant.to_list()
    names = frame.suspect_model.to_list() if "suspect_model" in frame else ()
    about = {
        kind: {name: component_words(entry, name) for name, entry in run["components"][kind].items()}
        for kind in (ComponentKind.METHOD, ComponentKind.ATTACK)
    }
    costs = [{c.method: cost_words(c) for c in section.costs} for section in sections]
    curves: Curves = {}
    for detail in (*LEVELS, None):
        details = CellDetails(samples, variants, detail, curves, names)
        size = 0
        for section in sections:
            size += len(_script_json(details.add(section.cells)))
            if size > free and detail:
                break
        else:
            text = _script_json({**details.to_json(), "level": CONFIDENCE, "about": about, "costs": costs})
            if len(text) <= free:
                break
    return text


def _script_json(value: JSON) -> str:
    """Write JSON that neither ends a script element nor opens a comment."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _section(section: Section, run: Mapping[str, JSON], charts: Charts, first: int, number: int) -> dict[str, Any]:
    cells, main = section.cells, section.tables[0]
    rows = list(shown_rows(cells, first))
    papers = any(c.paper for c in cells)
    others = [*section.tables[1:], *([with_legend(check_table(cells, run))] if papers else [])]
    return {
        "number": number,
        "section_title": section_title(cells),
        "main": main,
        "attacks": list(dict.fromkeys(c.attack for c in cells)),
        "bodies": [body for baseline in (False, True) if (body := [r for r in rows if r[1] == baseline])],
        "costs": charts.cost(cells, section.costs),
        "budgets": charts.budgets(section.budgets),
        "accuracies": charts.accuracies(section.networks),
        "tables": {t.title.rpartition(": ")[2]: t for t in others},
        "most_rows": MOST_ROWS,
    }


def _head(frame: pd.DataFrame, run: Mapping[str, JSON], sections: Sequence[Section]) -> dict[str, Any]:
    spec = Spec.from_json(run["spec"])
    statuses = {str(status): int(n) for status, n in frame.status.value_counts().items()}
    trials = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in sorted(statuses.items()))
    seeds = ", ".join(map(str, spec.seeds))
    present = took_part(frame, run)
    return {
        "title": f"{' + '.join(spec.datasets)}, preset {spec.preset}",
        "facts": {
            "methods": f"{len(spec.methods)} and {counted(len(spec.baselines), 'baseline')}",
            "attacks": str(len(spec.attacks)),
            "trials": f"{sum(statuses.values())}: {trials}",
            "sources": f"{', '.join(spec.sources)}; seed{'s' * (len(spec.seeds) > 1)} {seeds}",
            "suspects": ", ".join(spec.suspects),
            "precision": spec.recipe.precision,
            "made": str(run.get("date") or "undated"),
        },
        "section_titles": [section_title(s.cells) for s in sections],
        "again": _again(run, spec),
        "run": run,
        "components": [
            (kind, component_words(entry, name))
            for kind in ComponentKind
            for name, entry in sorted(run["components"][kind].items())
            if name in present[kind]
        ],
    }


def _again(run: Mapping[str, JSON], spec: Spec) -> str:
    """Return the command that repeats a run; the reader has plugin files and descriptions of networks elsewhere."""
    entries = (entry for components in run["components"].values() for entry in components.values())
    files = sorted({Path(name).name for e in entries if (name := str(e.get("distribution") or "")).endswith(".py")})
    more = [*(f"--plugin PATH/{file}" for file in files), *(["--models PATH/ZOO.toml"] if spec.models else [])]
    return " ".join(["bench run --spec run.json", *more, "--out ANOTHER_FOLDER"])
