"""Layouts of prepared files that other projects hand around, one module each; the reader `auto` tells them apart."""
