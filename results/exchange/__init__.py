"""Export and import of records: a zip that is checked like a stranger's when it arrives."""
