"""The price of evasion: known by hand, by brute force along the lines, and from rows to the files of a report."""

import csv
import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_build import benchmark, charts, component, line  # noqa: F401  a fixture

from bench.analysis.cells import cells
from bench.analysis.evasion import Evasion, price
from bench.analysis.networks import Networks
from bench.reporting.build import write
from bench.results.reader import load
from bench.results.writer import save
from bench.stats.rates import NotReported

MARGIN = st.sampled_from([-2, -1, -0.5, 0, 0.5, 1, 2])
POINT = st.floats(-0.2, 0.9)
PATHS = st.integers(1, 4).flatmap(
    lambda n: st.lists(
        st.tuples(st.floats(-0.2, 0.9), st.lists(MARGIN, min_size=n, max_size=n)), min_size=1, max_size=5
    )
)


def of(path):
    """Return the price of strengths given as pairs of a loss and margins."""
    return price([loss for loss, _ in path], [np.array(margins, dtype=float) for _, margins in path])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ([(0.0, [1.0]), (0.1, [-1.0])], 0.05),
        ([(0.0, [3.0]), (0.1, [-1.0])], 0.075),
        ([(0.0, [1.0]), (0.1, [0.0])], 0.1),
        ([(0.0, [1.0]), (0.02, [2.0]), (0.1, [0.1])], math.inf),
        ([(-0.02, [-1.0]), (0.1, [-1.0])], -0.02),
        ([(0.3, [1.0]), (0.1, [-1.0])], 0.1),
        ([(0.0, [1.0]), (0.4, [-1.0]), (0.2, [1.0]), (0.1, [-1.0])], 0.1),
        ([(0.0, [1.0, 1.0]), (0.1, [-1.0, 1.0])], math.inf),
        ([(0.0, [1.0, 1.0]), (0.1, [-1.0, -3.0])], 0.05),
        ([(0.0, [1.0, 1.0, 1.0]), (0.1, [-1.0, -3.0, 9.0])], 0.05),
        ([(0.1, [-1.0, 1.0]), (0.2, [1.0, -1.0]), (0.3, [1.0, 1.0])], math.inf),
        ([(0.0, [0.9])], math.inf),
    ],
)
def test_prices_known_by_hand(path, expected):
    assert of(path) == pytest.approx(expected)


def test_copies_may_change_places_between_two_strengths():
    """At both strengths one of two copies is found; half way between them, none is."""
    path = [(0.0, [1.0, -3.0]), (0.2, [-3.0, 1.0])]
    assert of(path) == pytest.approx(0.05)


@given(PATHS)
def test_the_price_is_the_smallest_loss_along_the_path(path):
    steps = np.linspace(0.0001234, 0.9997351, 2001)  # where copies change places, for an instant neither is found
    found = [loss for loss, m in path if np.mean(np.array(m) > 0) < 0.5]
    for (loss, margins), (other, its) in itertools.pairwise(path):
        between = np.outer(1 - steps, margins) + np.outer(steps, its)
        below = (between > 0).mean(axis=1) < 0.5
        found += list((loss + steps * (other - loss))[below])
    if found:
        assert min(found) - 1e-3 <= of(path) <= min(found) + 1e-9


@given(PATHS, st.floats(-0.5, 0.5))
def test_a_better_source_raises_the_price_by_as_much(path, more):
    assert of([(loss + more, margins) for loss, margins in path]) == pytest.approx(of(path) + more)


THIEF = component(access="weights", same_architecture=True, knows_method=True, strengths=3)


def run(**changes):
    made = benchmark(**{"attacks": ("thief",), "methods": ("sac", "mark"), "seeds": tuple(range(6))} | changes)
    made["components"]["attack"]["thief"] = THIEF
    return made


