#!/usr/bin/env bash
# crepes 0.9.1 (conformal classifiers, regressors and predictive systems; with numpy 2.4.6, scipy 1.17.1, pandas 3.1.1 and
# scikit-learn 1.9.1), Python 3.11. Its intervals hold the truth with the chance that was asked for, by calibration.
#
# - `WrapRegressor.evaluate` hands its last three arguments on one place too early, so at its defaults it evaluates a
#   predictor that is calibrated anew with the true answer after each test image (online), not the calibrated one. Where new
#   images are three times as hard as those of the calibration, the intervals of `predict_int` miss 54 %, and `evaluate` says
#   9 %. With `online=True, warm_start=False` it evaluates the calibrated one. CRPS, a metric of the default list, is left
#   out, and asking for it is an error.
# - A category that the calibration has not seen gets the interval [0, 0], and a predictive system's p-value 0, the strongest
#   evidence that there is. The package's classifier gives such a category a random p-value, or 1 without smoothing.
# - CRPS depends on the unit of the difficulty: the same intervals have 0.55, 0.57 or 1.92, if each difficulty is 0.01, 1 or
#   100. A part of the distance that is in units of the answer is multiplied by the difficulty once more.
# - `y_max` cuts as many columns as there are categories: with two categories and four percentiles, the 75th and the 95th
#   exceed it.
# - `ConformalPredictiveSystem.predict_p(..., seed=0)` leaves numpy's global generator seeded: each random number after it is
#   the same one. The package's classifier restores the generator.
#
# The docstrings say "online : bool, default=False, employ online calibration", "warm_start ... used only if online=True",
# "if wrapped with a conformal predictive system, the metrics also include CRPS", "CRPS is the continuous ranked probability
# score", "y_max: The maximum value to include"; nothing about new categories.
# Guessed before, from base.py: each of these, but not its size.
#
# Seen on 30 November 2026:
#   regressor: intervals miss 0.539; evaluate() says 0.093, width 10.5; evaluate(online=True, warm_start=False) 0.539
#   predictive system: intervals miss 0.538; evaluate() says 0.092, width 10.6; evaluate(online=True, warm_start=False) 0.538
#   CRPS in evaluate(): False; asked for: CRPS not available as metric for online calibration
#   interval of a new category, around 5: [0.0, 0.0] (regressor), [0.0, 0.0] (predictive system), its p-value 0.0
#   labels of a new category, by the classifier: 3 of 3
#   difficulty 0.01: width 3.883, CRPS 0.552
#   difficulty 1: width 3.883, CRPS 0.566
#   difficulty 100: width 3.883, CRPS 1.915
#   CRPS of these predictions by its definition: 0.566
#   percentiles 5, 25, 75, 95 up to y_max=1, 2 categories: 0.546, 0.769, 1.031, 1.248
#   percentiles 5, 25, 75, 95 up to y_max=1, 4 categories: 0.546, 0.701, 1.000, 1.000
#   random numbers after predict_p(seed=0): 1 different of 3; after the classifier's: 3
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3.11}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile crepes==0.9.1 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1 scikit-learn==1.9.1
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from crepes import ConformalClassifier, ConformalPredictiveSystem, ConformalRegressor, WrapRegressor


class Known:
    """A fitted model whose answer is its input."""

    def predict(self, x):
        return x[:, 0]


# 1. 500 images to calibrate, and 2000 new ones that are three times as hard.
random = np.random.default_rng(0)
x = random.normal(size=(2500, 1))
y = x[:, 0] + random.normal(size=2500) * np.where(np.arange(2500) < 500, 1, 3)
for name, cps in (("regressor", False), ("predictive system", True)):
    wrapped = WrapRegressor(Known())
    wrapped.calibrate(x[:500], y[:500], cps=cps)
    low, high = wrapped.predict_int(x[500:], confidence=0.95).T
    missed = np.mean((y[500:] < low) | (y[500:] > high))
    said = wrapped.evaluate(x[500:], y[500:], confidence=0.95)
    other = wrapped.evaluate(x[500:], y[500:], confidence=0.95, online=True, warm_start=False)
    print(
        f"{name}: intervals miss {missed:.3f}; evaluate() says {said['error']:.3f}, width {said['eff_mean']:.1f}; "
        f"evaluate(online=True, warm_start=False) {other['error']:.3f}"
    )
    assert missed > 0.5 and said["error"] < 0.12 and abs(other["error"] - missed) < 1e-9
