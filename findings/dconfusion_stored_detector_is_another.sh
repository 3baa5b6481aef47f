#!/usr/bin/env bash
# dconfusion 1.1.1 (confusion matrices: metrics, tests, reconstruction; with numpy 2.4.6, scipy 1.17.1 and matplotlib
# 3.11.2), Python 3.11.
#
# - A matrix that is made of its four numbers keeps them as [[TP, FP], [FN, TN]]; one that is read takes them as
#   [[TN, FP], [FN, TP]]. So `to_dict` and `from_dict`, or `to_csv` and `from_csv`, exchange the copies that were found with
#   the innocents that were cleared: a detector of recall 0.20 and false positive rate 0.005 comes back with 0.96 and 0.33,
#   and is `==` to itself. In the matrix as made, `get_class_metrics` calls the recall "precision", and the other way round.
# - `mcnemar_test` sees two matrices, not which images two models differ in, and takes the difference of their right answers
#   for the number of images in which one of them is right. Of 200 pairs of equally good detectors it calls 145 different at
#   a level of 5 %; 6 right answers more have p = 0.04 among 200 images and among 200,000. Two models that disagree in 40 %
#   of the images, and are right as often, "make identical predictions".
# - `compare_with` calls the larger number the better one, also where it counts errors: of two detectors with a recall of 0.9
#   the one that accuses 30 % of the innocents is better by "false_positive_rate" than the one that accuses 1 %.
# - `from_metrics` with precision, negative predictive value and prevalence takes the first matrix whose negative predictive
#   value is off by less than 0.05. Where copies are rare, that is a detector which finds none: 31 of 50 become 0 of 50.
#
# The README says "Import/Export - CSV, JSON, dict formats"; of the test "More powerful than unpaired tests" and "Accounts
# for cases where both models agree"; of `from_metrics` "Exact Reconstruction" and "Returns exact solution or raises error
# if impossible". A comment in `mcnemar_test`: "We can still perform a valid test using marginal probabilities".
# Guessed before, from core.py, io.py, statistics.py and metrics.py: each of these, about 150 of 200 for the test.
#
# Seen on 30 November 2026:
#   as made: recall 0.200, false positive rate 0.0053, precision 0.667
#   to_dict, from_dict: recall 0.959, false positive rate 0.3333, precision 0.995, equal to the first: True
#   to_csv, from_csv: recall 0.959, false positive rate 0.3333, precision 0.995, equal to the first: True
#   the positive class by get_class_metrics: precision 0.200, recall 0.667
#   from_predictions, to_dict, from_dict: recall 0.200, false positive rate 0.0053, precision 0.667, equal to the first: True
#   equally good, called different of 200 pairs: 145 by dconfusion, 11 by a sign test of the images
#   6 right answers more, of 200: p 0.041
#   6 right answers more, of 200000: p 0.041
#   models disagree in 40%: The classifiers make identical predictions. No difference detected.
#   false positive rates 0.009 and 0.300: better is model2
#   error rates 0.014 and 0.290: better is model2
#   31 of 50 found, 3 innocents accused -> 0 of 50 found, 0 accused
#   450 of 500 found, 50 innocents accused -> 421 of 500 found, 47 accused
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3.11}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile dconfusion==1.1.1 numpy==2.4.6 scipy==1.17.1 matplotlib==3.11.2
cd "$work"
export MPLCONFIGDIR="$work"
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from dconfusion import DConfusion
from scipy.stats import binomtest


def matrix(truth, said):
    """Return the confusion matrix of a detector's answers."""
    return DConfusion(
        true_positive=int((truth & said).sum()),
        false_negative=int((truth & ~said).sum()),
        false_positive=int((~truth & said).sum()),
        true_negative=int((~truth & ~said).sum()),
    )


def rates(found):
    precision = found.get_precision()
    return f"recall {found.get_recall():.3f}, false positive rate {found.get_fpr():.4f}, precision {precision:.3f}"


