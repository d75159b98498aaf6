"""Compare our numbers with the papers', with earlier records or with an earlier measurement of speed."""
