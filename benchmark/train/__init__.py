"""Pre-training: the loop, the step, checkpoints, devices, progress and trackers."""
