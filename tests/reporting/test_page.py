"""The page of a results folder: what stands on it, that names are text there, and how it works in a browser."""

import base64
import hashlib
import json
import re
import shutil
import sys

import numpy as np
import pytest
from html_elements import Elements
from markupsafe import escape
from test_build import benchmark, component, line, trials

from bench.core.canonical import digest
from bench.reporting.build import render, write
from bench.reporting.html import charts, page
from bench.reporting.html.distributions import mean_roc, roc
from bench.results.columns import COLUMNS
from bench.stats.auc import auc


def made(folder, rows=None, run=None):
    """Write a results folder; give the text of its page."""
    write(folder, rows or trials(), run or benchmark())
    return (folder / "index.html").read_text(encoding="utf-8")


def data_of(text):
    return json.loads(Elements(text).all("script", id="data")[0][2])


def cell_of(data, method, attack):
    return next(c for c in data["cells"] if [data["texts"][n] for n in c["at"][2:4]] == [method, attack])


def renamed(names):
    """Make a run and its rows with other names of things."""

    def other(value):
        if isinstance(value, dict):
            return {names.get(k, k): other(v) for k, v in value.items()}
        if isinstance(value, list):
            return [other(v) for v in value]
        return names.get(value, value) if isinstance(value, str) else value

    return [{k: names.get(v, v) if isinstance(v, str) else v for k, v in row.items()} for row in trials()], other(
        benchmark()
    )


HOSTILE = {
    "sac": '<img src=x onerror="window.hit=1">',
    "extract_l": "</script><script>window.hit=1</script>",
    "digits": '"><b id=injected>$x^2$</b>',
    "net": "{{ 7 * 7 }}<!--",
    "noise": "javascript:window.hit=1//'",
}


def lost(rows, method="sac", attack="extract_l", error="steal: out of memory <b>&"):
    """Let all stolen suspects of a cell fail."""
    for row in rows:
        if (row["method"], row["attack"]) == (method, attack):
            row |= {"status": "failed", "error": error, "access": ""}
            row |= dict.fromkeys(("score", "queries", "agreement", "seconds"))
    return rows


# --- what stands on it --------------------------------------------------------------------------------------------


def test_the_page_shows_every_method_against_every_attack(tmp_path):
    found = Elements(made(tmp_path))
    (table,) = found.all("table", class_="auc")
    assert json.loads(table[1]["data-attacks"]) == ["finetune_a", "extract_l", "transfer"]
    assert [row[1]["data-method"] for row in found.all("tr") if "data-method" in row[1]] == ["sac", "mark", "noise"]
    shown = [b[2] for b in found.all("button") if "data-cell" in b[1]]
    assert len(shown) == 9
    assert shown[1].startswith("0.89[0.59, 0.98;this source only]")
    assert "6 / 9" in shown[1]
    assert shown[5] == "–"
    baselines = found.all("tbody", class_="baselines")
    assert any("noise" in body[2] for body in baselines)


def test_the_page_tells_of_the_run_and_how_to_repeat_it(tmp_path):
    run = benchmark()
    run["command"] = "bench run --datasets digits"
    text = made(tmp_path, run=run)
    told = [e[2] for e in Elements(text).all("pre")]
    assert told == ["bench run --spec run.json --out ANOTHER_FOLDER", "bench run --datasets digits"]
    for what in ("abacus", "2.13.0", "0" * 40, "2026-11-25", "samples=100"):
        assert what in text


def test_the_command_that_repeats_a_run_names_plugin_files_and_descriptions(tmp_path):
    run = benchmark(models=({"name": "mine"},))
    run["components"]["method"]["sac"]["distribution"] = "docs/<variations>.py"
    shown = Elements(made(tmp_path, run=run)).all("pre")[0][2]
    files = "--plugin PATH/<variations>.py --models PATH/ZOO.toml"
    assert shown == f"bench run --spec run.json {files} --out ANOTHER_FOLDER"


def test_the_same_results_give_the_same_page_wherever_they_lie(tmp_path):
    first = made(tmp_path / "one")
    second = made(tmp_path / "two" / "deeper")
    assert first == second
    render(tmp_path / "one")
    assert (tmp_path / "one" / "index.html").read_text(encoding="utf-8") == first


