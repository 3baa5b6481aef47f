#!/usr/bin/env bash
# scikit-posthocs 0.17.1 (tests by which papers compare methods; with numpy 2.4.6, scipy 1.17.1, pandas 3.1.1 and
# statsmodels 0.15.0).
#
# `test_osrt`, Hayter's "one-sided studentised range test" that "tests a hypothesis against an ordered alternative", takes
# differences without their sign and never looks at the order: scores that fall from step to step have the p-value of
# scores that rise, and exchanged names of the steps change nothing. (Its note "computed from the Tukey distribution" says
# which table it uses, not that the order is ignored.)
#
# `test_page`, two-sided by default, subtracts its correction for continuity, documented as "always applied", also where it
# must be added: three methods in one order in two sources have p = 0.080, in the reverse order p = 0.024.
#
# `posthoc_conover_friedman` and `posthoc_durbin` give every pair p = 0 if two sources put three methods in one order, as
# methods without any difference do in one case of six. With other numbers of methods and sources in one order, rounding
# makes the p-values not-a-number. Nothing in the documentation says how many sources the test needs.
#
# Guessed before, from the source: all three. Expected: p near 1 for falling scores against rising ones; one p-value for an
# order and its reverse; 1/18 or more for each pair, as two sources put a pair at the two ends that often by chance.
#
# Seen on 30 November 2026:
#   rising: test_osrt p 1.1e-14; Jonckheere's test for rising scores p 2.0e-09
#   falling: test_osrt p 1.1e-14; Jonckheere's test for rising scores p 1.0e+00
#   exchanged: test_osrt p 1.1e-14; Jonckheere's test for rising scores p 2.8e-01
#   two sources, one order of three methods: test_page p 0.080, of the reverse order 0.024
#   pairs of methods: conover_friedman p [0. 0. 0.], durbin p [0. 0. 0.], nemenyi_friedman p [0.58 0.11 0.58]
#   least p of a pair by the second source's order, the first one's is 1 2 3: [0. 0.168 0.168 0.5 0.5 1.]
#   one order in all sources, p by (methods, sources): 0.0 in 12 cases, nan in 3, the first of them (4, 2)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3.11}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q scikit-posthocs==0.17.1 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1 statsmodels==0.15.0
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PYTHON'
from itertools import permutations

import numpy as np
import pandas as pd
import scikit_posthocs as sp

random = np.random.default_rng(0)
steps = ["0 %", "30 %", "60 %", "90 %"]
pruned = np.repeat(steps, 8)
rising = np.repeat(0.1 * np.arange(4), 8) + 0.05 * random.normal(size=32)
exchanged = np.repeat(["60 %", "0 %", "90 %", "30 %"], 8)
found = {}
for name, groups, scores in (("rising", pruned, rising), ("falling", pruned, -rising), ("exchanged", exchanged, rising)):
    table = pd.DataFrame({"pruned": groups, "score": scores})
    found[name] = float(sp.test_osrt(table, "score", "pruned", sort=True)[0])
    other = float(sp.test_jonckheere(table, "score", "pruned", alternative="greater", sort=True)[0])
    print(f"{name}: test_osrt p {found[name]:.1e}; Jonckheere's test for rising scores p {other:.1e}")
assert np.allclose(list(found.values()), found["rising"], rtol=1e-6) and found["rising"] < 1e-10 and other > 0.01

sources = np.array([[0.71, 0.82, 0.93], [0.64, 0.75, 0.97]])
page = [sp.test_page(table)[0] for table in (sources, sources[:, ::-1])]
print(f"two sources, one order of three methods: test_page p {page[0]:.3f}, of the reverse order {page[1]:.3f}")
assert 0.07 < page[0] < 0.09 and 0.02 < page[1] < 0.03

pairs = np.triu_indices(3, 1)
orders = list(permutations((1.0, 2, 3)))
tests = (sp.posthoc_conover_friedman, sp.posthoc_durbin, sp.posthoc_nemenyi_friedman)
conover, durbin, nemenyi = (test(sources).to_numpy()[pairs] for test in tests)
print(f"pairs of methods: conover_friedman p {conover}, durbin p {durbin}, nemenyi_friedman p {nemenyi.round(2)}")
assert (conover == 0).all() and (durbin == 0).all() and nemenyi.min() > 0.1

second = [sp.posthoc_conover_friedman(np.array([[1.0, 2, 3], order])).to_numpy()[pairs].min() for order in orders]
print("least p of a pair by the second source's order, the first one's is 1 2 3:", np.round(second, 3))
assert np.sum(np.array(second) == 0) == 1 and second[0] == 0

kinds = {}
for methods in range(3, 6):
    for count in range(2, 7):
        table = np.tile(np.arange(methods, dtype=float), (count, 1))
        p = sp.posthoc_conover_friedman(table).to_numpy()[0, 1]
        kinds.setdefault(str(p), []).append((methods, count))
print("one order in all sources, p by (methods, sources):", {kind: (len(of), of[:3]) for kind, of in kinds.items()})
assert set(kinds) == {"0.0", "nan"}
print("as described above")
PYTHON
