"""Cells become records: pre-training, evaluation, fusion, baselines; weights in and out."""
