"""The report on a suspect: what it states, that it never states the opposite, and that it is safe, small and fast."""

import math
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from evidence_examples import EXAMPLES, TRANSPORT, cannot_tell, evidence, folder, no_evidence, with_evidence
from html_elements import Elements
from msgspec.structs import replace

from bench.stats.rates import binomial_bound
from bench.verification.judgement import judge
from bench.verification.kinds import FindingKind, VerdictKind
from bench.verification.p_values import exchangeable
from bench.verification.report import page
from bench.verification.report_figures import Marks, Power, histogram, interval, limit, power
from bench.verification.report_pictures import MOST_PICTURES, pictures
from bench.verification.report_words import (
    FEW,
    PLAIN,
    REMEDIES,
    TITLES,
    UNUSED,
    WORDS,
    counted,
    explained,
    floor,
    missed,
    of_hundred,
    reasons,
    share,
)
from bench.verification.schema import CopyScore, Finding, MethodResult

ROOT = Path(__file__).parents[2]


def words(text):
    """Return the text of a page as a reader sees it."""
    (body,) = Elements(text).all("body")
    return re.sub(r"\s+", " ", body[2])


# --- the verdict --------------------------------------------------------------------------------------------------

STATED = {
    "evidence": "The test found evidence that “theirs” was made from “ours”.",
    "no_evidence": "The test found no evidence that “theirs” was made from “ours”.",
    "cannot_tell": "The test cannot decide whether “theirs” was made from “ours”.",
}

