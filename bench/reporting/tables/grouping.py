"""Cells grouped into the rows and columns that the tables of methods share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from bench.analysis.cells import Cell


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


def first_baseline(rows: Mapping[str, Sequence[Cell]]) -> int | None:
    """Give the number of the first row that is a baseline."""
    return next((n for n, row in enumerate(rows.values()) if row[0].baseline), None)


def place(things: Sequence[Placed]) -> str:
    """Name what a table is about: dataset and source architecture, which all of its things share."""
    return f"{things[0].dataset}, source {things[0].source_architecture}"


def attacks(cells: Sequence[Cell]) -> list[str]:
    """Name the columns: the attacks, those that land elsewhere with the dataset they land on."""
    target_replicates = {c.attack: c.suspect_dataset for c in cells if not c.home and c.suspect_dataset}
    names = dict.fromkeys(c.attack for c in cells)
    return [f"{a}\n({target_replicates[a]})" if a in target_replicates else a for a in names]
