#!/usr/bin/env bash
# baycomp 1.0.3 (Bayesian comparison of two classifiers over data sets, with numpy 2.4.6 and scipy 1.17.1).
#
# `two_on_multiple(x, x)`, two methods with the same figures, says that the first one is better with a probability of 0.70
# and the second with 0.30, for 5, 8 and 20 data sets and any random state: each sample of the posterior should be 0.5 on
# either side, and the last digits of its sum decide which side counts. Exchanging the two changes nothing, for they are
# equal. The sign test of the same package answers not-a-number.
#
# Guessed before: 0.5 and 0.5.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q baycomp==1.0.3 numpy==2.4.6 scipy==1.17.1
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import baycomp
import numpy as np

for n in (5, 8, 20):
    figures = np.linspace(0.8, 1, n)
    for state in (0, 1, 2):
        first, equal, second = baycomp.two_on_multiple(figures, figures.copy(), random_state=state)
        print(f"{n} data sets, random state {state}: first {first:.2f}, equal {equal:.2f}, second {second:.2f}")
        assert first > 0.6 > 0.4 > second and equal == 0

print("sign test:", baycomp.SignTest.probs(figures, figures.copy()))
assert np.isnan(baycomp.SignTest.probs(figures, figures.copy())).all()
PYTHON