def test_the_page_asks_nobody_for_anything(tmp_path):
    run = benchmark()
    run["components"]["method"]["sac"]["attributes"]["paper"] = "Somebody, https://example.org/paper?x=1&y=2."
    text = made(tmp_path, run=run)
    outside = re.findall(r"https?://[^\s\"'<]+", text)
    assert set(outside) == {"https://example.org/paper?x=1&amp;y=2", "https://example.org/paper?x=1\\u0026y=2."}
    found = Elements(text)
    beside = {"trials.csv", "run.json", "table.md", "table.csv", "tex/", "references.bib", "accuracy.csv"}
    for tag, attributes, _ in found.found:
        assert "src" not in attributes, tag
        address = attributes.get("href", "#")
        assert address in beside or address.startswith("#") or address == "data:," or tag == "a", address
        if address.startswith("https:"):
            assert attributes["rel"] == "noreferrer"
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_only_the_pages_own_script_may_run(tmp_path):
    found = Elements(made(tmp_path))
    data, script = found.all("script")
    assert data[1]["type"] == "application/json"
    digest = base64.b64encode(hashlib.sha256(script[2].encode()).digest()).decode()
    (policy,) = found.all("meta", http_equiv="Content-Security-Policy")
    assert f"script-src 'sha256-{digest}'" in policy[1]["content"]
    assert policy[1]["content"].startswith("default-src 'none'")
    assert not [a for e in found.found for a in e[1] if a.startswith("on")]


def test_names_are_text_wherever_they_stand(tmp_path):
    text = made(tmp_path, *renamed(HOSTILE))
    found = Elements(text)
    assert not found.all("img")
    assert not found.all("b", id="injected")
    assert len(found.all("script")) == 2
    assert "49" not in {e[2] for e in found.all("th")}
    for name in HOSTILE.values():
        assert str(escape(name)) in text
    assert set(HOSTILE.values()) <= set(data_of(text)["texts"]) | {HOSTILE["net"]}


def test_a_cell_that_cannot_be_is_not_one_that_failed_and_says_why(tmp_path):
    text = made(tmp_path, lost(trials()))
    found = Elements(text)
    kinds = {b[1]["data-cell"]: b[2] for b in found.all("button") if "data-cell" in b[1]}
    assert kinds["1"] == "failedpaper 0.95"
    assert kinds["5"] == "–"
    assert len(found.all("td", class_="lost")) == 1
    assert len(found.all("td", class_="na")) == 2
    data = data_of(text)
    failed, impossible = cell_of(data, "sac", "extract_l"), cell_of(data, "mark", "transfer")
    assert failed["lost"] == {"failed": 6}
    assert [data["texts"][n] for n, _ in failed["messages"]] == ["steal: out of memory <b>&"]
    assert data["texts"][impossible["reason"]] == "mark compares labels"
    assert "spread" not in failed


def test_rates_that_cannot_be_told_say_what_they_need(tmp_path):
    cell = cell_of(data_of(made(tmp_path)), "sac", "extract_l")
    assert cell["m"]["tpr1"] == 100
    assert cell["m"]["tpr5"] == 20
    assert cell["m"]["accused5"] > 9


def test_behind_a_cell_stand_its_scores_and_its_roc(tmp_path):
    data = data_of(made(tmp_path))
    cell = cell_of(data, "sac", "extract_l")
    ((stolen, irrelevant),) = cell["spread"]["dots"]
    assert stolen[::2] == [0.5, 0.5, 1.5, 1.5, 2.5, 2.5]
    assert [data["models"][n] for n in stolen[1::2]] == ["net 0", "res 0", "net 1", "res 1", "net 2", "res 2"]
    assert data["irrelevant"][irrelevant][::2] == [0.0, 0.01, 0.02, 0.1, 0.11, 0.12, 0.7, 0.71, 0.72]
    (curve,) = cell["spread"]["roc"]
    assert curve == [0.0, 0.0, 0.0, 0.667, 0.333, 0.667, 0.333, 1.0, 1.0, 1.0]
    assert cell["m"]["auc"][0] == 0.8889


