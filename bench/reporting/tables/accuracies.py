"""The table of test accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.analysis.accuracies import Accuracy
from bench.core.canonical import JSON
from bench.reporting.tables.method_table import section_table
from bench.reporting.tables.notes import caption
from bench.reporting.tables.numbers import percent
from bench.reporting.tables.table import Table, cell


def accuracy_table(networks: Sequence[Accuracy], run: Mapping[str, JSON]) -> Table:
    """Return the test accuracies of one dataset and source architecture, in percent."""
    rows = []
    for a in networks:
        value, n = percent(a.summary), str(a.summary.n)
        texts = (a.owner, a.model, a.variant, a.suspect_dataset, a.suspect_architecture or "all", value, n)
        rows.append([*map(cell, texts), cell(f"{100 * a.paper:.1f}" if a.paper is not None else "")])
    return section_table(
        networks,
        "test accuracy",
        ["source", "model", "variant", "tested on", "architecture", "accuracy", "n", "paper"],
        rows,
        caption(
            run,
            "test accuracy in percent, mean ± standard deviation over n networks, each counted once; irrelevant models "
            "belong to no source and stand with the plain one",
        ),
        level=2,
    )
