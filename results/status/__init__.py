"""A launched plan, its progress and the estimated time left."""
