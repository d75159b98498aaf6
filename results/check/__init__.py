"""Ours against the papers' numbers, earlier records or an earlier measurement of speed."""
