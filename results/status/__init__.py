"""A launched plan, what is left of it and how long that may take."""
