"""`python -m skelbench`."""

from .benchmark.cli import main

main()