def test_sources_have_lines_of_their_own_and_a_mean_roc(tmp_path):
    cell = cell_of(data_of(made(tmp_path, trials((0, 1, 2)), benchmark(seeds=(0, 1, 2)))), "sac", "extract_l")
    assert cell["sources"][0] == 3
    assert cell["spread"]["seeds"] == [0, 1, 2]
    assert len(cell["spread"]["dots"]) == 3
    assert len(cell["spread"]["roc"]) == 4


def test_the_area_under_a_roc_is_the_auc_and_that_of_the_mean_is_the_mean():
    random = np.random.default_rng(0)
    irrelevant = random.integers(0, 8, (3, 11)).astype(float)
    stolen = [random.integers(2, 10, n).astype(float) for n in (5, 7, 20)]
    curves = [roc(s, i) for s, i in zip(stolen, irrelevant, strict=True)]
    areas = [np.trapezoid(c[:, 1], c[:, 0]) for c in curves]
    aucs = [auc(s, i) for s, i in zip(stolen, irrelevant, strict=True)]
    assert areas == pytest.approx(aucs)
    both = mean_roc(curves)
    assert np.trapezoid(both[:, 1], both[:, 0]) == pytest.approx(np.mean(aucs))
    assert (np.diff(both, axis=0) >= 0).all()


def test_aucs_stand_against_cost_and_against_the_number_of_queries(tmp_path):
    rows = trials()
    for row in [r for r in rows if r["method"] == "sac"]:
        rows.append(line(**{k: row[k] for k in ("method", "attack", "suspect_dataset")} | {
            "architecture": row["suspect_architecture"], "replicate": row["replicate"], "budget": 25,
            "score": row["score"] / 2}))  # fmt: skip
    text = made(tmp_path, rows, benchmark(budgets=(25,)))
    assert "<dd>84: 80 done, 4 not applicable</dd>" in text  # the trials, those of 25 queries included
    found = Elements(text)
    titles = [c[2] for c in found.all("figcaption")]
    assert titles[:2] == ["Making a fingerprint", "Networks trained for it"]
    assert titles[4:8] == ["Mean of the attacks that stay", "finetune_a", "extract_l", "transfer"]
    words = [f[1]["aria-label"] for f in found.all("figure")]
    assert words[4] == "Mean of the attacks that stay: sac: 0.94 at 25, 0.94 at 100"


def test_many_seconds_are_written_out(tmp_path):
    text = made(tmp_path, [r | {"fingerprint_seconds": 2028.4, "seconds": 999.7} for r in trials()])
    assert data_of(text)["costs"][0]["sac"].endswith("1000 s to verify one, 2028 s to make the fingerprint")
    words = [f[1]["aria-label"] for f in Elements(text).all("figure")]
    assert "sac: AUC 0.94, seconds 2028;" in words[0] and "e+0" not in " ".join(words)
    assert re.search(r"\| 1000 +\| 2028 +\|", (tmp_path / "table.md").read_text())


def test_the_papers_figures_stand_beside_ours(tmp_path):
    text = made(tmp_path)
    cell = cell_of(data_of(text), "sac", "extract_l")
    assert cell["paper"] == [0.95, 20, 20, 1]
    buttons = [b[2] for b in Elements(text).all("button") if b[1].get("data-cell") == "1"]
    assert "paper 0.95" in buttons[0]


def test_other_networks_than_the_papers_are_told_apart(tmp_path):
    run = benchmark()
    run["components"]["method"]["sac"]["attributes"]["reported"][1]["suspect_architectures"] = ["net", "huge"]
    text = made(tmp_path, run=run)
    assert cell_of(data_of(text), "sac", "extract_l")["paper"][3] == 0
    assert "(paper 0.95)" in text


def test_accuracies_of_all_models_are_drawn_and_listed(tmp_path):
    found = Elements(made(tmp_path))
    titles = [c[2] for c in found.all("figcaption")]
    assert "Plain source and suspects" in titles
    assert "Source marked by mark and suspects" in titles
    assert any("Accuracy of each group" in s[2] for s in found.all("summary"))


