"""Speed, measured: steps, preparation, evaluation and grids."""
