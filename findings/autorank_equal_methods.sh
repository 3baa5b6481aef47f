#!/usr/bin/env bash
# autorank 1.3.0 (ranks methods over data sets, with numpy 2.4.6, scipy 1.17.1, pandas 3.1.1 and statsmodels 0.15.0).
#
# For three methods with AUC 1.00 everywhere, the p-value is not-a-number, and the table of ranks calls the size of every
# effect "large": the effect size is not-a-number too, and each comparison with a limit is false.
#
# Guessed before: "negligible", or an error that names the methods without variance.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q autorank==1.3.0 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1 statsmodels==0.15.0
MPLBACKEND=agg "$work/venv/bin/python" -W ignore - <<'PYTHON' 2>/dev/null
import numpy as np
import pandas as pd
from autorank import autorank

found = autorank(pd.DataFrame({name: np.ones(20) for name in ("a", "b", "c")}), alpha=0.05, verbose=False)
ranks = found.rankdf[["meanrank", "mean", "effect_size", "magnitude"]]
print(f"{found.omnibus}, p = {found.pvalue}")
print(ranks.to_string())
assert np.isnan(found.pvalue)
assert ranks.effect_size.isna().all()
assert list(ranks.magnitude) == ["large"] * 3
PYTHON