@pytest.mark.parametrize(("name", "most", "drawn"), [("MOST_ROWS", 3, 4), ("MOST_CHARTS", 4, 4), ("MOST_ROWS", 60, 6)])
def test_charts_that_are_left_out_are_counted(tmp_path, monkeypatch, name, most, drawn):
    monkeypatch.setattr(charts, name, most)
    found = Elements(made(tmp_path))
    assert len(found.all("figure")) == drawn
    notes = [p[2] for p in found.all("p") if p[2].startswith("Charts that were left out")]
    why = "since they are too large or the page has many already"
    left_out = f"Charts that were left out, {why}: {6 - drawn}. The tables have their figures."
    assert notes == [left_out] * (drawn < 6)


def suspected(name="theirs"):
    """Make rows of a described suspect beside three irrelevant models, and the run; nothing was stolen."""
    rows = [line(replicate=n, score=n / 10, source_model="mine", suspect_model=f"other{n}") for n in range(3)]
    rows.append(line(architecture="res", replicate=9, score=0.15, source_model="mine", suspect_model=name,
                     suspect_kind="undecided"))  # fmt: skip
    return rows, benchmark(methods=("sac",), baselines=(), attacks=(), models=({"name": "mine"},))


def test_the_page_shows_described_suspects_and_costs_though_nothing_was_stolen(tmp_path):
    found = Elements(made(tmp_path, *suspected()))
    titles = {h[2] for h in found.all("h2")}
    assert {"digits, mine: suspects", "digits, source vgg: cost", "digits, source vgg: test accuracy"} <= titles
    assert not found.all("table", class_="auc")
    assert not found.all("ul", class_="key")
    (row,) = [r[2] for r in found.all("tr") if r[2].startswith("theirs")]
    assert row == "theirs0.15001 of 3"
    assert "sac" in (tmp_path / "table.txt").read_text().split("digits, source vgg: cost")[1]
    assert "irrelevant" in (tmp_path / "accuracy.md").read_text()


def test_a_dot_of_a_described_network_has_its_name(tmp_path):
    rows = [r | {"suspect_model": f"of-{r['attack']}-{r['suspect_architecture']}-{r['replicate']}"} for r in trials()]
    data = data_of(made(tmp_path, rows, benchmark(models=({"name": "mine"},))))
    ((stolen, irrelevant),) = cell_of(data, "sac", "extract_l")["spread"]["dots"]
    assert data["models"][stolen[1]] == "of-extract_l-net-0"
    assert data["models"][data["irrelevant"][irrelevant][1]] == "of--net-0"


def test_described_suspects_stand_below_the_tables_of_what_was_stolen(tmp_path):
    rows = suspected()[0][3:]
    text = made(tmp_path, [*trials(), *rows], benchmark(models=({"name": "mine"},)))
    titles = [h[2] for h in Elements(text).all("h2")]
    assert titles[:3] == ["digits, source vgg", "digits, mine: suspects", "The run"]


def test_tables_of_suspects_that_find_no_room_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "MOST_TABLES", 1)
    text = made(tmp_path, *suspected())
    assert 'are in <a href="table.md">table.md</a>: digits, mine: suspects; digits, source vgg: cost' in text


# --- size ---------------------------------------------------------------------------------------------------------


def doubtful():
    """Make rows of two draws with a network that guesses, mostly ties, and stolen models with equal weights."""
    rows = [
        row | {"draw": draw, "key": row["key"] and digest([row["key"], draw])} for row in trials() for draw in (0, 1)
    ]
    for row in rows:
        row["suspect_digest"] = digest(
            [row[n] for n in ("suspect_dataset", "suspect_architecture", "replicate", "attack")]
        )
        if row["attack"] == "finetune_a":
            row["suspect_digest"] = "twins"
        if row["method"] == "sac" and row["attack"] == "extract_l":
            row |= {"score": 0.0} | ({"suspect_accuracy": 0.1} if row["replicate"] == 2 else {})
        if row["method"] == "sac" and not row["attack"] and row["suspect_architecture"] != "vgg":
            row["score"] = 0.0
    return rows


