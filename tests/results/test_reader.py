"""`trials.csv` and `run.json` after a spreadsheet or an editor saved them: read as they were, or one line."""

import csv
import io
import tracemalloc
from pathlib import Path

import pandas as pd
import pytest
from test_build import benchmark, trials

from bench.core.errors import BenchError
from bench.results import reader
from bench.results.reader import load
from bench.results.writer import save


@pytest.fixture
def saved(tmp_path):
    """A results folder, what is read from it, and its text."""
    rows = trials()
    for n, row in enumerate(rows):
        row["variant"] = "ratio=0,3; half" if n % 2 else ""
    save(tmp_path, rows, benchmark())
    return tmp_path, load(tmp_path), (tmp_path / "trials.csv").read_text()


def rewritten(text, **dialect):
    table = list(csv.reader(io.StringIO(text)))
    out = io.StringIO()
    csv.writer(out, **{"lineterminator": "\r\n"} | dialect).writerows(table)
    return out.getvalue()


def with_decimal_commas(text, **dialect):
    """Return the file with a comma in each number."""
    table = list(csv.reader(io.StringIO(text)))
    numbers = [n for n, name in enumerate(table[0]) if name in ("score", "source_accuracy", "seconds", "agreement")]
    for row in table[1:]:
        for n in numbers:
            row[n] = row[n].replace(".", ",")
    out = io.StringIO()
    csv.writer(out, **dialect).writerows(table)
    return out.getvalue()


MARKS = {
    "byte order": lambda t: b"\xef\xbb\xbf" + t.encode(),
    "line ends": lambda t: t.replace("\n", "\r\n").encode(),
    "old line ends": lambda t: t.replace("\n", "\r").encode(),
    "everything quoted": lambda t: rewritten(t, quoting=csv.QUOTE_ALL).encode(),
    "semicolons": lambda t: rewritten(t, delimiter=";").encode("utf-8-sig"),
    "tabs": lambda t: rewritten(t, delimiter="\t").encode(),
    "utf-16": lambda t: rewritten(t, delimiter="\t").encode("utf-16"),
    "utf-16, big endian": lambda t: b"\xfe\xff" + rewritten(t).encode("utf-16-be"),
    "decimal commas": lambda t: with_decimal_commas(t, delimiter=";").encode(),
    "decimal commas, quoted": lambda t: with_decimal_commas(t, delimiter="\t", quoting=csv.QUOTE_ALL).encode(),
    "empty lines": lambda t: (t + "\n\n" + "," * 30 + "\n").encode(),
    "empty columns": lambda t: "\n".join(line + ",," for line in t.splitlines()).encode(),
    "no last line end": lambda t: t.rstrip("\n").encode(),
    "spaces in the header": lambda t: t.replace("dataset,source", " dataset , source", 1).encode(),
}
SAME = ("byte order", "line ends", "old line ends", "utf-16, big endian")


@pytest.mark.parametrize("together", [1, reader.READ_TOGETHER])
@pytest.mark.parametrize("mark", MARKS)
def test_a_spreadsheets_marks_change_no_figure(saved, mark, together, monkeypatch):
    monkeypatch.setattr(reader, "READ_TOGETHER", together)
    folder, (frame, _), text = saved
    (folder / "trials.csv").write_bytes(MARKS[mark](text))
    again, run = load(folder)
    pd.testing.assert_frame_equal(again, frame)
    assert run["edited"] is (mark not in SAME)


@pytest.mark.slow
def test_reading_takes_memory_for_what_differs_and_not_for_every_cell():
    """A text for each cell would take five times the file, `io.StringIO` four times."""
    folder = Path(__file__).parents[2] / "results" / "noisy_digits"
    load(folder)  # what is imported does not count
    tracemalloc.start()
    try:
        load(folder)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    size = (folder / "trials.csv").stat().st_size
    assert peak < 6 * size, peak / size


@pytest.mark.parametrize("mark", ["byte order", "line ends"])
def test_run_json_may_have_the_marks_of_an_editor(saved, mark):
    folder, (frame, run), _ = saved
    path = folder / "run.json"
    path.write_bytes(MARKS[mark](path.read_text()))
    again, other = load(folder)
    assert other == run and len(again) == len(frame)


WRONG = {
    "percent": (lambda t: t.replace(",0.85,", ",85%,", 1), "line 2: suspect_accuracy is '85%', which is no number"),
    "decimal commas and commas": (
        lambda t: with_decimal_commas(t),
        "line 2: score is '0,0', which is no number",
    ),
    "thousands": (
        lambda t: rewritten(t, delimiter=";").replace(";100;", ";1.000,5;", 1),
        "queries is '1.000,5', which is no number",
    ),
    "a decimal count": (lambda t: rewritten(t, delimiter=";").replace(";100;", ";1,5;", 1), "queries is '1.5'"),
    "an empty line": (lambda t: t.replace("\n", "\n\n", 1), "line 2 has 0 values instead of"),
    "another row's end": (lambda t: t.rstrip("\n") + ",x\n", "values instead of"),
    "a lost column": (lambda t: t.replace("dataset,", "", 1), "it lacks the column dataset"),
    "another run's seed": (
        lambda t: t.replace("digits,vgg,0,", "digits,vgg,7,", 1),
        "it has rows of the source_seed 7, which run.json beside it does not name",
    ),
    "nothing": (lambda t: "", "it lacks the columns"),
    "only a mark": (lambda t: "\ufeff", "it lacks the columns"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_read_back_is_one_line(saved, what):
    folder, _, text = saved
    change, reason = WRONG[what]
    (folder / "trials.csv").write_text(change(text))
    with pytest.raises(BenchError) as error:
        load(folder)
    assert reason in str(error.value) and "\n" not in str(error.value)
    assert "Make it again: bench run --spec" in str(error.value)


@pytest.mark.parametrize("content", [b"dataset,\x85\n", b"\xff\xfed", b"\xff\xfe\x00\xd8\x00\x00"])
def test_another_encoding_is_one_line(saved, content):
    folder, *_ = saved
    (folder / "trials.csv").write_bytes(content)
    with pytest.raises(
        BenchError, match=r"is no UTF-8 text \(byte \d+\)\. A spreadsheet has to save it as `CSV UTF-8`"
    ):
        load(folder)