def rows(seeds=range(6), irrelevant=20, lost=(0.0, 0.1, 0.3), scores=((2, 2), (2, 0), (0, 0)), last=None):
    """Make rows: at each strength two copies with these scores, and irrelevant models of scores below 1.

    `last`: the scores of the last source, if they are others.
    """
    found = []
    for method, seed in itertools.product(("sac", "mark", "noise"), seeds):
        one, source = {"method": method, "source_seed": seed}, 0.8 if method == "mark" else 0.9
        found += [line(architecture="net", replicate=n, score=n / 100, **one) for n in range(irrelevant)]
        own = last if last and seed == max(seeds) else scores
        found += [
            line(attack="thief", attack_version=1, architecture="vgg", replicate=3 * copy + strength,
                 score=own[strength][copy], variant=f"w={strength}",
                 suspect_accuracy=source - lost[strength] - 0.001 * seed,
                 suspect_digest=f"{method}{seed}{strength}{copy}", **one)
            for strength, copy in itertools.product(range(3), range(2))
        ]  # fmt: skip
    return found


@pytest.fixture
def judged(tmp_path):
    def made(lines, **changes):
        save(tmp_path, lines, run(**changes))
        return {c.method: c for c in cells(*load(tmp_path))}

    return made


@pytest.fixture(autouse=True)
def version(monkeypatch):
    monkeypatch.setitem(line.__globals__["VERSIONS"], "thief", 1)


def test_each_source_has_a_price_and_the_cell_their_median(judged):
    found = judged(rows())["sac"].evasion
    # one copy is lost between the first two strengths, the other at 0.91 of the way from the second to the third,
    # where its score falls below 0.18, the second highest of 20 irrelevant models
    assert found.losses == pytest.approx([0.1 + 0.91 * 0.2 + 0.001 * s for s in range(6)])
    assert found.median.value == pytest.approx(0.2845)
    assert found.median[1:3] == pytest.approx((0.282, 0.287))
    assert found.never == 0
    assert found.most == pytest.approx(0.3025)


def test_a_source_whose_copies_are_always_found_is_counted(judged):
    found = judged(rows(last=((2, 2),) * 3))["sac"].evasion
    assert found.never == 1
    assert found.losses[-1] == math.inf
    assert found.median.high == math.inf
    assert found.median.value == pytest.approx(0.2845)


def test_too_few_irrelevant_models_have_no_price(judged):
    assert judged(rows(irrelevant=19))["sac"].evasion == NotReported(20, 19)


def test_copies_that_not_all_strengths_have_do_not_count(judged):
    """With five copies of three strengths, the last one of the strongest is missing."""
    lines = [r for r in rows() if not (r["attack"] and r["replicate"] == 5)]
    found = judged(lines)["sac"].evasion  # of each source, the first copy: 2, 2, 0
    assert found.losses == pytest.approx([0.1 + 0.91 * 0.2 + 0.001 * s for s in range(6)])
    lines = [r for r in rows() if not (r["attack"] and r["replicate"] == 2)]
    found = judged(lines)["sac"].evasion  # the second copy: 2, 0, 0
    assert found.losses == pytest.approx([0.91 * 0.1 + 0.001 * s for s in range(6)])


def test_copies_of_several_architectures_are_distinguished(judged):
    lines = rows()
    for r in lines:
        if r["attack"] and r["replicate"] >= 3:
            r |= {"suspect_architecture": "res", "replicate": r["replicate"] - 3}
    assert judged(lines)["sac"].evasion.losses == judged(rows())["sac"].evasion.losses


def test_a_source_without_all_strengths_has_no_price(judged):
    lines = [r for r in rows() if not (r["source_seed"] == 5 and r["replicate"] % 3 == 2 and r["attack"])]
    assert len(judged(lines)["sac"].evasion.losses) == 5
    assert judged([r for r in rows() if not (r["replicate"] % 3 == 2 and r["attack"])])["sac"].evasion is None


def test_an_attack_of_one_strength_has_no_price(judged, monkeypatch):
    monkeypatch.setitem(THIEF["attributes"], "strengths", 1)
    assert judged(rows())["sac"].evasion is None


def test_methods_that_judge_other_copies_are_compared_as_such(judged):
    compared = judged(rows(irrelevant=20), attacks=("thief",))["sac"].baselines
    assert compared is not None
    assert not compared.paired


def test_copies_made_against_one_method_are_not_those_of_another(tmp_path):
    save(tmp_path, rows(), run())
    table = Networks(*load(tmp_path)).table
    thieves = table[table.model == "thief"]
    assert set(thieves.owner) == {"sac", "mark", "noise"}
    assert len(thieves) == 3 * 6 * 3 * 2