def test_a_cell_says_what_makes_it_doubtful(tmp_path):
    data = data_of(made(tmp_path, doubtful()))
    cell = cell_of(data, "sac", "extract_l")
    assert cell["tied"] is True
    told = [data["texts"][n] for n in cell["unlearned"]]
    assert told == ["extract_l net 2 of source 0 (10.0 %)", "extract_l res 2 of source 0 (10.0 %)"]
    assert cell["spread"]["draws"] == 2
    assert [len(numbers) // 2 for numbers in cell["spread"]["dots"][0][:1]] == [6]  # of the first draw
    assert cell_of(data, "sac", "finetune_a")["equal"] == 1
    assert cell_of(data, "sac", "finetune_a")["n"] == [1, 9]


@pytest.mark.parametrize("dots", [True, False])
def test_the_largest_numbers_are_scores_as_any_other(tmp_path, monkeypatch, dots):
    """A method may return them for what it cannot compare."""
    monkeypatch.setattr(page, "LEVELS", page.LEVELS if dots else page.LEVELS[-1:])
    most = sys.float_info.max
    rows = [r | ({"score": most if r["attack"] else -most} if r["method"] == "sac" else {}) for r in trials()]
    spread = cell_of(data_of(made(tmp_path, rows)), "sac", "extract_l")["spread"]
    assert spread["dots"][0][0][0] == most if dots else [spread["from"], spread["to"]] == [-most, most]
    if not dots:
        assert [sum(kind) for kind in spread["bins"][0]] == [6, 9]


def test_a_page_without_room_keeps_less_behind_its_cells(tmp_path, monkeypatch):
    full = made(tmp_path / "full")
    monkeypatch.setattr(page, "MOST_BYTES", 0)
    bare = made(tmp_path / "bare")
    assert len(bare) < len(full)
    assert all("spread" not in c for c in data_of(bare)["cells"])
    assert (
        cell_of(data_of(bare), "sac", "extract_l")["m"]["auc"] == cell_of(data_of(full), "sac", "extract_l")["m"]["auc"]
    )


def test_tables_that_find_no_room_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "MOST_TABLES", 1)
    rows = trials()
    rows += [r | {"source_architecture": "net", "key": r["key"] and r["key"][::-1]} for r in trials()]
    text = made(tmp_path, rows, benchmark(sources=("vgg", "net")))
    assert len(Elements(text).all("table", class_="auc")) == 1
    assert "digits, source net" in text


def many(count):
    """Make a run of so many rows: ten methods, six attacks, five sources."""
    methods, attacks = [f"method_{n}" for n in range(10)], [f"attack_{n}" for n in range(6)]
    run = benchmark(methods=tuple(methods), attacks=tuple(attacks), baselines=(), seeds=(0, 1, 2, 3, 4))
    run["components"] |= {"method": {m: component() for m in methods}, "attack": {a: component() for a in attacks}}
    known = dict.fromkeys(COLUMNS) | dict.fromkeys(("variant", "key", "note", "error"), "") | {
        "dataset": "digits", "source_architecture": "vgg", "method_version": 1, "suspect_dataset": "digits",
        "status": "done", "queries": 100, "access": "labels", "source_accuracy": 0.9, "suspect_accuracy": 0.8,
        "draw": 0, "seconds": 0.01, "fingerprint_seconds": 1.0, "fingerprint_networks": 0,
    }  # fmt: skip
    each = count // (len(methods) * 5 * (len(attacks) + 1) * 2)
    random = np.random.default_rng(0)
    rows = [
        known | {
            "method": method, "source_seed": seed, "suspect_kind": "stolen" if attack else "irrelevant",
            "attack": attack, "attack_version": 1 if attack else None, "suspect_architecture": architecture,
            "replicate": replicate, "score": random.normal() + bool(attack),
        }
        for method in methods for seed in range(5) for attack in ("", *attacks) for architecture in ("net", "res")
        for replicate in range(each)
    ]  # fmt: skip
    return rows, run


