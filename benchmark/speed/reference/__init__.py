"""The same computations in the style of the released code: a baseline for speed and a test of equality."""
