#!/usr/bin/env bash
# MLstatkit 0.1.91 (DeLong's test of two AUCs, with numpy 2.4.6, scipy 1.17.1 and scikit-learn 1.9.1).
#
# `Delong_test` returns p = 0 for two models with the same scores, the strongest evidence of a difference that a test can
# give; so it does for two models that both separate the classes, whose variances are 0. Its z has the opposite sign of the
# difference: it is negative where the first AUC is the larger one. With a variance above 0 its p-value is that of DeLong.
#
# Guessed before: p = 1 or not-a-number for equal scores; a z with the sign of the first AUC minus the second.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q MLstatkit==0.1.91 numpy==2.4.6 scipy==1.17.1
"$work/venv/bin/python" - <<'PYTHON'
import numpy as np
from MLstatkit import Delong_test

labels = np.array([1] * 10 + [0] * 10)
random = np.random.default_rng(0)
noisy = np.concatenate([random.normal(1, 1, 10), random.normal(0, 1, 10)])
separated = labels + 0.001 * np.arange(20)

z, p, *_, first, second, info = Delong_test(labels, noisy, noisy.copy())
print(f"equal scores: AUC {first:.2f} and {second:.2f}, z {z:g}, p {p:g} ({info['method']})")
assert first == second and p == 0.0

z, p, *_, first, second, info = Delong_test(labels, separated, 2 * separated)
print(f"both separated: AUC {first:.2f} and {second:.2f}, z {z:g}, p {p:g} ({info['method']})")
assert first == second == 1.0 and p == 0.0

z, p, *_, first, second, info = Delong_test(labels, separated, noisy)
print(f"separated against noisy: AUC {first:.2f} and {second:.2f}, z {z:.2f}, p {p:.2f} ({info['method']})")
assert first > second and z < 0 and 0.1 < p < 0.3
PYTHON