try:
    wrapped.evaluate(x[500:], y[500:], metrics=["CRPS"])
except RuntimeError as error:
    print(f"CRPS in evaluate(): {'CRPS' in said}; asked for: {error}")
else:
    raise AssertionError("CRPS is computed now")
assert "CRPS" not in said

# 2. Categories "a" and "b" in the calibration, "c" is new.
residuals = random.normal(size=200)
bins = np.repeat(["a", "b"], 100)
new = np.array(["a", "b", "c"])
at = np.full(3, 5.0)
regressor = ConformalRegressor().fit(residuals, bins=bins)
system = ConformalPredictiveSystem().fit(residuals, bins=bins)
one, two = (predictor.predict_int(at, bins=new)[2].tolist() for predictor in (regressor, system))
p = system.predict_p(at, at, bins=new, seed=0)
print(f"interval of a new category, around 5: {one} (regressor), {two} (predictive system), its p-value {p[2]}")
assert one == two == [0, 0] and p[2] == 0 and min(p[:2]) > 0.2
classifier = ConformalClassifier().fit(random.random(200), bins=bins)
labels = int(classifier.predict_set(np.ones((1, 3)), bins=np.array(["c"]), smoothing=False).sum())
print(f"labels of a new category, by the classifier: {labels} of 3")
assert labels == 3

# 3. Residuals and difficulties of equal images, in three units of difficulty.
at = random.normal(size=500)
y = at + random.normal(size=500)
crps = {}
for unit in (0.01, 1, 100):
    system = ConformalPredictiveSystem().fit(residuals, sigmas=np.full(200, unit))
    found = system.evaluate(at, y, sigmas=np.full(500, unit), metrics=["CRPS", "eff_mean"])
    crps[unit] = found["CRPS"]
    print(f"difficulty {unit}: width {found['eff_mean']:.3f}, CRPS {crps[unit]:.3f}")
spread = np.abs(residuals[:, None] - residuals).mean() / 2
right = np.abs(at[:, None] + residuals - y[:, None]).mean() - spread
print(f"CRPS of these predictions by its definition: {right:.3f}")
assert abs(crps[1] - right) < 1e-9 and crps[0.01] < right - 0.01 and crps[100] > 3 * right

# 4. Percentiles of scores that cannot exceed 1.
scores = residuals / 5
for number in (2, 4):
    bins = np.repeat(list("abcd")[:number], 200 // number)
    system = ConformalPredictiveSystem().fit(scores, bins=bins)
    found = system.predict_percentiles(
        np.array([0.9]), bins=np.array(["a"]), lower_percentiles=[5, 25], higher_percentiles=[75, 95], y_max=1.0
    )[0]
    print(f"percentiles 5, 25, 75, 95 up to y_max=1, {number} categories:", ", ".join(f"{value:.3f}" for value in found))
    assert (found[3] > 1) == (number == 2)

# 5. Random numbers after a call with a seed.
np.random.seed(1)
system = ConformalPredictiveSystem().fit(residuals)
classifier = ConformalClassifier().fit(np.abs(residuals))
after = {(system.predict_p(at, y, seed=0)[0], np.random.rand())[1] for _ in range(3)}
restored = {(classifier.predict_p(np.abs(y - at), seed=0)[0], np.random.rand())[1] for _ in range(3)}
print(f"random numbers after predict_p(seed=0): {len(after)} different of 3; after the classifier's: {len(restored)}")
assert len(after) == 1 and len(restored) == 3
print("crepes 0.9.1: an evaluation of another predictor, and a p-value of 0 for what was never seen")
PYTHON
