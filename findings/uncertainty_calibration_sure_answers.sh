#!/usr/bin/env bash
# uncertainty-calibration 0.1.4 (calibration error of a classifier, "Verified Uncertainty Calibration"; with numpy
# 2.4.6, scipy 1.17.1 and scikit-learn 1.9.1). Seen on 30 November 2026.
#
# A classifier is sure of most of 1000 answers and right in them; it gives the others 0.90 to 0.99 and is right in
# 60 % of those. Its calibration error, a root mean square, is 0.16 to 0.18. In float32 the sure answers are exactly
# 1, and `get_calibration_error` returns 0.0, that of a perfect classifier: where fewer than a quarter of the
# probabilities are distinct it takes each distinct one for a bin, and bins with a single answer count as free of
# error. The error falls to 0.0 as 760 instead of 740 answers are sure. In float64, or by `get_ece` of the same
# package, nothing of the kind happens. The intervals of `get_calibration_error_uncertainties` take alpha for per
# cents: that of 10 % is nearly as wide as that of 90 %.
#
# The docstring says that it "uses heuristics to check if the values came from a scaling method or binning method",
# not that answers are left out, and the README measures the error of any model by it. The intervals are called
# "1-alpha confidence intervals", where alpha is 0.1 if it is not given.
#
# Guessed before: the same error in both precisions, and an interval that shrinks to the median as alpha goes to 1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q uncertainty-calibration==0.1.4 numpy==2.4.6 scikit-learn==1.9.1 scipy==1.17.1
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import calibration
import numpy as np


def answers(sure):
    """Return the confidences of 1000 answers, and whether each is right."""
    logits = np.concatenate([np.linspace(18, 25, sure), np.linspace(2.2, 4.6, 1000 - sure)])
    right = np.concatenate([np.ones(sure), np.arange(1000 - sure) % 5 < 3]).astype(int)
    return 1 / (1 + np.exp(-logits)), right


for sure in (740, 760, 800):
    confidence, right = answers(sure)
    single = confidence.astype(np.float32)
    double_error = calibration.get_calibration_error(confidence, right)
    single_error = calibration.get_calibration_error(single, right)
    eces = calibration.get_ece(confidence, right), calibration.get_ece(single, right)
    print(f"{sure} of 1000 sure: error {double_error:.3f} in float64, {single_error:.3f} in float32;", end=" ")
    print(f"ECE {eces[0]:.4f} and {eces[1]:.4f}; moved by {np.abs(confidence - single).max():.0e} at most")
    assert double_error > 0.12 and abs(eces[0] - eces[1]) < 1e-6
    assert single_error > 0.12 if sure == 740 else single_error == 0.0

confidence, right = answers(740)
width = {}
for alpha in (0.1, 0.9):
    np.random.seed(0)
    lower, _, upper = calibration.get_calibration_error_uncertainties(confidence, right, alpha=alpha)
    width[alpha] = upper - lower
    print(f"interval of {100 * (1 - alpha):.0f} %: {lower:.4f} to {upper:.4f}")
assert width[0.9] > 0.8 * width[0.1]
print("the error is 0 where sure answers are exactly 1, and alpha hardly moves the interval")
PYTHON
