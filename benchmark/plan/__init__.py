"""A grid becomes cells with settings and identities; nothing runs."""
