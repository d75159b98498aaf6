"""Run cells and write their records: pre-training, evaluation, fusion, baselines; import and export of weights."""