def test_the_page_draws_copies_that_were_made_against_methods_without_a_source(tmp_path):
    write(tmp_path, rows(), run())
    page = (tmp_path / "index.html").read_text()
    (chart,) = re.findall(r"<figcaption>Copies that only one method judges</figcaption>.*?</figure>", page, re.DOTALL)
    assert "thief, sac" in chart and "thief, noise" in chart
    assert "thief, mark" not in chart and "Source marked by mark and suspects" in page


def test_the_files_of_a_report_have_it(tmp_path):
    text = write(tmp_path, rows(last=((2, 2),) * 3), run())
    assert "accuracy lost to evade" in text
    assert "+28.4" in text or "+28.5" in text
    assert "[+28.2, never]" in text
    assert "never: 1 of 6, up to +30.2" in text
    assert "the largest loss that was tried (its mean over sources), is written below" in " ".join(text.split())
    page, markdown = ((tmp_path / name).read_text() for name in ("index.html", "table.md"))
    assert "accuracy lost to evade" in page
    assert "accuracy lost to evade" in markdown
    assert list((tmp_path / "tex").glob("*evasion*"))
    lines = {
        r["method"]: r
        for r in csv.DictReader((tmp_path / "table.csv").read_text().splitlines())
        if r["attack"] == "thief"
    }
    sac = lines["sac"]
    assert float(sac["evasion_loss"]) == pytest.approx(0.2845)
    assert (sac["evasion_high"], sac["evasion_sources"], sac["evasion_never"]) == ("", "6", "1")


def test_the_price_of_evading_a_method_that_failed_at_one_source_is_marked(tmp_path):
    gone = {"status": "failed", "score": None, "error": "score sac: no"}
    write(tmp_path, [r | gone if (r["method"], r["source_seed"]) == ("sac", 5) else r for r in rows()], run())
    lines = (tmp_path / "table.md").read_text().split("accuracy lost to evade")[1].splitlines()
    (sac,), (mark,) = ([n for n in lines if n.startswith(f"| {method} ")][:1] for method in ("sac", "mark"))
    assert r"\*<br>[" in sac and r"\*" not in mark
    assert r"- \*: incomplete: scores are missing." in lines


def test_a_weakest_strength_that_suffices_is_said_to(tmp_path, judged):
    lines = rows(last=((0, 0), (2, 2), (2, 2)))
    assert judged(lines)["sac"].evasion.at_weakest == 1
    assert judged(rows())["sac"].evasion.at_weakest == 0
    assert "at the weakest: 1 of 6" in write(tmp_path, lines, run())


def test_fewer_than_six_sources_say_what_their_interval_is_worth(tmp_path):
    five = write(tmp_path, rows(seeds=range(5)), run(seeds=(0, 1, 2, 3, 4)))
    assert "it is their range, which contains it with 94 %" in " ".join(five.split())


def test_methods_with_unlike_numbers_of_sources_have_the_worst_and_the_best_probability(tmp_path):
    lines = [r for r in rows(seeds=range(5)) if r["method"] != "mark" or r["source_seed"] < 3]
    text = write(tmp_path, lines, run(seeds=(0, 1, 2, 3, 4)))
    assert "it is their range, which contains it with 75 % to 94 %." in " ".join(text.split())


@pytest.mark.parametrize("strength", [0, 2])
def test_a_source_whose_copies_have_no_accuracy_has_no_price(judged, strength):
    lines = rows()
    for r in lines:
        if r["attack"] and r["source_seed"] == 2 and r["replicate"] % 3 == strength:
            r["suspect_accuracy"] = None
    found = judged(lines)["sac"].evasion
    assert found.losses == pytest.approx([0.1 + 0.91 * 0.2 + 0.001 * s for s in (0, 1, 3, 4, 5)])


def test_one_source_has_no_interval(tmp_path):
    assert "[this source only]" in write(tmp_path, rows(seeds=[0]), run(seeds=(0,)))


def test_an_evasion_knows_how_often_it_was_impossible():
    assert Evasion((0.1, math.inf, math.inf), 0.4).never == 2
