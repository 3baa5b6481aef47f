"""Made-up benchmarks by the thousand: how often intervals cover and tests err. Its tables are those of the document.

`python tests/stats/simulation.py` runs all, writes `simulated.json`, and puts the tables into `docs/statistics.md`.

A stolen suspect of a source scores N(shift + b, 1), b being N(0, sd²) for the source, an irrelevant model of its own
N(0, 1); "ties": the same scores in 21 steps. An irrelevant model that sources share has one score with all of them.
"""

import itertools
import json
from collections import Counter
from pathlib import Path
from statistics import NormalDist

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from bench.stats.differences import (
    agrees,
    better_jointly,
    difference_of_two_runs,
    difference_over_sources,
)
from bench.stats.holm import holm
from bench.stats.intervals import AucEstimate, effective, estimate_auc, interval_over_sources, source_auc
from bench.stats.thresholds import calibration_half, frozen_threshold

STORED = Path(__file__).with_name("simulated.json")
DOCUMENT = Path(__file__).parents[2] / "docs" / "statistics.md"
MARKS = "<!-- simulated: -->\n", "<!-- end of simulated -->\n"

SOURCES = (2, 3, 5, 10, 20)
SPREADS = (0.0, 0.5, 1.0)
SIZES = ((4, 4), (12, 12), (20, 20))
AUCS = (0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 0.97)
TABLE_SOURCES, TABLE_SIZES = (5, 10, 20), ((4, 4), (12, 12))
SHIFTS = {1.2: "0.75–0.80", 2.3: "0.91–0.95"}
"""Of the stolen suspects of equal methods, and the AUCs that come of it (lower with a spread of sources)."""
UNLIKE = (
    ((50, 1), 0, 12),
    ((20, 2, 2), 0, 12),
    ((40, 2, 2, 2, 2), 0, 12),
    ((20,) * 5, 10, 0),
    ((20,) * 10, 10, 0),
    ((20,) * 20, 10, 0),
    ((20,) * 5, 10, 10),
    ((20,) * 20, 10, 10),
)
"""Stolen suspects of each source; irrelevant models that all share, and those of each source."""
COVERAGES, TABLES, VERDICTS, PAIRS, SINGLES, DIVISIONS = 12_000, 800, 2000, 2000, 1000, 1000
EDGES = np.array([NormalDist().inv_cdf((step + 0.5) / 20) for step in range(20)])


def true_auc(shift, sd, ties):
    """AUC of stolen ~ N(shift, sd²) against irrelevant ~ N(0, 1), ties counting half."""
    if not ties:
        return ndtr(shift / np.hypot(sd, 1))
    stolen = np.diff(ndtr((EDGES - shift) / sd), prepend=0, append=1)
    irrelevant = np.diff(ndtr(EDGES), prepend=0, append=1)
    return float(stolen @ (np.cumsum(irrelevant) - irrelevant / 2))


def shift_of(auc, sd, ties=False):
    return brentq(lambda shift: true_auc(shift, sd, ties) - auc, -8, 20)


def aucs(stolen, irrelevant):
    """AUCs of many pairs of samples: [..., m], [..., n] -> [...]."""
    total = np.zeros(stolen.shape[:-1])
    for k in range(stolen.shape[-1]):
        one = stolen[..., k : k + 1]
        total += ((one > irrelevant).mean(axis=-1) + (one >= irrelevant).mean(axis=-1)) / 2
    return total / stolen.shape[-1]


def draw(rng, shape, size, auc, sd, ties=False):
    """AUCs of sources that are `auc` on average: an array of `shape`."""
    m, n = size
    normal = lambda last: rng.standard_normal((*shape, last), dtype=np.float32)  # noqa: E731
    stolen, irrelevant = shift_of(auc, np.hypot(1, sd), ties) + sd * normal(1) + normal(m), normal(n)
    if ties:
        stolen, irrelevant = (np.searchsorted(EDGES, x).astype(np.int8) for x in (stolen, irrelevant))
    return aucs(stolen, irrelevant)


def estimates(drawn, size):
    """Estimates of benchmarks: [benchmarks, sources] -> list."""
    m, n = drawn.shape[1] * size[0], drawn.shape[1] * size[1]
    ends = zip(drawn, *interval_over_sources(drawn, m, n), strict=True)
    return [AucEstimate(float(a.mean()), float(low), float(high), m, n, tuple(a), False) for a, low, high in ends]


def percent(values):
    return round(100 * float(np.mean(values)), 2)


