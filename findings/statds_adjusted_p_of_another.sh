#!/usr/bin/env bash
# statds 1.1.7 (StaTDS: tests for comparing algorithms over data sets; with numpy 2.4.6, pandas 3.1.1 and matplotlib
# 3.11.2), Python 3.11.
#
# - `holm` gives adjusted p-values to the wrong comparisons where two of them tie. Over 20 sources, `good` and `twin` beat
#   the baseline with p = 3e-7 each, `weak` does not with p = 0.62. The adjusted p-values of its table: good 8e-7, weak
#   8e-7, twin 0.62. In `holland` and `finner`, too, weak has the figure of good, and twin 0.62.
# - `holland` and `finner` correct the level in the wrong direction: of four comparisons with a baseline, the least p-value,
#   0.12, is compared with 0.185 instead of 0.013. "Reject H0" then stands beside an adjusted p-value of 0.40.
# - `t_test_paired` forgets the sign: six AUCs that are all higher have p = 0.0003 and "Reject H0", the same two columns
#   exchanged p = 1.9997 and "Fail to Reject H0".
#
# The docstrings say that the three corrections control the family-wise error rate, and of the t statistic that "a higher
# absolute value indicates a greater difference". Guessed before, from no_parametrics.py (the maximum keeps
# the place of the p-value that it comes from; an exponent without its reciprocal) and parametrics.py (no absolute value).
# Seen on 30 November 2026.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q statds==1.1.7 numpy==2.4.6 pandas==3.1.1 matplotlib==3.11.2
MPLBACKEND=Agg "$work/venv/bin/python" -W ignore - <<'PYTHON'
import pandas as pd
from statds.no_parametrics import finner, holland, holm
from statds.parametrics import t_test_paired

columns = ["Comparison", "p-value", "Adjusted alpha", "Adjusted p-value", "Results"]
ranks = {"good": 1.5, "weak": 3.4, "twin": 1.5, "baseline": 3.6}  # mean ranks over 20 sources, 1 is best
for correct in (holm, holland, finner):
    table = correct(ranks, 20, control="baseline")[0]
    print(correct.__name__)
    print(table[columns].to_string())
    p, adjusted = table["p-value"], table["Adjusted p-value"]
    assert p[0] == p[2] < 1e-6 and p[1] > 0.6
    assert adjusted[0] == adjusted[1] < 1e-6 and adjusted[2] > 0.6

ranks = {"a": 2.5, "b": 2.9, "c": 2.9, "d": 3.1, "baseline": 3.6}  # over 10 sources
for correct in (holland, finner):
    table = correct(ranks, 10, control="baseline")[0]
    print(correct.__name__)
    print(table[columns].to_string())
    assert 0.119 < table["p-value"][0] < 0.121 and table["Adjusted alpha"][0] > 0.18
    assert table["Adjusted p-value"][0] > 0.39 and table["Results"][0] == "Reject H0"

auc = pd.DataFrame({"ours": [0.95, 0.97, 0.93, 0.96, 0.98, 0.94], "theirs": [0.85, 0.90, 0.80, 0.88, 0.86, 0.87]})
_, p, _, verdict = t_test_paired(auc)
_, exchanged, _, other_verdict = t_test_paired(auc[["theirs", "ours"]])
print(f"paired t-test: p = {p:.4f}, {verdict}; columns exchanged: p = {exchanged:.4f}, {other_verdict}")
assert p < 0.001 and verdict.startswith("Reject")
assert exchanged > 1.99 and other_verdict.startswith("Fail")
print("adjusted p-values stand beside other methods, corrections loosen, and the order of two columns decides a t-test")
PYTHON
