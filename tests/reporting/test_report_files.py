"""The files of a report for people who write: LaTeX, BibTeX, and what explains a table where it is read."""

import re
import shutil
import subprocess
from collections import Counter

import pytest
from test_build import benchmark, charts, component, trials  # noqa: F401  a fixture

from bench.core.canonical import digest
from bench.reporting.bibliography import bibtex, escaped
from bench.reporting.build import Report, write
from bench.reporting.tables.latex import file_name
from bench.reporting.tables.table import Table, cell
from bench.results.protocol import took_part
from bench.results.reader import load


def test_latex_has_a_file_for_each_table_with_a_label_that_no_other_folder_has(tmp_path):
    rows, run = trials((0, 1)), benchmark(seeds=(0, 1))
    for name in ("one", "other", "Ä b", "Ä-b"):
        write(tmp_path / name, rows, run)
    found = {p: p.read_text() for p in tmp_path.glob("*/tex/*.tex")}
    assert {p.name for p in found} >= {f"digits-vgg-{what}.tex" for what in ("auc", "cost", "negatives", "accuracy")}
    labels = [re.findall(r"\\label\{(.*?)\}", text) for text in found.values()]
    assert [len(x) for x in labels] == [text.count(r"\begin{table}") for text in found.values()]
    assert max(Counter(label for x in labels for label in x).values()) == 1
    assert "tab:one-digits-vgg-auc" in found[tmp_path / "one" / "tex" / "digits-vgg-auc.tex"]
    assert all(label.isascii() and not re.search(r"[^A-Za-z0-9:_-]", label) for x in labels for label in x)


def test_two_tables_whose_names_run_together_have_files_and_labels_of_their_own(tmp_path):
    """Dataset `a_b` with source `c`, and dataset `a` with source `b_c`; a name that is a path stays a file here."""
    labels = {("a_b", "c"), ("a", "b_c"), ("../x", "c"), ("x", "c"), ("A", "c"), ("a" * 90, "c"), ("a" * 91, "c")}
    tables = [Table("t", ["h"], [[cell("1")]], label=(*where, "auc")) for where in labels]
    names = {file_name(t) for t in tables}
    assert len(names) == len(labels)
    assert not any("/" in n or n.startswith(".") or len(n) > 200 for n in names)


def test_files_of_tables_that_are_no_more_are_removed_but_no_file_of_the_user(tmp_path):
    budgets = [r | {"budget": 25, "key": digest([r["key"]])} for r in trials() if r["method"] == "sac"]
    write(tmp_path, [*trials(), *budgets], benchmark(budgets=(25,)))
    old, mine = tmp_path / "tex" / "digits-vgg-budgets.tex", tmp_path / "tex" / "main.tex"
    assert old.exists()
    mine.write_text("a document with these tables")
    (tmp_path / "table.tex").write_text("one file for all, as it was before")
    write(tmp_path, trials(), benchmark())
    assert not old.exists()
    assert not (tmp_path / "table.tex").exists()
    assert mine.read_text() == "a document with these tables"


@pytest.mark.parametrize("preset, epochs, says", [("smoke", 3, True), ("smoke", 30, False), ("quick", 3, False)])
def test_every_table_of_a_preset_without_meaning_says_so(tmp_path, preset, epochs, says):
    run = benchmark(preset=preset)
    run["spec"]["recipe"]["epochs"] = float(epochs)
    write(tmp_path, trials(), run)
    for name in ("table.txt", "table.md", "accuracy.md", "index.html"):
        text = " ".join((tmp_path / name).read_text().split())
        tables = text.count("Drawn: ")
        assert tables
        assert text.count("No figure here means anything") == says * tables, name


def test_each_mark_in_a_table_is_explained_below_it(tmp_path):
    """Of every table: what stands in its cells and is no number or name is in its caption or notes."""
    rows = trials((0, 1))
    lost = next(r for r in rows if r["attack"] == "extract_l" and r["method"] == "sac")
    lost |= dict.fromkeys(("score", "queries", "agreement", "seconds")) | {
        "access": "",
        "status": "failed",
        "error": "x",
    }
    write(tmp_path, rows, benchmark(seeds=(0, 1)))
    report = Report(tmp_path)
    tables = [*report.full, *report.accuracy_tables]
    marks = {mark for t in tables for mark in "†*‡§±–" if any(mark in x.text for r in t.rows for c in r for x in c)}
    assert marks >= {"*", "±", "–"}
    for table in tables:
        below = " ".join((table.caption, *table.notes))
        for text in (x.text for row in table.rows for c in row for x in c):
            for mark in "†*‡§±":
                assert mark not in text or f"{mark}:" in below or f"{mark} standard" in below, (table.title, text)
            assert text != "–" or "–:" in below, table.title


# --- BibTeX -------------------------------------------------------------------------------------------------------


def entries(*papers):
    """Return the BibTeX of a run whose methods declare these papers."""
    run = benchmark(methods=tuple(f"m{n}" for n in range(len(papers))), baselines=())
    run["components"]["method"] = {f"m{n}": component(paper=paper) for n, paper in enumerate(papers)}
    rows = [r | {"method": "m0"} for r in trials() if r["method"] == "sac"]
    return bibtex(frame(rows), run)


