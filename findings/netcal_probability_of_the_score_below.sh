#!/usr/bin/env bash
# netcal 1.4.0 (makes probabilities of scores and measures them; with numpy 2.4.6, scipy 1.17.1, scikit-learn 1.9.1,
# torch 2.13.0, matplotlib 3.11.2, pyro-ppl 1.9.2, tensorboard 2.21.0, gpytorch 1.15.2 and tqdm 4.70.1), Python 3.11.
#
# - `HistogramBinning` learns from suspects which share of a bin of scores were copies. A score that is a share of
#   queries often lies on the edge between two bins: fitting counts it in the bin above, and the answer is looked up
#   in the bin below. With ten queries and the default of ten bins, where all suspects with nine matches or ten are
#   copies and no others, the same suspects get 0 for nine matches, and 0.75 for eight, the middle of a bin that
#   fitting left empty. With eight queries and eight bins, each score gets the share of the score below: five matches
#   get 0.28 instead of 0.72. `IsotonicRegression` of the same package has the right shares.
# - `MMCE` takes an array of one dimension for two classes, says its docstring, but takes it for the certainty of the
#   rounded answer. A calibrated detector of rare copies has an error of 0.74, and so has one that says the opposite.
#   In two columns they have 0.00 and 0.74. `ECE` of the same package has 0.01 and 0.81 for one dimension.
#
# Guessed before, from `fit` and `transform` in binning/HistogramBinning.py (binned_statistic_dd closes bins on the
# left, numpy.digitize with `right=True` on the right) and `measure` in metrics/confidence/MMCE.py. A third guess was
# wrong: `BBQ`, an average of histograms, gives the right shares here. No warning of it appears, and no page or issue
# about it was found. Seen on 1 December 2026.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q netcal==1.4.0 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 torch==2.13.0 \
    matplotlib==3.11.2 pyro-ppl==1.9.2 tensorboard==2.21.0 gpytorch==1.15.2 tqdm==4.70.1
MPLBACKEND=Agg OMP_NUM_THREADS=1 "$work/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from netcal.binning import HistogramBinning, IsotonicRegression
from netcal.metrics import ECE, MMCE

draw = np.random.default_rng(0)


def calibrated(method, scores, copies):
    """Return the probability that a method gives to each score, after it was fitted to the same suspects."""
    answers = method.fit(scores, copies).transform(scores)
    return np.array([answers[scores == score].mean() for score in np.unique(scores)])


def shares(scores, copies):
    """Return the share of copies among the suspects of each score."""
    return np.array([copies[scores == score].mean() for score in np.unique(scores)])


print("a perfect detector: suspects with nine of ten matches or more are copies, and no others")
matches = np.repeat(np.arange(11), 50)
scores, copies = matches / 10, (matches >= 9).astype(int)
own = shares(scores, copies)
bins, isotonic = (calibrated(method, scores, copies) for method in (HistogramBinning(), IsotonicRegression()))
for name, values in (("share of copies", own), ("HistogramBinning", bins), ("IsotonicRegression", isotonic)):
    print(f"{name:>18}:", *(f"{value:.2f}" for value in values))
assert np.allclose(isotonic, own) and own[8] == 0 and own[9] == 1
assert np.isclose(bins[8], 0.75) and bins[9] == 0  # innocents are copies, and copies are innocents

print("eight queries, eight bins; copies match three of four queries, innocents one of three")
copies = np.repeat((0, 1), 2000)
scores = draw.binomial(8, np.where(copies, 0.75, 0.35)) / 8
own, bins = shares(scores, copies), calibrated(HistogramBinning(bins=8), scores, copies)
for name, values in (("share of copies", own), ("HistogramBinning", bins)):
    print(f"{name:>18}:", *(f"{value:.2f}" for value in values))
assert len(own) == 9 and np.allclose(bins[1:8], own[:7]) and own[5] > bins[5] + 0.3

print("a calibrated detector of rare copies, and one that says the opposite")
probabilities = draw.beta(1, 9, 2000)
copies = (draw.random(2000) < probabilities).astype(int)
for name, said in (("calibrated", probabilities), ("opposite", 1 - probabilities)):
    one, two = (MMCE().measure(array, copies) for array in (said, np.column_stack((1 - said, said))))
    error = ECE(10).measure(said, copies)
    print(f"{name:>18}: MMCE of one dimension {one:.2f}, of two columns {two:.2f}, ECE of one dimension {error:.2f}")
    assert one > 0.7 and (two < 0.05 and error < 0.05 if name == "calibrated" else two > 0.7 and error > 0.7)
PYTHON
