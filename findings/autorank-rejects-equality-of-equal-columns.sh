#!/usr/bin/env bash
# Packages: autorank 1.3.0, with scipy 1.17.1, pandas 3.1.1, numpy 2.4.6.
#
# Two methods with the same accuracy on every one of twelve data sets, as two names of one run have. The test of the
# paired differences, which are all zero, has p = nan, and `create_report` writes that equality is rejected and that the
# first is significantly larger, because it asks whether p is at least alpha and not whether it is below.
#
# Likely guess: equal columns are reported as not different, or the nan is an error.
#
# Output seen: "We reject the null hypothesis (p=nan) of the paired t-test ... the mean value of A is significantly
# larger than the mean value of B with a negligible effect size (d=0.000)."
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check autorank==1.3.0 scipy==1.17.1 pandas==3.1.1 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PY'
import contextlib
import io

import numpy as np
import pandas as pd
from autorank import autorank, create_report

accuracy = np.random.default_rng(0).normal(70, 3, 12)
found = autorank(pd.DataFrame({"A": accuracy, "B": accuracy}), alpha=0.05, verbose=False)
text = io.StringIO()
with contextlib.redirect_stdout(text):
    create_report(found)
said = " ".join(text.getvalue().split())
print(said[said.index("We reject"):] if "We reject" in said else said)
assert np.isnan(found.pvalue)
assert "We reject the null hypothesis (p=nan)" in said and "A is significantly larger" in said
PY
