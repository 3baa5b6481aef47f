#!/usr/bin/env bash
# MAPIE 1.6.0 (conformal prediction, calibration and control of risks; with numpy 2.4.6, scipy 1.17.1 and scikit-learn
# 1.9.1).
#
# `TopLabelCalibrator.predict_proba` promises an array (images, classes) of "the calibrated score for each max score and
# zeros at every other position". It numbers the columns by the classes that occur in the batch: one by one, all images have
# their probability in column 0, and a batch without class 0 is shifted to the left. The other positions hold not-a-number.
#
# `BinaryClassificationController` chooses a threshold of accusation whose precision is at least 0.9. A threshold that
# nobody reaches has no precision and gets a p-value that is not a number; Holm's procedure takes that one first and
# stops. With scores up to 0.95, the default thresholds (0 to 0.99) leave none valid, and the warning asks for more data or
# a better model. The same scores leave 37 of the thresholds up to 0.9. The source says that its -1 for the number of
# observations is "to ensure risk is not controled" by that threshold; it takes all others with it.
#
# `spiegelhalter_p_value`, "the probability of the observed statistic under the null hypothesis of perfect calibration",
# looks at one tail: answers that are right more often than their scores say, by 0.1, have z = -10 and p = 1.
# `expected_calibration_error` with the documented `split_strategy="array split"` cuts the scores in the order of the rows:
# 0.21 if they are sorted, 0.01 if not.
#
# Guessed before, from the source: all four. Expected: the same columns in every batch, p = 1 for a threshold without
# accusations, a p-value near 0, one error for one set of answers.
#
# Seen on 30 November 2026:
#   columns in use: [0, 1, 2, 3, 4] together, [0] one by one, [0, 1, 2, 3] without class 0
#   accuracy: 0.850 together, 0.215 one by one
#   thresholds default: 0 valid, best None, 5 p-values not-a-number; No predict parameters were found to control ...
#   thresholds up to 0.9: 37 valid, best 0.5, 0 p-values not-a-number
#   right more often than the score says by -0.1: z 11.6, p 0.000; by +0.0: z 0.3, p 0.400; by +0.1: z -10.3, p 1.000
#   calibration error by 'array split': 0.008, of the same answers sorted 0.208
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3.11}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q mapie==1.6.0 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import warnings

import numpy as np
from mapie.calibration import TopLabelCalibrator
from mapie.metrics.calibration import expected_calibration_error, spiegelhalter_p_value, spiegelhalter_statistic
from mapie.risk_control import BinaryClassificationController
from sklearn.linear_model import LogisticRegression

random = np.random.default_rng(0)
centres = 2 * random.normal(size=(5, 4))
labels = random.permutation(np.repeat(np.arange(5), 200))
images = centres[labels] + random.normal(size=(1000, 4))
network = LogisticRegression(max_iter=1000).fit(images[:400], labels[:400])
calibrated = TopLabelCalibrator(network, cv="prefit").fit(images[400:800], labels[400:800])
test, truth = images[800:], labels[800:]
with warnings.catch_warnings():
    warnings.simplefilter("error")
    together = calibrated.predict_proba(test)
    single = np.concatenate([calibrated.predict_proba(image[None]) for image in test])
    without = calibrated.predict_proba(test[network.predict(test) > 0])
accuracy = [np.mean(np.nanargmax(answers, axis=1) == truth) for answers in (together, single)]
columns = [np.unique(np.nanargmax(answers, axis=1)).tolist() for answers in (together, single, without)]
print(f"columns in use: {columns[0]} together, {columns[1]} one by one, {columns[2]} without class 0")
print(f"accuracy: {accuracy[0]:.3f} together, {accuracy[1]:.3f} one by one")
assert columns == [[0, 1, 2, 3, 4], [0], [0, 1, 2, 3]] and accuracy[0] > 0.8 and accuracy[1] < 0.25
assert np.isnan(single).sum() == 800

scores = 0.95 * np.concatenate([random.beta(6, 2, 500), random.beta(2, 6, 500)])[:, None]
copy = np.repeat([1, 0], 500)
valid = {}
for name, thresholds in (("default", None), ("up to 0.9", np.linspace(0, 0.9, 91))):
    options = {} if thresholds is None else {"list_predict_params": thresholds}
    controller = BinaryClassificationController(lambda x: np.column_stack([1 - x, x]), "precision", 0.9, 0.9, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        controller.calibrate(scores, copy)
    valid[name] = len(controller.valid_predict_params)
    print(f"thresholds {name}: {valid[name]} valid, best {controller.best_predict_param},",
          f"{np.isnan(controller.p_values).sum()} p-values not-a-number;", *[str(w.message) for w in caught])
assert valid["default"] == 0 and valid["up to 0.9"] > 20

score = random.uniform(0.55, 0.9, 2000)
for shift in (-0.1, 0.0, 0.1):
    right = (random.random(2000) < score + shift).astype(int)
    z, p = spiegelhalter_statistic(right, score), spiegelhalter_p_value(right, score)
    print(f"right more often than the score says by {shift:+.1f}: z {z:.1f}, p {p:.3f}")
assert shift == 0.1 and z < -8 and p > 0.999

score = random.uniform(0.5, 1, 2000)
right = (random.random(2000) < np.where(score > 0.75, score - 0.2, score + 0.2)).astype(int)
order = np.argsort(score)
split = {"num_bins": 10, "split_strategy": "array split"}
shuffled = expected_calibration_error(right, score, **split)
ordered = expected_calibration_error(right[order], score[order], **split)
print(f"calibration error by 'array split': {shuffled:.3f}, of the same answers sorted {ordered:.3f}")
assert shuffled < 0.05 and ordered > 0.15
print("as described above")
PYTHON