@pytest.mark.slow
def test_a_hundred_thousand_rows_make_a_page_below_two_megabytes(tmp_path):
    rows, run = many(100_000)
    assert len(rows) > 99_000
    text = made(tmp_path, rows, run)
    assert len(text.encode()) < 2_000_000
    cell = cell_of(data_of(text), "method_0", "attack_0")
    assert [len(side) for source in cell["spread"]["bins"] for side in source] == [32] * 10
    assert sum(cell["spread"]["bins"][0][0]) == 142 * 2


# --- in a browser -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("there is no chromium here")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def visit(browser, tmp_path):
    """Open the page of some results; when the test ends, nothing may have gone wrong and nobody have been asked."""
    told, asked, contexts = [], [], []

    def go(rows=None, run=None, fragment="", **how):
        text = made(tmp_path / "results", rows, run)
        assert text
        contexts.append(browser.new_context(**how))
        opened = contexts[-1].new_page()
        opened.set_default_timeout(10_000)
        opened.on("console", lambda message: told.append(message.text))
        opened.on("pageerror", lambda error: told.append(str(error)))
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto((tmp_path / "results" / "index.html").as_uri() + fragment)
        return opened

    yield go
    for context in contexts:
        context.close()
    assert told == []
    assert [a for a in asked if not a.startswith(("file:", "data:"))] == []


def methods(opened):
    return [r.get_attribute("data-method") for r in opened.locator("table.auc tbody tr:visible").all()]


def button(opened, method, attack):
    return opened.get_by_role("button", name=re.compile(f"^{re.escape(method)} against {re.escape(attack)}:"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1600])
def test_the_page_fits_its_window_in_light_and_dark(visit, width, scheme):
    opened = visit(viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.locator("svg").count() >= 6
    light = opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light is (scheme == "light")
    button(opened, "sac", "extract_l").click()
    box = opened.locator("dialog").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert opened.evaluate(
        "document.querySelector('dialog').scrollWidth <= document.querySelector('dialog').clientWidth"
    )


def test_columns_are_sorted_and_baselines_stay_below(visit):
    opened = visit()
    head = opened.get_by_role("button", name="extract_l", exact=True)
    assert methods(opened) == ["sac", "mark", "noise"]
    opened.get_by_role("button", name="method", exact=True).click()
    assert methods(opened) == ["mark", "sac", "noise"]
    opened.get_by_role("button", name="transfer (letters)").click()
    assert methods(opened) == ["sac", "mark", "noise"]
    opened.get_by_role("button", name="transfer (letters)").click()
    assert methods(opened) == ["sac", "mark", "noise"]  # cells without a figure stay last
    head.click()
    assert opened.locator("th[aria-sort]").count() == 1
    assert opened.locator("th[aria-sort=descending]").inner_text().startswith("extract_l")
    head.click()
    head.click()
    assert opened.locator("th[aria-sort]").count() == 0
    assert methods(opened) == ["sac", "mark", "noise"]


def test_a_column_of_false_accusations_is_sorted_from_the_fewest_on(visit):
    rows = [line(method=m, replicate=n, score=n % k) for m, k in (("sac", 40), ("mark", 2)) for n in range(80)]
    rows += [line(method=m, attack="extract_l", replicate=n, score=50.0 + n) for m in ("sac", "mark") for n in range(3)]
    opened = visit(rows, benchmark(methods=("sac", "mark"), baselines=(), attacks=("extract_l",)))
    accusations = "false accusations, 5 % promised"

    def shown():
        cells = [button(opened, m, "extract_l").inner_text() for m in methods(opened)]
        return [float(c.split()[0]) for c in cells]

    opened.get_by_role("combobox", name="Show").select_option(label=accusations)
    fewest = sorted(shown())
    assert fewest[0] < fewest[1]
    head = opened.get_by_role("button", name="extract_l", exact=True)
    head.click()
    assert shown() == fewest
    assert opened.locator("th[aria-sort=ascending]").inner_text().startswith("extract_l")
    head.click()
    assert shown() == fewest[::-1]
    opened.get_by_role("combobox", name="Show").select_option(label="AUC")
    assert opened.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"  # worst first, as it was
    head.click()
    assert opened.locator("th[aria-sort]").count() == 0


def test_methods_and_attacks_are_found_by_name(visit):
    opened = visit()
    find = opened.get_by_role("searchbox")
    find.fill("mark extract")
    assert methods(opened) == ["mark"]
    assert opened.locator("table.auc thead th:visible").all_inner_texts()[1].startswith("extract_l")
    assert opened.locator("table.auc thead th:visible").count() == 3
    assert opened.locator("output").inner_text() == "1 row × 1 attack"
    find.fill("nothing of that name")
    assert methods(opened) == []
    assert opened.locator(".empty").is_visible()
    find.fill("")
    opened.get_by_role("checkbox", name="baselines").uncheck()
    assert methods(opened) == ["sac", "mark"]


def test_nothing_is_filtered_where_there_is_no_table_of_aucs(visit):
    assert not visit(*suspected()).locator("form.controls").is_visible()
    assert visit().locator("form.controls").is_visible()


def test_a_cell_opens_by_click_and_shows_its_scores_and_roc(visit):
    opened = visit()
    assert not opened.locator("dialog").is_visible()
    button(opened, "sac", "extract_l").click()
    dialog = opened.locator("dialog")
    assert dialog.get_by_role("heading", name="sac against extract_l").is_visible()
    assert dialog.get_by_role("img", name="Scores of stolen and irrelevant models").locator("circle").count() == 15
    assert dialog.get_by_role("img", name="ROC").is_visible()
    assert "AUC 0.89" in dialog.inner_text()
    assert "n/r (needs ≥ 100 irrelevant models of each source)" in dialog.inner_text()
    assert "The paper has 0.95 (20 stolen / 20 irrelevant), on the same networks" in dialog.inner_text()
    dialog.get_by_role("button", name="Close").click()
    assert not dialog.is_visible()


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e30])
def test_scores_of_any_size_have_dots_at_places_of_their_own(visit, scale):
    opened = visit([r | {"score": r["score"] and scale * r["score"]} for r in trials()])
    button(opened, "sac", "extract_l").click()
    places = opened.locator("dialog circle").evaluate_all("all => all.map((c) => Math.round(c.getAttribute('cx')))")
    assert len(places) == 15 and (min(places), max(places)) == (82, 440)


