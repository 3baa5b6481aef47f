#!/usr/bin/env bash
# frouros 0.9.0 (tests whether two samples, such as the scores of two networks, differ; with numpy 2.1.3, scipy 1.14.1,
# matplotlib 3.9.4, requests 2.32.5 and tqdm 4.70.1), Python 3.11.
#
# `PSI`, `HellingerDistance`, `BhattacharyyaDistance` and `HINormalizedComplement` take "number of bins in which to divide
# probabilities, defaults to 10". A permutation test of such a distance (`PermutationTestDistanceBased`, whose page cites
# "Permutation P-values should never be zero") compares the distance in that many bins with permuted ones in ten bins:
# the class that they inherit from puts its own default over the argument. More bins make every distance larger. So
# - with 50 bins, samples of one distribution differ with the smallest p-value that there is;
# - with 5 bins, hardly anything differs: a shift that 10 bins find in most pairs is found in few.
# With 10 bins all is well, and so is `JS` of the same package with any number.
#
# Why it matters: the number of bins, which nobody reports as a choice, decides whether two networks' outputs count as
# different. An independent network and a copy both have p = 0.02 with 50 bins and 50 permutations.
#
# Guessed before, from `BaseDistanceBasedBins.__init__` in detectors/data_drift/batch/distance_based/base.py. A second
# guess was wrong: `KL` and `JS` are not concerned. No issue about it was found in a search. Seen on 1 December 2026.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3.11}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q frouros==0.9.0 numpy==2.1.3 scipy==1.14.1 matplotlib==3.9.4 requests==2.32.5 tqdm==4.70.1
cd "$work"
cat > bins.py <<'PYTHON'
import numpy as np
from frouros.callbacks import PermutationTestDistanceBased
from frouros.detectors.data_drift import JS, PSI, BhattacharyyaDistance, HellingerDistance, HINormalizedComplement

PAIRS = 20


def tested(method, bins, shift):
    """Return the share of pairs of samples with p <= 0.05, and the mean distances as they are and permuted."""
    draw = np.random.default_rng(0)
    found, distances, permuted = [], [], []
    for seed in range(PAIRS):
        one, two = draw.normal(size=200), draw.normal(shift, size=200)
        test = PermutationTestDistanceBased(num_permutations=50, num_jobs=1, random_state=seed)
        detector = method(num_bins=bins, callbacks=test)
        detector.fit(X=one)
        result, logs = detector.compare(X=two)
        log = logs["PermutationTestDistanceBased"]
        found.append(log["p_value"] <= 0.05)
        distances.append(result.distance)
        permuted.append(np.mean(log["permuted_statistics"]))
    return np.mean(found), np.mean(distances), np.mean(permuted)


if __name__ == "__main__":
    print("two samples of one normal distribution: share of 20 pairs with p <= 0.05")
    for method in (PSI, HellingerDistance, BhattacharyyaDistance, HINormalizedComplement, JS):
        shares = {}
        for bins in (5, 10, 50):
            shares[bins], distance, permuted = tested(method, bins, 0.0)
            print(f"    {method.__name__}, {bins} bins: {shares[bins]:.2f} (distance {distance:.3f}, permuted {permuted:.3f})")
        assert shares[5] <= 0.2 and shares[10] <= 0.2
        assert shares[50] <= 0.2 if method is JS else shares[50] >= 0.8
    print("two samples with means 0 and 0.4")
    for method in (HellingerDistance, JS):
        shares = {bins: tested(method, bins, 0.4)[0] for bins in (5, 10)}
        print(f"    {method.__name__}:", ", ".join(f"{bins} bins {share:.2f}" for bins, share in shares.items()))
        assert shares[5] < shares[10] - 0.2 if method is HellingerDistance else shares[5] >= shares[10] - 0.2
PYTHON
OMP_NUM_THREADS=1 "$work/venv/bin/python" -W ignore bins.py