# 1. A detector that finds 10 of 50 copies and accuses 5 of 950 innocents, stored and read.
made = DConfusion(true_positive=10, false_negative=40, false_positive=5, true_negative=945)
print("as made:", rates(made))
made.to_csv("matrix.csv")
read = {"dict": DConfusion.from_dict(made.to_dict()), "csv": DConfusion.from_csv("matrix.csv")}
for kind, again in read.items():
    print(f"to_{kind}, from_{kind}: {rates(again)}, equal to the first: {again == made}")
    assert again == made and again.get_recall() == 945 / 985 and again.get_fpr() == 5 / 15
one = made.get_class_metrics(class_index=0)
print(f"the positive class by get_class_metrics: precision {one['precision']:.3f}, recall {one['recall']:.3f}")
assert one["precision"] == made.get_recall() and one["recall"] == made.get_precision()
truth, said = [1] * 50 + [0] * 950, [1] * 10 + [0] * 40 + [1] * 5 + [0] * 945
made = DConfusion.from_predictions(truth, said)
again = DConfusion.from_dict(made.to_dict())
print(f"from_predictions, to_dict, from_dict: {rates(again)}, equal to the first: {again == made}")
assert again.get_recall() == 0.2

# 2. Detectors that answer the same images, each right in 80 %.
random = np.random.default_rng(0)
package = signs = 0
for _ in range(200):
    truth = random.random(1000) < 0.5
    first, second = (truth ^ (random.random(1000) < 0.2) for _ in range(2))
    package += matrix(truth, first).mcnemar_test(matrix(truth, second))["significant"]
    better = int(((first == truth) & (second != truth)).sum())
    worse = int(((first != truth) & (second == truth)).sum())
    signs += binomtest(better, better + worse).pvalue < 0.05
print(f"equally good, called different of 200 pairs: {package} by dconfusion, {signs} by a sign test of the images")
assert package > 120 and signs < 20
for number in (200, 200_000):
    half = number // 2
    first = DConfusion(true_positive=half - 40, false_negative=40, false_positive=40, true_negative=half - 40)
    second = DConfusion(true_positive=half - 43, false_negative=43, false_positive=43, true_negative=half - 43)
    found = first.mcnemar_test(second)
    print(f"6 right answers more, of {number}: p {found['p_value']:.3f}")
    assert found["significant"] and abs(found["p_value"] - 0.0412) < 1e-4
truth = np.arange(200) < 100
first, second = truth.copy(), truth.copy()
first[:40], second[100:140] = False, True
found = matrix(truth, first).mcnemar_test(matrix(truth, second))
print(f"models disagree in {(first != second).mean():.0%}: {found['interpretation']}")
assert found["p_value"] == 1 and "identical predictions" in found["interpretation"]

# 3. Two detectors that find the same copies.
careful = DConfusion(true_positive=45, false_negative=5, false_positive=9, true_negative=941)
rash = DConfusion(true_positive=45, false_negative=5, false_positive=285, true_negative=665)
for metric in ("false_positive_rate", "error_rate"):
    found = careful.compare_with(rash, metric)
    name = metric.replace("_", " ")
    print(f"{name}s {found['value1']:.3f} and {found['value2']:.3f}: better is {found['better_model']}")
    assert found["value1"] < found["value2"] and found["better_model"] == "model2"

# 4. A matrix from its own precision, negative predictive value and prevalence.
for counts, expected in (((31, 19, 3, 947), (0, 0)), ((450, 50, 50, 450), (421, 47))):
    true = DConfusion(*counts)
    copies = counts[0] + counts[1]
    found = DConfusion.from_metrics(1000, precision=true.precision, npv=true.get_npv(), prevalence=copies / 1000)
    print(
        f"{counts[0]} of {copies} found, {counts[2]} innocents accused -> {found.true_positive} of {copies} found, "
        f"{found.false_positive} accused"
    )
    assert (found.true_positive, found.false_positive) == expected
print("dconfusion 1.1.1: another detector after a round trip, and a test that finds equal ones different")
PYTHON
