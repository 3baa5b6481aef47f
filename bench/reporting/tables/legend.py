"""Explain the marks in a table's cells that neither its caption nor its notes explain."""

import dataclasses
import re

from bench.reporting.tables.table import Table

MARKS = {
    "†": (r"†", "better than every baseline, as the table of AUCs explains"),
    "*": (r"\*", "incomplete: scores are missing"),
    "‡": (r"‡", "with networks that did not learn"),
    "§": (r"§", "more than half of the scores are one value"),
    "±": (r"±", "a mean and the standard deviation"),
    "–": (r"^–$", "not applicable, or nothing to show"),
    "n/r": (r"\bn/r\b", "not reported: too few irrelevant models"),
    "none": (r"^none\b|/ none\b", "there are no such models"),
    "not trained": (r"^not trained$", "no stolen suspect is better than chance"),
    "not compared": (r"^not compared$", "no baseline can judge there, or one has no score"),
}
"""The marks: how they are found in a line of a cell, and what they mean."""


def with_legend(table: Table) -> Table:
    """Return a table with a note for each mark in its cells that is not explained yet."""
    below = " ".join((table.caption, *table.notes))
    lines = {line.text for row in table.rows for cell in row for line in cell}
    notes = [
        f"{mark}: {meaning}."
        for mark, (pattern, meaning) in MARKS.items()
        if not re.search(rf"{re.escape(mark)}(:| standard)", below) and any(re.search(pattern, x) for x in lines)
    ]
    return dataclasses.replace(table, notes=[*table.notes, *notes])
