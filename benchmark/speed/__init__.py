"""Speed benchmarks of steps, data preparation, evaluation and grids."""
