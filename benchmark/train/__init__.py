"""One pre-training: the loop, its step, its checkpoint, its device and what is told meanwhile."""
