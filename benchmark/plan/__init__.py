"""Plan a grid: cells with their settings and identities; nothing is run."""
