"""The results of a run, for Python and notebooks: tables of data, and the tables of a report as text."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.arguments import path
from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.core.kinds import Status
from bench.core.spec import Spec
from bench.reporting.formats import FILES
from bench.results.columns import TRIAL_COLUMNS, Column
from bench.results.folders import folder_of

if TYPE_CHECKING:
    import pandas as pd

    from bench.execution.benchmark import RunResult
    from bench.reporting.build import Report


class Results:
    """The results of a run, or of a results folder: figures as DataFrames, tables as text.

    `folder` is where they are. `run` is the content of `run.json`, `spec` everything that determines the trials.
    `outcome` counts what the run did: `executed`, `failed`, `blocked`, `cached`, `interrupted`; None if the results
    were loaded. Everything is computed from the two source files when it is first asked for, and nothing is written.
    """

    def __init__(self, folder: Path, outcome: "RunResult | None" = None) -> None:
        self.folder, self.outcome = folder, outcome

    @cached_property
    def _report(self) -> "Report":
        from bench.reporting.build import Report

        return Report(self.folder)

    @cached_property
    def run(self) -> Mapping[str, JSON]:
        """The content of `run.json`."""
        return self._report.run

    @cached_property
    def spec(self) -> Spec:
        """Everything that determines the trials."""
        return Spec.from_json(self.run["spec"])

    @cached_property
    def trials(self) -> "pd.DataFrame":
        """A row per trial, with the columns of `trials.csv` (docs/results.md); NA where a number is missing."""
        frame = self._report.frame.copy()
        for column in TRIAL_COLUMNS:
            if column.type is int:
                frame[column.name] = frame[column.name].astype("Int64")
        return frame

    @cached_property
    def cells(self) -> "pd.DataFrame":
        """The estimates: a row per method and attack, with the columns of `table.csv` (docs/results.md).

        `auc` with its interval from `low` to `high`, numbers of models and sources, rates, what the paper reports, the
        comparison with the baselines. NA where there is no figure.
        """
        from bench.reporting.csv_files import CELL_COLUMNS

        return _frame(CELL_COLUMNS, self._report.cells)

    @cached_property
    def budgets(self) -> "pd.DataFrame":
        """The AUCs by number of queries, with the columns of `budgets.csv`; empty without `budgets=`."""
        from bench.reporting.csv_files import BUDGET_COLUMNS

        return _frame(BUDGET_COLUMNS, self._report.budgets)

    @cached_property
    def accuracies(self) -> "pd.DataFrame":
        """The test accuracies of sources, irrelevant and stolen models, with the columns of `accuracy.csv`."""
        from bench.reporting.csv_files import ACCURACY_COLUMNS

        return _frame(ACCURACY_COLUMNS, self._report.accuracies)

    @property
    def complete(self) -> bool:
        """True if every applicable trial has a score."""
        return not {*self.trials.status} & {Status.FAILED, Status.BLOCKED, Status.NOT_RUN}

    def table(self, format: str = "txt") -> str:
        """Return the tables as text, as `bench report --format` prints them: `txt`, `md`, `tex`, `csv` or `bib`.

        BenchError for another format.
        """
        from bench.reporting import cache

        if format in FILES and cache.is_current(self.folder):
            return (self.folder / FILES[format]).read_text(encoding="utf-8")
        return self._report.text(format)

    def check(self) -> str:
        """Return a comparison of the AUCs with those of the papers, as `bench report --check` prints it."""
        from bench.reporting.build import check

        return check(self.folder)

    def counts(self) -> dict[str, int]:
        """Return the number of trials of each status."""
        return {str(status): int(n) for status, n in self.trials.status.value_counts().sort_index().items()}

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {status}" for status, n in self.counts().items())
        return f"Results({str(self.folder)!r}: trials: {counts})"

    def _repr_html_(self) -> str:
        """Return the tables of AUCs and costs for a notebook."""
        from bench.reporting.tables.html import html

        return "\n".join(map(html, self._report.short))


def load_results(folder: str | PathLike[str]) -> Results:
    """Return the results in a folder that `bench run` or `bench.run` has written, by its path or name in `results`.

    Nothing is written and no plugin is needed. BenchError if there is no such folder, or its files are damaged.
    """
    if not isinstance(folder, str | PathLike):
        raise BenchError(f"load_results takes a folder, not {folder!r:.80}")
    results = Results(folder_of(str(path("load_results", folder))))
    _ = results.run  # read and checked now
    return results


DTYPES: Mapping[type, Any] = {str: "object", int: "Int64", float: "float64", bool: "boolean"}
EMPTY: Mapping[type, object] = {str: "", int: None, float: math.nan, bool: None}


def _frame(columns: Sequence[Column[Any]], records: Iterable[Any]) -> "pd.DataFrame":
    """Return records as a DataFrame; where there is no value: empty text, NaN among floats, NA among other values."""
    import pandas as pd

    records = list(records)

    def values(column: Column[Any], empty: object) -> list[object]:
        read: Callable[[Any], object] = column.value
        return [empty if (value := read(record)) is None else value for record in records]

    return pd.DataFrame({c.name: pd.Series(values(c, EMPTY[c.type]), dtype=DTYPES[c.type]) for c in columns})
