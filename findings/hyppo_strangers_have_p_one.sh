#!/usr/bin/env bash
# hyppo 0.5.2 (tests of two samples; with numpy 2.4.6, scipy 1.17.1, scikit-learn 1.9.1, pandas 3.1.1,
# statsmodels 0.15.0 and numba 0.68.1). Seen on 30 November 2026.
#
# The Friedman-Rafsky test joins the answers of two networks in a tree of least length, cuts its branches between
# the two, and counts the pieces: few pieces are the evidence of a difference. `FriedmanRafsky().test` reports how
# often a permutation has at least as many. A network that has nothing in common with the source leaves 2 pieces,
# the least that there can be, and has p = 1; a copy whose answers lie beside the source's has p = 0.001. With
# labels in the shape that the documentation asks for, (n, 1), p is 1 and the statistic not-a-number whatever the
# samples are: the number of samples is then read as 1. `Hotelling().test` does not read the variance if there is
# one value for each network: AUCs that do not overlap have p = 0.84 as shares and p = 1e-11 in per cent.
#
# The documentation says of the p-value (`hyppo.tools.perm_test`) that it is the probability of a statistic "at
# least as extreme" as the observed one, and calls Hotelling's test Student's t-test for more than one dimension.
#
# Guessed before: about 0.001 for strangers, whose p-value by `Energy` of the same package is 4e-19; p near 1 for
# the copy; and the p-value of the t-test in every unit.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q hyppo==0.5.2 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 pandas==3.1.1 \
    statsmodels==0.15.0 numba==0.68.1
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from hyppo.ksample import Energy, FriedmanRafsky, Hotelling
from scipy.stats import ttest_ind

random = np.random.default_rng(0)
source = random.normal(size=(40, 2))
networks = {"stranger": random.normal(10, 1, (40, 2)), "copy": source + random.normal(0, 0.001, (40, 2))}
labels = np.repeat([0, 1], 40)
p = {}
for name, answers in networks.items():
    both = np.vstack([source, answers])
    flat = FriedmanRafsky().test(both, labels, reps=1000, random_state=1)
    documented = FriedmanRafsky().test(both, labels[:, None], reps=1000, random_state=1)
    p[name] = flat.pvalue
    energy = Energy().test(source, answers).pvalue
    print(f"{name}: {flat.uncor_stat} pieces, p {flat.pvalue:.4f} (Energy: p {energy:.2g});", end=" ")
    print(f"labels of shape (80, 1): {documented.uncor_stat} piece, p {documented.pvalue:.4f}, z {documented.stat}")
    assert documented.pvalue == 1.0 and documented.uncor_stat == 1 and np.isnan(documented.stat)
    assert energy < 1e-6 if name == "stranger" else energy > 0.9
    assert flat.uncor_stat == 2 or name == "copy"
assert p["stranger"] == 1.0 and p["copy"] < 0.01

ours = np.array([0.90, 0.91, 0.89, 0.92, 0.90, 0.91, 0.88, 0.90])
theirs = ours[::-1] - 0.1
seen = {}
for unit, factor in (("shares", 1), ("per cent", 100)):
    seen[unit] = float(Hotelling().test(ours * factor, theirs * factor).pvalue.item())
    student = ttest_ind(ours * factor, theirs * factor).pvalue
    print(f"AUCs as {unit}: Hotelling p {seen[unit]:.2g}, t-test p {student:.2g}")
    assert 1e-10 < student < 1e-9
assert seen["shares"] > 0.8 and seen["per cent"] < 1e-10
print("strangers have p = 1, a copy less than 0.01, and the unit decides about Hotelling's test of one value")
PYTHON
