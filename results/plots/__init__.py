"""Figures of records and of the arrays beside them, a file a figure; drawing needs matplotlib and no torch."""