VERDICTS = {"evidence": "evidence of copying", "no_evidence": "no evidence", "cannot_tell": "cannot tell"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_verdict_is_stated_in_words_and_never_another(name):
    text = page(EXAMPLES[name]())
    said = words(text)
    assert [n for n, sentence in STATED.items() if sentence in said] == [name]
    (title,) = [e[2] for e in Elements(text).all("h2", id="verdict")]
    condition = ", under a condition" if name == "evidence" else ""
    assert title.endswith(f"Verdict: {VERDICTS[name]}{condition}")
    (head,) = [e[2] for e in Elements(text).all("title")]
    assert head.startswith(f"{VERDICTS[name]}: was theirs made from ours?")


def test_evidence_is_explained_by_how_often_innocents_look_like_it():
    said = words(page(evidence()))
    assert (
        "None of the 200 innocents, networks that were trained without “ours”, scored as high as the suspect." in said
    )
    assert "a result this strong would come up in at most 1 of 201 cases (0.5 of 100)" in said
    assert "“1 of 201” is not the chance that it is innocent" in said
    assert "The result here is rarer still." in said
    assert "99.5" not in said
    assert "This assumes that the suspect, if it is independent, was made in one of the ways" in said
    assert "If the suspect may have been made in another way, take the verdict to be “cannot tell”." in said
    assert "too few families to find any evidence" in said
    assert "recipe_0 (17), recipe_1 (17)" in said
    assert "The checks found no obstacle to the test. This says nothing about copying." in said


def test_evidence_that_holds_for_other_families_too_says_so():
    example = evidence()
    strong = replace(example.evidence.judgement, unseen=VerdictKind.EVIDENCE)
    said = words(page(with_evidence(example, judgement=strong)))
    assert "take the verdict to be also “evidence of copying”." in said
    assert "under a condition" not in said
    assert "too few families" not in said


def test_no_evidence_is_not_innocence():
    example = no_evidence()
    said = words(page(example))
    scores = [row.score for row in example.commitment.nulls]
    count = sum(score >= -0.106 for score in scores)
    assert f"{count} of the 200 innocents, networks that were trained without “ours”, scored as high as" in said
    assert f"a result at least this strong would come up in at most {share(exchangeable(-0.106, scores))} cases" in said
    assert "This does not show that it is innocent" in said
    assert "too many independent networks may get such a result (up to 26 of 100)" in said
    assert "This assumes that the suspect, if it is independent, was made in one of the ways" in said
    assert "Of the copies by extract_l, 6 of 20 were missed" in said
    example.commitment.copies.clear()
    assert "it is not known whether this test would find any copy" in words(page(example))


def test_what_cannot_be_told_has_reasons_and_ways_out():
    said = words(page(cannot_tell()))
    assert "It speaks neither for nor against “theirs”." in said
    assert TRANSPORT.text in said
    assert f"What to do: {REMEDIES[FindingKind.TRANSPORT]}" in said
    assert "Here p = 0.78 means: about 78 of 100 networks like the innocents would score as high." in said
    for empty in ("a result this strong", "20 of 20", "of 200", "not known", "The scores", "recipe_0", "-0.114"):
        assert empty not in said.replace("40 of 260", "").replace("of 200 test pictures", "")
    assert "No. For the reasons at the top the test gives no verdict here, so it would not have found a copy" in said
    assert "not usableno: see the reasons at the top" in said


def test_too_few_innocents_show_no_copies_as_missed():
    said = words(page(evidence(innocents=50)))
    assert "0 of 20" not in said
    assert "it would not have found a copy either" in said


def test_a_p_value_in_a_reason_is_put_in_words():
    assert explained("it scores -1 (p = 0.78).").endswith("Here p = 0.78 means: about 78 of 100 networks like the "
                                                          "innocents would score as high.")  # fmt: skip
    for other in ("nothing", "(p = e.-)", "(p = 7)", "(p = nan)", "(p = 1e999)"):
        assert explained(other) == other


def test_what_was_missed_is_stated_of_the_kind_that_is_found_least():
    two = [Power("a", 3, 4, 0.19, 0.994, {}), Power("b", 0, 4, 0.0, 0.6024, {}), Power("c", 4, 4, 0.3976, 1.0, {})]
    assert missed(two).startswith("Of the copies by b, 4 of 4 were missed")
    assert missed(two[2:]).startswith("None of these copies was missed. Other kinds")
    assert [of_hundred(kind) for kind in two] == ["75 (19 to 100)", "0 (at most 61)", "100 (at least 39)"]


def test_a_method_that_is_not_used_shows_no_score_beside_one_that_is():
    blocked = Finding(kind=FindingKind.ANSWERS, text="answers are labels", blocks=["cae"])
    text = page(evidence(methods=("sac_m", "cae"), findings=[blocked]))
    (row,) = [e[2] for e in Elements(text).all("tr") if e[2].strip().startswith("cae")]
    assert "not usable" in row
    assert "of 200" not in row
    assert len(Elements(text).all("figure")) == 1


def test_at_most_sixty_families_are_named():
    example = evidence()
    example.commitment.nulls = [replace(row, family=f"way_{n}") for n, row in enumerate(example.commitment.nulls)]
    said = words(page(example))
    assert "way_59 (1), and 140 more in commitment/nulls.csv" in said
    assert "way_60" not in said


@pytest.mark.parametrize("kind", FindingKind)
def test_every_kind_of_finding_that_blocks_has_a_way_out(kind):
    finding = Finding(kind=kind, text="something is wrong", blocks=["all"])
    example = cannot_tell(findings=[finding])
    assert reasons(example.evidence) == [(PLAIN[kind], "sac_m: something is wrong.", REMEDIES[kind])]
    said = words(page(example))
    assert f"{TITLES[kind]}. something is wrong. Because of this there is no verdict by any method." in said


def test_too_few_innocents_are_counted_with_the_number_that_is_needed():
    said = words(page(evidence(innocents=50)))
    assert "50 innocents are too few for alpha = 0.01: 99 are needed." in said
    assert "Make a new commitment with 99 innocents or more (there are 50)" in said
    two = words(page(evidence(innocents=150, methods=("sac_m", "cae"))))
    assert "Make a new commitment with 199 innocents or more (there are 150)" in two
    ((plain, detail, remedy),) = reasons(folder(None).evidence)
    assert (plain, detail) == (UNUSED, "sac_m: the answers are not numbers.")
    assert remedy.startswith("Remove the cause")


def test_too_few_innocents_of_the_method_that_is_used_are_the_reason():
    blocked = Finding(kind=FindingKind.ANSWERS, text="they are too coarse", blocks=["sac_m"])
    example = folder(-0.031, methods=("sac_m", "ipguard"), findings=[blocked])
    example.commitment.nulls = [r for n, r in enumerate(example.commitment.nulls) if r.method == "sac_m" or n % 4 == 0]
    asked = [MethodResult(method=m.method, queries=1, draws=[-0.031] * 5) for m in example.evidence.judgement.methods]
    with_evidence(example, judgement=judge(example.commitment, 0.01, asked, [blocked]))
    said = words(page(example))
    assert "50 innocents are too few for alpha = 0.01: 99 are needed." in said and "(there are 50)" in said
    assert FEW in said and UNUSED not in said


# --- figures ------------------------------------------------------------------------------------------------------


def test_shares_are_counted_and_never_too_small():
    assert [share(p) for p in (1 / 201, 0.01, 0.03, 0.1, 0.2587, 1.0)] == [
        "1 of 201", "1 of 100", "1 of 33", "1 of 10", "26 of 100", "100 of 100"]  # fmt: skip
    assert [counted(p) for p in (1 / 201, 1 / 13, 1 / 4001, 0.01, 0.1, 0.3, 0.0)] == [
        "1 of 201 (0.5 of 100)", "1 of 13 (7.7 of 100)", "1 of 4,001 (0.025 of 100)", "1 of 100", "1 of 10 (10 of 100)",
        "30 of 100", "0 of 100"]  # fmt: skip


def test_the_floor_of_unseen_families_is_stated():
    assert "1 of 13" in floor(12, 0.01, 1)
    assert "99 families" in floor(12, 0.01, 1)
    assert "199 families" in floor(12, 0.01, 2)
    assert "would need" not in floor(99, 0.01, 1)


def test_the_limit_is_where_the_p_value_falls_below_alpha():
    random = np.random.default_rng(1)
    for number in (0, 1, 5, 99, 100, 200):
        innocents = random.integers(0, 30, number).astype(float).tolist()
        for alpha in (0.005, 0.01, 0.05, 0.3, 0.99):
            for methods in (1, 2, 3):
                edge = limit(innocents, alpha, methods)
                for score in np.arange(-1, 32, 0.5):
                    assert (score > edge) == (exchangeable(score, innocents) <= alpha / methods + 1e-12)


@pytest.mark.parametrize(("hits", "of"), [(0, 1), (1, 1), (0, 20), (14, 20), (20, 20), (1, 500), (250, 500)])
def test_the_interval_is_the_exact_one(hits, of):
    assert interval(hits, of) == pytest.approx(binomial_bound(hits, of), abs=1e-9)


def test_power_counts_the_copies_that_any_method_finds():
    rows = [CopyScore(model=f"c{n}", attack="prune", digest="", accuracy=None, method=m, score=s)
            for n, both in enumerate([(1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1.0, 1.0)])
            for m, s in zip(("a", "b"), both, strict=True)]  # fmt: skip
    (found,) = power(rows, {"a": 0.5, "b": 0.5})
    assert (found.found, found.of) == (3, 4)
    assert (found.low, found.high) == pytest.approx(binomial_bound(3, 4))
    (alone,) = power(rows, {"a": 0.5})
    assert (alone.found, alone.scores) == (2, {"a": (0.0, 0.5, 1.0)})


def test_the_table_of_copies_states_how_many_of_a_hundred_with_the_interval():
    said = words(page(evidence()))
    low, high = binomial_bound(14, 20)
    assert f"extract_l14 of 2070 ({math.floor(100 * low)} to {math.ceil(100 * high)})" in said
    assert "prune20 of 20100 (at least 83)" in said


def test_the_score_at_which_evidence_begins_stands_beside_the_score_of_the_suspect():
    example = evidence()
    edge = limit([row.score for row in example.commitment.nulls], 0.01, 1)
    assert f"60-0.031above {edge:.4g}0 of 200yes" in words(page(example))


def test_the_histogram_has_every_innocent_and_the_same_in_words():
    example = evidence()
    text = page(example)
    (figure,) = Elements(text).all("figure")
    assert "In words: the suspect scores -0.031; 200 innocents score from" in figure[2]
    assert "60 known copies" in figure[2]
    found = Elements(text)
    assert len(found.all("circle", class_="copy")) == 60
    assert [len(found.all("path", class_=n)) for n in ("suspect", "source", "limit")] == [1, 1, 1]


@pytest.mark.parametrize(
    "marks",
    [
        Marks([0.0], [], 0.0, None, 0.0),
        Marks([], [], 1.0, 1.0, float("inf")),
        Marks([1e300, -1e300], [], 5.0, None, 1.0),
        Marks([0.1] * 200, [0.1], 0.1, 0.1, 0.1),
        Marks([float("nan"), 1.0], [float("inf")], None, None, 1.0),
        Marks([1e-300, 2e-300], [], 0.0, None, 1.0),
        Marks([5e-324], [], 0.0, None, 0.0),
        Marks([1e16, 1e16 + 2], [], 1e16, None, 1e16),
        Marks([1.7e308, -1.7e308], [], 0.0, None, 1.0),
    ],
)
def test_a_histogram_of_strange_scores_stays_within_its_frame(marks):
    chart = histogram("m", marks)
    for number in re.findall(r'(?: x|cx|width)="([^"]+)"', chart.svg):
        assert 0 <= float(number) <= 460


def test_a_histogram_of_many_copies_counts_all_and_draws_some():
    chart = histogram("m", Marks([0.0, 1.0], list(range(10_000)), 0.5, None, 1.0))
    assert "10000 known copies score from 0 to 1e+04" in chart.words
    assert chart.svg.count("<circle") == 300


def test_a_histogram_of_nothing_is_none():
    assert histogram("m", Marks([], [], None, None, float("inf"))) is None


def test_summaries_of_the_commitment_stand_beside_the_names():
    example = cannot_tell()
    example.commitment.commitment.made["summaries"] = {
        "attack": {"prune": "Prune the source."},
        "method": {"sac_m": "Compare answers."},
        "transport": {"jpeg_q75": "images are sent as JPEG", "direct": "nothing is changed"},
    }
    said = words(page(example))
    assert [said.count(text) for text in ("Compare answers.", "images are sent as JPEG")] == [1, 1]
    other = evidence()
    other.commitment.commitment = example.commitment.commitment
    assert words(page(other)).count("Prune the source.") == 1
    for wrong in ("text", ["a"], {"attack": "prune", "method": {"sac_m": None}}):
        example.commitment.commitment.made["summaries"] = wrong
        assert "Prune" not in words(page(other))


def test_transports_that_were_found_show_the_sources_own_score():
    rows = [e[2] for e in Elements(page(cannot_tell())).all("tr")]
    (direct,) = [row for row in rows if row.startswith("nonesac_m")]
    (through,) = [row for row in rows if row.startswith("jpeg_q75sac_m")]
    assert direct.removeprefix("nonesac_m") == "01 of 201 cases (0.5 of 100)"  # a score of 0
    assert through.removeprefix("jpeg_q75sac_m") == "-0.12178 of 100 cases"  # of -0.121
    assert "labels" not in {e[2] for e in Elements(page(cannot_tell())).all("th")}
    assert "The way to the suspect" not in words(page(evidence()))


# --- safe, small, fast --------------------------------------------------------------------------------------------

HOSTILE = ['<img src=x onerror="window.hit=1">', "</style><script>window.hit=1</script>", "{{ 7 * 7 }}<!--",
           "javascript:window.hit=1//'", "a\u202eb\x00\x1b[31m\nc", "x" * 100_000]  # fmt: skip


def hostile(name, make=cannot_tell):
    """Return an example whose every text from a file is a hostile one."""
    blocks = [name if make is cannot_tell else f"{name}, too"]
    example = make(
        methods=(name,),
        findings=[Finding(kind=FindingKind.TRANSPORT, text=name, blocks=blocks, figures={"x": "jpeg_q75", "y": name})],
    )
    old = example.evidence
    suspect = replace(old.suspect, name=name, output=name, digest=name, description={"format": name})
    example.evidence = replace(old, suspect=suspect, made={name: name, "time": name, "nested": {name: [name, 1]}})
    committed = example.commitment
    committed.commitment = replace(
        committed.commitment,
        source=replace(committed.commitment.source, name=name),
        data=replace(committed.commitment.data, name=name),
    )
    committed.copies = [replace(row, attack=name) for row in committed.copies]
    committed.nulls = [replace(row, family=name) for row in committed.nulls]
    said = {name: name, "jpeg_q75": name}
    committed.commitment.made["summaries"] = {"attack": said, "method": said, "transport": said}
    return example


@pytest.mark.parametrize("make", EXAMPLES.values(), ids=[*EXAMPLES])
@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_wherever_they_are(name, make):
    text = page(hostile(name, make), signed_by=name)
    found = Elements(text)
    assert not found.all("script")
    assert {e[1]["src"][:22] for e in found.all("img")} == {"data:image/png;base64,"}
    assert not [a for e in found.found for a in e[1] if a.startswith("on")]
    assert "49" not in words(text)
    assert not {c for c in text if not c.isprintable()} - {"\n"}
    assert len(text) < 400_000


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_report_asks_nobody_for_anything(name):
    text = page(EXAMPLES[name]())
    assert not re.findall(r"https?://", text)
    found = Elements(text)
    for tag, attributes, _ in found.found:
        assert attributes.get("src", "data:").startswith("data:"), tag
        assert attributes.get("href", "#").startswith(("#", "data:,")), tag
    (policy,) = found.all("meta", http_equiv="Content-Security-Policy")
    assert policy[1]["content"].startswith("default-src 'none'")
    assert "@import" not in text
    assert "url(" not in text


@pytest.mark.parametrize("name", EXAMPLES)
def test_links_lead_to_places_headings_are_in_order_and_tables_have_heads(name):
    found = Elements(page(EXAMPLES[name]()))
    places = {e[1]["id"] for e in found.found if "id" in e[1]}
    assert {e[1]["href"][1:] for e in found.all("a")} <= places
    levels = [int(e[0][1]) for e in found.found if re.fullmatch("h[1-6]", e[0])]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all("scope" in e[1] for e in found.all("th"))
    assert all("alt" in e[1] for e in found.all("img"))


def test_ten_thousand_large_queries_make_a_small_page():
    random = np.random.default_rng(0)
    few = random.integers(0, 256, (100, 3, 64, 64), dtype=np.uint8)
    example = evidence(findings=[Finding(kind=FindingKind.BATCH, text="y" * 1000)] * 5000)
    example.images = np.broadcast_to(few, (100, 100, 3, 64, 64)).reshape(-1, 3, 64, 64)
    example.digests = [f"{n:032x}" for n in range(10_000)]
    text = page(example)
    assert len(text.encode()) < 1_500_000
    assert f"{MOST_PICTURES} of 10000" in words(text)


@pytest.mark.parametrize(
    "images",
    [np.zeros((3, c, h, w), kind) for c, h, w, kind in ((1, 28, 28, np.uint8), (3, 224, 100, np.float32),
     (2, 5, 5, np.uint8), (4, 1, 1, np.float32), (3, 8, 8, np.float64))] + [np.full((1, 3, 4, 4), np.nan, np.float32)],
)  # fmt: skip
def test_images_of_any_kind_become_pictures(images):
    found = pictures(images, [])
    assert [p.number for p in found] == list(range(1, len(images) + 1))
    assert all(len(p.address) < 30_000 for p in found)


def test_evidence_without_a_query_says_so():
    example = cannot_tell()
    example.images, example.digests = np.zeros((0, 1, 28, 28), np.uint8), []
    said = words(page(example))
    assert "No picture of the test was shown to the suspect." in said
    assert "None were recorded." in said


def test_methods_without_a_score_and_several_methods():
    example = folder(None, methods=("sac_m", "cae"))
    said = words(page(example))
    assert "In detail: sac_m, cae: the answers are not numbers." in said
    both = words(page(evidence(methods=("sac_m", "cae"))))
    assert "2 methods were used." in both
    assert "By the method" in both


def test_the_same_evidence_makes_the_same_page():
    assert page(evidence()) == page(evidence())


def test_the_signature_is_stated_and_its_lack_too():
    assert "This folder was not signed when it was made." in words(page(evidence()))
    signed = words(page(evidence(), signed_by="RWQf6LRCGA9i"))
    assert "minisign -Vm MANIFEST.sha256 -P RWQf6LRCGA9i" in signed
    assert "not signed" not in signed


def test_every_word_that_the_report_explains_is_in_the_documents():
    documented = (ROOT / "docs" / "words.md").read_text().lower()
    missing = [word for word in WORDS if not re.search(rf"\*\*[^*]*\b{word}\b[^*]*\.\*\*", documented)]
    assert missing == []


def test_a_report_imports_neither_torch_nor_pandas_nor_matplotlib():
    code = ("import sys; sys.path.insert(0, sys.argv[1]); from evidence_examples import evidence; "
            "from bench.verification.report import page; page(evidence()); "
            "print({'torch', 'pandas', 'matplotlib', 'scipy'} & set(sys.modules))")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, str(ROOT / "tests")], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize(
    "make",
    [*EXAMPLES.values(), lambda: hostile("W" * 300), lambda: hostile("W" * 300, no_evidence)],
    ids=[*EXAMPLES, "long", "long_scores"],
)
def test_the_report_fits_its_window(browser, tmp_path, make, width, scheme):
    (tmp_path / "report.html").write_text(page(make()), encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened, wrong, asked = context.new_page(), [], []
    opened.on("console", lambda message: wrong.append(message.text))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto((tmp_path / "report.html").as_uri())
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    light = opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light is (scheme == "light")
    context.close()
    assert wrong == []
    assert [a for a in asked if not a.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("make", [cannot_tell, no_evidence])
def test_the_report_prints_on_white_paper_and_nothing_is_cut_off(browser, tmp_path, make):
    (tmp_path / "report.html").write_text(page(hostile("W" * 300, make)), encoding="utf-8")
    context = browser.new_context(viewport={"width": 680, "height": 900}, color_scheme="dark")  # A4 within its margins
    opened = context.new_page()
    opened.goto((tmp_path / "report.html").as_uri())
    opened.emulate_media(media="print", color_scheme="dark")
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    wide = "[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > 681).length"
    assert opened.evaluate(wide) == 0
    assert len(opened.pdf()) > 10_000
    context.close()
