#!/usr/bin/env bash
# rsatoolbox 0.3.2 (compares networks by the distances between their answers; with numpy 2.4.6, scipy 1.17.1, pandas 3.1.1,
# scikit-learn 1.9.1, scikit-image 0.26.0 and matplotlib 3.11.2), Python 3.11.
#
# `compare(source, suspects)` returns one similarity for each suspect. If one of the suspects gives the same label to every
# query, all of its distances are 0, and so is its similarity; but then other suspects get figures that are not theirs. Of
# a copy, such a collapsed network and an independent network, in this order, the third gets the copy's similarity: 0.83
# instead of 0.01 (`corr`), 0.98 instead of 0.90 (`cosine`). Alone, or with the collapsed network at the end, each has its
# own. So it is with `cosine`, `corr`, `spearman`, `cosine_cov` and `corr_cov`, not with `rho-a`; there is no warning. The
# docstring of `compare` promises the similarities of all pairs and says nothing about distances of 0.
#
# Guessed before, from `_cosine` in rdm/compare.py, which puts the similarities of the others back with numpy.putmask: that
# takes them by their place in the whole table, not one after the other. Seen on 30 November 2026.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q rsatoolbox==0.3.2 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1 scikit-learn==1.9.1 \
    scikit-image==0.26.0 matplotlib==3.11.2
MPLBACKEND=Agg "$work/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from rsatoolbox.data import Dataset
from rsatoolbox.rdm import calc_rdm, compare

draw = np.random.default_rng(0)
source = draw.integers(10, size=50)  # the labels that the source answers to 50 queries
copy = np.where(draw.random(50) < 0.1, draw.integers(10, size=50), source)
collapsed = np.full(50, 3)
independent = draw.integers(10, size=50)


def similarities(method, *suspects):
    """Return the similarity of each suspect to the source, all of them compared in one call."""
    first, *others = [calc_rdm(Dataset(np.eye(10)[labels])) for labels in (source, *suspects)]
    for other in others[1:]:
        others[0].append(other)
    return compare(first, others[0], method=method)[0]


for method in ("cosine", "corr", "spearman", "cosine_cov", "corr_cov"):
    alone = np.concatenate([similarities(method, labels) for labels in (copy, collapsed, independent)])
    together = similarities(method, copy, collapsed, independent)
    at_end = similarities(method, copy, independent, collapsed)
    print(f"{method}: copy, collapsed, independent: alone {alone.round(2)}, together {together.round(2)}")
    assert alone[0] > alone[2] + 0.05 and alone[1] == 0
    assert np.allclose(at_end, alone[[0, 2, 1]])
    assert together[2] == together[0] and np.isclose(together[0], alone[0])
alone = np.concatenate([similarities("rho-a", labels) for labels in (copy, collapsed, independent)])
assert np.allclose(similarities("rho-a", copy, collapsed, independent), alone) and alone[0] > alone[2] + 0.05
print("behind a network that answers one label, the independent network has the similarity of the copy")
PYTHON
