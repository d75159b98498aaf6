#!/usr/bin/env bash
# Packages: statsmodels 0.14.6, with scipy 1.17.1, pandas 3.1.1, numpy 2.4.6.
#
# Two methods, three trainings each, five test persons: crossed random effects of training and person, fitted by REML
# with `MixedLM` and its default optimisers. The tables are balanced, so the standard error of the difference between the
# methods has a closed form by mean squares (pooled with the rest where the component of the training is estimated as
# zero). In 60 simulated tables without a component of the training, the default is off by more than 5 % in some, and a
# part of those say `converged`; `method="powell"` is off in none.
#
# Likely guess: a fit that says `converged` has the standard error of the balanced formula.
#
# Output seen: default: 11 of 60 off by more than 5 %, of which 4 say that they converged; powell: 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  statsmodels==0.14.6 scipy==1.17.1 pandas==3.1.1 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PY'
import warnings

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf

METHODS, TRAININGS, PERSONS = 2, 3, 5


def made(rng):
    person = rng.normal(0, 4, PERSONS)
    y = 60 + person + rng.normal(0, 2, (METHODS, TRAININGS, PERSONS))
    index = np.indices(y.shape).reshape(3, -1)
    table = pd.DataFrame({"method": index[0], "training": index[0] * TRAININGS + index[1], "person": index[2]})
    return y, table.assign(y=y.ravel())


def by_hand(y):
    """Standard error of the difference between the methods."""
    trainings = y.mean(axis=2)
    between = PERSONS * trainings.var(axis=1, ddof=1).mean()
    flat = y.reshape(METHODS * TRAININGS, PERSONS)
    rest = flat - flat.mean(axis=1, keepdims=True) - flat.mean(axis=0) + flat.mean()
    free, free_rest = METHODS * (TRAININGS - 1), (METHODS * TRAININGS - 1) * (PERSONS - 1)
    within = (rest**2).sum() / free_rest
    if between < within:  # the component is estimated as zero, and both estimate the same variance
        between = (free * between + free_rest * within) / (free + free_rest)
    return np.sqrt(2 * between / (TRAININGS * PERSONS))


off = said = off_powell = 0
for seed in range(60):
    y, table = made(np.random.default_rng(seed))
    parts = {"training": "0 + C(training)", "person": "0 + C(person)"}
    model = smf.mixedlm("y ~ method", table, groups=np.ones(len(table)), re_formula="0", vc_formula=parts)
    default, powell = model.fit(), model.fit(method="powell")
    wrong = abs(default.bse["method"] / by_hand(y) - 1) > 0.05
    off, said = off + wrong, said + (wrong and default.converged)
    off_powell += abs(powell.bse["method"] / by_hand(y) - 1) > 0.05
print(f"default: {off} of 60 off by more than 5 %, of which {said} say that they converged; powell: {off_powell}")
assert off >= 5 and said >= 1 and off_powell == 0
PY
