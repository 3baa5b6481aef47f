#!/usr/bin/env bash
# confidenceinterval 1.0.4 (DeLong's interval of the AUC, with scikit-learn 1.5.2 and scipy 1.14.1).
#
# `roc_auc_score` computes in single precision and does not bound the interval. With 12 positives and 12 negatives, one of
# which ties with all the others, the 95 % interval is [0.877, 1.040]. Where the positives are all above the negatives, the
# AUC is given as 0.99999994 with an interval of no width that does not contain 1. Labels of type bool, which scikit-learn's
# function of that name takes, raise TypeError.
#
# Guessed before: an interval within [0, 1]; degenerate, but at 1, where both groups are separated.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q confidenceinterval==1.0.4 scikit-learn==1.5.2 scipy==1.14.1 numpy==1.26.4
"$work/venv/bin/python" - <<'PYTHON'
import numpy as np
from confidenceinterval import roc_auc_score
from sklearn import metrics

labels = np.array([0] * 12 + [1] * 12)
tied = np.array([0.1] * 13 + [0.9] * 11)
auc, (low, high) = roc_auc_score(labels, tied)
print(f"one tie: AUC {auc:.4f}, interval [{low:.4f}, {high:.4f}]")
assert np.isclose(auc, metrics.roc_auc_score(labels, tied)) and high > 1

auc, (low, high) = roc_auc_score(labels, np.arange(24.0))
print(f"separated: AUC {auc:.8f}, interval [{low:.8f}, {high:.8f}]")
assert low == high < 1

assert metrics.roc_auc_score(labels == 1, tied) > 0.9
try:
    roc_auc_score(labels == 1, tied)
except TypeError as error:
    print("labels of type bool:", error)
else:
    raise AssertionError("labels of type bool are taken now")
PYTHON
