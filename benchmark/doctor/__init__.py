"""Examine a machine: its packages, device and data, and on request what it computes, how fast, in how much memory."""
