#!/usr/bin/env bash
# SAES 1.5.0 (of jMetal's authors: tests, tables and plots for papers that compare algorithms; with numpy 1.26.4, as it asks
# for numpy below 2, scipy 1.15.3, pandas 2.3.3 and statsmodels 0.14.6), Python 3.11.
#
# - `friedman` gives p = 0 to whatever has two rows: to methods that differ by chance only, and to four equal columns, whose
#   statistic is 5700 in place of 0. Its sum of squared mean ranks is multiplied by the number of rows once too often. In the
#   table `Friedman` every row is marked +.
# - `anova` compares the rows, which are runs in its table, not the methods: four methods 0.1 apart have p = 1, four methods
#   without a difference p = 6e-33, because the runs (folds, say) differ.
# - `quade` gives the sources in which methods differ most the least weight if scores are to be maximised: accuracies have
#   p = 0.998, the same ones as errors p = 0.003.
# - `wilcoxon` takes the sign from the medians, and equal medians for a defeat: the better of two methods is worse (-) than
#   the other one, and the other one is worse than it.
# - `NemenyiCD`, "CD = q_alpha * sqrt(...)" of Demsar (2006), to which its plot refers, takes q_alpha for as many degrees of
#   freedom as there are sources less one: with five sources and four methods no mean ranks can differ by its 3.32.
#
# The docstrings say of `friedman` and `anova` that each row is an instance and each column an algorithm, and that the
# algorithms are compared; of `wilcoxon`, "- if Algorithm B outperforms Algorithm A". Guessed before, all five, from
# non_parametrical.py and parametrical.py. Expected: scipy's p-values; one p-value for accuracies and errors; + and -; 2.10.
#
# Seen on 30 November 2026:
#   chance: largest p of SAES 0, 6% of scipy's below 0.05
#   four equal columns: statistic 5700, p 0
#   methods apart: anova p 1, of the methods' columns 1e-40
#   methods alike: anova p 6.4e-33, of the methods' columns 1
#   table Friedman: {'apart': '+', 'alike': '+', 'chance': '+'}
#   table Anova: {'apart': '=', 'alike': '+', 'chance': '='}
#   quade p of accuracies 0.998, of the same as errors 0.003
#   better method against worse one: -, worse one against better: - (- is worse)
#   critical difference 3.32, of Demsar's table 2.10
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3.11}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile numpy==1.26.4 scipy==1.15.3 pandas==2.3.3 statsmodels==0.14.6
"$work/venv/bin/pip" install -q --no-deps saes==1.5.0
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import pandas as pd
from SAES.latex_generation.stats_table import Anova, Friedman
from SAES.statistical_tests.non_parametrical import NemenyiCD, friedman, quade, wilcoxon
from SAES.statistical_tests.parametrical import anova
from scipy import stats

random = np.random.default_rng(0)
METHODS = ["A", "B", "C", "D"]


def p_of(result):
    """Return the p-value of a result of SAES."""
    return float(result.loc["p-value", "Results"])


# Four methods that differ by chance only, on 20 sources, 200 times.
chance = [pd.DataFrame(random.normal(0.9, 0.02, (20, 4)), columns=METHODS) for _ in range(200)]
theirs = [p_of(friedman(scores, maximize=True)) for scores in chance]
scipys = [stats.friedmanchisquare(*scores.to_numpy().T).pvalue for scores in chance]
print(f"chance: largest p of SAES {max(theirs):g}, {np.mean(np.array(scipys) < 0.05):.0%} of scipy's below 0.05")
assert max(theirs) == 0.0 and np.mean(np.array(scipys) < 0.05) < 0.1
equal = friedman(pd.DataFrame(dict.fromkeys(METHODS, np.linspace(0.8, 0.95, 20))), maximize=True)
print(f"four equal columns: statistic {equal.loc['Friedman-stat', 'Results']:g}, p {p_of(equal):g}")
assert p_of(equal) == 0.0

# Ten runs. `apart`: methods far apart, runs alike. `alike`: methods alike, runs (folds, say) apart.
apart = pd.DataFrame(random.normal([0.6, 0.7, 0.8, 0.9], 0.01, (10, 4)), columns=METHODS)
alike = pd.DataFrame(np.linspace(0.7, 0.9, 10)[:, None] + random.normal(0, 0.005, (10, 4)), columns=METHODS)
for name, scores, low, high in (("apart", apart, 0.9, 1.0), ("alike", alike, 0.0, 1e-9)):
    p, right = p_of(anova(scores)), stats.f_oneway(*scores.to_numpy().T).pvalue
    print(f"methods {name}: anova p {p:.2g}, of the methods' columns {right:.2g}")
    assert low <= p <= high

# The same through the tables that papers print: + is significant.
rows = [
    (method, instance, "Accuracy", run, float(scores.loc[run, method]))
    for instance, scores in (("apart", apart), ("alike", alike), ("chance", chance[0]))
    for method in METHODS
    for run in scores.index
]
data = pd.DataFrame(rows, columns=["Algorithm", "Instance", "MetricName", "ExecutionId", "MetricValue"])
metrics = pd.DataFrame({"MetricName": ["Accuracy"], "Maximize": [True]})
marks = {}
for table in (Friedman(data, metrics, "Accuracy"), Anova(data, metrics, "Accuracy")):
    table.compute_table()
    name = type(table).__name__
    marks[name] = table.table[name].to_dict()
    print(f"table {name}: {marks[name]}")
assert marks["Friedman"] == {"apart": "+", "alike": "+", "chance": "+"}
assert marks["Anova"]["apart"] == "=" and marks["Anova"]["alike"] == "+"

# In the seven sources where methods lie furthest apart A is best and C worst, in the other three C is best and A worst.
order = np.where(np.arange(10)[:, None] < 3, [-1, 0, 1], [1, 0, -1])
accuracy = pd.DataFrame(0.8 + 0.01 * np.arange(1, 11)[:, None] * order, columns=["A", "B", "C"])
as_accuracy, as_error = p_of(quade(accuracy, maximize=True)), p_of(quade(1 - accuracy, maximize=False))
print(f"quade p of accuracies {as_accuracy:.3f}, of the same as errors {as_error:.3f}")
assert as_accuracy > 0.9 and as_error < 0.01

# A is nowhere worse than B and better in ten of eleven runs; both medians are 0.90.
first = np.array([0.70, 0.72, 0.74, 0.76, 0.78, 0.90, 0.96, 0.97, 0.975, 0.98, 0.985])
second = np.array([0.50, 0.55, 0.60, 0.65, 0.70, 0.90, 0.91, 0.92, 0.93, 0.94, 0.95])
verdicts = [
    wilcoxon(pd.DataFrame({"Algorithm A": one, "Algorithm B": other}), maximize=True)
    for one, other in ((first, second), (second, first))
]
print(f"better method against worse one: {verdicts[0]}, worse one against better: {verdicts[1]} (- is worse)")
assert verdicts == ["-", "-"]

# Five sources, four methods: mean ranks differ by 3 at most.
print(f"critical difference {NemenyiCD(0.05, 4, 5):.2f}, of Demsar's table {2.569 * np.sqrt(4 * 5 / 30):.2f}")
assert NemenyiCD(0.05, 4, 5) > 3
print("SAES 1.5.0: every Friedman test is significant, whatever the results are")
PYTHON
