"""Records in, tables out: which records stand together, what their means, ranks and notes are."""