def test_equal_scores_have_dots_in_the_middle_however_large_they_are(visit):
    opened = visit([r | {"score": None if r["score"] is None else 1e30} for r in trials()])
    button(opened, "sac", "extract_l").click()
    places = opened.locator("dialog circle").evaluate_all("all => all.map((c) => Math.round(c.getAttribute('cx')))")
    assert len(places) == 15 and set(places) == {261}


def test_a_doubtful_cell_says_so_when_it_is_opened(visit):
    opened = visit(doubtful())
    button(opened, "sac", "extract_l").click()
    shown = opened.locator("dialog").inner_text()
    assert "‡ Did not learn: extract_l net 2 of source 0 (10.0 %)" in shown
    assert "§ Mostly ties: more than half of the scores are one value" in shown
    assert "Scores of the first of 2 fingerprints" in shown
    assert "the interval holds for this source only" in shown
    assert "Not tested: too few sources." in shown
    opened.keyboard.press("ArrowLeft")
    assert "Stolen suspects left out, whose weights another one has: 1" in opened.locator("dialog").inner_text()


def test_cells_are_reached_opened_and_left_by_keyboard(visit):
    opened = visit()
    button(opened, "sac", "finetune_a").focus()
    opened.keyboard.press("ArrowRight")
    opened.keyboard.press("ArrowDown")
    opened.keyboard.press("Enter")
    dialog = opened.locator("dialog")
    dialog.get_by_role("heading", name="mark against extract_l").wait_for()
    opened.keyboard.press("ArrowLeft")
    dialog.get_by_role("heading", name="mark against finetune_a").wait_for()
    opened.keyboard.press("Escape")
    dialog.wait_for(state="hidden")  # the browser tells of it a moment later, and only then the focus goes back
    opened.wait_for_function("document.activeElement.ariaLabel?.startsWith('mark against finetune_a')")
    assert opened.locator("button[data-cell][tabindex='0']").count() == 1


