"""Figures of records and of the arrays beside them, one file per figure; drawing needs matplotlib, not torch."""
