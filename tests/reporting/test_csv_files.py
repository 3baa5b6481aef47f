"""The CSV files follow from their lists of columns, and a statistic of a cell appears in every file of a report."""

import csv
import io
import json
import re

import pytest
from test_build import benchmark, trials

from bench.analysis import cell_statistics
from bench.analysis.cell_statistics import STATISTICS, CellStatistic, Value
from bench.analysis.cells import cells
from bench.reporting import csv_files
from bench.reporting.build import write
from bench.reporting.html import cell_details
from bench.reporting.tables.auc import auc_table
from bench.results.reader import load
from bench.results.writer import written


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write(folder, trials((0, 1)), benchmark(seeds=(0, 1)))
    return folder


def test_values_are_written_by_the_type_of_their_column():
    assert written(float, 1) == "1.0"
    assert float(written(float, 0.1 + 0.2)) == 0.1 + 0.2
    assert [written(bool, True), written(bool, False), written(int, 3.0)] == ["1", "0", "3"]
    assert written(str, "=1+1") == "'=1+1"
    assert [written(float, None), written(float, float("nan")), written(str, None)] == ["", "", ""]


def test_a_file_has_the_columns_of_its_list(report):
    for name, columns in (("table.csv", csv_files.CELL_COLUMNS), ("accuracy.csv", csv_files.ACCURACY_COLUMNS)):
        lines = list(csv.reader(io.StringIO((report / name).read_text())))
        assert lines[0] == [c.name for c in columns]
        assert len(set(lines[0])) == len(lines[0])
        assert {len(line) for line in lines} == {len(columns)}


def test_every_statistic_has_its_columns_and_is_on_the_page(report):
    names = [c.name for c in csv_files.CELL_COLUMNS]
    page = (report / "index.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert list(data["measures"]) == [s.key for s in STATISTICS]
    for s in STATISTICS:
        assert set(s.columns) <= set(names)
        assert data["measures"][s.key]["title"] == s.title


def test_a_new_statistic_needs_one_entry(report, monkeypatch):
    new = CellStatistic(
        "lost",
        "models without a score",
        lambda c: Value(sum(c.lost.values()) + 7) if c.figure else None,
        {"lost_models": "value"},
        label="lost",
        digits=0,
    )
    for module in (cell_statistics, csv_files, cell_details):
        monkeypatch.setattr(module, "STATISTICS", (*STATISTICS, new))
    frame, run = load(report)
    judged = cells(frame, run)
    column = csv_files._cell_columns()[-1]
    assert (column.name, column.value(judged[0])) == ("lost_models", 7)
    assert "7 lost" in [line.text for line in auc_table(judged, run).rows[0][1]]
    details = cell_details.CellDetails(None, [], None, {})
    details.add(judged)
    assert details.to_json()["measures"]["lost"]["title"] == "models without a score"
    assert details.cells[0]["m"]["lost"] == [7.0]
