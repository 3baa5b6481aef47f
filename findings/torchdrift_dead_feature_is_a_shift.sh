#!/usr/bin/env bash
# torchdrift 0.1.0.post1 (tests whether inputs or features of a network have changed; with torch 2.13.0, numpy 2.4.6,
# scipy 1.17.1), Python 3.11.
#
# `KSDriftDetector` takes the largest Kolmogorov-Smirnov distance of all features. Values that are equal in both samples are
# counted one after the other, all of the first sample before all of the second, in place of together. A feature that is 0
# for half of the images, as features after a ReLU are, has a distance of a third; one that is always 0, a dead unit, of 1.
# Then two samples of one distribution, and a sample and itself, differ with p = 0. `scipy.stats.ks_2samp` has distance 0.
# The detector's docstring says "uses the Kolmogorov-Smirnov test on the marginals of the features for each feature", and
# nothing about equal values.
# `KernelMMDDriftDetector` gives p = 0 after 1,000 permutations, which can show p <= 0.001 at best.
# Guessed before, from the source: all of it.
#
# Seen on 1 December 2026 (distance and p of torchdrift, smallest p of scipy times the number of features):
#   continuous features: 0.085, p = 1, scipy p = 1
#   after a ReLU: 0.355, p = 1.1e-10, scipy p = 1
#   one unit dead: 1.000, p = 0, scipy p = 1
#   one unit dead, a sample and itself: 1.000, p = 0, scipy p = 1
#   kernel MMD of samples that differ: p = 0 after 1000 permutations
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3.11}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 torchdrift==0.1.0.post1 numpy==2.4.6 scipy==1.17.1 tqdm==4.67.1
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from scipy.stats import ks_2samp
from torchdrift.detectors import KernelMMDDriftDetector, KSDriftDetector

FEATURES = 8
generator = torch.Generator().manual_seed(1)
one, other = torch.randn(2, 200, FEATURES, generator=generator)


def compared(base, sample):
    score, test = KSDriftDetector(), KSDriftDetector(return_p_value=True)
    score.fit(base), test.fit(base)
    scipy_p = [ks_2samp(base[:, i], sample[:, i]).pvalue for i in range(FEATURES)]
    return float(score(sample)), float(test(sample)), min(1.0, FEATURES * min(scipy_p))


def with_dead_unit(features):
    features = features.relu()
    features[:, 0] = 0
    return features


samples = {
    "continuous features": (one, other),
    "after a ReLU": (one.relu(), other.relu()),
    "one unit dead": (with_dead_unit(one), with_dead_unit(other)),
    "one unit dead, a sample and itself": (with_dead_unit(one), with_dead_unit(one)),
}
found = {name: compared(*pair) for name, pair in samples.items()}
for name, (distance, p, scipy_p) in found.items():
    print(f"{name}: {distance:.3f}, p = {p:.2g}, scipy p = {scipy_p:.2g}")
    assert scipy_p > 0.05
assert found["continuous features"][1] > 0.05
assert found["after a ReLU"][0] > 0.3 and found["after a ReLU"][1] < 1e-8
assert all(found[name][:2] == (1.0, 0.0) for name in list(samples)[2:])

mmd = KernelMMDDriftDetector(return_p_value=True, n_perm=1000)
mmd.fit(one)
p = float(mmd(other + 3))
print(f"kernel MMD of samples that differ: p = {p:g} after 1000 permutations")
assert p == 0
print("torchdrift 0.1.0.post1: features of a ReLU have shifted although nothing has changed")
PYTHON
