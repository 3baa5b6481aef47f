#!/usr/bin/env bash
# lir 1.3.1 (likelihood ratios of forensic evidence, by the Netherlands Forensic Institute; with numpy 2.4.6, scipy 1.17.1,
# pandas 3.1.1, scikit-learn 1.9.1), Python 3.11. A likelihood ratio (LR) says how much more probable a score is of a copy than of an
# independent network.
#
# - `BootstrapAtData` widens each LR by an interval. Beyond the scores of the training rows, where the strongest evidence
#   lies, the interval is as wide as that of the first or the last row of the table: the order of the rows decides. Equal
#   rows that are sorted upwards, downwards, or have the copies first give one suspect [4.14, 6.31], [3.31, 5.46] and
#   [4.59, 5.21] (log10). `BootstrapEquidistant` sorts, and moves by the draws only.
# - `LogitCalibrator` is scikit-learn's logistic regression with its default penalty, which depends on the unit: equal scores,
#   as a share, in percent and in ten-thousandths, give one suspect an LR of 1.5, of 107 thousand and of 7e15.
# - `ELUBBounder.fit` replaces infinite LRs in the data that it is fitted to, which are declared frozen. A system that is
#   infinitely wrong about one independent network has a cost (Cllr) of infinity, and a cost of 0.63 once a bounder has
#   read these data.
# - The metric `llr_overestimation` cannot be computed for any system with two finite LRs: it asks for the truth of an array.
#
# The docstrings say "Uses the original training data points for interval estimation", "Calculates a likelihood ratio of a
# score value, provided it is from one of two distributions. Uses logistic regression for interpolation", "outputs the same
# LRs as the system but bounded"; nothing about order, units or the data.
# Guessed before, from the source: each of these; that the unit makes 15 orders of magnitude was not.
#
# Seen on 30 November 2026:
#   BootstrapAtData, rows upwards: log10 LR 4.81 [4.14, 6.31]
#   BootstrapAtData, rows downwards: log10 LR 4.81 [3.31, 5.46]
#   BootstrapAtData, rows copies first: log10 LR 4.81 [4.59, 5.21]
#   BootstrapEquidistant, rows upwards: log10 LR 4.81 [4.14, 6.31]
#   BootstrapEquidistant, rows downwards: log10 LR 4.81 [4.18, 6.27]
#   BootstrapEquidistant, rows copies first: log10 LR 4.81 [4.19, 6.04]
#   scores times 1: the LR of one suspect is 1.49
#   scores times 100: the LR of one suspect is 1.07e+05
#   scores times 10000: the LR of one suspect is 6.85e+15
#   Cllr of one object, before and after a bounder is fitted to it: inf, 0.628
#   llr_overestimation: The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3.11}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile lir==1.3.1 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1 scikit-learn==1.9.1
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from lir.algorithms.bayeserror import ELUBBounder
from lir.algorithms.bootstraps import BootstrapAtData, BootstrapEquidistant
from lir.algorithms.logistic_regression import LogitCalibrator
from lir.data.models import FeatureData, LLRData
from lir.metrics import cllr
from lir.metrics.overestimation import llr_overestimation

random = np.random.default_rng(0)
labels = np.repeat([0, 1], 40)  # independent networks, copies
overlapping = np.concatenate([random.normal(60, 12, 40), random.normal(80, 12, 40)])
apart = np.concatenate([random.normal(0.60, 0.03, 40), random.normal(0.80, 0.03, 40)])

# 1. Equal rows in three orders, and a suspect whose score is above all of them.
upwards = np.argsort(overlapping)
orders = {"upwards": upwards, "downwards": upwards[::-1], "copies first": np.roll(np.arange(80), 40)}
suspect = FeatureData(features=np.array([[130.0]]))
widths = {}
for kind in (BootstrapAtData, BootstrapEquidistant):
    for name, order in orders.items():
        system = kind([("lr", LogitCalibrator())], n_bootstraps=400, seed=1)
        system.fit(FeatureData(features=overlapping[order, None], labels=labels[order]))
        best, low, high = system.transform(suspect).features[0]
        widths[kind, name] = high - low
        print(f"{kind.__name__}, rows {name}: log10 LR {best:.2f} [{low:.2f}, {high:.2f}]")
of_data, of_grid = ([widths[kind, name] for name in orders] for kind in (BootstrapAtData, BootstrapEquidistant))
assert max(of_data) > 3 * min(of_data) and max(of_grid) < 1.4 * min(of_grid)

# 2. Equal scores in three units.
ratios = []
for unit in (1, 100, 10_000):
    calibrator = LogitCalibrator().fit(apart * unit, labels)
    ratios.append(10 ** calibrator.transform(np.array([0.82 * unit])).item())
    print(f"scores times {unit}: the LR of one suspect is {ratios[-1]:.3g}")
assert ratios[0] < 2 and ratios[1] > 1e4 and ratios[2] > 1e13

# 3. One independent network is infinitely misjudged.
llrs = np.concatenate([random.normal(-1, 0.5, 39), [np.inf], random.normal(1, 0.5, 40)])
data = LLRData(features=llrs, labels=labels)
before = cllr(data)
bounder = ELUBBounder().fit(data)
after = cllr(data)
print(f"Cllr of one object, before and after a bounder is fitted to it: {before:.3f}, {after:.3f}")
assert np.isinf(before) and 0.5 < after < 1.5 and data.llrs.max() == 9

# 4. A metric.
try:
    llr_overestimation(random.normal(0, 1, 80), labels)
except ValueError as error:
    print(f"llr_overestimation: {error}")
else:
    raise AssertionError("llr_overestimation is computed now")
print("lir 1.3.1: an interval of the order of rows, a ratio of the unit, and data that forget what was infinite")
PYTHON
