"""Layouts of prepared files that other projects distribute, one module each; the reader `auto` recognises them."""
