"""LaTeX that people paste into papers: whole, escaped, and no wider than a page."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bench.reporting.build import Report
from bench.reporting.csv_files import CELL_COLUMNS
from bench.reporting.tables.latex import latex
from bench.reporting.tables.table import Line, Table, cell

PUBLISHED = Path(__file__).parents[2] / "results"
PAPER = r"""\documentclass{article}
\usepackage{booktabs,graphicx}
\begin{document}
%s
\end{document}
"""
HOSTILE = 'a|b<i>_&%${}~^\\#"–≥’†\u202e'


def published(name):
    """Return the LaTeX of a published folder; test_published.py compares files that have today's columns."""
    folder = PUBLISHED / name
    header = (folder / "table.csv").read_text().partition("\n")[0].split(",")
    if header != [c.name for c in CELL_COLUMNS]:
        return Report(folder).text("tex")
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((folder / "tex").glob("*.tex")))


def table(columns):
    """Make a table with hostile text in every place and `columns` columns of figures."""
    figures = [[Line("1.00†"), Line("[0.73, 1.00]"), Line(HOSTILE, faint=True)], cell("-0.7"), cell("–"), []]
    rows = [[cell(name), *(figures[n % 4] for n in range(columns))] for name in (HOSTILE, "*", "[0.5]", "baseline")]
    header = ["method", *(f"extract_{n}\n({HOSTILE})" for n in range(columns))]
    return Table(HOSTILE, header, rows, caption=HOSTILE, notes=[HOSTILE], baselines=3, label=("A_b", "net", "auc"))


def grids(text):
    """Return the rows of every grid, without rules."""
    for spec, body in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        yield spec, [line for line in body.strip().splitlines() if not re.match(r"\\\w+(rule|space)$", line)]


def whole(text):
    """Return True if every grid has as many cells in each row as columns, and every brace its fellow."""
    plain = re.sub(r"\\[\\{}&%#_$]", lambda m: "\\\\" if m[0] == r"\\" else "", text)
    assert plain.count("{") == plain.count("}")
    found = list(grids(text))
    assert found
    for spec, lines in found:
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {len(spec)}
        assert all(line.endswith(r"\\") for line in lines)
    return True


def test_hostile_text_leaves_latex_whole():
    assert whole(latex(table(4), "folder"))
    assert whole(latex(table(20), "folder"))


def test_the_published_table_is_whole():
    assert whole(published("noisy_digits"))


def test_a_wide_table_is_cut_into_parts_with_labels_of_their_own_and_one_legend():
    text = latex(table(20), "folder")
    parts = text.count(r"\begin{table}")
    assert parts > 2
    assert text.count(f"({parts} of {parts})") == 1
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert labels == ["tab:folder-A_b-net-auc", *(f"tab:folder-A_b-net-auc-{n}" for n in range(2, parts + 1))]
    assert text.count(r"\begin{minipage}") == 1
    columns = [len(spec) - 1 for spec, _ in grids(text)]
    assert sum(columns) == 20


def test_a_narrow_table_is_one():
    text = latex(table(1), "folder")
    assert text.count(r"\begin{table}") == 1
    assert " of " not in text


def high(count, lines=4):
    """Make a table of `count` rows of `lines` lines each; white boxes and baselines are its last two thirds."""
    rows = [[cell(f"method{n}"), cell(*(f"{n}.{line}" for line in range(lines)))] for n in range(count)]
    label = ("data", "net", "auc")
    return Table("AUC", ["method", "extract"], rows, label=label, white_box=count // 3, baselines=2 * count // 3)


@pytest.mark.parametrize(("count", "lines"), [(30, 4), (100, 1), (3, 80), (31, 3)])
def test_a_high_table_is_cut_between_rows_and_keeps_their_order_and_its_rules(count, lines):
    text = latex(high(count, lines), "folder")
    parts = [body for _, body in grids(text)]
    assert len(parts) > 1
    assert text.count(f"({len(parts)} of {len(parts)})") == 1
    figures = [line.removesuffix(r" \\").split("&")[1].strip() for body in parts for line in body[1:]]
    assert figures == [f"{n}.{line}" for n in range(count) for line in range(lines)]
    assert max(len(body) for body in parts) <= max(52, lines + 1)
    assert all(body[1].startswith("method") for body in parts)
    within = sum(f"method{n} " in line for n in (count // 3, 2 * count // 3) for body in parts for line in body[2:])
    assert text.count("\\midrule") == len(parts) + within


@pytest.mark.parametrize(("notes", "within"), [(1, True), (60, False)])
def test_notes_that_do_not_fit_on_the_page_of_the_table_follow_it(notes, within):
    text = latex(replace(high(9), notes=["A note of some forty characters, and more."] * notes), "folder")
    assert text.count("A note") == notes and text.count(r"\begin{minipage}") == within
    after = text.rpartition(r"\end{table}")[2]
    assert (
        after.strip().startswith(r"\par\noindent{\footnotesize\sloppy Table~\ref{tab:folder-data-net-auc}: A note")
        != within
    )


def test_the_pages_of_a_table_of_many_parts_are_set_before_too_many_parts_wait():
    waiting = [part.count(r"\begin{table}") for part in latex(high(1500, 2), "folder").split(r"\clearpage")]
    assert waiting[:-1] == [15] * (len(waiting) - 1) and 0 < waiting[-1] <= 15 and sum(waiting) > 52
    assert r"\clearpage" not in latex(high(100), "folder")


LONG = replace(high(9), notes=["A note of some forty characters, and more."] * 200)


def test_a_table_of_no_rows_is_one():
    assert latex(high(0), "folder").count(r"\begin{table}") == 1


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_latex_sets_each_table_without_an_error_or_a_line_too_wide(tmp_path):
    made = {"columns_3": table(3), "columns_20": table(20), "notes": LONG, "rows_9": high(9), "rows_40": high(40)}
    made["rows_1500"] = high(1500, 2)
    texts = {name: latex(one, "folder") for name, one in made.items()}
    texts |= {name: published(name) for name in ("noisy_digits", "field", "variations")}
    for name, text in texts.items():
        (tmp_path / f"{name}.tex").write_text(text, encoding="utf-8")
    tables = "\n".join(rf"\typeout{{>>> {name}}}\input{{{name}}}\clearpage" for name in texts)
    (tmp_path / "paper.tex").write_text(PAPER % tables, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    said = dict(part.partition("\n")[::2] for part in ran.stdout.split(">>> ")[1:])
    assert ran.returncode == 0, (list(said)[-1:], ran.stdout[-2000:])
    assert list(said) == list(texts)
    assert [name for name, text in said.items() if "Overfull" in text or "too large" in text] == [], ran.stdout