def times(sources):
    """How many benchmarks of so many sources are taken from one of the most: three at most."""
    return min(3, max(SOURCES) // sources)


def intervals():
    """Coverage and mean width by size, spread, ties, AUC and number of sources."""
    found = []
    for size, sd, ties, auc in itertools.product(SIZES, SPREADS, (False, True), AUCS):
        rng = np.random.default_rng([*size, round(10 * sd), ties, round(100 * auc)])
        drawn = draw(rng, (COVERAGES, max(SOURCES)), size, auc, sd, ties)
        for sources in SOURCES:
            groups = drawn[:, : times(sources) * sources].reshape(-1, sources)
            low, high = interval_over_sources(groups, sources * size[0], sources * size[1])
            width = round(float((high - low).mean()), 3)
            covered = percent((low <= auc + 1e-9) & (auc - 1e-9 <= high))
            found.append([*size, sources, sd, auc, ties, covered, width])
    return found


def unlike():
    """Coverage and mean width where sources have unequal numbers of suspects, or share irrelevant models."""
    found = []
    for (stolen, shared, own), sd, auc in itertools.product(UNLIKE, SPREADS, (0.7, 0.8, 0.9, 0.97)):
        rng, sources = np.random.default_rng([*stolen, shared, own, round(10 * sd), round(100 * auc)]), len(stolen)
        ability, irrelevant = (
            rng.standard_normal((COVERAGES, sources, k), dtype=np.float32) for k in (1, shared + own)
        )
        irrelevant[..., :shared] = irrelevant[:, :1, :shared]
        drawn, center = np.empty((COVERAGES, sources)), shift_of(auc, np.hypot(1, sd)) + sd * ability
        for source, m in enumerate(stolen):
            scores = center[:, source] + rng.standard_normal((COVERAGES, m), dtype=np.float32)
            drawn[:, source] = aucs(scores, irrelevant[:, source])
        models = [shared + own] * sources
        numbers = effective(stolen, sum(stolen)), effective(models, shared + own * sources)
        low, high = interval_over_sources(drawn, *numbers, own=effective(models, sum(models)))
        covered = percent((low <= auc + 1e-9) & (auc - 1e-9 <= high))
        found.append([list(stolen), shared, own, sd, auc, covered, round(float((high - low).mean()), 3)])
    return found


def one_source():
    """Coverage and mean width of the interval of one given source, where stolen suspects spread by another s.d."""
    rng, found = np.random.default_rng(1), []
    for (m, n), spread, auc in itertools.product(
        ((20, 20), (12, 12), (5, 12)), (0.5, 1.0, 2.0), (0.7, 0.9, 0.95, 0.99)
    ):
        stolen = shift_of(auc, spread) + spread * rng.normal(size=(SINGLES, m))
        made = [estimate_auc([source_auc(s, rng.normal(size=n))]) for s in stolen]
        width = round(float(np.mean([e.high - e.low for e in made])), 3)
        found.append([m, n, spread, auc, percent([e.low <= auc <= e.high for e in made]), width])
    return found


def table(rng, sources, size, shift, sd, methods=4, attacks=5, baselines=1):
    """AUCs of one table of equal methods: [methods + baselines, attacks, sources].

    A method has an ability of its own at each source (N(0, sd²)); half of the variance of a score is the model's and
    the same for all methods.
    """
    m, n = size
    every = methods + baselines
    ability = sd * rng.normal(size=(every, 1, sources, 1))
    stolen = rng.normal(size=(1, attacks, sources, m)) + rng.normal(size=(every, attacks, sources, m))
    irrelevant = rng.normal(size=(1, 1, sources, n)) + rng.normal(size=(every, 1, sources, n))
    return aucs(shift + ability + stolen / np.sqrt(2), irrelevant / np.sqrt(2))


def marks():
    """Share of tables of equal methods in which a cell is marked: jointly flipped signs, Holm, signs in one cell."""
    found = []
    for sources, size, shift, sd in itertools.product(TABLE_SOURCES, TABLE_SIZES, SHIFTS, SPREADS):
        rng = np.random.default_rng([sources, *size, round(10 * shift), round(10 * sd)])
        jointly, stepwise, single = [], [], []
        for _ in range(TABLES):
            drawn = table(rng, sources, size, shift, sd)
            apart = (drawn[1:] - drawn[:1]).reshape(-1, sources)
            tests = [difference_over_sources(d, np.zeros(sources)) for d in apart]
            p = [t.greater for t in tests]
            jointly.append(better_jointly(apart).min() <= 0.05)
            stepwise.append(holm(p, [t.smallest for t in tests]).min() <= 0.05)
            single.append(p[0] <= 0.05)
        row = [percent(jointly), percent(stepwise), percent(single)]
        found.append([*size, sources, shift, sd, *row])
    return found


def verdicts():
    """Share of "differs" where a paper's source is drawn like ours: its numbers of models known, and unknown."""
    rng, found = np.random.default_rng(5), []
    for size, sources, sd, auc in itertools.product(((4, 4), (12, 12)), SOURCES, SPREADS, (0.7, 0.8, 0.9, 0.97)):
        ours = estimates(draw(rng, (VERDICTS, sources), size, auc, sd), size)
        paper = draw(rng, (VERDICTS,), (20, 20), auc, sd)
        known = Counter(agrees(o, p, 20, 20) for o, p in zip(ours, paper, strict=True))
        unknown = Counter(agrees(o, p) for o, p in zip(ours, paper, strict=True))
        shares = [100 * c / VERDICTS for c in (known["differs"], unknown["differs"], known["too few models to tell"])]
        found.append([*size, sources, sd, auc, *shares])
    return found


def runs():
    """Share of cells in which two runs of the same truth differ at 5 %, and of those with an AUC lower by 0.2."""
    rng, found = np.random.default_rng(8), []
    for size, sources, sd, auc in itertools.product(((4, 4), (12, 12)), (2, 3, 5, 8, 20), SPREADS, (0.7, 0.9, 0.97)):
        a, b, less = (estimates(draw(rng, (PAIRS, sources), size, x, sd), size) for x in (auc, auc, auc - 0.2))
        same = percent([difference_of_two_runs(x, y).p <= 0.05 for x, y in zip(a, b, strict=True)])
        other = percent([difference_of_two_runs(x, y).p <= 0.05 for x, y in zip(a, less, strict=True)])
        found.append([*size, sources, sd, auc, same, other])
    return found


def differences():
    """Coverage of the interval of the difference of two methods, A better than B by 0.05, at shared sources."""
    rng, found = np.random.default_rng(9), []
    for size, sources, sd, auc in itertools.product(((4, 4), (12, 12)), SOURCES, SPREADS, (0.7, 0.9, 0.97)):
        a, b = draw(rng, (PAIRS, sources), size, auc, sd), draw(rng, (PAIRS, sources), size, auc - 0.05, sd)
        made = [difference_over_sources(x, y) for x, y in zip(a, b, strict=True)]
        covered = percent([d.low <= 0.05 <= d.high for d in made])
        found.append([*size, sources, sd, auc, covered, round(float(np.mean([d.high - d.low for d in made])), 3)])
    return found


def accusations():
    """Mean rate of false accusations of a frozen threshold with its standard error, models in four families."""
    rng, found = np.random.default_rng(7), []
    for models, alpha, apart, sources in itertools.product((18, 38, 50), (0.1, 0.05), (0.0, 1.0), (1, 3)):
        if models < 2 * (1 / alpha - 1):
            continue
        family = np.arange(models) * 4 // models
        names, families = [f"model {i}" for i in range(models)], [f"family {f}" for f in family]
        rates = []
        for drawn in range(DIVISIONS):
            halves = [calibration_half(names, families, drawn * sources + s) for s in range(sources)]
            scores = apart * family + rng.normal(size=(sources, models))
            rates.append(frozen_threshold(list(scores), halves, alpha).false_accusations.rate)
        error = float(np.std(rates) / np.sqrt(DIVISIONS))
        found.append([models, alpha, apart, sources, round(float(np.mean(rates)), 4), round(error, 4)])
    return found


ALL = {f.__name__: f for f in (intervals, unlike, one_source, marks, verdicts, runs, differences, accusations)}


def standard_error(share, draws):
    """Monte Carlo error of a share, in percent; that of one in the thousand at least."""
    p = min(max(share / 100, 0.001), 0.999)
    return 100 * np.sqrt(p * (1 - p) / draws)


def grid(rows, heads, columns, cell):
    """Markdown: rows of equal first fields in one line, `columns` of a field across."""
    keys = list(dict.fromkeys(key for key, _, _ in rows))
    cells = {(key, column): cell(values) for key, column, values in rows}
    lines = ["| " + " | ".join([*heads, *map(str, columns)]) + " |", "|---" * (len(heads) + len(columns)) + "|"]
    return "\n".join([*lines, *("| " + " | ".join([*key, *(cells[key, c] for c in columns)]) + " |" for key in keys)])


def tables(found):
    """All tables of the document as Markdown."""
    both = {}
    for m, n, sources, sd, auc, ties, covered, width in found["intervals"]:
        both.setdefault((m, n, sources, sd, auc), []).append((ties, covered, width))
    label = lambda m, n, *others: (f"{m} / {n}", *map(str, others))  # noqa: E731
    coverage = [(label(*k[:4]), k[4], v) for k, v in sorted(both.items())]
    auc = lambda rows, wide: [(label(*r[:4]), r[4], r[5:]) for r in rows if wide(r)]  # noqa: E731
    each = ["stolen / irrelevant", "sources", "s.d. between sources"]
    every = lambda r: True  # noqa: E731
    parts = [
        f"### Interval over sources: coverage in percent, continuous scores / ties (mean width)\n\n"
        f"{COVERAGES:,} benchmarks a number, and more with fewer sources: 95 is known to ± 0.2 or better. Columns: the"
        " true mean AUC.\n",
        grid(coverage, each, AUCS, lambda v: f"{v[0][1]:.1f} / {v[1][1]:.1f} ({v[0][2]:.2f})"),
        f"\n### Unequal numbers of suspects, or shared irrelevant models: coverage in percent (mean width)"
        f"\n\n{COVERAGES:,} benchmarks a number: 95 is known to ± 0.2. Columns: the true mean AUC.\n",
        grid(
            [((*_unlike(*r[:3]), str(r[3])), r[4], r[5:]) for r in found["unlike"]],
            ["stolen of each source", "irrelevant of each source", "s.d. between sources"],
            (0.7, 0.8, 0.9, 0.97),
            lambda v: f"{v[0]:.1f} ({v[1]:.2f})",
        ),
        f"\n### One source, for that source alone: coverage in percent (mean width)\n\n"
        f"{SINGLES:,} benchmarks a number: ± 0.7. Columns: the true AUC.\n",
        grid(
            [(label(*r[:3]), r[3], r[4:]) for r in found["one_source"]],
            ["stolen / irrelevant", "spread of stolen"],
            (0.7, 0.9, 0.95, 0.99),
            lambda v: f"{v[0]:.1f} ({v[1]:.2f})",
        ),
        f"\n### Tables of equal methods in which † marks a cell, in percent\n\n"
        f"{TABLES:,} tables of 4 × 5 cells against one baseline a number: 5 is known to ± 0.8. Signs flipped jointly /"
        " the same signs cell by cell with Holm and Tarone / one cell by itself. Columns: s.d. between sources.\n",
        grid(
            [((*label(*r[:3]), SHIFTS[r[3]]), r[4], r[5:]) for r in found["marks"]],
            ["stolen / irrelevant", "sources", "AUC"],
            SPREADS,
            lambda v: " / ".join(f"{x:.1f}" for x in v),
        ),
        f'\n### `--check`: "differs" of a paper of the same truth, in percent\n\n'
        f"{VERDICTS:,} benchmarks a number: 5 is known to ± 0.5. Paper: one source, 20 / 20; its numbers of models"
        " known / not known. Columns: the true mean AUC.\n",
        grid(auc(found["verdicts"], every), each, (0.7, 0.8, 0.9, 0.97), lambda v: f"{v[0]:.1f} / {v[1]:.1f}"),
        f'\n### Two runs: "differ" at 5 %, in percent, of the same truth / of an AUC lower by 0.2\n\n'
        f"{PAIRS:,} pairs a number: 5 is known to ± 0.5. Columns: the true mean AUC.\n",
        grid(auc(found["runs"], every), each, (0.7, 0.9, 0.97), lambda v: f"{v[0]:.1f} / {v[1]:.0f}"),
        f"\n### Difference of two methods: coverage in percent (mean width)\n\n"
        f"{PAIRS:,} benchmarks a number: 95 is known to ± 0.5. Columns: the true mean AUC of A; B's: 0.05 less.\n",
        grid(auc(found["differences"], every), each, (0.7, 0.9, 0.97), lambda v: f"{v[0]:.1f} ({v[1]:.2f})"),
        "\n### Frozen threshold: mean rate of false accusations ± standard error\n",
        grid(
            [(tuple(map(str, r[:3])), r[3], r[4:]) for r in found["accusations"]],
            ["irrelevant models", "rate promised", "s.d. between families"],
            (1, 3),
            lambda v: f"{v[0]:.4f} ± {v[1]:.4f}",
        ).replace("| 1 | 3 |", "| one source | three sources |"),
    ]
    return "\n".join(parts) + "\n"


def _unlike(stolen, shared, own):
    """Labels of the numbers of models of sources."""
    each = f"{len(stolen)} × {stolen[0]}" if len(set(stolen)) == 1 else ", ".join(map(str, stolen))
    return each, " + ".join(f"{n} {kind}" for n, kind in ((shared, "shared"), (own, "of its own")) if n)


def in_document(text):
    """The part of the document that the simulations print."""
    return text.split(MARKS[0])[1].split(MARKS[1])[0]


def store(results):
    """Write the results, and their tables into the document."""
    lists = (f'"{name}": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]" for name, rows in results.items())
    STORED.write_text("{\n" + ",\n".join(lists) + "\n}\n", encoding="utf-8")
    before, after = DOCUMENT.read_text(encoding="utf-8").split(MARKS[0])
    DOCUMENT.write_text(before + MARKS[0] + tables(results) + MARKS[1] + after.split(MARKS[1])[1], encoding="utf-8")


if __name__ == "__main__":
    store({name: run() for name, run in ALL.items()})