def test_an_address_leads_to_a_cell_and_a_wrong_one_nowhere(visit):
    opened = visit(fragment="#cell/digits/vgg/mark/transfer")
    assert "not applicable: mark compares labels" in opened.locator("dialog").inner_text()
    for wrong in ("#cell/digits/vgg/none/transfer", "#cell/%E0%A4%A", "#cell/"):
        assert not visit(fragment=wrong).locator("dialog").get_by_role("heading", name="against none").is_visible()


def test_other_figures_can_be_shown(visit):
    opened = visit()
    opened.get_by_role("combobox", name="Show").select_option(label="TPR at 5 % FPR")
    assert button(opened, "sac", "extract_l").inner_text().startswith("n/r")
    assert opened.locator("td.nr").count() == 7
    opened.get_by_role("combobox", name="Show").select_option(label="AUC")
    assert button(opened, "sac", "extract_l").inner_text().startswith("0.89")
    opened.get_by_role("combobox", name="Point out").select_option("under")
    assert opened.locator("td.dim").count() == 6


def test_the_name_of_a_cell_has_the_figure_that_is_shown(visit):
    opened = visit()
    for title, name in (
        ("TPR at 5 % FPR", "TPR at 5 % FPR not reported, needs ≥ 20"),
        ("number of sources", "number of sources 1"),
        ("AUC", "AUC 0.89, 95 % interval 0.59 to 0.98"),
    ):
        opened.get_by_role("combobox", name="Show").select_option(label=title)
        shown = button(opened, "sac", "extract_l").get_attribute("aria-label")
        assert shown == f"sac against extract_l: {name}"


@pytest.mark.parametrize(("below", "of", "auc"), [(1, 8, "0.12"), (3, 8, "0.38"), (5, 8, "0.62"), (50, 101, "0.50")])
def test_an_opened_cell_has_the_digits_of_the_table(visit, below, of, auc):
    rows = [line(replicate=n, score=n) for n in range(of)] + [line(attack="extract_l", score=below - 0.5)]
    opened = visit(rows, benchmark(methods=("sac",), baselines=(), attacks=("extract_l",)))
    cell = button(opened, "sac", "extract_l")
    assert cell.inner_text().startswith(auc)
    assert cell.get_attribute("aria-label").startswith(f"sac against extract_l: AUC {auc}, ")
    cell.click()
    assert opened.locator("dialog .big b").inner_text() == f"AUC {auc}"
    opened.keyboard.press("Escape")
    shown = opened.get_by_role("combobox", name="Show").locator("option").all_inner_texts()
    opened.get_by_role("combobox", name="Show").select_option(label=shown[1])
    assert cell.inner_text().startswith(auc)


def test_failed_cells_say_what_failed(visit):
    opened = visit(lost(trials()))
    button(opened, "sac", "extract_l").click()
    told = opened.locator("dialog").inner_text()
    assert "no AUC" in told
    assert "6 failed" in told
    assert "steal: out of memory <b>&" in told


def test_hostile_names_are_shown_as_text(visit):
    opened = visit(*renamed(HOSTILE))
    assert opened.evaluate("window.hit") is None
    names = opened.locator("table.auc tbody th").all_inner_texts()
    assert names[0] == HOSTILE["sac"]
    opened.locator("button[data-cell]").nth(1).click()
    title = opened.locator("#cell-title").inner_text()
    assert title.startswith(f"{HOSTILE['sac']} against {HOSTILE['extract_l']}")
    assert HOSTILE["digits"] in title
    for row in (0, 1, 2):
        opened.evaluate(f"document.querySelectorAll('button[data-cell]')[{3 * row}].click()")
    assert opened.evaluate("window.hit") is None
    assert opened.locator("#injected").count() == 0


def test_the_page_prints_whole(visit):
    opened = visit()
    opened.emulate_media(media="print")
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert not opened.locator("form.controls").is_visible()
    assert opened.locator("details:not([open])").count() == 0
    assert len(opened.pdf()) > 10_000
