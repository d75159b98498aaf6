"""What runs: tracks, cells, the trainer, the protocols, the grid and the command line."""
