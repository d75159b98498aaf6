"""The same computations as the released code writes them: the measure of speed, and a test of equality."""
