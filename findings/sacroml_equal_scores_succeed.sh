#!/usr/bin/env bash
# sacroml 2.0.1 (membership inference for the disclosure control of trained networks, by AI-SDC; with numpy 2.4.6,
# scipy 1.17.1, scikit-learn 1.9.1, torch is not needed here), Python 3.11.
#
# `metrics.get_metrics` reports, among others, FDIF01 (how much more frequent members are among the tenth with the highest
# scores than among the tenth with the lowest) and PDIF01 (-log p of that). Rows with one score stay in the order in which
# they are handed over, or nearly: numpy's sort decides, and with it the processor. So an attack that gives every record
# the same score, and has an AUC of 0.5, succeeds with p = e^-115 if the rows are sorted one way, and not at all (p = 1)
# if they are sorted the other way.
# `permute_rows`, True by default, is documented as "Whether to permute arrays", to prevent that. It changes nothing: the
# function that it calls assigns the permuted arrays to its own names. All metrics are the same with and without it. Its own
# likelihood attack hands the rows over sorted, members first.
# Guessed before, from the source: both; that the TPR at a low FPR is wrong for perfect attacks was guessed, too, and is not so.
#
# Seen on 1 December 2026 (AMD EPYC with AVX-512; without AVX2 the signs change places, and it is 0.97):
#   500 strangers first, then 500 members: AUC 0.5, FDIF01 +1.00, PDIF01 115.1
#   500 members first, then 500 strangers: AUC 0.5, FDIF01 -1.00, PDIF01 -0.0
#   with permute_rows=True and False: 36 of 36 metrics are the same
#   rows shuffled before the call, 200 times: FDIF01 from -0.20 to +0.19
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3.11}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
"$work/venv/bin/pip" install -q --no-compile --no-deps sacroml==2.0.1  # its other requirements are those of its attacks
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from sacroml.metrics import get_metrics

scores = np.full((1000, 2), 0.5)  # probabilities of "stranger" and of "member": the attack knows nothing
members = np.repeat([0, 1], 500)


def measured(labels, **how):
    return get_metrics(scores.copy(), labels.copy(), **how)


orders = {"500 strangers first, then 500 members": members, "500 members first, then 500 strangers": members[::-1]}
found = []
for name, labels in orders.items():
    metrics = measured(labels)
    found.append((metrics["FDIF01"], metrics["PDIF01"]))
    print(f"{name}: AUC {metrics['AUC']:.1f}, FDIF01 {metrics['FDIF01']:+.2f}, PDIF01 {metrics['PDIF01']:.1f}")
    assert metrics["AUC"] == 0.5
best, worst = max(found), min(found)
assert best[0] > 0.9 and best[1] > 100 and worst[0] < -0.9 and worst[1] < 0.01

one, other = (measured(members, permute_rows=permute) for permute in (True, False))
same = [name for name in one if np.array_equal(one[name], other[name])]
print(f"with permute_rows=True and False: {len(same)} of {len(one)} metrics are the same")
assert len(same) == len(one) and set(one) == set(other)

random = np.random.default_rng(0)
shuffled = [measured(random.permutation(members))["FDIF01"] for _ in range(200)]
print(f"rows shuffled before the call, 200 times: FDIF01 from {min(shuffled):+.2f} to {max(shuffled):+.2f}")
assert -0.4 < min(shuffled) < 0 < max(shuffled) < 0.4
print("sacroml 2.0.1: equal scores succeed or fail by the order of rows, and the documented permutation does nothing")
PYTHON
