"""Make tables from records: group them, compute means and ranks, and add notes."""