def frame(rows):
    import pandas as pd

    return pd.DataFrame(rows)


def test_a_paper_becomes_an_entry():
    text = entries(
        "A. de Boer, J.-P. Sœur, Ü. Ångström: On X: 50 % & more_or_less, NeurIPS 2022, https://arxiv.org/abs/2210.15427"
    )
    assert "@inproceedings{deboer2022," in text
    assert r"author = {de Boer, A. and S{\oe}ur, J.-P. and {\r A}ngstr{\"o}m, {\"U}.}" in text
    assert r"title = {{On X: 50 \% \& more\_or\_less}}" in text
    assert "booktitle = {NeurIPS}" in text
    assert "year = {2022}" in text
    assert "eprint = {2210.15427}" in text
    assert text.startswith("The paper of m0:\n@")


def test_methods_of_one_paper_share_an_entry_and_other_papers_get_other_keys():
    one, other = (f"A. Doe: {title}, ICLR 2021, https://example.org/{title}" for title in ("One", "Other"))
    text = entries(one, other, one)
    assert re.findall(r"^@\w+\{(.*),$", text, re.MULTILINE) == ["doe2021", "doe2021a", "bench"]
    assert "The paper of m0, m2:" in text


@pytest.mark.parametrize(
    "paper, kind",
    [
        ("A. B: T, Journal of Tests 2020, https://example.org", "article"),
        ("A. B: T, IEEE Transactions on X 2020, https://example.org", "article"),
        ("A. B: T, arXiv 2020, https://arxiv.org/abs/2001.00001", "misc"),
        ("Nobody: an example. 2026.", "misc"),
        ("https://example.org/{x}", "misc"),
        ("}@string{x={y}}", "misc"),
        ("A. B: T } @misc{evil, title={x}, V 2020, https://example.org/}x", "inproceedings"),
    ],
)
def test_any_text_is_an_entry_that_bibtex_reads(paper, kind):
    text = entries(paper)
    assert text.count("@") == 2 + paper.count("@")  # an entry begins with @ at the start of a line only
    assert re.findall(r"^@(\w+)", text, re.MULTILINE) == [kind, "misc"]
    plain = re.sub(r"\\[{}]", "", text)
    depth = 0
    for character in plain:
        depth += (character == "{") - (character == "}")
        assert depth >= 0
    assert depth == 0


def test_a_hostile_name_begins_no_entry():
    run = benchmark(methods=("@misc{x,",), baselines=())
    run["components"]["method"] = {"@misc{x,": component(paper="A. B: T, V 2020, https://example.org")}
    rows = [r | {"method": "@misc{x,"} for r in trials() if r["method"] == "sac"]
    assert re.findall(r"@(\w+)", bibtex(frame(rows), run)) == ["inproceedings", "misc"]


def test_without_a_paper_bench_alone_is_cited():
    assert re.findall(r"^@\w+\{(.*),$", entries("", ""), re.MULTILINE) == ["bench"]


@pytest.mark.skipif(shutil.which("bibtex") is None, reason="no bibtex here")
def test_bibtex_reads_it(tmp_path):
    (tmp_path / "references.bib").write_text(entries("A. de Boer: T & U, V 2020, https://example.org/a_b", "só: é"))
    (tmp_path / "x.aux").write_text("\\citation{*}\n\\bibstyle{plain}\n\\bibdata{references}\n")
    done = subprocess.run(["bibtex", "x"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "error" not in done.stdout.lower(), done.stdout


def test_letters_that_latex_lacks_are_replaced():
    assert escaped("日本 \\ {x} ~ é ø") == r"?? {\textbackslash} (x) {\textasciitilde} {\'e} {\o}"


# --- what took part -----------------------------------------------------------------------------------------------


def test_the_page_lists_what_took_part_and_nothing_else(tmp_path):
    run = benchmark(attacks=("finetune_a", "extract_l", "tuned"))
    run["components"]["attack"]["other"] = component()
    run["components"]["dataset"]["elsewhere"] = component(num_classes=10)
    run["components"]["architecture"]["helper"] = component()
    run["components"]["architecture"]["idle"] = component()
    run["components"]["method"]["owner"] = component(params={"surrogates": 2}, helper_architectures=["helper"])
    run["components"]["method"]["mark"]["attributes"]["fingerprint_of"] = "owner"
    run["components"]["method"]["sac"]["attributes"]["helper_architectures"] = ["idle"]
    rows = [r for r in trials() if r["attack"] != "transfer"]
    write(tmp_path, rows, run)
    found = took_part(*load(tmp_path))
    assert found["attack"] == {"finetune_a", "extract_l", "tuned", "transfer"}  # tuned starts from transfer
    assert found["method"] == {"sac", "mark", "noise", "owner"}
    assert found["architecture"] == {"vgg", "net", "res", "helper"}
    page = (tmp_path / "index.html").read_text()
    listed = set(re.findall(r'<tr><th scope="row">(\w+)</th><td>(?:dataset|architecture|attack|method)</td>', page))
    assert listed == set().union(*found.values())
    assert not {"other", "elsewhere", "idle"} & listed
