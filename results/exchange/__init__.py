"""Export and import of records: a zip that is fully checked before it is imported."""
