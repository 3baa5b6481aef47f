#!/usr/bin/env bash
# calzone-tool 0.1.0 (measures whether a classifier's probabilities are right; with numpy 2.4.6, scipy 1.17.1 and
# statsmodels 0.15.0), Python 3.11.
#
# - `CalibrationMetrics(class_to_calculate=k)` measures one class against all others; the argument is "the class index
#   to calculate the metrics for". The slope of Cox's regression, 1 if a class is calibrated, is that of class 1 for
#   every k: here 0.62 for three classes, of which class 0 has 0.30. The error that follows from the slope (`COX ICI`)
#   applies class 1's slope to the answers of class k. `cox_regression_analysis(class_to_calculate=k)` alone regresses
#   the labels of class k on the probabilities of class 1: it gives class 0 the slope -0.35, as if sure answers were
#   wrong ones.
# - With the adjustment to another prevalence, the probabilities of class 0 are compared with the labels of class 1. A
#   calibrated detector of copies has an error (ECE) of 0.02 for either of its two classes, and after the adjustment,
#   which should not make it worse, 0.56 for class 0 and 0.02 for class 1.
#
# Guessed before, from `calculate_metrics` in metrics.py: it passes the class to all metrics but Cox's, and sets it to 1
# after the adjustment while the labels stay. That the regression itself takes the wrong column was not guessed. The
# package warns of nothing, and no page or issue about it was found. Seen on 1 December 2026.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q calzone-tool==0.1.0 numpy==2.4.6 scipy==1.17.1 statsmodels==0.15.0
OMP_NUM_THREADS=1 "$work/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import statsmodels.api as sm
from calzone.metrics import CalibrationMetrics, cox_regression_analysis

draw = np.random.default_rng(0)


def logit(p):
    return np.log(p / (1 - p))


def measured(labels, answers, k, **options):
    """Return what the package measures of class k."""
    return CalibrationMetrics(class_to_calculate=k).calculate_metrics(labels, answers, ["COX", "ECE-H"], **options)


def slope(labels, answers, k):
    """Return the slope of Cox's regression for class k: its labels by the log-odds of its answers."""
    design = sm.add_constant(logit(answers[:, k]))
    return sm.Logit(labels == k, design).fit(disp=False).params[1]


print("three classes, the network is too sure of class 0")
truth = draw.dirichlet([2.0, 2.0, 2.0], 4000)
labels = (draw.random((4000, 1)) > truth.cumsum(1)).sum(1)
first = 1 / (1 + np.exp(-3 * logit(truth[:, 0])))
rest = (1 - first) / (1 - truth[:, 0])
answers = np.stack([first, rest * truth[:, 1], rest * truth[:, 2]], 1)
right = [slope(labels, answers, k) for k in range(3)]
given = [measured(labels, answers, k)["COX coef"] for k in range(3)]
alone = [cox_regression_analysis(labels, answers, class_to_calculate=k)[0] for k in range(3)]
for k in range(3):
    print(f"  class {k}: slope {right[k]:.2f}, CalibrationMetrics {given[k]:.2f}, the regression alone {alone[k]:.2f}")
assert abs(right[0] - 1 / 3) < 0.05 and abs(right[1] - given[1]) < 0.01
assert len(set(np.round(given, 9))) == 1
assert alone[0] < -0.2

print("a calibrated detector of copies (class 1)")
copies = draw.beta(1, 3, 4000)
labels = (draw.random(4000) < copies).astype(int)
answers = np.stack([1 - copies, copies], 1)
before, after = (
    [measured(labels, answers, k, perform_pervalance_adjustment=adjusted)["ECE-H"] for k in range(2)]
    for adjusted in (False, True)
)
for k in range(2):
    print(f"  class {k}: error {before[k]:.2f}, with the prevalence adjusted {after[k]:.2f}")
assert max(before) < 0.03 and after[1] < 0.03
assert after[0] > 0.5
PYTHON
